"""From what was typed behind `leasehold submit` to jobs on the wire (QUEUE-1, 16, 19, 21)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from leasehold.cli import exits
from leasehold.cli.command import ENV, check_there, command_of
from leasehold.cli.moment import moment, wire
from leasehold.cli.run import options as run
from leasehold.cli.session import Failed
from leasehold.cli.submit_options import Wanted
from leasehold.runtime.clock import local_now
from leasehold.runtime.ids import new_code
from leasehold.wire.job import JOBS_AT_ONCE, JobIn, Submit

CALL_BYTES = 4 << 20
"""What one call carries at most: a quarter of what the server takes, so that it waits for no upload."""

GROUP_DIGITS = 6
TYPED = {
    "deadline_at": "--by",
    "earliest_start_at": "--at",
    "start_anyway_by": "--anyway-by",
    "max_attempts": "--retries",
    "retry": "--retry-base",
    "max_runtime_sec": "--max-runtime",
    "expected_duration_sec": "--expect",
    "cost_units": "--cost",
    "resources": "--cpu, --mem, --disk, --gpu",
    "locks": "--lock",
    "constraints": "--constraint",
    "labels": "--label",
    "unique_key": "--unique",
    "slots": "--slots or --group",
    "user": "--user",
    "limits": "--limit",
    "grace_sec": "--grace",
    "argv": "the command",
    "env": "--env",
    "cwd": "--cwd",
}
"""How the fields of a job are called on the command line, where it is not by their own name."""


def job_of(wanted: Wanted, after: Sequence[str], now: datetime | None = None) -> JobIn:
    """The job, or what all jobs of an array share. `after`: full ids. Raises Failed."""
    now = now or local_now()
    given = run.body(wanted)
    given.pop("label", None)
    command = _command(wanted)
    if "path" in given:
        given["path"] = command["cwd"]
    document: dict[str, Any] = given | {
        "exec": command,
        "title": wanted.title,
        "deadline_at": _time("--by", wanted.by, now, ahead=True),
        "earliest_start_at": _time("--at", wanted.at, now, ahead=False),
        "start_anyway_by": _anyway(wanted.anyway_by, now),
        "after": list(after),
        "after_any": wanted.after_any,
        "group": group_of(wanted),
        "labels": dict(wanted.labels),
        "max_attempts": None if wanted.retries is None else wanted.retries + 1,
        "retry": _retry(wanted.retry_base),
        "max_runtime_sec": wanted.max_runtime,
        "needs": wanted.needs,
        "gang": wanted.gang,
        "unique_key": wanted.unique,
        "hold": wanted.hold,
    }
    if wanted.parallel is not None:
        slot = {"name": f"group/{document['group']}", "size": wanted.parallel}
        document["slots"] = [*document.get("slots", []), slot]
    return _checked({name: value for name, value in document.items() if value not in (None, [], "", {})})


def batches(job: JobIn, wanted: Wanted) -> Iterator[Submit]:
    """The calls that submit it: one, or as many as an array takes."""
    if wanted.array is None:
        yield Submit(**msgspec.structs.asdict(job), allow_unfit=wanted.allow_unfit)
        return
    size = len(msgspec.json.encode(job)) + 32
    at_once = max(1, min(JOBS_AT_ONCE, CALL_BYTES // size))
    for first in range(0, len(wanted.array), at_once):
        indices = wanted.array[first : first + at_once]
        yield Submit(
            jobs=[msgspec.structs.replace(job, **_of_index(job, index)) for index in indices],
            allow_unfit=wanted.allow_unfit,
        )


def _of_index(job: JobIn, index: int) -> dict[str, Any]:
    assert job.exec is not None
    found: dict[str, Any] = {"index": index}
    if not index:  # The runner tells a job of its index; to the wire, 0 is none.
        env = job.exec.env | {"LEASEHOLD_ARRAY_INDEX": "0"}
        found["exec"] = msgspec.structs.replace(job.exec, env=env)
    if job.unique_key:
        found["unique_key"] = f"{job.unique_key}/{index}"
    return found


def group_of(wanted: Wanted) -> str:
    """The group that was named; an array without one gets a name of its own, made once."""
    if wanted.group is None and wanted.array is not None:
        program = "".join(c for c in os.path.basename(wanted.command[0]) if c.isascii() and c.isalnum())
        digits = new_code()[:GROUP_DIGITS]
        wanted.group = f"{program[:32] or 'array'}-{digits}"
    return wanted.group or ""


def _command(wanted: Wanted) -> dict[str, Any]:
    """With --user the home is that user's own, so it is not sent."""
    own = tuple(name for name in ENV if not (wanted.user and name == "HOME"))
    command = command_of(wanted.command, wanted.env, wanted.cwd or "", own=own)
    if not wanted.force and not wanted.user:
        check_there(command)
    more = {
        "limits": wanted.limit,
        "grace_sec": None if wanted.grace is None else round(wanted.grace),
        "terminal": wanted.terminal,
        "user": wanted.user,
    }
    return command | {name: value for name, value in more.items() if value is not None}


def _time(option: str, text: str | None, now: datetime, *, ahead: bool) -> str | None:
    if text is None:
        return None
    try:
        found = moment(text, now)
    except ValueError as error:
        raise Failed(exits.USAGE, f"{option} {text}: {error}") from None
    if ahead and found <= now:
        raise Failed(exits.USAGE, f"{option} {text}: lies in the past; say a time to come, like +3h or 06:00")
    return wire(found)


def _anyway(text: str | None, now: datetime) -> str | None:
    return "never" if text == "never" else _time("--anyway-by", text, now, ahead=False)


def _retry(base_s: float | None) -> dict[str, float] | None:
    """The longest pause is an hour, or the first one where that is longer."""
    return None if base_s is None else {"base_sec": base_s, "cap_sec": max(3_600.0, base_s)}


def _checked(document: dict[str, Any]) -> JobIn:
    try:
        return msgspec.json.decode(msgspec.json.encode(document), type=JobIn)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `")
        names = re.sub(r"\[[^]]*\]", "", path.rstrip("`")).split(".")
        field = next((TYPED[name] for name in reversed(names) if name in TYPED), f"--{names[-1]}")
        raise Failed(exits.USAGE, f"{field}: {sentence}") from None
