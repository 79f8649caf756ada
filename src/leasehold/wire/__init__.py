"""Messages of the edges as data."""
