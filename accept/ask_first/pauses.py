"""Server, wrapper and child stopped for minutes, the wall clock moved:

nothing is granted twice, nothing renewed is lost.

All of it is waiting, so these run side by side, each with a server of its own. What overlaps is read from the
processes themselves: each writes when it ran, by the boot clock, which goes on while they are stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from accept.harness import Skipped, check, expect
from accept.product import Product, Server, until

STOPPED_S = 120
LONG_STOPPED_S = 600
BOOT = time.CLOCK_BOOTTIME

WORK = (
    "import sys, time; path, seconds = sys.argv[1], float(sys.argv[2]); began = time.clock_gettime(time.CLOCK_BOOTTIME); "
    "open(path, 'w').write(f'{began} -'); "
    "[time.sleep(0.05) for _ in iter(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) - began < seconds, False)]; "
    "open(path, 'w').write(f'{began} {time.clock_gettime(time.CLOCK_BOOTTIME)}')"
)
"""Runs for some seconds of the boot clock and writes its own beginning and end."""


def work(server: Server, path: Path, seconds: float, cost: int = 60) -> subprocess.Popen[str]:
    """A command under a lease that leaves no room for a second one."""
    python = server.product.python
    return server.spawn("run", "--cost", str(cost), "--", python, "-c", WORK, str(path), str(seconds))


def began(path: Path) -> float | None:
    """When a command began, by the boot clock; None before it did."""
    text = path.read_text() if path.exists() else ""
    return float(text.split()[0]) if text else None


def span(path: Path) -> tuple[float, float]:
    """When a command began and ended."""
    start, end = path.read_text().split()
    return float(start), float(end)


def child_of(pid: int) -> int:
    """The one child of a wrapper."""
    found: list[int] = []

    def look() -> bool:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found[:] = [int(one) for one in text]
        return bool(found)

    expect(until(look, 10) is not None, f"wrapper {pid} has no child")
    return found[0]


def live(server: Server) -> list[dict[str, Any]]:
    """The live leases."""
    return list(server.status()["active"])


def two_after_each_other(server: Server, scratch: Path, holds_s: float) -> tuple[Path, Path, Any, Any]:
    """A command that holds the room for `holds_s`, and one that waits for it."""
    first, second = scratch / "first", scratch / "second"
    one = work(server, first, holds_s)
    expect(until(lambda: began(first) is not None, 90) is not None, "the first command did not start")
    two = work(server, second, 1)
    expect(
        until(lambda: bool(server.status()["waiting"]), 20) is not None, "the second command does not wait"
    )
    return first, second, one, two


def finish(first: Path, second: Path, one: Any, two: Any, timeout_s: float) -> float:
    """Let both end; how long after the first's end the second began. Raises where they overlapped."""
    for process in (one, two):
        out, err = process.communicate(timeout=timeout_s)
        expect(
            process.returncode == 0, f"a command ended with {process.returncode}: {err[-300:]}{out[-100:]}"
        )
    gap = span(second)[0] - span(first)[1]
    expect(gap >= 0, f"the second began {-gap:.2f} s before the first had ended: over-commit")
    return gap


def stopped(server: Server, pid: int, seconds: float, watch: bool = True) -> None:
    """SIGSTOP, wait, SIGCONT. Meanwhile the lease stays (where the server can be asked)."""
    os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(2)
            if watch:
                holders = [lease["lease_id"] for lease in live(server)]
                expect(len(holders) == 1, f"while stopped, {len(holders)} leases are live")
    finally:
        os.kill(pid, signal.SIGCONT)


def scenario(product: Product, who: str, seconds: float) -> str:
    """Stop one of the three for so long, while a second command waits for the room."""
    with tempfile.TemporaryDirectory() as folder, product.server() as server:
        first, second, one, two = two_after_each_other(server, Path(folder), seconds + 25)
        before = live(server)[0]
        pid = {"server": server.pid, "wrapper": one.pid, "child": child_of(one.pid)}[who]
        stopped(server, pid, seconds, watch=who != "server")
        time.sleep(3)
        after = live(server)
        # An id is made from the fencing token and from nothing else, so the same id is the same token.
        expect([lease["lease_id"] for lease in after] == [before["lease_id"]], f"the lease was lost: {after}")
        expect(began(second) is None, "the second command started while the first held the room")
        gap = finish(first, second, one, two, 90)
        tokens = [lease["lease_id"] for lease in server.status()["ended"]]
        expect(len(tokens) == len(set(tokens)) == 2, f"two leases were to end, these did: {tokens}")
        return f"{who} stopped for {seconds:g} s: same lease and token after it, the next began {gap * 1000:.0f} ms after its end"


