"""Messages of `/api/schedules` (QUEUE-17)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.job import JobIn, Seconds
from leasehold.wire.lease import Input
from leasehold.wire.owner import ClockTime, Days, Note, Zone

ScheduleName = Annotated[
    str,
    Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", description="like backup"),
]
ScheduleId = Annotated[str, Meta(min_length=1, max_length=64, description="like `schedule-7f3k2m9q4x0`")]
Expression = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        description="minute hour day-of-month month day-of-week, or @hourly, @daily, @weekly, @monthly",
    ),
]


class NightlyIn(Input, frozen=True):
    """Once a night when it is quiet: submitted at `from`, done at `by` at the latest.

    `by` not after `from` is on the next day. `days` are those on which it begins.
    """

    by: ClockTime
    start: ClockTime = msgspec.field(name="from", default="22:00")
    days: Days = msgspec.field(default_factory=lambda: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"])


class ScheduleIn(Input, frozen=True):
    """`POST /api/schedules`: submit a job again and again, at the times of `cron` or `nightly`.

    `zone` is the server's own where it is left out. `missed`: what becomes of runs while the server was off
    or the machine asleep. `overlap`: what becomes of a run while a job of an earlier one has not ended.
    `start_within_sec`: a run that can't be submitted so long after its time is left out. `dry_run`: only
    check it, and tell the next runs.
    """

    name: ScheduleName
    job: JobIn
    cron: Expression | None = None
    nightly: NightlyIn | None = None
    zone: Zone | None = None
    missed: Literal["skip", "last", "all"] = "last"
    overlap: Literal["skip", "queue", "replace", "allow"] = "skip"
    start_within_sec: Seconds | None = None
    enabled: bool = True
    note: Note = ""
    dry_run: bool = False


class NightlyOut(msgspec.Struct):
    by: str
    start: str = msgspec.field(name="from")
    days: list[str]


class RunOut(msgspec.Struct, omit_defaults=True):
    """One run: the time that it stands for, what was decided, and what became of its job.

    `at` is when it was decided. `state`, `ended_at`, `error` and `exit_code` are the job's, as long as it is
    known. `by_hand`: somebody ran it, out of turn.
    """

    nominal_at: str
    at: str
    outcome: str
    job_id: str = ""
    state: str = ""
    ended_at: str | None = None
    error: str = ""
    exit_code: int | None = None
    why: str = ""
    by_hand: bool = False


class ScheduleOut(msgspec.Struct, omit_defaults=True):
    """A schedule, when it runs next, and what came of its last runs, the newest first.

    `stopped` says why it was paused, where no person did. `live` are its jobs that have not ended. `job` is
    what it submits, without the environment of a command. `submitted` and `left_out` count its runs.
    """

    schedule_id: str
    name: str
    holder: str
    by: str
    zone: str
    explained: str
    enabled: bool
    missed: str
    overlap: str
    next_runs: list[str]
    job: dict[str, Any]
    created_at: str | None = None
    cron: str = ""
    nightly: NightlyOut | None = None
    start_within_sec: int | None = None
    note: str = ""
    stopped: str = ""
    live: list[str] = []
    last_runs: list[RunOut] = []
    submitted: int = 0
    left_out: int = 0


class Schedules(msgspec.Struct):
    """All schedules by name, each with its next run and its last one."""

    schedules: list[ScheduleOut]
