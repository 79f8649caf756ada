"""Procrastinate on PostgreSQL: jobs deferred in bulk, one worker process with several jobs at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import procrastinate
import psycopg

from bench.peers.queues import role
from bench.peers.queues.postgres import durability

CONCURRENCY = 8
"""1, 8 and 16 were tried."""


class Procrastinate:
    """See role.Peer."""

    def __init__(self) -> None:
        logging.disable(logging.WARNING)
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def _app(self, where: str, connections: int) -> tuple[procrastinate.App, Any]:
        connector = procrastinate.PsycopgConnector(conninfo=where, min_size=connections, max_size=connections)
        app = procrastinate.App(connector=connector)

        @app.task(name="noop")
        async def noop(text: str) -> None:
            role.TALLY.ran(text)

        self._run(app.open_async())
        return app, noop

    def prepare(self, where: str) -> dict[str, str]:
        app, _ = self._app(where, 1)
        self._run(app.schema_manager.apply_schema_async())
        with psycopg.connect(where) as connection:
            return {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in durability}

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        _, noop = self._app(where, clients)

        async def one(number: int) -> None:
            await noop.defer_async(text=role.payload(number))

        async def bulk(numbers: Sequence[int]) -> None:
            for some in role.in_bulk(numbers):
                await noop.batch_defer_async(*({"text": role.payload(number)} for number in some))

        if is_bulk:
            return lambda numbers: self._run(bulk(numbers))
        return lambda numbers: self._run(role.by_tasks(numbers, clients, one))

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        app, _ = self._app(where, CONCURRENCY + 2)

        async def drain() -> float:
            await app.run_worker_async(
                concurrency=CONCURRENCY, wait=False, install_signal_handlers=False, delete_jobs="always"
            )
            return time.perf_counter()

        async def serve() -> float:
            worker = asyncio.create_task(
                app.run_worker_async(
                    concurrency=CONCURRENCY, install_signal_handlers=False, delete_jobs="always"
                )
            )
            await asyncio.to_thread(role.TALLY.wait)
            ended_at = time.perf_counter()
            worker.cancel()
            await asyncio.wait([worker])
            return ended_at

        return lambda: self._run(drain() if is_drained else serve())


if __name__ == "__main__":
    role.main(Procrastinate())
