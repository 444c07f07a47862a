"""What runs by itself: the loops of the server, and the worker."""
