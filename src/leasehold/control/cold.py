"""What of jobs is not in memory: their cold parts, and those that have ended (QUEUE-14)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from leasehold.control import codec, job_views
from leasehold.control.ledger import Ledger
from leasehold.core.state import COLD_JOBS, JOBS
from leasehold.model.job import Job, JobSpec
from leasehold.ports.archive import Archive
from leasehold.wire.job import ExecIn

CACHE_BYTES = 32 << 20
"""What is submitted is mostly claimed soon: the last cold parts are kept at hand."""

READ_AT_ONCE = 1_000


class ColdParts:
    """Cold parts by number, through a bounded cache; and ended jobs from the archive."""

    def __init__(self, ledger: Ledger, archive: Archive) -> None:
        self._ledger = ledger
        self._archive = archive
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def remember(self, number: int, cold: bytes) -> None:
        """It has just been written, or read."""
        self._cache[number] = cold
        self._bytes += len(cold)
        while self._bytes > CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._bytes -= len(oldest)

    def forget(self, numbers: Sequence[int]) -> None:
        """Nobody asks for them soon: what the cache holds is for others."""
        for number in numbers:
            cold = self._cache.pop(number, None)
            if cold is not None:
                self._bytes -= len(cold)

    async def specs(self, numbers: Sequence[int]) -> dict[int, JobSpec]:
        """The cold parts of these jobs, which are durable; one that is missing or unreadable is left out."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for number in numbers:
            cold = self._cache.get(number)
            if cold is None:
                missing.append(number)
            else:
                found[number] = cold
        for at in range(0, len(missing), READ_AT_ONCE):
            piece = missing[at : at + READ_AT_ONCE]
            keys = {codec.store_key(COLD_JOBS, number): number for number in piece}
            for key, value in (await self._ledger.store.read(list(keys))).items():
                found[keys[key]] = value
        specs = {}
        for number, value in found.items():
            try:
                specs[number] = codec.decode(COLD_JOBS, str(number), value)
            except codec.Unreadable:
                continue
        return specs

    async def titles(self, numbers: Sequence[int]) -> dict[int, str]:
        """What these jobs are called where everybody looks; "" for what is no command and has no title."""
        specs = await self.specs(numbers)
        return {number: _title(specs[number]) if number in specs else "" for number in numbers}

    async def ended(self, number: int) -> Job | None:
        """A job that has ended, once its end is durable; None where none of that number is known."""
        await self._ledger.record_settled(JOBS, number)
        value = await self._archive.find(codec.store_key(JOBS, number))
        if value is None:
            return None
        job: Job = codec.decode(JOBS, str(number), value)
        return job

    async def ended_page(self, limit: int, before: int | None) -> list[Job]:
        """Jobs that have ended, the last first; `before` is the number of the page's last one before."""
        cursor = codec.store_key(JOBS, before) if before is not None else None
        rows = await self._archive.finished(f"/{JOBS}/", limit=limit, before=cursor)
        found = []
        for key, value in rows:
            try:
                found.append(codec.decode(JOBS, key, value))
            except codec.Unreadable:
                continue
        return found


def _title(spec: JobSpec) -> str:
    if spec.title or spec.uid < 0:
        return spec.title
    return job_views.brief(msgspec.json.decode(spec.payload, type=ExecIn).argv)
