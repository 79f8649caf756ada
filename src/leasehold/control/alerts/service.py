"""The service of alerts: looks at every rule again and again, and does what people say of them (OPS-13).

What a check decides is committed through the ledger with its events. Where no store takes it, it counts all
the same: it stands in memory, is told at once, and is written when that is possible again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import msgspec
import structlog

from leasehold.control.alerts import views
from leasehold.control.alerts.measures import Measure
from leasehold.control.alerts.writing import Writing
from leasehold.control.ledger import Ledger
from leasehold.core import alert as decisions
from leasehold.core.alert_check import Memory, Step, check, remembered
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.alert import UNKNOWN, Alert, Reading, Rule
from leasehold.model.alert_rules import BY_NAME
from leasehold.model.errors import Invalid, NotFound, StoreUnavailable
from leasehold.model.event import Event
from leasehold.model.principal import Principal
from leasehold.model.settings import AlertSettings
from leasehold.wire import alert as wire

log = structlog.get_logger(__name__)

MUTE_MS_MAX = 366 * 86_400_000


class AlertService:
    """One per server. `measures` has a function for each rule whose part exists; others are no rules here.

    `before` is awaited before each check, for what takes longer to look at. `on_untold` gets the events that
    no store takes: who notifies people hears of them at once, and of the same again, marked `late`, when they
    are committed.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], AlertSettings],
        measures: Mapping[str, Measure],
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._settings = settings
        self._measures = dict(measures)
        self._before = before
        self._memory: dict[str, Memory] = {}
        self._readings: dict[str, Reading] = {}
        self._broken: set[str] = set()
        self._writing = Writing(ledger)
        self._writing.on_untold = self._untold
        self._from_ms = self._clock.now_ms() + settings().start_delay_ms
        self._checking = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self.checks = 0
        self.checked_wall_ms = 0
        self.on_untold: Callable[[Sequence[Event]], None] = lambda events: None
        self.on_shown: Callable[[], None] = lambda: None
        """Called when what stands has changed without a commit."""

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules that are measured here, in the order in which people see them."""
        return {name: rule for name, rule in BY_NAME.items() if name in self._measures}

    def measure(self, rule: str, measure: Measure) -> None:
        """Look at one more rule: its part exists. Raises KeyError for a rule that is not built in."""
        self._measures[BY_NAME[rule].name] = measure

    # -- life

    async def start(self) -> None:
        """Check from now on; after a start nothing fires for the start delay."""
        await self._look()
        self._from_ms = self._clock.now_ms() + self._settings().start_delay_ms
        self._loop = asyncio.create_task(self._check_for_ever(), name="alerts")

    async def stop(self) -> None:
        """Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def _check_for_ever(self) -> None:
        while True:
            await self._clock.sleep(self._settings().check_ms)
            try:
                await self.check()
            except Exception:  # Alerts have to outlive whatever goes wrong while they look.
                log.exception("alerts")

    # -- one check

    async def check(self) -> None:
        """Look at everything, and commit what follows. Nothing follows within the start delay."""
        async with self._checking:
            await self._look()
            if self._clock.now_ms() < self._from_ms:
                return
            await self._commit(self._steps(self._ledger.state))

    async def _look(self) -> None:
        if self._before is not None:
            await self._before()
        self._readings = {name: self._read(name) for name in self.rules}
        self.checks += 1
        self.checked_wall_ms = self._clock.wall_ms()

    def _read(self, name: str) -> Reading:
        try:
            reading = self._measures[name]()
            self._broken.discard(name)
            return reading
        except Exception as error:  # One broken measure must not hide the others.
            if name not in self._broken:
                log.exception("measure", rule=name)
            self._broken.add(name)
            return msgspec.structs.replace(UNKNOWN, sentence=f"it could not be looked at: {error}")

    def _steps(self, state: State) -> list[Step]:
        """What has changed, as far as rules are on."""
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        changed = []
        for name, rule in self.rules.items():
            said, alert = state.alert_rules.get(name), self.alert(state, name)
            if said is not None and not said.enabled:
                self._memory.pop(name, None)
                continue
            memory = self._memory.get(name) or remembered(alert, now_ms, wall_ms)
            step = check(rule, said, alert, memory, self._readings[name], now_ms, wall_ms)
            self._memory[name] = step.memory
            if step.alert is not alert:
                changed.append(step)
        return changed

    def alert(self, state: State, name: str) -> Alert:
        """Where a rule stands, written or not."""
        return self._writing.late.get(name) or state.alerts.get(name) or Alert(name)

    def levels(self) -> list[tuple[str, int]]:
        """How bad it is, by rule: 0 for what does not stand, 1 for a warning, 2 for critical."""
        state = self._ledger.state
        alerts = [(name, self.alert(state, name)) for name in self.rules]
        return [(name, one.severity.rank if one.stands and one.severity else 0) for name, one in alerts]

    @property
    def late(self) -> Mapping[str, Alert]:
        """Those that no store has taken yet."""
        return self._writing.late

    async def _commit(self, steps: Sequence[Step]) -> None:
        events = [event for step in steps for event in step.events]
        for event in events:
            log.info("alert", rule=event.subject, kind=event.kind, **event.details)
        await self._writing.write({step.alert.rule: step.alert for step in steps}, events)

    def _untold(self, events: Sequence[Event]) -> None:
        self.on_untold(events)
        self.on_shown()

    # -- looking

    async def alerts(self) -> wire.Alerts:
        """All rules and where each stands, what stands first."""
        return await self._ledger.read(self._shown)

    def _shown(self, state: State) -> wire.Alerts:
        shown = [self._one(state, name) for name in self.rules]
        shown.sort(key=views.worst_first)
        stand = [one for one in shown if one.state in views.STANDING]
        return wire.Alerts(
            alerts=shown,
            active=sum(one.state == "active" for one in stand),
            acknowledged=sum(one.state == "acknowledged" for one in stand),
            worst=views.worst(stand),
            checked_at=views.instant(self.checked_wall_ms),
            check_sec=self._settings().check_ms / 1000,
        )

    def _one(self, state: State, name: str) -> wire.AlertOut:
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        said = state.alert_rules.get(name)
        return views.alert(
            self.rules[name],
            said,
            self.alert(state, name),
            self._readings.get(name, UNKNOWN),
            views.waits(
                self.rules[name],
                said,
                self.alert(state, name),
                self._memory.get(name),
                now_ms,
                starts_in_ms=self._from_ms - now_ms,
            ),
            wall_ms,
        )

    async def thresholds(self) -> wire.Thresholds:
        """What each rule fires at, what is built in, and what is allowed."""
        return await self._ledger.read(
            lambda state: wire.Thresholds(
                {
                    name: views.threshold(rule, state.alert_rules.get(name))
                    for name, rule in self.rules.items()
                }
            )
        )

    # -- saying

    async def acknowledge(self, principal: Principal, name: str, body: wire.Acknowledge) -> wire.AlertOut:
        """Somebody has seen it. Raises NotFound, Conflict where it does not stand."""
        self._known(name)
        await self._written(name)

        def decide(state: State, stamp: Stamp) -> Outcome:
            alert = state.alerts.get(name) or Alert(name)
            return decisions.acknowledge(alert, stamp, principal.name, body.note)

        await self._ledger.execute(decide)
        return await self._settled(name)

    async def set_rule(self, principal: Principal, name: str, body: wire.AlertIn) -> wire.AlertOut:
        """Switch it on or off, mute it or take that back. Raises NotFound, Invalid."""
        self._known(name)
        enabled = None if body.enabled is msgspec.UNSET else body.enabled
        until_ms = self._mute_until(body)
        await self._written(name)

        def decide(state: State, stamp: Stamp) -> Outcome:
            return decisions.set_rule(
                state, name, stamp, principal.name, enabled=enabled, mute_until_wall_ms=until_ms
            )

        await self._ledger.execute(decide)
        if enabled is False:
            self._writing.late.pop(name, None)
            self._memory.pop(name, None)
        return await self._settled(name)

    async def set_thresholds(self, principal: Principal, body: wire.ThresholdsIn) -> wire.Thresholds:
        """Change what is named. It counts from the next check on. Raises Invalid."""
        rules = self.rules
        for name in body.thresholds:
            if name not in rules:
                raise Invalid(
                    f"thresholds: there is no rule {name}; there are {', '.join(rules)}",
                    field=f"$.thresholds.{name}",
                    expected=f"one of {', '.join(rules)}",
                )
        wanted = {name: views.fields_of(said) for name, said in body.thresholds.items()}
        await self._ledger.execute(
            lambda state, stamp: decisions.set_thresholds(state, rules, wanted, stamp, principal.name)
        )
        return await self.thresholds()

    def _known(self, name: str) -> None:
        if name not in self.rules:
            raise NotFound(f"there is no rule {name}; there are {', '.join(self.rules)}", rule=name)

    async def _written(self, name: str) -> None:
        """What no store has taken yet is tried again first: people speak of what they see."""
        if name not in self._writing.late:
            return
        async with self._checking:
            await self._writing.write({}, ())
        if name in self._writing.late:
            raise StoreUnavailable(
                f"{name} can't be changed while the store takes no writes; it is told all the same",
                retry_after_s=2,
            )

    async def _settled(self, name: str) -> wire.AlertOut:
        return await self._ledger.read(lambda state: self._one(state, name))

    def _mute_until(self, body: wire.AlertIn) -> int | None:
        """Until when it is muted, 0 for not at all; None: nothing is said of it."""
        until, for_s = body.mute_until, body.mute_for_sec
        if for_s is not None:
            if until is not msgspec.UNSET:
                raise Invalid(
                    "say mute_until or mute_for_sec, not both", field="$.mute_for_sec", expected="one"
                )
            return self._clock.wall_ms() + for_s * 1000
        if isinstance(until, datetime):
            until_ms, wall_ms = round(until.timestamp() * 1000), self._clock.wall_ms()
            if not wall_ms < until_ms <= wall_ms + MUTE_MS_MAX:
                raise Invalid(
                    "mute_until: expected a time to come, within a year; null ends the mute",
                    field="$.mute_until",
                    expected="a time to come, within a year",
                )
            return until_ms
        return 0 if until is None else None
