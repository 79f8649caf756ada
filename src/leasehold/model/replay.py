"""What a replay is fed: jobs as they came, and how the machine was meanwhile (QUEUE-18).

Times are milliseconds from the history's own zero. They are no clock's: a trace of 1993 and the archive of
last week are the same to the replay.
"""

from __future__ import annotations

import msgspec

from leasehold.model.charge import Totals
from leasehold.model.lease import Ask
from leasehold.model.node import State


class Past(msgspec.Struct, frozen=True, gc=False):
    """One job of a history: what it asked, when it came, how long it really ran.

    `ask.bound_ms` and `ask.expected_ms` are what the scheduler was told, 0 and the default where it was told
    nothing. `deadline_ms` 0: none; who has not started by then never does. `started_ms` is when it really
    started, None where the history does not tell. From `anyway_ms` on, if not 0, it waits for no quiet.
    """

    number: int
    at_ms: int
    ask: Ask
    runs_ms: int
    deadline_ms: int = 0
    started_ms: int | None = None
    anyway_ms: int = 0


class Weather(msgspec.Struct, frozen=True, gc=False):
    """How the machine was for others from `at_ms` on, until the next one."""

    at_ms: int
    state: State
    score: int | None


class History(msgspec.Struct, frozen=True):
    """Jobs by their time, on one node.

    `weather` is empty where nothing was measured: the machine is then taken to be quiet all the time.
    `slots` are the sizes of semaphores. `left_out` counts jobs that the source names and that can't be
    replayed, by the reason. `source` says where it is from, for people.
    """

    source: str
    jobs: tuple[Past, ...]
    totals: Totals
    weather: tuple[Weather, ...] = ()
    slots: dict[str, int] = {}
    left_out: dict[str, int] = {}
    notes: tuple[str, ...] = ()
