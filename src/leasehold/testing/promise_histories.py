"""QUEUE-7's promise over random lives of a node: jobs, requests, pollers, gates, locks, and late jobs.

Leases that have a bound end by it, and the node gives what it gave. Then no firm reservation is ever put off
as long as whoever holds it stays eligible, nothing is charged beyond what is usable by whom it was granted,
and everybody who may start does: on a crowded node whose lines are filled again and again as well.
"""

from __future__ import annotations

import random

from leasehold.core import capacity, dispatch, order, reservation
from leasehold.core.book import Book
from leasehold.core.line import Line
from leasehold.core.reservation import Reservation, Room
from leasehold.model.charge import Charge
from leasehold.model.job import Job
from leasehold.model.lease import Ask, Constraint, Lease
from leasehold.model.line import Flow, Here, Waiter
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import GIB, NODE, TOTALS, job, lease, quiet, waiter

Entry = Waiter | Job

SETTINGS = PolicySettings()
SLOTS = {"lock:net": 2}
SECOND = 1_000
BOUND_MAX_S = 120
ENDLESS_S = 8 * BOUND_MAX_S
"""Whoever waits longer than this at the head of a line that is filled again and again is said to starve."""

CROWD = 16

GATED = Reason(Code.ADDON_DISABLED, "gated")


class Broken(AssertionError):
    """A promise was put off, room was given twice, or somebody starved."""


