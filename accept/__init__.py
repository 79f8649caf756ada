"""`make accept`:

every promise of a capability, shown on the installed program with default settings (PROVE-21).
"""
