"""What the waiting line is made of: branches, lanes, and the rows in which entries are filed (QUEUE-8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from leasehold.core.rising import Keys, Numbers
from leasehold.model.lease import Ask, OnBusy
from leasehold.model.priority import Priority

Shape = tuple[object, ...]
"""What entries have in common for whom the same answer is given: see `shape_of`."""


class Standing(Protocol):
    """Whatever stands in the line: a request for a lease (`Waiter`), a job.

    `number` is unique and orders submissions, `due_ms` is the static key of QUEUE-6. Like entries should
    share one `ask`, which is then filed once. `kind` is what it takes to do it, where anybody who can may:
    empty for a request, whose caller does it himself.
    """

    @property
    def number(self) -> int: ...

    @property
    def ask(self) -> Ask: ...

    @property
    def due_ms(self) -> int: ...

    @property
    def kind(self) -> tuple[str, ...]: ...


def shape_of(ask: Ask) -> Shape:
    """What entries have in common who get the same answer.

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
        # An `allow` window lets NORMAL start in state NORMAL, and what is below it not.
        ask.waits_for_quiet and 1 + (ask.priority > Priority.NORMAL),
        ask.anyway,
        ask.waits_for_window,
        rounded(ask.bound_ms),
        rounded(ask.expected_ms),
        ask.constraints,
        ask.disk,
        ask.on_busy if ask.on_busy in (OnBusy.PAUSE, OnBusy.STOP) else "",
        ask.instead_of != "",  # It is no lease more for its tenant.
    )


def rounded(number: int) -> int:
    """Up to the next number with four significant bits; 0 stays 0."""
    shift = max(0, number.bit_length() - 4)
    return -(-number >> shift) << shift


Asked = tuple[int, int, int, int, int, bool]
"""Units, cpu, memory and disk as a shape has them, the bound, and whether the curve holds for it: of two, the
one that is no less in anything can't start where the other can't.
"""

FOR_EVER = 1 << 62
"""The bound of who has none."""


def asked_of(ask: Ask) -> Asked:
    """What those who share `shape_of(ask)` ask for, for comparison with others."""
    charge = ask.charge
    return (
        charge.units,
        rounded(charge.cpu_millicores),
        rounded(charge.memory_bytes),
        rounded(charge.disk_bytes),
        rounded(ask.bound_ms) or FOR_EVER,
        not ask.anyway,
    )


def covers(floor: Asked, asked: Asked) -> bool:
    """Whether `asked` is no less than `floor` in anything. Spelled out: it is asked of very many rows."""
    return (
        asked[1] >= floor[1]
        and asked[0] >= floor[0]
        and asked[4] >= floor[4]
        and asked[2] >= floor[2]
        and asked[3] >= floor[3]
        and asked[5] >= floor[5]
    )


class Row:
    """The entries of one lane, shape and kind.

    Where there is a kind they are alike to whoever does them, but for what they are charged within the shape.
    """

    __slots__ = ("asked", "indexed", "is_more_work", "key", "keys", "kind", "shape", "shape_number")

    def __init__(
        self, key: tuple[object, ...], shape: Shape, shape_number: int, kind: tuple[str, ...], asked: Asked
    ) -> None:
        self.asked = asked
        self.key = key
        self.shape = shape
        self.shape_number = shape_number
        """Stands for the shape within its line, as long as anybody has it."""
        self.kind = kind
        self.is_more_work = bool(shape[0]) and not shape[-1]
        """It charges units, as all work does, and is one lease more."""
        self.keys = Keys()
        self.indexed: tuple[int, int] | None = None
        """Its first key as its lane's index has it."""


class Closed:
    """What of a tenant is not looked at any more: shapes by number; all work, but not locks alone."""

    __slots__ = ("any", "shapes", "work")

    def __init__(self) -> None:
        self.any = False
        self.shapes: set[int] = set()
        self.work = False

    def add(self, row: Row, *, work: bool) -> None:
        """Close it for the row's shape, or for all work."""
        self.any = True
        self.work = self.work or work
        self.shapes.add(row.shape_number)

    def has(self, row: Row) -> bool:
        """Whether this row is not looked at."""
        return row.shape_number in self.shapes or (self.work and row.is_more_work)


class Lane:
    """The entries of one holder and priority.

    Where it has several rows they are indexed by their first keys, so that a pass need not look at all. What
    has changed is indexed when the next pass asks: whatever a claim takes of a row counts as one change.
    """

    __slots__ = ("_firsts", "_row_of", "_stale", "key", "rows", "tie")

    def __init__(self, key: str, priority: Priority) -> None:
        self.key = key
        self.tie = priority
        """Its priority: it decides between lanes whose start tags are equal."""
        self.rows: dict[tuple[object, ...], Row] = {}
        self._firsts = Keys()
        self._row_of: dict[int, Row] = {}
        self._stale: dict[Row, None] = {}

    def add_row(self, row: Row) -> None:
        """Add a row that is about to get its first entry."""
        if len(self.rows) == 1:
            self._stale.update(dict.fromkeys(self.rows.values()))
        self.rows[row.key] = row

    def drop_row(self, row: Row) -> None:
        """Drop a row that has become empty."""
        del self.rows[row.key]
        self._stale.pop(row, None)
        self._forget(row)

    def first_changed(self, row: Row) -> None:
        """Another entry is the first of this row now."""
        if len(self.rows) > 1:
            self._stale[row] = None

    def _forget(self, row: Row) -> None:
        if row.indexed is not None:
            self._firsts.remove(*row.indexed)
            del self._row_of[row.indexed[1]]
            row.indexed = None

    def rising(self) -> Iterator[Row]:
        """Its rows in the order of their first entries. They must not change meanwhile."""
        if len(self.rows) == 1:
            return iter(self.rows.values())
        for row in self._stale:
            self._forget(row)
        for row in self._stale:
            row.indexed = row.keys.first
            self._firsts.add(*row.indexed)
            self._row_of[row.indexed[1]] = row
        self._stale.clear()
        return map(self._row_of.__getitem__, self._firsts)


class Branch:
    """A tenant (its children are holders) or a holder (its children are lanes)."""

    __slots__ = ("children", "key", "numbers")

    def __init__(self, key: str) -> None:
        self.key = key
        self.children: dict[str, Branch | Lane] = {}
        self.numbers = Numbers()

    @property
    def tie(self) -> int:
        """The least number that waits here: it decides between flows whose start tags are equal."""
        return self.numbers.blocks[0][0]


class Filing:
    """Where all entries of one ask and kind are filed, and how many they are."""

    __slots__ = ("count", "holder", "lane", "row", "tenant")

    def __init__(self, tenant: Branch, holder: Branch, lane: Lane, row: Row) -> None:
        self.tenant = tenant
        self.holder = holder
        self.lane = lane
        self.row = row
        self.count = 0
