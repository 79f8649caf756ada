"""What a program asks for, as it writes it and as it goes over the wire (LEASE-1, 19)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict, cast

from leasehold.client.amounts import duration, millicores, size

Constraint = Literal["cpu_heavy", "disk_write_heavy", "network_heavy", "gpu"]
Priority = Literal["URGENT", "HIGH", "NORMAL", "LOW", "BACKGROUND"]
Time = float | str | timedelta
"""Seconds, a text like `90s`, `30m` or `1h30m`, or a timedelta."""


class MoreOptions(TypedDict, total=False):
    """What `lease()` takes besides its `cost`, all of it by name.

    What is asked for: `cost` units (1 to 100, a quiet machine has 90), or a `cost_class`, or resources: `cpu`
    cores (4, 0.5, "500m"), `mem` and `disk` (bytes, "8G"), `gpu` devices (a number, or counts by name).
    Without any of them the cost learned from earlier leases of the `job_type`. `locks` and `slots` (sizes by
    name, None where the size is set already) besides.

    How: `priority`, `start` ("now", or "quiet": when nobody uses the machine), `constraints` (what it will
    press; `path` says on which disk), `expect` (how long it takes), `on_busy` (how it gives way to the
    owner), `on_lost` ("stop" with locks, else "continue"), `enforce` (hold the bound process to its charge),
    `node`, `addon` (the registered add-on it is for), `label` and `job_type` (what others see).

    Waiting: `wait` (without it for ever; 0: not at all), `when_down` ("run", "wait" or "fail" while no server
    answers), `ticket` (a place in line that was kept), `keep_place` (giving up keeps the place), `server`.

    `bind`: this process is the work: it runs at low weight, stands still when the owner needs the machine,
    and keeps the lease for as long as it lives. `export`: what is started meanwhile shares the lease, by
    LEASEHOLD_LEASE; by default where the main thread holds it and no event loop runs.
    """

    cost_class: Literal["LOW", "NORMAL", "HIGH", "AUTO"] | None
    cpu: float | str | None
    mem: int | str | None
    disk: int | str | None
    gpu: int | Mapping[str, int] | None
    locks: Iterable[str]
    slots: Mapping[str, int | None]
    job_type: str | None
    label: str
    priority: Priority | None
    start: Literal["now", "quiet"]
    constraints: Iterable[Constraint]
    path: str | os.PathLike[str] | None
    expect: Time | None
    on_busy: Literal["keep", "throttle", "pause", "stop"] | None
    on_lost: Literal["continue", "stop"] | None
    wait: Time | None
    when_down: Literal["run", "wait", "fail"] | None
    ticket: str
    keep_place: bool
    bind: bool
    enforce: bool
    node: str | None
    addon: str | None
    server: str
    export: bool | None


class LeaseOptions(MoreOptions, total=False):
    """Everything that `lease()` takes, as one dictionary: `lease(**options)`."""

    cost: int | None


def seconds(name: str, given: Time | None) -> float | None:
    """A time as seconds. Raises ValueError that names the option."""
    if isinstance(given, timedelta):
        given = given.total_seconds()
    try:
        found = duration(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"{name}={given!r}: {error}") from None
    if found is not None and not 0 <= found < 1e12:
        raise ValueError(f"{name}={given!r}: expected seconds from 0, or a text like 90s, 30m or 1h30m")
    return found


def check(options: LeaseOptions) -> None:
    """Raise TypeError or ValueError for what can't be meant, before anybody is asked."""
    unknown = sorted(set(options) - LeaseOptions.__annotations__.keys())
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], LeaseOptions.__annotations__, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise TypeError(f"a lease has no option {unknown[0]!r}{hint}")
    cost = options.get("cost")
    if cost is not None and (type(cost) is not int or not 1 <= cost <= 100):
        raise ValueError(f"cost={cost!r}: expected a whole number of units from 1 to 100")
    if cost is not None and options.get("cost_class") is not None:
        raise ValueError("cost and cost_class say the same thing twice; give one")
    for name in ("locks", "constraints"):
        if isinstance(options.get(name), str):
            raise TypeError(f'{name}: expected a list, like ["{options[name]}"]')
    choices = {"start": ("now", "quiet"), "on_busy": ("keep", "throttle", "pause", "stop")}
    choices |= {"on_lost": ("continue", "stop"), "when_down": ("run", "wait", "fail")}
    for name, allowed in choices.items():
        given = options.get(name)
        if given is not None and given not in allowed:
            raise ValueError(f"{name}={given!r}: expected one of {', '.join(allowed)}")
    seconds("wait", options.get("wait"))
    body(options)


def body(options: LeaseOptions) -> dict[str, Any]:
    """The request (LEASE-1) as it goes over the wire, without ticket and waiting time. Raises ValueError."""
    expect_s = seconds("expect", options.get("expect"))
    found: dict[str, Any] = {
        "addon_id": options.get("addon"),
        "job_type": _visible(options.get("job_type") or "python")[:128],
        "cost_units": options.get("cost"),
        "cost_class": options.get("cost_class"),
        "resources": _resources(options),
        "locks": list(options.get("locks") or ()),
        "slots": [
            {"name": name} if count is None else {"name": name, "size": count}
            for name, count in (options.get("slots") or {}).items()
        ],
        "expected_duration_sec": None if expect_s is None else max(1, round(expect_s)),
        "priority": options.get("priority"),
        "constraints": list(options.get("constraints") or ()),
        "node": options.get("node"),
        "start": options.get("start", "now"),
        "on_busy": options.get("on_busy"),
        "on_lost": options.get("on_lost"),
        "label": _visible(options.get("label") or "")[:256],
        "enforce": options.get("enforce") or None,
    }
    if found["constraints"]:
        found["path"] = os.path.abspath(options.get("path") or os.getcwd())
    if not any(found[name] for name in ("cost_units", "cost_class", "resources", "locks", "slots")):
        found["cost_class"] = "AUTO"
    return {name: value for name, value in found.items() if value not in (None, [], "", {})}


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _resources(options: LeaseOptions) -> dict[str, Any]:
    gpu = options.get("gpu")
    found: dict[str, Any] = {
        "cpu_millicores": _amount("cpu", options.get("cpu"), millicores),
        "memory_bytes": _amount("mem", options.get("mem"), size),
        "disk_bytes": _amount("disk", options.get("disk"), size),
        "devices": ({"gpu": gpu} if isinstance(gpu, int) else dict(gpu)) if gpu else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _amount(name: str, given: float | str | None, read: Any) -> int | None:
    if given is None:
        return None
    try:
        return int(read(str(given)))
    except ValueError as error:
        raise ValueError(f"{name}={given!r}: {error}") from None


def stops(options: LeaseOptions) -> bool:
    """Whether the work is to stop when its lease is lost: as it says, else where it holds locks."""
    given = options.get("on_lost")
    return given == "stop" if given is not None else bool(options.get("locks"))


def only_locks(options: LeaseOptions, held: frozenset[str]) -> LeaseOptions | None:
    """What work under an outer lease still has to ask for: locks and slots not held yet; None: nothing."""
    locks = [name for name in options.get("locks") or () if name not in held]
    slots = {name: size for name, size in (options.get("slots") or {}).items() if name not in held}
    if not locks and not slots:
        return None
    left_out = ("cost", "cost_class", "cpu", "mem", "disk", "gpu", "constraints", "enforce", "bind")
    rest = {name: value for name, value in options.items() if name not in left_out}
    return cast(LeaseOptions, rest | {"locks": locks, "slots": slots})
