"""What the person who starts the server may choose."""
