"""What a program submits, as it writes it and as it goes over the wire (QUEUE-1, 3)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from leasehold.client.amounts import millicores, size
from leasehold.client.asked import Constraint, Priority, Time, seconds
from leasehold.runtime.clock import local_now

PAYLOAD_BYTES = 192 << 10
RESULT_BYTES = 64 << 10
DEPTH_MAX = 60

When = datetime | timedelta | str
"""A moment (without a zone: local time), a time from now on, or RFC 3339 text with its zone."""

ENV_KEPT = ("PATH", "HOME", "LANG")
"""What a command gets of the submitter's environment besides what is named."""


class JobOptions(TypedDict, total=False):
    """What `submit()` takes besides type and payload, all of it by name.

    What it needs: `cost` units (1 to 100), a `cost_class`, or resources: `cpu` cores, `mem`, `disk`, `gpu`;
    `locks`, `slots`, `constraints` (with `path`) as for `lease()`; without any the cost learned from earlier
    jobs of the type. `needs`: capabilities that its worker must have. `gang`: so many leases at once.

    When: `start` ("quiet", the default: when nobody uses the machine, "now", "window"), `at` (not before),
    `by` (done by then, else EXPIRED), `anyway` (from then on also while the machine is in use; "never"),
    `after` (jobs that have to be done first; `after_any`: only ended), `priority`, `hold` (until somebody
    resumes it), `time_sensitive`.

    How: `retries` (0: one attempt) with `backoff` (the first pause, or first and longest: full jitter),
    `max_runtime`, `expect`, `on_busy`, `on_lost`, `enforce`.

    What it is: `unique` (a live job of the same type and key stands for it), `title`, `labels`, `group`,
    `index`, `key` (for `after=["@key"]` in one `submit_many`), `addon`, `tenant`, `node`, `repo_url`.

    `once`: a key under which a call counts once, for 24 hours, whoever repeats it; by default each call has
    one of its own. `allow_unfit` keeps what no known machine could hold. `server`: not the one of here.
    """

    cost: int | None
    cost_class: Literal["LOW", "NORMAL", "HIGH", "AUTO"] | None
    cpu: float | str | None
    mem: int | str | None
    disk: int | str | None
    gpu: int | Mapping[str, int] | None
    locks: Iterable[str]
    slots: Mapping[str, int | None]
    constraints: Iterable[Constraint]
    path: str | os.PathLike[str] | None
    needs: Iterable[str]
    gang: int
    start: Literal["quiet", "now", "window"]
    at: When | None
    by: When | None
    anyway: When | None
    after: Iterable[Any]
    after_any: bool
    priority: Priority | None
    hold: bool
    time_sensitive: bool
    retries: int
    backoff: Time | tuple[Time, Time]
    max_runtime: Time | None
    expect: Time | None
    on_busy: Literal["keep", "throttle", "pause", "stop"] | None
    on_lost: Literal["continue", "stop"] | None
    enforce: bool
    unique: str
    title: str
    labels: Mapping[str, str]
    group: str
    index: int
    key: str
    addon: str | None
    tenant: str | None
    node: str | None
    repo_url: str
    once: str
    allow_unfit: bool
    server: str


OF_THE_CALL = ("once", "allow_unfit", "server")


def check(options: Mapping[str, Any], *, more: Iterable[str] = ()) -> None:
    """Raise TypeError for an option that there is not, with the one that was probably meant."""
    known = {*JobOptions.__annotations__, *more}
    unknown = sorted(set(options) - known)
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise TypeError(f"a job has no option {unknown[0]!r}{hint}")


