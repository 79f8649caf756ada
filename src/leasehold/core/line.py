"""The index of all that waits: a tree of tenant, holder, lane, and in each lane a row per shape (QUEUE-8).

Requests for leases and jobs stand in it side by side. It holds no tags: `Flow` records are handed in, so the
index is the same whatever happened before, and can be built afresh from the entries alone. An entry costs
about 75 bytes, its record apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from leasehold.core import order
from leasehold.core.branch import Branch, Filing, Lane, Row, Shape, asked_of, shape_of
from leasehold.core.branch import Standing as Standing
from leasehold.core.by_number import ByNumber
from leasehold.core.walk import Walk
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask
from leasehold.model.line import Here
from leasehold.model.settings import LineSettings

Entry = TypeVar("Entry", bound=Standing)

EXACT_PLACES = 64
"""Places up to this one are found by going through the order itself; those behind are estimated."""


def plain_cost(charge: Charge) -> int:
    """An order's cost where a node's totals are not at hand: its units."""
    return max(1, charge.units)


class Line(Generic[Entry]):
    """All that waits in one ledger, by number. Empty branches are dropped at once."""

    __slots__ = ("_filings", "_shape_numbers", "_shapes_seen", "entries", "root", "shapes")

    def __init__(self) -> None:
        self.root = Branch(order.ROOT)
        self.entries: ByNumber[Entry] = ByNumber()
        self.shapes: dict[Shape, int] = {}
        """In how many rows each shape waits."""
        self._shape_numbers: dict[Shape, int] = {}
        self._shapes_seen = 0
        self._filings: dict[tuple[Ask, tuple[str, ...]], Filing] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, number: int) -> bool:
        return number in self.entries

    def entry(self, number: int) -> Entry | None:
        """Who stands here under this number, if anybody does."""
        return self.entries.get(number)

    def asks(self) -> Iterator[tuple[Ask, int]]:
        """What is asked for, and by how many."""
        for (ask, _), filing in self._filings.items():
            yield ask, filing.count

    def add(self, entry: Entry) -> None:
        """File an entry. Raises ValueError where its number is in the line already."""
        number = entry.number
        if self.entries.get(number) is not None:
            raise ValueError(f"number {number} is in the line already; remove it first")
        key = (entry.ask, entry.kind)
        filing = self._filings.get(key)
        if filing is None:
            filing = self._filings[key] = self._file(*key)
        self.entries[number] = entry
        filing.count += 1
        if filing.row.keys.add(entry.due_ms, number):
            filing.lane.first_changed(filing.row)
        filing.holder.numbers.add(number)
        filing.tenant.numbers.add(number)

    def _file(self, ask: Ask, kind: tuple[str, ...]) -> Filing:
        """Find, or make, the row of such asks."""
        tenant_key, holder_key, lane_key = order.flow_keys(ask)
        tenant = self.root.children.get(tenant_key)
        if tenant is None:
            tenant = self.root.children[tenant_key] = Branch(tenant_key)
        assert isinstance(tenant, Branch)
        holder = tenant.children.get(holder_key)
        if holder is None:
            holder = tenant.children[holder_key] = Branch(holder_key)
        assert isinstance(holder, Branch)
        lane = holder.children.get(lane_key)
        if lane is None:
            lane = holder.children[lane_key] = Lane(lane_key, ask.priority)
        assert isinstance(lane, Lane)
        shape = shape_of(ask)
        key = (*shape, kind) if kind else shape
        row = lane.rows.get(key)
        if row is None:
            rows = self.shapes.get(shape, 0)
            if not rows:
                self._shapes_seen += 1
                self._shape_numbers[shape] = self._shapes_seen
            self.shapes[shape] = rows + 1
            row = Row(key, shape, self._shape_numbers[shape], kind, asked_of(ask))
            lane.add_row(row)
        return Filing(tenant, holder, lane, row)

    def remove(self, number: int) -> Entry | None:
        """Take an entry out: it was granted, left, or was forgotten. None when it did not wait."""
        entry = self.entries.pop(number)
        if entry is None:
            return None
        key = (entry.ask, entry.kind)
        filing = self._filings[key]
        if filing.row.keys.remove(entry.due_ms, number):
            filing.lane.first_changed(filing.row)
        filing.holder.numbers.remove(number)
        filing.tenant.numbers.remove(number)
        filing.count -= 1
        if not filing.count:
            del self._filings[key]
            self._prune(filing)
        return entry

    def _prune(self, filing: Filing) -> None:
        """Drop what has become empty, from the row up."""
        row, lane, holder, tenant = filing.row, filing.lane, filing.holder, filing.tenant
        if row.keys:
            return
        lane.drop_row(row)
        self.shapes[row.shape] -= 1
        if not self.shapes[row.shape]:
            del self.shapes[row.shape], self._shape_numbers[row.shape]
        if not lane.rows:
            del holder.children[lane.key]
        if not holder.children:
            del tenant.children[holder.key]
        if not tenant.children:
            del self.root.children[tenant.key]

    def waits_for(self, tenant_key: str, holder_key: str) -> bool:
        """Whether anybody of this holder waits, by the keys of its flows."""
        tenant = self.root.children.get(tenant_key)
        return isinstance(tenant, Branch) and holder_key in tenant.children

    def waiting_of(self, tenant_key: str) -> int:
        """How many of a tenant stand here, by the key of its flow."""
        tenant = self.root.children.get(tenant_key)
        return len(tenant.numbers) if isinstance(tenant, Branch) else 0

    def walk(
        self,
        flows: order.Flows,
        settings: LineSettings,
        now_ms: int,
        cost: Callable[[Charge], int],
        here: Callable[[Entry], Here] | None = None,
    ) -> Walk[Entry]:
        """One pass in order; the line must not change during it.

        `cost` is what a charge counts for in the order. `here` is asked of an entry whenever its turn has
        come; who is AWAY is passed over, and where it has a kind its whole row with it.
        """
        return Walk(self.root, self.entries, len(self.shapes), flows, settings, now_ms, cost, here)

    def position(
        self,
        number: int,
        flows: order.Flows,
        settings: LineSettings,
        *,
        now_ms: int = 0,
        cost: Callable[[Charge], int] = plain_cost,
    ) -> int:
        """The place in line, from 1: how many would be dispatched up to this one if everything fitted.

        Exact to 64 (or the end of what comes first); behind that it is the rank by due time among all, at
        least 65. Raises KeyError where nobody waits under this number.
        """
        mine = self.entries[number]
        walk = self.walk(flows, settings, now_ms, cost)
        for position in range(1, EXACT_PLACES + 1):
            entry = walk.next()
            if entry is None or entry.number == number:
                return position
            walk.take()
        return max(EXACT_PLACES + 1, 1 + self._due_before(mine.due_ms, number))

    def positions(
        self,
        numbers: Collection[int],
        flows: order.Flows,
        settings: LineSettings,
        *,
        now_ms: int = 0,
        cost: Callable[[Charge], int] = plain_cost,
    ) -> dict[int, int]:
        """As `position`, of all of these that stand in line, by one walk."""
        wanted = {number for number in numbers if number in self.entries}
        found: dict[int, int] = {}
        walk = self.walk(flows, settings, now_ms, cost)
        for position in range(1, EXACT_PLACES + 1):
            if len(found) == len(wanted):
                return found
            entry = walk.next()
            if entry is None:
                return found | dict.fromkeys(wanted - found.keys(), position)
            if entry.number in wanted:
                found[entry.number] = position
            walk.take()
        for number in wanted - found.keys():
            due_ms = self.entries[number].due_ms
            found[number] = max(EXACT_PLACES + 1, 1 + self._due_before(due_ms, number))
        return found

    def _due_before(self, due_ms: int, number: int) -> int:
        """How many in all rows have a static key before this one."""
        return sum(
            row.keys.before(due_ms, number)
            for tenant in self.root.children.values()
            if isinstance(tenant, Branch)
            for holder in tenant.children.values()
            if isinstance(holder, Branch)
            for lane in holder.children.values()
            if isinstance(lane, Lane)
            for row in lane.rows.values()
        )
