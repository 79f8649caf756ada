"""Celery tasks that ask for a lease before they start (LEASE-19).

    app = Celery("shop", task_cls="leasehold.integrations.celery:LeasedTask")

    @app.task(leasehold={"cost": 30})
    def thumbnails(folder): ...

Only tasks with `leasehold` options ask (`base=LeasedTask` makes one such a task alone). A task waits in its
worker for `wait` (a minute unless it says otherwise); then it goes back to the queue, with its place in
Leasehold's line, and the worker takes another one meanwhile. That is no retry, and counts as none.
"""

from __future__ import annotations

from typing import Any, cast

from celery import Task  # type: ignore[import-untyped]
from celery.exceptions import Reject, Retry  # type: ignore[import-untyped]

from leasehold.client.lease import LeaseOptions, NotGranted, current_lease, lease

__all__ = ["LeasedTask", "current_lease"]

WAIT_S = 60.0
"""How long a task waits in its worker. Its time limits count this time too."""
AGAIN_S_MAX = 60.0
"""A task that was sent back comes again at least this often: its place in line is kept for 10 minutes."""
TICKET = "leasehold_ticket"
"""The header that carries the place in line."""


class LeasedTask(Task):  # type: ignore[misc]
    """A task that runs under a lease, where its `leasehold` option says what it needs.

    `app.conf.leasehold` has options for all of them. A task whose need depends on its arguments overrides
    `lease_options`. Inside, `current_lease()` is the lease; on its `should_stop` the task should end.
    Raised as a failure: NotGranted where no waiting would mend it, LeaseLost by `report` and `checkpoint`.
    """

    abstract = True
    leasehold: LeaseOptions | None = None

    def lease_options(self, *args: Any, **kwargs: Any) -> LeaseOptions | None:
        """What this call needs; None: it runs without a lease."""
        if self.leasehold is None:
            return None
        return cast(LeaseOptions, {**(self.app.conf.get("leasehold") or {}), **self.leasehold})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: in a worker under a lease, called as a plain function without one."""
        options = None if self.request.called_directly else self.lease_options(*args, **kwargs)
        if options is None:
            return self.run(*args, **kwargs)
        ticket = (self.request.headers or {}).get(TICKET) or ""
        asked = {"wait": WAIT_S, "job_type": self.name[:128], "keep_place": True, "ticket": ticket, **options}
        try:
            held = lease(**cast(LeaseOptions, asked)).acquire()
        except NotGranted as error:
            if error.kind != "gave_up" or self.request.is_eager:
                raise
            raise self._sent_back(error) from None
        with held:
            return self.run(*args, **kwargs)

    def _sent_back(self, denied: NotGranted) -> Retry:
        """Send the task again, as it is, with its place in line; what tells the worker so."""
        request = self.request
        again_s = max(1.0, min(denied.retry_after_s or 2.0, AGAIN_S_MAX))
        headers = {**(request.headers or {}), TICKET: denied.ticket}
        again = self.signature_from_request(
            request, request.args, request.kwargs, countdown=again_s, retries=request.retries, headers=headers
        )
        try:
            again.apply_async()
        except Exception as error:
            raise Reject(error, requeue=True) from error
        return Retry(message=denied.sentence, when=again_s, sig=again)
