"""Histories from files: traces in the formats of others, and a simple one of our own."""
