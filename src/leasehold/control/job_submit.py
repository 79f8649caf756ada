"""Filing jobs: judged one by one, committed together (QUEUE-3; LEASE-8 for calls with a key)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from leasehold.control import references
from leasehold.control.calls import Calls
from leasehold.control.cold import ColdParts
from leasehold.control.dependencies import Dependencies
from leasehold.control.drafts import Drafts, numbers_of, refused
from leasehold.control.ledger import Ledger
from leasehold.control.lock import check_sizes, set_sizes
from leasehold.core import job as jobs
from leasehold.core import tenant as tenants
from leasehold.core.attempt import job_id, with_
from leasehold.core.job import Draft, Filed
from leasehold.core.state import CALLS, JOBS, Call, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, LeaseholdError, QueueFull
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.wire import job as wire

COMMIT_BYTES = 4 << 20
"""Payloads of one commit; a larger submission takes several."""

ROUTE = "job.submit"


class Submissions:
    """Takes jobs in."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        drafts: Drafts,
        cold: ColdParts,
        dependencies: Dependencies,
        calls: Calls,
        eligible: Callable[[], None],
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self.cold = cold
        self.dependencies = dependencies
        self.eligible = eligible
        self._drafts = drafts
        self._calls = calls

    async def submit(
        self,
        principal: Principal,
        body: wire.Submit,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
    ) -> wire.Submitted:
        """File jobs; those that can't be taken say why, each for itself."""
        now_ms = self.ledger.clock.now_ms()
        call = self._calls.call_of(principal, idempotency_key, body_hash, now_ms, ROUTE)
        if call is None:
            return await self._submit(principal, body, None)
        await self.ledger.record_settled(CALLS, call.key)
        known = self._calls.known(self.ledger.state, call)
        if known is not None:
            return await self._as_it_was(known)
        with self._calls.in_flight(call):
            return await self._submit(principal, body, call)

    async def _as_it_was(self, call: Call) -> wire.Submitted:
        """The jobs that a remembered call made."""
        rows = []
        for text in call.lease_id.split(","):
            number = int(text, 36)
            job = self.ledger.state.jobs.get(number)
            if not number:
                rows.append(wire.Taken(code="REFUSED", detail="refused the first time; that answer said why"))
            elif job is not None:
                await self.ledger.record_settled(JOBS, number)
                rows.append(wire.Taken(job_id(number), str(job.state), existing=True))
            else:
                over = await self.cold.ended(number)
                rows.append(wire.Taken(job_id(number), str(over.state) if over else "", existing=True))
        taken = sum(1 for row in rows if row.job_id)
        return wire.Submitted(taken, len(rows) - taken, rows)

    async def _submit(self, principal: Principal, body: wire.Submit, call: Call | None) -> wire.Submitted:
        items: Sequence[wire.JobIn] = body.jobs or [body]
        if body.jobs:
            _nothing_beside(body)
        answers: list[wire.Taken] = [wire.Taken() for _ in items]
        after = references.places_of(items)
        sizes: dict[str, int] = {}
        drafts = await self._make(principal, items, after, answers, sizes, allow_unfit=body.allow_unfit)
        filed = await self._file(principal, drafts, after, sizes, call, len(items))
        for place, one in filed:
            answers[place] = wire.Taken(job_id(one.number), str(one.state), one.existing)
        taken = len(filed)
        if not body.jobs and answers[0].code:
            raise _error_of(answers[0])
        return wire.Submitted(taken, len(items) - taken, answers)

    async def _make(
        self,
        principal: Principal,
        items: Sequence[wire.JobIn],
        beside: Sequence[tuple[int, ...]],
        answers: list[wire.Taken],
        sizes: dict[str, int],
        *,
        allow_unfit: bool,
    ) -> list[tuple[int, Draft]]:
        clock, state = self.ledger.clock, self.ledger.state
        now_ms, wall_ms = clock.now_ms(), clock.wall_ms()
        self.room_for(items)
        drafts: list[tuple[int, Draft]] = []
        for place in references.in_order(items, beside):
            item = items[place]
            try:
                draft = self._drafts.make(principal, item, state, now_ms, wall_ms, allow_unfit=allow_unfit)
                if item.after:
                    _none_refused(items, beside[place], answers)
                    after = tuple(numbers_of(references.ids_of(item)))
                    open_ones = await self.dependencies.open_ones(after, item.after_any)
                    draft = with_(draft, after=after, after_any=item.after_any, waits_for=open_ones)
                if item.slots:
                    check_sizes(state, item.slots, self.settings(), sizes)
            except LeaseholdError as error:
                code, detail, field = refused(error)
                answers[place] = wire.Taken(code=code, detail=detail, field=field)
                continue
            drafts.append((place, draft))
        return drafts

    def room_for(self, items: Sequence[wire.JobIn]) -> None:
        """Raise QueueFull where so many more are not taken."""
        state, limits = self.ledger.state, self.settings().queue
        if len(state.jobs) + len(items) > limits.jobs_max or state.queue.bytes > limits.bytes_max:
            raise QueueFull(
                f"{len(state.jobs):,} jobs are live, with {state.queue.bytes >> 20:,} MiB; at most "
                f"{limits.jobs_max:,} "
                f"and {limits.bytes_max >> 20:,} MiB are taken (queue.jobs_max, queue.bytes_max)",
                retry_after_s=10,
            )

    def within_quotas(self, drafts: Sequence[Draft]) -> None:
        """Raise QuotaReached where a tenant would have more live jobs, or bytes of them, than it may.

        All of a call or nothing. One that is there already under its `unique_key` counts nothing.
        """
        state = self.ledger.state
        if not state.tenants:
            return
        more: dict[str, tuple[int, int]] = {}
        for draft in drafts:
            ask = draft.terms.ask
            if draft.unique and (ask.tenant, ask.job_type, draft.unique) in state.queue.unique:
                continue
            jobs_, size = more.get(ask.tenant, (0, 0))
            more[ask.tenant] = (jobs_ + 1, size + draft.size)
        tenants.check_queue(state, more)

    async def _file(
        self,
        principal: Principal,
        drafts: Sequence[tuple[int, Draft]],
        after: Sequence[tuple[int, ...]],
        sizes: Mapping[str, int],
        call: Call | None,
        asked: int,
    ) -> list[tuple[int, Filed]]:
        """In as many commits as they need, all but the last of which are not waited for one by one."""
        live = self.ledger.state.jobs
        for _, draft in drafts:  # Before anything is on file.
            if any(number not in live for number in draft.waits_for):
                raise Conflict("a job that it comes after has just ended; submit again", retry_after_s=1)
        self.within_quotas([draft for _, draft in drafts])  # Nothing is awaited between this and the commits.
        found: list[tuple[int, Filed]] = []
        waits = []
        linked = references.Linked(after)
        at = 0
        while at < len(drafts):
            piece: list[tuple[int, Draft]] = []
            size = 0
            while at < len(drafts) and (not piece or size < COMMIT_BYTES):
                place, draft = drafts[at]
                piece.append((place, linked.draft(place, draft)))
                size += draft.size + 512
                at += 1
            last = None
            if call is not None and at == len(drafts):
                last = partial(self._remember, call, found, [place for place, _ in piece], asked)
            filed, durable = self.ledger.submit(
                partial(
                    self._decide,
                    principal.name,
                    [draft for _, draft in piece],
                    sizes,
                    last,
                )
            )
            found += zip([place for place, _ in piece], filed, strict=True)
            linked.filed([place for place, _ in piece], filed)
            for (_, draft), one in zip(piece, filed, strict=True):
                if not one.existing:
                    self.cold.remember(one.number, draft.cold)
            if durable is not None:
                waits.append(durable)
        self.eligible()  # Whoever takes them is told in the same commit.
        for durable in waits:
            await durable
        for _, one in found:
            if one.existing:
                await self.ledger.record_settled(JOBS, one.number)
        return found

    @staticmethod
    def _remember(
        call: Call,
        before: Sequence[tuple[int, Filed]],
        places: Sequence[int],
        asked: int,
        filed: Sequence[Filed],
        outcome: Outcome,
    ) -> None:
        """What the call with this key did, in the commit of its last part."""
        numbers = ["0"] * asked
        for place, one in (*before, *zip(places, filed, strict=True)):
            numbers[place] = base36(one.number)
        record = Call(call.key, call.principal, call.body_hash, ",".join(numbers), call.at_ms)
        outcome.changes.append(Change(CALLS, call.key, record))

    def _decide(
        self,
        actor: str,
        drafts: Sequence[Draft],
        sizes: Mapping[str, int],
        remember: Callable[[Sequence[Filed], Outcome], None] | None,
        state: State,
        stamp: Stamp,
    ) -> Outcome:
        outcome = Outcome()
        set_sizes(state, sizes, actor, stamp, outcome)
        outcome.answer = jobs.submit(state, drafts, actor, stamp, self.settings(), outcome)
        if remember is not None:
            remember(outcome.answer, outcome)
        return outcome


