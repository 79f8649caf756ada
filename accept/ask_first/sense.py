"""Whose load is it: others' makes the machine busy within seconds, our own leased work does not.

These need the machine for themselves. Before each one waits until the server calls the machine QUIET, so that
what ran before does not count.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import live
from accept.harness import Broken, check, expect
from accept.product import Product, Server, until

SHORT = float(os.environ.get("ACCEPT_SHORT", "1"))
"""Divides the durations, while a check is being written."""
OWN_LOAD_S = 240 / SHORT
SETTLED_S = 12
"""How long the machine has to be QUIET before: until then a start is still measured by a few instants."""
AFTER_S = 15 / SHORT
"""How long the state is watched after our work has ended: its end may not read as somebody else's load."""
BUSY_WITHIN_S = 15
DENIED_FOR_S = 5
GRANTED_WITHIN_S = 240
"""Two minutes until the load has left the long mean, one of cool-down after PANIC, and the dwell time."""
MEMORY_BYTES_MAX = 8 << 30
DISK_BYTES_MAX = 2_000_000_000

SENTENCES = {"BUSY": "System is BUSY; waiting for QUIET", "PANIC": "System is PANIC; nothing starts"}

CPU = """
import os, subprocess, sys, threading, time
end = time.monotonic() + float(sys.argv[1])
job = [sys.executable, "-I", "-S", "-c", "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 800_000)"]
def core():
    while time.monotonic() < end:
        subprocess.run(job, check=True)
threads = [threading.Thread(target=core) for _ in range(os.cpu_count())]
[each.start() for each in threads]
[each.join() for each in threads]
"""
"""One program after another on every core, each of less than a second, as a build runs them."""

MEMORY = """
import sys, time
end, size = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
held = memoryview(bytearray(size))
half, rounds = size // 2, 0
while time.monotonic() < end:
    held[:: 4096] = bytes([rounds % 256]) * len(held[:: 4096])
    held[:half] = held[half : 2 * half]
    rounds += 1
print(rounds, flush=True)
"""
"""Touches every page and copies one half over the other, again and again."""

DISK = """
import os, sys, time
end, path, most = time.monotonic() + float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
block, written = os.urandom(1 << 20), 0
file = os.open(path, os.O_RDWR | os.O_CREAT)
while time.monotonic() < end:
    at = written % (most - most % len(block))
    os.pwrite(file, block, at)
    written += len(block)
    if written % (8 << 20) == 0:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(file, 4 << 20, 0)
os.unlink(path)
print(written, flush=True)
"""
"""Writes, flushes, drops from the cache and reads again, within one file of bounded size."""


# -- somebody else's load ----------------------------------------------------------------------------------


