"""The life of a lease, as pure decisions: each reads the state and returns changes, events and an answer.

Nothing here changes anything. A decision that can't be made raises an error of `model.errors`.
"""

from __future__ import annotations

from collections import ChainMap

from leasehold.core import attempt, brake, capacity, enforce, order
from leasehold.core.bound import bound
from leasehold.core.lease_record import with_ as _with
from leasehold.core.state import CALLS, FLOWS, LEASES, Call, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, LeaseEnded, NotFound, NotPermitted, StaleToken
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.lease import (
    LIVE,
    TRANSITIONS,
    UNLIMITED,
    Ask,
    Flag,
    Lease,
    LeaseState,
    Limits,
    Process,
    Usage,
)
from leasehold.model.line import Flow
from leasehold.model.settings import PolicySettings

RUNNER = "runner"
"""The principal of leases whose work the built-in runner does."""

NEVER_MS = 1 << 62
"""A deadline that never comes: a silent lease ends with its processes, a revoked one too."""


def grant(
    state: State,
    ask: Ask,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
    *,
    call: Call | None = None,
    flags: tuple[Flag, ...] = (),
    job: int = 0,
    waited_ms: int = 0,
    taken: bool = False,
) -> Lease:
    """Add a grant to `outcome`: the lease, its flows' tags, the event. The caller has made sure that it fits.

    `taken`: whoever gets it has said so already, so it is no offer but ACTIVE.
    """
    number = stamp.number + outcome.numbers
    outcome.numbers += 1
    lease = Lease(
        lease_id=from_number("lease", number),
        token=number,
        ask=ask,
        state=LeaseState.ACTIVE if taken else LeaseState.OFFERED,
        granted_ms=stamp.now_ms,
        granted_wall_ms=stamp.wall_ms,
        flags=flags,
        binding=ask.binding,
        job=job,
        waited_ms=waited_ms,
    )
    outcome.changes.append(Change(LEASES, lease.lease_id, lease))
    if state.view is not None and ask.charge.is_work:
        cost = capacity.dominant_share_cost(ask.charge, state.view.totals)
        flows = ChainMap(outcome.flows, state.flows) if outcome.flows else state.flows
        for flow in order.charged(flows, ask, cost, settings.line):
            outcome.flows[flow.key] = flow
            outcome.changes.append(Change(FLOWS, flow.key, flow))
    if call is not None:
        done = Call(call.key, call.principal, call.body_hash, lease.lease_id, call.at_ms)
        outcome.changes.append(Change(CALLS, call.key, done))
    due_ms = stamp.now_ms + (settings.lease.ttl_ms if taken else settings.lease.offer_ms)
    outcome.deadlines.append((lease.lease_id, due_ms))
    details = _grant_details(ask, number)
    outcome.events.append(
        Event("LeaseGranted", lease.lease_id, stamp.wall_ms, ask.principal, details=details)
    )
    return lease


def _grant_details(ask: Ask, token: int) -> dict[str, object]:
    details: dict[str, object] = {
        "holder": ask.holder,
        "job_type": ask.job_type,
        "token": token,
        "units": ask.charge.units,
    }
    if ask.charge.memory_bytes:
        details["memory_bytes"] = ask.charge.memory_bytes
    if ask.charge.named:
        details["named"] = ask.charge.named
    return details


def own(state: State, lease_id: str, principal: str, *, token: int | None, any_holder: bool = False) -> Lease:
    """The live lease that a call is about (LEASE-12: 404, 403 another's, 410 ended, 409 stale token)."""
    lease = state.leases.get(lease_id) or state.ended.get(lease_id)
    if lease is None:
        raise NotFound(f"no lease {lease_id} is known; see `leasehold get leases`", lease_id=lease_id)
    check_holder(lease, principal, any_holder=any_holder)
    if lease.state not in LIVE:
        raise ended(lease)
    if token is not None and token != lease.token:
        raise stale(lease)
    return lease


def stale(lease: Lease) -> StaleToken:
    return StaleToken(
        f"{lease.lease_id} has another fencing token; only its present holder may change it",
        lease_id=lease.lease_id,
    )


