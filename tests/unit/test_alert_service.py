"""The service of alerts on a virtual clock: over restarts, kills, full disks, words of people (OPS-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from leasehold.adapters.stores.memory import Disk, Fate, Faults, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control import codec
from leasehold.control.alerts.service import AlertService
from leasehold.control.ledger import Ledger
from leasehold.core.alert import push_of
from leasehold.core.state import ALERT_RULES, State
from leasehold.model.alert import Reading
from leasehold.model.alert_rules import RULES
from leasehold.model.errors import Conflict, Invalid, NotFound, StoreUnavailable
from leasehold.model.event import Event
from leasehold.model.principal import Principal
from leasehold.model.settings import AlertSettings
from leasehold.ports.store import Batch
from leasehold.runtime.ids import RandomIds
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.alert import Acknowledge, AlertIn, AlertOut, ThresholdIn, ThresholdsIn

ANN = Principal("user:ann", "admin", frozenset({"alert:manage"}))
CHECK_MS = 10_000

pytestmark = pytest.mark.requirement("OPS-13")


class FullDisk(Faults):
    """Fails commits while it is told to."""

    full = False

    def fate(self, batch: Batch) -> Fate:
        return Fate.FAILED if self.full else Fate.COMMITTED


class Store(MemoryStore):
    """Commits when it is let."""

    def __init__(self, disk: Disk, faults: Faults) -> None:
        super().__init__(disk, faults=faults)
        self.answers = asyncio.Event()
        self.answers.set()

    async def commit(self, batch: Batch) -> None:
        await self.answers.wait()
        await super().commit(batch)


class Server:
    """Ledger and alerts; `values` are what the rules see."""

    def __init__(self, disk: Disk, clock: ManualClock, values: dict[str, float | None]) -> None:
        self.clock, self.values, self.faults = clock, values, FullDisk()
        self.store = Store(disk, self.faults)
        self.ledger = Ledger(self.store, clock, RandomIds(), lambda: State("node-1"))
        self.archive = MemoryArchive(disk)
        measures = {name: (lambda name=name: Reading(self.values[name], f"{name} is bad")) for name in values}
        self.alerts = AlertService(self.ledger, AlertSettings, measures)
        self.pushed: list[str] = []
        self.ledger.on_committed = self._told
        self.alerts.on_untold = self._told

    def _told(self, events: Any) -> None:
        self.pushed += [f"{push.rule} {push.severity}" for event in events if (push := push_of(event))]

    async def checks(self, count: int = 1) -> None:
        """Time passes, with as many looks at everything."""
        for _ in range(count):
            await self.clock.advance(CHECK_MS)
            await settled()

    async def one(self, name: str = "disk") -> AlertOut:
        return next(one for one in (await self.alerts.alerts()).alerts if one.rule == name)

    async def events(self) -> list[Event]:
        await self.ledger.read(lambda state: None)
        records = await self.archive.events(after=0, limit=1000)
        return [event for record in records for event in codec.decode_events(record)]


class Machine:
    """What outlives a server."""

    def __init__(self, **values: float | None) -> None:
        self.clock = ManualClock()
        self.disk = Disk(self.clock.wall_ms)
        self.values = values or {"disk": 50.0}

    @asynccontextmanager
    async def server(self, *, killed: bool = False, past_delay: bool = True) -> AsyncIterator[Server]:
        here = Server(self.disk, self.clock, self.values)
        await here.ledger.start()
        await here.alerts.start()
        if past_delay:
            await here.checks(3)
        try:
            yield here
        finally:
            await here.alerts.stop()
            if killed:
                assert here.ledger._writer is not None
                here.ledger._writer.cancel()
                await here.ledger.store.close()
            else:
                await here.ledger.stop()


@pytest.mark.requirement("OPS-26")
@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
async def test_each_rule_lives_its_whole_life(rule: Any) -> None:
    """Quiet within the start delay, fires at its threshold, is seen, clears after three, and keeps quiet."""
    limit = rule.critical if rule.critical is not None else rule.warning
    warns = rule.critical is None
    good = {"below": limit + 50, "above": 0.0, "from": 0.0}[rule.way]
    bad = {"below": limit / 2, "above": limit + 1, "from": limit}[rule.way]
    machine = Machine(**{rule.name: bad})
    async with machine.server(past_delay=False) as server:
        await server.checks(2)
        assert (await server.one(rule.name)).state == "inactive"
        machine.values[rule.name] = good
        await server.checks(3)
        assert (await server.one(rule.name)).state == "inactive"
        machine.values[rule.name] = limit if rule.way != "from" else limit - 0.5
        await server.checks(max(1, rule.for_ms // CHECK_MS + 1))
        at_limit = await server.one(rule.name)
        assert at_limit.severity != ("warning" if warns else "critical"), "the limit itself is still fine"
        machine.values[rule.name] = good
        await server.checks(3)
        machine.values[rule.name] = bad
        await server.checks(rule.for_ms // CHECK_MS)
        assert rule.for_ms == 0 or (await server.one(rule.name)).state == "inactive"
        await server.checks(1)
        fired = await server.one(rule.name)
        assert (fired.state, fired.severity) == ("active", "warning" if warns else "critical")
        assert fired.sentence == f"{rule.name} is bad"
        await server.checks(3)
        seen = await server.alerts.acknowledge(ANN, rule.name, Acknowledge("on it"))
        assert (seen.state, seen.acknowledged_by, seen.note) == ("acknowledged", "user:ann", "on it")
        machine.values[rule.name] = good
        await server.checks(2)
        assert (await server.one(rule.name)).state == "acknowledged"
        await server.checks(1)
        assert (await server.one(rule.name)).state == "cleared"
        told = len(server.pushed)
        machine.values[rule.name] = bad
        await server.checks(1 + rule.for_ms // CHECK_MS)
        again = await server.one(rule.name)
        assert again.state == ("cleared" if warns and rule.cooldown_ms > rule.for_ms else "active")
        if again.state == "cleared":
            assert "keeps quiet for" in again.waits
            await server.checks(rule.cooldown_ms // CHECK_MS)
        assert (await server.one(rule.name)).state == "active"
        assert len(server.pushed) == told + 1


async def test_what_stands_and_what_people_said_survives_kill_9() -> None:
    """State, acknowledgement, thresholds, mute and cooldown are as they were; nothing is told twice."""
    machine = Machine(disk=15.0, errors=0.0)
    async with machine.server(killed=True) as server:
        thresholds = ThresholdsIn({"disk": ThresholdIn(warning=20.0)})
        shown = await server.alerts.set_thresholds(ANN, thresholds)
        assert (shown.thresholds["disk"].warning, shown.thresholds["disk"].built_in.warning) == (20, 10)
        await server.checks(1)
        assert (await server.one()).state == "active"
        await server.alerts.acknowledge(ANN, "disk", Acknowledge())
        await server.alerts.set_rule(ANN, "errors", AlertIn(mute_for_sec=3_600))
    machine.clock._wall_offset_ms -= 86_400_000  # The clock of the wall is set back meanwhile.
    async with machine.server(killed=True) as server:
        await server.checks(5)
        one = await server.one()
        assert (one.state, one.warning, one.acknowledged_by) == ("acknowledged", 20, "user:ann")
        assert (await server.one("errors")).muted_until is not None
        assert server.pushed == []
        machine.values["disk"] = 50.0
        await server.checks(3)
        machine.values["disk"] = 15.0
    async with machine.server(past_delay=False) as server:
        await server.checks(6)
        assert (await server.one()).state == "cleared", "the cooldown of an hour is not over"
        await server.checks(360)
        assert (await server.one()).state == "active"


async def test_a_store_that_takes_nothing_silences_no_alert() -> None:
    """It stands, is told once, can't be acknowledged, and is written with its event when that is possible."""
    machine = Machine(disk=50.0, store_trouble=0.0)
    async with machine.server() as server:
        server.faults.full = True
        machine.values["store_trouble"] = 1.0
        await server.checks(3)
        found = await server.alerts.alerts()
        assert (found.alerts[0].rule, found.alerts[0].state, found.worst) == (
            "store_trouble",
            "active",
            "critical",
        )
        assert server.pushed == ["store_trouble critical"]
        with pytest.raises(StoreUnavailable, match="takes no writes"):
            await server.alerts.acknowledge(ANN, "store_trouble", Acknowledge())
        assert await server.events() == []
        server.faults.full = False
        await server.checks(2)
        assert [(event.kind, event.details.get("late")) for event in await server.events()] == [
            ("AlertFired", True)
        ]
        assert server.pushed == ["store_trouble critical"], "told when it happened, and not again"
        assert server.ledger.state.alerts["store_trouble"].stands
        machine.values["store_trouble"] = 0.0
        await server.checks(3)
        assert (await server.one("store_trouble")).state == "cleared"


