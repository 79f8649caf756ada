"""What types can't say about settings: ranges, and what must be in order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from leasehold.api.hosts import is_loopback
from leasehold.api.roles import ROLES, VERBS
from leasehold.config.settings import Settings
from leasehold.core import address
from leasehold.model.errors import Invalid
from leasehold.model.quiet import checked

TENANT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
ROLE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")


def check(settings: Settings) -> None:
    """Raise ValueError with the key and what was expected."""
    try:
        checked(settings.quiet)
    except ValueError as error:
        raise ValueError(f"quiet.{error}") from None
    for key, value, least, most in _ranges(settings):
        if not least <= value <= most:
            raise ValueError(f"{key}: expected {least} to {most}, got {value}")
    _check_curve(settings.capacity.curve)
    if settings.lease.grace_ms > settings.lease.grace_max_ms:
        raise ValueError("lease.grace_ms: expected at most lease.grace_max_ms")
    for field, weights in (
        ("holder_weights", settings.line.holder_weights),
        ("weights", dict(enumerate(settings.line.weights))),
    ):
        for name, weight in weights.items():
            if not 1 <= weight <= 1_000:
                raise ValueError(f"line.{field}.{name}: expected 1 to 1000, got {weight}")
    for name, units in settings.capacity.class_units.items():
        if not 1 <= units <= 100:
            raise ValueError(f"capacity.class_units.{name}: expected 1 to 100, got {units}")
    _check_roles(settings)
    _check_addresses(settings)
    if 60 % settings.history.sample_sec:
        raise ValueError(
            "history.sample_sec: expected 5, 6, 10, 12, 15, 20, 30 or 60, so that minutes are whole"
        )
    _check_backup(settings)


def _check_backup(settings: Settings) -> None:
    """When backups are made, and where they are kept."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", settings.backup.at):
        raise ValueError("backup.at: expected a time of the day, like 03:00")
    if settings.backup.dir and settings.backup.dir[0] not in "/~":
        raise ValueError("backup.dir: expected a path that begins with / or ~")


def _check_addresses(settings: Settings) -> None:
    """Where to listen, where add-ons may be, and where notifications may go."""
    for key, allowed in (
        ("addons", settings.addons.allowed_hosts),
        ("notifications", settings.notifications.allowed_hosts),
    ):
        try:
            address.networks(allowed)
        except ValueError as error:
            raise ValueError(f"{key}.allowed_hosts: {error}") from None
    told = settings.notifications
    if not re.match(r"^$|^https?://[^\s/]+(/\S*)?$", told.page_url):
        raise ValueError("notifications.page_url: expected https://HOST[:PORT], or nothing")
    if not re.match(r"^$|^mailto:[^\s@]+@[^\s@]+$|^https://\S+$", told.contact):
        raise ValueError("notifications.contact: expected mailto:NAME@HOST, https://…, or nothing")
    try:
        is_loopback(settings.host)
    except Invalid as error:
        raise ValueError(error.message) from None
    if settings.tls.port and settings.tls.port == settings.port:
        raise ValueError("tls.port: expected another than port, which stays plain on loopback")


