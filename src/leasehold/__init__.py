"""Leasehold: heavy work asks first.

    from leasehold import lease

    with lease(cost=30):
        ...

What a program uses stands here by name, and is loaded when it is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "Lease": "leasehold.client.lease",
    "LeaseLost": "leasehold.client.lease",
    "LeaseOptions": "leasehold.client.lease",
    "NotGranted": "leasehold.client.lease",
    "current_lease": "leasehold.client.lease",
    "lease": "leasehold.client.lease",
}
"""Where each public name is defined. `__init__.pyi` says the same to type checkers."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'leasehold' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
