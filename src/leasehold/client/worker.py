"""A worker: takes jobs from the queue and calls their handlers (QUEUE-4, LEASE-19, 27).

leasehold.Worker([thumbnails, rebuild], concurrency=4).run()
leasehold.Worker({"mail": send_mail}, session={"cost": 2}, batch=200).run()
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from leasehold.client import asked
from leasehold.client.asked import LeaseOptions, Time, seconds
from leasehold.client.board import Board, Stats
from leasehold.client.handler import Handler, handlers_of
from leasehold.client.job_call import Caller
from leasehold.client.performer import Performer, Threads
from leasehold.client.task import Task
from leasehold.client.worker_keep import Keeper, Sessions
from leasehold.client.worker_lines import Claimer, Sender
from leasehold.runtime.ids import new_code
from leasehold.runtime.lean import elapsed_s

log = logging.getLogger("leasehold.worker")

UNFINISHED_MAX = 1_000
"""Jobs that a worker has at most, with results that could not be sent; a session's lease holds no more."""
LAST_S = 5.0
"""What is left of the grace when the last ones are told to stop."""
LOOK_S = 0.5
LINES = 3


class Worker:
    """Calls handlers for jobs until it is told to end: SIGTERM, SIGINT, `stop()`, `max_jobs`, `until_empty`.

    `handlers`: functions of `@job`, or a function by job type that gets the payload (and, where it takes two
    arguments, a JobContext). What one returns is the result; what it raises fails the job, `Permanent`
    without another attempt. Coroutine functions run on one event loop.

    By default each job has a lease of its own: it begins when there is room for it. With `session` one lease
    is asked for, for `concurrency` jobs at once, and jobs are claimed under it `batch` at a time: that is for
    many short ones. `session=True` asks for what the dearest function of `@job` costs; a dictionary says what
    one job needs, like `lease()`.

    `concurrency`: how many run at once, in threads, or with `processes` each in a process of its own (which
    is ended when its job has to stop and does not). `capabilities`: which `needs` of jobs it can meet.
    `grace`: how long running jobs have to end when the worker is to; in its last seconds they are told.
    """

    def __init__(
        self,
        handlers: Iterable[Task[Any, Any]] | Mapping[str, Callable[..., Any]] | Task[Any, Any],
        *,
        concurrency: int = 0,
        batch: int = 100,
        capabilities: Iterable[str] = (),
        session: bool | Mapping[str, Any] = False,
        processes: bool = False,
        grace: Time = 30.0,
        max_jobs: int | None = None,
        until_empty: bool = False,
        worker_id: str = "",
        server: str = "",
    ) -> None:
        self.handlers = handlers_of(handlers)
        self.concurrency = _between("concurrency", concurrency or os.cpu_count() or 1, 1, 1_000)
        self.worker_id = worker_id or f"{socket.gethostname()[:80]}-{os.getpid()}-{new_code()[:6]}"
        self._grace_s = seconds("grace", grace) or 0.0
        self._ask = _session(session, self.handlers, self.concurrency)
        self._signals = 0
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._board = Board(self.concurrency, UNFINISHED_MAX, self._wake)
        self._caller = Caller(server)
        self._performer: Performer = self._made(processes=processes)
        sessions = Sessions(self._board, self._ask, self._caller) if self._ask else None
        self._sender = Sender(self._board, self._caller)
        self._keeper = Keeper(self._board, self._caller)
        self._claimer = Claimer(
            self._board,
            self._caller,
            worker_id=self.worker_id,
            job_types=list(self.handlers),
            capabilities=asked_list("capabilities", capabilities),
            batch=_between("batch", batch, 1, 1_000),
            concurrency=self.concurrency,
            session=sessions.current if sessions else None,
            max_jobs=max_jobs,
            until_empty=until_empty,
        )

    def _made(self, *, processes: bool) -> Performer:
        if not processes:
            return Threads(self.handlers)
        from leasehold.client.worker_process import Processes

        return Processes(self.handlers)

    @property
    def stats(self) -> Stats:
        """What it has done so far, and what it does."""
        return Stats(**self._board.figures())

    def stop(self) -> None:
        """Have it end as after SIGTERM: from any thread, or a signal handler. Again: at once."""
        self._signals += 1
        self._wake()

    def _wake(self) -> None:
        self._bell.put(None)  # Safe in a signal handler, which a lock would not be.

    # -- its life

    def run(self) -> Stats:
        """Work until it is to end; what it did. Raises JobRefused, NotGranted where it may not work."""
        board = self._board
        with _signals(self._on_signal):
            threads = [
                threading.Thread(
                    target=self._guarded, args=(line.run,), name=f"leasehold-{name}", daemon=True
                )
                for name, line in (("claim", self._claimer), ("send", self._sender), ("keep", self._keeper))
            ]
            threads += [
                threading.Thread(
                    target=self._guarded, args=(self._perform,), name=f"leasehold-job-{n}", daemon=True
                )
                for n in range(self.concurrency)
            ]
            for thread in threads:
                thread.start()
            try:
                while board.phase == "run" and not self._signals:
                    self._wait()
                self._end(threads)
            finally:
                board.close()
                self._performer.close()
                for thread in threads[:LINES]:
                    thread.join(LAST_S)
                self._caller.close()
        if board.error is not None:
            raise board.error
        return self.stats

    def _perform(self) -> None:
        board = self._board
        with self._performer.slot() as perform:
            while (work := board.next_work()) is not None:
                board.ended(work, perform(work))

    def _guarded(self, function: Callable[[], None]) -> None:
        """A thread that breaks takes the worker along: half of one would lose what it holds."""
        try:
            function()
        except BaseException as error:
            log.exception("the worker has to end")
            self._board.fail(error)
            self._wake()

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop()

    def _wait(self, delay_s: float = LOOK_S) -> None:
        with suppress(queue.Empty):
            self._bell.get(timeout=delay_s)
            while True:
                self._bell.get_nowait()

    # -- its end

    def _end(self, threads: list[threading.Thread]) -> None:
        """What has not begun goes back; what runs has its grace; what has a result is sent."""
        board = self._board
        board.drain()
        end_s = elapsed_s() + self._grace_s
        tell_s = end_s - min(LAST_S, self._grace_s / 2)
        signals, told = max(1, self._signals), False
        if board.running:
            log.info("ending: %d jobs have %g s", len(board.running), self._grace_s)
        claim = threads[0]
        while claim.is_alive() or not board.is_idle:
            now_s = elapsed_s()
            if self._signals > signals:
                end_s = tell_s = now_s
            if now_s >= tell_s and not told:
                told = True
                for work in board.running:
                    board.stop(work, "its worker is to end", max(0.0, end_s - now_s))
            if now_s >= end_s:
                self._performer.kill()
                if now_s >= end_s + LAST_S or self._signals > signals + 1:
                    break
            self._wait(max(0.02, min(LOOK_S, end_s - now_s)))
        self._leave()

    def _leave(self) -> None:
        """Give sessions back; say what could not be ended or sent. Their leases end by themselves."""
        board = self._board
        with board.news:
            for holding in board.holdings:
                holding.closing = True
            board.news.notify_all()
        end_s = elapsed_s() + LAST_S
        while board.is_idle and board.holdings and elapsed_s() < end_s:
            self._wait(0.02)
        if not board.is_idle:
            found = board.figures()
            log.error(
                "ended with %d jobs that go on and %d results that could not be sent; "
                "they are handed out again when their leases have ended",
                found["running"],
                found["unsent"],
            )


