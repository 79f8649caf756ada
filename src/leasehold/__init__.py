"""Leasehold: heavy work asks first."""