def body(job_type: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The job as it goes over the wire, without its payload. Raises TypeError, ValueError."""
    check(options)
    found: dict[str, Any] = {
        "job_type": _type(job_type),
        "cost_units": options.get("cost"),
        "cost_class": options.get("cost_class"),
        "resources": _resources(options),
        "locks": _list("locks", options),
        "slots": [
            {"name": name} if count is None else {"name": name, "size": count}
            for name, count in (options.get("slots") or {}).items()
        ],
        "constraints": _list("constraints", options),
        "needs": _list("needs", options),
        "earliest_start_at": moment("at", options.get("at")),
        "deadline_at": moment("by", options.get("by")),
        "start_anyway_by": _anyway(options.get("anyway")),
        "after": [_id_of(one) for one in _list("after", options)],
        "max_attempts": _retries(options.get("retries")),
        "retry": _backoff(options.get("backoff")),
        "max_runtime_sec": _whole("max_runtime", options),
        "expected_duration_sec": _whole("expect", options),
        "unique_key": options.get("unique"),
        "addon_id": options.get("addon"),
        "labels": dict(options.get("labels") or {}),
    }
    for name in (
        *(
            "gang",
            "start",
            "after_any",
            "priority",
            "hold",
            "time_sensitive",
            "on_busy",
            "on_lost",
            "enforce",
        ),
        *("title", "group", "index", "key", "tenant", "node", "repo_url"),
    ):
        found[name] = options.get(name)
    if found["constraints"]:
        found["path"] = os.path.abspath(options.get("path") or os.getcwd())
    _check_costs(options)
    return {name: value for name, value in found.items() if value not in (None, [], "", {}, False)}


def _type(given: Any) -> str:
    if not given or not isinstance(given, str):
        raise TypeError(f"job_type={given!r}: expected a name, like 'thumbnails'")
    return str(given)


def _check_costs(options: Mapping[str, Any]) -> None:
    cost = options.get("cost")
    if cost is not None and (type(cost) is not int or not 1 <= cost <= 100):
        raise ValueError(f"cost={cost!r}: expected a whole number of units from 1 to 100")
    if cost is not None and options.get("cost_class") is not None:
        raise ValueError("cost and cost_class say the same thing twice; give one")
    start = options.get("start", "quiet")
    if start not in ("quiet", "now", "window"):
        raise ValueError(f"start={start!r}: expected one of quiet, now, window")


def _list(name: str, options: Mapping[str, Any]) -> list[Any]:
    given = options.get(name)
    if isinstance(given, str) or hasattr(given, "refresh"):
        raise TypeError(f"{name}: expected a list, like [{given!r}]")
    return list(given or ())


def _id_of(given: Any) -> str:
    found = getattr(given, "id", given)
    if not isinstance(found, str) or not found:
        raise TypeError(f"after={given!r}: expected jobs or their ids")
    return found


def _retries(given: Any) -> int | None:
    if given is None:
        return None
    if type(given) is not int or not 0 <= given < 1_000:
        raise ValueError(f"retries={given!r}: expected a whole number from 0 to 999")
    return given + 1


def _backoff(given: Any) -> dict[str, float] | None:
    if given is None:
        return None
    base, cap = given if isinstance(given, tuple) else (given, None)
    first = seconds("backoff", base)
    assert first is not None
    longest = seconds("backoff", cap)
    return {"base_sec": first, "cap_sec": max(first, 3_600.0) if longest is None else longest}


def _whole(name: str, options: Mapping[str, Any]) -> int | None:
    found = seconds(name, options.get(name))
    return None if found is None else max(1, math.ceil(found))


def _resources(options: Mapping[str, Any]) -> dict[str, Any]:
    gpu = options.get("gpu")
    found: dict[str, Any] = {
        "cpu_millicores": _amount("cpu", options.get("cpu"), millicores),
        "memory_bytes": _amount("mem", options.get("mem"), size),
        "disk_bytes": _amount("disk", options.get("disk"), size),
        "devices": ({"gpu": gpu} if isinstance(gpu, int) else dict(gpu)) if gpu else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _amount(name: str, given: Any, read: Any) -> int | None:
    if given is None:
        return None
    try:
        return int(read(str(given)))
    except ValueError as error:
        raise ValueError(f"{name}={given!r}: {error}") from None


# -- moments


def moment(name: str, given: When | None) -> str | None:
    """RFC 3339 with its zone. Raises TypeError, ValueError."""
    if given is None:
        return None
    if isinstance(given, timedelta):
        given = local_now() + given
    if isinstance(given, str):
        try:
            found = datetime.fromisoformat(given)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise ValueError(
                f"{name}={given!r}: expected a time with its zone, like 2026-12-01T06:00:00+01:00"
            )
        return found.isoformat()
    if not isinstance(given, datetime):
        raise TypeError(f"{name}={given!r}: expected a datetime, a timedelta or a text with zone")
    return (given if given.tzinfo is not None else given.astimezone()).isoformat()


def _anyway(given: When | None) -> str | None:
    return "never" if given == "never" else moment("anyway", given)


# -- payloads


def payload_text(payload: Any, *, what: str = "payload") -> str:
    """JSON of what a worker gets. Raises TypeError for what is none, ValueError where it is too large."""
    must_be_json(payload, what)
    found = json.dumps(payload, separators=(",", ":"), allow_nan=False)
    if len(found) > PAYLOAD_BYTES:
        raise ValueError(
            f"{what}: {len(found):,} bytes of JSON; at most {PAYLOAD_BYTES:,} are taken. "
            "Keep it in a file, and submit its path"
        )
    return found


def must_be_json(value: Any, what: str, depth: int = 0) -> None:
    """Raise TypeError that names the first part that JSON does not have."""
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, str):
        if not _is_text(value):
            raise TypeError(f"{what} is text with a lone surrogate; JSON does not have that")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{what} is {value}; JSON does not have that")
        return
    if depth > DEPTH_MAX:
        raise TypeError(f"{what} is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            must_be_json(one, f"{what}[{place}]", depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str) or not _is_text(key):
                raise TypeError(f"{what} has the key {key!r}; keys of JSON are texts")
            must_be_json(one, f"{what}[{key!r}]", depth + 1)
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise TypeError(
            f"{what} is a {kind}, which is no JSON; pass numbers, texts, lists and dictionaries of them "
            "(of a file its path, of a record its id)"
        )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- commands


def command(
    argv: Iterable[str | os.PathLike[str]],
    *,
    cwd: str | os.PathLike[str] | None,
    env: Iterable[str] | Mapping[str, str],
    grace: Time | None,
    user: str | None,
    limits: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The `exec` of a job. Raises TypeError, ValueError."""
    if isinstance(argv, (str, bytes)):
        raise TypeError(
            "a command is a list of arguments, like ['restic', 'backup', '/home']; no shell reads it"
        )
    words = [os.fspath(word) for word in argv]
    if not words or not all(isinstance(word, str) for word in words):
        raise TypeError(f"a command is a list of texts, the program first; got {words!r}")
    found: dict[str, Any] = {"argv": words, "cwd": os.path.abspath(cwd or os.getcwd()), "env": _env(env)}
    if grace is not None:
        found["grace_sec"] = round(seconds("grace", grace) or 0)
    if user is not None:
        found["user"] = user
    if limits:
        found["limits"] = _limits(limits)
    return found


def _env(given: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ENV_KEPT if name in os.environ}
    if isinstance(given, Mapping):
        return kept | dict(given)
    if isinstance(given, str):
        raise TypeError(f"env: expected a list of names or a dictionary, like [{given!r}]")
    missing = [name for name in given if name not in os.environ]
    if missing:
        raise ValueError(f"env: {missing[0]} is not in the environment of this program")
    return kept | {name: os.environ[name] for name in given}


def _limits(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "cpu_millicores": _amount("limits: cpu", given.get("cpu"), millicores),
        "memory_bytes": _amount("limits: mem", given.get("mem"), size),
        "pids": given.get("pids"),
        "log_bytes": _amount("limits: log", given.get("log"), size),
    }
    unknown = sorted(set(given) - {"cpu", "mem", "pids", "log"})
    if unknown:
        raise TypeError(f"limits: there is no {unknown[0]!r}; expected cpu, mem, pids, log")
    return {name: value for name, value in found.items() if value is not None}
