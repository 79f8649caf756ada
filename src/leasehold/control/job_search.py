"""Jobs by a text that stands in them, and groups folded to one row (QUEUE-3, OPS-21)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec

from leasehold.control.cold import ColdParts
from leasehold.control.job_list import JobList, Wanted, folded
from leasehold.core.attempt import job_id
from leasehold.core.state import State
from leasehold.model.job import ENDED, Job, JobSpec
from leasehold.wire import job as wire

PIECE = 200
PIECES = 25
BYTES_READ = 8 << 20
"""Titles and commands are not in memory: a page reads those of 5,000 jobs, fewer where they are big."""

COMMAND_BYTES = 4_096
"""So much of a command is looked at."""

TERMS_LOOKED_AT = 50_000


class JobSearch:
    """Lists as `JobList` does; what has to be read for it comes in pieces."""

    def __init__(self, listed: JobList, cold: ColdParts) -> None:
        self._listed = listed
        self._cold = cold

    async def page(
        self, wanted: Wanted, limit: int, cursor: str | None, may_see: Callable[[Job], bool]
    ) -> tuple[list[Job], str | None]:
        """Jobs that match, and the next cursor; with a text it may be that none match and yet more follow.

        Commands are looked through where `may_see` says so.
        """
        if not wanted.text:
            return await self._listed.page(wanted, limit, cursor)
        plain = msgspec.structs.replace(wanted, fold=False)
        found: list[Job] = []
        groups: set[str] = set()
        text = wanted.text.casefold()
        read = 0
        for _ in range(PIECES):
            if read > BYTES_READ:
                break
            rows, cursor = await self._listed.page(plain, PIECE, cursor)
            specs = await self._cold.specs([job.number for job in rows])
            read += sum(job.size for job in rows)
            for place, job in enumerate(rows, 1):
                texts = _texts(job, specs.get(job.number), with_command=may_see(job))
                if not any(text in one.casefold() for one in texts):
                    continue
                if wanted.fold and folded(job, groups):
                    continue
                found.append(job)
                if len(found) >= limit:
                    return found, cursor if place == len(rows) else _behind(job)
            if cursor is None:
                break
            await asyncio.sleep(0)  # What was read lately is at hand, and waits for nobody.
        return found, cursor


def _behind(job: Job) -> str:
    return f"{'ended' if job.state in ENDED else 'live'}-{job.number}"


def _texts(job: Job, spec: JobSpec | None, *, with_command: bool) -> Iterable[str]:
    """What of a job may be searched for. Neither its environment nor its payload."""
    terms = job.terms
    yield from (job_id(job.number), terms.ask.job_type, terms.ask.holder, terms.group, job.worker)
    for name, value in terms.labels:
        yield f"{name}={value}"
    if spec is not None:
        yield spec.title
        if spec.uid >= 0 and with_command:
            command = msgspec.json.decode(spec.payload, type=wire.ExecIn)
            yield " ".join(command.argv)[:COMMAND_BYTES]


def add_members(rows: Sequence[wire.JobOut], state: State) -> None:
    """To each row of a group, how many live jobs of it are in which state."""
    counts: dict[str, dict[str, int]] = {row.group: {} for row in rows if row.group}
    if not counts:
        return
    for looked, ((key, job_state), count) in enumerate(state.queue.depth.items()):
        members = counts.get(state.terms[key].group)
        if members is not None:
            members[str(job_state)] = members.get(str(job_state), 0) + count
        if looked >= TERMS_LOOKED_AT:
            break
    for row in rows:
        row.members = counts.get(row.group, {})
