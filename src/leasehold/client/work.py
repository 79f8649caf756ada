"""One claimed job in the hands of a worker, and what its handler sees of it (LEASE-19, 27)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from leasehold.client.asking import Held
from leasehold.client.endpoint import Endpoint
from leasehold.client.held import Lease, enter
from leasehold.client.keeper import Standing
from leasehold.client.lean import Connection
from leasehold.runtime.lean import elapsed_s

REPORT_S = 0.5
"""Progress is told at most this often; what comes in between replaces what was not told yet."""


class Permanent(Exception):
    """Raised by a handler: the job has failed, and trying again would not help."""


class Holding:
    """A lease that jobs run under: of one job alone, or a session's."""

    def __init__(self, held: Held, *, is_session: bool) -> None:
        self.held = held
        self.is_session = is_session
        self.closing = False

    @property
    def ident(self) -> tuple[str, int]:
        return self.held.lease_id, self.held.token


class Work:
    """A job from its claim until its result is taken. The keeper writes `standing`, the handler reads it.

    It is what a `Lease` stands on, like the keeper's actors: leases inside the handler share its room.
    """

    def __init__(self, claimed: Mapping[str, Any], holding: Holding, endpoint: Endpoint) -> None:
        self.document = claimed
        self.holding = holding
        self.endpoint = endpoint
        self.job_id = str(claimed["job_id"])
        self.generation = int(claimed["generation"])
        self.job_type = str(claimed["job_type"])
        self.attempt = int(claimed.get("attempt", 1))
        self.standing = Standing(holding.held)
        self.begun = False
        self.sent = False
        self.lost = False
        self.out_of_time = False
        self.begun_s = 0.0
        self._report: dict[str, Any] = {}
        self._report_due_s = 0.0

    @property
    def leases(self) -> dict[str, int]:
        """The leases that are its own, with their tokens: one, or those of a gang's members."""
        if self.holding.is_session:
            return {}
        found = {
            str(one["lease_id"]): int(one["fencing_token"]) for one in self.document.get("members") or ()
        }
        return found or {self.holding.held.lease_id: self.holding.held.token}

    def begin(self) -> None:
        """Its handler is called now."""
        self.begun = True
        self.begun_s = elapsed_s()

    def stop(self, why: str, left_s: float) -> None:
        """It should end soon."""
        if not self.standing.stop:
            self.standing.tell(stop=f"{self.job_id}: {why}", revoked=True, stop_by_s=elapsed_s() + left_s)

    def lose(self, why: str) -> None:
        """It has been handed out again, or will be: what its handler returns counts for nothing."""
        self.lost = True
        self.standing.tell(stop=f"{self.job_id}: {why}", ended=why, revoked=True, stop_by_s=elapsed_s())

    # -- as an actor of its lease

    def report(self, document: dict[str, Any]) -> None:
        """Have this told soon, with what has not been told yet."""
        self._report = self._report | document

    def due_s(self) -> float:
        """When the next report is due, by the elapsed clock."""
        return self._report_due_s if self._report else math.inf

    def take_report(self) -> dict[str, Any]:
        """What is to be told now."""
        found, self._report = self._report, {}
        self._report_due_s = elapsed_s() + REPORT_S
        return found

    def turn(self, connection: Connection) -> float | None:
        """The worker keeps it; nobody else does."""
        return None


class JobContext:
    """What a handler knows of its job: as its second argument, or by `current_job()`."""

    def __init__(self, work: Work, lease: Lease) -> None:
        self._work = work
        self.lease = lease
        """The lease that it runs under: `with lease(...)` inside shares it."""

    @property
    def id(self) -> str:
        return self._work.job_id

    @property
    def type(self) -> str:
        return self._work.job_type

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1 on."""
        return self._work.attempt

    @property
    def generation(self) -> int:
        """With the lease's token it fences this attempt off from later ones."""
        return self._work.generation

    @property
    def labels(self) -> dict[str, str]:
        return dict(self._work.document.get("labels") or {})

    @property
    def members(self) -> list[dict[str, Any]]:
        """The leases of a gang, by rank."""
        return list(self._work.document.get("members") or [])

    @property
    def memory_bytes(self) -> int | None:
        """What this attempt may use, where an earlier one ran out of memory."""
        return self._work.document.get("memory_bytes")

    @property
    def should_stop(self) -> bool:
        """Whether it should end soon: cancelled, out of time, lost, or the worker is to end."""
        return self.lease.should_stop

    @property
    def stop_reason(self) -> str:
        return self.lease.stop_reason

    @property
    def stop_in_s(self) -> float | None:
        """How many seconds are left to end in; None while it may go on."""
        return self.lease.stop_in_s

    @property
    def paused(self) -> bool:
        """Whether it should stand still, since the machine's owner needs it."""
        return self.lease.paused

    def report(self, progress: float | None = None, message: str | None = None, **figures: Any) -> None:
        """Tell how far it is; waits for nothing. Raises LeaseLost where it should end."""
        self.lease.report(progress, message, **figures)

    def checkpoint(self) -> None:
        """Between two steps: stands still while `paused`, raises LeaseLost where it should end."""
        self.lease.checkpoint()

    async def checkpoint_async(self) -> None:
        """`checkpoint` for an event loop."""
        await self.lease.checkpoint_async()


_CURRENT: ContextVar[JobContext | None] = ContextVar("leasehold_job", default=None)


def current_job() -> JobContext | None:
    """The job that this code runs for, in this thread or task; None outside of a worker."""
    return _CURRENT.get()


@contextlib.contextmanager
def entered(work: Work) -> Iterator[JobContext]:
    """The job is the current one, and its lease the current lease."""
    lease = Lease(work.endpoint, None, [work], document={"lease_id": work.holding.held.lease_id})
    context = JobContext(work, lease)
    enter(lease)
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)
        lease.release()
