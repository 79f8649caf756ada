"""What is shipped for Prometheus and Grafana asks only for what is exported (OPS-12)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from leasehold.model.alert_rules import BY_NAME as RULES
from leasehold.runtime.telemetry import BY_NAME

DEPLOY = Path(__file__).parents[2] / "deploy"
OF_PROMETHEUS = {"job", "instance"}
NAME = re.compile(r"\b(?:leasehold|process)_[a-z_]+")
SELECTED = re.compile(r"\b((?:leasehold|process)_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")

pytestmark = pytest.mark.requirement("OPS-12")


def metric(name: str) -> str:
    """The committed name of a series: those of a histogram have endings."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if base in BY_NAME and BY_NAME[base].kind == "histogram" else name


def labels_of(expr: str) -> set[str]:
    """All labels of the metrics that an expression reads."""
    found = {metric(name) for name in NAME.findall(expr)}
    return {label for name in found for label in BY_NAME[name].labels} | OF_PROMETHEUS


def check(expr: str, shown: str = "") -> None:
    """Names, the labels that are selected, grouped by and shown: all of them are exported."""
    for name in NAME.findall(expr):
        assert metric(name) in BY_NAME, f"{name} in {expr} is not exported"
    for name, selected in SELECTED.findall(expr):
        for label in re.findall(r"(\w+)\s*[=!]~?\s*\"", selected):
            assert label in {*BY_NAME[metric(name)].labels, *OF_PROMETHEUS}, (label, expr)
    grouped = {label.strip() for part in GROUPED.findall(expr) for label in part.split(",")}
    assert grouped | set(SHOWN.findall(shown)) <= labels_of(expr), expr
    assert expr.count("(") == expr.count(")")
    for counter in re.findall(r"\b(leasehold_[a-z_]+_total)", expr):
        assert re.search(rf"rate\({counter}[^)]*\[", expr), f"{counter} only grows: {expr}"


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def test_the_dashboard_of_grafana_reads_what_is_exported() -> None:
    """Each panel has a title and a place of its own; each expression reads committed names and labels."""
    board = json.loads((DEPLOY / "grafana" / "leasehold.json").read_text())
    taken: set[tuple[int, int]] = set()
    read: set[str] = set()
    for panel in panels(board):
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            check(target["expr"], target["legendFormat"])
            read |= {metric(name) for name in NAME.findall(target["expr"])}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(read) >= 20
    variables = {one["name"] for one in board["templating"]["list"]}
    assert {"datasource", "job", "instance"} == variables


def test_the_rules_of_prometheus_read_what_is_exported() -> None:
    """Each rule has a severity, a time, and a summary; those of this server come by its own names."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "leasehold.rules.yml").read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) >= 5
    for rule in group["rules"]:
        assert re.fullmatch(r"Leasehold[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+m", rule["for"])
        check(rule["expr"], rule["annotations"]["summary"])
    assert len(RULES) <= BY_NAME["leasehold_alert_level"].series_max
