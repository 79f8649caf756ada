"""Factories for tests of admission and order: a node, asks, waiters, leases, each said in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from leasehold.core import order
from leasehold.core.book import Book
from leasehold.core.line import Line, Standing
from leasehold.model.charge import Charge, Totals
from leasehold.model.job import Job, JobState, Terms
from leasehold.model.lease import Ask, Constraint, Lease, LeaseState
from leasehold.model.line import Here, Presence, Waiter
from leasehold.model.node import NodeView, State
from leasehold.model.priority import Priority
from leasehold.model.settings import LineSettings

NODE = "node-1"
GIB = 1 << 30
TOTALS = Totals(4_000, 16 * GIB, 100 * GIB, (("gpu:0", 1), ("gpu:1", 1)))
LINE = LineSettings()

Entry = TypeVar("Entry", bound=Standing)


def quiet(score: int | None = 100, *, totals: Totals = TOTALS, always: bool = False) -> NodeView:
    """A node as measured at 0 ms."""
    state: State = "UNKNOWN" if score is None else "QUIET" if score >= 80 else "NORMAL"
    return NodeView(NODE, 0, state, score, 0, totals, always=always)


def ask(
    units: int = 10,
    *,
    holder: str = "ann",
    tenant: str = "default",
    priority: Priority = Priority.NORMAL,
    cpu: int = 0,
    memory: int = 0,
    disk: int = 0,
    named: Iterable[tuple[str, int]] = (),
    expected_ms: int = 60_000,
    bound_ms: int = 0,
    quiet_gate: bool = True,
    constraints: tuple[Constraint, ...] = (),
) -> Ask:
    """An ask for units, unless more is said."""
    return Ask(
        holder=holder,
        job_type="test",
        charge=Charge(units, cpu, memory, disk, tuple(sorted(named))),
        node=NODE,
        tenant=tenant,
        priority=priority,
        quiet_gate=quiet_gate,
        constraints=constraints,
        expected_ms=expected_ms,
        bound_ms=bound_ms,
    )


def waiter(number: int, of: Ask, *, since_ms: int = 0, ticket: str = "") -> Waiter:
    """A waiter by its number; its ticket says the number too."""
    return Waiter(ticket or f"tkt-{number:06}", number, of, since_ms, order.static_due(of, since_ms, LINE))


def lease(number: int, of: Ask, *, granted_ms: int = 0) -> Lease:
    """A live lease by its number."""
    return Lease(f"lease-{number:06}", number, of, LeaseState.ACTIVE, granted_ms, 0)


def line_of(waiters: Iterable[Entry]) -> Line[Entry]:
    line: Line[Entry] = Line()
    for each in waiters:
        line.add(each)
    return line


def book_of(leases: Iterable[Lease]) -> Book:
    book = Book()
    for each in leases:
        book.add(each)
    return book


def all_held(waiters: Iterable[Waiter]) -> dict[str, Presence]:
    """Presence of waiters who are all connected."""
    return {each.ticket: Presence(True, 0, 0) for each in waiters}


def as_present(presence: Mapping[str, Presence], now_ms: int) -> Callable[[Waiter], Here]:
    """What the dispatcher asks: whether a waiter is there, by what is known of its caller."""

    def here(each: Waiter) -> Here:
        known = presence.get(each.ticket)
        return known.here(now_ms) if known is not None else Here.AWAY

    return here


def job(number: int, of: Ask, *, since_ms: int = 0, terms: Terms | None = None) -> Job:
    """A queued job by its number. Like jobs share `terms`; without them its ask stands alone."""
    due_ms = order.static_due(of, since_ms, LINE)
    return Job(number, terms or Terms(f"t{number}", of), JobState.QUEUED, since_ms, due_ms)
