"""Leasehold: heavy work asks first.

    from leasehold import lease

    with lease(cost=30):
        ...

and may wait until nobody is disturbed:

    leasehold.submit_command(["restic", "backup", "/home"], cost=20)

What a program uses stands here by name, and is loaded when it is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "Job": "leasehold.client.job",
    "JobContext": "leasehold.client.work",
    "JobError": "leasehold.client.job_call",
    "JobFailed": "leasehold.client.job",
    "JobOptions": "leasehold.client.job_ask",
    "JobRefused": "leasehold.client.job_call",
    "Lease": "leasehold.client.lease",
    "LeaseLost": "leasehold.client.lease",
    "LeaseOptions": "leasehold.client.lease",
    "NoServer": "leasehold.client.job_call",
    "NotGranted": "leasehold.client.lease",
    "Permanent": "leasehold.client.work",
    "SomeRefused": "leasehold.client.submit",
    "Task": "leasehold.client.task",
    "Worker": "leasehold.client.worker",
    "current_job": "leasehold.client.work",
    "current_lease": "leasehold.client.lease",
    "job": "leasehold.client.task",
    "lease": "leasehold.client.lease",
    "submit": "leasehold.client.submit",
    "submit_async": "leasehold.client.submit",
    "submit_command": "leasehold.client.submit",
    "submit_command_async": "leasehold.client.submit",
    "submit_many": "leasehold.client.submit",
    "submit_many_async": "leasehold.client.submit",
}
"""Where each public name is defined. `__init__.pyi` says the same to type checkers."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'leasehold' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