COMMAND = "kill -STOP PID; sleep {}; kill -CONT PID   # beside `leasehold run --cost 60 -- …` twice"
PROMISE = "{} SIGSTOPped for {}: no lease granted twice, none lost that was renewed, no over-commit by the processes' own clocks"


@check(
    "pause.server",
    PROMISE.format("The server", "2 minutes"),
    command=COMMAND.format(120),
    kind="quiet",
    budget_s=240,
)
def server_stopped(product: Product) -> str:
    """The server stands still for two minutes."""
    return scenario(product, "server", STOPPED_S)


@check(
    "pause.wrapper",
    PROMISE.format("The wrapper", "2 minutes"),
    command=COMMAND.format(120),
    kind="quiet",
    budget_s=240,
)
def wrapper_stopped(product: Product) -> str:
    """The wrapper can't renew for two minutes; its child goes on, so the lease falls silent and keeps its
    charge.
    """
    return scenario(product, "wrapper", STOPPED_S)


@check(
    "pause.child",
    PROMISE.format("The child", "2 minutes"),
    command=COMMAND.format(120),
    kind="quiet",
    budget_s=240,
)
def child_stopped(product: Product) -> str:
    """The child stands still; its wrapper renews."""
    return scenario(product, "child", STOPPED_S)


@check(
    "pause.server_long",
    PROMISE.format("The server", "10 minutes"),
    command=COMMAND.format(600),
    kind="quiet",
    budget_s=720,
)
def server_stopped_long(product: Product) -> str:
    """The server stands still for ten minutes."""
    return scenario(product, "server", LONG_STOPPED_S)


def moved_clock(scratch: Path) -> tuple[Path, str]:
    """A file of seconds by which the wall clock is off, and the library that makes a program see it so."""
    offset, library = scratch / "offset", scratch / "wall_clock.so"
    offset.write_text("0")
    source = Path(__file__).parent.parent / "native" / "wall_clock.c"
    built = subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=False)
    if built.returncode:
        raise Skipped("no C compiler to build the library that moves the clock")
    return offset, str(library)


@check(
    "pause.wall_clock",
    "The wall clock moved an hour back and forth under the real program: no lease granted twice, none lost that was renewed",
    command="LD_PRELOAD=wall_clock.so WALL_CLOCK_OFFSET_FILE=offset leasehold up --foreground; echo 3600 > offset",
    kind="quiet",
    budget_s=180,
)
def wall_clock(product: Product) -> str:
    """Jumps of an hour, both ways, while one lease is renewed, one waits, and one is never renewed."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        offset, library = moved_clock(scratch)
        with product.server(preload=library, WALL_CLOCK_OFFSET_FILE=str(offset)) as server:
            first, second, one, two = two_after_each_other(server, scratch, 75)
            before = live(server)[0]
            shown = set()
            for jump in (3600, -3600, 7200, 0, -7200, 0):
                offset.write_text(str(jump))
                silent = server.request(cost_units=1, start="now")
                server.post(
                    f"/api/scheduler/lease/{silent['lease_id']}/heartbeat",
                    {"fencing_token": silent["fencing_token"]},
                )
                time.sleep(8)
                now = [lease for lease in live(server) if lease["lease_id"] == before["lease_id"]]
                expect(len(now) == 1, f"after a jump of {jump} s the renewed lease is gone")
                expect(began(second) is None, f"after a jump of {jump} s the waiting command was started")
                status, unrenewed = server.get(f"/api/scheduler/lease/{silent['lease_id']}")
                expect(
                    status == 200 and unrenewed["state"] == "ACTIVE",
                    f"8 s old, and {unrenewed.get('state')} after {jump} s",
                )
                shown.add(silent["lease_id"])
            ended = until(lambda: not any(lease["lease_id"] in shown for lease in live(server)), 40)
            expect(
                ended is not None,
                "a lease that nobody renewed did not expire within its time to live by the boot clock",
            )
            gap = finish(first, second, one, two, 90)
            return f"6 jumps of up to two hours; the waiting command began {gap * 1000:.0f} ms after the first's end"
