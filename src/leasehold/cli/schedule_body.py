"""From what was typed to a schedule on the wire (QUEUE-17)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from leasehold.cli import exits
from leasehold.cli.amounts import duration
from leasehold.cli.command import command_of
from leasehold.cli.owner import days_of
from leasehold.cli.session import Failed
from leasehold.wire.job import JobIn
from leasehold.wire.schedule import ScheduleIn

JOB_BYTES_MAX = 32_768

TYPED = {"nightly": "--by", "start_within_sec": "--within", "job": "the command"}
"""Where a field's value stands on the command line, where it is not called so."""


def body_of(
    *,
    name: str,
    command: list[str],
    cron: str,
    nightly: bool,
    by: str,
    start: str,
    days: str,
    zone: str,
    missed: str,
    overlap: str,
    within: str,
    when: str,
    cost: int,
    max_runtime: str,
    env: list[str],
    cwd: str,
    job: str,
    note: str,
    dry_run: bool,
) -> ScheduleIn:
    """The schedule. Raises Failed with what to type instead."""
    if not nightly and (by or start or days):
        raise Failed(exits.USAGE, "--by, --from and --days go with --nightly")
    if bool(cron) == nightly:
        raise Failed(
            exits.USAGE,
            "say when: --cron '30 2 * * *' for a time, or --nightly --by 06:00 for a quiet moment",
        )
    work: dict[str, Any] = _job(job) if job else {"exec": command_of(command, env, cwd)}
    if bool(job) and bool(command):
        raise Failed(exits.USAGE, "a command or --job, not both")
    if when != "quiet" or not job:
        work["start"] = when
    if cost:
        work["cost_units"] = cost
    if max_runtime:
        work["max_runtime_sec"] = _seconds(max_runtime, "--max-runtime")
    document: dict[str, Any] = {
        "name": name,
        "job": work,
        "missed": missed,
        "overlap": overlap,
        "note": note,
        "dry_run": dry_run,
    }
    if nightly:
        document["nightly"] = {"by": by or "06:00", "from": start or "22:00"}
        if days:
            document["nightly"]["days"] = days_of(days)
    else:
        document["cron"] = cron
    if zone:
        document["zone"] = zone
    if within:
        document["start_within_sec"] = _seconds(within, "--within")
    return _checked(document)


def _checked(document: dict[str, Any]) -> ScheduleIn:
    try:
        return msgspec.json.decode(msgspec.json.encode(document), type=ScheduleIn)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`").partition(".")[0]
        where = TYPED.get(field, "NAME" if field == "name" else f"--{field.replace('_', '-')}")
        raise Failed(exits.USAGE, f"{where}: {sentence}") from None


def _job(path: str) -> dict[str, Any]:
    try:
        text = sys.stdin.buffer.read(JOB_BYTES_MAX + 1) if path == "-" else Path(path).read_bytes()
        found = msgspec.json.decode(text, type=JobIn)
    except OSError as error:
        raise Failed(exits.BAD_FILE, f"--job: {path} can't be read ({error.strerror})") from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Failed(exits.BAD_FILE, f"--job: {path} is no job: {error}") from None
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return built


def _seconds(text: str, option: str) -> int:
    try:
        return max(1, round(duration(text)))
    except ValueError as error:
        raise Failed(exits.USAGE, f"{option}: {error}") from None
