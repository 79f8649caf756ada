"""Handlers in processes of their own: work that fills a core, or that may have to be ended (LEASE-19).

Each slot of a worker has one process, which is kept from job to job. A process that dies fails its own job
alone; one whose job has to stop and does not is killed when the grace is over.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from leasehold.client import handler as handlers_
from leasehold.client import nested
from leasehold.client.asking import Held
from leasehold.client.endpoint import Endpoint
from leasehold.client.handler import End, Handler
from leasehold.client.performer import Perform, Threads
from leasehold.client.work import Holding, Work
from leasehold.runtime.lean import elapsed_s

LOOK_S = 0.2
"""How often what a process should know is looked for: that it should stop, or stand still."""
LEAVE_S = 2.0


class Processes:
    """Each thread that asks has a process."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """Raises TypeError for handlers that another process could not find."""
        given = {job_type: one.given for job_type, one in handlers.items()}
        for job_type, function in given.items():
            try:
                pickle.dumps(function)
            except Exception as error:  # noqa: BLE001 - pickle raises anything
                raise TypeError(
                    f"processes=True: another process can't find the handler of {job_type} ({error}); "
                    "define it at the top of a module"
                ) from None
        self._given = given
        self._spawn = multiprocessing.get_context("spawn")
        self._slots: set[_Slot] = set()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[Perform]:
        slot = _Slot(self._spawn, self._given)
        with self._lock:
            self._slots.add(slot)
        try:
            yield slot.perform
        finally:
            with self._lock:
                self._slots.discard(slot)
            slot.close()

    def kill(self) -> None:
        """End what runs, now: its grace is over."""
        with self._lock:
            slots = list(self._slots)
        for slot in slots:
            slot.kill()

    def close(self) -> None:
        self.kill()


class _Slot:
    """One process, started with its first job, and again when it has died."""

    def __init__(self, spawn: Any, given: Mapping[str, Any]) -> None:
        self._spawn = spawn
        self._given = given
        self._process: Any = None
        self._pipe: Connection | None = None
        self._busy = False

    def perform(self, work: Work) -> End:
        self._busy = True
        try:
            return self._perform(work)
        except (EOFError, OSError):
            return self._died(work)
        except BaseException as error:  # noqa: BLE001 - how its job ended
            return handlers_.failed(error, work)
        finally:
            self._busy = False

    def _perform(self, work: Work) -> End:
        pipe = self._started()
        endpoint = {name: getattr(work.endpoint, name) for name in Endpoint.__slots__}
        pipe.send((work.document, work.holding.ident, endpoint))
        told: tuple[str, bool] = ("", False)
        while True:
            if pipe.poll(LOOK_S):
                kind, value = pipe.recv()
                if kind == "end":
                    end = End(*value)
                    return end if not (work.out_of_time and end.outcome == "RETURNED") else _late(work)
                work.report(value)
            standing = work.standing
            now = (standing.stop, standing.paused)
            if now != told:
                told = now
                pipe.send((standing.stop, standing.paused, standing.stop_by_s))
            if standing.stop and elapsed_s() >= standing.stop_by_s:
                self.kill()

    def _started(self) -> Connection:
        if self._pipe is None or not self._process.is_alive():
            self._drop()
            ours, theirs = self._spawn.Pipe()
            self._process = self._spawn.Process(target=_serve, args=(theirs, self._given), daemon=True)
            self._process.start()
            theirs.close()
            self._pipe = ours
        assert self._pipe is not None
        return self._pipe

    def _died(self, work: Work) -> End:
        self._process.join(LEAVE_S)
        code = self._process.exitcode
        self._drop()
        if work.out_of_time:
            return _late(work)
        if work.standing.stop:
            return End("RETURNED", error=work.standing.stop)
        killed = code is not None and code < 0
        how = f"by {signal.Signals(-code).name}" if killed else f"with exit code {code}"
        # SIGKILL that nobody here sent is the kernel's, for memory.
        kind = "out_of_memory" if code == -signal.SIGKILL else "retryable"
        return End("FAILED", error=f"its process ended {how}", error_class=kind)

    def kill(self) -> None:
        """End its process, if it works."""
        if self._busy and self._process is not None:
            self._process.kill()

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def close(self) -> None:
        """Have the process end."""
        self._drop()
        if self._process is not None:
            self._process.join(LEAVE_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(LEAVE_S)


def _late(work: Work) -> End:
    return End("FAILED", error=work.standing.stop, error_class="retryable")


# -- in the process


class _Told(Work):
    """The job as its process sees it."""

    pipe: Connection

    def report(self, document: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(("report", document))


def _serve(pipe: Connection, given: Mapping[str, Any]) -> None:
    """Jobs one after the other, until the worker hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the worker says when to stop.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    performer = Threads({job_type: Handler(function) for job_type, function in given.items()})
    while True:
        try:
            document, ident, endpoint = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        held = Held({"lease_id": ident[0], "fencing_token": ident[1]}, elapsed_s())
        work = _Told(document, Holding(held, is_session=False), Endpoint(**endpoint))
        work.pipe = pipe
        os.environ[nested.VARIABLE] = f"{ident[0]}:{ident[1]}"
        ended = threading.Event()
        listener = threading.Thread(target=_listen, args=(pipe, work, ended), daemon=True)
        listener.start()
        with performer.slot() as perform:
            end = perform(work)
        ended.set()
        listener.join()
        try:
            pipe.send(("end", tuple(end)))
        except OSError:
            os._exit(0)


def _listen(pipe: Connection, work: Work, ended: threading.Event) -> None:
    """What the worker says while the job runs. A worker that is gone: nobody keeps its lease."""
    while not ended.is_set():
        try:
            if pipe.poll(LOOK_S / 2):
                stop, paused, stop_by_s = pipe.recv()
                work.standing.tell(stop=stop, revoked=bool(stop), paused=paused, stop_by_s=stop_by_s)
        except (EOFError, OSError):
            work.lose("its worker has died")
            return
