"""Services without a ledger, for tests of the edge alone: they record calls and answer at once, or wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from leasehold.api.app import App
from leasehold.api.auth import Gate, token_hash
from leasehold.api.express import Express
from leasehold.api.pipeline import Pipeline
from leasehold.api.routes import ENDPOINTS
from leasehold.api.server import Listener, Server, tcp_socket
from leasehold.api.services import Services
from leasehold.api.tls import Tls
from leasehold.model.errors import LeaseholdError
from leasehold.model.principal import Principal
from leasehold.runtime.clock import elapsed_ns
from leasehold.runtime.ids import RequestIds
from leasehold.runtime.redaction import Redactor
from leasehold.runtime.request_stats import RequestStats, StatsMiddleware
from leasehold.wire.lease import HeavyLeaseRequest, HeavyLeaseResponse

TOKEN = "lsh_" + "t" * 43


class FakeLeases:
    """Grants everything; `refusal` is raised at the door, `failure` by the call; `hold` makes calls wait."""

    def __init__(self) -> None:
        self.asked: list[HeavyLeaseRequest] = []
        self.admitted: list[tuple[int, str]] = []
        self.inside = 0
        self.refusal: LeaseholdError | None = None
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def admit(self, principal: Principal, body_bytes: int, lane: str) -> Callable[[], None]:
        """Count who is inside."""
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append((body_bytes, lane))
        self.inside += 1
        return self._left

    def _left(self) -> None:
        self.inside -= 1

    async def request(self, principal: Principal, body: HeavyLeaseRequest, **_: Any) -> HeavyLeaseResponse:
        """Grant, after `hold` where it is set."""
        self.asked.append(body)
        if self.failure is not None:
            raise self.failure
        if self.hold is not None:
            self.waiting.set()
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return HeavyLeaseResponse(approved=True, reason="granted", lease_id="lease-1", fencing_token=1)


class FakeEdge:
    """The whole edge over a fake service, listening on a port of loopback."""

    def __init__(self, connections_max: int = 64, tls: Tls | None = None) -> None:
        ids = RequestIds()
        self.leases = FakeLeases()
        self.pipeline = Pipeline(Gate(admin_hash=token_hash(TOKEN), owner_uid=0), Redactor())
        self.stats = RequestStats(elapsed_ns)
        app = App(ENDPOINTS, self.pipeline, ids.new)
        app.prepare()
        sock = tcp_socket("127.0.0.1", 0)
        self.port: int = sock.getsockname()[1]
        self.express = Express(app, self.stats, ids.new)
        self.server = Server(
            StatsMiddleware(app, self.stats),
            [Listener(sock, tls=tls)],
            new_request_id=ids.new,
            express=self.express,
            connections_max=connections_max,
        )
        leases: Any = self.leases
        self.services = Services(
            leases,
            leases,
            leases,
            leases,
            lambda: (True, "ready"),
            lambda: b"",
            owner=leases,
            addons=leases,
            tokens=leases,
            guards=leases,
            audit=leases,
            jobs=leases,
            schedules=leases,
            tenants=leases,
            storage=leases,
            alerts=leases,
            metrics_snapshot=leases,
            settings=leases,
            notifications=leases,
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def fake_edge(connections_max: int = 64, tls: Tls | None = None) -> AsyncIterator[FakeEdge]:
    """A running edge whose recovery is done; with `tls` it speaks that and nothing else."""
    edge = FakeEdge(connections_max, tls)
    edge.pipeline.services = edge.services
    await edge.server.start()
    try:
        yield edge
    finally:
        await edge.server.stop_accepting()
        await edge.server.drain(0.0)
        await edge.server.close()


def ask(body: bytes = b'{"cost_units": 1}', length: int | None = None) -> bytes:
    """The bytes of a lease request; `length` is what it declares where that differs."""
    return (
        b"POST /api/scheduler/lease/request HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
        % (TOKEN.encode(), len(body) if length is None else length, body)
    )


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split(" ")[1]), headers, body