@pytest.mark.requirement("OPS-17")
async def test_a_store_that_hangs_holds_no_check_up() -> None:
    """The checks go on, what fires is told at once, and all is written once when the store answers again."""
    machine = Machine(disk=50.0, store_trouble=0.0)
    async with machine.server() as server:
        server.store.answers.clear()
        machine.values["disk"] = 5.0
        await server.checks(3)
        assert server.pushed == ["disk warning"]
        checked = server.alerts.checks
        machine.values["store_trouble"] = 1.0
        await server.checks(3)
        assert server.alerts.checks > checked
        assert server.pushed == ["disk warning", "store_trouble critical"]
        with pytest.raises(StoreUnavailable):
            await server.alerts.acknowledge(ANN, "disk", Acknowledge())
        server.store.answers.set()
        machine.values["store_trouble"] = 0.0
        await server.checks(5)
        assert (await server.one("store_trouble")).state == "cleared"
        told = [(event.kind, event.subject) for event in await server.events()]
        assert told.count(("AlertFired", "disk")) == 1
        assert told.count(("AlertFired", "store_trouble")) == 1
        seen = await server.alerts.acknowledge(ANN, "disk", Acknowledge())
        assert seen.state == "acknowledged"


async def test_a_rule_that_is_switched_off_is_not_looked_at() -> None:
    """Off at once and for good; on again it fires anew."""
    machine = Machine(disk=5.0)
    async with machine.server() as server:
        await server.checks(1)
        off = await server.alerts.set_rule(ANN, "disk", AlertIn(enabled=False))
        assert (off.state, off.enabled, off.waits) == ("inactive", False, "it is switched off")
        await server.checks(5)
        assert (await server.one()).state == "inactive"
        await server.alerts.set_rule(ANN, "disk", AlertIn(enabled=True))
        await server.checks(1)
        assert (await server.one()).state == "active"
        kinds = [event.kind for event in await server.events()]
        assert kinds == [
            "AlertFired",
            "AlertRuleChanged",
            "AlertDropped",
            "AlertRuleChanged",
            "AlertFired",
        ]


