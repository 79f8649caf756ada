"""Taking in how jobs ended (QUEUE-4): fenced by generation and token, up to 1,000 in one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from leasehold.control.cold import ColdParts
from leasehold.control.ledger import Ledger
from leasehold.core import execution
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, LeaseholdError, NotFound, NotPermitted, StaleToken
from leasehold.model.ids import to_number
from leasehold.model.job import End, ErrorClass, Job, JobState
from leasehold.model.lease import Ask, Usage
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.wire import claim as wire
from leasehold.wire.depth import is_deeper
from leasehold.wire.job import PAYLOAD_DEPTH

UNKNOWN = "?"
"""Between decision and answer: the job is not live, and the archive tells what became of it."""


class Results:
    """Takes results in. `on_ended` is called with jobs whose end has just been decided."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        cold: ColdParts,
        on_ended: Callable[[Sequence[Job]], None],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._cold = cold
        self.on_ended = on_ended
        self.on_observed: Callable[[Ask, Usage, int], None] = lambda ask, usage, ran_ms: None

    async def complete_many(self, principal: Principal, body: wire.Complete) -> wire.CompleteOut:
        """Up to 1,000 results in one commit; each is taken or refused by itself."""
        answers: list[wire.Completed] = []
        over: list[Job] = []

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome()
            work: dict[int, tuple[Ask, int, int]] = {}
            seen: set[int] = set()
            answers.extend(
                self._take_result(principal, item, body, state, stamp, outcome, work, seen, over)
                for item in body.items
            )
            execution.charge_flows(state, outcome, work, self._settings())
            return outcome

        _, durable = self._ledger.submit(decide)
        if over:
            self.on_ended(over)
        if durable is not None:
            await durable
        for place, item in enumerate(answers):
            if item.code == UNKNOWN:
                answers[place] = await self._again(principal, body.items[place], body.fencing_token)
        refused = sum(1 for item in answers if item.code)
        return wire.CompleteOut(len(answers) - refused, refused, answers)

    async def complete(self, principal: Principal, number: int, body: wire.Completion) -> wire.Completed:
        """One result. Raises what `complete_many` tells by item."""
        item = wire.CompletionItem(job_id=job_id(number), **msgspec.structs.asdict(body))
        one = wire.Complete([item], body.fencing_token)
        found = (await self.complete_many(principal, one)).items[0]
        if found.code:
            raise _RAISED.get(found.code, Conflict)(found.detail, job_id=found.job_id)
        return found

    def _take_result(
        self,
        principal: Principal,
        item: wire.CompletionItem,
        body: wire.Complete,
        state: State,
        stamp: Stamp,
        outcome: Outcome,
        work: dict[int, tuple[Ask, int, int]],
        seen: set[int],
        over: list[Job],
    ) -> wire.Completed:
        number = to_number("job", item.job_id)
        job = state.jobs.get(number) if number is not None else None
        if number is None or job is None or number in seen:
            return wire.Completed(item.job_id, code=UNKNOWN)  # It may have ended: the archive tells.
        try:
            lease = life.own(state, job.lease_id, principal.name, token=None) if job.lease_id else None
            execution.check(job, item.generation, item.fencing_token or body.fencing_token)
            end = _end_of(item)
            mine = lease is not None and lease.job == job.number
            ended = execution.complete(state, job, item.outcome, end, stamp, self._settings(), outcome)
        except LeaseholdError as error:
            if _was_told(job, item):
                return wire.Completed(item.job_id, str(job.state))
            return wire.Completed(item.job_id, code=error.code, detail=error.message)
        seen.add(number)
        over.append(ended)
        if not mine:
            ask = job.terms.ask
            key = id(job.terms)
            _, expected_ms, real_ms = work.get(key, (ask, 0, 0))
            took_ms = max(1, stamp.now_ms - job.started_ms)
            work[key] = (ask, expected_ms + max(1, ask.expected_ms), real_ms + took_ms)
            if ended.state is JobState.DONE:
                self.on_observed(ask, end.usage, took_ms)
        return wire.Completed(item.job_id, str(ended.state))

    async def _again(self, principal: Principal, item: wire.CompletionItem, token: int) -> wire.Completed:
        """A result for a job that is not live: the same outcome again is fine, another one is 409."""
        number = to_number("job", item.job_id)
        over = await self._cold.ended(number) if number is not None else None
        if over is None:
            return wire.Completed(item.job_id, code=NotFound.code, detail=f"no job {item.job_id} is known")
        same = over.generation == item.generation and over.token == (item.fencing_token or token)
        if same and str(over.state) == item.outcome:
            return wire.Completed(item.job_id, str(over.state))
        return wire.Completed(
            item.job_id,
            code=Conflict.code,
            detail=f"{item.job_id} has ended {over.state} already; drop this result",
        )


_RAISED: dict[str, type[LeaseholdError]] = {
    error.code: error for error in (NotFound, NotPermitted, StaleToken, Invalid)
}


def _was_told(job: Job, item: wire.CompletionItem) -> bool:
    """Whether this is the outcome of its last attempt again, after which it went back into the line."""
    last = job.past[-1] if job.past else None
    return last is not None and (last.generation, last.outcome) == (item.generation, item.outcome)


def _end_of(item: wire.Completion) -> End:
    if len(item.result) > wire.RESULT_BYTES:
        raise Invalid(
            f"result: {len(item.result):,} bytes; at most {wire.RESULT_BYTES:,} are kept. Keep it "
            "elsewhere and send "
            "where it is",
            field="$.result",
        )
    if is_deeper(bytes(item.result), PAYLOAD_DEPTH):
        raise Invalid(f"result: is nested deeper than {PAYLOAD_DEPTH} levels", field="$.result")
    metrics = item.metrics
    usage = execution.NOTHING_USED
    if metrics is not None:
        usage = Usage(
            int((metrics.cpu_seconds or 0) * 1000), metrics.peak_memory_bytes or 0, metrics.bytes or 0
        )
    error_class = ErrorClass(item.error_class) if item.error_class else None
    return End(item.error, error_class, bytes(item.result), usage=usage)
