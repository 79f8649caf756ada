"""What a person pauses stands still until a person resumes it, whatever the machine does (LEASE-14)."""

from __future__ import annotations

import msgspec

from leasehold.core import admission, ladder
from leasehold.core import waiter as waiting
from leasehold.core.state import LEASES, Change, Outcome, Stamp, State
from leasehold.model.charge import Charge
from leasehold.model.errors import Conflict
from leasehold.model.lease import Ask, Brake, BrakeLevel, Flag, Lease, LeaseState
from leasehold.model.line import Presence, Waiter
from leasehold.model.settings import PolicySettings


def pause(lease: Lease, stamp: Stamp, by: str, note: str) -> Outcome:
    """A person has it stand still. Idempotent. Raises Conflict where it does not run. Answer: the lease."""
    if Flag.PAUSED in lease.flags:
        return Outcome(lease)
    if lease.state is not LeaseState.ACTIVE:
        raise Conflict(
            f"{lease.lease_id} is {lease.state}; only ACTIVE work can be paused", lease_id=lease.lease_id
        )
    outcome = Outcome()
    why = f"paused by {by}" + (f": {note}" if note else "")
    frozen = lease.brake if lease.is_frozen else None  # What stood still before goes on standing.
    since_ms = frozen.since_ms if frozen is not None else stamp.now_ms
    since_wall_ms = frozen.since_wall_ms if frozen is not None else stamp.wall_ms
    brake = Brake(BrakeLevel.FROZEN, since_ms, since_wall_ms, why, by, stamp.now_ms)
    ladder.hold(outcome, lease, brake, stamp)
    return outcome


def resume(
    state: State,
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    by: str,
    note: str,
    *,
    line_claims: bool = False,
) -> Outcome:
    """A person has it go on: at once, or where it has given its room back, when there is room for it again.

    While the machine is busy it is spared until that is over. Idempotent. `line_claims`: others wait for room
    already. Answer: the lease.
    """
    brake = lease.brake
    if brake is None or lease.lease_id in state.resuming:
        return Outcome(lease)
    why = f"resumed by {by}" + (f": {note}" if note else "")
    outcome = Outcome()
    if brake.owed is None:
        _go_on(state, lease, stamp, settings, outcome, why, by)
        return outcome
    missing = missing_ask(lease, brake.owed)
    if line_claims or not admission.admissible(state, missing, stamp.now_ms, settings):
        waiter = waiting.join(missing, stamp, settings, outcome, resumes=lease.lease_id)
        outcome.presences.append((waiter.ticket, Presence(True, stamp.now_ms, stamp.now_ms)))
        waits = msgspec.structs.replace(brake, why=f"{why}; it waits in line for the room that it gave back")
        outcome.answer = msgspec.structs.replace(lease, brake=waits)
        outcome.changes.append(Change(LEASES, lease.lease_id, outcome.answer))
        return outcome
    _go_on(state, charged_again(lease, brake.owed), stamp, settings, outcome, why, by)
    return outcome


def regain(state: State, waiter: Waiter, stamp: Stamp, settings: PolicySettings, outcome: Outcome) -> None:
    """There is room again for a lease that was resumed. Nothing where it has ended meanwhile."""
    lease = state.leases.get(waiter.resumes)
    if lease is None or lease.brake is None or lease.brake.owed is None:
        return
    again = charged_again(lease, lease.brake.owed)
    _go_on(state, again, stamp, settings, outcome, "there is room for it again", waiter.ask.principal)


def missing_ask(lease: Lease, owed: Charge) -> Ask:
    """What has to fit before it may go on: what it gave back. It waits for no quiet: a person has spoken.

    It is no lease more for its tenant's quota.
    """
    given = Charge(owed.units, owed.cpu_millicores)
    return msgspec.structs.replace(
        lease.ask, charge=given, quiet_gate=False, constraints=(), instead_of=lease.lease_id
    )


def charged_again(lease: Lease, owed: Charge) -> Lease:
    """The lease with its whole charge."""
    return msgspec.structs.replace(lease, ask=msgspec.structs.replace(lease.ask, charge=owed))


def _go_on(
    state: State,
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
    why: str,
    by: str,
) -> None:
    changed = ladder.let_go(outcome, lease, stamp, settings, why, by)
    view = state.view
    if view is not None and ladder.state_of(view, stamp.now_ms) in ("BUSY", "PANIC"):
        spared = msgspec.structs.replace(changed, flags=(*changed.flags, Flag.RESUMED))
        outcome.changes[-1] = Change(LEASES, lease.lease_id, spared)
        changed = spared
    outcome.answer = changed