def check_holder(lease: Lease, principal: str, *, any_holder: bool) -> None:
    if not any_holder and lease.ask.principal != principal:
        raise NotPermitted(
            f"{lease.lease_id} is held by {lease.ask.holder}, not by {principal}", lease_id=lease.lease_id
        )


def ended(lease: Lease) -> LeaseEnded:
    """The answer about a lease that has ended: how, and when (wall ms)."""
    why = f": {lease.end_reason}" if lease.end_reason else ""
    return LeaseEnded(
        f"{lease.lease_id} has ended ({lease.state}{why}); ask for a new lease",
        lease_id=lease.lease_id,
        state=str(lease.state),
        end_reason=lease.end_reason,
        ended_wall_ms=lease.ended_wall_ms,
    )


def renew(
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    *,
    work: tuple[Process, ...] = (),
    cgroup: str = "",
    caller: Process | None = None,
    limits: Limits = UNLIMITED,
    unlimited: str = "",
) -> Outcome:
    """A heartbeat, report or bind:

    OFFERED becomes ACTIVE, silence ends, processes are added. Answer: the lease.

    A renewal that changes nothing durable has no changes. In REVOKING it extends nothing (LEASE-13).
    """
    outcome = Outcome(lease)
    changed = lease
    if lease.state is LeaseState.OFFERED:
        changed = _move(changed, LeaseState.ACTIVE)
        outcome.events.append(Event("LeaseActivated", lease.lease_id, stamp.wall_ms, lease.ask.principal))
    for flag, told in ((Flag.SILENT, "LeaseHeardAgain"), (Flag.LOST, "LeaseFound")):
        if flag in lease.flags:
            changed = _with(changed, flags=tuple(one for one in changed.flags if one is not flag))
            outcome.events.append(Event(told, lease.lease_id, stamp.wall_ms, lease.ask.principal))
    binding = bound(changed.binding, work, cgroup, caller, limits, unlimited)
    if binding is not changed.binding:
        changed = _with(changed, binding=binding)
    if changed is not lease:
        outcome.changes.append(Change(LEASES, lease.lease_id, changed))
        outcome.answer = changed
    if lease.state is not LeaseState.REVOKING:
        outcome.deadlines.append((lease.lease_id, stamp.now_ms + settings.lease.ttl_ms))
    return outcome


def place(lease: Lease, cgroup: str, limits: Limits = UNLIMITED, unlimited: str = "") -> Outcome:
    """The lease's processes were put into a place of their own, as far as that could be done."""
    outcome = Outcome(lease)
    binding = bound(lease.binding, (), cgroup, None, limits, unlimited)
    if binding is not lease.binding:
        outcome.answer = _with(lease, binding=binding)
        outcome.changes.append(Change(LEASES, lease.lease_id, outcome.answer))
    return outcome


def settle(lease_id: str, state: State, stamp: Stamp) -> Outcome:
    """A person says that what an unreadable record stood for is over: it goes, with an event (INV-9)."""
    outcome = Outcome()
    outcome.changes.append(Change(LEASES, lease_id, None))
    outcome.events.append(
        Event("LeaseSettled", lease_id, stamp.wall_ms, details={"why": state.unsettled.get(lease_id, "")})
    )
    return outcome


def release(
    state: State,
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    usage: Usage,
    note: str,
    *,
    settled: int = 0,
    flows: dict[str, Flow] | None = None,
) -> Outcome:
    """The holder is done: the charge falls, once. Answer: the ended lease.

    `settled` is the number of the job whose end the caller has decided already; `flows` are those that the
    same decision has changed before, and gets those that this changes.
    """
    to = LeaseState.REVOKED if lease.state is LeaseState.REVOKED else LeaseState.RELEASED
    return _finish(state, lease, to, stamp, settings, note or "released by its holder", usage, settled, flows)


