"""Clocks, ids, randomness, logging: the only place that reads them."""
