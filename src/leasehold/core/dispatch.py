"""Who starts now: one pass through the line, with one reservation (QUEUE-6, 7).

A plan is computed from what is handed in and changes nothing. Whoever applies it grants `Plan.grants` in
their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from leasehold.core import quota, reservation
from leasehold.core.book import Book
from leasehold.core.branch import Standing
from leasehold.core.capacity import dominant_share_cost
from leasehold.core.line import Line
from leasehold.core.order import Flows
from leasehold.core.reservation import Reservation, Room, Running
from leasehold.core.walk import HOPELESS
from leasehold.model.charge import LOCK
from leasehold.model.lease import Lease, LeaseState
from leasehold.model.line import Here
from leasehold.model.node import NodeView
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.model.tenant import Tenant

Entry = TypeVar("Entry", bound=Standing)

Gate = Callable[[Entry], Reason | None]

RESERVE_TRIES = 4
"""How many entries, first in the line, are asked when they could start, where those before
would not fit even after all leases have ended (capacity has shrunk below what they need)."""

OF_THE_NODE = frozenset(
    {
        Code.MAINTENANCE,
        Code.STATS_UNKNOWN,
        Code.PANIC,
        Code.COOLING_DOWN,
        Code.NOT_QUIET,
        Code.NO_WINDOW,
        Code.CONSTRAINT,
        Code.MAX_PER_NODE,
    }
)
"""Gates that stand before everybody of the same shape, whoever asks."""


class Why(StrEnum):
    """Why somebody who may claim room was passed over."""

    GATED = "GATED"
    AT_LIMIT = "AT_LIMIT"
    """A limit that counts leases: per node, per holder, per constraint; or its tenant's quota."""
    NO_ROOM = "NO_ROOM"
    BEHIND = "BEHIND"
    """Somebody before it waits for the same lock."""
    WOULD_DELAY = "WOULD_DELAY"
    """It fits now, but would put off whom room is reserved for."""


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An entry that was not granted; it stands for its whole shape. `reason` is the gate's own."""

    number: int
    why: Why
    reason: Reason | None = None


class Plan(msgspec.Struct, Generic[Entry], frozen=True, gc=False):
    """What to do. `grants` are in order, and all of them fit together beside what is held.

    `holding` are pollers whose turn it is: they fit, nobody is connected to be granted, and their room is
    kept back. `reserved` is handed to the next plan as `kept`. `more`: the pass ended at its limit with
    something granted, so another pass is due at once.
    """

    grants: tuple[Entry, ...]
    holding: tuple[int, ...]
    reserved: Reservation | None
    passed: tuple[Passed, ...]
    more: bool


def plan(
    line: Line[Entry],
    flows: Flows,
    here: Callable[[Entry], Here],
    book: Book,
    view: NodeView,
    semaphores: Mapping[str, int],
    running: Callable[[], Sequence[Running]],
    settings: PolicySettings,
    now_ms: int,
    gate: Gate[Entry],
    *,
    kept: Reservation | None = None,
    started: Callable[[Entry], None] = lambda entry: None,
    tenants: Mapping[str, Tenant] = quota.NO_TENANTS,
) -> Plan[Entry]:
    """Decide who starts now.

    `here` tells whether an entry could be told so; it is asked when its turn has come, after all that was
    decided before it. `running` lists the leases whose charges stand in `book`; it is asked only where
    somebody has to be promised a time. `gate` gives the reason that keeps an entry from being judged at all
    (quiet, blocked, disabled ...), None where there is none. `kept` is the last plan's reservation: whoever
    holds it keeps it until it starts, leaves, or may not start any more, so that a newcomer can't put it off.
    `started` hears of each entry that starts or whose room is kept back, before `here` is asked again.
    Whose tenant is at its quota (`tenants`, by name) is passed by others, and nothing is promised to it.
    """
    room = Room.of(view, semaphores, settings.capacity, tenants)
    return _Pass(line, flows, here, book, room, running, settings, now_ms, gate, kept, started).run()


