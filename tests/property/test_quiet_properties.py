"""Laws of the quiet assessment: more pressure is never quieter, whatever came before (SENSE-9…12)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from leasehold.core import pressures, quiet
from leasehold.model.quiet import (
    INPUTS,
    PRESETS,
    Group,
    QuietAssessment,
    QuietSettings,
    QuietState,
    Reading,
    checked,
)

ORDER = [QuietState.QUIET, QuietState.NORMAL, QuietState.BUSY, QuietState.PANIC]
CORES = 4
TICK_MS = 2_000
TOTAL_MS = CORES * TICK_MS
SETTINGS = PRESETS["server"]

FIGURES = {
    "cpu_foreign_ms": TOTAL_MS,
    "runnable_foreign_milli": 8_000,
    "psi_cpu_bp": 10_000,
    "psi_memory_bp": 10_000,
    "psi_io_bp": 10_000,
    "memory_bp": 10_000,
    "memory_foreign_bp": 10_000,
    "swap_in_bytes_per_s": 40_000_000,
}
"""Fields of a reading in which more is worse, with a value beyond the worst endpoint."""


def reading(tick: int, parts: dict[str, int], disk_free_bp: int = 5_000) -> Reading:
    """One measurement; `parts` are thousandths of the greatest value of each figure."""
    values = {name: most * parts.get(name, 0) // 1000 for name, most in FIGURES.items()}
    return Reading(
        at_ms=(tick + 1) * TICK_MS,
        span_ms=TICK_MS,
        cores=CORES,
        cpu_total_ms=TOTAL_MS,
        cpu_busy_ms=values["cpu_foreign_ms"],
        disk_free_bp=disk_free_bp,
        **values,
    )


parts = some.fixed_dictionaries({name: some.integers(0, 1000) for name in FIGURES})
pairs = some.lists(some.tuples(parts, parts, some.integers(1, 8)), min_size=1, max_size=12)
"""Spans of ticks with one pressure each, twice."""


def folded(readings: list[Reading | None], settings: QuietSettings = SETTINGS) -> list[QuietAssessment]:
    memory, found = quiet.Memory(), []
    for number, each in enumerate(readings):
        memory, assessment = quiet.fold(settings, memory, each, (number + 1) * TICK_MS)
        found.append(assessment)
    return found


@pytest.mark.requirement("SENSE-9")
@pytest.mark.requirement("SENSE-10")
@given(pairs)
def test_more_pressure_at_every_instant_is_never_quieter_at_any(
    spans: list[tuple[dict[str, int], dict[str, int], int]],
) -> None:
    """Of two histories the one that is worse in every figure of every tick never looks better."""
    history = [(one, two) for one, two, length in spans for _ in range(length)]
    mild = [reading(number, one) for number, (one, _) in enumerate(history)]
    worse = [
        reading(number, {name: max(one[name], two[name]) for name in one})
        for number, (one, two) in enumerate(history)
    ]
    for calm, bad in zip(folded(list(mild)), folded(list(worse)), strict=True):
        assert bad.score_raw is not None
        assert calm.score_raw is not None
        assert bad.score_raw <= calm.score_raw
        assert ORDER.index(bad.state) >= ORDER.index(calm.state)
        assert (bad.quiet_score or 0) <= (calm.quiet_score or 0)


@pytest.mark.requirement("SENSE-9")
@given(some.sampled_from(sorted(INPUTS)), some.integers(-(10**7), 10**7), some.integers(0, 10**7))
def test_each_input_presses_more_the_further_it_goes(name: str, value_milli: int, further: int) -> None:
    """Within 0 to 10,000 basis points, and monotone towards its `one`."""
    ends = msgspec.structs.replace(INPUTS[name], enabled=True)
    away = value_milli + further if ends.one > ends.zero else value_milli - further
    assert (
        0
        <= pressures.pressure_bp(ends, value_milli)
        <= pressures.pressure_bp(ends, away)
        <= pressures.FULL_BP
    )
    assert pressures.pressure_bp(ends, round(ends.zero * 1000)) == 0
    assert pressures.pressure_bp(ends, round(ends.one * 1000)) == pressures.FULL_BP


@pytest.mark.requirement("SENSE-9")
@given(some.dictionaries(some.sampled_from(sorted(INPUTS)), some.integers(0, 10_000)))
def test_the_score_is_the_product_over_the_groups(given_pressures: dict[str, int]) -> None:
    """The score is round(100 · Π(1 − w·x)) to within one; one saturated resource is enough to be BUSY."""
    left = 1.0
    for group in Group:
        inputs = [x for name, x in given_pressures.items() if INPUTS[name].group is group]
        left *= 1 - SETTINGS.weights_pct[group] / 100 * max(inputs, default=0) / 10_000
    found = pressures.score(SETTINGS, given_pressures)
    assert abs(found - 100 * left) <= 1
    saturated = {INPUTS[name].group for name, x in given_pressures.items() if x == 10_000} & {
        Group.CPU,
        Group.MEMORY,
        Group.IO,
        Group.DISK,
    }
    assert not saturated or found < SETTINGS.normal_from


@pytest.mark.requirement("SENSE-10")
@given(some.lists(parts, min_size=1, max_size=60))
def test_score_and_state_never_contradict_each_other(history: list[dict[str, int]]) -> None:
    """Whatever the hysteresis holds back, the shown score lies in the band of the shown state."""
    bands = {
        QuietState.QUIET: range(80, 101),
        QuietState.NORMAL: range(50, 80),
        QuietState.BUSY: range(30, 50),
        QuietState.PANIC: range(30),
    }
    for each in folded([reading(number, one) for number, one in enumerate(history)]):
        assert each.quiet_score in bands[each.state]


runs = some.lists(some.tuples(parts, some.integers(1, 12), some.booleans()), min_size=2, max_size=12)
"""Spans of one pressure each, some of them of none at all."""


@pytest.mark.requirement("SENSE-10")
@given(runs)
def test_going_quieter_takes_the_dwell_time(spans: list[tuple[dict[str, int], int, bool]]) -> None:
    """A threshold is passed towards quiet once the score stood above it, with the margin, for the dwell."""
    history = [{} if calm else one for one, length, calm in spans for _ in range(length)]
    found = folded([reading(number, one) for number, one in enumerate(history)])
    thresholds = (SETTINGS.quiet_from, SETTINGS.normal_from, SETTINGS.busy_from)
    settled = SETTINGS.busier_after_ms // TICK_MS  # before, there is no state to hold on to
    for number, (before, after) in enumerate(pairwise(found)):
        if number + 1 < settled:
            continue
        for passed in thresholds[ORDER.index(after.state) : ORDER.index(before.state)]:
            since_ms = after.at_ms - SETTINGS.quieter_after_ms * 9 // 10
            held = [each for each in found[: number + 2] if each.at_ms >= since_ms]
            assert all((each.score_raw or 0) >= passed + SETTINGS.margin for each in held)


@pytest.mark.requirement("SENSE-11")
@given(some.lists(some.one_of(some.none(), parts), min_size=1, max_size=60))
def test_what_is_not_measured_is_never_quiet(history: list[dict[str, int] | None]) -> None:
    """Without a reading within 30 s the state is UNKNOWN, with no score and with a reason."""
    ticks = [None if one is None else reading(number, one) for number, one in enumerate(history)]
    last_ms: int | None = None
    for number, (tick, each) in enumerate(zip(ticks, folded(list(ticks)), strict=True)):
        last_ms = tick.at_ms if tick is not None else last_ms
        now_ms = (number + 1) * TICK_MS
        known = last_ms is not None and now_ms - last_ms <= SETTINGS.stale_after_ms
        assert (each.state is not QuietState.UNKNOWN) == known
        assert (each.quiet_score is not None) == known
        assert each.reasons


@pytest.mark.requirement("SENSE-13")
@given(some.integers(-20, 120), some.integers(-20, 120), some.integers(-20, 120))
def test_thresholds_out_of_order_are_refused(quiet_from: int, normal_from: int, busy_from: int) -> None:
    """Settings construct only with 0 < busy < normal < quiet and room for the margin."""
    settings = QuietSettings(quiet_from=quiet_from, normal_from=normal_from, busy_from=busy_from)
    sane = 0 < busy_from < normal_from < quiet_from <= 100 - settings.margin
    if sane:
        assert checked(settings) is settings
    else:
        with pytest.raises(ValueError):
            checked(settings)
