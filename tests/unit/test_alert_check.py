"""One rule through its whole life, check by check, as a pure function (OPS-13)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.core.alert import push_of
from leasehold.core.alert_check import STABLE_CHECKS, Memory, check, remembered
from leasehold.model.alert import NOTHING_THERE, UNKNOWN, Alert, AlertState, Reading, Rule, Said, Severity
from leasehold.model.event import Event

pytestmark = pytest.mark.requirement("OPS-13")

DISK = Rule("disk", "Disk", "%", "below", warning=10, critical=3, cooldown_ms=300_000, least=1, most=90)
LAG = Rule("lag", "Lag", "s", "above", warning=1, for_ms=60_000, cooldown_ms=0, least=0, most=10)
DOWN = Rule("down", "Down", "", "from", critical=1, cooldown_ms=300_000)
WALL = 1_800_000_000_000


class Life:
    """A rule that is checked every ten seconds."""

    def __init__(self, rule: Rule, said: Said | None = None) -> None:
        self.rule = rule
        self.said = said
        self.alert = Alert(rule.name)
        self.memory = Memory()
        self.events: list[Event] = []
        self.now_ms = 1_000

    def look(self, *values: float | Reading | None, every_ms: int = 10_000) -> list[str]:
        """Check once for each value; the kinds of the events of these checks."""
        kinds = []
        for value in values:
            self.now_ms += every_ms
            reading = value if isinstance(value, Reading) else Reading(value, f"it is {value}")
            wall_ms = WALL + self.now_ms
            step = check(self.rule, self.said, self.alert, self.memory, reading, self.now_ms, wall_ms)
            self.alert, self.memory = step.alert, step.memory
            self.events += step.events
            kinds += [event.kind for event in step.events]
        return kinds

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was pushed: severities and sentences."""
        pushes = [push_of(event) for event in self.events]
        return [(str(push.severity), push.sentence) for push in pushes if push is not None]


def test_a_warning_fires_once_and_clears_after_three_better_checks() -> None:
    """It tells once, however long it stands; one good check between bad ones clears nothing."""
    life = Life(DISK)
    assert life.look(50, 10, 9.9) == ["AlertFired"]
    assert (life.alert.state, life.alert.severity) == (AlertState.ACTIVE, Severity.WARNING)
    assert life.look(9, 8, 20, 20, 9, 20, 20) == []
    assert life.look(20) == ["AlertCleared"]
    assert life.alert.state is AlertState.CLEARED
    assert life.told == [("warning", "it is 9.9")]


def test_it_worsens_and_eases_without_being_another_alert() -> None:
    """From warning to critical tells again; back to warning after three checks is only shown."""
    life = Life(DISK)
    life.look(9)
    since_ms = life.alert.since_wall_ms
    assert life.look(2) == ["AlertWorsened"]
    assert life.look(9, 2, 9, 9, 9) == ["AlertEased"]
    assert (life.alert.severity, life.alert.since_wall_ms) == (Severity.WARNING, since_ms)
    assert [severity for severity, _ in life.told] == ["warning", "critical"]


def test_an_acknowledged_alert_is_active_again_when_it_worsens() -> None:
    """Seen as a warning is not seen as critical; clearing needs no acknowledgement."""
    life = Life(DISK)
    life.look(9)
    life.alert = replace(life.alert, state=AlertState.ACKNOWLEDGED, acknowledged_by="ann", told=True)
    assert life.look(8, 8) == []
    assert life.look(1) == ["AlertWorsened"]
    assert (life.alert.state, life.alert.acknowledged_by) == (AlertState.ACTIVE, "")
    life.alert = replace(life.alert, state=AlertState.ACKNOWLEDGED)
    assert life.look(50, 50, 50) == ["AlertCleared"]


def test_a_warning_keeps_quiet_during_its_cooldown() -> None:
    """What is bad again just after it cleared is told once the cooldown is over, if it still is then."""
    life = Life(DISK)
    life.look(9, 50, 50, 50)
    assert life.look(*[9] * 29) == []
    assert life.look(9, 9) == ["AlertFired"]
    assert life.alert.fired == 2


def test_a_critical_one_ignores_the_cooldown_and_does_not_repeat() -> None:
    """It fires at once after it has cleared, and once only while it stands."""
    life = Life(DOWN)
    assert life.look(1, *[0] * STABLE_CHECKS, 1, 1, 1, 1) == ["AlertFired", "AlertCleared", "AlertFired"]
    assert len(life.told) == 2


def test_it_has_to_be_so_for_its_duration() -> None:
    """A peak of less than a minute tells nothing; a gap starts the time anew."""
    life = Life(LAG)
    assert life.look(2, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2) == []
    assert life.look(2) == ["AlertFired"]


def test_what_is_not_known_neither_fires_nor_clears() -> None:
    """Unknown is no good check: three in a row have to be good. What is not there is as good as well."""
    life = Life(DISK)
    life.look(9, 50, 50)
    assert life.look(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 50, 50) == []
    assert life.look(50) == ["AlertCleared"]
    life = Life(LAG)
    wavering: list[float | Reading] = [2.0, UNKNOWN]
    assert life.look(*wavering * 20) == []
    life = Life(DOWN)
    life.look(1)
    assert life.look(*[NOTHING_THERE] * 3) == ["AlertCleared"]


def test_what_was_seen_in_part_proves_nothing_to_be_well() -> None:
    """Just after a start a count over an hour is no whole hour: it may fire, and clears nothing."""
    life = Life(DOWN)
    assert life.look(Reading(1.0, "one", partial=True)) == ["AlertFired"]
    assert life.look(*[Reading(0.0, partial=True)] * 10) == []
    assert life.look(0, 0, Reading(0.0, partial=True), 0, 0) == []
    assert life.look(0) == ["AlertCleared"]


def test_a_muted_alert_is_shown_and_told_when_the_mute_ends() -> None:
    """Unless somebody has seen it, or it is over by then."""
    mute = Said("disk", mute_until_wall_ms=WALL + 45_000)
    life = Life(DISK, mute)
    assert life.look(9, 9, 9, 9) == ["AlertFired"]
    assert life.told == []
    assert life.look(9, 9) == ["AlertUnmuted"]
    assert life.told == [("warning", "it is 9")]
    seen = Life(DISK, mute)
    seen.look(9)
    seen.alert = replace(seen.alert, state=AlertState.ACKNOWLEDGED, told=True)
    seen.look(*[9] * 6)
    assert seen.told == []
    over = Life(DISK, mute)
    over.look(9, 50, 50, 50, 50)
    assert over.told == []


def test_thresholds_of_people_count_from_the_next_check_on() -> None:
    """Another warning level, a critical level that was not built in, another cooldown."""
    life = Life(LAG)
    life.said = Said("lag", warning=0.5, critical=5, for_ms=0)
    assert life.look(0.6) == ["AlertFired"]
    assert life.look(6) == ["AlertWorsened"]
    life.said = Said("lag", warning=7, for_ms=0)
    assert life.look(6, 6, 6) == ["AlertCleared"]


def test_a_restart_forgets_no_cooldown() -> None:
    """What is known of the last clearing is on the wall clock; one that was set back shortens nothing."""
    cleared = Alert("disk", AlertState.CLEARED, Severity.WARNING, cleared_wall_ms=WALL)
    assert remembered(cleared, 500_000, WALL + 200_000) == Memory(quiet_from_ms=300_000)
    assert remembered(cleared, 500_000, WALL - 86_400_000) == Memory(quiet_from_ms=500_000)
    assert remembered(Alert("disk"), 500_000, WALL) == Memory()
