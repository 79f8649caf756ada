"""huey on SQLite, synchronous=FULL. A job leaves the queue before it runs (at most once): that is its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from huey import SqliteHuey

from bench.peers.queues import role

POLL_S = 0.01


class Huey:
    """See role.Peer."""

    def __init__(self) -> None:
        logging.disable(logging.WARNING)

    def _queue(self, where: str) -> tuple[SqliteHuey, Callable[[str], object]]:
        huey = SqliteHuey(filename=f"{where}/huey.db", fsync=True, timeout=60)

        @huey.task(name="noop")
        def noop(text: str) -> None:
            role.TALLY.ran(text)

        return huey, noop

    def prepare(self, where: str) -> dict[str, str]:
        huey, _ = self._queue(where)
        pragmas = ("synchronous", "journal_mode")
        return {name: str(huey.storage.sql(f"pragma {name}", results=True)[0][0]) for name in pragmas}

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        _, noop = self._queue(where)
        return lambda numbers: role.by_threads(numbers, clients, lambda number: noop(role.payload(number)))

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        huey, _ = self._queue(where)

        def work() -> float:
            consumer = huey.create_consumer(
                workers=1, periodic=False, initial_delay=0.001, max_delay=POLL_S, check_worker_health=False
            )
            consumer.start()
            role.TALLY.wait()
            ended_at = time.perf_counter()
            consumer.stop()
            return ended_at

        return work


if __name__ == "__main__":
    role.main(Huey())
