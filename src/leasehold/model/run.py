"""Runs: one execution of a command by the built-in runner, below the ledger (QUEUE-15, 21).

A run is one attempt of a job. It knows nothing of queues and leases: whoever orders it has a job's number, a
generation, a command, and the place (of a lease) in which all of it is to stand.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.ids import from_number, to_number
from leasehold.model.lease import Process

OWN_USER = -1
"""The user that the server runs as."""

LOG_BYTES = 50_000_000
GRACE_MS = 10_000
ARGUMENTS_MAX = 4_096
ORDER_BYTES_MAX = 1 << 20
"""Arguments and environment together. The kernel takes about 2 MiB, and 128 KiB in one of them."""


class RunKey(msgspec.Struct, frozen=True, gc=False, order=True):
    """Which run: a job by its number, the generation of this attempt, and the member of a gang (from 0)."""

    number: int
    generation: int
    member: int = 0

    @property
    def name(self) -> str:
        """As a folder is called: `job-….3`, `job-….3.1` for the second member of a gang."""
        member = f".{self.member}" if self.member else ""
        return f"{from_number('job', self.number)}.{self.generation}{member}"

    @staticmethod
    def of(name: str) -> RunKey | None:
        """The run of that name; None where it is none."""
        job, *rest = name.split(".")
        number = to_number("job", job)
        if number is None or len(rest) not in (1, 2) or not all(_is_number(each) for each in rest):
            return None
        key = RunKey(number, *map(int, rest))
        return key if key.name == name else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


class Command(msgspec.Struct, frozen=True):
    """What is to be run, and how.

    `argv` and `env` are bytes as the kernel takes them: any but NUL. `env` is all that the command gets,
    beside HOME, USER, LOGNAME, SHELL and PATH of its user where it does not name them. `argv[0]` is looked
    for in its PATH, as that user. `place` is the lease whose place all of it stands in. Limits of 0 are none;
    with `terminal` it gets one for input, output and errors, else input is empty. `grace_ms` is what is
    given between SIGTERM and SIGKILL, and to what outlives the command before either. Of its output at most
    `log_bytes_max` is kept.
    """

    key: RunKey
    argv: tuple[bytes, ...]
    cwd: bytes
    env: tuple[tuple[bytes, bytes], ...] = ()
    uid: int = OWN_USER
    place: str = ""
    cpu_millicores: int = 0
    memory_bytes: int = 0
    pids_max: int = 0
    grace_ms: int = GRACE_MS
    log_bytes_max: int = LOG_BYTES
    terminal: bool = False


class Fault(StrEnum):
    """Why a run ended otherwise than by its command's own will."""

    NOT_FOUND = "not_found"
    """No such program: exit code 127."""
    NOT_EXECUTABLE = "not_executable"
    """It is there, and can't be executed: exit code 126."""
    NO_FOLDER = "no_folder"
    """Its working folder is gone, or closed to its user: exit code 126."""
    NOT_STARTED = "not_started"
    """Something else kept it from starting; `error` says what. Nothing of it ran."""
    STOPPED = "stopped"
    """It was asked to stop."""
    OUT_OF_MEMORY = "out_of_memory"
    """It failed, and the kernel had ended some of its processes over its memory limit."""
    SHIM_LOST = "shim_lost"
    """Its shim was killed, so its own end is not known; what was left of it has been killed."""
    MACHINE_LOST = "machine_lost"
    """The machine went down under it, or was about to: somebody told all programs to end."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """How a run ended. Exactly one of `exit_code` and `signal` is there, or neither where nobody saw it.

    `signal` is a name (`SIGKILL`). `cpu_ms` and `memory_peak_bytes` are of all its processes, 0 where not
    known. `memory_kills` counts those that the kernel ended for want of memory. `left_behind` counts
    processes that outlived the command and had to be killed. `log_bytes` were printed, and
    `log_dropped_bytes` of them are not kept. `error` is a sentence for people, "" where the command just
    ended.
    """

    exit_code: int | None
    signal: str = ""
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    memory_kills: int = 0
    started_wall_ms: int = 0
    ended_wall_ms: int = 0
    left_behind: int = 0
    log_bytes: int = 0
    log_dropped_bytes: int = 0
    fault: Fault | None = None
    error: str = ""


class Started(msgspec.Struct, frozen=True, gc=False):
    """A run that was ordered: under way (`process` leads it), or over already (`ended`).

    `shim` is the process that waits for it: a wrapper in the sense of `WorkQuery`. `held` are the limits that
    really hold, by the names of `Command`; what is missing there is not held.
    """

    key: RunKey
    shim: Process | None
    process: Process | None
    started_wall_ms: int = 0
    held: tuple[str, ...] = ()
    ended: Ended | None = None


class Stream(StrEnum):
    OUT = "out"
    ERR = "err"
    NOTE = "note"
    """A sentence of the shim: what of the log was lost, and why."""


class LogChunk(msgspec.Struct, frozen=True, gc=False):
    """What was read from a stream at once, when (Unix ms), and where in the log it begins."""

    offset: int
    wall_ms: int
    stream: Stream
    data: bytes


class LogPart(msgspec.Struct, frozen=True):
    """A part of a log.

    Offsets count what was ever logged (with its framing), so they never move. `next_offset` is where to read
    on. `dropped_bytes` were between the wanted offset and the first chunk and are not kept any more.
    `is_over`: the run has ended and nothing follows.
    """

    chunks: tuple[LogChunk, ...]
    next_offset: int
    dropped_bytes: int = 0
    is_over: bool = False


class RunnerCapabilities(msgspec.Struct, frozen=True):
    """How runs are held on this machine, found by trying; `doctor` says it.

    `kind` is `cgroup2`, `cgroup1` or `tree`. `run_as`: it can run as other users. `notes` are what is
    missing, each with what to do about it after a semicolon.
    """

    kind: str
    cpu_limit: bool
    memory_limit: bool
    pids_limit: bool
    run_as: bool
    terminal: bool
    notes: tuple[str, ...] = ()
