"""Who starts now: one pass through the line, with one reservation (QUEUE-6, 7).

A plan is computed from what is handed in and changes nothing. Whoever applies it grants `Plan.grants` in
their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from leasehold.core import reservation
from leasehold.core.book import Book
from leasehold.core.capacity import Usable, dominant_share_cost, fits, shortfalls, within_counts
from leasehold.core.line import Line
from leasehold.core.order import Flows
from leasehold.core.reservation import Reservation, Room, Running
from leasehold.model.charge import LOCK
from leasehold.model.lease import Ask, Lease, LeaseState
from leasehold.model.line import Presence, Waiter
from leasehold.model.node import NodeView
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings

Gate = Callable[[Waiter], Reason | None]

RESERVE_TRIES = 4
"""How many waiters, first in the line, are asked when they could start, where those before
would not fit even after all leases have ended (capacity has shrunk below what they need)."""

OF_THE_NODE = frozenset(
    {
        Code.MAINTENANCE,
        Code.STATS_UNKNOWN,
        Code.PANIC,
        Code.COOLING_DOWN,
        Code.NOT_QUIET,
        Code.CONSTRAINT,
        Code.MAX_PER_NODE,
    }
)
"""Gates that stand before everybody of the same shape, whoever asks."""


class Why(StrEnum):
    """Why a waiter that may claim room was passed over."""

    GATED = "GATED"
    AT_LIMIT = "AT_LIMIT"
    """A limit that counts leases: per node, per holder, per constraint."""
    NO_ROOM = "NO_ROOM"
    BEHIND = "BEHIND"
    """Somebody before it waits for the same lock."""
    WOULD_DELAY = "WOULD_DELAY"
    """It fits now, but would put off the reserved waiter."""


class Passed(msgspec.Struct, frozen=True, gc=False):
    """A waiter that was not granted; it stands for its whole shape. `reason` is the gate's own."""

    ticket: str
    why: Why
    reason: Reason | None = None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What to do. `grants` are in order, and all of them fit together beside what is held.

    `holding` are pollers whose turn it is: they fit, nobody is connected to be granted, and their room is
    kept back. `reserved` is handed to the next plan as `kept`. `more`: the pass ended at its limit with
    something granted, so another pass is due at once.
    """

    grants: tuple[Waiter, ...]
    holding: tuple[str, ...]
    reserved: Reservation | None
    passed: tuple[Passed, ...]
    more: bool


def plan(
    line: Line,
    flows: Flows,
    presence: Mapping[str, Presence],
    book: Book,
    usable: Usable,
    view: NodeView,
    semaphores: Mapping[str, int],
    running: Sequence[Running],
    settings: PolicySettings,
    now_ms: int,
    gate: Gate,
    *,
    kept: Reservation | None = None,
) -> Plan:
    """Decide who starts now.

    `running` are the leases whose charges stand in `book`. `gate` gives the reason that keeps a waiter from
    being judged at all (quiet, blocked, disabled ...), None where there is none. `kept` is the last plan's
    reservation: its waiter keeps it until it starts, leaves, or may not start any more, so that a newcomer
    can't put it off.
    """
    room = Room(usable, view.totals, semaphores, settings.capacity)
    return _Pass(line, flows, presence, book, room, running, settings, now_ms, gate, kept).run()


class _Pass:
    """The state of one pass: a trial copy of the book, and what has been decided so far."""

    def __init__(
        self,
        line: Line,
        flows: Flows,
        presence: Mapping[str, Presence],
        book: Book,
        room: Room,
        running: Sequence[Running],
        settings: PolicySettings,
        now_ms: int,
        gate: Gate,
        kept: Reservation | None,
    ) -> None:
        totals = room.totals
        self.line = line
        self.presence = presence
        self.now_ms = now_ms
        self.walk = line.walk(
            flows,
            settings.line,
            now_ms,
            lambda charge: dominant_share_cost(charge, totals),
            self._counts,
        )
        self.trial = book.copy()
        self.room = room
        self.running = list(running)
        self.gate = gate
        self.kept = kept
        self.looked_max = settings.line.looked_at
        self.reserved: Reservation | None = None
        self.reserved_holder = ""
        self.tries = RESERVE_TRIES
        self.claimed: set[str] = set()
        self.grants: list[Waiter] = []
        self.holding: list[str] = []
        self.passed: list[Passed] = []

    def run(self) -> Plan:
        looked = self._kept_first()
        waiter = self.walk.next()
        while waiter is not None and looked < self.looked_max:
            self._look(waiter)
            looked += 1
            waiter = self.walk.next()
        return Plan(
            tuple(self.grants),
            tuple(self.holding),
            self.reserved,
            tuple(self.passed),
            waiter is not None and bool(self.grants),
        )

    def _kept_first(self) -> int:
        """The waiter that holds the reservation comes before everybody, as long as it may start at all.

        Only those pollers go before it whose turn it was already when it got there: else their room would be
        given away between two of their calls.
        """
        looked = 0
        for ticket in self.kept.behind if self.kept is not None else ():
            poller = self.line.waiter(ticket)
            if (
                poller is not None
                and self._may_come_first(poller)
                and self.room.holds(self.trial, poller.ask)
            ):
                self.walk.take_first(poller)
                self._start(poller)
                looked += 1
        waiter = self.line.waiter(self.kept.ticket) if self.kept is not None else None
        if waiter is None or not self._may_come_first(waiter):
            return looked
        if self.room.holds(self.trial, waiter.ask):
            self.walk.take_first(waiter)
            self._start(waiter)
        else:
            self.walk.leave_out(waiter.ticket)
            self._reserve(waiter)
            self._note(waiter, Why.NO_ROOM)
        return looked + 1

    def _may_come_first(self, waiter: Waiter) -> bool:
        return self._counts(waiter.ticket) and self.gate(waiter) is None

    def _look(self, waiter: Waiter) -> None:
        """Judge the waiter that is shown, and tell the walk."""
        ask = waiter.ask
        reason = self.gate(waiter)
        if reason is not None:
            self._note(waiter, Why.GATED, reason)
            if reason.code in OF_THE_NODE:
                self.walk.drop_shape()
            else:
                self.walk.skip_shape()
        elif not self._within_counts(ask):
            self._note(waiter, Why.AT_LIMIT)
            self.walk.skip_shape()
        elif self.claimed and any(name in self.claimed for name, _ in ask.charge.named):
            self._note(waiter, Why.BEHIND)
            self.walk.drop_shape()
        elif not self._fits(ask):
            self._cannot_fit(waiter)
            self.walk.drop_shape()
        elif self.reserved is not None and not reservation.may_start(ask, self.reserved, self.now_ms):
            self._note(waiter, Why.WOULD_DELAY)
            if ask.holder == self.reserved_holder:
                self.walk.skip_shape()  # perhaps only because of how many leases this holder may have
            else:
                self.walk.drop_shape()
        else:
            self.walk.take()
            self._start(waiter)

    def _cannot_fit(self, waiter: Waiter) -> None:
        self._note(waiter, Why.NO_ROOM)
        if self._waits_for_locks_alone(waiter.ask):
            # First come, first served for each lock, also where a later one would take fewer slots of it.
            self.claimed.update(name for name, _ in waiter.ask.charge.named if name.startswith(LOCK))
        elif self.reserved is None and self.tries:
            self.tries -= 1
            self._reserve(waiter)

    def _reserve(self, waiter: Waiter) -> None:
        self.reserved_holder = waiter.ask.holder
        self.reserved = reservation.earliest(
            waiter.ticket,
            waiter.ask,
            self.trial,
            self.room,
            self.running,
            self.now_ms,
            kept=self.kept,
            behind=tuple(self.holding),
        )

    def _start(self, waiter: Waiter) -> None:
        """Charge it in trial: granted where its caller is there, else its room is kept back."""
        ask = waiter.ask
        if self.reserved is not None:
            self.reserved = reservation.after(ask, self.reserved, self.now_ms)
        self.trial.add_ask(ask)
        lease = Lease(waiter.ticket, 0, ask, LeaseState.OFFERED, self.now_ms, 0)
        self.running.append(reservation.running(lease, self.now_ms))
        if self.presence[waiter.ticket].held:
            self.grants.append(waiter)
        else:
            self.holding.append(waiter.ticket)

    def _counts(self, ticket: str) -> bool:
        """Whether it is there, or may still keep room back; others are passed at no loss of place."""
        presence = self.presence.get(ticket)
        return presence is not None and (presence.held or self.now_ms < presence.reserves_until_ms)

    def _within_counts(self, ask: Ask) -> bool:
        return within_counts(self.trial, ask, self.room.totals, self.room.settings)

    def _fits(self, ask: Ask) -> bool:
        room = self.room
        return fits(self.trial, room.usable, room.totals, room.semaphores, ask.charge)

    def _waits_for_locks_alone(self, ask: Ask) -> bool:
        room = self.room
        short = shortfalls(self.trial, room.usable, room.totals, room.semaphores, ask.charge)
        return all(each.dimension.startswith(LOCK) for each in short)

    def _note(self, waiter: Waiter, why: Why, reason: Reason | None = None) -> None:
        if len(self.passed) < self.looked_max:
            self.passed.append(Passed(waiter.ticket, why, reason))
