"""Recurring schedules: what is submitted again and again, when, and what came of it (QUEUE-17)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.owner import Rule


class Missed(StrEnum):
    """What happens to runs whose time came while nothing could be submitted: the server was off."""

    SKIP = "skip"
    """They are left out."""
    LAST = "last"
    """The last one is made up for."""
    ALL = "all"
    """All are made up for, one after the other, but for the oldest of very many."""


class Overlap(StrEnum):
    """What happens when a run's time comes while a job of an earlier one has not ended.

    Kubernetes calls them Forbid, (none), Replace and Allow.
    """

    SKIP = "skip"
    """The new run is left out."""
    QUEUE = "queue"
    """Its job starts when the others have ended, in whatever way."""
    REPLACE = "replace"
    """The others are cancelled; its job starts when they have ended."""
    ALLOW = "allow"
    """Both may run at once."""


class RunOutcome(StrEnum):
    SUBMITTED = "submitted"
    OVERLAP = "overlap"
    """Left out: an earlier run's job had not ended."""
    MISSED = "missed"
    """Left out: it could not be submitted in time."""
    REFUSED = "refused"
    """The queue refused its job for good; `why` says why."""


class Schedule(msgspec.Struct, frozen=True, gc=False):
    """What was asked for; changed by people only. `Runs` is what came of it.

    Exactly one of `cron` (five fields) and `nightly` says when, on the clocks of `zone`: a nightly one
    submits when its span begins, and its job is to be done by the end of it. `body` is a job submission as
    JSON, checked when it was made. `holder`, `principal`, `tenant` and `uid` are those of who made it, and so
    are the rights in `verbs`: its jobs are submitted in that name. `start_within_ms` (0: no limit): a run
    that could not be submitted this long after its time is not made up for under any policy.
    """

    schedule_id: str
    name: str
    zone: str
    body: bytes
    holder: str
    principal: str
    verbs: tuple[str, ...]
    created_wall_ms: int
    cron: str = ""
    nightly: Rule | None = None
    tenant: str = "default"
    role: str = ""
    uid: int = -1
    missed: Missed = Missed.LAST
    overlap: Overlap = Overlap.SKIP
    start_within_ms: int = 0
    enabled: bool = True
    note: str = ""
    changed_wall_ms: int = 0
    stopped: str = ""
    """Why it was paused other than by a person; "" where it was not."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """One run that has been decided on. `nominal_wall_ms` is the time that the schedule meant for it.

    `job` is its job's number, 0 for none. `by_hand`: somebody ran it now, it stands for no nominal time.
    """

    nominal_wall_ms: int
    at_wall_ms: int
    outcome: RunOutcome
    job: int = 0
    why: str = ""
    by_hand: bool = False


class Runs(msgspec.Struct, frozen=True, gc=False):
    """How far a schedule has come: changed by each run, in one commit with the run's job.

    Every nominal instant up to `settled_wall_ms` has been decided on. `decided` are the newest of those that
    were decided on one by one, ascending: were the wall clock set back, none of them comes again. `last` are
    the newest runs, the newest one last. `live` are the jobs that had not ended when it was last looked at.
    Times up to `seen_wall_ms` had been settled before the clock was set back; 0: it never was.
    """

    schedule_id: str
    settled_wall_ms: int
    decided: tuple[int, ...] = ()
    last: tuple[Run, ...] = ()
    live: tuple[int, ...] = ()
    submitted: int = 0
    left_out: int = 0
    seen_wall_ms: int = 0
