"""Start, watch and end one program with its children; their CPU time and memory from `/proc`.

Programs are ended by the id of the process that was started here, never by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_GRACE_S = 15.0
"""Longer than the 10 s in which a server promises to end after SIGTERM."""


class Usage(NamedTuple):
    """Of a tree: CPU seconds since start (reaped children included), resident bytes, processes."""

    cpu_s: float
    rss_bytes: int
    processes: int


class Program:
    """A running program in a session of its own; its output goes to `log`. A context manager that ends it."""

    def __init__(
        self, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def check_alive(self) -> None:
        """Raise RuntimeError with the end of the log if the program has ended."""
        if (code := self._popen.poll()) is not None:
            raise RuntimeError(f"{self.argv[0]} ended with {code}; the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, bytes_max: int = 2_000) -> str:
        return self.log.read_bytes()[-bytes_max:].decode(errors="replace")

    def usage(self) -> Usage:
        return tree_usage(self.pid)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL to its process group after STOP_GRACE_S; the exit code."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            return self._popen.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self._popen.wait(STOP_GRACE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def tree_usage(root_pid: int) -> Usage:
    """Sum over `root_pid` and all its living descendants. ProcessLookupError when the root is gone."""
    stats = _all_stats()
    if root_pid not in stats:
        raise ProcessLookupError(f"process {root_pid} has ended, so it can't be measured")
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent_pid, []).append(pid)
    cpu_ticks = rss_bytes = processes = 0
    pending = [root_pid]
    while pending:
        pid = pending.pop()
        pending += children.get(pid, [])
        cpu_ticks += stats[pid].cpu_ticks
        rss_bytes += stats[pid].rss_bytes
        processes += 1
    return Usage(cpu_ticks / TICKS_PER_S, rss_bytes, processes)


class _Stat(NamedTuple):
    parent_pid: int
    cpu_ticks: int
    rss_bytes: int


def _all_stats() -> dict[int, _Stat]:
    stats = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            stats[int(name)] = stat
    return stats


def _stat(pid: int) -> _Stat | None:
    """Fields 4, 14–17 and 24 of proc(5)'s stat; the name in field 2 may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(int(fields[1]), sum(map(int, fields[11:15])), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def wait_for(condition: str, is_true: Callable[[], bool], program: Program, timeout_s: float) -> float:
    """Poll `is_true()` every 2 ms until it holds; the seconds that took. RuntimeError names `condition`."""
    began_at = time.perf_counter()
    while not is_true():
        program.check_alive()
        if time.perf_counter() - began_at > timeout_s:
            raise RuntimeError(f"no {condition} within {timeout_s:.0f} s; log:\n{program.log_tail()}")
        time.sleep(0.002)
    return time.perf_counter() - began_at