class _Pass(Generic[Entry]):
    """The state of one pass: the book with what was granted in trial, and what has been decided so far."""

    def __init__(
        self,
        line: Line[Entry],
        flows: Flows,
        here: Callable[[Entry], Here],
        book: Book,
        room: Room,
        running: Callable[[], Sequence[Running]],
        settings: PolicySettings,
        now_ms: int,
        gate: Gate[Entry],
        kept: Reservation | None,
        told: Callable[[Entry], None],
    ) -> None:
        totals = room.totals
        self.told = told
        self.line = line
        self.here = here
        self.now_ms = now_ms
        self.walk = line.walk(
            flows, settings.line, now_ms, lambda charge: dominant_share_cost(charge, totals), here
        )
        self.book = book
        self.trial = book
        self.room = room
        self.running = running
        self.gate = gate
        self.kept = kept
        self.looked_max = settings.line.looked_at
        self.reserved: Reservation | None = None
        self.reserved_holder = ""
        self.tries = RESERVE_TRIES
        self.claimed: set[str] = set()
        self.started: list[Entry] = []
        self.grants: list[Entry] = []
        self.holding: list[int] = []
        self.passed: list[Passed] = []

    def run(self) -> Plan[Entry]:
        looked = self._kept_first()
        entry = self.walk.next()
        while entry is not None and looked + self.walk.hopeless // HOPELESS < self.looked_max:
            self._look(entry)
            looked += 1
            entry = self.walk.next()
        return Plan(
            tuple(self.grants),
            tuple(self.holding),
            self.reserved,
            tuple(self.passed),
            entry is not None and bool(self.grants),
        )

    def _kept_first(self) -> int:
        """Whoever holds the reservation comes before everybody, as long as it may start at all.

        Only those pollers go before it whose turn it was already when it got there: else their room would be
        given away between two of their calls.
        """
        looked = 0
        if self.kept is None:
            return looked
        for number in self.kept.behind:
            poller = self.line.entry(number)
            if (
                poller is not None
                and self._may_come_first(poller)
                and self.room.holds(self.trial, poller.ask)
            ):
                self.walk.take_first(poller)
                self._start(poller)
                looked += 1
        entry = self.line.entry(self.kept.number)
        if entry is None or not self._may_come_first(entry):
            return looked
        if self.room.holds(self.trial, entry.ask):
            self.walk.take_first(entry)
            self._start(entry)
        else:
            self.walk.leave_out(entry.number)
            self._reserve(entry)
            self._note(entry, Why.NO_ROOM)
        return looked + 1

    def _may_come_first(self, entry: Entry) -> bool:
        return bool(self.here(entry)) and self.gate(entry) is None

    def _look(self, entry: Entry) -> None:
        """Judge the entry that is shown, and tell the walk."""
        ask = entry.ask
        if self._has_promised and not ask.charge.named and not self.room.fits(self.trial, ask):
            self._note(entry, Why.NO_ROOM)  # Whatever else stands before it: on a full node, the short way.
            self._drop_all_as_large()
            return
        reason = self.gate(entry)
        if reason is not None:
            self._note(entry, Why.GATED, reason)
            if reason.code in OF_THE_NODE:
                self.walk.drop_shape()
            else:
                self.walk.skip_shape()
        elif not self.room.within_quota(self.trial, ask):
            self._note(entry, Why.AT_LIMIT)
            self.walk.close_tenant(work=quota.exhausted(self.room.tenants[ask.tenant], self.trial))
        elif not self.room.within_counts(self.trial, ask):
            self._note(entry, Why.AT_LIMIT)
            self.walk.skip_shape()
        elif self.claimed and any(name in self.claimed for name, _ in ask.charge.named):
            self._note(entry, Why.BEHIND)
            self.walk.drop_shape()
        elif not self.room.fits(self.trial, ask):
            self._cannot_fit(entry)
            if ask.charge.named:
                self.walk.drop_shape()
            else:
                self._drop_all_as_large()
        elif self.reserved is not None and not reservation.may_start(ask, self.reserved, self.now_ms):
            self._would_delay(entry, self.reserved)
        else:
            self.walk.take()
            self._start(entry)

    def _would_delay(self, entry: Entry, reserved: Reservation) -> None:
        """It may not start before whom room is kept for; nor may others like it."""
        ask = entry.ask
        self._note(entry, Why.WOULD_DELAY)
        if reservation.takes_what_is_kept(ask, reserved):
            self.walk.drop_shape()
            if reserved.firm:  # By a guess also what has no bound may start.
                self.walk.drop_from(self.walk.row.asked)
        elif ask.holder == self.reserved_holder:
            self.walk.skip_shape()  # perhaps only because of how many leases this holder may have
        elif self.room.has_quota(ask):
            self.walk.close_tenant(work=False)  # perhaps only because of what its tenant may have
        else:
            self.walk.drop_shape()

    def _drop_all_as_large(self) -> None:
        """Nobody is looked at any more who asks for no less, however long it takes."""
        self.walk.drop_shape()
        units, cpu, memory, disk, _, curve = self.walk.row.asked
        self.walk.drop_from((units, cpu, memory, disk, 0, curve))

    @property
    def _has_promised(self) -> bool:
        """Whether nobody is promised a time any more in this pass."""
        return self.reserved is not None or not self.tries

    def _cannot_fit(self, entry: Entry) -> None:
        self._note(entry, Why.NO_ROOM)
        if entry.ask.charge.named and self.room.waits_for_locks_alone(self.trial, entry.ask):
            # First come, first served for each lock, also where a later one would take fewer slots of it.
            self.claimed.update(name for name, _ in entry.ask.charge.named if name.startswith(LOCK))
        elif not self._has_promised:
            self.tries -= 1
            self._reserve(entry)

    def _reserve(self, entry: Entry) -> None:
        self.reserved_holder = entry.ask.holder
        self.reserved = reservation.earliest(
            entry.number,
            entry.ask,
            self.trial,
            self.room,
            [*self.running(), *map(self._as_running, self.started)],
            self.now_ms,
            kept=self.kept,
            behind=tuple(self.holding),
        )

    def _as_running(self, entry: Entry) -> Running:
        """Who was granted in this pass runs from now on; from when a poller will, nobody knows."""
        lease = Lease(f"#{entry.number}", 0, entry.ask, LeaseState.OFFERED, self.now_ms, 0)
        found = reservation.running(lease, self.now_ms)
        if entry.number not in self.holding:
            return found
        before_all = msgspec.structs.replace(lease, granted_ms=0)  # It passes nobody.
        return Running(before_all, None, found.expected_ms)

    def _start(self, entry: Entry) -> None:
        """Charge it in trial: granted where somebody is there for it, else its room is kept back."""
        ask = entry.ask
        if self.reserved is not None:
            self.reserved = reservation.after(ask, self.reserved, self.now_ms)
        if self.trial is self.book:
            self.trial = self.book.copy()
        self.trial.add_ask(ask)
        self.started.append(entry)
        if self.here(entry) is Here.READY:
            self.grants.append(entry)
        else:
            self.holding.append(entry.number)
        self.told(entry)

    def _note(self, entry: Entry, why: Why, reason: Reason | None = None) -> None:
        if len(self.passed) < self.looked_max:
            self.passed.append(Passed(entry.number, why, reason))
