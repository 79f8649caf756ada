"""Jobs in the hands of a program: look, wait, cancel, try again (QUEUE-3, LEASE-19).

found = leasehold.submit("thumbnails", {"folder": "photos"}, cost=30, by="2026-12-01T06:00:00+01:00")
found.result(timeout=3600)
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

from leasehold.client import paths
from leasehold.client.asked import Priority, Time, seconds
from leasehold.client.job_call import Caller, JobError, JobRefused, NoServer
from leasehold.runtime.lean import elapsed_s, pause

__all__ = ["Job", "JobError", "JobFailed", "JobRefused", "LogPiece", "NoServer"]

ENDED = frozenset({"DONE", "FAILED", "CANCELED", "EXPIRED"})
LOOK_S = (0.02, 1.0)
"""The first and the longest pause between two looks at a job that is waited for."""
LOG_WAIT_S = 20


class JobFailed(JobError):
    """A job ended other than DONE. `job` is how it ended.

    `state` is FAILED, CANCELED or EXPIRED; `error` its last words, `exit_code` and `signal` those of a
    command, `history` its attempts, the oldest first.
    """

    def __init__(self, job: Job) -> None:
        words = job.error or (f"exit code {job.exit_code}" if job.exit_code is not None else "")
        words = words or (f"ended by {job.signal}" if job.signal else "")
        last = words.strip().rsplit("\n", 1)[-1]
        super().__init__(f"{job.id} ({job.type}) is {job.state}{f': {last}' if last else ''}")
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.job,))

    @property
    def state(self) -> str:
        return self.job.state

    @property
    def error(self) -> str:
        return self.job.error

    @property
    def exit_code(self) -> int | None:
        return self.job.exit_code

    @property
    def signal(self) -> str:
        return self.job.signal

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.job.history


class LogPiece(NamedTuple):
    """What came out of a command at once: `out`, `err`, or a `note` of the runner."""

    stream: str
    data: bytes
    at: datetime


class Job:
    """A job as it was when it was last looked at; `refresh` looks again.

    `document` is the answer of the API, with everything that has no name here.
    """

    def __init__(self, caller: Caller, document: Mapping[str, Any]) -> None:
        self._caller = caller
        self.document = dict(document)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_known, (self._caller.server, self.document))

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.type} {self.state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    # -- what it is

    @property
    def id(self) -> str:
        return str(self.document["job_id"])

    @property
    def type(self) -> str:
        return str(self.document.get("job_type", ""))

    @property
    def state(self) -> str:
        """QUEUED, HELD, DISPATCHING, RUNNING, PAUSED, DONE, FAILED, CANCELED or EXPIRED."""
        return str(self.document.get("state", ""))

    @property
    def is_over(self) -> bool:
        """Whether it had ended; a retry may have it live again."""
        return self.state in ENDED

    @property
    def existing(self) -> bool:
        """Whether `submit` found it: a live job of the same `unique` key, or the same call before."""
        return bool(self.document.get("existing"))

    @property
    def attempts(self) -> int:
        return int(self.document.get("attempts", 0))

    @property
    def progress(self) -> float | None:
        return self.document.get("progress")

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))

    @property
    def reason(self) -> str:
        """Why it waits, in a sentence."""
        return str(self.document.get("reason", ""))

    @property
    def error(self) -> str:
        return str(self.document.get("error", ""))

    @property
    def exit_code(self) -> int | None:
        return self.document.get("exit_code")

    @property
    def signal(self) -> str:
        return str(self.document.get("signal", ""))

    @property
    def history(self) -> list[dict[str, Any]]:
        """Its attempts that are over, the oldest first."""
        return list(self.document.get("history") or [])

    @property
    def payload(self) -> Any:
        return self.document.get("payload")

    # -- looking and waiting

    def refresh(self) -> Self:
        """Look again. Raises JobRefused where it is no more, NoServer."""
        self.document = self._caller.call(paths.JOB, job_id=self.id)
        return self

    def wait(self, timeout: Time | None = None) -> Self:
        """Wait until it has ended, however. Raises TimeoutError after `timeout`; the job goes on."""
        end_s, look_s = self._until(timeout), LOOK_S[0]
        while not self.refresh().is_over:
            pause(self._pause_s(look_s, end_s, timeout))
            look_s = min(LOOK_S[1], look_s * 1.5)
        return self

    async def wait_async(self, timeout: Time | None = None) -> Self:
        """`wait` for an event loop."""
        import asyncio

        end_s, look_s = self._until(timeout), LOOK_S[0]
        while not (await asyncio.to_thread(self.refresh)).is_over:
            await asyncio.sleep(self._pause_s(look_s, end_s, timeout))
            look_s = min(LOOK_S[1], look_s * 1.5)
        return self

    @staticmethod
    def _until(timeout: Time | None) -> float | None:
        given = seconds("timeout", timeout)
        return None if given is None else elapsed_s() + given

    def _pause_s(self, look_s: float, end_s: float | None, timeout: Time | None) -> float:
        if end_s is None:
            return look_s
        left_s = end_s - elapsed_s()
        if left_s <= 0:
            why = f" ({self.reason})" if self.reason else ""
            raise TimeoutError(f"{self.id} ({self.type}) is {self.state} after {timeout}{why}; it goes on")
        return min(look_s, left_s)

    def result(self, timeout: Time | None = None) -> Any:
        """What its worker returned, as soon as it is done. Raises JobFailed, TimeoutError."""
        return self.wait(timeout)._result()

    async def result_async(self, timeout: Time | None = None) -> Any:
        """`result` for an event loop."""
        return (await self.wait_async(timeout))._result()

    def _result(self) -> Any:
        if self.state != "DONE":
            raise JobFailed(self)
        return self.document.get("result")

    # -- doing something about it

    def cancel(self, note: str = "", *, grace: Time | None = None) -> Self:
        """End it: at once where nothing runs, else as soon as its worker has stopped, within `grace`."""
        given = seconds("grace", grace)
        more = {} if given is None else {"grace_sec": round(given)}
        return self._do(paths.CANCEL_JOB, {"note": note, **more})

    def retry(self, note: str = "") -> Self:
        """One more attempt for a job that ended other than DONE, with its history."""
        return self._do(paths.RETRY_JOB, {"note": note})

    def hold(self, note: str = "") -> Self:
        """Keep it back until somebody resumes it."""
        return self._do(paths.HOLD_JOB, {"note": note})

    def pause(self, note: str = "") -> Self:
        """Have it stand still until somebody resumes it; one that waits is held."""
        return self._do(paths.PAUSE_JOB, {"note": note})

    def resume(self, note: str = "") -> Self:
        """Let it go on."""
        return self._do(paths.RESUME_JOB, {"note": note})

    def prioritise(self, priority: Priority, note: str = "") -> Self:
        """Put a waiting job into another lane."""
        return self._do(paths.PRIORITISE_JOB, {"priority": priority, "note": note})

    def _do(self, call: tuple[str, str], body: dict[str, Any]) -> Self:
        self.document = self._caller.call(call, body, job_id=self.id)
        return self

    def events(self) -> list[dict[str, Any]]:
        """What has happened to it, the oldest first."""
        return list(self._caller.call(paths.JOB_EVENTS, job_id=self.id)["events"])

    def log(self, *, follow: bool = False, offset: int = 0, attempt: int = 0) -> Iterator[LogPiece]:
        """A command's output, piece by piece; with `follow` until it has ended.

        A negative `offset` counts bytes from the end. `attempt` 0 is the last one.
        """
        query: dict[str, Any] = {"offset": offset, "attempt": attempt, "limit": 1 << 20}
        while True:
            query["wait_sec"] = LOG_WAIT_S if follow else 0
            page = self._caller.call(paths.JOB_LOG, query=query, timeout_s=LOG_WAIT_S + 30.0, job_id=self.id)
            for chunk in page["chunks"]:
                data = base64.b64decode(chunk["data"])
                yield LogPiece(chunk["stream"], data, datetime.fromisoformat(chunk["at"]))
            if page["over"] or (not follow and not page["chunks"]):
                return
            query["offset"] = page["next"]

    # -- on an event loop

    async def refresh_async(self) -> Self:
        """`refresh` for an event loop."""
        import asyncio

        return await asyncio.to_thread(self.refresh)

    async def cancel_async(self, note: str = "", *, grace: Time | None = None) -> Self:
        """`cancel` for an event loop."""
        import asyncio

        return await asyncio.to_thread(self.cancel, note, grace=grace)

    async def retry_async(self, note: str = "") -> Self:
        """`retry` for an event loop."""
        import asyncio

        return await asyncio.to_thread(self.retry, note)


def _known(server: str, document: dict[str, Any]) -> Job:
    from leasehold.client.job_call import caller

    return Job(caller(server), document)
