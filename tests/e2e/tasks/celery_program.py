"""A Celery application whose heavy tasks ask for a lease."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.e2e.tasks.work import KINDS, work

app = Celery(
    "shop",
    broker=os.environ["REDIS"],
    backend=os.environ["REDIS"],
    task_cls="leasehold.integrations.celery:LeasedTask",
)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True, max_retries=0)


def _task(kind: str, options: dict[str, Any] | None) -> Any:
    def run(name: str) -> None:
        work(kind, name)

    return app.task(run, name=kind, leasehold=options, max_retries=0)


TASKS = {kind: _task(kind, options) for kind, options in {**KINDS, "light": None}.items()}
