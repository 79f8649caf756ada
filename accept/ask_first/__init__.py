"""The promises of asking first: the ledger, quietness, leases, `leasehold run`."""

from accept.ask_first import clone, faults, figures, pauses, power, purity, run, security, sense

__all__ = ["clone", "faults", "figures", "pauses", "power", "purity", "run", "security", "sense"]
