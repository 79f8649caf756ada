"""Pages of jobs by filter: live ones newest first, then the archive's (QUEUE-3)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.control.cold import ColdParts
from leasehold.control.job_views import state_of
from leasehold.control.ledger import Ledger
from leasehold.model.errors import Invalid
from leasehold.model.job import ENDED, Job, JobState, Terms

LOOKED_AT = 50_000
"""Live jobs that one page looks at: a few milliseconds. Its cursor goes on behind them."""

NUMBER_DIGITS = 17
"""Of the greatest number that has an id."""

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
        self._order: list[int] = []
        self._order_ms = -1

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

    def matching(self, wanted: Wanted) -> list[int]:
        """The numbers of all live jobs that match, newest first."""
        known: dict[str, bool] = {}
        return [job.number for job in self._rows(None) if self._fits(job, wanted, known)]

    def _live(self, wanted: Wanted, limit: int, before: int | None) -> tuple[list[Job], int | None]:
        found: list[Job] = []
        known: dict[str, bool] = {}
        groups: set[str] = set()
        for looked, job in enumerate(self._rows(before), 1):
            if self._fits(job, wanted, known) and not (wanted.fold and folded(job, groups)):
                found.append(job)
            if len(found) >= limit or looked >= LOOKED_AT:
                return found, job.number
        return found, None

    def _fits(self, job: Job, wanted: Wanted, known: dict[str, bool]) -> bool:
        key = job.terms.key
        fits = known.get(key)
        if fits is None:
            fits = known[key] = wanted.fits_terms(job.terms)
        if not fits or (wanted.worker and job.worker != wanted.worker):
            return False
        return not wanted.states or state_of(job, self._ledger.state) in wanted.states

    def _rows(self, before: int | None) -> Iterator[Job]:
        """Live jobs from the newest on, below `before`."""
        jobs, now_ms = self._ledger.state.jobs, self._ledger.clock.now_ms()
        if not 0 <= now_ms - self._order_ms <= 1_000 or len(self._order) != len(jobs):
            self._order = sorted(jobs)
            self._order_ms = now_ms
        at = len(self._order)
        if before is not None:
            low = 0
            while low < at:
                middle = (low + at) // 2
                if self._order[middle] < before:
                    low = middle + 1
                else:
                    at = middle
        for place in range(at - 1, -1, -1):
            job = jobs.get(self._order[place])
            if job is not None:
                yield job

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
