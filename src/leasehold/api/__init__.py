"""The server's edges."""
