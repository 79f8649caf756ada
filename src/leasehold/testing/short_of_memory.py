"""A machine that runs out of memory under leased work, told as figures (LEASE-14).

`python -m leasehold.testing.short_of_memory BIN` is for a guest machine of 512 MB (`guest.py`), where nothing
else is harmed. A server of the programs in the folder BIN runs with default settings, and four leases of
different ages: `old`, `middle` and `young`, whose memory then grows, and `tiny`, which holds next to nothing.
Once one of them was taken back, a program that nobody leased takes what that gave. One JSON object is
printed; `faults` says what of it breaks the promise.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from leasehold.runtime.lean import elapsed_s, pause

PORT = 7171
EACH_S = 0.25
GROWN_S_MAX = 120
TAKEN_SLOWLY_MIB = 130
"""Of what was given back: how much is taken at a pace, the rest at once."""

EACH_REVOKED_S = 5.0
EVENTS = "/api/events?limit=1000"


class Work(NamedTuple):
    """CPU seconds before it is ready; the memory that it holds by then, and how fast that grows after."""

    name: str
    cpu_s: float
    mb: int
    mb_per_s: float


WORK = (
    Work("old", 5.0, 40, 6),
    Work("middle", 3.0, 30, 4),
    Work("young", 0.3, 30, 12),
    Work("tiny", 0.0, 0, 0),
)

GROWER = """
import os, sys, time
name, cpu_s, held, rate, folder = sys.argv[1], *map(float, sys.argv[2:5]), sys.argv[5]
held = [b"x" * int(held * 1_000_000)]
while time.process_time() < cpu_s:
    sum(range(10_000))
open(f"{folder}/{name}.ready", "w").close()
while not os.path.exists(f"{folder}/grow.{name}"):
    time.sleep(0.05)
while rate:
    held.append(b"x" * int(rate * 100_000))
    time.sleep(0.1)