def asked_list(name: str, given: Iterable[str]) -> list[str]:
    """A list of texts. Raises TypeError for one text."""
    if isinstance(given, str):
        raise TypeError(f'{name}: expected a list, like ["{given}"]')
    return list(given)


def _between(name: str, given: int, least: int, most: int) -> int:
    if type(given) is not int or not least <= given <= most:
        raise ValueError(f"{name}={given!r}: expected a whole number from {least} to {most}")
    return given


def _session(
    given: bool | Mapping[str, Any], handlers: Mapping[str, Handler], concurrency: int
) -> dict[str, Any] | None:
    """The request for a session's lease: so many times what one job needs. Raises ValueError."""
    if given is False or given is None:
        return None
    options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"cost": _dearest(handlers)}
    if not any(options.get(name) for name in ("cost", "cpu", "mem", "disk")):
        raise ValueError(
            'session: say what one job needs, like session={"cost": 2} or {"cpu": 0.5, "mem": "200M"}'
        )
    for name in ("locks", "slots", "wait", "bind", "ticket"):
        if options.get(name):
            raise ValueError(f"session: {name} is nothing for the lease of a session")
    cost = options.get("cost")
    if cost is not None and cost * concurrency > 100:
        raise ValueError(
            f"session: {concurrency} jobs of {cost} units at once are {cost * concurrency}; a machine "
            "has 100. Have fewer at once, or no session"
        )
    options.setdefault("job_type", min(handlers) if len(handlers) == 1 else "worker")
    asked.check(cast(LeaseOptions, options))
    body = asked.body(cast(LeaseOptions, options))
    if cost is not None:
        body["cost_units"] = cost * concurrency
    if "resources" in body:
        body["resources"] = {
            name: value * concurrency if isinstance(value, int) else value
            for name, value in body["resources"].items()
        }
    return body


def _dearest(handlers: Mapping[str, Handler]) -> int | None:
    costs = [
        handler.given.options.get("cost") if isinstance(handler.given, Task) else None
        for handler in handlers.values()
    ]
    if None in costs:
        raise ValueError(
            'session=True needs functions of @job(cost=...); else say what one job needs: session={"cost": 2}'
        )
    return max(int(cost) for cost in costs if cost is not None)


@contextmanager
def _signals(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end the worker, where it runs in the main thread; as before afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
