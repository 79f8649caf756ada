"""The index of all that waits: a tree of tenant, holder, lane, and in each lane a heap per shape (QUEUE-8).

It holds no tags: `Flow` records are handed in, so the index is the same whatever happened before, and can be
built afresh from the waiters alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leasehold.core import order
from leasehold.core.branch import Branch, Key, Lane, Place, Shape, shape_of
from leasehold.core.heap import Heap
from leasehold.core.walk import Walk
from leasehold.model.charge import Charge
from leasehold.model.line import Waiter
from leasehold.model.settings import LineSettings

EXACT_PLACES = 64
"""Places up to this one are found by going through the order itself; those behind are estimated."""


def plain_cost(charge: Charge) -> int:
    """An order's cost where a node's totals are not at hand: its units."""
    return max(1, charge.units)


def everybody(ticket: str) -> bool:
    """Nobody is passed over."""
    return True


class Line:
    """All waiters of one ledger. Tickets and numbers are unique. Empty branches are dropped at once."""

    __slots__ = ("places", "shapes", "tenants")

    def __init__(self) -> None:
        self.tenants: dict[str, Branch] = {}
        self.places: dict[str, Place] = {}
        self.shapes: dict[Shape, int] = {}

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, ticket: str) -> bool:
        return ticket in self.places

    def waiter(self, ticket: str) -> Waiter | None:
        """Who holds this ticket, if anybody waits with it."""
        place = self.places.get(ticket)
        return place.waiter if place is not None else None

    def add(self, waiter: Waiter) -> None:
        """File a waiter. Raises ValueError where its ticket is in the line already."""
        if waiter.ticket in self.places:
            raise ValueError(f"ticket {waiter.ticket} is in the line already; remove it first")
        ask = waiter.ask
        tenant_key, holder_key, lane_key = order.flow_keys(ask)
        tenant = self.tenants.get(tenant_key)
        if tenant is None:
            tenant = self.tenants[tenant_key] = Branch(tenant_key, self._number_waits)
        holder = tenant.children.get(holder_key)
        if holder is None:
            holder = tenant.children[holder_key] = Branch(holder_key, self._number_waits)
        assert isinstance(holder, Branch)
        lane = holder.children.get(lane_key)
        if lane is None:
            lane = holder.children[lane_key] = Lane(lane_key, ask.priority)
        assert isinstance(lane, Lane)
        shape = shape_of(ask)
        key = (waiter.due_ms, waiter.number, waiter.ticket)
        place = self.places[waiter.ticket] = Place(waiter, tenant, holder, lane, shape, key)
        heap = lane.shapes.get(shape)
        if heap is None:
            heap = lane.shapes[shape] = Heap(self._key_waits)
        heap.push(key)
        self.shapes[shape] = self.shapes.get(shape, 0) + 1
        lane.waiting += 1
        tenant.numbers.push(place.entry)
        holder.numbers.push(place.entry)

    def remove(self, ticket: str) -> Waiter | None:
        """Take a waiter out: it was granted, left, or was forgotten. None when it did not wait."""
        place = self.places.pop(ticket, None)
        if place is None:
            return None
        tenant, holder, lane = place.tenant, place.holder, place.lane
        heap = lane.shapes[place.shape]
        heap.died()
        self.shapes[place.shape] -= 1
        if not self.shapes[place.shape]:
            del self.shapes[place.shape]
        if not len(heap):
            del lane.shapes[place.shape]
        lane.waiting -= 1
        if not lane.waiting:
            del holder.children[lane.key]
        holder.numbers.died()
        if not len(holder.numbers):
            del tenant.children[holder.key]
        tenant.numbers.died()
        if not len(tenant.numbers):
            del self.tenants[tenant.key]
        return place.waiter

    def _key_waits(self, key: Key) -> bool:
        place = self.places.get(key[2])
        return place is not None and place.key is key

    def _number_waits(self, entry: tuple[int, str]) -> bool:
        place = self.places.get(entry[1])
        return place is not None and place.entry is entry  # Who left and came back has another one.

    def walk(
        self,
        flows: order.Flows,
        settings: LineSettings,
        now_ms: int,
        cost: Callable[[Charge], int],
        here: Callable[[str], bool] = everybody,
    ) -> Walk:
        """One pass in order; the line must not change during it.

        `cost` is what a charge counts for in the order; who is not `here`, by the ticket, is passed over.
        """
        return Walk(self.tenants, self.places, len(self.shapes), flows, settings, now_ms, cost, here)

    def heads(
        self,
        flows: order.Flows,
        settings: LineSettings,
        eligible: Callable[[Waiter], bool],
        *,
        now_ms: int = 0,
    ) -> Iterator[Waiter]:
        """The first eligible waiter of each (flow, shape), in QUEUE-6's order as the tags stand now.

        At most `settings.looked_at` shapes are looked at; one whose first waiter is not eligible is left out
        as a whole.
        """
        walk = self.walk(flows, settings, now_ms, plain_cost)
        for _ in range(settings.looked_at):
            waiter = walk.next()
            if waiter is None:
                return
            walk.skip_shape()
            if eligible(waiter):
                yield waiter

    def position(
        self,
        ticket: str,
        flows: order.Flows,
        settings: LineSettings,
        *,
        now_ms: int = 0,
        cost: Callable[[Charge], int] = plain_cost,
    ) -> int:
        """The place in line, from 1: how many would be dispatched up to this one if everything fitted.

        Exact to 64 (or the end of what comes first); behind that it is the rank by due time among all, at
        least 65. Raises KeyError where nobody waits with this ticket.
        """
        mine = self.places[ticket].key
        walk = self.walk(flows, settings, now_ms, cost)
        for position in range(1, EXACT_PLACES + 1):
            waiter = walk.next()
            if waiter is None or waiter.ticket == ticket:
                return position
            walk.take()
        return max(EXACT_PLACES + 1, 1 + sum(1 for place in self.places.values() if place.key < mine))
