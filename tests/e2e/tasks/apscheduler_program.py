"""An APScheduler program: it runs, at once, whatever is put into its folder as `KIND.NAME.job`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from leasehold.integrations.apscheduler import LeasedThreadPoolExecutor
from tests.e2e.tasks.work import KINDS, note, work


def main() -> None:
    """Schedule what comes, for ever."""
    folder = Path(os.environ["TASKS"])
    scheduler = BackgroundScheduler(job_defaults={"misfire_grace_time": 1})
    for kind, options in KINDS.items():
        scheduler.add_executor(LeasedThreadPoolExecutor(2, leasehold=options), kind)
    scheduler.add_executor("threadpool", "light")
    scheduler.add_listener(_failed, EVENT_JOB_ERROR)
    scheduler.start()
    while True:
        for file in folder.glob("*.job"):
            kind, name = file.stem.split(".")
            file.unlink()
            scheduler.add_job(work, args=(kind, name), executor=kind, id=name)
        time.sleep(0.05)


def _failed(event: JobExecutionEvent) -> None:
    note("failed", event.job_id, type(event.exception).__name__)


if __name__ == "__main__":
    main()
