"""The port of the built-in runner: commands that outlive the server (QUEUE-15, 21).

Every run has a small parent of its own, the shim, which writes its log, usage and end to disk whether or not
the server is there. A run is filed under its key from `start` to `forget`, over any number of restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from leasehold.model.run import Command, Ended, LogPart, RunKey, RunnerCapabilities, Started

OnEnded = Callable[[RunKey, Ended], None]


class RunFailed(Exception):
    """What could not be done. Nothing has changed, and nothing of it runs.

    `code` is stable: BAD_COMMAND (it can never be run so), NOT_PERMITTED (this server can't run as that
    user), NO_SUCH_USER, NO_SUCH_RUN (or it is not kept any more), NOT_STARTED (no shim could be started: disk
    full, no processes left; trying again may help). The sentence says what to do.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Runner(Protocol):
    """Runs commands. All calls are made on the event loop, none blocks it, and any may be cancelled.

    A cancelled call may still have its effect: call it again, all of them are idempotent.
    """

    async def attach(self, on_ended: OnEnded) -> Sequence[Started]:
        """Once, before any other call: every run that is filed and not yet kept or forgotten, by key.

        Those that ended while nobody looked have `ended`. A run whose shim is gone without a result is killed
        first, all of it, and has ended as SHIM_LOST, or as MACHINE_LOST where the machine has been restarted.
        From now on `on_ended` is called on the event loop, at once and exactly once for each run whose
        `ended` was not in an answer of `attach` or `start` (perhaps before the caller of `start` has seen its
        answer). What it raises is logged.
        """
        ...

    async def start(self, command: Command) -> Started:
        """Run it, and answer when it runs, or has ended, or it is recorded why it could not.

        At most once per key: if the key is filed already, whoever filed it, nothing is started, and the
        answer is how that run stands. Raises RunFailed.
        """
        ...

    async def stop(self, key: RunKey, grace_ms: int | None = None) -> None:
        """Ask it to end: SIGTERM to all of its processes, after the grace (of its command, unless said here)
        SIGKILL to all that is left. What stands still goes on first, so that it can. Answers when it has been
        told, not when it has ended; a shorter grace later counts. Nothing happens where it has ended.
        Raises RunFailed with NO_SUCH_RUN.
        """
        ...

    async def result(self, key: RunKey) -> Ended | None:
        """How it ended; None while it runs. Also of a kept run. Raises RunFailed with NO_SUCH_RUN."""
        ...

    async def log(self, key: RunKey, offset: int = 0, limit: int = 65_536) -> LogPart:
        """The log from `offset` on, whole chunks of at most about `limit` bytes (≤ 4 MiB) and at least one.

        A negative offset means that many bytes before the end. What has been dropped is left out, and
        counted. An offset within a chunk gives that chunk's successor. At the end the answer has no chunks.
        Also while it runs, and of a kept run. Raises RunFailed with NO_SUCH_RUN.
        """
        ...

    async def more(self, key: RunKey, offset: int, timeout_s: float) -> bool:
        """Wait until the log reaches beyond `offset` or the run has ended: True; False after `timeout_s`.

        So `log`, then `more` from its `next_offset`, until `is_over`, follows a log live. Raises RunFailed.
        """
        ...

    async def forget(self, key: RunKey, *, keep_log: bool) -> bool:
        """Take an ended run off the file. True where it is off it now; False where it still runs.

        With `keep_log` its log and result stay readable, though `attach` no longer tells of it; a later call
        without it removes them. How much is kept of all runs together is bounded: the oldest go first.
        """
        ...

    async def capabilities(self) -> RunnerCapabilities:
        """How runs are held here."""
        ...
