"""persist-queue's queue with acknowledgements on SQLite, whose default synchronous=FULL it leaves alone.

`get` commits, and so does `ack`. It asks for the next row after the last one: without that each `get` reads
over all acknowledged rows. Between processes it can only be polled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import persistqueue

from bench.peers.queues import role

POLL_S = 0.001


class PersistQueue:
    """See role.Peer."""

    def _queue(self, where: str) -> Any:
        return persistqueue.SQLiteAckQueue(f"{where}/persist", multithreading=True, timeout=60)

    def prepare(self, where: str) -> dict[str, str]:
        queue = self._queue(where)
        pragmas = ("synchronous", "journal_mode")
        return {name: str(queue._putter.execute(f"pragma {name}").fetchone()[0]) for name in pragmas}

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        queue = self._queue(where)
        return lambda numbers: role.by_threads(
            numbers, clients, lambda number: queue.put(role.payload(number))
        )

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        queue = self._queue(where)

        def work() -> float:
            last: dict[str, Any] = {}
            done = 0
            while done < count:
                after = {"id": last["pqid"], "next_in_order": True} if last else {}
                try:
                    last = queue.get(block=False, raw=True, **after)
                except persistqueue.Empty:
                    time.sleep(POLL_S)
                    continue
                role.TALLY.ran(last["data"])
                queue.ack(id=last["pqid"])
                done += 1
            return time.perf_counter()

        return work


if __name__ == "__main__":
    role.main(PersistQueue())
