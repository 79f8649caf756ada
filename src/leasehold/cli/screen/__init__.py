"""The live terminal screen behind `leasehold top` (OPS-19)."""
