"""Whatever a rule reads and people do, alerts keep their word (OPS-13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import alert as decisions
from leasehold.core.alert_check import STABLE_CHECKS, Memory, check, level, remembered
from leasehold.core.state import ALERTS, Change, Stamp, State
from leasehold.model.alert import Alert, AlertState, Reading, Rule, Severity
from leasehold.model.errors import Conflict
from leasehold.model.event import Event

CHECK_MS, WALL_MS = 10_000, 1_800_000_000_000

RULES = (
    Rule("r", "R", "%", "below", warning=10, critical=3, cooldown_ms=60_000, least=1, most=90),
    Rule("r", "R", "s", "above", warning=20, critical=60, for_ms=30_000, cooldown_ms=0, least=0, most=90),
    Rule("r", "R", "s", "from", warning=20, cooldown_ms=100_000, least=0, most=90),
    Rule("r", "R", "", "from", critical=1, cooldown_ms=300_000),
)

values = st.one_of(
    st.none(),
    st.just("gone"),
    st.sampled_from([0.0, 1.0, 3.0, 10.0, 15.0, 20.0, 50.0, 60.0, 70.0]),
)
acts = st.one_of(
    st.tuples(st.just("look"), values),
    st.tuples(st.just("acknowledge"), st.none()),
    st.tuples(st.just("switch"), st.booleans()),
    st.tuples(st.just("mute"), st.integers(0, 20)),
    st.tuples(st.just("restart"), st.integers(-100, 100)),
)


class World:
    """One rule, driven by anything."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.state = State("n")
        self.memory: Memory | None = None
        self.now_ms, self.wall_ms = 1_000_000, WALL_MS
        self.recent: list[Severity | str | None] = []
        self.cleared_ms: int | None = None

    @property
    def alert(self) -> Alert:
        return self.state.alerts.get("r") or Alert("r")

    def put(self, changes: Any) -> None:
        for change in changes:
            self.state.apply(change)

    def look(self, value: float | str | None) -> list[Event]:
        """One check; what it decides holds against what was read lately."""
        self.now_ms += CHECK_MS
        self.wall_ms += CHECK_MS
        said = self.state.alert_rules.get("r")
        if said is not None and not said.enabled:
            self.memory = None
            return []
        before, reading = self.alert, Reading(None, applies=False)
        if value is None or isinstance(value, float):
            reading = Reading(value, f"{value}")
        known = self.memory or remembered(before, self.now_ms, self.wall_ms)
        step = check(self.rule, said, before, known, reading, self.now_ms, self.wall_ms)
        self.memory = step.memory
        if step.alert is not before:
            self.put([Change(ALERTS, "r", step.alert)])
        limits = decisions.limits_of(self.rule, said)
        found = None if not isinstance(value, float) else level(self.rule, limits, value)
        self.recent = [*self.recent, "unknown" if value is None else found][-STABLE_CHECKS:]
        self.hold(before, step.alert, list(step.events), found)
        return list(step.events)

    def hold(self, before: Alert, after: Alert, events: list[Event], found: Severity | None) -> None:
        """The promises."""
        assert len(events) <= 1
        kinds = [event.kind for event in events]
        if kinds == ["AlertFired"]:
            assert not before.stands
            assert after.state is AlertState.ACTIVE
            assert found is not None
            assert after.severity is not None
            assert after.severity.rank <= found.rank
            is_warning = after.severity is Severity.WARNING
            if is_warning and self.cleared_ms is not None:
                assert self.now_ms - self.cleared_ms >= self.rule.cooldown_ms
        elif kinds == ["AlertWorsened"]:
            assert (before.severity, after.severity) == (Severity.WARNING, Severity.CRITICAL)
            assert after.state is AlertState.ACTIVE
        elif kinds == ["AlertCleared"]:
            assert self.recent == [None] * STABLE_CHECKS
            self.cleared_ms = self.now_ms
        elif kinds == ["AlertEased"]:
            assert (before.severity, after.severity) == (Severity.CRITICAL, Severity.WARNING)
            assert Severity.CRITICAL not in self.recent
            assert "unknown" not in self.recent
        elif kinds == ["AlertUnmuted"]:
            assert (before.told, after.told, after.state) == (False, True, AlertState.ACTIVE)
        else:
            assert kinds == []
            assert (before.state, before.severity) == (after.state, after.severity)

    def stamp(self) -> Stamp:
        return Stamp(self.now_ms, self.wall_ms, 1, 1)

    def act(self, what: str, how: Any) -> None:
        if what == "look":
            self.look(how)
        elif what == "acknowledge":
            try:
                self.put(decisions.acknowledge(self.alert, self.stamp(), "ann", "").changes)
            except Conflict:
                assert not self.alert.stands
        elif what == "switch":
            self.put(decisions.set_rule(self.state, "r", self.stamp(), "ann", enabled=how).changes)
            if not how:
                assert self.alert.state is AlertState.INACTIVE
                self.cleared_ms = None
                self.recent = []
        elif what == "mute":
            until_ms = self.wall_ms + how * CHECK_MS if how else 0
            self.put(
                decisions.set_rule(self.state, "r", self.stamp(), "ann", mute_until_wall_ms=until_ms).changes
            )
        else:
            self.memory = None
            self.recent = []
            self.wall_ms += how * CHECK_MS
            self.cleared_ms = None  # The wall may have been set: what is left of a cooldown follows it.


@pytest.mark.requirement("OPS-13")
@given(st.sampled_from(RULES), st.lists(acts, max_size=80))
def test_alerts_keep_their_word_whatever_happens(rule: Rule, history: list[tuple[str, Any]]) -> None:
    """Nothing clears or eases without three better checks, nothing fires twice, or within its cooldown."""
    world = World(rule)
    for what, how in history:
        world.act(what, how)


@pytest.mark.requirement("OPS-13")
@given(st.sampled_from(RULES), st.lists(acts, max_size=40))
def test_what_stays_bad_is_told_and_what_stays_well_clears(
    rule: Rule, history: list[tuple[str, Any]]
) -> None:
    """After any history, with the rule on: bad for long enough it stands, well for three checks not."""
    world = World(rule)
    for what, how in history:
        world.act(what, how)
    world.act("switch", True)
    bad, good = (0.0, 50.0) if rule.way == "below" else (70.0, 0.0)
    for _ in range(40):  # As long as any time to wait and any cooldown of these rules.
        world.look(bad)
    assert world.alert.stands
    assert world.alert.severity is level(rule, decisions.limits_of(rule, None), bad)
    for _ in range(STABLE_CHECKS):
        world.look(good)
    assert world.alert.state is AlertState.CLEARED