time.sleep(1000)
"""


class Server:
    """The product's server in this guest, and its answers."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.leasehold, self.python = str(programs / "leasehold"), str(programs / "python")
        self.folder, self.data = folder, folder / "data"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("LEASEHOLD")}
        self.env = clean | {
            "LEASEHOLD_DATA": str(self.data),
            "LEASEHOLD_RUN_DIR": str(folder / "run"),
            "LEASEHOLD_PORT": str(PORT),
        }

    def start(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        """One command of the product, its output into a file beside its data."""
        with open(self.folder / "output", "ab") as output:
            return subprocess.Popen(
                [self.leasehold, *words], env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def get(self, path: str) -> dict[str, Any]:
        """What a route answers; nothing at all while there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        try:
            token = (self.data / "admin.token").read_text().strip()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return dict(json.loads(answer.read())) if answer.status == 200 else {}
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()


class Watch:
    """Looks at the machine again and again, and keeps what it saw."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = elapsed_s()
        self.rows: list[tuple[float, int, str]] = []
        self.revoked: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._needs: dict[str, tuple[float, int]] = {}

    def look(self) -> None:
        """One look: seconds since the growth began, MiB available, state; and who was taken back since."""
        at_s, there = round(elapsed_s() - self._began, 2), available_mib()
        status = status_of(self._server)
        active = status.get("active", [])
        self._names.update({lease["lease_id"]: lease["job_type"] for lease in active})
        self.rows.append((at_s, there, str(status.get("quiet_state", "?"))))
        before, self._needs = self._needs, needs(active)
        if status.get("quiet_state") != "PANIC":
            return
        for event in self._server.get(EVENTS).get("events", ()):
            if event["kind"] == "LeaseRevoking" and event["subject"] not in self.revoked:
                self.revoked[event["subject"]] = {
                    "job_type": self._names.get(event["subject"], ""),
                    "needs": before,
                    "event_at": event["at"],
                    "after_s": at_s,
                    "available_mib": there,
                    "why": event.get("details", {}).get("note", ""),
                }

    def until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Look until it holds; whether it did in time."""
        end = elapsed_s() + timeout_s
        while not holds():
            if elapsed_s() > end:
                return False
            self.look()
            pause(EACH_S)
        return True


def needs(active: list[dict[str, Any]]) -> dict[str, tuple[float, int]]:
    """By job type: the CPU seconds that would be lost, and the MiB that it holds."""
    return {
        lease["job_type"]: (usage.get("cpu_seconds", 0.0), usage.get("memory_bytes", 0) >> 20)
        for lease in active
        if lease["state"] == "ACTIVE" and (usage := lease.get("usage") or {})
    }


def least(table: dict[str, tuple[float, int]]) -> str:
    """Who loses least, of those that hold at least a tenth of what the greatest holds."""
    greatest = max((mib for _, mib in table.values()), default=0)
    worth = [(cpu_s, name) for name, (cpu_s, mib) in table.items() if mib * 10 >= greatest]
    return min(worth, default=(0.0, ""))[1]


def status_of(server: Server) -> dict[str, Any]:
    return server.get("/api/scheduler/status")


def available_mib() -> int:
    """What the kernel calls available."""
    return _figure("/proc/meminfo", "MemAvailable:") >> 10


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory."""
    return _figure("/proc/vmstat", "oom_kill")


def _figure(path: str, name: str) -> int:
    rows = (line.split() for line in Path(path).read_text().splitlines())
    return next(int(row[1]) for row in rows if row[0] == name)


def wait(holds: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Wait until it holds. Raises RuntimeError."""
    end = elapsed_s() + timeout_s
    while not holds():
        if elapsed_s() > end:
            raise RuntimeError(otherwise)
        pause(0.05)


def grower(server: Server, work: Work) -> list[str]:
    """The command of a piece of work."""
    figures = [str(each) for each in (work.cpu_s, work.mb, work.mb_per_s)]
    return [server.python, "-I", "-S", "-c", GROWER, work.name, *figures, str(server.folder)]


@contextmanager
def working(server: Server) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The leases, one begun after the other, each ready before the next; their wrappers."""
    wrappers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for work in WORK:
            words = ["run", "--cost", "5", "--job-type", work.name, "--", *grower(server, work)]
            wrappers[work.name] = server.start(*words)
            ready = server.folder / f"{work.name}.ready"
            wait(ready.exists, 60, f"{work.name} did not begin")
        yield wrappers
    finally:
        for wrapper in wrappers.values():
            wrapper.kill()


def show(programs: Path, folder: Path) -> dict[str, Any]:
    """Let it happen, and tell it."""
    server = Server(programs, folder)
    before = available_mib()
    daemon = server.start("up", "--foreground")
    foreign: subprocess.Popen[bytes] | None = None
    try:
        wait(
            lambda: status_of(server).get("quiet_state", "UNKNOWN") != "UNKNOWN", 60, "no server that grants"
        )
        with working(server) as wrappers:
            wait(lambda: all(known(server, each) for each in WORK), 20, "the CPU time of some is not known")
            held = before - available_mib()
            watch = Watch(server)
            for work in WORK:
                (folder / f"grow.{work.name}").touch()
            watch.until(lambda: bool(watch.revoked) and gone(wrappers, watch), GROWN_S_MAX)
            given = available_mib()
            (folder / "grow.foreign").touch()
            taker = Work("foreign", 0.0, max(0, given - TAKEN_SLOWLY_MIB), 20)
            foreign = subprocess.Popen(grower(server, taker))
            watch.until(lambda: len(watch.revoked) > 1, 60)
            foreign.kill()
            watch.until(lambda: False, 7)
            return {
                "before_mib": before,
                "held_at_rest_mib": held,
                "given_back_mib": given,
                "revoked": list(watch.revoked.values()),
                "alive": [name for name, wrapper in wrappers.items() if wrapper.poll() is None],
                "server": daemon.poll() is None,
                "oom_kills": oom_kills(),
                "least_mib": min(row[1] for row in watch.rows),
                "rows": watch.rows,
                "events": server.get(EVENTS).get("events", []),
            }
    finally:
        if foreign is not None:
            foreign.kill()
        daemon.terminate()
        daemon.wait(15)


def known(server: Server, work: Work) -> bool:
    """Whether the server knows what went into it."""
    active = status_of(server).get("active", ())
    used = {lease["job_type"]: (lease.get("usage") or {}).get("cpu_seconds") or 0 for lease in active}
    return bool(used.get(work.name, 0) >= work.cpu_s)


def gone(wrappers: dict[str, subprocess.Popen[bytes]], watch: Watch) -> bool:
    """Whether those that were taken back have ended."""
    return all(wrappers[each["job_type"]].poll() is not None for each in watch.revoked.values())


def instant(revoked: dict[str, Any]) -> float:
    """When it was taken back, in seconds, by the server's clock."""
    return datetime.fromisoformat(revoked["event_at"]).timestamp()


def faults(told: dict[str, Any]) -> list[str]:
    """What was seen that must not be."""
    found = []
    victims = [each["job_type"] for each in told["revoked"]]
    if sorted(victims) != ["middle", "young"]:
        found.append(f"taken back were {victims}, expected young and middle")
    found.extend(
        f"{each['job_type']} did not have the least to lose: {each['needs']}"
        for each in told["revoked"]
        if each["job_type"] != least(each["needs"])
    )
    if told["alive"] != ["old", "tiny"]:
        found.append(f"alive are {told['alive']}, expected old and tiny")
    if told["oom_kills"]:
        found.append(f"the kernel killed {told['oom_kills']} processes for want of memory")
    if not told["server"]:
        found.append("the server has ended")
    times = [instant(each) for each in told["revoked"]]
    if any(later - sooner < EACH_REVOKED_S for sooner, later in pairwise(times)):
        found.append("one was taken back less than 5 s after the one before")
    return found


def main() -> None:
    """Tell it as one line of JSON, or where it could not be shown, why, and what the product printed."""
    with tempfile.TemporaryDirectory(prefix="short-") as folder:
        try:
            print(json.dumps(show(Path(sys.argv[1]), Path(folder))))
        except RuntimeError as error:
            output = Path(folder, "output")
            print(f"{error}\n{output.read_text()[-3000:] if output.exists() else ''}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
