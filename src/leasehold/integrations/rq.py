"""RQ workers whose jobs ask for a lease before they start (LEASE-19).

    rq worker --worker-class leasehold.integrations.rq.LeasedWorker

    queue.enqueue(thumbnails, folder, meta={"leasehold": {"cost": 30}})

Only jobs whose `meta` has `leasehold` options ask. The worker waits before it starts the job, so that the
job's timeout counts only its work; like any RQ worker it does one thing at a time, so heavy jobs belong in
a queue of their own. With `wait` a job that got no lease in time fails; RQ's `Retry` brings it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import cast

from rq import SimpleWorker, Worker
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.utils import now
from rq.worker import BaseWorker

from leasehold.client.asked import seconds
from leasehold.client.lease import Lease, LeaseOptions, NotGranted, current_lease, lease
from leasehold.runtime.lean import elapsed_s

__all__ = ["LeasedSimpleWorker", "LeasedWorker", "current_lease"]

log = logging.getLogger("leasehold")

SLICE_S = 10.0
"""While it waits the worker tells RQ this often that it lives."""
LOOK_S = 0.5
LAST_S = 1.0
"""What is left of the grace when a job that did not stop by itself is ended."""


class _NotStarted(Exception):
    """There is no lease, and the job's failure has been written down."""


class _Leased(BaseWorker):
    """Waits for a lease between taking a job and starting it."""

    _lease: Lease | None = None

    def execute_job(self, job: Job, queue: Queue) -> None:
        try:
            super().execute_job(job, queue)
        except _NotStarted:
            self.set_state("idle")
        finally:
            self._let_go()

    def prepare_execution(self, job: Job) -> Execution:
        """What the worker calls before it starts a job: wait here."""
        execution = super().prepare_execution(job)
        options = job.meta.get("leasehold")
        if not options:
            return execution
        try:
            self._lease = self._wait(job, execution, options)
        except NotGranted as error:
            self._fail(job, execution)
            raise _NotStarted from error
        return execution

    def _wait(self, job: Job, execution: Execution, options: LeaseOptions) -> Lease:
        limit_s = seconds("wait", options.get("wait"))
        until_s = None if limit_s is None else elapsed_s() + limit_s
        ticket = options.get("ticket", "")
        while True:
            left_s = SLICE_S if until_s is None else min(SLICE_S, max(0.0, until_s - elapsed_s()))
            last = until_s is not None and left_s < SLICE_S
            own = {"wait": left_s, "ticket": ticket, "keep_place": not last}
            asked = {"job_type": str(job.func_name)[:128], **options, **own}
            try:
                return lease(**cast(LeaseOptions, asked)).acquire()
            except NotGranted as error:
                if error.kind != "gave_up" or last:
                    raise
                ticket = error.ticket
            self.maintain_heartbeats(job, execution)

    def _fail(self, job: Job, execution: Execution) -> None:
        queue = self.queue_class(job.origin, connection=self.connection)
        job.started_at = job.ended_at = now()
        self.handle_exception(job, *sys.exc_info())
        self.handle_job_failure(
            job,
            queue,
            started_job_registry=queue.started_job_registry,
            exc_string=str(sys.exc_info()[1]),
            execution=execution,
        )

    def _let_go(self) -> None:
        held, self._lease = self._lease, None
        if held is not None:
            held.release()


class LeasedWorker(_Leased, Worker):
    """RQ's worker, with a process for each job. That process is the work: it runs at low weight.

    A job whose lease is taken back sees `current_lease().should_stop`; one that goes on is ended with the
    grace period, like the command of `leasehold run`.
    """

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)
        if self._lease is not None and self.horse_pid:
            self._lease.bind(self.horse_pid)
            guard = threading.Thread(target=_end_overdue, args=(self._lease, self.horse_pid), daemon=True)
            guard.start()


class LeasedSimpleWorker(_Leased, SimpleWorker):
    """RQ's worker that runs jobs in its own process."""


def _end_overdue(held: Lease, pid: int) -> None:
    """End a job that goes on although its lease has been taken back or lost."""
    pause = threading.Event()
    while not held.is_over:
        left_s = held.stop_in_s
        if left_s is not None and left_s <= LAST_S:
            log.warning("%s: the job's process %d is ended (%s)", held.id, pid, held.stop_reason)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)
            return
        pause.wait(LOOK_S)
