r"""A small service that does heavy work, and asks Leasehold first.

    ADDON_URL=http://127.0.0.1:8000 LEASEHOLD_TOKEN=$(cat ~/.local/share/leasehold/admin.token) \
        uvicorn --app-dir examples/addon --port 8000 app:app
    curl -X POST 'http://127.0.0.1:8000/digests?rounds=20'; curl http://127.0.0.1:8000/digests/1

It registers itself, so that `leasehold addon list` shows it; its requests are counted by the middleware, so
that a busy service makes the machine busy; and its heavy job runs under a lease.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import httpx
from fastapi import FastAPI, HTTPException, Query
from leases import Held, Refused, lease
from pydantic import BaseModel

from leasehold.integrations.asgi import LeaseholdStats

ADDON_ID = os.environ.get("ADDON_ID", "digests")
ADDON_URL = os.environ.get("ADDON_URL", "http://127.0.0.1:8000")
ADDON_DIR = os.environ.get("ADDON_DIR") or tempfile.gettempdir()
LEASEHOLD_URL = os.environ.get("LEASEHOLD_URL", "http://127.0.0.1:7117")
TOKEN = os.environ.get("LEASEHOLD_TOKEN", "")
JOBS_MAX = 100  # jobs that wait or run at once
KEPT_MAX = 1_000  # jobs that are remembered

log = logging.getLogger(__name__)


class Job(BaseModel):
    """One heavy job, as it is shown."""

    id: int
    state: Literal["waiting", "running", "done", "stopped", "refused", "failed"] = "waiting"
    rounds: int
    rounds_done: int = 0
    lease_id: str | None = None
    reason: str | None = None


class Service:
    """The jobs, and the way to Leasehold."""

    def __init__(self) -> None:
        self.leasehold = httpx.AsyncClient(
            base_url=LEASEHOLD_URL, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10, trust_env=False
        )
        self.jobs: OrderedDict[int, Job] = OrderedDict()
        self.tasks: set[asyncio.Task[None]] = set()
        self.last = 0

    async def register(self) -> None:
        """Be known to Leasehold. Until it answers this is tried again: the service works without it."""
        body = {
            "id": ADDON_ID,
            "name": "Digests",
            "version": "1.0",
            "base_url": ADDON_URL,
            "runtime_dir": ADDON_DIR,
        }
        while True:
            try:
                response = await self.leasehold.post("/api/addons", json=body)
                if response.status_code == 200:
                    return
                log.warning("Leasehold does not register this add-on: %s", response.text)
            except httpx.HTTPError as error:
                log.warning("Leasehold does not answer: %s", error)
            await asyncio.sleep(5)

    def start(self, rounds: int) -> Job:
        """Take a job in; it starts when Leasehold says so."""
        self.last += 1
        job = self.jobs[self.last] = Job(id=self.last, rounds=rounds)
        while len(self.jobs) > KEPT_MAX:
            self.jobs.popitem(last=False)
        self.spawn(self.run(job))
        return job

    def spawn(self, work: Any) -> None:
        """Run beside the requests."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, job: Job) -> None:
        """Wait for a lease, work under it, and stop where it is taken back."""
        asked = {"addon_id": ADDON_ID, "job_type": "digest", "cost_units": 30}
        try:
            async with lease(self.leasehold, **asked) as held:
                job.lease_id, job.state = held.lease_id, "running"
                await work(job, held)
        except Refused as error:
            job.state, job.reason = "refused", str(error)
        except Exception as error:
            job.state, job.reason = "failed", str(error)
            raise
        else:
            job.state = "done" if job.rounds_done == job.rounds else "stopped"

    def custom(self) -> dict[str, Any]:
        """What Leasehold shows of this add-on beside its requests."""
        return {"jobs": Counter(job.state for job in self.jobs.values())}

    async def close(self) -> None:
        """Let running jobs give their leases back."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.leasehold.aclose()


async def work(job: Job, held: Held) -> None:
    """The heavy part: a thread works, and between two rounds it is looked whether to stop."""
    while job.rounds_done < job.rounds and not held.stop.is_set():
        await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", b"example", b"salt", 200_000)
        job.rounds_done += 1


service = Service()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    service.spawn(service.register())
    yield
    await service.close()


app = FastAPI(title="Digests", lifespan=lifespan)
app.add_middleware(LeaseholdStats, addon_id=ADDON_ID, custom=service.custom)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/digests", status_code=202)
async def start(rounds: Annotated[int, Query(ge=1, le=1_000)] = 10) -> Job:
    waiting = sum(job.state in ("waiting", "running") for job in service.jobs.values())
    if waiting >= JOBS_MAX:
        raise HTTPException(503, "too many jobs are waiting", {"retry-after": "10"})
    return service.start(rounds)


@app.get("/digests/{job_id}")
async def show(job_id: int) -> Job:
    if job_id not in service.jobs:
        raise HTTPException(404, "no such job")
    return service.jobs[job_id]