def revoke(
    state: State, lease: Lease, stamp: Stamp, settings: PolicySettings, *, by: str, note: str, grace_ms: int
) -> Outcome:
    """Begin to take a lease back: REVOKING, with a grace period in which the charge stays (LEASE-13)."""
    if lease.state is LeaseState.REVOKING:
        return Outcome(lease)
    outcome = Outcome()
    sentence = f"revoked by {by}" + (f": {note}" if note else "")
    if lease.ask.guard is not None:  # Its software runs on by itself, as before there was a guard.
        return _finish(state, lease, LeaseState.RELEASED, stamp, settings, sentence)
    # What stands still can't end: its brake is let go with the word to stop.
    changed = brake.free(_with(_move(lease, LeaseState.REVOKING), revoke_note=sentence), stamp.now_ms)
    outcome.changes.append(Change(LEASES, lease.lease_id, changed))
    outcome.events.append(
        Event(
            "LeaseRevoking", lease.lease_id, stamp.wall_ms, by, details={"note": note, "grace_ms": grace_ms}
        )
    )
    outcome.deadlines.append((lease.lease_id, stamp.now_ms + grace_ms))
    outcome.answer = changed
    return outcome


def due(state: State, lease: Lease, stamp: Stamp, settings: PolicySettings, *, work_lives: bool) -> Outcome:
    """The deadline of a lease has come: silent while its work lives, else ended (LEASE-10, 13, 22)."""
    if lease.state is LeaseState.REVOKING:
        if not work_lives:
            return _finish(state, lease, LeaseState.REVOKED, stamp, settings, lease.revoke_note)
        changed = _move(lease, LeaseState.REVOKED)
        outcome = _changed(changed, "LeaseRevoked", stamp, {"charged": "until its processes end"})
        outcome.deadlines.append((lease.lease_id, NEVER_MS))
        return outcome
    if lease.ask.guard is not None:
        outcome = Outcome(lease)
        outcome.deadlines.append((lease.lease_id, NEVER_MS))
        return outcome
    if work_lives and lease.is_frozen:
        outcome = Outcome(lease)  # Nobody can renew while standing still.
        outcome.deadlines.append((lease.lease_id, stamp.now_ms + settings.lease.ttl_ms))
        return outcome
    if work_lives:
        changed = _with(lease, flags=_flags(lease, Flag.SILENT))
        outcome = _changed(changed, "LeaseSilent", stamp, {"charged": "until its processes end"})
        outcome.deadlines.append((lease.lease_id, NEVER_MS))
        return outcome
    waited = "5 s after the offer" if lease.state is LeaseState.OFFERED else "within its time to live"
    return _finish(state, lease, LeaseState.EXPIRED, stamp, settings, f"no heartbeat came {waited}")


def processes_ended(
    state: State,
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    *,
    caller_lives: bool,
    work_lives: bool,
    memory_kills: int = 0,
    by_caller: bool = False,
) -> Outcome:
    """A bound process has died (LEASE-7, 22). What that means depends on who is left.

    `by_caller`: the process that asked renewed the lease itself, so nobody else does.
    """
    outcome = Outcome(lease)
    usage = Usage(memory_kills=memory_kills) if memory_kills else None
    if lease.ask.guard is not None or lease.ask.principal == RUNNER:
        return outcome  # Whether it comes again is looked for elsewhere; the runner tells how it ended.
    if work_lives:
        if not caller_lives and lease.binding.caller is not None and Flag.UNATTENDED not in lease.flags:
            return _changed(_with(lease, flags=_flags(lease, Flag.UNATTENDED)), "LeaseUnattended", stamp, {})
        return outcome
    if lease.state is LeaseState.REVOKED:
        return _finish(state, lease, LeaseState.REVOKED, stamp, settings, lease.revoke_note, usage)
    if lease.state is LeaseState.REVOKING:
        return (
            outcome
            if caller_lives
            else _finish(state, lease, LeaseState.REVOKED, stamp, settings, lease.revoke_note, usage)
        )
    if Flag.SILENT in lease.flags or (lease.binding.work and not caller_lives):
        return _finish(
            state, lease, LeaseState.EXPIRED, stamp, settings, "its processes ended without a release", usage
        )
    if lease.state is LeaseState.OFFERED and not caller_lives:
        return _finish(state, lease, LeaseState.EXPIRED, stamp, settings, "the process that asked ended")
    if by_caller and not caller_lives and lease.state is LeaseState.ACTIVE:
        return _finish(
            state, lease, LeaseState.EXPIRED, stamp, settings, "the process that held it ended", usage
        )
    return outcome


