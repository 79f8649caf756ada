"""Add-ons: decisions on the registry, and what their figures are worth (SENSE-5, 21, 22)."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from leasehold.core.address import Network, is_in
from leasehold.core.address import networks as networks
from leasehold.core.state import ADDONS, Change, Outcome, Stamp, State
from leasehold.model.addon import NOBODY, Addon, RequestFigures, Worst
from leasehold.model.errors import NotFound, Overloaded
from leasehold.model.event import Event

ADDONS_MAX = 64
"""Each is asked by itself: twice as many connections to add-ons are open at the most."""

LEAST_RPS = 0.1
"""Below six requests a minute p95 and errors say nothing of a load: one slow page is no busy machine."""

MOST = RequestFigures(rps=1e6, in_flight=1e6, error_pct=100.0, p95_ms=3_600_000.0)
"""What is more than any machine does is taken for this: it presses fully either way."""

DEPTH_MAX = 8
NUMBERS_MAX = 64
"""Numbers of `custom` that history keeps of one add-on: two hundred bytes a sample."""
NAME_CHARS_MAX = 64
FIGURE_MAX = 1e15

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<prefix>(?:/[A-Za-z0-9._~-]+)*)/?"
)


# -- the registry


def register(state: State, addon: Addon, stamp: Stamp, by: str) -> Outcome:
    """Add one, or take up what has changed of it. Answer: its record.

    Whether it is allowed stays as it is: one that was disabled can't come back by itself. The same again
    changes nothing, since add-ons register at each of their starts. Raises Overloaded.
    """
    known = state.addons.get(addon.addon_id)
    if known is None and len(state.addons) >= ADDONS_MAX:
        raise Overloaded(f"{ADDONS_MAX} add-ons are registered; remove one that is gone")
    if known is not None:
        addon = msgspec.structs.replace(
            addon, enabled=known.enabled, at_wall_ms=known.at_wall_ms, by=known.by
        )
    outcome = Outcome(addon)
    if addon != known:
        kind = "AddonRegistered" if known is None else "AddonChanged"
        details = {"name": addon.name, "version": addon.version}
        outcome.changes.append(Change(ADDONS, addon.addon_id, addon))
        outcome.events.append(Event(kind, addon.addon_id, stamp.wall_ms, by, details=details))
    return outcome


def set_enabled(state: State, addon_id: str, enabled: bool, stamp: Stamp, by: str) -> Outcome:
    """Allow it, or let it have nothing new. Idempotent. Answer: its record. Raises NotFound."""
    known = find(state, addon_id)
    addon = msgspec.structs.replace(known, enabled=enabled)
    outcome = Outcome(addon)
    if addon != known:
        kind = "AddonEnabled" if enabled else "AddonDisabled"
        outcome.changes.append(Change(ADDONS, addon_id, addon))
        outcome.events.append(Event(kind, addon_id, stamp.wall_ms, by))
    return outcome


def remove(state: State, addon_id: str, stamp: Stamp, by: str) -> Outcome:
    """Forget it. Raises NotFound."""
    find(state, addon_id)
    outcome = Outcome()
    outcome.changes.append(Change(ADDONS, addon_id, None))
    outcome.events.append(Event("AddonRemoved", addon_id, stamp.wall_ms, by))
    return outcome


def find(state: State, addon_id: str) -> Addon:
    """The record. Raises NotFound."""
    addon = state.addons.get(addon_id)
    if addon is None:
        raise NotFound(f"no add-on {addon_id} is registered; see `leasehold addon list`", addon_id=addon_id)
    return addon


# -- where it answers


class Url(NamedTuple):
    """A base address, taken apart. `host` has no brackets; `prefix` no slash at its end."""

    scheme: str
    host: str
    port: int
    prefix: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def base_url(text: str) -> Url:
    """The parts of a base address. Raises ValueError with what was expected."""
    found = _URL.fullmatch(text)
    if found is None or ".." in found["prefix"].split("/"):
        raise ValueError("expected http://HOST:PORT, or https, with nothing but a plain path behind it")
    port = int(found["port"]) if found["port"] else {"http": 80, "https": 443}[found["scheme"]]
    if not 1 <= port <= 65535:
        raise ValueError("expected a port from 1 to 65535")
    return Url(found["scheme"], found["host"].strip("[]").lower(), port, found["prefix"].rstrip("/"))


def literal_addresses(host: str) -> tuple[str, ...]:
    """The addresses of a host that needs no name service: an address itself, or `localhost`; else nothing."""
    if host == "localhost":
        return ("127.0.0.1", "::1")
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return ()


def admitted(host: str, addresses: Sequence[str], allowed: Sequence[Network]) -> tuple[str, ...]:
    """The addresses of a host, where all of them are in an allowed network. Raises ValueError with the first
    that is not.

    IPv4 within IPv6 counts as IPv4. `localhost` stands for two addresses, of which one is enough.
    """
    found = tuple(text for text in addresses if is_in(text, allowed))
    if found != tuple(addresses) and not (host == "localhost" and found):
        stray = next((text for text in addresses if text not in found), "nothing")
        raise ValueError(f"{host} is at {stray}, where the setting addons.allowed_hosts lets no add-on be")
    return found


# -- what it tells of itself


def judged(raw: Any) -> tuple[RequestFigures, str]:
    """The figures that an application sent as `requests`, and a sentence on those that can't be taken.

    A figure is a number from 0, and at most `MOST`, to which greater ones are cut. Anything else is left out.
    """
    if not isinstance(raw, Mapping):
        return RequestFigures(), "requests: expected an object with rps, in_flight, error_pct, p95_ms"
    taken: dict[str, float] = {}
    refused: list[str] = []
    for name in RequestFigures.__struct_fields__:
        value = raw.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            refused.append(name)
        else:
            taken[name] = float(min(value, getattr(MOST, name)))
    why = f"requests: {', '.join(refused)}: expected a number from 0" if refused else ""
    return RequestFigures(**taken), why


def worst(told: Mapping[str, RequestFigures]) -> Worst:
    """The greatest figures over all applications by id: the group `api` of quietness (SENSE-22)."""
    if not told:
        return NOBODY
    notes: dict[str, str] = {}

    def greatest(field: str, name: str, scale: int) -> int | None:
        values = {key: _counted(figures, field) for key, figures in told.items()}
        known = [(value, key) for key, value in values.items() if value is not None]
        if not known:
            return None
        value, notes[name] = max(known)
        return math.floor(value * scale)

    return Worst(
        p95_ms=greatest("p95_ms", "p95_ms", 1),
        in_flight=greatest("in_flight", "in_flight", 1),
        requests_per_1000_s=greatest("rps", "rps", 1000),
        errors_bp=greatest("error_pct", "error_pct", 100),
        notes=notes,
    )


def _counted(figures: RequestFigures, field: str) -> float | None:
    """A figure as far as it counts: shares and percentiles of hardly any requests don't."""
    if field in ("p95_ms", "error_pct") and figures.rps is not None and figures.rps < LEAST_RPS:
        return None
    value: float | None = getattr(figures, field)
    return value


def deeper_than(value: Any, levels: int) -> bool:
    """Whether decoded JSON is nested deeper than so many objects and lists."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for one in layer for inner in _inside(one)]
        if not layer:
            return False
    return any(isinstance(one, dict | list) for one in layer)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def numbers(custom: Any) -> dict[str, float]:
    """The numbers within `custom`, by dotted names like `custom.queue.length`, for history.

    At most `NUMBERS_MAX`, in their order; names that are not plain, and figures beyond any use, are left out.
    """
    found: dict[str, float] = {}
    waiting: list[tuple[str, Any]] = [("custom", custom)]
    while waiting and len(found) < NUMBERS_MAX:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [
                (f"{name}.{key}", inner)
                for key, inner in reversed(value.items())
                if isinstance(key, str) and _NAME.fullmatch(key) and len(name) + len(key) < NAME_CHARS_MAX
            ]
        elif isinstance(value, bool):
            found[name] = int(value)
        elif isinstance(value, int | float) and abs(value) <= FIGURE_MAX:
            found[name] = value
    return found
