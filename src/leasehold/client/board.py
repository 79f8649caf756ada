"""What the threads of a worker share: jobs claimed, running, and results to be sent (LEASE-27).

Every job that was claimed is here until its result is taken, or it is lost.
"""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from leasehold.client.handler import End
from leasehold.client.work import Holding, Work

log = logging.getLogger("leasehold.worker")

ITEMS_AT_ONCE = 1_000
SEND_BYTES = 8 << 20
NEVER = End("RETURNED", error="its worker ended before it began")


@dataclass
class Stats:
    """What a worker has done. `lost` were handed out again meanwhile, `refused` results were not taken."""

    claimed: int = 0
    running: int = 0
    waiting: int = 0
    unsent: int = 0
    done: int = 0
    failed: int = 0
    returned: int = 0
    lost: int = 0
    refused: int = 0
    sessions: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Board:
    """Thread-safe. `phase` is `run`, `drain` (nothing new is begun), then `over`."""

    def __init__(self, concurrency: int, unfinished_max: int, wake: Callable[[], None]) -> None:
        self.news = threading.Condition()
        self.phase = "run"
        self.stats = Stats()
        self.works: dict[str, Work] = {}
        self.holdings: list[Holding] = []
        self.error: BaseException | None = None
        self.hurries = False
        self._concurrency = concurrency
        self._unfinished_max = unfinished_max
        self._wake = wake
        self._waiting: collections.deque[Work] = collections.deque()
        self._running: set[Work] = set()
        self._results: collections.deque[tuple[Work, End]] = collections.deque()

    # -- claiming

    def room(self, batch: int) -> int:
        """How many jobs may be claimed now; `batch` 0: only what can begin at once."""
        with self.news:
            if self.phase != "run":
                return 0
            left = self._unfinished_max - len(self.works)
            free = self._concurrency - len(self._running) - len(self._waiting)
            if not batch:
                return max(0, min(free, left))
            ahead = batch + self._concurrency - len(self._running) - len(self._waiting)
            if len(self._waiting) > batch // 2:
                return 0
            return max(0, min(ahead, batch, left))

    def take(self, works: Iterable[Work]) -> None:
        """These have been claimed. One that is known already goes on as it is."""
        with self.news:
            for work in works:
                if self._is_known(work):
                    continue
                self.stats.claimed += 1
                self.works[work.job_id] = work
                if self.phase == "run":
                    self._waiting.append(work)
                else:
                    self._results.append((work, NEVER))
            self._changed()

    def _is_known(self, work: Work) -> bool:
        before = self.works.get(work.job_id)
        if before is None:
            return False
        if before.generation == work.generation:
            return True
        self._lose(before, "it has been handed out again")
        return False

    # -- handlers

    def next_work(self) -> Work | None:
        """The next job to begin, once there is one; None at the end."""
        with self.news:
            while not self._waiting:
                if self.phase != "run":
                    return None
                self.news.wait()
            work = self._waiting.popleft()
            self._running.add(work)
            work.begin()
            self._changed()
            return work

    def ended(self, work: Work, end: End) -> None:
        """Its handler has ended so."""
        with self.news:
            self._running.discard(work)
            if work.lost:
                log.info("%s has been lost meanwhile; its result is dropped", work.job_id)
            else:
                self._results.append((work, end))
            self._changed()

    # -- sending

    def next_results(self) -> list[tuple[Work, End]] | None:
        """What is to be sent next, once there is something; None at the end."""
        with self.news:
            while not self._results:
                if self.phase == "over" or (self.phase == "drain" and not self.works):
                    return None
                self.news.wait(1.0)
            found: list[tuple[Work, End]] = []
            size = 0
            while self._results and len(found) < ITEMS_AT_ONCE and size < SEND_BYTES:
                work, end = self._results.popleft()
                work.sent = True
                size += len(end.result) + len(end.error)
                found.append((work, end))
            return found

    def unsent(self, results: list[tuple[Work, End]]) -> None:
        """They could not be sent now."""
        with self.news:
            self._results.extendleft(reversed([(work, end) for work, end in results if not work.lost]))
            for work, _ in results:
                work.sent = False
            self._changed()

    def taken(self, work: Work, outcome: str) -> None:
        """The server has it."""
        with self.news:
            name = {"DONE": "done", "FAILED": "failed"}.get(outcome, "returned")
            setattr(self.stats, name, getattr(self.stats, name) + 1)
            self._forget(work)

    def refused(self, work: Work, why: str) -> None:
        """The server does not want it: it was handed out again, or has ended otherwise."""
        log.info("the result of %s was not taken: %s", work.job_id, why)
        with self.news:
            self.stats.refused += 1
            self._forget(work)

    def _forget(self, work: Work) -> None:
        if self.works.get(work.job_id) is work:
            del self.works[work.job_id]
        self._changed()

    # -- what happens to jobs

    def live(self) -> list[Work]:
        """All that is to be kept."""
        with self.news:
            return list(self.works.values())

    def lose(self, work: Work, why: str) -> None:
        """Its lease has ended: somebody else has it, or will."""
        with self.news:
            if self.works.get(work.job_id) is work and not work.sent:
                self._lose(work, why)
            self._changed()

    def _lose(self, work: Work, why: str) -> None:
        log.warning("%s is lost: %s", work.job_id, why)
        self.stats.lost += 1
        work.lose(why)
        del self.works[work.job_id]
        self._waiting = collections.deque(one for one in self._waiting if one is not work)
        self._results = collections.deque(pair for pair in self._results if pair[0] is not work)

    def stop(self, work: Work, why: str, left_s: float) -> None:
        """It should end; if it has not begun it goes back at once."""
        with self.news:
            if work in self._waiting:
                self._waiting.remove(work)
                self._results.append((work, End("RETURNED", error=why)))
            elif not work.standing.stop:
                log.info("%s should stop: %s", work.job_id, why)
            work.stop(why, left_s)
            self._changed()

    # -- the end

    def drain(self) -> None:
        """Nothing new is begun: what waits goes back."""
        with self.news:
            if self.phase == "run":
                self.phase = "drain"
            self._results.extend((work, NEVER) for work in self._waiting)
            self._waiting.clear()
            self._changed()

    def fail(self, error: BaseException) -> None:
        """Something that no waiting would mend."""
        with self.news:
            self.error = self.error or error
        self.drain()

    def close(self) -> None:
        with self.news:
            self.phase = "over"
            self._changed()

    @property
    def running(self) -> list[Work]:
        with self.news:
            return list(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        with self.news:
            return not self.works and not self._running

    def figures(self) -> dict[str, Any]:
        """The statistics as they are now."""
        with self.news:
            self.stats.running = len(self._running)
            self.stats.waiting = len(self._waiting)
            self.stats.unsent = len(self.works) - len(self._running) - len(self._waiting)
            return self.stats.as_dict()

    def _changed(self) -> None:
        self.news.notify_all()
        if self.phase != "run":
            self._wake()
