"""APScheduler executors whose jobs ask for a lease before they start (LEASE-19). For APScheduler 3.

    scheduler.add_executor(LeasedThreadPoolExecutor(4, leasehold={"cost": 40}), "heavy")
    scheduler.add_job(backup, "cron", hour=3, executor="heavy")

Every job of such an executor asks for a lease of its own. A run that is due waits until there is room: the
scheduler has taken it in time, so it is not missed. With `wait` a run that got no lease in time is an error
(NotGranted, an event of the kind EVENT_JOB_ERROR). For one job alone decorate its function with `lease`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from apscheduler.executors.asyncio import AsyncIOExecutor  # type: ignore[import-untyped]
from apscheduler.executors.pool import (  # type: ignore[import-untyped]
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)

from leasehold.client.lease import LeaseOptions, current_lease, lease

__all__ = ["LeasedAsyncIOExecutor", "LeasedProcessPoolExecutor", "LeasedThreadPoolExecutor", "current_lease"]


class _LeasedJob:
    """A job as an executor runs it, its function under a lease. It can be pickled, as jobs can."""

    def __init__(self, job: Any, options: LeaseOptions) -> None:
        self._job = job
        self._options = options

    @property
    def func(self) -> Callable[..., Any]:
        named = {"job_type": str(self._job.name)[:128], **self._options}
        return lease(**cast(LeaseOptions, named))(cast(Callable[..., Any], self._job.func))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_job":
            raise AttributeError(name)
        return getattr(self._job, name)

    def __str__(self) -> str:
        return str(self._job)


class LeasedThreadPoolExecutor(ThreadPoolExecutor):  # type: ignore[misc]
    """Runs jobs in threads, each run under a lease with the options `leasehold`.

    A run that waits takes up one of the `max_workers` threads.
    """

    def __init__(self, *arguments: Any, leasehold: LeaseOptions, **more: Any) -> None:
        lease(**leasehold)  # What can't be meant is said here, not in the night.
        super().__init__(*arguments, **more)
        self._leasehold = leasehold

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        super()._do_submit_job(_LeasedJob(job, self._leasehold), run_times)


class LeasedProcessPoolExecutor(ProcessPoolExecutor):  # type: ignore[misc]
    """Runs jobs in processes, each run under a lease with the options `leasehold`."""

    def __init__(self, *arguments: Any, leasehold: LeaseOptions, **more: Any) -> None:
        lease(**leasehold)
        super().__init__(*arguments, **more)
        self._leasehold = leasehold

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        super()._do_submit_job(_LeasedJob(job, self._leasehold), run_times)


class LeasedAsyncIOExecutor(AsyncIOExecutor):  # type: ignore[misc]
    """Runs coroutine functions on the event loop and others in threads, under leases with `leasehold`."""

    def __init__(self, *arguments: Any, leasehold: LeaseOptions, **more: Any) -> None:
        lease(**leasehold)
        super().__init__(*arguments, **more)
        self._leasehold = leasehold

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        super()._do_submit_job(_LeasedJob(job, self._leasehold), run_times)
