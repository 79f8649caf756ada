"""Checks, their order, their report.

A check is one promised line; it returns a figure or raises what is wrong.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from accept.product import Product

Kind = Literal["busy", "quiet", "long"]
"""`busy` checks run alone; `quiet` ones hardly load the machine and run side by side; `long` ones run alone,
at the end, only where they are asked for, and their time is not counted.
"""


class Skipped(Exception):
    """This machine can't show it. The reason is listed at the end."""


class Broken(Exception):
    """The promise does not hold; the sentence says what was seen."""


@dataclass(frozen=True)
class Check:
    """One promised line. `budget_s` is how long it may take; its sum per capability is under an hour."""

    name: str
    promise: str
    run: Callable[[Product], str]
    command: str
    kind: Kind
    budget_s: int


@dataclass
class Outcome:
    """What came of a check: PASS with its figure, FAIL or SKIP with the reason."""

    name: str
    verdict: Literal["PASS", "FAIL", "SKIP"]
    figure: str
    seconds: float
    command: str
    promise: str
    wheel: str = ""
    trace: str = ""


CHECKS: list[Check] = []


def check(
    name: str, promise: str, *, command: str = "", kind: Kind = "busy", budget_s: int = 60
) -> Callable[[Callable[[Product], str]], Callable[[Product], str]]:
    """Register a check. `command` is what a person would type to see the same."""

    def register(run: Callable[[Product], str]) -> Callable[[Product], str]:
        shown = command or f'make accept ARGS="--only {name}"'
        CHECKS.append(Check(name, promise, run, shown, kind, budget_s))
        return run

    return register


def expect(holds: bool, otherwise: str) -> None:
    """Raise Broken with what was seen unless it holds."""
    if not holds:
        raise Broken(otherwise)


def perform(check: Check, product: Product) -> Outcome:
    """Run one check; whatever it raises is its outcome."""
    began = time.monotonic()
    trace = ""
    try:
        verdict, figure = "PASS", check.run(product)
    except Skipped as reason:
        verdict, figure = "SKIP", str(reason)
    except Broken as seen:
        verdict, figure = "FAIL", str(seen)
    except Exception as error:  # noqa: BLE001 - a check that falls over has not shown its promise
        verdict, figure, trace = "FAIL", f"{type(error).__name__}: {error}", traceback.format_exc()
    seconds = round(time.monotonic() - began, 1)
    return Outcome(
        check.name, verdict, figure, seconds, check.command, check.promise, product.wheel_hash, trace
    )  # type: ignore[arg-type]


@dataclass
class Report:
    """Outcomes so far, kept in a file after each, so that a run that was cut off goes on where it stood."""

    path: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def resumed(cls, path: Path, wheel_hash: str) -> Report:
        """The passed checks of an earlier run on the same wheel."""
        report = cls(path)
        if path.exists():
            for row in json.loads(path.read_text()):
                outcome = Outcome(**row)
                if outcome.wheel == wheel_hash and outcome.verdict == "PASS":
                    report.outcomes[outcome.name] = outcome
        return report

    def add(self, outcome: Outcome) -> None:
        """Print it and write the file."""
        self.outcomes[outcome.name] = outcome
        print(f"{outcome.verdict}  {outcome.name}  ({outcome.seconds:g} s)", flush=True)
        print(f"      {outcome.promise}")
        print(f"      {outcome.figure}")
        print(f"      $ {outcome.command}", flush=True)
        if outcome.trace:
            print(outcome.trace)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps([asdict(one) for one in self.outcomes.values()], indent=1))
        os.replace(draft, self.path)

    def summary(self) -> int:
        """Print the counts and the skips; 0 where nothing failed."""
        by = {
            verdict: [o for o in self.outcomes.values() if o.verdict == verdict]
            for verdict in ("PASS", "FAIL", "SKIP")
        }
        for outcome in by["SKIP"]:
            print(f"skipped: {outcome.name}: {outcome.figure}")
        for outcome in by["FAIL"]:
            print(f"failed: {outcome.name}: {outcome.figure}")
        uncounted = {check.name for check in CHECKS if check.kind == "long"}
        spent = sum(o.seconds for o in self.outcomes.values() if o.name not in uncounted)
        print(
            f"{len(by['PASS'])} passed, {len(by['FAIL'])} failed, {len(by['SKIP'])} skipped; "
            f"{spent / 60:.1f} min of checks"
        )
        return 1 if by["FAIL"] else 0


def run_all(checks: list[Check], product: Product, report: Report, budget_s: float | None) -> None:
    """Quiet checks side by side first, then the busy ones one after another, the long ones last.

    What has passed is not run again. The time of long ones is not counted.
    """
    began = time.monotonic()
    todo = [check for check in checks if check.name not in report.outcomes]

    def fits(check: Check) -> bool:
        left_s = None if budget_s is None else max(0, budget_s - (time.monotonic() - began))
        if left_s is None or check.kind == "long" or check.budget_s <= left_s:
            return True
        print(f"not run: {check.name} needs {check.budget_s} s, {left_s:.0f} s of the budget are left")
        return False

    quiet = [check for check in todo if check.kind == "quiet" and fits(check)]
    if quiet:
        with ThreadPoolExecutor(len(quiet)) as pool:
            for outcome in pool.map(lambda check: perform(check, product), quiet):
                report.add(outcome)
    for check in sorted((check for check in todo if check.kind != "quiet"), key=lambda one: one.kind):
        if fits(check):
            report.add(perform(check, product))
