"""What stands now, run forward on a virtual clock by the dispatcher itself (QUEUE-12).

A `Scene` is a branch of the state: records are shared, since none ever changes, tables and sums are its own.
One `Forward` after the other goes through it, each with other durations; afterwards the scene is as it was.
Nothing here decides who starts: that is `dispatch.plan`, with the tags of `order`, as a ledger asks it.

What can't be foreseen is left out: who comes later, work that is slower beside other work, and gates without
a known end. An entry behind such a gate never starts here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush
from typing import Protocol

from leasehold.core import admission, capacity, dispatch, order, reservation
from leasehold.core.brake import ran_ms
from leasehold.core.jobs import Entry
from leasehold.core.state import LEASES, Change, State
from leasehold.model.job import Job
from leasehold.model.lease import Ask, Lease, LeaseState
from leasehold.model.line import Here, Waiter
from leasehold.model.node import NodeView
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings

Standing = Waiter | Job | Entry

LINE_MAX, FIRST = 5_000, 256
"""Of a longer line than this only so many, first in order, are run forward."""

AT_ONCE, LEASES_AT_ONCE = 128, 16
"""Entries or leases that are looked at between two steps."""

SHUT = Reason(Code.BLOCKED, "")
"""Stands for any gate that will open."""

FORESEEN = frozenset({Code.BLOCKED, Code.COOLING_DOWN, Code.NO_WINDOW})
"""Gates that tell when they open, where they tell a time."""

FAR_S = 10 * 365 * 86_400
"""What opens later does not."""

Takes = Callable[[int, Ask, int], int | None]
"""How long work of this number and ask takes in all, where it has run for so long already; None: nobody
knows, and it never ends.
"""


class Takers(Protocol):
    """Who does jobs, as far as is known: one instance for each way forward."""

    def here(self, ask: Ask) -> Here: ...

    def started(self, number: int, ask: Ask) -> None: ...

    def ended(self, number: int) -> None: ...


class Anybody:
    """There is always somebody."""

    def here(self, ask: Ask) -> Here:
        return Here.READY

    def started(self, number: int, ask: Ask) -> None:
        return

    def ended(self, number: int) -> None:
        return


class Scene:
    """A branch of a state at `now_ms`. What it needs of the state is taken at once; `fill` makes its line.

    `coming` are those that will stand in line: (from when on, number, entry).
    """

    def __init__(
        self,
        state: State,
        now_ms: int,
        settings: PolicySettings,
        *,
        view: NodeView | None = None,
        keep: Callable[[Standing], bool] = lambda _entry: True,
        coming: Collection[tuple[int, int, Standing]] = (),
    ) -> None:
        """`view`: another one than the state's. `keep` leaves out who could not be told."""
        self.now_ms = now_ms
        self.settings = settings
        self.is_cut = len(state.line) > LINE_MAX
        """Whether more wait than are run forward."""
        self.state = other = State(state.node_id)
        other.view, other.owner, other.broken = view or state.view, state.owner, state.broken
        other.unsettled, other.sizes = dict(state.unsettled), dict(state.sizes)
        other.tenants, other.addons = dict(state.tenants), dict(state.addons)
        other.leases, other.book = dict(state.leases), state.book.copy()
        other.flows, other.reserved = dict(state.flows), state.reserved
        self._opens: dict[Ask, int | None] = {}
        self.coming = [each for each in coming if self.opens_in_time(each[2])]
        self._entries = [entry for entry in _first(state, now_ms, settings) if keep(entry)]
        self.numbers = {entry.number for entry in self._entries} | {number for _, number, _ in coming}
        """Who stands in it, or is kept out by a gate that nobody can foresee."""

    def fill(self) -> Iterator[None]:
        """File who waits, a few at a time."""
        for at, entry in enumerate(self._entries):
            if self.opens_in_time(entry):
                self.state.line.add(entry)
            if at % AT_ONCE == 0:
                yield
        self._entries = []

    def opens_in_time(self, entry: Standing) -> bool:
        """Whether it is known when no gate stands before it."""
        return self.opens_ms(entry.ask) is not None

    def opens_ms(self, ask: Ask) -> int | None:
        """From when on no gate stands before such an ask; None where nobody can know."""
        if ask not in self._opens:
            self._opens[ask] = self._look(ask)
        return self._opens[ask]

    def _look(self, ask: Ask) -> int | None:
        opens_ms = self.now_ms
        for reason in admission.gates(self.state, ask, self.now_ms, self.settings):
            if not foreseen(reason):
                return None
            assert reason.retry_after_s is not None, "a gate that is foreseen tells when it opens"
            opens_ms = max(opens_ms, self.now_ms + 1000 * reason.retry_after_s)
        return opens_ms


