"""What the waiting line is made of: branches, lanes, and the shapes by which waiters are filed (QUEUE-8)."""

from __future__ import annotations

from collections.abc import Callable

from leasehold.core.heap import Heap
from leasehold.model.lease import Ask, OnBusy
from leasehold.model.line import Waiter
from leasehold.model.priority import Priority

Key = tuple[int, int, str]
"""Where a waiter stands in its lane: (due, number, ticket)."""

Shape = tuple[object, ...]
"""What waiters have in common for whom the same answer is given: see `shape_of`."""


def shape_of(ask: Ask) -> Shape:
    """What waiters have in common who get the same answer.

    Units, names, node, gates and constraints as they are; cpu, memory, disk and times rounded to an eighth.

    When the first of a shape does not fit, none of its shape is looked at: one of up to an eighth less may
    wait a turn longer.
    """
    charge = ask.charge
    return (
        charge.units,
        rounded(charge.cpu_millicores),
        rounded(charge.memory_bytes),
        rounded(charge.disk_bytes),
        charge.named,
        ask.node,
        ask.quiet_gate and ask.priority > Priority.HIGH,
        rounded(ask.bound_ms),
        rounded(ask.expected_ms),
        ask.constraints,
        ask.disk,
        ask.on_busy in (OnBusy.PAUSE, OnBusy.STOP),
    )


def rounded(number: int) -> int:
    """Up to the next number with four significant bits; 0 stays 0."""
    shift = max(0, number.bit_length() - 4)
    return -(-number >> shift) << shift


class Lane:
    """The waiters of one holder and priority."""

    __slots__ = ("key", "priority", "shapes", "waiting")

    def __init__(self, key: str, priority: Priority) -> None:
        self.key = key
        self.priority = priority
        self.shapes: dict[Shape, Heap[Key]] = {}
        self.waiting = 0


class Branch:
    """A tenant (its children are holders) or a holder (its children are lanes)."""

    __slots__ = ("children", "key", "numbers")

    def __init__(self, key: str, alive: Callable[[tuple[int, str]], bool]) -> None:
        self.key = key
        self.children: dict[str, Branch | Lane] = {}
        self.numbers: Heap[tuple[int, str]] = Heap(alive)

    @property
    def oldest(self) -> int:
        """The least number that waits here: it decides between flows whose start tags are equal."""
        return self.numbers.least()[0]


class Place:
    """Where one waiter is filed, so that taking it out needs no search."""

    __slots__ = ("entry", "holder", "key", "lane", "shape", "tenant", "waiter")

    def __init__(
        self, waiter: Waiter, tenant: Branch, holder: Branch, lane: Lane, shape: Shape, key: Key
    ) -> None:
        self.waiter = waiter
        self.tenant = tenant
        self.holder = holder
        self.lane = lane
        self.shape = shape
        self.key = key
        self.entry = (waiter.number, waiter.ticket)
