"""When a job will start, run forward beside everything else, and the rate at which that was right (QUEUE-12).

Runs go in slices of a millisecond or a little more on the event loop, which is free for two between them.
What they found is good for five seconds, for everybody who waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from leasehold.control.demand import Demand
from leasehold.control.estimates import scenes, views
from leasehold.control.estimates.book import EstimateBook
from leasehold.control.estimates.told import Told
from leasehold.control.ledger import Ledger
from leasehold.core import admission, estimate
from leasehold.core.attempt import job_id
from leasehold.core.estimate import Estimator, Guess
from leasehold.core.forward import foreseen
from leasehold.core.spans import Spans
from leasehold.core.state import State
from leasehold.model.event import Event
from leasehold.model.ids import to_number
from leasehold.model.job import WAITING, Job, JobState
from leasehold.model.lease import Ask
from leasehold.model.refusal import Code
from leasehold.model.settings import PolicySettings
from leasehold.wire import job as wire

FRESH_MS = 5_000
"""So long a run forward is good for."""

REST, REST_MS_MAX = 4, 2_000
"""After a run that was busy for n ms nothing is run for so many times n, however many ask."""

SLICE_MS, PAUSE_MS, STEPS = 1, 2, 64
"""A slice ends after so long and the step under way (up to 4 ms), or so many steps: a virtual clock does not
move by work. Then the event loop is free for the pause.
"""

LONGEST_MS = 5_000
"""No run takes longer, on however busy a machine: what it has found by then has to do."""

DRAWS_MIN = 4
"""So many ways forward have to be complete for anything to be told."""

SPANS_MS = 60_000
"""What was learned of durations is looked at anew after this."""

AT_SUBMISSION_MS = 60_000
"""An estimate counts as given at submission up to this age of a job."""

SAMPLE_MS, SAMPLED = 30_000, 64
"""Each so often those of the newest jobs that still wait are told, so that the hit rate does not hang upon
who asks.
"""

OF_THE_MACHINE = frozenset({Code.STATS_UNKNOWN, Code.PANIC, Code.NOT_QUIET, Code.CONSTRAINT})
"""Gates that nobody can foresee: others' use of the machine."""