async def test_a_mute_ends_by_itself_or_by_word() -> None:
    """Muted it is shown and not told; null ends the mute, and what stands unseen is told then."""
    machine = Machine(disk=50.0)
    async with machine.server() as server:
        muted = await server.alerts.set_rule(ANN, "disk", AlertIn(mute_for_sec=600))
        assert muted.muted_until is not None
        machine.values["disk"] = 5.0
        await server.checks(2)
        assert ((await server.one()).state, server.pushed) == ("active", [])
        assert (await server.alerts.set_rule(ANN, "disk", AlertIn(mute_until=None))).muted_until is None
        await server.checks(1)
        assert server.pushed == ["disk warning"]


async def test_what_makes_no_sense_is_refused() -> None:
    """An unknown rule, a moment that has passed, two moments at once, nothing that stands."""
    machine = Machine(disk=50.0)
    async with machine.server() as server:
        with pytest.raises(NotFound, match="there are disk"):
            await server.alerts.acknowledge(ANN, "disc", Acknowledge())
        with pytest.raises(Conflict, match="nothing to acknowledge"):
            await server.alerts.acknowledge(ANN, "disk", Acknowledge())
        with pytest.raises(Invalid, match="there are disk"):
            await server.alerts.set_thresholds(ANN, ThresholdsIn({"errors": ThresholdIn(warning=5.0)}))
        with pytest.raises(Invalid, match="mute_until or mute_for_sec"):
            await server.alerts.set_rule(ANN, "disk", AlertIn(mute_until=None, mute_for_sec=5))


async def test_a_measure_that_breaks_hides_no_other() -> None:
    """Its rule keeps its state and says why; the others are looked at."""
    machine = Machine(disk=50.0, errors=50.0)
    async with machine.server() as server:

        def broken() -> Reading:
            raise OSError("no such file")

        server.alerts.measure("disk", broken)
        await server.checks(1)
        assert (await server.one("errors")).state == "active"
        one = await server.one("disk")
        assert (one.state, one.value, one.now) == (
            "inactive",
            None,
            "it could not be looked at: no such file",
        )


async def test_an_unreadable_setting_falls_back_to_its_default_with_an_alert() -> None:
    """The rule goes by what is built in, and the records that can't be read are told (OPS-15)."""
    machine = Machine(disk=15.0, records=0.0)
    async with machine.server() as server:
        await server.alerts.set_thresholds(ANN, ThresholdsIn({"disk": ThresholdIn(warning=20.0)}))
    machine.disk.live[f"/{ALERT_RULES}/disk"] = b"\xc1 no record"
    async with machine.server() as server:
        machine.values["records"] = float(len(server.ledger.state.quarantined))
        await server.checks(1)
        assert ((await server.one()).state, (await server.one()).warning) == ("inactive", 10)
        assert (await server.one("records")).state == "active"


def test_a_record_of_an_older_version_reads() -> None:
    """A record without the newer fields has their defaults."""
    known = codec.decode(ALERT_RULES, "disk", codec.encode(ALERT_RULES, {"rule": "disk", "warning": 4.0}))
    assert replace(known, warning=None).enabled
