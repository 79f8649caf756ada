"""Writes what docs/reference takes from the program: the API, errors, settings, metrics, policy.

python tools/reference.py write | check
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from itertools import starmap
from pathlib import Path

import cli_page
import policy_page

from leasehold.api.errors import TABLE, TITLES, Row
from leasehold.api.openapi import document
from leasehold.api.roles import LOCAL, ROLES, VERBS
from leasehold.api.routes import ENDPOINTS
from leasehold.config.load import PREFIX, RESERVED
from leasehold.config.pages import flat, schema, toml
from leasehold.config.settings import FIXED, Settings
from leasehold.model.alert import Rule
from leasehold.model.alert_rules import RULES
from leasehold.model.errors import LeaseholdError
from leasehold.runtime.telemetry import METRICS, Metric

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

WRITTEN = "Written by `make reference` from the program itself."


def openapi() -> str:
    """The contract of the HTTP API."""
    return json.dumps(document(ENDPOINTS), indent=1, ensure_ascii=False) + "\n"


def config_schema() -> str:
    """The JSON Schema of the configuration file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def table(head: str, rows: Iterable[str]) -> list[str]:
    """A table whose head is `a | b`."""
    return [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *rows]


def errors() -> str:
    """Every error code on every transport, and what each role may do."""
    return "\n".join(
        [
            "# Errors and rights",
            "",
            WRITTEN,
            "Over HTTP an error is a problem document (RFC 9457) with `title`, `status`, `detail`,",
            "`code`, `request_id`, and where they apply `fields` (field, and what was expected), `reasons`,",
            "`retry_after_sec` and `details`.",
            "",
            *table("code | HTTP | gRPC | WebSocket | exit code | means", starmap(error_row, TABLE.items())),
            "",
            "## Rights",
            f"Local users on the Unix socket have {listed(LOCAL)} beside their role.",
            "",
            *table(f"right | allows | {' | '.join(ROLES)}", starmap(verb_row, VERBS.items())),
            "",
        ]
    )


def error_row(kind: type[LeaseholdError], row: Row) -> str:
    """One class of errors on every transport."""
    means = (kind.__doc__ or "").partition("\n")[0]
    status = f"{row.http} {TITLES[row.http]}"
    return f"| `{kind.code}` | {status} | {row.grpc} | {row.websocket} | {row.exit} | {means} |"


def verb_row(verb: str, what: str) -> str:
    """One right, and which roles have it."""
    return f"| `{verb}` | {what} | {' | '.join('yes' if verb in verbs else '' for verbs in ROLES.values())} |"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(f"`{name}`" for name in sorted(names))


def config() -> str:
    """Every setting with its default."""
    return "\n".join(
        [
            "# Settings",
            "",
            WRITTEN,
            "A flag goes before a variable, a variable before the file, the file before the default. The",
            "file is `leasehold/config.toml` in the XDG configuration folder, or what LEASEHOLD_CONFIG says;",
            "its schema is [config.schema.json](config.schema.json). `a.b` is `b` in the table `[a]`, and",
            "LEASEHOLD_A__B in the environment. SIGHUP takes up changes, but for what takes a restart. The",
            "data folder is in the XDG data folder; the defaults of `quiet` are those of preset `server`.",
            f"These variables are no settings, but known: {listed(RESERVED)}.",
            "",
            *table("setting | variable | default | restart", starmap(setting_row, flat(Settings()))),
            "",
        ]
    )


def setting_row(key: str, value: object) -> str:
    """One setting."""
    variable = PREFIX + key.upper().replace(".", "__")
    return f"| `{key}` | `{variable}` | `{toml(value)}` | {'yes' if key in FIXED else ''} |"


def metrics() -> str:
    """Every metric with its labels and budget."""
    return "\n".join(
        [
            "# Metrics",
            "",
            WRITTEN,
            "`GET /metrics` answers in the text format of Prometheus and needs the right `stats:read`. No",
            "metric exports more series than its budget: the others are counted in",
            "`leasehold_metric_series_dropped`.",
            "",
            *table("metric | kind | labels | series at most | help", map(metric_row, METRICS)),
            "",
        ]
    )


def metric_row(each: Metric) -> str:
    """One metric."""
    return f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.series_max} | {each.help} |"


def alerts() -> str:
    """Every built-in rule with what it fires at."""
    return "\n".join(
        [
            "# Alert rules",
            "",
            WRITTEN,
            "`leasehold alert thresholds set` and `PUT /api/config/alert-thresholds` change what a rule",
            "fires at; [the guide](../guide/alerts.md) tells the life of an alert. A rule is there where",
            "its part is.",
            "",
            *table(
                "rule | fires | warning | critical | for | cooldown | may be set | cure", map(rule_row, RULES)
            ),
            "",
        ]
    )


def rule_row(rule: Rule) -> str:
    """One rule."""
    bounds = f"{rule.least:g} to {rule.most:g}" if rule.has_thresholds else ""
    levels = (
        f"{value:g} {rule.unit}".strip() if value is not None else ""
        for value in (rule.warning, rule.critical)
    )
    side = f"{rule.way}: " if rule.unit else ""
    return (
        f"| `{rule.name}` | {side}{rule.measured} | {' | '.join(levels)} | {rule.for_ms // 1000} s "
        f"| {rule.cooldown_ms // 1000} s | {bounds} | {rule.cure} |"
    )


PAGES: dict[str, Callable[[], str]] = {
    "openapi.json": openapi,
    "config.schema.json": config_schema,
    "errors.md": errors,
    "config.md": config,
    "metrics.md": metrics,
    "alerts.md": alerts,
    "policy.md": policy_page.page,
    "cli.md": cli_page.page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or name those that would change."""
    if arguments == ["write"]:
        for name, made in PAGES.items():
            (FOLDER / name).write_text(made(), encoding="utf-8")
        return 0
    if arguments == ["check"]:
        stale = [
            name
            for name, made in PAGES.items()
            if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != made()
        ]
        print("\n".join(f"docs/reference/{name}: `make reference` writes it anew" for name in stale))
        return int(bool(stale))
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