ALONE = wire.JobIn()
"""A job of which nothing is said."""


def _nothing_beside(body: wire.Submit) -> None:
    """Raise Invalid where a job stands beside `jobs`: it would be lost without a word."""
    for name in wire.JobIn.__struct_fields__:
        if getattr(body, name) != getattr(ALONE, name):
            raise Invalid(
                f"{name}: stands beside `jobs`, where it says nothing; either one job, or many in `jobs`",
                field=f"$.{name}",
                expected="nothing beside `jobs` but `allow_unfit`",
            )


def _none_refused(items: Sequence[wire.JobIn], places: Sequence[int], answers: Sequence[wire.Taken]) -> None:
    """Raise Conflict where one that it comes after was not taken: it could never start."""
    for place in places:
        if answers[place].code:
            raise Conflict(f"after: @{items[place].key[:64]} was not taken: {answers[place].detail}")


def base36(number: int) -> str:
    """A number as short text; `int(text, 36)` is the inverse."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text or "0"


def _error_of(answer: wire.Taken) -> LeaseholdError:
    kinds: dict[str, Any] = {error.code: error for error in _all_errors()}
    details = {"field": answer.field} if answer.field else {}
    found: LeaseholdError = kinds.get(answer.code, Invalid)(answer.detail, **details)
    return found


def _all_errors() -> list[type[LeaseholdError]]:
    found, rest = [], [LeaseholdError]
    while rest:
        one = rest.pop()
        found.append(one)
        rest += one.__subclasses__()
    return found
