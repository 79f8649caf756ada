"""RQ on Redis (appendfsync always): enqueued in bulk, and its worker that does not fork for each job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import redis
from rq import Queue, SimpleWorker

from bench.peers.queues import role
from bench.peers.queues.redis_server import durability


def ran(text: str) -> None:
    """The job; RQ imports it by this module's name."""
    role.TALLY.ran(text)


class Rq:
    """See role.Peer."""

    def __init__(self) -> None:
        logging.disable(logging.WARNING)

    def prepare(self, where: str) -> dict[str, str]:
        return durability(redis.Redis(unix_socket_path=where))

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        queue = Queue(connection=redis.Redis(unix_socket_path=where))
        name = "bench.peers.queues.rq.ran"

        def one(number: int) -> None:
            queue.enqueue(name, role.payload(number), result_ttl=0, description="")

        def bulk(numbers: Sequence[int]) -> None:
            for some in role.in_bulk(numbers):
                queue.enqueue_many(
                    Queue.prepare_data(name, (role.payload(number),), result_ttl=0, description="")
                    for number in some
                )

        return bulk if is_bulk else lambda numbers: role.by_threads(numbers, clients, one)

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        connection = redis.Redis(unix_socket_path=where)
        worker = SimpleWorker([Queue(connection=connection)], connection=connection)

        def work() -> float:
            worker.work(max_jobs=count, logging_level="ERROR")
            return time.perf_counter()

        return work


if __name__ == "__main__":
    role.main(Rq())
