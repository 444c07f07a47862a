"""What is true: typed methods over named SQL. Never an `if` about the domain."""
