"""One pass through the line in the order of QUEUE-6, trying dispatches on a scratch copy of the tags.

At each level the child with the least start tag comes first; equal ones go by the oldest number that waits in
them, lanes by priority. Within a lane it is the static key. The line itself is not changed, and must not
change during the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush

from leasehold.core import order
from leasehold.core.branch import Branch, Key, Lane, Place, Shape
from leasehold.model.charge import Charge
from leasehold.model.line import Waiter
from leasehold.model.settings import LineSettings


class LaneWalk:
    """One lane during the pass: the next waiter of each shape that is still looked at, the least first."""

    __slots__ = ("_heads", "_shown", "lane")

    def __init__(self, lane: Lane, dropped: set[Shape], shown: Callable[[str], bool]) -> None:
        self.lane = lane
        self._shown = shown
        self._heads: list[tuple[Key, Shape, Iterator[Key]]] = []
        for shape, heap in lane.shapes.items():
            if shape not in dropped:
                rising = heap.rising()
                key = self._next(rising)
                if key is not None:
                    self._heads.append((key, shape, rising))
        # Keys differ, so neither shapes nor iterators are ever compared.
        heapify(self._heads)

    def _next(self, rising: Iterator[Key]) -> Key | None:
        for key in rising:
            if self._shown(key[2]):
                return key
        return None

    def head(self, dropped: set[Shape]) -> tuple[Key, Shape] | None:
        """The least waiter that was not taken yet, of a shape that was not dropped."""
        heads = self._heads
        while heads:
            key, shape, _ = heads[0]
            if shape not in dropped:
                return key, shape
            heappop(heads)
        return None

    def advance(self) -> None:
        """Go on to the next waiter of the shape that stands first."""
        _, shape, rising = heappop(self._heads)
        key = self._next(rising)
        if key is not None:
            heappush(self._heads, (key, shape, rising))

    def drop(self) -> None:
        """Look no more at the shape that stands first."""
        heappop(self._heads)


class BranchWalk:
    """A tenant or holder during the pass: its children that are still looked at, by (start tag, tie)."""

    __slots__ = ("_next", "_numbers", "branch", "children")

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.children: list[tuple[int, int, str]] = []
        self._numbers: Iterator[tuple[int, str]] | None = None
        self._next: tuple[int, str] | None = None

    def oldest(self, dispatched: set[str], last: int) -> int:
        """The least number below this branch that was not dispatched; `last` when none is left."""
        if self._numbers is None:
            self._numbers = self.branch.numbers.rising()
            self._next = next(self._numbers, None)
        while self._next is not None:
            number, ticket = self._next
            if ticket not in dispatched:
                return number
            self._next = next(self._numbers, None)
        return last


class Walk:
    """`next` shows a waiter; then `take`, `skip_shape` or `drop_shape` says what became of it."""

    def __init__(
        self,
        tenants: Mapping[str, Branch],
        places: Mapping[str, Place],
        shapes: int,
        flows: order.Flows,
        settings: LineSettings,
        now_ms: int,
        cost: Callable[[Charge], int],
        here: Callable[[str], bool],
    ) -> None:
        self._root = tenants
        self._places = places
        self._shapes = shapes
        self._here = here
        self._flows = order.Overlay(flows)
        self._settings = settings
        self._now_ms = now_ms
        self._cost = cost
        self._dropped: set[Shape] = set()
        self._hidden: set[str] = set()
        self._dispatched: set[str] = set()
        self._tenants: list[tuple[int, int, str]] | None = None
        self._branches: dict[str, BranchWalk] = {}
        self._lanes: dict[str, LaneWalk] = {}
        self._path: tuple[BranchWalk, BranchWalk, LaneWalk] | None = None
        self._shown: Waiter | None = None
        self._shape: Shape = ()

    # -- looking

    def next(self) -> Waiter | None:
        """The first waiter of those left; None when there are none."""
        if self._tenants is None:
            self._tenants = self._sorted(order.ROOT, self._root)
        while self._tenants and len(self._dropped) < self._shapes:
            tenant = self._branch(self._root[self._tenants[0][2]])
            while tenant.children:
                holder_branch = tenant.branch.children[tenant.children[0][2]]
                assert isinstance(holder_branch, Branch)
                holder = self._branch(holder_branch)
                if self._show(tenant, holder):
                    return self._shown
                heappop(tenant.children)
            heappop(self._tenants)
        self._path = None
        return None

    def _show(self, tenant: BranchWalk, holder: BranchWalk) -> bool:
        """Find the first waiter below a holder."""
        if self._settings.strict:
            self._put_late_first(holder)
        while holder.children:
            lane_key = holder.children[0][2]
            lane = self._lane(holder, lane_key)
            head = lane.head(self._dropped)
            if head is not None:
                self._path = (tenant, holder, lane)
                self._shape = head[1]
                self._shown = self._places[head[0][2]].waiter
                return True
            heappop(holder.children)
        return False

    def _put_late_first(self, holder: BranchWalk) -> None:
        """Strict lanes whose first key lies in the past go first, the most late of them first of all."""
        late: list[tuple[Key, int]] = []
        for at, (_, _, lane_key) in enumerate(holder.children):
            lane = self._lane(holder, lane_key)
            if lane.lane.priority in self._settings.strict:
                head = lane.head(self._dropped)
                if head is not None and head[0][0] <= self._now_ms:
                    late.append((head[0], at))
        if late:
            at = min(late)[1]
            _, tie, key = holder.children.pop(at)
            holder.children.append((-1, tie, key))
            heapify(holder.children)

    def _branch(self, branch: Branch) -> BranchWalk:
        walk = self._branches.get(branch.key)
        if walk is None:
            walk = self._branches[branch.key] = BranchWalk(branch)
            walk.children = self._sorted(branch.key, branch.children)
        return walk

    def _lane(self, holder: BranchWalk, key: str) -> LaneWalk:
        walk = self._lanes.get(key)
        if walk is None:
            lane = holder.branch.children[key]
            assert isinstance(lane, Lane)
            walk = self._lanes[key] = LaneWalk(lane, self._dropped, self._is_shown)
        return walk

    def _is_shown(self, ticket: str) -> bool:
        return ticket not in self._hidden and self._here(ticket)

    def _sorted(self, parent_key: str, children: Mapping[str, Branch | Lane]) -> list[tuple[int, int, str]]:
        parent = self._flows.get(parent_key)
        virtual = parent.virtual if parent is not None else 0
        flow_of = self._flows.get
        found = []
        for key, child in children.items():
            flow = flow_of(key)
            start = flow.finish if flow is not None and flow.finish > virtual else virtual
            found.append((start, child.priority if isinstance(child, Lane) else child.oldest, key))
        heapify(found)
        return found

    # -- telling what became of the waiter that was shown

    def take(self) -> None:
        """It is dispatched: the tags move, and others of its shape may follow."""
        waiter, path = self._standing()
        path[2].advance()
        self._dispatch(waiter)
        self._sort_again(path)

    def skip_shape(self) -> None:
        """Nobody of its flow and shape is looked at any more."""
        self._standing()[1][2].drop()

    def drop_shape(self) -> None:
        """Nobody of its shape is looked at any more, in any flow."""
        self._standing()
        self._dropped.add(self._shape)

    def take_first(self, waiter: Waiter) -> None:
        """Dispatch a waiter out of turn, before the first `next`."""
        self.leave_out(waiter.ticket)
        self._dispatch(waiter)

    def leave_out(self, ticket: str) -> None:
        """Never show this waiter. Before the first `next`."""
        assert self._tenants is None, "out of turn is before the first turn"
        self._hidden.add(ticket)

    def _standing(self) -> tuple[Waiter, tuple[BranchWalk, BranchWalk, LaneWalk]]:
        assert self._shown is not None, "nobody is shown"
        assert self._path is not None, "nobody is shown"
        shown, self._shown = self._shown, None
        return shown, self._path

    def _dispatch(self, waiter: Waiter) -> None:
        self._dispatched.add(waiter.ticket)
        if waiter.ask.charge.is_work:
            cost = self._cost(waiter.ask.charge)
            for flow in order.charged(self._flows, waiter.ask, cost, self._settings):
                self._flows.changed[flow.key] = flow

    def _sort_again(self, path: tuple[BranchWalk, BranchWalk, LaneWalk]) -> None:
        """File the lane, holder and tenant that stood first under their new tags (locks alone moved none)."""
        tenant, holder, lane = path
        assert self._tenants is not None
        self._restart(holder.children, holder.branch.key, lane.lane.priority)
        last = tenant.children[0][1]
        self._restart(tenant.children, tenant.branch.key, holder.oldest(self._dispatched, last))
        last = self._tenants[0][1]
        self._restart(self._tenants, order.ROOT, tenant.oldest(self._dispatched, last))

    def _restart(self, children: list[tuple[int, int, str]], parent_key: str, tie: int) -> None:
        key = heappop(children)[2]
        parent = self._flows.get(parent_key)
        heappush(children, (order.start_tag(self._flows.get(key), parent), tie, key))
        virtual = parent.virtual if parent is not None else 0
        if children[0][0] < virtual:
            # V went past others' tags (a strict lane was served before its turn): they all start at V now.
            children[:] = [(max(start, virtual), tie, key) for start, tie, key in children]
            heapify(children)
