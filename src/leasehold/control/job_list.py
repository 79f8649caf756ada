"""Pages of jobs by filter: live ones newest first, then the archive's (QUEUE-3)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import msgspec

from leasehold.control.cold import ColdParts
from leasehold.control.job_views import state_of
from leasehold.control.ledger import Ledger
from leasehold.core.jobs import BLOCK_BITS
from leasehold.model.errors import Invalid
from leasehold.model.job import AT_WORK, ENDED, Job, JobState, Terms

LOOKED_AT = 20_000
"""Live jobs that one page looks at: a few milliseconds. Its cursor goes on behind them."""

NUMBER_DIGITS = 17
"""Of the greatest number that has an id."""

OF_A_BLOCK = 20
"""What it counts to go through the numbers of a block, as jobs looked at."""

ARCHIVE_PAGES = 10
ARCHIVE_ROWS = 500
"""A page looks at this many rows of the archive at most."""


class Wanted(msgspec.Struct, frozen=True):
    """What a list is to show; empty: no matter which."""

    states: frozenset[JobState] = frozenset()
    job_type: str = ""
    holder: str = ""
    tenant: str = ""
    group: str = ""
    label: str = ""
    worker: str = ""
    text: str = ""
    fold: bool = False
    """Of each group only the newest on a page."""

    def fits_terms(self, terms: Terms) -> bool:
        """Whether jobs of these terms may match."""
        ask = terms.ask
        if (
            (self.job_type and ask.job_type != self.job_type)
            or (self.holder and ask.holder != self.holder)
            or (self.tenant and ask.tenant != self.tenant)
            or (self.group and terms.group != self.group)
        ):
            return False
        if not self.label:
            return True
        name, given, value = self.label.partition("=")
        labels = dict(terms.labels)
        return name in labels and (not given or labels[name] == value)


class JobList:
    """Lists jobs without ever holding the loop for long."""

    def __init__(self, ledger: Ledger, cold: ColdParts) -> None:
        self._ledger = ledger
        self._cold = cold

    async def page(self, wanted: Wanted, limit: int, cursor: str | None) -> tuple[list[Job], str | None]:
        """Jobs and the next cursor. Raises Invalid for a cursor that no page gave."""
        part, _, number = (cursor or "live-").partition("-")
        if part not in ("live", "ended") or (number and not _is_number(number)):
            raise Invalid("cursor: no page gave this one", field="$.cursor", expected="the cursor of a page")
        found: list[Job] = []
        if part == "live" and (not wanted.states or wanted.states - ENDED):
            found, last = await self._ledger.read(
                lambda _: self._live(wanted, limit, int(number) if number else None)
            )
            if last is not None:
                return found, f"live-{last}"
            number = ""
        elif part == "live":
            number = ""
        if wanted.states and not wanted.states & ENDED:
            return found, None
        if len(found) >= limit:
            return found, "ended-"
        groups = {job.terms.group for job in found}
        more, last = await self._ended(wanted, limit - len(found), int(number) if number else None, groups)
        return found + more, f"ended-{last}" if last is not None else None

    async def matching(self, wanted: Wanted) -> list[int]:
        """The numbers of all live jobs that match, newest first; looked for in slices."""
        found: list[int] = []
        before: int | None = None
        while True:
            jobs, before = self._live(wanted, sys.maxsize, before)
            found += [job.number for job in jobs]
            if before is None:
                return found
            await asyncio.sleep(0)

    def _live(self, wanted: Wanted, limit: int, before: int | None) -> tuple[list[Job], int | None]:
        found: list[Job] = []
        known: dict[str, bool] = {}
        groups: set[str] = set()
        left = LOOKED_AT
        is_at_work = wanted.states and wanted.states <= AT_WORK
        for number, job in self._at_work(before) if is_at_work else self._rows(before):
            if job is None:
                left -= OF_A_BLOCK
            else:
                left -= 1
                if self._fits(job, wanted, known) and not (wanted.fold and folded(job, groups)):
                    found.append(job)
            if len(found) >= limit or left <= 0:
                return found, number
        return found, None

    def _at_work(self, before: int | None) -> Iterator[tuple[int, Job | None]]:
        """As `_rows`, of those that have a lease: few beside those that wait, and known by it."""
        state = self._ledger.state
        numbers = {number for under in state.queue.by_lease.values() for number in under}
        for number in sorted(numbers, reverse=True):
            if before is None or number < before:
                yield number, state.jobs.get(number)

    def _fits(self, job: Job, wanted: Wanted, known: dict[str, bool]) -> bool:
        key = job.terms.key
        fits = known.get(key)
        if fits is None:
            fits = known[key] = wanted.fits_terms(job.terms)
        if not fits or (wanted.worker and job.worker != wanted.worker):
            return False
        return not wanted.states or state_of(job, self._ledger.state) in wanted.states

    def _rows(self, before: int | None) -> Iterator[tuple[int, Job | None]]:
        """Live jobs from the newest on, below `before`, with their numbers; None at the end of each block.

        Only blocks of numbers that have live jobs are gone through: nothing is sorted but those.
        """
        jobs, blocks = self._ledger.state.jobs, self._ledger.state.queue.blocks
        for block in sorted(blocks, reverse=True):
            first, last = block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1
            if before is not None:
                last = min(last, before - 1)
            for number in range(last, first - 1, -1):
                job = jobs.get(number)
                if job is not None:
                    yield number, job
            if last >= first:
                yield first, None

    async def _ended(
        self, wanted: Wanted, limit: int, before: int | None, groups: set[str]
    ) -> tuple[list[Job], int | None]:
        found: list[Job] = []
        live, known = self._ledger.state.jobs, dict[str, bool]()
        for _ in range(ARCHIVE_PAGES):
            rows = await self._cold.ended_page(ARCHIVE_ROWS, before)
            for job in rows:
                before = job.number
                if job.number in live or not self._fits(job, wanted, known):
                    continue
                if not (wanted.fold and folded(job, groups)):
                    found.append(job)
                if len(found) >= limit:
                    return found, before
            if len(rows) < ARCHIVE_ROWS:
                return found, None
        return found, before


def folded(job: Job, groups: set[str]) -> bool:
    """Whether another of its group has been seen; from now on one has."""
    group = job.terms.group
    if not group:
        return False
    if group in groups:
        return True
    groups.add(group)
    return False


def _is_number(text: str) -> bool:
    """Whether a job may have this number."""
    return text.isdecimal() and text.isascii() and len(text) <= NUMBER_DIGITS


def states_of(text: str) -> frozenset[JobState]:
    """States by name, with commas between. Raises Invalid."""
    names = [name for name in text.upper().split(",") if name]
    for name in names:
        if name not in JobState.__members__:
            raise Invalid(
                f"state: there is no {name[:32]}", field="$.state", expected=", ".join(JobState.__members__)
            )
    return frozenset(JobState(name) for name in names)
