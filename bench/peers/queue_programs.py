"""Drive the programs of `queues/` from our side: whole cycles, single submits, starts on an idle queue."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.peers import environment, postgres, redis
from bench.process import Program
from bench.setup import Setup

PINNED = "requirements-queues.lock"
PROJECT = Path(__file__).resolve().parents[2]
PLAY_TIMEOUT_S = 400.0
Server = Callable[[Setup], AbstractContextManager[tuple[Program | None, str]]]


@dataclass(frozen=True)
class Peer:
    """One queue at its best setting: at most `jobs` a round, and the `settings` that must be read back."""

    name: str
    server: Server
    settings: dict[str, str]
    jobs: int
    is_bulk: bool = False
    ways: tuple[bool, ...] = (False,)
    """Whether the worker runs while jobs still come; where both are tried, the faster of a round counts."""


class Cycle(NamedTuple):
    """Of one round, in jobs per second: all of it, its submits, and its runs."""

    per_s: float
    submit_per_s: float
    drain_per_s: float


class NotDurable(Exception):
    """A setting or the count of flushes says that the peer promises less than we do."""


@contextmanager
def _folder(setup: Setup) -> Iterator[tuple[None, str]]:
    yield None, str(setup.folder("sqlite"))


SQLITE = {"synchronous": "2"}
POSTGRES = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
REDIS = {"appendonly": "yes", "appendfsync": "always"}
PEERS = (
    Peer("pgqueuer", postgres.running, POSTGRES | {"unlogged_tables": "0"}, 30_000, True, (False, True)),
    Peer("huey", _folder, SQLITE, 8_000, ways=(False, True)),
    Peer("persist_queue", _folder, SQLITE, 6_000),
    Peer("dramatiq", redis.running, REDIS, 5_000, ways=(False, True)),
    Peer("procrastinate", postgres.running, POSTGRES, 2_000, is_bulk=True),
    Peer("rq", redis.running, REDIS, 1_500, is_bulk=True),
)


class Role:
    """One program of a peer, ready to begin."""

    def __init__(self, driver: Driver, role: str, *options: str) -> None:
        self._popen = subprocess.Popen(
            [*driver.argv(role), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=driver.env,
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline().strip() != "READY":
            raise RuntimeError(f"{driver.peer.name} {role}: {self._popen.communicate()[1][-2_000:]}")

    def begin(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()

    def answer(self) -> Any:
        """Wait for its line of JSON."""
        try:
            output, errors = self._popen.communicate(timeout=PLAY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            output, errors = self._popen.communicate()
        if self._popen.returncode:
            raise RuntimeError(f"{self._popen.args} ended with {self._popen.returncode}: {errors[-2_000:]}")
        return json.loads(output)


class Driver:
    """One peer with its server running and its tables made."""

    def __init__(self, peer: Peer, where: str, setup: Setup) -> None:
        self.peer = peer
        self.env = setup.environment(PYTHONDONTWRITEBYTECODE="1")
        self._python = str(environment.python(setup.cache, PINNED))
        self._where = where
        self.prefix: tuple[str, ...] = ()
        """Goes before the command line of its programs."""
        self._next = 0

    def argv(self, role: str) -> list[str]:
        module = f"bench.peers.queues.{self.peer.name}"
        return [*self.prefix, self._python, "-m", module, role, "--where", self._where]

    def prepare(self) -> dict[str, str]:
        """Make its tables and check what it says about durability; NotDurable when that is too little."""
        done = subprocess.run(
            self.argv("prepare"), capture_output=True, text=True, cwd=PROJECT, env=self.env, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{self.peer.name} prepare: {done.stderr[-2_000:]}")
        settings: dict[str, str] = json.loads(done.stdout)
        for name, wanted in self.peer.settings.items():
            if settings.get(name) != wanted:
                raise NotDurable(f"{self.peer.name}: {name} is {settings.get(name)}, not {wanted}")
        return settings

    def best_cycle(self, jobs: int) -> Cycle:
        """The faster of the ways that it is driven."""
        return max(self.cycle(jobs, overlaps=overlaps) for overlaps in self.peer.ways)

    def cycle(self, jobs: int, *, overlaps: bool) -> Cycle:
        """Submit `jobs`, run them, each exactly once: from the first submit to the last durable end."""
        worker = Role(self, "work", "--count", str(jobs), *([] if overlaps else ["--drain"]))
        submitter = Role(self, "submit", *self._span(jobs), *(["--bulk"] if self.peer.is_bulk else []))
        if overlaps:
            worker.begin()
        submitter.begin()
        submitted = submitter.answer()
        if not overlaps:
            worker.begin()
        worked = worker.answer()
        self._check(worked, jobs)
        began_at, handed_over_at = submitted["began_at"], submitted["ended_at"]
        drain_began_at = began_at if overlaps else handed_over_at
        return Cycle(
            jobs / (worked["ended_at"] - began_at),
            jobs / (handed_over_at - began_at),
            jobs / (worked["ended_at"] - drain_began_at),
        )

    def singly(self, jobs: int, clients: int) -> float:
        """Submits per second, one by one, of `clients` callers; the jobs are then run, and not timed."""
        worker = Role(self, "work", "--count", str(jobs), "--drain")
        submitter = Role(self, "submit", *self._span(jobs), "--clients", str(clients))
        submitter.begin()
        submitted = submitter.answer()
        worker.begin()
        self._check(worker.answer(), jobs)
        return jobs / (submitted["ended_at"] - submitted["began_at"])

    def idle_starts_ms(self, jobs: int) -> list[float]:
        """From just before the submit to the start of the job, one at a time, on an idle queue."""
        worker = Role(self, "work", "--count", str(jobs))
        beat = Role(self, "beat", *self._span(jobs))
        worker.begin()
        beat.begin()
        submitted = dict(beat.answer()["submitted"])
        worked = worker.answer()
        self._check(worked, jobs)
        return [(at - submitted[number]) / 1e6 for number, at in worked["started"]]

    def _span(self, jobs: int) -> tuple[str, ...]:
        first, self._next = self._next, self._next + jobs
        return ("--first", str(first), "--count", str(jobs))

    def _check(self, worked: dict[str, Any], jobs: int) -> None:
        if worked["runs"] != jobs or worked["distinct"] != jobs:
            raise RuntimeError(
                f"{self.peer.name}: {jobs} jobs had {worked['runs']} runs of {worked['distinct']}"
            )


@contextmanager
def running(peer: Peer, setup: Setup) -> Iterator[Driver]:
    """Start the server it needs, and make its tables; PeerUnavailable where it can't be had."""
    with peer.server(setup) as (_, where):
        driver = Driver(peer, where, setup)
        driver.prepare()
        yield driver
