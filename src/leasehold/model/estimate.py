"""Estimates that were given, and how often they were kept (QUEUE-12): small, made of integers."""

from __future__ import annotations

import msgspec

MILLION = 1_000_000


class Given(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was told of one job soon after it was submitted. It goes when the job starts, or never will.

    `at_wall_ms` is when it was told; the waits are from then on.
    """

    number: int
    at_wall_ms: int
    wait50_ms: int
    wait90_ms: int


class Hour(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Estimates whose jobs started in an hour (since 1970, in UTC), and how many did by their P50 and P90.

    Older than a day it stands for a day.
    """

    hour: int
    scored: int
    kept50: int
    kept90: int


class Hits(msgspec.Struct, frozen=True, gc=False):
    """How well estimates did: `scored` of them in all, those of the last month by hours.

    The factors, in millionths, are what waiting times are multiplied by: at first what a recorded trace
    taught.
    """

    factor50: int = 1_050_000
    factor90: int = 1_250_000
    hours: tuple[Hour, ...] = ()
    scored: int = 0
