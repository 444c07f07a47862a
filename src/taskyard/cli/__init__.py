"""The terminal face: a program over the client, which reaches nothing that any other program could not."""