class PromiseHistory:
    """One history by its seed, on a clock of its own.

    `promises` counts firm reservations, `late_ms` is by how much one was ever put off (0), `longest_ms` the
    longest that anybody who was eligible all the time waited, `patient_ms` how long the one on the crowded
    node did.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.view = quiet(self.dice.choice((100, 100, 70, 55)))
        self.unbounded = self.dice.choice((0.0, 0.0, 0.4))
        """How many of its leases have no bound."""
        self.room = Room.of(self.view, SLOTS, SETTINGS.capacity)
        self.now_ms = 0
        self.line: Line[Entry] = Line()
        self.flows: dict[str, Flow] = {}
        self.leases: dict[str, Lease] = {}
        self.ends_ms: dict[str, int] = {}
        self.reserved: Reservation | None = None
        self.promised_ms: dict[int, int] = {}
        self.back_ms: dict[int, int] = {}
        self.gated: dict[str, int] = {}
        self.eligible_ms: dict[int, int] = {}
        self.number = 0
        self.promises = 0
        self.late_ms = 0
        self.longest_ms = 0
        self.patient_ms = 0
        self.started = 0

    def run(self) -> PromiseHistory:
        """Some come and go; then the node is crowded until the patient one has started; then all do."""
        arrivals = sorted(self.dice.randint(0, 60) * SECOND for _ in range(self.dice.randint(5, 25)))
        self._drain(arrivals)
        self._crowd()
        self._drain([])
        return self

    def _drain(self, arrivals: list[int]) -> None:
        while arrivals or len(self.line):
            self._go_on(arrivals[:1])
            while arrivals and arrivals[0] <= self.now_ms:
                arrivals.pop(0)
                self._arrive(self._ask())
            self._change_gates()
            self._dispatch()

    # -- who comes

    def _ask(self, *, small: bool = False) -> Ask:
        dice = self.dice
        late = dice.random() < 0.1
        units = dice.randint(1, (self.room.anyway if late else self.room.usable).units // (4 if small else 1))
        work = dice.random() < 0.9
        return Ask(
            holder=dice.choice(("ann", "bob", "cy")),
            job_type=dice.choice(("encode", "index")),
            charge=Charge(
                units if work else 0,
                dice.choice((0, 0, 1_000, 0 if small else 4_000)) if work else 0,
                dice.choice((0, 0, 4 * GIB, 0 if small else 12 * GIB)) if work else 0,
                0,
                dice.choice(((), (), (("lock:db", 1),), (("lock:net", dice.randint(1, 2)),)))
                if work
                else (("lock:db", 1),),
            ),
            node=NODE,
            priority=dice.choice(tuple(Priority)),
            constraints=dice.choice(((), (), (), (Constraint.NETWORK_HEAVY,))) if work else (),
            expected_ms=dice.randint(1, 60) * SECOND,
            bound_ms=0 if dice.random() < self.unbounded else dice.randint(1, BOUND_MAX_S) * SECOND,
            quiet_gate=False,
            anyway=late,
        )

    def _arrive(self, of: Ask) -> int:
        """A job, a call that is held, or one that comes back after a while."""
        self.number += 1
        is_job = self.dice.random() < 0.6
        entry: Entry = (
            job(self.number, of, since_ms=self.now_ms)
            if is_job
            else waiter(self.number, of, since_ms=self.now_ms)
        )
        if not is_job and self.dice.random() < 0.2:
            self.back_ms[self.number] = self.now_ms + self.dice.randint(1, 20) * SECOND
        self.line.add(entry)
        return self.number

    def _change_gates(self) -> None:
        """Now and then a holder is switched off for a while."""
        self.gated = {name: until for name, until in self.gated.items() if until > self.now_ms}
        if self.dice.random() < 0.05:
            self.gated[self.dice.choice(("ann", "bob", "cy"))] = (
                self.now_ms + self.dice.randint(1, 30) * SECOND
            )

    # -- what happens

    def _go_on(self, arrivals: list[int]) -> None:
        """To the next instant at which anything can change."""
        times = [*arrivals, *self.ends_ms.values(), *self.gated.values()]
        times += [at for number, at in self.back_ms.items() if number in self.line]
        future = [at for at in times if at > self.now_ms] or [at for at in times if at >= self.now_ms]
        if not future:
            raise Broken(f"{len(self.line)} wait, nothing runs, nothing will change, and nothing is granted")
        self.now_ms = min(future)
        for lease_id in [key for key, ends_ms in self.ends_ms.items() if ends_ms <= self.now_ms]:
            del self.leases[lease_id], self.ends_ms[lease_id]

    def _here(self, each: Entry) -> Here:
        back_ms = self.back_ms.get(each.number, 0)
        if self.now_ms >= back_ms:
            return Here.READY
        return Here.KEEPS if back_ms - self.now_ms < 5 * SECOND else Here.AWAY

    def _gate(self, each: Entry) -> Reason | None:
        return GATED if each.ask.holder in self.gated else None

    def _book(self) -> Book:
        book = Book()
        for each in self.leases.values():
            book.add(each)
        return book

    def _dispatch(self) -> list[int]:
        """Plan and grant until nothing more starts."""
        started: list[int] = []
        more = True
        while more:
            self._note_who_is_eligible()
            book = self._book()
            plan = dispatch.plan(
                self.line,
                self.flows,
                self._here,
                book,
                self.view,
                SLOTS,
                lambda: [reservation.running(each, self.now_ms) for each in self.leases.values()],
                SETTINGS,
                self.now_ms,
                self._gate,
                kept=self.reserved,
            )
            for each in plan.grants:
                self._grant(each, book)
                started.append(each.number)
            self.reserved = plan.reserved
            self._note_promise()
            more = plan.more
        return started

    def _note_who_is_eligible(self) -> None:
        """Whose wait counts: it began when it was last away or gated."""
        for entry in self.line.entries.values():
            number = entry.number
            if self._here(entry) is Here.READY and not self._gate(entry):
                self.eligible_ms.setdefault(number, self.now_ms)
            else:
                self.eligible_ms.pop(number, None)
                self.promised_ms.pop(number, None)

    def _note_promise(self) -> None:
        kept = self.reserved
        if kept is None or not kept.firm:
            return
        if kept.number not in self.promised_ms:
            self.promises += 1
        before_ms = self.promised_ms.get(kept.number, kept.start_ms)
        self._is_late(kept.start_ms - before_ms, kept.number)
        self.promised_ms[kept.number] = min(before_ms, kept.start_ms)

    def _is_late(self, by_ms: int, number: int) -> None:
        if by_ms > 0:
            self.late_ms = max(self.late_ms, by_ms)
            raise Broken(f"what {number} was promised was put off by {by_ms} ms")

    def _grant(self, each: Entry, book: Book) -> None:
        if not self.room.holds(book, each.ask):
            raise Broken(f"{each.number} was granted beyond what there is")
        self.line.remove(each.number)
        granted = lease(each.number, each.ask, granted_ms=self.now_ms)
        book.add(granted)
        self.leases[granted.lease_id] = granted
        takes_ms = each.ask.bound_ms or 2 * each.ask.expected_ms
        self.ends_ms[granted.lease_id] = self.now_ms + max(1, takes_ms * self.dice.randint(1, 100) // 100)
        self.started += 1
        waited_ms = self.now_ms - self.eligible_ms.pop(each.number, self.now_ms)
        self.longest_ms = max(self.longest_ms, waited_ms)
        if each.number in self.promised_ms:
            self._is_late(self.now_ms - self.promised_ms.pop(each.number), each.number)
        if each.ask.charge.is_work:
            cost = capacity.dominant_share_cost(each.ask.charge, TOTALS)
            for flow in order.charged(self.flows, each.ask, cost, SETTINGS.line):
                self.flows[flow.key] = flow

    def _crowd(self) -> None:
        """Whoever starts is followed by another at once; one large job of a holder of its own waits."""
        for _ in range(CROWD):
            self._arrive(self._ask(small=True))
        self._dispatch()
        began_ms = self.now_ms
        large = Ask(
            "patient", "encode", Charge(self.room.usable.units), NODE, quiet_gate=False, bound_ms=SECOND
        )
        patient = self._arrive(large)
        self.back_ms.pop(patient, None)
        while patient in self.line:
            for _ in self._dispatch():
                self._arrive(self._ask(small=True))
            if self.now_ms - began_ms > ENDLESS_S * SECOND:
                raise Broken(f"{patient} has starved for {ENDLESS_S} s")
            if patient in self.line:
                self._go_on([])
        self.patient_ms = self.now_ms - began_ms
