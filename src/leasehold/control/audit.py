"""The audit: every changing and every denied call, kept durably and within bounds (OPS-7).

What was changed has a record of its own, which is durable before the call is answered. What was denied is
folded: whoever tries tokens all day gets one row an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import structlog
from msgspec.structs import replace

from leasehold.control import views
from leasehold.model.audit import NOBODY, Called, Outcome, Wanted
from leasehold.ports.archive import Archive
from leasehold.ports.clock import Clock
from leasehold.ports.store import StoreError
from leasehold.wire import audit as wire

log = structlog.get_logger(__name__)

HOUR_MS = 3_600_000

KEYS_MAX = 256
"""Kinds of folded calls in one hour, of strangers and of known callers each: a flood from thousands of
addresses takes no more rows than that, and hides nobody who has a name.
"""

OWN_ROWS_MAX = 200
"""Rows of their own that one caller's calls get in an hour; more are folded. Nobody can push the audit out
by calling often.
"""

CALLERS_MAX = 1_000
"""Callers whose rows are counted in an hour; whoever comes after them is folded."""

PENDING_MAX = 2_000
"""Records that wait in memory for a disk that takes nothing; what comes beyond is counted as lost."""

OTHERS = "(others)"


class AuditService:
    """One per server. `counts` are records by outcome since the start."""

    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock
        self._hour = 0
        self._kinds: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
        self._own: dict[str, int] = {}
        self._folded: dict[tuple[str, ...], Called] = {}
        self._late: deque[Called] = deque()
        self._unsaid = 0
        self._failing = ""
        self.counts: dict[str, int] = {}

    # -- what happened

    def denied(self, call: Called) -> None:
        """Note a call that was refused: in memory, written within 5 s."""
        self._count(call)
        self._fold(call)

    async def called(self, call: Called) -> None:
        """Write a call that changed something, or tried to. Returns when it is durable.

        Where it can't be written that is said in the log, the record waits in memory, and nobody else does.
        """
        self._count(call)
        if not self._may_have_a_row(call.who):
            self._fold(call)
            return
        try:
            await self._archive.record([call])
        except StoreError as error:
            log.warning("audit_not_written", why=str(error), who=call.who, what=call.what, status=call.status)
            self._failing = str(error)
            self._keep([call])

    def _count(self, call: Called) -> None:
        self.counts[call.outcome] = self.counts.get(call.outcome, 0) + call.count

    def _may_have_a_row(self, who: str) -> bool:
        self._turn()
        rows = self._own.get(who, 0)
        if rows >= OWN_ROWS_MAX or (not rows and len(self._own) >= CALLERS_MAX):
            return False
        self._own[who] = rows + 1
        return True

    def _fold(self, call: Called) -> None:
        self._turn()
        call = replace(call, folded=True)
        kinds = self._kinds[call.who == NOBODY]
        if call.alike not in kinds:
            if len(kinds) < KEYS_MAX:
                kinds.add(call.alike)
            else:
                call = _of_others(call)
        self._add(call)

    def _add(self, call: Called) -> None:
        before = self._folded.get(call.alike)
        if before is not None:
            call = _together(before, call)
        elif len(self._folded) >= PENDING_MAX:
            self._lose(call.count)
            return
        self._folded[call.alike] = call

    def _turn(self) -> None:
        """Each hour has its own bounds."""
        hour = self._clock.wall_ms() // HOUR_MS
        if hour != self._hour:
            self._hour = hour
            self._own.clear()
            for kinds in self._kinds.values():
                kinds.clear()

    # -- writing

    async def flush(self) -> None:
        """Write what is folded, and what could not be written before. Never raises StoreError."""
        calls = [*self._late, *self._folded.values()]
        if self._unsaid:
            calls.append(self._gap())
        if not calls:
            return
        self._late.clear()
        self._folded.clear()
        unsaid, self._unsaid = self._unsaid, 0
        try:
            await self._archive.record(calls)
        except StoreError as error:
            if not self._failing:
                log.warning("audit_not_written", why=str(error), waiting=len(calls))
            self._failing = str(error)
            self._unsaid += unsaid
            self._keep(call for call in calls if call.status)
            return
        if self._failing:
            log.info("audit_written_again", lost=unsaid)
        self._failing = ""

    def _keep(self, calls: Iterable[Called]) -> None:
        for call in calls:
            if call.folded:
                self._add(call)
            elif len(self._late) < PENDING_MAX:
                self._late.append(call)
            else:
                self._lose(call.count)

    def _lose(self, count: int) -> None:
        self._unsaid += count
        self.counts["lost"] = self.counts.get("lost", 0) + count

    def _gap(self) -> Called:
        """That records were lost is a record too."""
        now_ms = self._clock.wall_ms()
        what = "records that no disk took and no memory held"
        return Called("system", what, 0, now_ms, now_ms, code="AUDIT_LOST", count=self._unsaid)

    # -- reading

    async def page(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        who: str | None = None,
        outcome: Outcome | None = None,
        range_sec: int | None = None,
    ) -> wire.AuditPage:
        """Records by number: the newest, or those after or before a number. Raises StoreError."""
        await self.flush()
        since_ms = 0 if range_sec is None else self._clock.wall_ms() - range_sec * 1_000
        found = await self._archive.recorded(Wanted(after, before, limit, who, outcome, since_ms))
        return wire.AuditPage(
            [_shown(call) for call in found], self._next(found, after, limit), self._notice()
        )

    @staticmethod
    def _next(found: Sequence[Called], after: int | None, limit: int) -> str | None:
        return str(found[-1].seq) if after is not None and len(found) == limit else None

    def _notice(self) -> str:
        waiting = len(self._late) + len(self._folded)
        if not self._failing or not waiting:
            return ""
        lost = f", {self._unsaid} were lost" if self._unsaid else ""
        return f"{waiting} record(s) wait for the disk{lost}: {self._failing}"


def _together(before: Called, call: Called) -> Called:
    first_ms = min(before.first_wall_ms, call.first_wall_ms)
    newest = call if call.last_wall_ms >= before.last_wall_ms else before
    return replace(newest, first_wall_ms=first_ms, count=before.count + call.count)


def _of_others(call: Called) -> Called:
    """A call without what tells its caller from others: who it was can't be kept any more."""
    return replace(
        call,
        who=NOBODY if call.who == NOBODY else OTHERS,
        credential=OTHERS,
        credential_id="",
        note="",
        listener=OTHERS,
        address=OTHERS,
        pid=0,
        ids={},
    )


def _shown(call: Called) -> wire.CalledOut:
    return wire.CalledOut(
        seq=call.seq,
        at=views.rfc3339(call.last_wall_ms),
        who=call.who,
        credential=call.credential,
        credential_id=call.credential_id,
        note=call.note,
        listener=call.listener,
        origin=f"{call.address} pid={call.pid}" if call.pid else call.address,
        what=call.what,
        ids=call.ids,
        outcome=call.outcome,
        status=call.status,
        code=call.code,
        request_id=call.request_id,
        count=call.count,
        first_at=views.rfc3339(call.first_wall_ms) if call.count > 1 else None,
    )
