"""The harness of `make accept`: what is broken fails, a skip is listed, what passed is not run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from accept.harness import Broken, Check, Kind, Report, Skipped, expect, perform, run_all
from accept.product import Product


class Wheel:
    """All that the harness knows of the product."""

    def __init__(self, wheel_hash: str = "first") -> None:
        self.wheel_hash = wheel_hash


class Trial:
    """A check that remembers how often it ran and does as told."""

    def __init__(
        self, name: str, kind: Kind = "busy", budget_s: int = 1, does: Exception | None = None
    ) -> None:
        self.ran = 0
        self.does = does
        self.check = Check(name, f"promise of {name}", self.run, f"type {name}", kind, budget_s)

    def run(self, product: Product) -> str:
        self.ran += 1
        if self.does is not None:
            raise self.does
        return "7 ms"


def went(
    trials: list[Trial], path: Path, wheel: str = "first", budget_s: float | None = None
) -> tuple[Report, int]:
    """Run these in a report that goes on from the file; the report and the exit code."""
    report = Report.resumed(path, wheel)
    run_all([trial.check for trial in trials], cast(Product, Wheel(wheel)), report, budget_s)
    return report, report.summary()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


@pytest.mark.requirement("PROVE-21")
def test_a_promise_that_does_not_hold_fails_the_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One broken check among good ones: exit code 1, what was seen is printed, the others still run."""
    good, broken, last = Trial("good"), Trial("broken", does=Broken("two ran at once")), Trial("last")
    report, code = went([good, broken, last], path)
    out = capsys.readouterr().out
    assert code == 1
    assert [report.outcomes[name].verdict for name in ("good", "broken", "last")] == ["PASS", "FAIL", "PASS"]
    assert "FAIL  broken" in out
    assert "failed: broken: two ran at once" in out
    assert "2 passed, 1 failed, 0 skipped" in out


@pytest.mark.requirement("PROVE-21")
def test_a_pass_is_told_with_its_figure_and_its_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise, figure and what to type to see the same."""
    assert went([Trial("good")], path)[1] == 0
    told = capsys.readouterr().out
    assert [row in told for row in ("PASS  good", "promise of good", "7 ms", "$ type good")] == [True] * 4


def test_a_check_that_falls_over_fails_with_its_trace() -> None:
    """An error of the check itself shows no promise; where it came from is kept."""
    outcome = perform(Trial("x", does=KeyError("lease_id")).check, cast(Product, Wheel()))
    assert (outcome.verdict, outcome.figure) == ("FAIL", "KeyError: 'lease_id'")
    assert "in run" in outcome.trace


def test_expect_says_what_was_seen() -> None:
    """It raises only where the promise does not hold."""
    expect(True, "never said")
    with pytest.raises(Broken, match="three ran"):
        expect(False, "three ran")


@pytest.mark.requirement("PROVE-21")
def test_a_skip_is_listed_with_its_reason_and_does_not_fail(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What this machine can't show is said at the end, and tried again the next time."""
    skipped = Trial("mounts", does=Skipped("needs root"))
    assert went([skipped], path)[1] == 0
    out = capsys.readouterr().out
    assert "skipped: mounts: needs root" in out
    assert "0 passed, 0 failed, 1 skipped" in out
    went([skipped], path)
    assert skipped.ran == 2


@pytest.mark.requirement("PROVE-21")
def test_what_passed_on_the_same_wheel_is_not_run_again(path: Path) -> None:
    """A run that was cut off goes on: failures are tried again, passes stay; another wheel starts over."""
    good, broken = Trial("good"), Trial("broken", does=Broken("no"))
    went([good, broken], path)
    broken.does = None
    report, code = went([good, broken], path)
    assert (good.ran, broken.ran, code) == (1, 2, 0)
    assert set(report.outcomes) == {"good", "broken"}
    went([good, broken], path, wheel="second")
    assert (good.ran, broken.ran) == (2, 3)


def test_the_report_is_written_after_each_check(path: Path) -> None:
    """A run that is cut off in its second check keeps the first one's outcome."""

    class Cut(BaseException):
        pass

    first = Trial("first")
    second = Trial("second", does=cast(Exception, Cut()))
    with pytest.raises(Cut):
        went([first, second], path)
    assert [row["name"] for row in json.loads(path.read_text())] == ["first"]


@pytest.mark.requirement("PROVE-21")
def test_what_does_not_fit_the_budget_is_not_run_and_said(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of whatever kind, but for the long ones, whose time is not counted."""
    fits, busy, quiet = Trial("fits"), Trial("busy", budget_s=900), Trial("calm", "quiet", budget_s=900)
    long = Trial("tests", "long", budget_s=3600)
    report, code = went([fits, busy, quiet, long], path, budget_s=60)
    assert code == 0
    assert set(report.outcomes) == {"fits", "tests"}
    out = capsys.readouterr().out
    assert "not run: busy needs 900 s" in out
    assert "not run: calm needs 900 s" in out


def test_quiet_checks_come_first_and_long_ones_last(path: Path) -> None:
    """Whatever the order in which they were written."""
    kinds: list[tuple[str, Kind]] = [("tests", "long"), ("load", "busy"), ("wait", "quiet")]
    report, _ = went([Trial(name, kind) for name, kind in kinds], path)
    assert list(report.outcomes) == ["wait", "load", "tests"]
