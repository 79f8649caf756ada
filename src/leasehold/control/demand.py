"""Who would take which job: held claims, polls of the last minute, the runner (QUEUE-4).

A job starts only where somebody takes it; without demand it stays where it is, uncharged.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

from leasehold.model.job import RUNNER
from leasehold.model.lease import Ask
from leasehold.model.line import Here

POLLERS_MAX = 10_000

LAPSES_MAX = 3


class Wants:
    """What a worker can do: jobs of these types (empty: any) whose every need it has.

    `at_least`: only those that need all of these.
    """

    __slots__ = ("_known", "at_least", "capabilities", "job_types")

    def __init__(
        self, job_types: Collection[str], capabilities: Collection[str], at_least: Collection[str] = ()
    ) -> None:
        self.job_types = frozenset(job_types)
        self.capabilities = frozenset(capabilities)
        self.at_least = frozenset(at_least)
        self._known: dict[tuple[str, tuple[str, ...]], bool] = {}

    def suits(self, ask: Ask) -> bool:
        """Whether it can do a job that asks so."""
        key = (ask.job_type, ask.needs)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 1_000:
                self._known.clear()
            known = self._known[key] = (
                ask.is_job
                and (not self.job_types or ask.job_type in self.job_types)
                and self.capabilities.issuperset(ask.needs)
                and self.at_least.issubset(ask.needs)
            )
        return known


class Taker:
    """A call that is open for jobs, or the runner: `room` is how many more it takes.

    `taken` collects what was decided for it and is not durable yet; `wake` is set when it is. The runner is
    called with each (`on_taken`) instead.
    """

    __slots__ = ("offers", "on_taken", "principal", "room", "taken", "wake", "wants", "worker")

    def __init__(self, principal: str, worker: str, wants: Wants, room: int, *, offers: bool = False) -> None:
        self.principal = principal
        self.worker = worker
        self.wants = wants
        self.room = room
        self.offers = offers
        self.taken: list[Any] = []
        self.on_taken: Callable[[Any], None] | None = None
        self.wake = asyncio.Event()


class Poller:
    """A worker that was here lately, and will come again."""

    __slots__ = ("reserves_until_ms", "seen_ms", "wants")

    def __init__(self, wants: Wants, seen_ms: int, reserves_until_ms: int) -> None:
        self.wants = wants
        self.seen_ms = seen_ms
        self.reserves_until_ms = reserves_until_ms


class Demand:
    """All takers and pollers of one ledger. The taker that was served longest ago comes first."""

    def __init__(self) -> None:
        self.takers: OrderedDict[int, Taker] = OrderedDict()
        self.pollers: OrderedDict[str, Poller] = OrderedDict()
        self._lapses: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._next = 0

    def open(self, taker: Taker) -> int:
        """It takes jobs from now on, until `close`. It has come back: no more room is kept for it."""
        self._next += 1
        poller = self.pollers.get(taker.worker)
        if poller is not None:
            poller.reserves_until_ms = 0
        self.takers[self._next] = taker
        return self._next

    def close(self, ident: int) -> None:
        self.takers.pop(ident, None)

    def polled(self, worker: str, wants: Wants, now_ms: int, reserves_until_ms: int) -> None:
        """A worker asked, got less than it wanted, and was told to come back."""
        self.pollers.pop(worker, None)
        self.pollers[worker] = Poller(wants, now_ms, reserves_until_ms)
        while len(self.pollers) > POLLERS_MAX:
            self.pollers.popitem(last=False)

    def lapsed(self, worker: str, now_ms: int) -> None:
        """It let an offer lapse. After three in a row it is on probation: a minute, then two, … an hour."""
        count = self._lapses.pop(worker, (0, 0))[0] + 1
        rest_ms = 0 if count < LAPSES_MAX else min(3_600_000, 60_000 << min(6, count - LAPSES_MAX))
        self._lapses[worker] = (count, now_ms + rest_ms)
        while len(self._lapses) > POLLERS_MAX:
            self._lapses.pop(next(iter(self._lapses)))

    def took_up(self, worker: str) -> None:
        """It took up what it was offered."""
        self._lapses.pop(worker, None)

    def rests_ms(self, worker: str, now_ms: int) -> int:
        """How long it is not offered anything yet."""
        count, until_ms = self._lapses.get(worker, (0, 0))
        return max(0, until_ms - now_ms) if count >= LAPSES_MAX else 0

    def forget(self, before_ms: int) -> None:
        """Drop the pollers that were last here before this time."""
        while self.pollers:
            worker, poller = next(iter(self.pollers.items()))
            if poller.seen_ms >= before_ms:
                return
            del self.pollers[worker]

    def is_awaited(self, now_ms: int) -> bool:
        """Whether anybody takes jobs now, or room is kept for somebody's return."""
        return any(taker.room > 0 for taker in self.takers.values()) or any(
            poller.reserves_until_ms > now_ms for poller in reversed(self.pollers.values())
        )

    def round(self, now_ms: int) -> Round:
        """What takers and pollers want during one pass of the dispatcher."""
        return Round(self, now_ms)

    def exists(self, ask: Ask) -> bool:
        """Whether anybody is here, or was within the last minute, who does such jobs (else NO_WORKER)."""
        return any(taker.wants.suits(ask) for taker in self.takers.values()) or any(
            poller.wants.suits(ask) for poller in self.pollers.values()
        )


class Round:
    """One pass of the dispatcher: who gets which job, each as many as there is room for.

    A poller keeps room back for one job, as long as it may be expected.
    """

    __slots__ = ("_demand", "_nobody", "_now_ms", "_pollers", "_rooms", "taker_of")

    def __init__(self, demand: Demand, now_ms: int) -> None:
        self._demand = demand
        self._now_ms = now_ms
        self._rooms: dict[int, int] | None = None
        self._pollers: list[Poller] | None = None
        self._nobody: set[tuple[str, tuple[str, ...]]] = set()
        """Kinds that nobody is left for: in one pass there is never more room than before."""
        self.taker_of: dict[int, Taker] = {}

    def here(self, ask: Ask) -> Here:
        """Whether a job that asks so could start, or keeps room for a worker that was told to come back."""
        kind = (ask.job_type, ask.needs)
        if kind in self._nobody:
            return Here.AWAY
        if self._taker(ask) is not None:
            return Here.READY
        if self._poller(ask) is not None:
            return Here.KEEPS
        self._nobody.add(kind)
        return Here.AWAY

    def started(self, number: int, ask: Ask) -> None:
        """The pass has started such a job, or keeps its room back."""
        ident = self._taker(ask)
        if ident is not None:
            assert self._rooms is not None
            self._rooms[ident] -= 1
            self.taker_of[number] = self._demand.takers[ident]
            self._demand.takers.move_to_end(ident)
            return
        poller = self._poller(ask)
        if poller is not None:
            assert self._pollers is not None
            self._pollers.remove(poller)

    def _taker(self, ask: Ask) -> int | None:
        takers = self._demand.takers
        if self._rooms is None:
            self._rooms = {ident: taker.room for ident, taker in takers.items()}
        for ident, taker in takers.items():
            if self._rooms[ident] > 0 and taker.wants.suits(ask):
                return ident
        return None

    def _poller(self, ask: Ask) -> Poller | None:
        if self._pollers is None:
            pollers = self._demand.pollers.values()
            self._pollers = [poller for poller in pollers if poller.reserves_until_ms > self._now_ms]
        return next((poller for poller in self._pollers if poller.wants.suits(ask)), None)


RUNNERS_WANTS = Wants((), (RUNNER,), (RUNNER,))
"""Commands, and nothing else."""