def foreseen(reason: Reason) -> bool:
    """Whether this gate tells when it opens."""
    return reason.code in FORESEEN and reason.retry_after_s is not None and reason.retry_after_s < FAR_S


def _first(state: State, now_ms: int, settings: PolicySettings) -> Iterator[Standing]:
    """All that wait, or of very many the first."""
    if len(state.line) <= LINE_MAX:
        yield from state.line.entries.values()
        return
    walk = state.line.walk(state.flows, settings.line, now_ms, lambda charge: max(1, charge.units))
    for _ in range(FIRST):
        entry = walk.next()
        if entry is None:
            return
        walk.take()
        yield entry


class Forward:
    """One way that it may go on from a scene. `steps` runs it; `starts` then tells when who started.

    `work` counts the entries that the dispatcher has looked at: what it has cost.
    """

    def __init__(self, scene: Scene, takes: Takes, takers: Takers | None = None, *, work_max: int) -> None:
        self.now_ms = scene.now_ms
        self.starts: dict[int, int] = {}
        self.work = 0
        self.is_over = False
        """Whether it was run until nothing more happens, and not only as far as `work_max` allowed."""
        self._scene = scene
        self._takes = takes
        self._takers = takers or Anybody()
        self._work_max = work_max
        self._ends: list[tuple[int, int]] = []
        self._held: dict[int, Lease] = {}
        self._granted: list[Standing] = []
        self._came: set[int] = set()
        self._opens: list[int] = []
        self._coming = list(scene.coming)
        heapify(self._coming)

    def steps(self, until: Collection[int] = ()) -> Iterator[None]:
        """Go on until all of `until` have started (none: to the end), then put the scene back as it was.

        Between two steps the dispatcher has made one pass at most. Who leaves off before the last one must
        leave the scene alone as well.
        """
        state = self._scene.state
        before = (state.leases, state.book, state.flows, state.reserved)
        state.leases, state.book, state.flows = dict(before[0]), before[1].copy(), dict(before[2])
        yield from self._begin()
        yield from self._go_on(set(until))
        state.leases, state.book, state.flows, state.reserved = before
        for number in self._came:
            state.line.remove(number)
        for at, entry in enumerate(self._granted):
            state.line.add(entry)
            if at % AT_ONCE == AT_ONCE - 1:
                yield

    def _begin(self) -> Iterator[None]:
        state, now_ms = self._scene.state, self.now_ms
        for at, lease in enumerate(state.leases.values()):
            self._held[lease.token] = lease
            if lease.ask.guard is None:
                age_ms = ran_ms(lease, now_ms)
                takes_ms = self._takes(lease.job or lease.token, lease.ask, age_ms)
                if takes_ms is not None:
                    self._ends.append((now_ms + max(1, takes_ms - age_ms), lease.token))
            if at % LEASES_AT_ONCE == LEASES_AT_ONCE - 1:
                yield
        heapify(self._ends)
        asks = [ask for ask, _ in state.line.asks()] + [entry.ask for _, _, entry in self._coming]
        opens = {self._scene.opens_ms(ask) for ask in asks}
        self._opens = sorted(each for each in opens if each is not None and each > now_ms)

    def _go_on(self, until: set[int]) -> Iterator[None]:
        wanted = len(until)
        while self.work < self._work_max:
            more = bool(len(self._scene.state.line))
            while more and self.work < self._work_max:
                more = self._dispatch(until)
                yield
            if wanted and not until:
                return
            if not self._next():
                self.is_over = True
                return

    def _next(self) -> bool:
        """Go to the next instant at which anything changes; False where there is none."""
        line = self._scene.state.line
        heaps = (self._ends, self._coming)
        times = [heap[0][0] for heap in heaps if heap] + self._opens[:1]
        if not times or not (len(line) or self._coming):
            return False
        reserved = self._scene.state.reserved
        if reserved is not None and reserved.start_ms > self.now_ms:
            times.append(reserved.start_ms)  # Who runs past its bound puts it off: then others may pass.
        self.now_ms = max(self.now_ms, min(times))
        while self._ends and self._ends[0][0] <= self.now_ms:
            self._end(heappop(self._ends)[1])
        while self._opens and self._opens[0] <= self.now_ms:
            del self._opens[0]
        while self._coming and self._coming[0][0] <= self.now_ms:
            _, number, entry = heappop(self._coming)
            line.add(entry)
            self._came.add(number)
        return True

    def _end(self, token: int) -> None:
        state, lease = self._scene.state, self._held.pop(token)
        state.apply(Change(LEASES, lease.lease_id, None))
        self._takers.ended(lease.job or lease.token)
        charge = lease.ask.charge
        if charge.is_work and state.view is not None:
            cost = capacity.dominant_share_cost(charge, state.view.totals)
            took_ms = ran_ms(lease, self.now_ms)
            line = self._scene.settings.line
            for flow in order.corrected(state.flows, lease.ask, cost, lease.ask.expected_ms, took_ms, line):
                state.flows[flow.key] = flow

    # -- deciding, by the functions that a server decides with

    def _dispatch(self, until: set[int]) -> bool:
        """One pass. Whether another one is due at once."""
        state, settings, now_ms = self._scene.state, self._scene.settings, self.now_ms
        if state.view is None:
            return False
        plan = dispatch.plan(
            state.line,
            state.flows,
            self._here,
            state.book,
            state.view,
            state.sizes,
            lambda: [reservation.running(lease, now_ms) for lease in state.leases.values()],
            settings,
            now_ms,
            self._gate,
            kept=state.reserved,
            started=self._taken,
            tenants=state.tenants,
        )
        self.work += 1 + len(plan.grants) + len(plan.passed)
        state.reserved = plan.reserved
        for entry in plan.grants:
            self._grant(entry)
            until.discard(entry.number)
        return plan.more and bool(len(state.line))

    def _gate(self, entry: Standing) -> Reason | None:
        opens_ms = self._scene.opens_ms(entry.ask)
        return SHUT if opens_ms is None or opens_ms > self.now_ms else None

    def _here(self, entry: Standing) -> Here:
        return Here.READY if isinstance(entry, Waiter) else self._takers.here(entry.ask)

    def _taken(self, entry: Standing) -> None:
        if not isinstance(entry, Waiter):
            self._takers.started(entry.number, entry.ask)

    def _grant(self, entry: Standing) -> None:
        state, ask, number, now_ms = self._scene.state, entry.ask, entry.number, self.now_ms
        state.line.remove(number)
        if number in self._came:
            self._came.discard(number)
        else:
            self._granted.append(entry)
        self.starts[number] = now_ms
        lease = Lease(f"then-{number}", number, ask, LeaseState.ACTIVE, now_ms, now_ms)
        state.apply(Change(LEASES, lease.lease_id, lease))
        if ask.charge.is_work:
            assert state.view is not None, "nothing is granted before anything is known of the machine"
            cost = capacity.dominant_share_cost(ask.charge, state.view.totals)
            for flow in order.charged(state.flows, ask, cost, self._scene.settings.line):
                state.flows[flow.key] = flow
        self._held[number] = lease
        takes_ms = self._takes(number, ask, 0)
        if takes_ms is not None:
            heappush(self._ends, (now_ms + max(1, takes_ms), number))
