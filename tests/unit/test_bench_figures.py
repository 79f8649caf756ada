"""The arithmetic under every benchmark: percentiles, ratios, verdicts, windows."""

from __future__ import annotations

import json

import pytest

from bench.cycles import Cycles
from bench.report import Figure, Report, Run, as_json, table
from bench.summary import median, paired_ratio, percentile


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Nearest rank: of 1…100 the 99th percentile is 99, and of one value it is that value."""
    values = list(range(100, 0, -1))
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.5) == 50
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.99) == 7.0


def test_nothing_measured_is_an_error_and_not_a_zero() -> None:
    """A side that completed no cycle must not read as the fastest one."""
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="no median"):
        median([])
    with pytest.raises(ValueError, match="no percentile"):
        Cycles.of([], 4.0, server_cpu_s=0)


def test_ratios_are_paired_by_round() -> None:
    """A disk that doubles its speed from one round to the next leaves the ratio alone."""
    assert paired_ratio([110, 220, 440], [100, 200, 400]) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_ratio([1.0], [1.0, 2.0])


def test_a_round_reports_rate_and_latency_in_their_units() -> None:
    """Cycles inside the window, per second; microseconds in, milliseconds out."""
    cycles = Cycles.of([1_000] * 98 + [9_000] * 2, 4.0, server_cpu_s=2)
    assert (cycles.per_s, cycles.p50_ms, cycles.p99_ms) == (25.0, 1.0, 9.0)


def test_targets_are_judged_on_both_sides_and_missing_parts_fail() -> None:
    """Equal is met; a figure without a target judges nothing; what was not measured fails the report."""
    assert Figure(name="a", value=1.1, unit="ratio", at_least=1.1).is_met
    assert Figure(name="a", value=60.1, unit="ms", at_most=60).is_met is False
    plain = Figure(name="a", value=1, unit="ms")
    assert plain.is_met is None
    assert Report(name="x", requirement="PROVE-12", figures=(plain,)).is_met
    assert not Report(
        name="x", requirement="PROVE-12", figures=(plain,), not_measured=("etcd: no apt",)
    ).is_met


def test_a_quick_run_judges_nothing() -> None:
    """Short rounds show that all parts work; they must not print PASS or FAIL."""
    report = Report(
        name="x", requirement="PROVE-12", figures=(Figure(name="p99", value=70, unit="ms", at_most=60),)
    )
    assert "FAIL <= 60" in table(report, is_judged=True)
    assert "FAIL" not in table(report, is_judged=False)
    assert "target <= 60" in table(report, is_judged=False)


def test_json_holds_every_figure_by_name() -> None:
    """Acceptance checks read figures from this document."""
    report = Report(
        name="x", requirement="PROVE-12", figures=(Figure(name="rate", value=5.5, unit="cycles/s"),)
    )
    document = json.loads(as_json(Run(machine={"cores": "2"}, is_quick=False, reports=(report,))))
    assert document["reports"][0]["figures"][0]["name"] == "rate"
    assert document["reports"][0]["figures"][0]["value"] == 5.5
