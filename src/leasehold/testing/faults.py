"""What goes wrong in a simulated run, drawn from one seed and told in figures (PROVE-3)."""

from __future__ import annotations

import random
from collections import Counter
from enum import StrEnum

import msgspec

from leasehold.adapters.stores.memory import Fate, Faults
from leasehold.ports.store import Batch


class Kind(StrEnum):
    """Every kind of fault. How often each was met is printed after a run."""

    SLOW_DISK = "slow disk"
    DISK_FULL = "disk full"
    UNKNOWN_OUTCOME = "unknown outcome"
    UNREADABLE = "unreadable store"
    CRASH = "crash"
    CRASH_BEFORE_COMMIT = "crash before a commit"
    CRASH_AFTER_COMMIT = "crash after a commit"
    STALL = "server stands still"
    SUSPEND = "machine suspended"
    WALL_JUMP = "wall clock set"
    PARTITION = "caller cut off"
    RESTART = "stopped and started"
    CALLER_KILLED = "caller killed at its grant"
    WRAPPER_KILLED = "wrapper killed, child lives on"
    MESSAGE_LOST = "message lost"
    MESSAGE_LATE = "message late"
    MESSAGE_TWICE = "message twice"
    LOAD = "foreign load"
    NO_MEASUREMENTS = "measurements missing"


class Fault(msgspec.Struct, frozen=True):
    """One fault of the plan: when it begins (virtual ms) and how long it lasts, where it lasts."""

    at_ms: int
    kind: Kind
    for_ms: int = 0


PLANNED: dict[Kind, tuple[int, int, int]] = {
    Kind.SLOW_DISK: (3, 2_000, 25_000),
    Kind.DISK_FULL: (3, 1_000, 60_000),
    Kind.UNKNOWN_OUTCOME: (3, 500, 5_000),
    Kind.UNREADABLE: (2, 1_000, 20_000),
    Kind.CRASH: (2, 0, 20_000),
    Kind.CRASH_BEFORE_COMMIT: (2, 0, 5_000),
    Kind.CRASH_AFTER_COMMIT: (2, 0, 5_000),
    Kind.STALL: (3, 1_000, 150_000),
    Kind.SUSPEND: (2, 1_000, 600_000),
    Kind.WALL_JUMP: (3, 0, 0),
    Kind.PARTITION: (2, 5_000, 60_000),
    Kind.RESTART: (1, 0, 3_000),
    Kind.NO_MEASUREMENTS: (1, 10_000, 60_000),
}
"""Kind -> weight, shortest and longest time (ms). For a crash: how long until the next start."""


def plan(chance: random.Random, span_ms: int, count: int) -> list[Fault]:
    """`count` faults over a span, by weight."""
    kinds = list(PLANNED)
    weights = [PLANNED[kind][0] for kind in kinds]
    faults = []
    for _ in range(count):
        kind = chance.choices(kinds, weights)[0]
        _, least, most = PLANNED[kind]
        faults.append(Fault(chance.randrange(span_ms), kind, chance.randint(least, most)))
    return sorted(faults, key=lambda fault: (fault.at_ms, fault.kind))


class DiskFaults(Faults):
    """The store's faults of the moment. It outlives the server, as a disk does."""

    def __init__(self, chance: random.Random, met: Counter[Kind]) -> None:
        self._chance = chance
        self._met = met
        self.slow_ms = 0
        self.full = False
        self.unknown_pct = 0
        self.cannot_be_read = False

    def calm(self) -> None:
        """From now on nothing goes wrong with the disk."""
        self.slow_ms, self.full, self.unknown_pct, self.cannot_be_read = 0, False, 0, False

    def before_ms(self, batch: Batch) -> int:
        if self.slow_ms:
            self._met[Kind.SLOW_DISK] += 1
            return self._chance.randint(1, self.slow_ms)
        return self._chance.choice((0, 1, 1, 2, 5))

    def after_ms(self, batch: Batch) -> int:
        return self._chance.choice((0, 0, 1, 3))

    def fate(self, batch: Batch) -> Fate:
        if self.full:
            self._met[Kind.DISK_FULL] += 1
            return Fate.FAILED
        if self.unknown_pct and self._chance.randrange(100) < self.unknown_pct:
            self._met[Kind.UNKNOWN_OUTCOME] += 1
            return self._chance.choice((Fate.UNKNOWN_COMMITTED, Fate.UNKNOWN_LOST))
        return Fate.COMMITTED

    def unreadable(self) -> str:
        if self.cannot_be_read:
            self._met[Kind.UNREADABLE] += 1
            return "the disk does not answer"
        return ""
