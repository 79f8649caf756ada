"""The shim's course: take a run up, start its command, log what it prints, write down how it ended.

It stands outside of the server's session, process group and unit. SIGTERM is how the server says `stop`, with
the grace in the file of that name. It dies only of SIGKILL, and then the kernel kills the command (see
`child`), and the server the rest.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

from leasehold.shim import child, layout, order, system
from leasehold.shim.log import CHUNK_MAX, ERR, OUT, Log
from leasehold.shim.place import Place

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

LOOK_S = 1.0
"""Between two looks at its memory."""
KILL_S = 30.0
"""A process that has not died of SIGKILL after that hangs in the kernel. The run is over all the same."""
AGAIN_S = 0.05
DRAIN_S = 1.0
"""Of somebody else who holds the pipe: what is printed after all of the run is gone is not its own."""
SMALL, NAP_S = 4_096, 0.002
"""A command that prints byte by byte is read in gulps: the pipe fills meanwhile."""
OOM_SCORE = b"-500"


def main(arguments: Sequence[str]) -> NoReturn:
    """`FOLDER DESCRIPTOR`. What became of the start is told to the descriptor: `ok`, or why there is none."""
    folder, told = arguments[0], int(arguments[1])
    if os.fork():
        os._exit(0)
    os.set_inheritable(told, False)
    held = layout.lock(folder)
    if held is None or layout.slots(folder)[0] is not None or layout.result(folder) is not None:
        os._exit(0)  # Somebody else has it, or had it.
    try:
        layout.reserve_result(folder)
        shim = Shim(order.take(folder))
    except (OSError, layout.Broken) as error:
        _tell(told, f"{error}".encode())
        os._exit(1)
    shim.start()
    _tell(told, b"ok")
    shim.see_through()
    os._exit(0)


def _tell(told: int, what: bytes) -> None:
    """The server may be gone already."""
    with contextlib.suppress(OSError):
        os.write(told, what)
    os.close(told)


class Shim:
    """One run."""

    def __init__(self, wanted: order.Order) -> None:
        self._order = wanted
        self._log = Log(wanted.folder, wanted.log_bytes_max)
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGTERM, self._told_to_stop)
        for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._streams: dict[int, int] = {}
        self._pid = 0
        self._status: int | None = None
        self._verdict: tuple[str, int | None, str] = ("", None, "")
        self._reaped_ms = 0
        self._peak_bytes = 0
        self._left_behind = 0
        self._stop_by_s: float | None = None
        self._is_stopped = False
        self._heard: set[int] = set()
        self._kill_s: float | None = None
        self._looked_s = 0.0
        self._started_wall_ms = _wall_ms()
        self._own_place()
        self._place = Place(wanted)

    def _own_place(self) -> None:
        """Out of the server's unit, where whoever stops the unit would kill us too."""
        for path in self._order.shim_procs:
            with contextlib.suppress(OSError), open(path, "wb") as file:
                file.write(b"0")
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
            file.write(OOM_SCORE)
        system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)

    # -- starting ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fork, and wait until the command is there or could not be. The latter is a verdict, no error."""
        folder = self._order.folder
        me = layout.identity(os.getpid())
        layout.write_slot(folder, 0, {"shim": me, "boot_id": self._order.boot_id})
        try:
            pipes = child.Pipes(terminal=self._order.terminal)
            trouble_read, trouble_write = os.pipe()
            parent = os.getpid()
            # Else a signal could find our handlers in the child.
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            self._pid = os.fork()
            if self._pid == 0:
                child.become(self._order, pipes, trouble_write, parent)
        except OSError as error:
            self._verdict = ("not_started", None, f"no process could be made for it: {error.strerror}")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.close(trouble_write)
        pipes.close_inner()
        for descriptor, stream in ((pipes.out_read, OUT), (pipes.err_read, ERR)):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)
                self._poll.register(descriptor, select.POLLIN)
                self._streams[descriptor] = stream
        told = b""
        while more := os.read(trouble_read, 64):
            told += more
        os.close(trouble_read)
        if told:
            self._verdict = child.verdict(told.decode(), self._order)
            return
        slot = {
            "shim": me,
            "process": layout.identity(self._pid) or f"{self._pid} 0",
            "started_wall_ms": self._started_wall_ms,
        }
        layout.write_slot(folder, 1, slot)

    # -- seeing it through ---------------------------------------------------------------------------------

    def see_through(self) -> None:
        """Until nothing of it is left, and that is written down."""
        if self._pid:
            while self._status is None:
                self._turn(LOOK_S)
                self._press()
            self._end_the_rest()
            self._drain()
        self._log.close()
        layout.write_result(self._order.folder, self._result())

    def _turn(self, timeout_s: float) -> None:
        """Wait for output, an end or a word, or the time; take what there is."""
        if self._stop_by_s is not None:
            timeout_s = min(timeout_s, AGAIN_S)
        for descriptor, _ in self._poll.poll(timeout_s * 1_000):
            if descriptor == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 512)
            else:
                self._take(descriptor)
        self._reap()
        self._look()

    def _look(self) -> None:
        now_s = _now_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._place.look()
            if not os.path.exists(self._order.folder) and self._stop_by_s is None:
                self._told_to_stop(0, None)  # Nobody would ever find it again.

    def _take(self, descriptor: int) -> int:
        try:
            data = os.read(descriptor, CHUNK_MAX)
        except BlockingIOError:
            return 0
        except OSError:  # The other end of a terminal is gone.
            data = b""
        if not data:
            self._poll.unregister(descriptor)
            del self._streams[descriptor]
            os.close(descriptor)
            return 0
        self._log.add(self._streams[descriptor], data)
        if len(data) < SMALL:
            time.sleep(NAP_S)
        return len(data)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._reaped_ms += int(1_000 * (usage.ru_utime + usage.ru_stime))
            self._peak_bytes = max(self._peak_bytes, usage.ru_maxrss * 1_024)
            if pid == self._pid:
                self._status = status

    # -- ending --------------------------------------------------------------------------------------------

    def _told_to_stop(self, _number: int, _frame: object) -> None:
        """The server's word. A second one can only make it sooner."""
        asked_ms = layout.asked_to_stop(self._order.folder)
        grace_ms = self._order.grace_ms if asked_ms is None else asked_ms
        by_s = _now_s() + grace_ms / 1_000
        self._stop_by_s = by_s if self._stop_by_s is None else min(by_s, self._stop_by_s)
        self._is_stopped = self._is_stopped or self._status is None

    def _press(self) -> None:
        """Once it is to end: SIGTERM for each of it, also for what is forked meanwhile; then SIGKILL."""
        if self._stop_by_s is None:
            return
        if _now_s() < self._stop_by_s:
            self._place.go_on()
            self._heard |= self._place.send(signal.SIGTERM, signal.SIGCONT, spared=self._heard)
            return
        if self._kill_s is None:
            self._kill_s = _now_s()
        self._place.kill()

    def _end_the_rest(self) -> None:
        """What outlives the command (the tail of a pipeline, a daemon): let it end, tell it to, kill it.

        One grace for each of the first two.
        """
        grace_s = self._order.grace_ms / 1_000
        told_s = _now_s() + grace_s
        while members := self._place.members():
            if self._stop_by_s is None and _now_s() >= told_s:
                self._stop_by_s = _now_s() + grace_s
                self._left_behind = len(members)
            if self._kill_s is not None:
                self._left_behind = max(self._left_behind, len(members))
                if _now_s() - self._kill_s > KILL_S:
                    return
            self._press()
            self._turn(AGAIN_S)
        self._reap()

    def _drain(self) -> None:
        """What is still in the pipes."""
        end_s = _now_s() + DRAIN_S
        for descriptor in list(self._streams):
            while descriptor in self._streams and self._take(descriptor) and _now_s() < end_s:
                pass

    # -- telling -------------------------------------------------------------------------------------------

    def _result(self) -> dict[str, object]:
        cpu_ms, peak, kills = self._place.usage(self._reaped_ms, self._peak_bytes)
        fault, code, error = self._verdict
        name = ""
        if not fault:
            code, name = _outcome(self._status)
            fault, error = self._why(failed=bool(code or name), kills=kills)
        return {
            "exit_code": "" if code is None else code,
            "signal": name,
            "cpu_ms": cpu_ms,
            "memory_peak_bytes": peak,
            "memory_kills": kills,
            "started_wall_ms": self._started_wall_ms,
            "ended_wall_ms": _wall_ms(),
            "left_behind": self._left_behind,
            "log_bytes": self._log.printed,
            "log_dropped_bytes": self._log.dropped,
            "fault": fault,
            "error": error,
        }

    def _why(self, *, failed: bool, kills: int) -> tuple[str, str]:
        left = self._place.members()
        if left:
            return (
                "stopped" if self._is_stopped else "",
                f"{len(left)} processes of it can't be killed: {left[:8]}",
            )
        if self._is_stopped and layout.asked_to_stop(self._order.folder) is None:
            return (
                "machine_lost",
                "its shim was told to end, and not by the server: as when a machine shuts down",
            )
        if self._is_stopped:
            return "stopped", "it was asked to stop"
        if failed and kills:
            return "out_of_memory", "it went over its memory limit"
        if self._left_behind:
            return "", f"{self._left_behind} processes outlived the command, and were ended"
        return "", ""


def _outcome(status: int | None) -> tuple[int | None, str]:
    assert status is not None
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code, ""
    try:
        return None, signal.Signals(-code).name
    except ValueError:
        return None, f"SIGRTMIN+{-code - signal.SIGRTMIN}"


def _nothing(_number: int, _frame: object) -> None:
    """Only the wake-up matters."""


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(sys.argv[1:])
