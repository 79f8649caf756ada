"""Counting requests: rates, percentiles, routes, held calls, and what it costs (SENSE-4)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from leasehold.runtime.request_stats import (
    BUCKETS,
    HOLD,
    OTHER,
    ROUTE,
    ROUTES_MAX,
    RequestStats,
    StatsMiddleware,
    bucket_of,
    middle_ms,
)

SECOND = 1_000_000_000


class Elapsed:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.ns


def scope(path: str = "/x") -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path}


async def call(app: StatsMiddleware, given: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(given, None, send)
    return sent


def answering(
    status: int, *, clock: Elapsed | None = None, took_ms: int = 0, route: str | None = "/x/{id}"
) -> Any:
    async def app(given: dict[str, Any], receive: Any, send: Any) -> None:
        if route is not None:
            given[ROUTE] = route
        if clock is not None:
            clock.ns += took_ms * 1_000_000
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.requirement("SENSE-4")
async def test_requests_errors_and_routes_are_counted_by_template() -> None:
    """5xx are errors, 4xx are apart, routes go by template and never by path."""
    stats = RequestStats(Elapsed())
    for status in (200, 200, 404, 500):
        sent = await call(StatsMiddleware(answering(status), stats), scope(f"/x/{status}"))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    found = stats.stats()
    assert (found.requests, found.errors, found.client_errors, found.in_flight) == (4, 1, 1, 0)
    assert (found.error_pct, found.client_error_pct) == (25.0, 25.0)
    assert [(route.route, route.count, route.errors) for route in found.routes] == [("GET /x/{id}", 4, 1)]
    assert dict(stats.totals()) == {
        ("GET /x/{id}", "200"): 2,
        ("GET /x/{id}", "404"): 1,
        ("GET /x/{id}", "500"): 1,
    }


@pytest.mark.requirement("SENSE-4")
async def test_what_the_application_raises_is_a_500_and_goes_on_its_way() -> None:
    """The exception is not swallowed, and the request is no longer in flight."""

    async def broken(given: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    stats = RequestStats(Elapsed())
    with pytest.raises(ZeroDivisionError):
        await call(StatsMiddleware(broken, stats), scope())
    assert (stats.stats().errors, stats.stats().in_flight) == (1, 0)


@pytest.mark.requirement("SENSE-4")
async def test_rates_and_percentiles_are_those_of_the_last_minute() -> None:
    """120 requests in a minute are about 2/s; a minute later there are none."""
    clock = Elapsed()
    stats = RequestStats(clock)
    clock.ns += 60 * SECOND
    for number in range(120):
        await call(
            StatsMiddleware(answering(200, clock=clock, took_ms=400 if number >= 108 else 4), stats), scope()
        )
        clock.ns += SECOND // 2
    found = stats.stats()
    assert found.requests_per_sec == pytest.approx(1.8, abs=0.2)
    assert found.p50_ms == pytest.approx(4, rel=0.2)
    assert found.p95_ms == pytest.approx(400, rel=0.2)
    clock.ns += 70 * SECOND
    later = stats.stats()
    assert (later.requests_per_sec, later.p95_ms, later.requests) == (0.0, None, 120)


@pytest.mark.requirement("SENSE-4")
async def test_a_held_call_is_shown_apart_and_stands_in_no_percentile() -> None:
    """While it waits it is held and not in flight; its five minutes are nobody's latency."""
    clock = Elapsed()
    stats = RequestStats(clock)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def holding(given: Any, receive: Any, send: Any) -> None:
        given[HOLD]()
        given[HOLD]()
        waiting.set()
        await go_on.wait()
        await answering(200)(given, receive, send)

    task = asyncio.ensure_future(call(StatsMiddleware(holding, stats), scope()))
    await waiting.wait()
    assert (stats.stats().held, stats.stats().in_flight) == (1, 0)
    clock.ns += 300 * SECOND
    go_on.set()
    await task
    found = stats.stats()
    assert (found.held, found.in_flight, found.requests, found.p99_ms) == (0, 0, 1, None)


@pytest.mark.requirement("SENSE-4")
async def test_memory_does_not_grow_with_paths() -> None:
    """Beyond the limit new routes are counted together; what has no route at all is, from the start."""
    stats = RequestStats(Elapsed())
    for number in range(ROUTES_MAX + 50):
        await call(StatsMiddleware(answering(200, route=f"/{number}"), stats), scope())
    names = {name for (name, _), _ in stats.totals()}
    assert len(names) == ROUTES_MAX + 1
    assert OTHER in names
    unrouted = RequestStats(Elapsed())
    for number in range(50):
        await call(StatsMiddleware(answering(404, route=None), unrouted), scope(f"/scan/{number}"))
    assert [name for (name, _), _ in unrouted.totals()] == [f"GET {OTHER}"]


@pytest.mark.requirement("SENSE-4")
def test_the_middle_of_a_bucket_is_at_most_19_percent_off() -> None:
    """Two buckets a doubling, from an eighth of a millisecond to over five minutes."""
    for number in range(200):
        exact_ms = 0.13 * 1.076**number
        bucket = bucket_of(int(exact_ms * 1e6))
        if bucket == BUCKETS - 1:
            break
        assert middle_ms(bucket) == pytest.approx(exact_ms, rel=0.19)
    assert exact_ms > 200_000
    assert bucket_of(0) == 0


@pytest.mark.serial
@pytest.mark.requirement("SENSE-4")
async def test_a_request_costs_microseconds() -> None:
    """The best of twenty rounds of 500 calls, less the same without the middleware: below 20 µs."""

    async def app(given: Any, receive: Any, send: Any) -> None:
        given[ROUTE] = "/x"
        await send({"type": "http.response.start", "status": 200})

    async def send(message: Any) -> None:
        pass

    async def cost_us(target: Any) -> float:
        best = float("inf")
        for _ in range(20):
            started = time.perf_counter_ns()
            for _ in range(500):
                await target(scope(), None, send)
            best = min(best, (time.perf_counter_ns() - started) / 500 / 1000)
        return best

    bare_us, counted_us = (
        await cost_us(app),
        await cost_us(StatsMiddleware(app, RequestStats(time.perf_counter_ns))),
    )
    assert counted_us - bare_us < 20, f"{counted_us - bare_us:.1f} µs"
