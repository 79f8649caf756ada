"""A history once more, on a virtual clock, decided by the same functions as a server's day (QUEUE-18).

Nothing here decides: who starts is `dispatch.plan` on the `State` that a ledger has, with the tags of
`order`. Events are arrivals, ends, deadlines and changes of the weather; all of one instant are taken
together, ends first, and then the dispatcher looks.

What a replay can't know: work that is slower beside other work, people who would have asked otherwise, and
freezes. A job takes what it took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

import msgspec

from leasehold.core import admission, capacity, dispatch, learn, order, reservation
from leasehold.core.jobs import Entry, anyway
from leasehold.core.state import LEARNED, LEASES, Change, State
from leasehold.model.charge import Totals
from leasehold.model.errors import InvariantBroken
from leasehold.model.job import Job
from leasehold.model.learned import Learned
from leasehold.model.lease import Ask, Lease, LeaseState, Usage
from leasehold.model.line import Here, Waiter
from leasehold.model.node import NodeView
from leasehold.model.refusal import Reason
from leasehold.model.replay import History, Past, Weather
from leasehold.model.settings import PolicySettings

NODE = "replay"
CALM = 100
"""The quiet score where nothing was measured."""

FOREVER_MS = 1 << 61

Standing = Waiter | Job | Entry


class Run(msgspec.Struct, frozen=True, gc=False):
    """What became of one job. `started_ms` None: it never started (past its deadline, or it never fits)."""

    past: Past
    started_ms: int | None

    @property
    def ended_ms(self) -> int | None:
        return None if self.started_ms is None else self.started_ms + self.past.runs_ms


class Replay:
    """One history under one policy. `steps` runs it; then `runs` tells what became of each job."""

    def __init__(
        self,
        history: History,
        settings: PolicySettings,
        totals: Totals | None = None,
        *,
        learning: bool = False,
    ) -> None:
        """`totals`: another node than the history's. `learning`: missing bounds are learned on the way."""
        self.settings = settings
        self.totals = totals or history.totals
        self.learning = learning
        self.state = State(NODE)
        self.state.sizes.update(history.slots)
        self.now_ms = 0
        self._jobs: Sequence[Past] = sorted(history.jobs, key=lambda job: (job.at_ms, job.number))
        self._next = 0
        self._weather: Sequence[Weather] = history.weather
        self._weather_at = 0
        self._ends: list[tuple[int, int]] = []
        self._deadlines: list[tuple[int, int]] = []
        self._anyways: list[tuple[int, int]] = []
        self._waiting: dict[int, Past] = {}
        self._running: dict[int, tuple[Past, Lease]] = {}
        self._runs: dict[int, Run] = {}
        self.looks = 0
        self._look_out(Weather(0, "QUIET", CALM), always=not history.weather)

    # -- going on

    def steps(self) -> Iterator[int]:
        """Go from instant to instant; each time tells how many jobs have ended or were given up."""
        while (instant := self._next_instant()) is not None:
            self.now_ms = instant
            self._end_due()
            self._turn_weather()
            self._arrive()
            self._give_up()
            self._lift()
            if len(self.state.line):
                self._dispatch()
            yield len(self._runs)
        for past in self._waiting.values():  # Nothing will ever change for them.
            self._runs[past.number] = Run(past, None)

    def runs(self) -> list[Run]:
        """Each job by its number."""
        return [self._runs[number] for number in sorted(self._runs)]

    def _next_instant(self) -> int | None:
        times = []
        if self._next < len(self._jobs):
            times.append(self._jobs[self._next].at_ms)
        if self._ends:
            times.append(self._ends[0][0])
        if self._waiting:
            times += [dues[0][0] for dues in (self._deadlines, self._anyways) if dues]
            reserved = self.state.reserved
            if reserved is not None and reserved.start_ms > self.now_ms:
                times.append(reserved.start_ms)  # Who runs past its bound puts it off: then others may pass.
        if self._weather_at < len(self._weather) and (self._waiting or self._next < len(self._jobs)):
            times.append(self._weather[self._weather_at].at_ms)
        return max(self.now_ms, min(times)) if times else None

    def _end_due(self) -> None:
        while self._ends and self._ends[0][0] <= self.now_ms:
            past, lease = self._running.pop(heappop(self._ends)[1])
            self.state.apply(Change(LEASES, lease.lease_id, None))
            ran_ms = self.now_ms - lease.granted_ms
            if lease.ask.charge.is_work:
                cost = capacity.dominant_share_cost(lease.ask.charge, self.totals)
                for flow in order.corrected(
                    self.state.flows, lease.ask, cost, lease.ask.expected_ms, ran_ms, self.settings.line
                ):
                    self.state.flows[flow.key] = flow
            self._runs[past.number] = Run(past, lease.granted_ms)
            if self.learning:
                self._learn(lease.ask, ran_ms)

    def _turn_weather(self) -> None:
        found: Weather | None = None
        while self._weather_at < len(self._weather) and self._weather[self._weather_at].at_ms <= self.now_ms:
            found = self._weather[self._weather_at]
            self._weather_at += 1
        if found is not None:
            self._look_out(found)

    def _look_out(self, weather: Weather, *, always: bool = False) -> None:
        self.state.view = NodeView(
            NODE,
            FOREVER_MS,  # What is recorded is never stale: a gap of the record is UNKNOWN by itself.
            weather.state,
            weather.score,
            weather.at_ms,
            self.totals,
            always=always,
        )

    def _arrive(self) -> None:
        while self._next < len(self._jobs) and self._jobs[self._next].at_ms <= self.now_ms:
            past = self._jobs[self._next]
            self._next += 1
            ask = self._told(past.ask) if self.learning else past.ask
            if ask.node != NODE:
                ask = msgspec.structs.replace(ask, node=NODE)
            if capacity.never_fits(ask.charge, self.totals, self.settings.capacity, self.state.sizes):
                self._runs[past.number] = Run(past, None)
                continue
            due_ms = order.static_due(ask, past.at_ms, self.settings.line, past.deadline_ms)
            self.state.line.add(Waiter(str(past.number), past.number, ask, past.at_ms, due_ms))
            self._waiting[past.number] = past
            if past.deadline_ms:
                heappush(self._deadlines, (past.deadline_ms, past.number))
            if past.anyway_ms:
                heappush(self._anyways, (past.anyway_ms, past.number))

    def _give_up(self) -> None:
        """Who has not started by its deadline never does (QUEUE-19)."""
        while self._deadlines and self._deadlines[0][0] <= self.now_ms:
            past = self._waiting.pop(heappop(self._deadlines)[1], None)
            if past is not None:
                self.state.line.remove(past.number)
                self._runs[past.number] = Run(past, None)

    def _lift(self) -> None:
        """From its `start_anyway_by` on neither quiet nor the curve stand before a job (QUEUE-19)."""
        while self._anyways and self._anyways[0][0] <= self.now_ms:
            number = heappop(self._anyways)[1]
            entry = self.state.line.remove(number)
            if entry is not None:
                self.state.line.add(Entry(number, anyway(entry.ask), entry.due_ms))

    # -- deciding, by the functions that a server decides with

    def _dispatch(self) -> None:
        more = True
        while more and len(self.state.line):
            self.looks += 1
            plan = self._plan()
            self.state.reserved = plan.reserved
            for entry in plan.grants:
                self._grant(entry)
            more = plan.more
        self._check()

    def _plan(self) -> dispatch.Plan[Standing]:
        state, settings, now_ms = self.state, self.settings, self.now_ms
        view = state.view
        assert view is not None

        def gate(entry: Standing) -> Reason | None:
            stands = admission.gates(state, entry.ask, now_ms, settings)
            return stands[0] if stands else None

        return dispatch.plan(
            state.line,
            state.flows,
            lambda entry: Here.READY,  # A job of a history waits as long as it takes.
            state.book,
            view,
            state.sizes,
            lambda: [reservation.running(lease, now_ms) for lease in state.leases.values()],
            settings,
            now_ms,
            gate,
            kept=state.reserved,
        )

    def _grant(self, entry: Standing) -> None:
        state, ask, number = self.state, entry.ask, entry.number
        past = self._waiting.pop(number)
        state.line.remove(number)
        lease = Lease(str(number), number, ask, LeaseState.ACTIVE, self.now_ms, self.now_ms)
        state.apply(Change(LEASES, lease.lease_id, lease))
        if ask.charge.is_work:
            cost = capacity.dominant_share_cost(ask.charge, self.totals)
            for flow in order.charged(state.flows, ask, cost, self.settings.line):
                state.flows[flow.key] = flow
        self._running[number] = (past, lease)
        heappush(self._ends, (self.now_ms + past.runs_ms, number))

    def _check(self) -> None:
        """INV-1, wherever work was started: a replay that over-commits would tell stories."""
        book = self.state.book
        if book.cpu_millicores > self.totals.cpu_millicores or book.memory_bytes > self.totals.memory_bytes:
            raise InvariantBroken("more is held than the node has", at_ms=self.now_ms)

    # -- estimates

    def _told(self, ask: Ask) -> Ask:
        """The ask with what was learned of its like, where it says nothing of its time itself (LEASE-15)."""
        if ask.bound_ms:
            return ask
        learned = self.state.learned.get(f"{ask.holder}/{ask.job_type}")
        known = learn.suggest(learned, self.totals) if learned is not None else None
        if known is None:
            return ask
        return msgspec.structs.replace(
            ask, bound_ms=known.bound_ms, expected_ms=max(1, known.duration_ms.p50)
        )

    def _learn(self, ask: Ask, ran_ms: int) -> None:
        key = f"{ask.holder}/{ask.job_type}"
        before = self.state.learned.get(key) or Learned(ask.holder, ask.job_type)
        usage = Usage(cpu_ms=ask.charge.cpu_millicores * ran_ms // 1000)
        self.state.apply(Change(LEARNED, key, learn.observe(before, usage, ran_ms)))
