"""Run by the installed product's Python: every alert rule through its whole life, on a virtual clock.

Prints a row of JSON for each rule: what became of it at which second, as the service's own answers tell.
"""

from __future__ import annotations

import asyncio
import json

from leasehold.adapters.stores.memory import Disk, MemoryStore
from leasehold.control.alerts.service import AlertService
from leasehold.control.ledger import Ledger
from leasehold.core.alert import push_of
from leasehold.core.state import State
from leasehold.model.alert import Reading, Rule
from leasehold.model.alert_rules import RULES
from leasehold.model.principal import Principal
from leasehold.model.settings import AlertSettings
from leasehold.runtime.ids import RandomIds
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.alert import Acknowledge

WHO = Principal("user:accept", "admin", frozenset({"alert:manage"}))
CHECK_S = 10


class Life:
    """One rule, its server, and what it saw when."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        limit = rule.critical if rule.critical is not None else rule.warning
        assert limit is not None
        self.good = limit + 50 if rule.way == "below" else 0.0
        self.bad = limit / 2 if rule.way == "below" else limit + (0 if rule.way == "from" else 1)
        self.value = self.bad
        self.clock = ManualClock()
        self.began_ms = self.clock.now_ms()
        self.ledger = Ledger(MemoryStore(Disk()), self.clock, RandomIds(), lambda: State("n"))
        self.alerts = AlertService(
            self.ledger, AlertSettings, {rule.name: lambda: Reading(self.value, "as it is now")}
        )
        self.pushed: list[int] = []
        self.ledger.on_committed = self.told
        self.seen: dict[str, int | str] = {"rule": rule.name}

    @property
    def second(self) -> int:
        return (self.clock.now_ms() - self.began_ms) // 1000

    def told(self, events: object) -> None:
        """Note what is pushed, and when."""
        self.pushed += [self.second for event in events if push_of(event) is not None]  # type: ignore[attr-defined]

    async def state(self) -> str:
        return (await self.alerts.alerts()).alerts[0].state

    async def check(self) -> None:
        await self.clock.advance(CHECK_S * 1000)
        await settled()

    async def until(self, state: str, checks_max: int) -> int:
        """After how many seconds it was so."""
        began = self.second
        for _ in range(checks_max):
            await self.check()
            if await self.state() == state:
                return self.second - began
        raise AssertionError(f"{self.rule.name} was never {state}")

    async def live(self) -> None:
        await self.ledger.start()
        await self.alerts.start()
        long = max(self.rule.for_ms, self.rule.cooldown_ms) // 1000 // CHECK_S + 5
        self.seen["first_s"] = await self.until("active", long)
        for _ in range(20):
            await self.check()
        self.seen["told_while_it_stood"] = len(self.pushed)
        await self.alerts.acknowledge(WHO, self.rule.name, Acknowledge("seen"))
        self.seen["acknowledged"] = await self.state()
        self.value = self.good
        self.seen["clears_after_s"] = await self.until("cleared", 5)
        self.value = self.bad
        self.seen["again_after_s"] = await self.until("active", long)
        self.seen["told_in_all"] = len(self.pushed)
        self.seen["severity"] = (await self.alerts.alerts()).alerts[0].severity or ""
        self.seen["for_s"], self.seen["cooldown_s"] = (
            self.rule.for_ms // 1000,
            self.rule.cooldown_ms // 1000,
        )
        await self.alerts.stop()
        await self.ledger.stop()


async def main() -> None:
    for rule in RULES:
        life = Life(rule)
        await life.live()
        print(json.dumps(life.seen), flush=True)


asyncio.run(main())