def _finish(
    state: State,
    lease: Lease,
    to: LeaseState,
    stamp: Stamp,
    settings: PolicySettings,
    reason: str,
    usage: Usage | None = None,
    settled: int = 0,
    flows: dict[str, Flow] | None = None,
) -> Outcome:
    """End a lease: it leaves the live part, its flows are corrected by what it really took (QUEUE-6)."""
    changed = lease if lease.state is to else _move(lease, to)
    usage = usage if usage is not None else lease.usage
    reason = enforce.told(reason, usage.memory_kills, lease.binding.limits)
    changed = _with(
        changed,
        ended_ms=stamp.now_ms,
        ended_wall_ms=stamp.wall_ms,
        end_reason=reason,
        usage=usage,
    )
    changed = brake.free(changed, stamp.now_ms)
    ran_ms = brake.ran_ms(changed, stamp.now_ms)
    outcome = Outcome(changed)
    outcome.changes.append(Change(LEASES, lease.lease_id, changed, finished=True))
    if state.view is not None and lease.ask.charge.is_work:
        cost = capacity.dominant_share_cost(lease.ask.charge, state.view.totals)
        known = ChainMap(flows, state.flows) if flows else state.flows
        for flow in order.corrected(known, lease.ask, cost, lease.ask.expected_ms, ran_ms, settings.line):
            outcome.changes.append(Change(FLOWS, flow.key, flow))
            if flows is not None:
                flows[flow.key] = flow
    details = {"ran_ms": ran_ms, "reason": reason, "holder": lease.ask.holder}
    outcome.events.append(
        Event(f"Lease{to.capitalize()}", lease.lease_id, stamp.wall_ms, lease.ask.principal, details=details)
    )
    how, why = to, reason
    if lease.state is LeaseState.REVOKING:  # Whoever obeys and lets go has not failed.
        how, why = LeaseState.REVOKED, lease.revoke_note or reason
    under = state.queue.by_lease.get(lease.lease_id, ())
    if under and to is LeaseState.EXPIRED and lease.state is LeaseState.ACTIVE:
        attempt.worker_lost(outcome, state, lease, under, reason, stamp)
    for number in under:
        if number != settled and not _others_of_gang(state, number, lease, stamp, settings, reason, outcome):
            attempt.lease_ended(outcome, state, number, str(how), why, stamp, changed.stood_ms)
    return outcome


def _others_of_gang(
    state: State,
    number: int,
    lease: Lease,
    stamp: Stamp,
    settings: PolicySettings,
    reason: str,
    outcome: Outcome,
) -> bool:
    """Whether other members of its gang live: they are told to stop, and the last one's end is the job's."""
    members = [state.leases.get(each) for each in state.jobs[number].leases if each != lease.lease_id]
    others = [member for member in members if member is not None]
    for other in others:
        if other.state in (LeaseState.OFFERED, LeaseState.ACTIVE):
            note = f"{lease.lease_id} of its gang has ended: {reason}"
            ms = settings.lease.grace_ms
            told = revoke(state, other, stamp, settings, by="its gang", note=note, grace_ms=ms)
            outcome.changes += told.changes
            outcome.events += told.events
            outcome.deadlines += told.deadlines
    return bool(others)


def _changed(lease: Lease, kind: str, stamp: Stamp, details: dict[str, object]) -> Outcome:
    outcome = Outcome(lease)
    outcome.changes.append(Change(LEASES, lease.lease_id, lease))
    outcome.events.append(
        Event(kind, lease.lease_id, stamp.wall_ms, details={**details, "holder": lease.ask.holder})
    )
    return outcome


def _move(lease: Lease, to: LeaseState) -> Lease:
    if to not in TRANSITIONS[lease.state]:
        raise Conflict(f"{lease.lease_id} is {lease.state} and can't become {to}", lease_id=lease.lease_id)
    return _with(lease, state=to)


def _flags(lease: Lease, flag: Flag) -> tuple[Flag, ...]:
    return lease.flags if flag in lease.flags else (*lease.flags, flag)
