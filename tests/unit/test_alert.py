"""What people may do to alerts and rules, and which ways an alert may go (OPS-13, INV-5)."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from leasehold.core import alert as decisions
from leasehold.core.state import ALERT_RULES, ALERTS, Change, Outcome, Stamp, State
from leasehold.model.alert import TRANSITIONS, Alert, AlertState, Rule, Said, Severity
from leasehold.model.alert_rules import BY_NAME, RULES
from leasehold.model.errors import Conflict, Invalid

S = AlertState
STAMP = Stamp(1_000, 1_800_000_000_000, 1, 1)
ACTIVE = Alert("disk", S.ACTIVE, Severity.WARNING, "9 % free", 9.0, 1_700_000_000_000, fired=1)


def put(state: State, outcome: Outcome) -> list[str]:
    for change in outcome.changes:
        state.apply(change)
    return [event.kind for event in outcome.events]


@pytest.mark.requirement("INV-5", "OPS-13")
@pytest.mark.parametrize(("before", "after"), list(product(AlertState, AlertState)))
def test_only_the_ways_of_the_table_are_gone(before: AlertState, after: AlertState) -> None:
    """Each pair of states: what the table has is moved to, anything else is refused."""
    old, new = Alert("disk", before), Alert("disk", after)
    if after in TRANSITIONS[before]:
        assert decisions.moved(old, new) is new
    else:
        with pytest.raises(AssertionError, match=f"from {before} to {after}"):
            decisions.moved(old, new)


@pytest.mark.requirement("OPS-13")
def test_acknowledging_is_done_once_and_only_of_what_stands() -> None:
    """The second time changes nothing; what does not stand is a conflict that says where to look."""
    first = decisions.acknowledge(ACTIVE, STAMP, "ann", "I am at it")
    seen = first.answer
    assert (seen.state, seen.acknowledged_by, seen.note) == (S.ACKNOWLEDGED, "ann", "I am at it")
    assert [event.kind for event in first.events] == ["AlertAcknowledged"]
    assert first.events[0].details["reason"] == "I am at it"
    again = decisions.acknowledge(seen, STAMP, "bob", "me too")
    assert (again.answer, again.changes) == (seen, [])
    for state in (S.INACTIVE, S.CLEARED):
        with pytest.raises(Conflict, match="leasehold alert list"):
            decisions.acknowledge(Alert("disk", state), STAMP, "ann", "")


@pytest.mark.requirement("OPS-13")
def test_a_rule_that_is_switched_off_stands_no_more() -> None:
    """Its alert is inactive at once, its thresholds stay; on again it starts from nothing."""
    state = State("n")
    state.apply(Change(ALERTS, "disk", ACTIVE))
    state.apply(Change(ALERT_RULES, "disk", Said("disk", warning=20.0)))
    off = decisions.set_rule(state, "disk", STAMP, "ann", enabled=False)
    assert put(state, off) == ["AlertRuleChanged", "AlertDropped"]
    assert (state.alerts["disk"].state, state.alerts["disk"].fired) == (S.INACTIVE, 1)
    assert state.alert_rules["disk"].warning == 20.0
    assert put(state, decisions.set_rule(state, "disk", STAMP, "ann", enabled=False)) == []
    assert put(state, decisions.set_rule(state, "disk", STAMP, "ann", enabled=True)) == ["AlertRuleChanged"]


@pytest.mark.requirement("OPS-13")
def test_thresholds_change_in_part_and_go_back() -> None:
    """What is not named stays; None is what is built in; the same again is no change."""
    state = State("n")
    wanted: dict[str, dict[str, Any]] = {"disk": {"warning": 20.0}, "errors": {"critical": 100.0}}
    assert put(state, decisions.set_thresholds(state, BY_NAME, wanted, STAMP, "ann")) == [
        "AlertRuleChanged",
        "AlertRuleChanged",
    ]
    limits = decisions.limits_of(BY_NAME["disk"], state.alert_rules["disk"])
    assert (limits.warning, limits.critical) == (20, 3)
    assert put(state, decisions.set_thresholds(state, BY_NAME, wanted, STAMP, "ann")) == []
    back: dict[str, dict[str, Any]] = {"disk": {"warning": None}}
    put(state, decisions.set_thresholds(state, BY_NAME, back, STAMP, "ann"))
    assert decisions.limits_of(BY_NAME["disk"], state.alert_rules["disk"]).warning == 10


@pytest.mark.requirement("OPS-13")
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"disk": {"warning": 0.0}}, "disk.warning: expected 0.1 to 100 %, got 0"),
        ({"disk": {"warning": 2.0}}, r"critical \(3\) has to be below warning \(2\)"),
        ({"disk": {"critical": 10.0}}, "below warning"),
        ({"errors": {"critical": 5.0}}, "above warning"),
        ({"store_trouble": {"warning": 1.0}}, "has no threshold"),
        ({"errors": {"warning": 3.0}, "disk": {"warning": 101.0}}, "disk.warning"),
    ],
)
def test_impossible_thresholds_change_nothing(wanted: dict[str, dict[str, Any]], says: str) -> None:
    """The sentence names what is allowed, and all of the call is refused."""
    with pytest.raises(Invalid, match=says):
        decisions.set_thresholds(State("n"), BY_NAME, wanted, STAMP, "ann")


@pytest.mark.requirement("OPS-13", "OPS-26")
def test_the_built_in_rules_make_sense() -> None:
    """Names, sentences and bounds; the thresholds of the specification; each default passes its own check."""
    assert len(BY_NAME) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", rule.name)
        assert rule.title
        assert rule.measured
        assert rule.cure
        assert (rule.warning, rule.critical) != (None, None)
        said = Said(rule.name, warning=rule.warning, critical=rule.critical)
        if rule.has_thresholds:
            decisions.set_thresholds(State("n"), BY_NAME, {rule.name: {"warning": said.warning}}, STAMP, "a")
            for value in (rule.warning, rule.critical):
                assert value is None or rule.least <= value <= rule.most

    def built_in(name: str) -> tuple[float | None, float | None, int]:
        rule: Rule = BY_NAME[name]
        return rule.warning, rule.critical, rule.cooldown_ms // 1_000

    assert built_in("queue_growing") == (3, None, 300)
    assert built_in("failure_rate") == (50, None, 600)
    assert built_in("stuck_jobs")[:2] == (None, 300)
    assert built_in("errors") == (10, None, 300)
    assert built_in("disk")[:2] == (10, 3)
    assert built_in("certificate")[:2] == (25, None)
    assert built_in("stale_backup")[:2] == (48, None)
    assert built_in("fragmentation")[:2] == (50, None)
    assert built_in("validation_failures")[:2] == (50, None)
