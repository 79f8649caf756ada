"""The default settings, held to recordings of real loads (SENSE-6, 9, 10)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from leasehold.adapters.hosts.replay import Recording
from leasehold.core import foreign, quiet
from leasehold.model.quiet import PRESETS, QuietAssessment, QuietSettings, QuietState, Reading

LOADS = Path(__file__).parent.parent / "fixtures" / "loads"
BUSY_OR_WORSE = (QuietState.BUSY, QuietState.PANIC)


def readings(name: str, start_ms: int = 0) -> list[Reading]:
    """The measurements of a recording, tick by tick."""
    samples = list(Recording(LOADS / f"{name}.jsonl.gz").samples(start_ms))
    return [foreign.reading(one[0], two[0], one[1], two[1], two[2]) for one, two in pairwise(samples)]


def assessed(ticks: list[Reading], settings: QuietSettings) -> list[QuietAssessment]:
    """The assessment after each of them."""
    memory, found = quiet.Memory(), []
    for tick in ticks:
        memory, assessment = quiet.fold(settings, memory, tick, tick.at_ms)
        found.append(assessment)
    return found


def played(name: str, preset: str = "server") -> list[QuietAssessment]:
    return assessed(readings(name), PRESETS[preset])


def between(found: list[QuietAssessment], from_s: float, to_s: float) -> list[QuietState]:
    return [each.state for each in found if from_s * 1000 <= each.at_ms <= to_s * 1000]


@pytest.mark.requirement("SENSE-9")
@pytest.mark.requirement("SENSE-11")
def test_an_idle_machine_is_quiet_from_its_second_sample_on() -> None:
    """Nothing runs: QUIET at once, with the highest score, all the time."""
    found = played("idle")
    assert {each.state for each in found} == {QuietState.QUIET}
    assert min(each.quiet_score or 0 for each in found) >= 98


@pytest.mark.requirement("SENSE-9")
@pytest.mark.requirement("SENSE-13")
@pytest.mark.parametrize("name", ["desktop", "desktop_bursts"])
def test_a_desktop_in_use_is_quiet_with_the_desktop_preset(name: str) -> None:
    """Editor, browser and video, also with bursts of seconds, don't keep heavy work away."""
    assert {each.state for each in played(name, "desktop")} == {QuietState.QUIET}


@pytest.mark.requirement("SENSE-6")
@pytest.mark.requirement("SENSE-10")
@pytest.mark.parametrize("preset", ["server", "desktop"])
@pytest.mark.parametrize("name", ["compile", "leased_and_compile"])
def test_a_compile_that_is_not_ours_is_busy_within_15_seconds(name: str, preset: str) -> None:
    """Two foreign compilers on two cores: alone, or beside leased work that wants both cores too."""
    found = played(name, preset)
    assert set(between(found, 0, 20)) == {QuietState.QUIET}
    assert set(between(found, 35, 70)) <= set(BUSY_OR_WORSE)
    busy = next(each for each in found if each.state in BUSY_OR_WORSE)
    assert "CPU used by others" in busy.reasons[0]


@pytest.mark.requirement("SENSE-10")
@pytest.mark.parametrize("preset", ["server", "desktop"])
def test_after_the_compile_the_machine_becomes_quiet_again(preset: str) -> None:
    """The two-minute mean keeps it from QUIET for a while, and no longer than those two minutes."""
    compiled = readings("compile")
    idle = readings("idle", start_ms=compiled[-1].at_ms)
    found = assessed(compiled + idle, PRESETS[preset])
    ended_s = 122
    assert between(found, ended_s + 30, ended_s + 30)[:1] != [QuietState.QUIET]
    assert set(between(found, ended_s + 125, ended_s + 140)) == {QuietState.QUIET}


@pytest.mark.requirement("SENSE-6")
def test_a_machine_that_is_busy_only_with_leased_work_is_quiet_for_its_owner() -> None:
    """Two leased compilers take both cores, and the state never changes."""
    found = played("leased")
    assert {each.state for each in found} == {QuietState.QUIET}
    whole, others = "cpu_avg_2m", "foreign_cpu_avg_2m"
    assert max(each.inputs[whole] or 0.0 for each in found) > 70
    assert max(each.inputs[others] or 0.0 for each in found) < 10


@pytest.mark.requirement("SENSE-6")
def test_a_leased_disk_load_changes_the_state_at_most_once() -> None:
    """Its stalls are ours: only the foreign share of the bytes counts."""
    found = played("leased_disk")
    states = [each.state for each in found]
    assert sum(one is not two for one, two in pairwise(states)) <= 1
    assert set(states) <= {QuietState.QUIET, QuietState.NORMAL}


@pytest.mark.requirement("SENSE-9")
def test_a_disk_bound_load_is_busy_but_no_panic() -> None:
    """One program that keeps the disk saturated holds gated work back; it does not stop everything."""
    found = played("disk")
    assert set(between(found, 30, 55)) == {QuietState.BUSY}
    assert QuietState.PANIC not in {each.state for each in found}
    assert "wait for a disk" in next(each for each in found if each.state is QuietState.BUSY).reasons[0]
    assert found[-1].state is QuietState.QUIET


@pytest.mark.requirement("SENSE-6")
@pytest.mark.requirement("SENSE-9")
def test_memory_pressure_is_busy_or_worse_and_ends_with_its_cause() -> None:
    """A working set that does not fit stalls on memory and disk together."""
    found = played("memory")
    assert set(between(found, 30, 55)) <= set(BUSY_OR_WORSE)
    assert max(each.inputs["psi_memory"] or 0.0 for each in found) > 5
    assert found[-1].state is QuietState.QUIET


@pytest.mark.requirement("SENSE-13")
def test_the_preset_always_is_quiet_through_a_compile_and_shows_the_real_score() -> None:
    """The gate is off; what was measured is still to be seen."""
    found = played("compile", "always")
    assert {(each.state, each.quiet_score) for each in found} == {(QuietState.QUIET, 100)}
    assert min(each.score_raw or 0 for each in found) < 40
