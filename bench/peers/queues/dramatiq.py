"""Dramatiq on Redis with an append-only file that is flushed before each answer (appendfsync always)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from bench.peers.queues import role
from bench.peers.queues.redis_server import durability

THREADS = 8
"""Its default; 2, 4 and 16 were tried."""


class Acknowledged(Middleware):
    """Counts the ends that Redis has answered."""

    def __init__(self, full: int) -> None:
        self._full = full
        self._lock = threading.Lock()
        self._count = 0
        self.is_full = threading.Event()
        self.ended_at = 0.0

    def after_ack(self, broker: object, message: object) -> None:
        with self._lock:
            self._count += 1
            if self._count == self._full:
                self.ended_at = time.perf_counter()
                self.is_full.set()


class Dramatiq:
    """See role.Peer."""

    def __init__(self) -> None:
        logging.disable(logging.WARNING)

    def _broker(self, where: str) -> tuple[RedisBroker, dramatiq.Actor]:
        broker = RedisBroker(client=redis.Redis(unix_socket_path=where), middleware=[])
        dramatiq.set_broker(broker)
        return broker, dramatiq.actor(role.TALLY.ran, actor_name="noop", broker=broker)

    def prepare(self, where: str) -> dict[str, str]:
        return durability(redis.Redis(unix_socket_path=where))

    def submitter(self, where: str, clients: int, is_bulk: bool) -> role.Submit:
        _, noop = self._broker(where)
        return lambda numbers: role.by_threads(
            numbers, clients, lambda number: noop.send(role.payload(number))
        )

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        broker, _ = self._broker(where)
        acknowledged = Acknowledged(count)
        broker.add_middleware(acknowledged)
        worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=THREADS)

        def work() -> float:
            worker.start()
            if not acknowledged.is_full.wait(role.WAIT_S_MAX):
                raise SystemExit("not all jobs were acknowledged")
            worker.stop(timeout=5_000)
            return acknowledged.ended_at

        return work


if __name__ == "__main__":
    role.main(Dramatiq())
