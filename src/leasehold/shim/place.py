"""All processes of a run, and what they use: by its cgroup where it has one, and by descent from the shim.

The shim is the subreaper of all it starts: whoever loses its parent becomes a child of the shim, so nothing
leaves this tree while the shim lives.
"""

from __future__ import annotations

import contextlib
import os
import signal

from leasehold.shim import layout

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from collections.abc import Iterable

    from leasehold.shim.order import Order

LEVELS_MAX = 256
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Place:
    """What belongs to one run."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._cpu_before_ms = self._cpu_ms()
        self._kills_before = self._kills()
        self._resident_peak = 0

    # -- who

    def members(self) -> list[int]:
        """The pids of all that lives of it, zombies left out; never the shim's own."""
        found = set(below(os.getpid()))
        for path in self._order.work_procs[:1]:
            found.update(int(pid) for pid in (layout.read(path) or b"").split())
        found.discard(os.getpid())
        return sorted(found)

    def go_on(self) -> None:
        """Let it go on where it stands still: what is frozen can neither end itself nor be ended."""
        if self._order.thaw_file:
            with contextlib.suppress(OSError), open(self._order.thaw_file, "w", encoding="ascii") as file:
                file.write(self._order.thaw_text)

    def send(self, *numbers: signal.Signals, spared: set[int] | frozenset[int] = frozenset()) -> set[int]:
        """Signal all of it that is not spared; who there was."""
        handles = {}
        for pid in set(self.members()) - spared:
            try:
                handles[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except (OSError, AttributeError):  # An old kernel has none: by its number, then.
                _kill(pid, numbers)
        # Whoever is a member after its descriptor was opened is no stranger who got the pid of a dead one.
        living = set(self.members())
        try:
            for pid in handles.keys() & living:
                for number in numbers:
                    with contextlib.suppress(OSError):
                        signal.pidfd_send_signal(handles[pid], number)
        finally:
            for handle in handles.values():
                os.close(handle)
        return living

    def kill(self) -> None:
        """End all of it, at once. To be called again until there is none."""
        self.go_on()
        if self._order.kill_file:
            with contextlib.suppress(OSError), open(self._order.kill_file, "w", encoding="ascii") as file:
                file.write("1")
        self.send(signal.SIGKILL)

    # -- how much

    def look(self) -> None:
        """Take note of how much memory it has now: the kernel's own peak counts the page cache too."""
        rows = _rows(self._order.memory_file)
        if "total_rss" in rows:
            now = rows["total_rss"] + rows.get("total_shmem", 0)
        else:
            now = rows.get("anon", 0) + rows.get("shmem", 0)
        self._resident_peak = max(self._resident_peak, now)

    def usage(self, reaped_ms: int, reaped_peak_bytes: int) -> tuple[int, int, int]:
        """(CPU ms, peak of memory in bytes, processes killed for want of memory) since the shim began.

        What was reaped counts where the kernel keeps no account of the place.
        """
        kills = max(0, self._kills() - self._kills_before)
        peak, most = max(self._resident_peak, reaped_peak_bytes), _number(self._order.peak_file)
        if most:  # With page cache, so no less than what we look for; what is reaped had our pages first.
            peak = most if kills else min(peak, most)
        return max(reaped_ms, self._cpu_ms() - self._cpu_before_ms), peak, kills

    def _cpu_ms(self) -> int:
        rows = _rows(self._order.cpu_file)
        return (
            rows["usage_usec"] // 1_000
            if "usage_usec" in rows
            else _number(self._order.cpu_file) // 1_000_000
        )

    def _kills(self) -> int:
        return _rows(self._order.kills_file).get("oom_kill", 0)


def _kill(pid: int, numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def below(root: int) -> list[int]:
    """All living descendants of a process. Zombies are nobody, but their children are somebody."""
    known = {} if LISTS_CHILDREN else _parents()
    found: list[int] = []
    edge, levels = [root], 0
    while edge and levels < LEVELS_MAX:
        edge = [child for pid in edge for child in (_children(pid) if LISTS_CHILDREN else known.get(pid, ()))]
        found.extend(pid for pid in edge if _lives(pid))
        levels += 1
    return found


def _lives(pid: int) -> bool:
    data = layout.read(f"/proc/{pid}/stat")
    return data is not None and b")" in data and data[data.rindex(b")") + 2 :][:1] not in (b"Z", b"X")


def _children(pid: int) -> Iterable[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return ()
    lists = (layout.read(f"/proc/{pid}/task/{thread}/children") or b"" for thread in threads)
    return [int(child) for each in lists for child in each.split()]


def _parents() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        data = layout.read(f"/proc/{name}/stat") if name.isdecimal() else None
        if data:
            found.setdefault(int(data[data.rindex(b")") + 2 :].split(None, 2)[1]), []).append(int(name))
    return found


def _rows(path: str) -> dict[str, int]:
    rows = {}
    for line in (layout.read(path) or b"").decode("ascii", "replace").splitlines() if path else ():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            rows[key] = int(value)
    return rows


def _number(path: str) -> int:
    data = layout.read(path) if path else None
    return int(data) if data and data.strip().isdigit() else 0
