"""QUEUE-6's bound over random histories of the line: jobs and requests, passes and claims, gates and demand.

Service is one entry at a time, as much as is asked, so that only the order is judged. Two flows are siblings
where they share a parent; over any interval in which both have somebody who is eligible, their work by weight
differs by no more than the greatest job of each. That is the bound of each level; QUEUE-6's is their sum.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

import msgspec

from leasehold.core import claim, order
from leasehold.core.line import Line, plain_cost
from leasehold.model.job import Job, Terms
from leasehold.model.lease import Ask
from leasehold.model.line import Flow, Here, Waiter
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code, Reason
from leasehold.testing.waiting import LINE, ask, job, waiter

Entry = Waiter | Job

HOLDERS = ("ann", "bob", "cy/d")
TYPES = ("encode", "index")
LANES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)
SERVED = 60
"""How many are served in one history."""

WAITING_MAX = 40
GATED = Reason(Code.NOT_QUIET, "gated")
SHUT = Reason(Code.ADDON_DISABLED, "gated")


class Pair(msgspec.Struct):
    """Two siblings since both were last eligible, in unit-milliseconds times both weights."""

    gone: int = 0
    lowest: int = 0
    highest: int = 0
    jobs: int = 0


class FairHistory:
    """One history by its seed. `worst` is the greatest share of the bound that was used; above 1 it broke."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        dice = self.dice
        self.settings = msgspec.structs.replace(
            LINE,
            tenant_weights={"lab": dice.randint(1, 5)} if dice.random() < 0.5 else {},
            holder_weights={name: dice.randint(1, 5) for name in HOLDERS if dice.random() < 0.5},
        )
        self.line: Line[Entry] = Line()
        self.flows: dict[str, Flow] = {}
        self.terms = [self._terms() for _ in range(dice.randint(4, 12))]
        self.number = 0
        self.away: set[int] = set()
        self.gated: set[str] = set()
        self.gated_units = 0
        self.demand = set(TYPES)
        self.served: list[tuple[Ask, frozenset[str]]] = []

    @property
    def worst(self) -> float:
        """What the whole history used of the bound."""
        return max((ratio for _, ratio in self.ratios()), default=0.0)

    def run(self) -> FairHistory:
        while len(self.served) < SERVED:
            self._happen()
            count = self.dice.randint(1, 6)
            if self.dice.random() < 0.5:
                self._pass(count)
            else:
                self._claim(count)
        return self

    def _terms(self) -> Terms:
        dice = self.dice
        of = ask(
            dice.randint(1, 90),
            holder=dice.choice(HOLDERS),
            tenant=dice.choice(("default", "lab")),
            priority=dice.choice(LANES),
            expected_ms=dice.randint(1_000, 60_000),
        )
        return Terms(str(dice.random()), msgspec.structs.replace(of, job_type=dice.choice(TYPES)))

    def _happen(self) -> None:
        """Some arrive, some come back; now and then gates and demand change."""
        dice = self.dice
        for _ in range(dice.randint(0, 8) if len(self.line) < WAITING_MAX else 0):
            self.number += 1
            terms, since_ms = dice.choice(self.terms), self.number // 3
            if dice.random() < 0.7:
                self.line.add(job(self.number, terms.ask, since_ms=since_ms, terms=terms))
            else:
                self.line.add(waiter(self.number, terms.ask, since_ms=since_ms))
        if dice.random() < 0.2:
            self.gated = {name for name in HOLDERS if dice.random() < 0.2}
            self.gated_units = dice.choice((0, 0, 0, 2, 3))
            self.demand = {name for name in TYPES if dice.random() < 0.8}
            self.away = {number for number in self.line.entries if dice.random() < 0.2}

    def _gate(self, each: Entry) -> Reason | None:
        if self.gated_units and each.ask.charge.units % self.gated_units == 0:
            return GATED
        return SHUT if each.ask.holder in self.gated else None

    def _here(self, each: Entry) -> Here:
        away = each.kind[0] not in self.demand if isinstance(each, Job) else each.number in self.away
        return Here.AWAY if away else Here.READY

    def _pass(self, count: int) -> None:
        """What the dispatcher does where everything fits."""
        walk = self.line.walk(self.flows, self.settings, 0, plain_cost, self._here)
        taken: list[Entry] = []
        while len(taken) < count and (each := walk.next()) is not None:
            reason = self._gate(each)
            if reason is GATED:
                walk.drop_shape()
            elif reason is not None:
                walk.skip_shape()
            else:
                walk.take()
                taken.append(each)
        self._take(taken, walk.flows(), jobs_only=False)

    def _claim(self, count: int) -> None:
        taken, flows = claim.under_session(
            self.line, self.flows, self.settings, 0, plain_cost, self._suits, self._gate, count
        )
        self._take(taken, flows, jobs_only=True)

    def _suits(self, each: Entry) -> bool:
        return each.kind[0] in self.demand

    def _take(self, taken: list[Entry], flows: list[Flow], *, jobs_only: bool) -> None:
        for each in taken:
            eligible = frozenset(
                key
                for other in self.line.entries.values()
                if (isinstance(other, Job) or not jobs_only) and self._here(other) and not self._gate(other)
                for key in order.flow_keys(other.ask)
            )
            self.line.remove(each.number)
            self.served.append((each.ask, eligible))
        for flow in flows:
            self.flows[flow.key] = flow

    def ratios(self) -> Iterator[tuple[tuple[str, str], float]]:
        """For each two siblings the greatest difference in any interval, as a share of what is allowed.

        A unit-millisecond is allowed for each job beside it, since divisions are rounded.
        """
        greatest: dict[str, int] = {}
        weight: dict[str, int] = {}
        for each, _ in self.served:
            work = _work(each)
            for key, its in zip(order.flow_keys(each), order.weights(each, self.settings), strict=True):
                greatest[key] = max(greatest.get(key, 0), work)
                weight[key] = its
        for one, other in combinations(sorted(weight), 2):
            if _parent(one) == _parent(other):
                bound = greatest[one] * weight[other] + greatest[other] * weight[one]
                yield (one, other), self._ratio(one, other, weight, bound)

    def _ratio(self, one: str, other: str, weight: dict[str, int], bound: int) -> float:
        pair, worst = Pair(), 0.0
        for each, eligible in self.served:
            if one not in eligible or other not in eligible:
                pair = Pair()
                continue
            keys = order.flow_keys(each)
            if one in keys:
                pair.gone += _work(each) * weight[other]
            elif other in keys:
                pair.gone -= _work(each) * weight[one]
            else:
                continue
            pair.jobs += 1
            # Prefix sums: the widest interval lies between their extremes.
            pair.lowest, pair.highest = min(pair.lowest, pair.gone), max(pair.highest, pair.gone)
            allowed = bound + pair.jobs * weight[one] * weight[other]
            worst = max(worst, (pair.highest - pair.lowest) / allowed)
        return worst


def _work(each: Ask) -> int:
    return plain_cost(each.charge) * each.expected_ms


def _parent(key: str) -> tuple[int, str]:
    return key.count("/"), key.rpartition("/")[0]
