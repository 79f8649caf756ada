"""Jobs: durable intents to run something once, and how one may change (QUEUE-1, 2, 14; INV-5).

A job has a hot part, `Job`, which decisions need and which stays in memory, and a cold part, `JobSpec`, which
is written once and read by id. What like jobs have in common stands in one `Terms`, stored once for all.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.ids import from_number
from leasehold.model.lease import Ask, Usage


class JobState(StrEnum):
    QUEUED = "QUEUED"
    HELD = "HELD"
    """A person keeps it back."""
    DISPATCHING = "DISPATCHING"
    """Offered to a worker, charged, and not taken up yet."""
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    """Running, and made to stand still: its lease says so, so this state is shown and never stored."""
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


_S = JobState

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.QUEUED: frozenset({_S.DISPATCHING, _S.RUNNING, _S.HELD, _S.CANCELED, _S.EXPIRED}),
    _S.HELD: frozenset({_S.QUEUED, _S.CANCELED, _S.EXPIRED}),
    _S.DISPATCHING: frozenset({_S.RUNNING, _S.QUEUED, _S.CANCELED, _S.FAILED, _S.EXPIRED}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.DONE, _S.FAILED, _S.CANCELED, _S.EXPIRED, _S.QUEUED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.DONE, _S.FAILED, _S.CANCELED, _S.EXPIRED, _S.QUEUED}),
    _S.DONE: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.CANCELED: frozenset({_S.QUEUED}),
    _S.EXPIRED: frozenset({_S.QUEUED}),
}
"""The one table of transitions. What ended other than DONE goes back to the queue when somebody retries it.

QUEUED becomes RUNNING at once when a worker claims it: the claim is offer and acknowledgement in one.
"""

WAITING = frozenset({_S.QUEUED, _S.HELD})
AT_WORK = frozenset({_S.DISPATCHING, _S.RUNNING, _S.PAUSED})
"""These hold a lease."""

ENDED = frozenset({_S.DONE, _S.FAILED, _S.CANCELED, _S.EXPIRED})

RUNNER = "runner"
"""The capability of the built-in command runner: nobody else has it."""

EXEC = "exec"
"""The job type of commands, which the built-in runner does (QUEUE-15)."""


class Start(StrEnum):
    """What a job waits for beside room (QUEUE-19)."""

    NOW = "now"
    QUIET = "quiet"
    WINDOW = "window"


class ErrorClass(StrEnum):
    """How an attempt failed, and so whether another one may help (QUEUE-11)."""

    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    OUT_OF_MEMORY = "out_of_memory"
    """The next attempt gets more memory."""
    LOST = "lost"
    """Its node or lease was lost: not the job's fault the first three times."""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Exponential back-off with full jitter: after attempt n a random time up to min(cap, base · 2^(n-1)).

    Source: M. Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015.
    """

    base_ms: int = 10_000
    cap_ms: int = 3_600_000


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What like jobs have in common. Interned: jobs of equal terms share one object, stored once.

    `key` is made of all the rest. `ask.needs` are the capabilities that a worker must have (RUNNER for
    commands). `max_runtime_ms` 0: none. `gang` leases start together or not at all (QUEUE-20); `ask` is what
    one of them is charged.
    """

    key: str
    ask: Ask
    start: Start = Start.QUIET
    max_runtime_ms: int = 0
    max_attempts: int = 1
    retry: Retry = Retry()
    time_sensitive: bool = False
    gang: int = 1
    labels: tuple[tuple[str, str], ...] = ()
    group: str = ""


class End(msgspec.Struct, frozen=True, gc=False):
    """How a job or an attempt of it ended. `result` is JSON as its worker sent it, empty for none.

    `exit_code` is a command's; `signal` what ended it instead, by name.
    """

    error: str = ""
    error_class: ErrorClass | None = None
    result: bytes = b""
    exit_code: int | None = None
    signal: str = ""
    usage: Usage = Usage()


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One execution that is over. `outcome` is DONE, FAILED, LOST, REQUEUED, CANCELED or EXPIRED."""

    generation: int
    worker: str
    started_wall_ms: int
    ended_wall_ms: int
    outcome: str
    end: End = End()


class Job(msgspec.Struct, frozen=True, gc=False):
    """The hot record: all that decisions need.

    `number` orders submissions and is the id (`model.ids`). `due_ms` is QUEUE-6's static key on the ledger's
    clock. Times of people (`…_wall_ms`, 0: none) follow the wall clock. `generation` counts how often it was
    handed out, `attempts` how often it was executed on its own account, `lost` how often its lease was.
    `not_before_ms` is the end of a back-off, and of a running one that is cancelled the end of its grace.
    `waits_for` are the jobs of `after` that have not ended yet. Under a session `lease_id` is the session's,
    `token` its token; the members of a gang have that one and those that follow it. `cancel` is who asked for
    its end while it runs, and `end` how it ended. `size` is that of its payload in bytes. `index` is a place
    in an array of jobs, from 1; 0: in none.
    """

    number: int
    terms: Terms
    state: JobState
    since_wall_ms: int
    due_ms: int
    generation: int = 0
    attempts: int = 0
    lost: int = 0
    not_before_ms: int = 0
    earliest_wall_ms: int = 0
    deadline_wall_ms: int = 0
    anyway_wall_ms: int = 0
    after: tuple[int, ...] = ()
    after_any: bool = False
    waits_for: tuple[int, ...] = ()
    unique: str = ""
    size: int = 0
    index: int = 0
    lease_id: str = ""
    token: int = 0
    worker: str = ""
    started_ms: int = 0
    started_wall_ms: int = 0
    ended_wall_ms: int = 0
    cancel: str = ""
    memory_bytes: int = 0
    """What the next attempt is given instead of what was asked, after one ran out of memory; 0: as asked."""
    end: End | None = None
    past: tuple[Attempt, ...] = ()

    @property
    def ask(self) -> Ask:
        """What it asks of the line, as `Terms` say."""
        return self.terms.ask

    @property
    def leases(self) -> tuple[str, ...]:
        """The leases of its attempt: one, or of a gang one for each member, by its rank."""
        if self.terms.gang == 1 or not self.lease_id:
            return (self.lease_id,) if self.lease_id else ()
        return tuple(from_number("lease", self.token + rank) for rank in range(self.terms.gang))

    @property
    def kind(self) -> tuple[str, ...]:
        """What a worker must be able to do for it: its type, then what else it needs."""
        ask = self.terms.ask
        return (ask.job_type, *ask.needs)


class JobSpec(msgspec.Struct, frozen=True, gc=False):
    """The cold part: written at submission, read by id.

    `payload` is JSON as it was sent. `title` is a line for people. `submitter` is the principal's name, `uid`
    the Unix user that a command runs as (-1: none). `env` are the submitter's variables: never listed,
    exported or logged (QUEUE-21).
    """

    job_type: str
    payload: bytes = b"{}"
    title: str = ""
    submitter: str = ""
    uid: int = -1
    env: dict[str, str] = {}
    repo_url: str = ""
