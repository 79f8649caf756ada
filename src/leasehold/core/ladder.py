"""How leased work gives way when a person needs the machine, and comes back by itself (LEASE-14).

A fold without clock or chance: `seen` remembers how the node has been, `steps` says what each lease is to do
next, `take` makes that changes and events. Work steps down at once, and up one lease at a time, once the
machine has been calm for a while and the freeze is old enough: so spikes freeze it once and not each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from leasehold.core import lease as life
from leasehold.core.brake import braked, free, ran_ms
from leasehold.core.state import LEASES, Change, Outcome, Stamp, State
from leasehold.model.charge import Charge
from leasehold.model.event import Event
from leasehold.model.lease import (
    UNBOUND,
    Brake,
    BrakeLevel,
    Constraint,
    Flag,
    Lease,
    LeaseState,
    OnBusy,
)
from leasehold.model.node import STALE_AFTER_MS, NodeView
from leasehold.model.settings import PolicySettings

CALM_MS = 10_000
"""How long the machine must have been NORMAL or quieter before anything goes on."""

STANDS_MS = 60_000
"""A freeze is no shorter, so that two spikes a minute freeze at most once."""

EACH_MS = 2_000
"""Between two leases that go on: each may raise the load before the next does."""

REVOKE_EACH_MS = 5_000
"""Between two leases that are taken back for want of memory: each gets the time to give some of it back."""

ENDS_MS = 10_000
"""How long the next one is spared at most while the one before is still ending: it may not have heard yet."""

PAUSE_KEPT_MS = 30 * 60_000
"""How long what a person paused keeps all of its charge."""

LONG_AGO_MS = -(1 << 62)
BY = "leasehold"
"""Who takes leases back where no person does."""

WORTH_PCT = 10
"""For want of memory nothing is taken back that holds less than so much of what the greatest lease holds."""


class Move(StrEnum):
    FREEZE = "freeze"
    THAW = "thaw"
    THROTTLE = "throttle"
    LOOSEN = "loosen"
    REVOKE = "revoke"
    GIVE_BACK = "give back"
    """What a person has paused for long gives the room back that it does not use."""
    UNSPARE = "unspare"
    """A lease that a person let go on while it was busy is one like the others again."""


class Step(NamedTuple):
    """What one lease is to do next, and why, as a sentence.

    `stands`: what is taken back stands still until its holder has heard of it, so that it takes no more.
    """

    move: Move
    lease_id: str
    why: str
    stands: bool = False


class Memory(msgspec.Struct, frozen=True, gc=False):
    """What the ladder remembers between two looks. The empty one is right at start: it only thaws later."""

    calm_since_ms: int | None = None
    went_on_ms: int = LONG_AGO_MS
    revoked_ms: int = LONG_AGO_MS


class Need(msgspec.Struct, frozen=True, gc=False):
    """What taking a lease back would lose (milliseconds of work), and the memory that it would give back."""

    lost_ms: int
    memory_bytes: int


def state_of(view: NodeView, now_ms: int) -> str:
    """The state by which the ladder goes: an old one is UNKNOWN, in which everything stays as it is."""
    return "UNKNOWN" if now_ms - view.measured_ms > STALE_AFTER_MS else view.state


def seen(memory: Memory, view: NodeView, now_ms: int) -> Memory:
    """The memory after one look at the node."""
    calm = state_of(view, now_ms) in ("QUIET", "NORMAL")
    if calm is (memory.calm_since_ms is not None):
        return memory
    return msgspec.structs.replace(memory, calm_since_ms=now_ms if calm else None)


def is_calm(memory: Memory, now_ms: int) -> bool:
    """Whether the machine has been NORMAL or quieter for long enough."""
    return memory.calm_since_ms is not None and now_ms - memory.calm_since_ms >= CALM_MS


def steps(
    leases: Iterable[Lease],
    view: NodeView,
    memory: Memory,
    now_ms: int,
    need: Callable[[Lease], Need],
) -> list[Step]:
    """What is to be done now, in order. Never both a step down and a step up.

    `leases` are all live leases of the node, or only those with a brake while it is not busy. `need` is asked
    only where memory is short.
    """
    state, looked_at = state_of(view, now_ms), list(leases)
    found = [
        Step(Move.GIVE_BACK, lease.lease_id, f"paused for {PAUSE_KEPT_MS // 60_000} min")
        for lease in looked_at
        if lease.brake is not None and _gives_back(lease, lease.brake, now_ms)
    ]
    if state in ("BUSY", "PANIC"):
        return found + _down(looked_at, view, state, memory, now_ms, need)
    if not is_calm(memory, now_ms):
        return found
    return found + _up(looked_at, memory, now_ms)


def _gives_back(lease: Lease, brake: Brake, now_ms: int) -> bool:
    charge = lease.ask.charge
    uses = bool(charge.units or charge.cpu_millicores)
    return bool(brake.by) and brake.owed is None and uses and now_ms - brake.paused_ms >= PAUSE_KEPT_MS


def after(memory: Memory, taken: Iterable[Step], now_ms: int) -> Memory:
    """The memory once these steps were decided."""
    for step in taken:
        if step.move in (Move.THAW, Move.LOOSEN):
            memory = msgspec.structs.replace(memory, went_on_ms=now_ms)
        elif step.move is Move.REVOKE:
            memory = msgspec.structs.replace(memory, revoked_ms=now_ms)
    return memory


# -- down -------------------------------------------------------------------------


def _down(
    leases: list[Lease],
    view: NodeView,
    state: str,
    memory: Memory,
    now_ms: int,
    need: Callable[[Lease], Need],
) -> list[Step]:
    why = f"System is {state}" + (f": {view.reasons[0]}" if view.reasons else "")
    found: list[Step] = []
    for lease in sorted(leases, key=lambda each: each.token):
        move = _wanted(lease, state)
        if move is not None and not _stands_so(lease, move):
            found.append(Step(move, lease.lease_id, why))
    if state == "PANIC" and view.short_of_memory and _gave_too_little(leases, view, memory, now_ms):
        going = {step.lease_id for step in found if step.move is Move.REVOKE}
        victim = None if going else _victim(leases, now_ms, need)
        if victim is not None:
            found = [step for step in found if step.lease_id != victim.lease_id]
            lost_least = f"{why}; it had the least work to lose"
            found.append(Step(Move.REVOKE, victim.lease_id, lost_least, stands=True))
    return found


def _gave_too_little(leases: list[Lease], view: NodeView, memory: Memory, now_ms: int) -> bool:
    """Whether what was taken back last has had its time, and a measurement since then shows it."""
    ending = any(lease.state is LeaseState.REVOKING for lease in leases)
    if ending and now_ms - memory.revoked_ms < ENDS_MS:
        return False
    return view.measured_ms - memory.revoked_ms >= REVOKE_EACH_MS


def _wanted(lease: Lease, state: str) -> Move | None:
    """How far this lease gives way in this state, whatever it does now. None: not at all."""
    if lease.state is not LeaseState.ACTIVE or Flag.PAUSED in lease.flags:
        return None
    on_busy, is_guard = lease.ask.on_busy, lease.ask.guard is not None
    if on_busy is OnBusy.STOP and not is_guard:
        return Move.REVOKE
    if Flag.RESUMED in lease.flags:
        return None
    if is_guard and lease.binding == UNBOUND and lease.brake is None:
        return None  # What does not run is not held, so that it is not started by being let go.
    if on_busy is OnBusy.KEEP and (state == "BUSY" or not lease.ask.presses):
        return None
    freezes = on_busy in (OnBusy.PAUSE, OnBusy.STOP) or state == "PANIC"
    if not freezes or Constraint.NETWORK_HEAVY in lease.ask.constraints:
        return Move.THROTTLE  # Frozen, it would lose its connections.
    return Move.FREEZE


def _stands_so(lease: Lease, move: Move) -> bool:
    """Whether it has given way as far already; nothing steps up while the machine is busy."""
    if lease.brake is None or move is Move.REVOKE:
        return False
    return move is Move.THROTTLE or lease.brake.level is BrakeLevel.FROZEN


def _victim(leases: list[Lease], now_ms: int, need: Callable[[Lease], Need]) -> Lease | None:
    """The lease that loses least of those that hold memory worth taking; of equals the youngest."""
    needs = [
        (lease, need(lease))
        for lease in leases
        if lease.state is LeaseState.ACTIVE and lease.ask.charge.is_work
    ]
    greatest = max((each.memory_bytes for _, each in needs), default=0)
    worth = [pair for pair in needs if pair[1].memory_bytes * 100 >= greatest * WORTH_PCT]
    if not worth:
        return None
    return min(worth, key=lambda pair: (pair[1].lost_ms, -pair[0].token))[0]


def need_of(lease: Lease, now_ms: int, cpu_ms: int, memory_bytes: int) -> Need:
    """What is lost is the CPU time that went into it, where that is known, else the time that it has run."""
    return Need(cpu_ms or ran_ms(lease, now_ms), memory_bytes or lease.ask.charge.memory_bytes)


# -- up ---------------------------------------------------------------------------


def _up(leases: list[Lease], memory: Memory, now_ms: int) -> list[Step]:
    """At most one goes on, the one that has waited longest."""
    found = [
        Step(Move.UNSPARE, lease.lease_id, "the machine is calm again")
        for lease in leases
        if Flag.RESUMED in lease.flags
    ]
    if now_ms - memory.went_on_ms < EACH_MS:
        return found
    ripe = [
        (lease.brake.since_ms, lease.token, lease)
        for lease in leases
        if lease.brake is not None
        and not lease.brake.by
        # A time to come: the clock was set back while no server ran, and this one follows it.
        and not 0 <= now_ms - lease.brake.since_ms < STANDS_MS
    ]
    if ripe:
        lease = min(ripe)[2]
        move = Move.THAW if lease.is_frozen else Move.LOOSEN
        found.append(Step(move, lease.lease_id, f"the machine has been calm for {CALM_MS // 1000} s"))
    return found


def farewell(leases: Iterable[Lease]) -> list[Step]:
    """The server stops: what it held back goes on, since nobody would come to thaw it. Not what a person
    paused.
    """
    return [
        Step(Move.THAW if lease.is_frozen else Move.LOOSEN, lease.lease_id, "the server stops")
        for lease in sorted(leases, key=lambda each: each.token)
        if lease.brake is not None and not lease.brake.by
    ]


# -- as changes -------------------------------------------------------------------


def take(state: State, stamp: Stamp, taken: Iterable[Step], settings: PolicySettings) -> Outcome:
    """The steps as changes and events. A lease that is no longer there is passed over."""
    outcome = Outcome()
    for step in taken:
        lease = state.leases.get(step.lease_id)
        if lease is None:
            continue
        if step.move is Move.REVOKE:
            done = life.revoke(
                state, lease, stamp, settings, by=BY, note=step.why, grace_ms=settings.lease.grace_ms
            )
            outcome.changes.extend(done.changes)
            outcome.events.extend(done.events)
            outcome.deadlines.extend(done.deadlines)
        elif step.move is Move.GIVE_BACK:
            _give_back(outcome, lease, stamp)
        elif step.move is Move.UNSPARE:
            _change(outcome, without(lease, Flag.RESUMED))
        elif step.move in (Move.THAW, Move.LOOSEN):
            let_go(outcome, lease, stamp, settings, step.why)
        else:
            level = BrakeLevel.FROZEN if step.move is Move.FREEZE else BrakeLevel.THROTTLED
            hold(outcome, lease, Brake(level, stamp.now_ms, stamp.wall_ms, step.why), stamp)
    return outcome


def _give_back(outcome: Outcome, lease: Lease, stamp: Stamp) -> None:
    """Units and cores are given back; memory, disk, devices and locks it holds as long as it lives."""
    assert lease.brake is not None
    held = lease.ask.charge
    kept = Charge(0, 0, held.memory_bytes, held.disk_bytes, held.named)
    brake = msgspec.structs.replace(lease.brake, owed=held)
    ask = msgspec.structs.replace(lease.ask, charge=kept)
    _change(outcome, msgspec.structs.replace(lease, ask=ask, brake=brake))
    details: dict[str, object] = {"units": held.units, "holder": lease.ask.holder}
    outcome.events.append(Event("LeaseGaveBack", lease.lease_id, stamp.wall_ms, details=details))


def hold(outcome: Outcome, lease: Lease, brake: Brake, stamp: Stamp) -> Lease:
    """Put a lease under a brake, with its event."""
    changed = braked(lease, brake)
    _change(outcome, changed)
    kind = "LeaseFrozen" if brake.level is BrakeLevel.FROZEN else "LeaseThrottled"
    details: dict[str, object] = {
        "why": brake.why,
        "holder": lease.ask.holder,
        "on_busy": str(lease.ask.on_busy),
    }
    outcome.events.append(Event(kind, lease.lease_id, stamp.wall_ms, brake.by, details=details))
    return changed


def let_go(
    outcome: Outcome, lease: Lease, stamp: Stamp, settings: PolicySettings, why: str, by: str = ""
) -> Lease:
    """Take a lease's brake away, with its event; one that stood still has its full time to live again."""
    changed = free(lease, stamp.now_ms)
    _change(outcome, changed)
    details: dict[str, object] = {"why": why, "holder": lease.ask.holder}
    if lease.is_frozen:
        details["stood_ms"] = changed.stood_ms - lease.stood_ms
        if Flag.SILENT not in lease.flags:
            outcome.deadlines.append((lease.lease_id, stamp.now_ms + settings.lease.ttl_ms))
    kind = "LeaseThawed" if lease.is_frozen else "LeaseUnthrottled"
    outcome.events.append(Event(kind, lease.lease_id, stamp.wall_ms, by, details=details))
    return changed


def without(lease: Lease, flag: Flag) -> Lease:
    """The lease without a flag."""
    return msgspec.structs.replace(lease, flags=tuple(each for each in lease.flags if each is not flag))


def _change(outcome: Outcome, lease: Lease) -> None:
    outcome.changes.append(Change(LEASES, lease.lease_id, lease))
    outcome.answer = lease
