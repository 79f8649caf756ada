"""PgQueuer on PostgreSQL: bulk enqueue, batches of 500, completions flushed in batches, all tables logged.

asyncpg through a pool and uvloop, which were the fastest of what it offers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import uvloop
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.queries import Queries

from bench.peers.queues import role
from bench.peers.queues.postgres import durability

BATCH = 500
ENTRYPOINT = "noop"


class Counted(Queries):
    """Its own queries; each batch of ends is counted once the database has answered that it is committed."""

    count = 0
    full = 0
    ended_at = 0.0
    on_full: Callable[[], None]

    async def log_jobs(self, job_status: list[Any]) -> None:
        await super().log_jobs(job_status)
        self.count += len(job_status)
        if self.count >= self.full:
            self.ended_at = time.perf_counter()
            self.on_full()


class PgQueuer:
    """See role.Peer."""

    def __init__(self) -> None:
        logging.disable(logging.WARNING)
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def prepare(self, where: str) -> dict[str, str]:
        return self._run(self._prepare(where))

    async def _prepare(self, where: str) -> dict[str, str]:
        connection = await asyncpg.connect(where)
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        await queries.optimize_autovacuum()
        settings = {name: await connection.fetchval(f"SHOW {name}") for name in durability}
        logged = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgqueuer%' AND relpersistence <> 'p'"
        settings["unlogged_tables"] = str(await connection.fetchval(logged))
        await connection.close()
        return settings

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        pool = self._run(asyncpg.create_pool(where, min_size=clients, max_size=clients))
        queries = Queries(AsyncpgPoolDriver(pool))

        async def one(number: int) -> None:
            await queries.enqueue(ENTRYPOINT, role.payload(number).encode())

        async def bulk(numbers: Sequence[int]) -> None:
            payloads: list[bytes | None] = [role.payload(number).encode() for number in numbers]
            await queries.enqueue([ENTRYPOINT] * len(payloads), payloads, [0] * len(payloads))

        async def all_in_bulk(numbers: Sequence[int]) -> None:
            for some in role.in_bulk(numbers):
                await bulk(some)

        if is_bulk:
            return lambda numbers: self._run(all_in_bulk(numbers))
        return lambda numbers: self._run(role.by_tasks(numbers, clients, one))

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        pool = self._run(asyncpg.create_pool(where, min_size=3, max_size=3))
        queries = Counted(AsyncpgPoolDriver(pool))
        manager = QueueManager(queries)
        queries.full, queries.on_full = count, manager.shutdown.set

        @manager.entrypoint(ENTRYPOINT)
        async def noop(job: Job) -> None:
            assert job.payload is not None
            role.TALLY.ran(job.payload.decode())

        def work() -> float:
            self._run(manager.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=1)))
            return queries.ended_at

        return work


if __name__ == "__main__":
    role.main(PgQueuer())
