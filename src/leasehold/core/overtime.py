"""Work that goes on after its lease was lost gets a new one, charged without admission (LEASE-28).

It holds the machine whether that is written down or not: a charge that exceeds what is usable says so, and
keeps others out until it fits again (INV-1).
"""

from __future__ import annotations

import msgspec

from leasehold.core import lease as life
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import Conflict
from leasehold.model.lease import Binding, Flag, Lease, LeaseState
from leasehold.model.settings import PolicySettings


def standing_in(state: State, lost_id: str) -> Lease | None:
    """The live lease that this one was replaced by, if any."""
    found = [lease for lease in state.leases.values() if lease.ask.instead_of == lost_id and lease.is_live]
    return min(found, key=lambda lease: lease.token) if found else None


def grant(state: State, lost: Lease, stamp: Stamp, settings: PolicySettings, binding: Binding) -> Outcome:
    """A lease in place of `lost`, for the same charge. Asked again it is the same one. Answer: the lease.

    Raises Conflict while `lost` lives, LeaseEnded where its work was to end: released or taken back.
    """
    if lost.is_live:
        raise Conflict(
            f"{lost.lease_id} is {lost.state}, not lost; go on renewing it", lease_id=lost.lease_id
        )
    if lost.state is not LeaseState.EXPIRED or lost.job:  # A job has gone back to the queue.
        raise life.ended(lost)
    outcome = Outcome(standing_in(state, lost.lease_id))
    if outcome.answer is not None:
        return outcome
    ask = msgspec.structs.replace(lost.ask, binding=binding, instead_of=lost.lease_id, notice="")
    outcome.answer = life.grant(state, ask, stamp, settings, outcome, flags=(Flag.OVERTIME,))
    outcome.events[-1].details.update(overtime=True, instead_of=lost.lease_id)
    return outcome
