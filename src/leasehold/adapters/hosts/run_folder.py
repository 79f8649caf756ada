"""Reading how a run stands from its folder, and ending what has lost its shim (QUEUE-15)."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import msgspec

from leasehold.adapters.hosts import limits
from leasehold.adapters.hosts.cgroups import Groups
from leasehold.adapters.hosts.freezer import freezer_of
from leasehold.adapters.hosts.processes import stat, tree
from leasehold.adapters.hosts.run_order import filed
from leasehold.adapters.hosts.signals import send
from leasehold.model.lease import Process
from leasehold.model.run import Ended, Fault, RunKey, Started
from leasehold.runtime.lean import elapsed_s, pause
from leasehold.shim import layout

KILL_S = 10.0
AGAIN_S = 0.02


def started_of(key: RunKey, folder: Path) -> Started:
    """How it stands by what is written: taken up or not, started, ended."""
    order = layout.fields_of(layout.read(f"{folder}/{layout.ORDER}") or b"") or {}
    taken, begun = layout.slots(str(folder))
    boot_id = order.get("boot_id", "")
    return Started(
        key=key,
        shim=_process((begun or taken or {}).get("shim", ""), boot_id),
        process=_process((begun or {}).get("process", ""), boot_id),
        started_wall_ms=int((begun or {}).get("started_wall_ms", 0)),
        held=tuple(order.get("held", "").split()),
        ended=ended_of(folder),
    )


def _process(text: str, boot_id: str) -> Process | None:
    pid, _, ticks = text.partition(" ")
    return Process(int(pid), int(ticks), boot_id) if pid.isdecimal() and ticks.isdecimal() else None


def ended_of(folder: Path) -> Ended | None:
    """Its result; None where none is written."""
    fields = layout.result(str(folder))
    if fields is None:
        return None
    code = fields.get("exit_code", "")
    numbers = {
        name: int(fields.get(name, 0))
        for name in (
            "cpu_ms",
            "memory_peak_bytes",
            "memory_kills",
            "started_wall_ms",
            "ended_wall_ms",
            "left_behind",
            "log_bytes",
            "log_dropped_bytes",
        )
    }
    return Ended(
        exit_code=int(code) if code else None,
        signal=fields.get("signal", ""),
        fault=Fault(fields["fault"]) if fields.get("fault") else None,
        error=fields.get("error", "").encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        **numbers,
    )


def settle(key: RunKey, folder: Path, groups: Groups | None, wall_ms: int) -> Ended | None:
    """How it ended, where it has no shim any more; None while it has one.

    Without a result: kills what is left of it, and writes what is known instead. A shim that was on its way
    finds the run taken up, and does nothing. Blocks for up to `KILL_S`.
    """
    held = layout.lock(str(folder))
    if held is None:
        return None
    try:
        ended = ended_of(folder)
        if ended is not None:
            return ended
        before = started_of(key, folder)
        return _written_off(key, folder, before, groups, wall_ms)
    finally:
        os.close(held)


def _written_off(key: RunKey, folder: Path, run: Started, groups: Groups | None, wall_ms: int) -> Ended:
    """Kill what is left, write down what is known. A result that can't be written is told all the same."""
    fault, error = _what_happened(folder, run)
    with contextlib.suppress(OSError):
        layout.write_slot(str(folder), 0, {"shim": layout.identity(os.getpid())})
    place = (layout.fields_of(layout.read(f"{folder}/{layout.ORDER}") or b"") or {}).get("place", "")
    kills, left = 0, 0
    if fault is Fault.SHIM_LOST:
        left = end_all(key, run, place, groups)
        kills = limits.memory_kills(groups, place) if groups is not None and place else 0
    with contextlib.suppress(OSError):
        os.unlink(folder / layout.ENV)
    ended = Ended(
        None,
        memory_kills=kills,
        started_wall_ms=run.started_wall_ms,
        ended_wall_ms=wall_ms,
        left_behind=left,
        fault=fault,
        error=error,
    )
    fields = msgspec.structs.asdict(ended) | {"exit_code": "", "fault": fault.value}
    with contextlib.suppress(OSError):
        layout.write_result(str(folder), fields)
    return ended


def _what_happened(folder: Path, before: Started) -> tuple[Fault, str]:
    taken = before.shim is not None
    if taken and before.shim is not None and before.shim.boot_id != layout.boot_id():
        return Fault.MACHINE_LOST, "the machine went down while it ran"
    if taken:
        return (
            Fault.SHIM_LOST,
            "its shim was killed, so how it ended is not known; what was left of it is killed",
        )
    return Fault.NOT_STARTED, "nothing had taken it up when the server ended; nothing of it ran"


def places_of(root: Path) -> set[str]:
    """The places in which runs that are filed stand: what holds them there holds while no server is up."""
    folders = [root / key.name for key in filed(root)]
    orders = [layout.fields_of(layout.read(f"{folder}/{layout.ORDER}") or b"") or {} for folder in folders]
    return {order["place"] for order in orders if order.get("place")}


def end_all(key: RunKey, run: Started, place: str, groups: Groups | None) -> int:
    """SIGKILL for all that is left of a run without a shim, until nothing is; how many there were at most.

    Limit: without a place, what has detached itself and cleared its environment is not found.
    """
    most, end_s = 0, elapsed_s() + KILL_S
    while elapsed_s() < end_s:
        pids = left_of(key, run, place, groups)
        if not pids:
            break
        most = max(most, len(pids))
        frozen = freezer_of(groups, place)
        if frozen is not None:
            frozen.thaw()
        for pid in pids:
            seen = stat(pid)
            if seen is not None:
                send(pid, seen.start_ticks, signal.SIGKILL)
        pause(AGAIN_S)
    return most


def left_of(key: RunKey, run: Started, place: str, groups: Groups | None) -> set[int]:
    """The pids of what lives of a run: by its place, below its first process, and by its environment."""
    found = set(groups.pids(place)) if groups is not None and place else set()
    if run.process is not None:
        seen = stat(run.process.pid)
        if seen is not None and seen.start_ticks == run.process.start_ticks:
            found.update(tree(run.process.pid))
    found.update(_marked(key))
    found.discard(os.getpid())
    return {pid for pid in found if (seen := stat(pid)) is not None and seen.state not in ("Z", "X", "x")}


def _marked(key: RunKey) -> list[int]:
    """What has the run's name in its environment."""
    mark = layout.VARIABLE + b"=" + key.name.encode()
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdecimal() and mark in (layout.read(f"/proc/{name}/environ") or b"").split(b"\0")
    ]