def _check_roles(settings: Settings) -> None:
    """Own roles have verbs that exist and names of their own; groups have roles that exist."""
    for role, its in settings.roles.items():
        if not ROLE_NAME.match(role):
            raise ValueError(f"roles.{role}: expected a name of letters, digits, - and _, at most 64")
        if role in ROLES:
            raise ValueError(f"roles.{role}: a built-in role can't be changed; give yours another name")
        for verb in its.verbs:
            if verb not in VERBS:
                raise ValueError(f"roles.{role}.verbs: unknown verb {verb}{_nearest(verb, VERBS)}")
    roles = [*ROLES, *settings.roles]
    for group, role in settings.identity.groups.items():
        if role not in roles:
            raise ValueError(f"identity.groups.{group}: unknown role {role}{_nearest(role, roles)}")
    for who, tenant in settings.identity.tenants.items():
        if not TENANT_NAME.match(tenant):
            raise ValueError(
                f"identity.tenants.{who}: expected a tenant's name, at most 64 letters, digits, ._@-"
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else f"; expected one of {', '.join(known)}"


def _ranges(settings: Settings) -> Iterator[tuple[str, int, int, int]]:
    day_ms = 86_400_000
    capacity, lease, line, limits = settings.capacity, settings.lease, settings.line, settings.limits
    yield "capacity.headroom_pct", capacity.headroom_pct, 0, 99
    yield "capacity.reserve_units", capacity.reserve_units, 0, 99
    yield "capacity.memory_reserve_bytes", capacity.memory_reserve_bytes, 0, 1 << 50
    yield "capacity.disk_reserve_bytes", capacity.disk_reserve_bytes, 0, 1 << 60
    yield "capacity.max_per_node", capacity.max_per_node, 1, 10_000
    yield "capacity.max_per_holder_per_node", capacity.max_per_holder_per_node, 1, 10_000
    yield "capacity.cpu_heavy_at_once", capacity.cpu_heavy_at_once, 0, 10_000
    yield "capacity.network_heavy_at_once", capacity.network_heavy_at_once, 1, 10_000
    yield "capacity.disk_write_heavy_at_once", capacity.disk_write_heavy_at_once, 1, 10_000
    yield "lease.ttl_ms", lease.ttl_ms, 3_000, day_ms
    yield "lease.offer_ms", lease.offer_ms, 1_000, 600_000
    yield "lease.offer_refresh_ms", lease.offer_refresh_ms, 100, lease.offer_ms
    yield "lease.grace_ms", lease.grace_ms, 0, day_ms
    yield "lease.grace_max_ms", lease.grace_max_ms, 0, day_ms
    yield "lease.ended_shown", lease.ended_shown, 0, 1_000
    yield "line.looked_at", line.looked_at, 1, 10_000
    yield "line.waiters_max", line.waiters_max, 1, 1_000_000
    yield "line.waiters_per_holder_max", line.waiters_per_holder_max, 1, 1_000_000
    yield "line.ticket_ms", line.ticket_ms, 1_000, 7 * day_ms
    yield "line.reserve_slack_ms", line.reserve_slack_ms, 0, 60_000
    yield "limits.request_burst", limits.request_burst, 1, 100_000
    yield "limits.request_per_minute", limits.request_per_minute, 1, 1_000_000
    yield "limits.bulk_burst", limits.bulk_burst, 1, 100_000
    yield "limits.bulk_per_minute", limits.bulk_per_minute, 1, 10_000_000
    yield "limits.idempotency_ms", limits.idempotency_ms, 60_000, 30 * day_ms
    yield "limits.idempotency_per_principal", limits.idempotency_per_principal, 1, 1_000_000
    yield "limits.commands_waiting", limits.commands_waiting, 16, 1_000_000
    yield "limits.bytes_waiting", limits.bytes_waiting, 4 << 20, 1 << 34
    yield "backup.keep", settings.backup.keep, 1, 1_000
    yield "limits.semaphores_max", limits.semaphores_max, 1, 1_000_000
    history, forecast = settings.history, settings.forecast
    yield "history.sample_sec", history.sample_sec, 5, 60
    yield "history.raw_days", history.raw_days, 1, 366
    yield "history.minute_days", history.minute_days, history.raw_days, 3_660
    yield "history.hour_days", history.hour_days, history.minute_days, 3_660
    yield "history.streak_days", history.streak_days, 1, 3_660
    yield "forecast.half_life_days", forecast.half_life_days, 1, 366
    yield "forecast.quiet_from_pct", forecast.quiet_from_pct, 50, 100
    yield "forecast.window_min_sec", forecast.window_min_sec, 900, 86_400


def _check_curve(curve: tuple[tuple[int, int], ...]) -> None:
    """A curve that rises from a score of 0 to one of 100, so that a quieter machine never has less room."""
    scores = [score for score, _ in curve]
    shares = [share for _, share in curve]
    rises = all(a < b for a, b in pairwise(scores)) and all(a <= b for a, b in pairwise(shares))
    whole = bool(curve) and scores[0] == 0 and scores[-1] == 100
    if not whole or not rises or not 0 <= shares[0] <= shares[-1] <= 10_000:
        raise ValueError(
            "capacity.curve: expected (score, share in basis points) from score 0 to 100, scores rising, "
            "shares never falling, within 0 to 10000"
        )
