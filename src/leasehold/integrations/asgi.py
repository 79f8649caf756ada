"""Request figures of any ASGI program, served to Leasehold or pushed to it (SENSE-22).

    app = FastAPI()
    app.add_middleware(LeaseholdStats, addon_id="shop")

A request costs microseconds and constant memory. What is counted is the last minute: rps, p95, answers of
5xx; and how many are in flight now. Where Leasehold knows the program's `base_url` it asks
`GET /api/addons/<id>/stats`, which is answered here, to callers on the same machine only. A program that
nobody can ask pushes instead, each ten seconds, with `push=Push(...)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from leasehold.client.endpoint import Endpoint
from leasehold.runtime.clock import elapsed_ns
from leasehold.runtime.request_stats import Asgi, RequestStats, Scope, Send, StatsMiddleware

__all__ = ["LeaseholdStats", "Push", "figures"]

log = logging.getLogger(__name__)

PUSH_S = 10.0
CUSTOM_BYTES_MAX = 60 << 10
"""Leasehold reads 64 KiB of an answer; more than this is left out, so that the figures arrive."""

HERE = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
NOT_COUNTED = ("/health",)


class Push(msgspec.Struct, frozen=True):
    """Where figures are pushed to, how often, and how long one push may take."""

    endpoint: Endpoint
    every_s: float = PUSH_S
    timeout_s: float = 3.0


def figures(stats: RequestStats) -> dict[str, float | None]:
    """What Leasehold takes as `requests`."""
    found = stats.stats()
    return {
        "rps": found.requests_per_sec,
        "in_flight": found.in_flight,
        "error_pct": found.error_pct,
        "p95_ms": found.p95_ms,
    }


class LeaseholdStats:
    """Counts the requests of an ASGI program, and tells Leasehold.

    `addon_id` is the id under which it is registered. `custom` gives more to show, as a JSON object; it is
    called on the event loop, must not block, and harms nothing where it fails. Paths in `not_counted` are
    passed by. `readers` are the client addresses that may read the figures; None lets everybody.
    """

    def __init__(
        self,
        app: Asgi,
        addon_id: str,
        *,
        custom: Callable[[], dict[str, Any]] = dict,
        not_counted: Iterable[str] = NOT_COUNTED,
        readers: frozenset[str] | None = HERE,
        push: Push | None = None,
    ) -> None:
        self.stats = RequestStats(elapsed_ns)
        self._app = app
        self._counted = StatsMiddleware(app, self.stats)
        self._addon_id = addon_id
        self._path = f"/api/addons/{addon_id}/stats"
        self._custom = custom
        self._not_counted = frozenset(not_counted)
        self._readers = readers
        self._push = push
        self._pushing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        self._start_pushing()
        if scope["type"] != "http" or scope["path"] in self._not_counted:
            await self._app(scope, receive, send)
        elif scope["path"] == self._path and scope["method"] == "GET" and self._may_read(scope):
            await self._serve(send)
        else:
            await self._counted(scope, receive, send)

    def _may_read(self, scope: Scope) -> bool:
        client = scope.get("client")  # None on a Unix socket.
        return self._readers is None or client is None or client[0] in self._readers

    async def _serve(self, send: Send) -> None:
        body = msgspec.json.encode({**self._told(), "requests": figures(self.stats)})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _told(self) -> dict[str, Any]:
        try:
            found = self._custom()
            size = len(msgspec.json.encode(found))
        except Exception:
            log.exception("the custom figures of %s could not be had", self._addon_id)
            return {}
        if size > CUSTOM_BYTES_MAX:
            log.warning("the custom figures of %s are too large: %d bytes", self._addon_id, size)
            return {}
        return found

    # -- pushing

    async def _live(self, scope: Scope, receive: Any, send: Send) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._start_pushing()
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if self._pushing is not None:
                self._pushing.cancel()

    def _start_pushing(self) -> None:
        if self._push is not None and self._pushing is None:
            self._pushing = asyncio.get_running_loop().create_task(
                self._push_on(self._push), name=f"leasehold-stats-{self._addon_id}"
            )

    async def _push_on(self, push: Push) -> None:
        from leasehold.client import calls
        from leasehold.client.aio import AsyncClient
        from leasehold.client.lean import Unreachable
        from leasehold.model.errors import LeaseholdError
        from leasehold.wire.addon import AddonStatsIn, RequestsIn

        path, said = {"addon_id": self._addon_id}, ""
        async with AsyncClient(push.endpoint, connections_max=1) as client:
            while True:
                body = AddonStatsIn(RequestsIn(**figures(self.stats)), self._told())
                try:
                    await client.send(calls.TELL_ADDON_STATS, body, path=path, timeout_s=push.timeout_s)
                    said = ""
                except (Unreachable, LeaseholdError) as error:  # Told once; the next push tries again.
                    if said != str(error):
                        said = str(error)
                        log.warning("Leasehold does not take the figures of %s: %s", self._addon_id, said)
                await asyncio.sleep(push.every_s)
