"""What a benchmark hands back: figures with units, targets and notes; as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value. `name` is stable: acceptance checks look figures up by it."""

    name: str
    value: float
    unit: str
    note: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target holds; None when the figure has none."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return above and below

    @property
    def target(self) -> str:
        bounds = []
        if self.at_least is not None:
            bounds.append(f">= {number(self.at_least)}")
        if self.at_most is not None:
            bounds.append(f"<= {number(self.at_most)}")
        return " and ".join(bounds)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one benchmark. `not_measured` says why a part is missing, and fails the run."""

    name: str
    requirement: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    not_measured: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        return not self.not_measured and all(figure.is_met is not False for figure in self.figures)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All reports of one run, with what they were measured on."""

    machine: dict[str, str]
    is_quick: bool
    reports: tuple[Report, ...]


def number(value: float) -> str:
    """Three to four significant digits without an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


def table(report: Report, is_judged: bool) -> str:
    """The report for people; targets are judged only when the run was long enough to mean something."""
    lines = [f"{report.name} ({report.requirement})"]
    rows = [(f.name, number(f.value), f.unit, _verdict(f, is_judged), f.note) for f in report.figures]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for name, value, unit, verdict, note in rows:
        cells = (
            f"  {name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  {verdict:<{widths[3]}}  {note}"
        )
        lines.append(cells.rstrip())
    lines += [f"  note: {note}" for note in report.notes]
    lines += [f"  NOT MEASURED: {reason}" for reason in report.not_measured]
    return "\n".join(lines)


def _verdict(figure: Figure, is_judged: bool) -> str:
    if figure.is_met is None:
        return ""
    if not is_judged:
        return f"(target {figure.target})"
    return f"{'PASS' if figure.is_met else 'FAIL'} {figure.target}"


def as_json(run: Run) -> str:
    return msgspec.json.format(msgspec.json.encode(run), indent=1).decode()


def is_met(reports: Sequence[Report]) -> bool:
    return all(report.is_met for report in reports)
