"""How jobs are said in a table or a sentence."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from leasehold.cli import words
from leasehold.cli.amounts import spell
from leasehold.cli.moment import told
from leasehold.runtime.clock import local_now

if TYPE_CHECKING:
    from leasehold.wire.job import JobOut

HEAD = ("ID", "STATE", "PRIORITY", "TITLE", "HOLDER", "SINCE", "WHY")
ENDED = ("DONE", "FAILED", "CANCELED", "EXPIRED")
AT_WORK = ("DISPATCHING", "RUNNING", "PAUSED")
TITLE_MAX = 40


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local(text: str | None) -> str:
    """A time of the API on the clocks here; "" for none."""
    return told(time_of(text), local_now()) if text else ""


def age(text: str | None, now: datetime | None = None) -> str:
    """How long ago: `5 min`, without the smaller unit."""
    if not text:
        return "-"
    seconds = max(0.0, ((now or local_now()) - time_of(text)).total_seconds())
    return " ".join(spell(seconds).split()[:2])


def title(job: JobOut) -> str:
    """What people know it by, cut to a column."""
    index = f" [{job.index}]" if job.index else ""
    return _cut(job.title or shlex.join(job.command) or job.job_type, TITLE_MAX - len(index)) + index


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"


def ending(job: JobOut) -> str:
    """How it ended: `exit code 3`, `SIGKILL`, its error."""
    if job.error:
        return job.error
    if job.signal:
        return f"ended by {job.signal}"
    if job.exit_code:
        return f"exit code {job.exit_code}"
    return ""


def row(job: JobOut) -> tuple[object, ...]:
    since = job.ended_at or job.started_at if job.state in (*ENDED, *AT_WORK) else job.submitted_at
    return words.short(job.job_id), job.state, job.priority, title(job), job.holder, age(since), why(job)


def why(job: JobOut) -> str:
    """The last column: why it waits, how it runs, how it ended."""
    if job.state in ENDED:
        return ending(job)
    if job.state in AT_WORK:
        parts = [
            f"{job.progress:.0%}" if job.progress is not None else "",
            job.message,
            job.held_back,
            "is being cancelled" if job.cancel_requested else "",
            f"attempt {job.attempts} of {job.max_attempts}" if job.attempts > 1 else "",
        ]
        return "; ".join(part for part in parts if part)
    return job.reason


def folded(jobs: Sequence[JobOut]) -> list[tuple[list[JobOut], tuple[object, ...]]]:
    """Rows: jobs alone as they are, members of one group as a line with counts, where its newest one is."""
    members: dict[str, list[JobOut]] = {}
    for job in jobs:
        members.setdefault(job.group or job.job_id, []).append(job)
    return [(found, row(found[0]) if len(found) == 1 else _group_row(found)) for found in members.values()]


def _group_row(found: Sequence[JobOut]) -> tuple[object, ...]:
    first = found[-1]
    states = Counter(job.state for job in found)
    priorities = {job.priority for job in found}
    waiting = next((job.reason for job in found if job.reason), "")
    return (
        f"{len(found)} × {first.group}",
        ", ".join(f"{count} {state}" for state, count in states.most_common()),
        first.priority if len(priorities) == 1 else "several",
        _cut(first.title or shlex.join(first.command) or first.job_type, TITLE_MAX),
        first.holder,
        age(first.submitted_at),
        waiting,
    )


def when_it_starts(job: JobOut) -> str:
    """When it will start, for whoever has just submitted it: a sentence's second half."""
    if job.state in ENDED:
        return f"it has ended {job.state}"
    if job.state in AT_WORK:
        return "it runs"
    if job.state == "HELD":
        return "it is held; `leasehold resume` lets it wait for its turn"
    latest = f", {local(job.start_anyway_by)} at the latest" if job.start_anyway_by else ""
    if job.after:
        return f"it starts after {len(job.waits_for)} other{'s' * (len(job.waits_for) != 1)}{latest}"
    waits = {
        "quiet": "as soon as nobody needs the machine",
        "now": "as soon as there is room",
        "window": "in the next window that allows it",
    }[job.start]
    first = f", not before {local(job.earliest_start_at)}" if job.earliest_start_at else ""
    by = f"; to be done by {local(job.deadline_at)}" if job.deadline_at else ""
    if job.start == "now" and not first:
        latest = ""
    return f"it starts {waits}{first}{latest}{by}"
