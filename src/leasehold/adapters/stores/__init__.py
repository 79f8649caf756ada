"""Stores behind `ports.store`."""
