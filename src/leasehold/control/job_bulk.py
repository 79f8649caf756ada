"""One action on every job that matches a filter (QUEUE-3, OPS-31): in slices, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from leasehold.control.job_change import Changes
from leasehold.control.job_list import JobList, Wanted
from leasehold.control.ledger import Ledger
from leasehold.core.attempt import job_id
from leasehold.model.errors import Invalid, LeaseholdError
from leasehold.model.job import ENDED, JobState
from leasehold.model.principal import Principal
from leasehold.wire import job as wire

SLICE = 200
"""Jobs between two turns of the loop."""

SHOWN = 1_000
DETAILS = 20


class BulkActions:
    """Does to many what `Changes` does to one; each is decided for itself."""

    def __init__(self, ledger: Ledger, listed: JobList, changes: Changes) -> None:
        self._ledger = ledger
        self._listed = listed
        self._changes = changes

    async def do(self, principal: Principal, body: wire.Bulk, wanted: Wanted) -> wire.BulkOut:
        """Those that match at the start are gone through; what has changed meanwhile is refused by itself."""
        ids = list(body.ids) or [job_id(number) for number in await self._matching(body, wanted)]
        if body.dry_run:
            return wire.BulkOut(len(ids), 0, 0, ids[:SHOWN])
        act = self._action(principal, body)
        out = wire.BulkOut(len(ids), 0, 0)
        for place, ident in enumerate(ids, 1):
            try:
                await act(ident)
                out.changed += 1
                if len(out.ids) < SHOWN:
                    out.ids.append(ident)
            except LeaseholdError as error:
                out.refused += 1
                if len(out.details) < DETAILS:
                    out.details.append(error.message)
            if place % SLICE == 0:
                await asyncio.sleep(0)
        return out

    async def _matching(self, body: wire.Bulk, wanted: Wanted) -> list[int]:
        if body.action != "retry":
            return await self._listed.matching(wanted)
        states = wanted.states or frozenset({JobState.FAILED, JobState.EXPIRED})
        found: list[int] = []
        cursor: str | None = "ended-"
        while cursor is not None and len(found) < 10 * SHOWN:
            jobs, cursor = await self._listed.page(_with_states(wanted, states & ENDED), SHOWN, cursor)
            found += [job.number for job in jobs]
        return found

    def _action(self, principal: Principal, body: wire.Bulk) -> Callable[[str], Awaitable[int]]:
        note = wire.Note(note=body.note)
        if body.action == "cancel":
            cancel = wire.Cancel(note=body.note, grace_sec=body.grace_sec)
            return lambda ident: self._changes.cancel(principal, ident, cancel)
        if body.action == "hold":
            return lambda ident: self._changes.hold(principal, ident, note)
        if body.action == "pause":
            return lambda ident: self._changes.pause(principal, ident, note)
        if body.action == "resume":
            return lambda ident: self._changes.resume(principal, ident, note)
        if body.action == "retry":
            return lambda ident: self._changes.retry(principal, ident, note)
        if body.priority is None:
            raise Invalid("priority: which one?", field="$.priority", expected="a priority")
        wanted = wire.NewPriority(body.priority, note=body.note)
        return lambda ident: self._changes.prioritise(principal, ident, wanted)


def _with_states(wanted: Wanted, states: frozenset[JobState]) -> Wanted:
    return Wanted(
        states, wanted.job_type, wanted.holder, wanted.tenant, wanted.group, wanted.label, wanted.worker
    )
