"""Counting requests as pure ASGI: microseconds each, constant memory (SENSE-4).

Leasehold's own requests are counted and shown; nothing here feeds quietness, so asking never makes a
machine busy.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from leasehold.model.snapshot import ApiStats, RouteStats

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Any, Send], Awaitable[None]]

ROUTE = "leasehold.route"
HOLD = "leasehold.hold"
"""Where the scope has a function to call before a request waits on purpose.

Such a one stands in no percentile.
"""

STATUS = "leasehold.status"
"""Where the application leaves the status of an answer that it did not send through `send`."""

WINDOW_S = 60
SLOT_S = 10
SLOTS = WINDOW_S // SLOT_S + 1
LEAST_MS = 0.125
PER_DOUBLING = 2
BUCKETS = 44
"""Two buckets per doubling from 0.125 ms to above 7 min, so that the middle of one is at most 19 % off."""

ROUTES_MAX = 256
OTHER = "other"
TOP_ROUTES = 20
NS_PER_S = 1_000_000_000
SLOT_NS = SLOT_S * NS_PER_S


def bucket_of(duration_ns: int) -> int:
    """The bucket of a duration."""
    if duration_ns <= LEAST_MS * 1e6:
        return 0
    return min(BUCKETS - 1, 1 + int(PER_DOUBLING * math.log2(duration_ns / (LEAST_MS * 1e6))))


def middle_ms(bucket: int) -> float:
    """The geometric middle of a bucket."""
    return float(LEAST_MS * 2 ** ((bucket - 0.5) / PER_DOUBLING))


class Slot:
    """What ended within one span of `SLOT_S`."""

    __slots__ = ("buckets", "client_errors", "count", "errors", "number")

    def __init__(self) -> None:
        self.clear(-1)

    def clear(self, number: int) -> None:
        self.number = number
        self.count = self.errors = self.client_errors = 0
        self.buckets = [0] * BUCKETS


class Route:
    """Totals of one route since start."""

    __slots__ = ("by_status", "count", "duration_ns", "errors")

    def __init__(self) -> None:
        self.count = self.errors = self.duration_ns = 0
        self.by_status: dict[int, int] = {}


class RequestStats:
    """The figures. `elapsed_ns` is a clock that only ever grows."""

    def __init__(self, elapsed_ns: Callable[[], int]) -> None:
        self.elapsed_ns = elapsed_ns
        self.in_flight = 0
        self.held = 0
        self._started_ns = elapsed_ns()
        self._slots = [Slot() for _ in range(SLOTS)]
        self._routes: dict[str, Route] = {}
        self._requests = self._errors = self._client_errors = 0

    def ended(self, route: str, status: int, duration_ns: int, *, held: bool) -> None:
        """One request has been answered."""
        number = self.elapsed_ns() // SLOT_NS
        slot = self._slots[number % SLOTS]
        if slot.number != number:
            slot.clear(number)
        slot.count += 1
        self._requests += 1
        failed = status >= 500
        if failed:
            slot.errors += 1
            self._errors += 1
        elif status >= 400:
            slot.client_errors += 1
            self._client_errors += 1
        if not held:
            slot.buckets[bucket_of(duration_ns)] += 1
        self._count_route(route, status, 0 if held else duration_ns, failed=failed)

    def _count_route(self, name: str, status: int, duration_ns: int, *, failed: bool) -> None:
        route = self._routes.get(name)
        if route is None:
            if len(self._routes) >= ROUTES_MAX:
                name = OTHER
            route = self._routes.setdefault(name, Route())
        route.count += 1
        route.errors += failed
        route.duration_ns += duration_ns
        route.by_status[status] = route.by_status.get(status, 0) + 1

    def totals(self) -> Iterator[tuple[tuple[str, str], float]]:
        """(route, status) and how many were answered so, since start."""
        for name, route in list(self._routes.items()):
            for status, count in list(route.by_status.items()):
                yield (name, str(status)), count

    def _recent(self) -> tuple[int, int, list[Slot]]:
        """Now, the number of the newest slot, and the slots of the window."""
        now_ns = self.elapsed_ns()
        newest = now_ns // SLOT_NS
        return now_ns, newest, [slot for slot in self._slots if newest - slot.number < SLOTS]

    def quantiles(self) -> tuple[int, float | None, float | None, float | None]:
        """How many requests of the last minute did not wait on purpose, and their p50, p90 and p99 in ms."""
        buckets = _summed(self._recent()[2])
        p50, p90, p99 = (percentile_ms(buckets, percent) for percent in (50, 90, 99))
        return sum(buckets), p50, p90, p99

    @property
    def invalid(self) -> int:
        """Requests that made no sense, since start: answered 400 or 422."""
        return sum(
            route.by_status.get(400, 0) + route.by_status.get(422, 0) for route in self._routes.values()
        )

    def stats(self) -> ApiStats:
        """The figures of the last minute, and the totals."""
        now_ns, newest, recent = self._recent()
        count = sum(slot.count for slot in recent)
        # The newest slot is only begun: the window is the full slots before it and what there is of it.
        span_s = min(now_ns - self._started_ns, now_ns - (newest - SLOTS + 1) * SLOT_NS) / NS_PER_S
        buckets = _summed(recent)
        errors = sum(slot.errors for slot in recent)
        client_errors = sum(slot.client_errors for slot in recent)
        return ApiStats(
            requests=self._requests,
            in_flight=self.in_flight,
            held=self.held,
            requests_per_sec=round(count / max(span_s, 1.0), 2),
            error_pct=round(100 * errors / count, 2) if count else 0.0,
            client_error_pct=round(100 * client_errors / count, 2) if count else 0.0,
            errors=self._errors,
            client_errors=self._client_errors,
            p50_ms=percentile_ms(buckets, 50),
            p95_ms=percentile_ms(buckets, 95),
            p99_ms=percentile_ms(buckets, 99),
            routes=self._top_routes(),
        )

    def _top_routes(self) -> tuple[RouteStats, ...]:
        most_first = sorted(self._routes.items(), key=lambda item: (-item[1].count, item[0]))[:TOP_ROUTES]
        return tuple(
            RouteStats(name, route.count, route.errors, round(route.duration_ns / route.count / 1e6, 3))
            for name, route in most_first
        )


def _summed(slots: list[Slot]) -> list[int]:
    return [sum(column) for column in zip(*(slot.buckets for slot in slots), strict=True)]


def percentile_ms(buckets: list[int], percent: int) -> float | None:
    """The middle of the bucket in which that share of the requests is reached; None without any."""
    total = sum(buckets)
    if total == 0:
        return None
    wanted = -(-total * percent // 100)
    seen = 0
    for number, count in enumerate(buckets):
        seen += count
        if seen >= wanted:
            return round(middle_ms(number), 3)
    raise AssertionError("a percentile lies within its buckets")


class StatsMiddleware:
    """Wraps an ASGI application and counts its HTTP requests."""

    def __init__(self, app: Asgi, stats: RequestStats) -> None:
        self._app = app
        self._stats = stats

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stats = self._stats
        status = 0
        held = False

        async def counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        def hold() -> None:
            nonlocal held
            if not held:
                held = True
                stats.held += 1
                stats.in_flight -= 1

        scope[HOLD] = hold
        stats.in_flight += 1
        started_ns = stats.elapsed_ns()
        try:
            await self._app(scope, receive, counted)
        except BaseException:
            status = status or 500
            raise
        finally:
            if held:
                stats.held -= 1
            else:
                stats.in_flight -= 1
            # Nothing was sent where the client went away first.
            stats.ended(
                _route(scope), status or scope.get(STATUS, 499), stats.elapsed_ns() - started_ns, held=held
            )


def _route(scope: Scope) -> str:
    """The template of the route, never the path: paths have no limit in number."""
    name = scope.get(ROUTE)
    if name is None:
        name = getattr(scope.get("route"), "path", OTHER)
    return f"{scope['method']} {name}"