@contextmanager
def foreign(product: Product) -> Iterator[float]:
    """Programs that have asked nobody load every core, in sessions of their own; since when."""
    burn = [product.python, "-I", "-S", "-c", "while True: pass"]
    began = time.monotonic()
    programs = [
        subprocess.Popen(burn, start_new_session=True, stdin=subprocess.DEVNULL)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield began
    finally:
        for program in programs:
            program.kill()
            program.wait()


@dataclass
class Gated:
    """A request that waits for quiet, asked again and again under its one ticket."""

    server: Server
    ticket: str | None = None
    said: dict[str, int] = field(default_factory=dict)

    def ask(self) -> bool:
        """Whether it is granted now; a lease that it gets is given back at once."""
        body = {} if self.ticket is None else {"ticket": self.ticket}
        answer = self.server.request(cost_units=1, start="quiet", wait_sec=0, **body)
        if answer["approved"]:
            given = {"fencing_token": answer["fencing_token"]}
            self.server.post(f"/api/scheduler/lease/{answer['lease_id']}/release", given)
            return True
        self.ticket = answer.get("ticket")
        self.said[answer["reason"]] = self.said.get(answer["reason"], 0) + 1
        return False


def judged(product: Product, server: Server) -> str:
    """Load all cores from outside: busy, denied, and granted again after it; the seconds of each."""
    expect(Gated(server).ask(), "on the quiet machine a request that waits for quiet is not granted")
    gated = Gated(server)
    with foreign(product) as began:
        state = ""

        def busy() -> bool:
            nonlocal state
            state = server.status()["quiet_state"]
            return state in SENTENCES

        expect(until(busy, BUSY_WITHIN_S + 10, 0.1) is not None, f"after 25 s of it the machine is {state}")
        busy_s = time.monotonic() - began
        expect(busy_s <= BUSY_WITHIN_S, f"{state} only after {busy_s:.1f} s")
        denied = until(gated.ask, DENIED_FOR_S, 0.5)
        expect(denied is None, f"granted while all cores are loaded by others ({gated.said})")
        wrong = [sentence for sentence in gated.said if sentence not in SENTENCES.values()]
        expect(not wrong, f"denied with other words: {wrong}")
        sentence = next(iter(gated.said))
        loaded_s = time.monotonic() - began
    granted_s = until(gated.ask, GRANTED_WITHIN_S, 0.5)
    expect(granted_s is not None, f"not granted within {GRANTED_WITHIN_S} s after it ended: {gated.said}")
    return (
        f"{state} after {busy_s:.1f} s, denied: “{sentence}”; "
        f"granted {granted_s:.1f} s after the end of {loaded_s:.0f} s of load"
    )


@check(
    "sense.foreign",
    "A program that is not ours loads all cores: BUSY or worse within 15 s; a request that waits for quiet "
    "is denied with the exact sentence, and granted again after it ends",
    command="yes >/dev/null & yes >/dev/null & leasehold status",
    budget_s=300,
)
def foreign_alone(product: Product) -> str:
    """Nothing is leased."""
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        return judged(product, server)


@check(
    "sense.foreign_beside",
    "… and beside leased work that loads all cores too",
    command="leasehold run -- make -j & yes >/dev/null & yes >/dev/null & leasehold status",
    budget_s=330,
)
def foreign_beside(product: Product) -> str:
    """The leased work runs from before to after, and by itself leaves the machine QUIET."""
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        with leased(server, 600, CPU) as worker:
            time.sleep(10)
            state = server.status()["quiet_state"]
            expect(state == "QUIET", f"leased work alone makes it {state}: {server.status()['reasons'][0]}")
            told = judged(product, server)
            expect(worker.poll() is None, f"the leased work ended with {worker.returncode}")
            return f"QUIET beside 10 s of leased work; {told}"


# -- our own -----------------------------------------------------------------------------------------------


@contextmanager
def leased(server: Server, seconds: float, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Leased work for so many seconds, seen ACTIVE; ended at the end of the block if it still runs."""
    command = [server.product.python, "-c", script, str(seconds), *arguments]
    worker = server.spawn("run", "--cost", "30", "--job-type", "ours", "--", *command, start_new_session=True)
    try:
        active = until(lambda: any(lease["state"] == "ACTIVE" for lease in live(server)), 30)
        expect(active is not None, f"the work was not started: {server.status()['headline']}")
        yield worker
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGTERM)
        worker.communicate(timeout=30)


class Bystanders:
    """CPU seconds of programs that are neither the server, nor under the lease, nor this check.

    Who reads that the state changed wants to know whether somebody else used the machine. Programs that ran
    between two looks are not seen.
    """

    def __init__(self, server: Server, worker: subprocess.Popen[str]) -> None:
        self._ours = {server.pid, os.getpid()}
        self._session = worker.pid
        self._first: dict[int, float] = {}
        self._used: dict[int, tuple[float, str]] = {}

    def look(self) -> None:
        """Read every process once."""
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        again = bool(self._first)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue
            name = text[text.index("(") + 1 : text.rindex(")")]
            fields = text[text.rindex(")") + 2 :].split()
            pid, used_s = int(folder.name), (int(fields[11]) + int(fields[12])) * tick_s
            if pid in self._ours or int(fields[3]) == self._session:
                continue
            self._used[pid] = used_s - self._first.setdefault(pid, 0 if again else used_s), name

    def told(self) -> str:
        """The greatest users."""
        most = sorted((used for used in self._used.values() if used[0] >= 1), reverse=True)
        names = ", ".join(f"{name} {used:.0f} s" for used, name in most[:6])
        return f"others used {sum(used for used, _ in most):.0f} s of CPU" + (f" ({names})" if names else "")


def changes(server: Server) -> list[dict[str, Any]]:
    """Every change of the state so far, as the server's log tells it."""
    rows = (json.loads(row) for row in (server.data / "log" / "leasehold.log").read_text().splitlines())
    return [row for row in rows if row["event"] == "quiet_state"]


def own_load(product: Product, script: str, *arguments: str) -> str:
    """Run leased work on a quiet machine and count the changes of state from its start to after its end."""
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        before = len(changes(server))
        scores: list[int] = []
        seen = ["QUIET"]
        with leased(server, OWN_LOAD_S, script, *arguments) as worker:
            others = Bystanders(server, worker)

            def watch() -> bool:
                others.look()
                status = server.status()
                scores.append(status["quiet_score"] or 0)
                if status["quiet_state"] != seen[-1]:
                    seen.append(status["quiet_state"])
                return worker.poll() is not None

            ended = until(watch, OWN_LOAD_S + 60, 0.5)
            expect(ended is not None, "the work does not end")
            expect(worker.returncode == 0, f"the work ended with {worker.returncode}: {worker.stderr}")
            used = server.status()["ended"][0]
            until(lambda: watch() and False, AFTER_S, 0.5)
        logged = changes(server)[before:]
        shown = "; ".join(f"{row['state']} at {row['at'][11:19]} ({row['reason']})" for row in logged)
        times = max(len(logged), len(seen) - 1)
        expect(times <= 1, f"the state changed {times} times: {shown}; meanwhile {others.told()}")
        return (
            f"{used['running_sec']:.0f} s, {used['usage']['cpu_seconds']:.0f} s of CPU, "
            f"{used['usage']['memory_peak_bytes'] / (1 << 30):.1f} GiB: {len(logged)} changes "
            f"({shown or 'QUIET throughout'}), lowest score {min(scores)}; {others.told()}"
        )


OWN = "Our own leased load, {}, for 4 minutes changes the state at most once"
OWN_COMMAND = "leasehold run -- {}; leasehold get events"


@check("sense.own_cpu", OWN.format("CPU-bound"), command=OWN_COMMAND.format("make -j"), budget_s=420)
def own_cpu(product: Product) -> str:
    """Every core, by short programs one after another."""
    return own_load(product, CPU)


@check(
    "sense.own_disk",
    OWN.format("disk-bound"),
    command=OWN_COMMAND.format("fio --name=w --rw=write --fsync=8 --size=2G --time_based --runtime=240"),
    budget_s=420,
)
def own_disk(product: Product) -> str:
    """Writes and flushes on the disk that holds this checkout, in a file of at most 2 GB that is removed."""
    with tempfile.TemporaryDirectory(dir=product.folder) as folder:
        return own_load(product, DISK, str(Path(folder) / "written"), str(DISK_BYTES_MAX))


@check(
    "sense.own_memory",
    OWN.format("memory-bound"),
    command=OWN_COMMAND.format("stress-ng --vm 1 --vm-bytes 8G --timeout 240"),
    budget_s=420,
)
def own_memory(product: Product) -> str:
    """At most 8 GiB and at most two fifths of what is available, touched and copied in a loop."""
    with open("/proc/meminfo") as file:
        figures = dict(line.split(":") for line in file)
    available = int(figures["MemAvailable"].split()[0]) * 1024
    size = min(MEMORY_BYTES_MAX, available * 2 // 5)
    if size < 1 << 30:
        raise Broken(f"only {available >> 20} MiB are available: that is no memory-bound load")
    return own_load(product, MEMORY, str(size))
