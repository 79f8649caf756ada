"""How the binding of a lease grows: more processes, a place, what holds them there (LEASE-22, 23). Pure."""

from __future__ import annotations

from leasehold.model.errors import Conflict
from leasehold.model.lease import UNLIMITED, Binding, Limits, Process

BOUND_MAX = 256
"""Processes bound to one lease; a larger tree is bound by its root or by a cgroup."""


def bound(
    now: Binding,
    work: tuple[Process, ...],
    cgroup: str,
    caller: Process | None,
    limits: Limits,
    unlimited: str,
) -> Binding:
    """`now` with what is new; `now` itself where nothing is. Raises Conflict."""
    new = tuple(process for process in work if process not in now.work)
    after = Binding(
        caller=caller or now.caller,
        work=now.work + new,
        cgroup=cgroup or now.cgroup,
        limits=now.limits if limits == UNLIMITED else limits,
        unlimited=unlimited or now.unlimited,
    )
    if after == now:
        return now
    if len(now.work) + len(new) > BOUND_MAX:
        raise Conflict(
            f"at most {BOUND_MAX} processes can be bound to a lease; bind their root or a cgroup instead"
        )
    return after
