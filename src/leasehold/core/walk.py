"""One pass through the line in the order of QUEUE-6, trying dispatches on tags of its own.

At each level the child with the least start tag comes first; equal ones go by the oldest number that waits in
them, lanes by priority. Within a lane it is the static key. Neither the line nor the flows are changed, and
the line must not change during it. Nothing is looked at before its turn: of a million it sees what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

from leasehold.core import order
from leasehold.core.branch import Asked, Branch, Closed, Lane, Row, Standing, covers
from leasehold.core.by_number import PAGE_BITS, ByNumber
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask
from leasehold.model.line import Flow, Here
from leasehold.model.settings import LineSettings

Entry = TypeVar("Entry", bound=Standing)

Children = list[tuple[int, int, str]]
"""A heap of those children that are still looked at: (start tag, tie, key)."""

HOPELESS = 16
"""So many rows that are left out because they ask for no less than one that could not start are a look."""

BEFORE_ALL = -1
"""The start tag of a strict lane that is late: less than any."""


class LaneWalk(Generic[Entry]):
    """One lane during the pass: its tag, and the next entry of each row that was opened, the least first.

    Rows are opened one by one, when their first entry may be the least of all.
    """

    __slots__ = ("closed", "finish", "heads", "key", "lane", "row", "rows", "skipped", "weight")

    def __init__(self, lane: Lane, finish: int, closed: Closed) -> None:
        self.closed = closed
        self.key = lane.key
        self.lane = lane
        self.finish = finish
        self.weight = 0
        """0 as long as nothing was charged to it."""
        self.heads: list[tuple[int, int, Entry, Row, Iterator[int]]] = []
        self.rows = lane.rising()
        self.row = next(self.rows, None)
        """The next to be opened."""
        self.skipped: set[int] = set()


class BranchWalk:
    """A tenant, a holder, or the root of all tenants during the pass: its tags, and its children."""

    __slots__ = ("_next", "_numbers", "branch", "children", "closed", "finish", "key", "virtual", "weight")

    def __init__(self, branch: Branch, flow: Flow | None, closed: Closed | None = None) -> None:
        self.closed = closed or Closed()  # A tenant's: its holders and lanes share it.
        self.key = branch.key
        self.branch = branch
        self.finish = flow.finish if flow is not None else 0
        self.virtual = flow.virtual if flow is not None else 0
        self.weight = 0
        self.children: Children | None = None
        self._numbers: Iterator[int] | None = None
        self._next: int | None = None

    def oldest(self, dispatched: set[int], last: int) -> int:
        """The least number below this branch that was not dispatched; `last` when none is left."""
        if self._numbers is None:
            self._numbers = iter(self.branch.numbers)
            self._next = next(self._numbers, None)
        while self._next is not None and self._next in dispatched:
            self._next = next(self._numbers, None)
        return last if self._next is None else self._next


class Walk(Generic[Entry]):
    """`next` shows an entry; then `take` says that it is dispatched, or another what else became of it."""

    def __init__(
        self,
        root: Branch,
        entries: ByNumber[Entry],
        shapes: int,
        flows: order.Flows,
        settings: LineSettings,
        now_ms: int,
        cost: Callable[[Charge], int],
        here: Callable[[Entry], Here] | None,
    ) -> None:
        self._pages = entries.pages
        self._shapes = shapes
        self._here = here
        self._base = flows
        self._settings = settings
        self._now_ms = now_ms
        self._cost = cost
        self._dropped: set[int] = set()
        self._floors: list[Asked] = []
        self._hopeless_max = HOPELESS * settings.looked_at
        self.hopeless = 0
        """Rows that were left out because they ask for no less than one that could not start."""
        self._hidden: set[int] = set()
        self._dispatched: set[int] = set()
        self._root = BranchWalk(root, flows.get(order.ROOT))
        self._branches: dict[str, BranchWalk] = {}
        self._lanes: dict[str, LaneWalk[Entry]] = {}
        self._charged: dict[str, BranchWalk | LaneWalk[Entry]] = {}
        self._works: dict[Ask, int] = {}
        self._ask: Ask | None = None
        self._work = 0
        self._path: tuple[BranchWalk, BranchWalk, LaneWalk[Entry]] | None = None
        self._shown: Entry | None = None
        self._done: LaneWalk[Entry] | None = None

    # -- looking

    def next(self) -> Entry | None:
        """The first entry of those left; None when there are none."""
        if self._done is not None:
            self._advance(self._done)
            self._done = None
        root = self._root
        tenants = root.children if root.children is not None else self._open(root)
        while tenants and len(self._dropped) < self._shapes:
            tenant = self._branch(root, tenants[0][2])
            holders = tenant.children if tenant.children is not None else self._open(tenant)
            while holders:
                holder = self._branch(tenant, holders[0][2])
                shown = self._show(tenant, holder)
                if shown is not None:
                    return shown
                heappop(holders)
            heappop(tenants)
        self._shown = None
        return None

    @property
    def row(self) -> Row:
        """The row of the entry that is shown."""
        assert self._path is not None, "nobody is shown"
        assert self._path[2].heads, "nobody is shown"
        return self._path[2].heads[0][3]

    def _show(self, tenant: BranchWalk, holder: BranchWalk) -> Entry | None:
        """Find the first entry below a holder."""
        lanes = holder.children if holder.children is not None else self._open(holder)
        if self._settings.strict:
            self._put_late_first(holder, lanes)
        while lanes:
            lane = self._lane(holder, lanes[0][2])
            shown = self._head(lane)
            if shown is not None:
                self._path = (tenant, holder, lane)
                self._shown = shown
                return shown
            heappop(lanes)
        return None

    def _head(self, lane: LaneWalk[Entry]) -> Entry | None:
        """The least entry of a lane that was not taken yet, is here, and whose shape is looked at."""
        heads, here = lane.heads, self._here
        while True:
            while lane.row is not None and (not heads or lane.row.keys.first < heads[0][:2]):
                self._open_row(lane, lane.row)
            if not heads:
                return None
            _, _, entry, row, _ = heads[0]
            if self._passes_by(lane, row):
                heappop(heads)
            elif here is None or here(entry):
                return entry
            elif row.kind:
                heappop(heads)
            else:
                self._advance(lane)

    def _advance(self, lane: LaneWalk[Entry]) -> None:
        """Go on to the next entry of the row that stands first in a lane."""
        heads = lane.heads
        _, _, _, row, rising = heads[0]
        for number in rising:
            if number not in self._hidden:
                entry = self._pages[number >> PAGE_BITS][number]
                heapreplace(heads, (entry.due_ms, number, entry, row, rising))
                return
        heappop(heads)

    def _open_row(self, lane: LaneWalk[Entry], row: Row) -> None:
        lane.row = next(lane.rows, None)
        if self._passes_by(lane, row):
            return
        rising = iter(row.keys)
        for number in rising:
            if number not in self._hidden:
                entry = self._pages[number >> PAGE_BITS][number]
                heappush(lane.heads, (entry.due_ms, number, entry, row, rising))
                return

    def _passes_by(self, lane: LaneWalk[Entry], row: Row) -> bool:
        """Whether nobody of this row is looked at any more."""
        left_out = row.shape_number in self._dropped or row.shape_number in lane.skipped
        return left_out or (lane.closed.any and lane.closed.has(row)) or self._is_hopeless(row)

    def _put_late_first(self, holder: BranchWalk, lanes: Children) -> None:
        """Strict lanes whose first key lies in the past go first, the most late of them first of all."""
        late: list[tuple[int, int, int]] = []
        for at, (_, _, key) in enumerate(lanes):
            lane = self._lane(holder, key)
            if lane.lane.tie in self._settings.strict:
                head = self._head(lane)
                if head is not None and head.due_ms <= self._now_ms:
                    late.append((head.due_ms, head.number, at))
        if late:
            _, tie, key = lanes.pop(min(late)[2])
            lanes.append((BEFORE_ALL, tie, key))
            heapify(lanes)

    def _branch(self, parent: BranchWalk, key: str) -> BranchWalk:
        found = self._branches.get(key)
        if found is None:
            branch = parent.branch.children[key]
            assert isinstance(branch, Branch)
            found = BranchWalk(branch, self._base.get(key), None if parent is self._root else parent.closed)
            self._branches[key] = found
        return found

    def _lane(self, holder: BranchWalk, key: str) -> LaneWalk[Entry]:
        found = self._lanes.get(key)
        if found is None:
            lane = holder.branch.children[key]
            assert isinstance(lane, Lane)
            flow = self._base.get(key)
            found = self._lanes[key] = LaneWalk(lane, flow.finish if flow is not None else 0, holder.closed)
        return found

    def _open(self, parent: BranchWalk) -> Children:
        """Sort the children of a branch by their start tags."""
        virtual = parent.virtual
        flow_of: Callable[[str], Flow | BranchWalk | LaneWalk[Entry] | None] = self._base.get
        if self._charged:  # Somebody was taken first.
            flow_of = self._as_charged
        found: Children = []
        for key, child in parent.branch.children.items():
            flow = flow_of(key)
            start = flow.finish if flow is not None and flow.finish > virtual else virtual
            found.append((start, child.tie, key))
        heapify(found)
        parent.children = found
        return found

    def _as_charged(self, key: str) -> Flow | BranchWalk | LaneWalk[Entry] | None:
        return self._charged.get(key) or self._base.get(key)

    # -- telling what became of the entry that was shown

    def take(self) -> None:
        """It is dispatched: the tags move, and others of its shape may follow."""
        entry = self._standing()
        assert self._path is not None
        tenant, holder, lane = self._path
        self._done = lane
        self._dispatched.add(entry.number)
        self._charge(entry.ask, tenant, holder, lane)
        root, lanes, holders = self._root, holder.children, tenant.children
        tenants = root.children
        assert lanes is not None
        assert holders is not None
        assert tenants is not None
        # Locks alone moved no tag, but perhaps who is the oldest.
        if len(lanes) > 1:
            _restart(lanes, holder.virtual, lane.finish, lane.lane.tie)
        if len(holders) > 1:
            tie = holder.oldest(self._dispatched, holders[0][1])
            _restart(holders, tenant.virtual, holder.finish, tie)
        if len(tenants) > 1:
            tie = tenant.oldest(self._dispatched, tenants[0][1])
            _restart(tenants, root.virtual, tenant.finish, tie)

    def skip_shape(self) -> None:
        """Nobody of its lane and shape is looked at any more."""
        self._standing()
        assert self._path is not None
        self._path[2].skipped.add(self.row.shape_number)

    def close_tenant(self, *, work: bool) -> None:
        """Nobody of its tenant and shape is looked at any more; `work`: nor any other work of it."""
        self._path[0].closed.add(self.row, work=work)  # type: ignore[index]
        self._standing()

    def pass_over(self) -> None:
        """It alone is not dispatched; others of its row may follow."""
        self._standing()
        assert self._path is not None
        self._done = self._path[2]

    def skip_row(self) -> None:
        """Nobody of its row is looked at any more."""
        self._standing()
        assert self._path is not None
        heappop(self._path[2].heads)

    def drop_shape(self) -> None:
        """Nobody of its shape is looked at any more, in any flow."""
        self._standing()
        self._dropped.add(self.row.shape_number)

    def drop_from(self, floor: Asked) -> None:
        """Nobody is looked at any more who asks for no less than this, and takes no less long."""
        if not any(covers(known, floor) for known in self._floors):
            self._floors = [known for known in self._floors if not covers(floor, known)]
            self._floors.append(floor)

    def _is_hopeless(self, row: Row) -> bool:
        for floor in self._floors:
            if covers(floor, row.asked):
                self.hopeless += 1
                return self.hopeless < self._hopeless_max  # Then it is shown, and the pass ends.
        return False

    def take_first(self, entry: Entry) -> None:
        """Dispatch an entry out of turn, before the first `next`."""
        self.leave_out(entry.number)
        self._dispatched.add(entry.number)
        tenant_key, holder_key, lane_key = order.flow_keys(entry.ask)
        tenant = self._branch(self._root, tenant_key)
        holder = self._branch(tenant, holder_key)
        self._charge(entry.ask, tenant, holder, self._lane(holder, lane_key))

    def leave_out(self, number: int) -> None:
        """Never show this entry. Before the first `next`."""
        assert self._root.children is None, "out of turn is before the first turn"
        self._hidden.add(number)

    def flows(self) -> list[Flow]:
        """The flows that were charged, as they stand now: the root and whatever was taken below it."""
        if not self._charged:
            return []
        changed = [Flow(order.ROOT, 0, self._root.virtual)]
        for key, walk in self._charged.items():
            changed.append(Flow(key, walk.finish, walk.virtual if isinstance(walk, BranchWalk) else 0))
        return changed

    def _standing(self) -> Entry:
        shown, self._shown = self._shown, None
        assert shown is not None, "nobody is shown"
        return shown

    def _charge(self, ask: Ask, tenant: BranchWalk, holder: BranchWalk, lane: LaneWalk[Entry]) -> None:
        """Move the tags as `order.charged` does."""
        if ask is not self._ask:
            self._ask, self._work = ask, self._work_of(ask)
        work = self._work
        if not work:
            return
        if not lane.weight:
            self._weigh(ask, tenant, holder, lane)
        root = self._root
        start = tenant.finish
        if start < root.virtual:
            start = root.virtual
        root.virtual = start
        tenant.finish = start - (-work // tenant.weight)
        start = holder.finish
        if start < tenant.virtual:
            start = tenant.virtual
        tenant.virtual = start
        holder.finish = start - (-work // holder.weight)
        start = lane.finish
        if start < holder.virtual:
            start = holder.virtual
        holder.virtual = start
        lane.finish = start - (-work // lane.weight)

    def _work_of(self, ask: Ask) -> int:
        work = self._works.get(ask)
        if work is None:
            work = self._cost(ask.charge) * max(1, ask.expected_ms) if ask.charge.is_work else 0
            self._works[ask] = work
        return work

    def _weigh(self, ask: Ask, tenant: BranchWalk, holder: BranchWalk, lane: LaneWalk[Entry]) -> None:
        """The first charge to a lane: from now on it has a weight, and changed tags."""
        tenant.weight, holder.weight, lane.weight = order.weights(ask, self._settings)
        for walk in (tenant, holder, lane):
            self._charged[walk.key] = walk


def _restart(children: Children, virtual: int, finish: int, tie: int) -> None:
    """File the child that stood first under its new tag. `virtual`: its parent's V."""
    heapreplace(children, (max(finish, virtual), tie, children[0][2]))
    if children[0][0] < virtual:
        # V went past others' tags (a strict lane was served before its turn): they all start at V now.
        children[:] = [(max(start, virtual), tie, key) for start, tie, key in children]
        heapify(children)