class EstimateService:
    """One per server."""

    def __init__(self, ledger: Ledger, settings: Callable[[], PolicySettings], demand: Demand) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._settings = settings
        self._demand = demand
        self.book = EstimateBook()
        self._turn = asyncio.Lock()
        self._runs: dict[bool, tuple[Estimator, int]] = {}
        self._rests_until_ms = 0
        self._spans: tuple[Spans, int, int] | None = None
        self._submitted: deque[str] = deque(maxlen=SAMPLED)

    # -- telling

    async def explain(self, shown: wire.JobOut) -> wire.JobExplained:
        """A job as it is shown, and when it will start."""
        number = to_number("job", shown.job_id)
        job = self._ledger.state.jobs.get(number) if number is not None else None
        out = wire.JobExplained(**msgspec.structs.asdict(shown))
        out.waiting = len(self._ledger.state.line)
        if job is not None and job.state in WAITING:
            found = await self.of(job)
            out.estimate = views.told(found, self.book.hits(self._ledger.state), self._clock.wall_ms())
        return out

    async def of(self, job: Job) -> Told:
        """When this job starts, as far as anybody can know."""
        note = self._out_of_line(job)
        if note:
            return Told(None, note=note)
        gated, of_machine = self._gate(job)
        if gated and not of_machine:
            return Told(None, note=gated)
        estimator = await self._run(job, as_quiet=bool(gated))
        told = self._guess(estimator, job.number)
        if told is None:
            return Told(None, note=gated or self._why_unknown(estimator))
        if gated:
            return Told(told, after_quiet=True, note=gated)
        self._given(job, told)
        return Told(told)

    async def of_ask(self, ask: Ask) -> Told | None:
        """When a request would start that asked so now; None where that can't be run at this moment: nobody
        waits for it.
        """
        now_ms = self._clock.now_ms()
        if self._turn.locked() or now_ms < self._rests_until_ms:
            return None
        gated, of_machine = self._unforeseen(ask)
        if gated and not of_machine:
            return Told(None, note=gated)
        async with self._turn:
            estimator = await self._forward(ask, as_quiet=bool(gated))
        told = self._guess(estimator, scenes.NOBODY)
        note = gated or ("" if told is not None else self._why_unknown(estimator))
        return Told(told, after_quiet=bool(gated and told), note=note)

    def _out_of_line(self, job: Job) -> str:
        """Why it can't be told of a job that stands nowhere in line; "" where it does, or will."""
        if job.state is JobState.HELD:
            return "it is held: it starts when somebody resumes it"
        if job.state is not JobState.QUEUED:
            return f"it is {job.state}"
        if job.waits_for:
            others = f" and {len(job.waits_for) - 1} more" * (len(job.waits_for) > 1)
            return f"it comes after {job_id(job.waits_for[0])}{others}"
        ask = job.terms.ask
        if not scenes.has_worker(self._ledger.state, self._demand, ask):
            return "no worker is there that does it"
        if scenes.kind_of(ask) in scenes.session_kinds(self._ledger.state):
            return "workers take it under a lease of their own, as fast as they can"
        return ""

    def _gate(self, job: Job) -> tuple[str, bool]:
        """What stands before it that nobody can foresee, "" for nothing; and whether it is only that others
        use the machine.
        """
        state = self._ledger.state
        entry = state.line.entry(job.number)
        return self._unforeseen(entry.ask if entry is not None else state.queue.ask_of(job))

    def _unforeseen(self, ask: Ask) -> tuple[str, bool]:
        found = admission.gates(self._ledger.state, ask, self._clock.now_ms(), self._settings())
        found = [reason for reason in found if not foreseen(reason)]
        if not found:
            return "", False
        of_machine = all(reason.code in OF_THE_MACHINE for reason in found)
        return f"{found[0].sentence}; when that ends can't be foreseen", of_machine

    @staticmethod
    def _why_unknown(estimator: Estimator) -> str:
        if estimator.complete < DRAWS_MIN:
            return "too much waits for it to be worked out just now"
        ask = estimator.unknown
        if ask is not None:
            kind = f"{ask.job_type} of {ask.holder}"
            return f"nobody knows how long {kind} takes: nothing has ended here yet, and no limit is set"
        return "what stands in its way ends at no time that is known"

    def _guess(self, estimator: Estimator, number: int) -> Guess | None:
        """From now on, with what misses have taught."""
        state = self._ledger.state
        place = len(state.line) + 1 if number == scenes.NOBODY else 0
        if number in state.line:
            place = state.line.position(number, state.flows, self._settings().line)
        guess = estimator.guess(number, place) if estimator.complete >= DRAWS_MIN else None
        if guess is None:
            return None
        told = estimate.told(guess, self.book.hits(state))
        gone_ms = self._clock.now_ms() - estimator.scene.now_ms
        return Guess(max(0, told.wait50_ms - gone_ms), max(0, told.wait90_ms - gone_ms))

    def _given(self, job: Job, guess: Guess) -> None:
        wall_ms = self._clock.wall_ms()
        if not job.generation and wall_ms - job.since_wall_ms <= AT_SUBMISSION_MS:
            self.book.give(self._ledger.state, job.number, guess, wall_ms)

    # -- running forward

    async def _run(self, job: Job, *, as_quiet: bool = False) -> Estimator:
        """A fresh run in which this job stands."""
        async with self._turn:
            known = self._runs.get(as_quiet)
            if known is not None:
                estimator, ended_ms = known
                if self._clock.now_ms() - ended_ms <= FRESH_MS and estimator.knows(job.number):
                    return estimator
            left_ms = self._rests_until_ms - self._clock.now_ms()
            if left_ms > 0:
                await self._clock.sleep(left_ms)
            estimator = await self._forward(job, as_quiet=as_quiet)
            self._runs[as_quiet] = (estimator, self._clock.now_ms())
            return estimator

    async def _forward(self, asked: Job | Ask, *, as_quiet: bool) -> Estimator:
        state, began_ms = self._ledger.state, self._clock.now_ms()
        scene, crew = scenes.scene(
            state,
            self._settings(),
            self._demand,
            began_ms,
            self._clock.wall_ms(),
            asked=asked,
            as_quiet=as_quiet,
        )
        estimator = Estimator(scene, self._learned(state, began_ms), crew.hands)
        since_ms, busy_ms = began_ms, 0
        for step, _ in enumerate(estimator.steps(), 1):
            now_ms = self._clock.now_ms()
            if now_ms - since_ms >= SLICE_MS or step % STEPS == 0:
                busy_ms += now_ms - since_ms
                if now_ms - began_ms > LONGEST_MS:
                    break
                await self._clock.sleep(PAUSE_MS)
                since_ms = self._clock.now_ms()
        ended_ms = self._clock.now_ms()
        self._rests_until_ms = ended_ms + min(REST_MS_MAX, REST * (busy_ms + ended_ms - since_ms))
        return estimator

    def _learned(self, state: State, now_ms: int) -> Spans:
        """As it was lately: at once where there is a kind of work more."""
        kinds = len(state.learned)
        if self._spans is None or now_ms - self._spans[1] > SPANS_MS or self._spans[2] != kinds:
            self._spans = (Spans(dict(state.learned)), now_ms, kinds)
        return self._spans[0]

    # -- what happens

    def committed(self, events: Sequence[Event]) -> None:
        """Jobs that were submitted are looked at again shortly."""
        for event in events:
            if event.kind == "JobSubmitted":
                self._submitted.append(event.subject)

    def started(self, jobs: Sequence[Job]) -> None:
        """These have started: how well were they told?"""
        self.book.started(self._ledger.state, jobs)

    async def sample(self) -> None:
        """Tell of the newest jobs that still wait, whether anybody asks or not. Drops runs that are old."""
        now_ms = self._clock.now_ms()
        self._runs = {key: one for key, one in self._runs.items() if now_ms - one[1] <= FRESH_MS}
        newest = [to_number("job", ident) for ident in self._submitted]
        self._submitted.clear()
        for number in newest:
            job = self._ledger.state.jobs.get(number) if number is not None else None
            if job is None or job.state is not JobState.QUEUED:
                continue
            if self.book.has(self._ledger.state, job.number):
                continue
            if self._out_of_line(job) or self._gate(job)[0]:
                continue
            await self.of(job)

    async def flush(self) -> None:
        """Write what is new."""
        ledger = self._ledger
        if self.book.has_news(ledger.state) and not ledger.read_only and ledger.ready:
            await self._ledger.execute(self.book.write)
