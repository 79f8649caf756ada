"""Slow, half-open, greedy and ill-mannered clients, on the real protocol (PROVE-6)."""

from __future__ import annotations

import asyncio
import json

import pytest

from leasehold.api import body, connection, server
from leasehold.model.errors import Overloaded
from tests.api.fake_services import answer, ask, fake_edge

HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, in fractions of a second."""
    monkeypatch.setattr(server, "SWEEP_S", 0.02)
    monkeypatch.setattr(connection, "HEADER_S_MAX", 0.1)
    monkeypatch.setattr(connection, "IDLE_S_MAX", 0.1)
    monkeypatch.setattr(connection, "UNREAD_S_MAX", 0.1)
    monkeypatch.setattr(body, "BODY_S_MAX", 0.1)


@pytest.mark.requirement("PROVE-6")
@pytest.mark.parametrize("sent", [b"", b"G", b"GET /health HTTP/1.1\r\nhost: loc", HEALTH])
async def test_who_sends_nothing_more_is_let_go(sent: bytes) -> None:
    """Half-open, slow and idle connections end by themselves, whatever they had sent."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(sent)
        if sent == HEALTH:
            assert (await answer(reader))[0] == 200
        assert await reader.read() == b""
        assert edge.server.connections() == {"tcp": 0, "unix": 0}
        writer.close()


@pytest.mark.requirement("PROVE-6", "OPS-2")
async def test_a_body_that_trickles_is_408() -> None:
    """A body that does not arrive in time is answered, and never reaches the service."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(ask(b'{"cost', length=17))
        status, _, document = await answer(reader)
        assert (status, json.loads(document)["code"]) == (408, "TOO_SLOW")
        assert await reader.read() == b""
        assert (edge.leases.asked, edge.leases.inside) == ([], 0)
        writer.close()


@pytest.mark.requirement("PROVE-6")
async def test_a_body_in_pieces_is_put_together() -> None:
    """What arrives slowly but in time is one body."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        whole = ask()
        for position in range(len(whole)):
            writer.write(whole[position : position + 1])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answer(reader))[0] == 200
        assert [one.cost_units for one in edge.leases.asked] == [1]
        writer.close()


@pytest.mark.requirement("PROVE-6")
async def test_endless_headers_are_431() -> None:
    """Headers above their limit end the connection, with a problem document."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")
        filler = b"x-filler: " + b"y" * 8_000 + b"\r\n"
        for _ in range(9):
            writer.write(filler)
        status, _, document = await answer(reader)
        assert (status, json.loads(document)["code"]) == (431, "HEADERS_TOO_LARGE")
        writer.close()


@pytest.mark.requirement("PROVE-6", "OPS-2")
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(sent: bytes) -> None:
    """TLS on a plain port, a strange version, a length that is none: a problem document, and the end."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(sent)
        status, headers, document = await answer(reader)
        assert (status, json.loads(document)["code"]) == (400, "MALFORMED")
        assert headers["content-type"] == "application/problem+json"
        writer.close()


@pytest.mark.requirement("PROVE-6")
async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent without waiting for answers each get theirs, in order, over one connection."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        bodies = [b'{"cost_units": %d}' % number for number in range(1, 51)]
        writer.write(b"".join(ask(one) for one in bodies) + HEALTH)
        assert [(await answer(reader))[0] for _ in range(51)] == [200] * 51
        assert [one.cost_units for one in edge.leases.asked] == list(range(1, 51))
        writer.close()


@pytest.mark.requirement("PROVE-6", "INV-8")
async def test_connections_are_bounded() -> None:
    """One connection too many is told so and closed; the others go on, and there is room again afterwards."""
    async with fake_edge(connections_max=2) as edge:
        first = await edge.connect()
        second = await edge.connect()
        for _, writer in (first, second):
            writer.write(HEALTH)
        assert [(await answer(reader))[0] for reader, _ in (first, second)] == [200, 200]
        reader, writer = await edge.connect()
        status, headers, _ = await answer(reader)
        assert (status, headers["retry-after"]) == (503, "1")
        assert await reader.read() == b""
        for _, each in (first, second, (reader, writer)):
            each.close()


@pytest.mark.requirement("OPS-31")
async def test_back_pressure_comes_before_the_body_is_read() -> None:
    """An overloaded ledger answers 503 with Retry-After from the declared length alone."""
    async with fake_edge() as edge:
        edge.leases.refusal = Overloaded("too much waits; come back", retry_after_s=3)
        reader, writer = await edge.connect()
        writer.write(ask(b"", length=1_000))
        status, headers, document = await answer(reader)
        assert (status, headers["retry-after"]) == (503, "3")
        assert json.loads(document)["code"] == "OVERLOADED"
        writer.close()


@pytest.mark.requirement("OPS-31")
async def test_who_was_let_in_is_let_out_whatever_happens() -> None:
    """The count at the door falls again after an answer, an error of ours, and a body that does not fit."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(ask())
        assert (await answer(reader))[0] == 200
        writer.write(ask(b'{"nope": 1}'))
        assert (await answer(reader))[0] == 422
        edge.leases.failure = RuntimeError("a bug with a secret in it: lsh_" + "z" * 43)
        writer.write(ask())
        status, _, document = await answer(reader)
        assert (status, json.loads(document)["code"]) == (500, "INTERNAL")
        assert b"secret" not in document
        assert edge.leases.admitted == [(17, "normal"), (11, "normal"), (17, "normal")]
        assert edge.leases.inside == 0
        writer.close()


@pytest.mark.requirement("LEASE-7")
async def test_a_held_call_ends_when_its_caller_goes_away() -> None:
    """Who closes the connection while waiting is noticed, and the call is cancelled."""
    async with fake_edge() as edge:
        edge.leases.hold = asyncio.Event()
        _, writer = await edge.connect()
        writer.write(ask(b'{"cost_units": 1, "wait_sec": 60}'))
        await edge.leases.waiting.wait()
        assert edge.stats.held == 1
        writer.close()
        await edge.leases.cancelled.wait()
        await edge.server.drain(1.0)
        assert (edge.leases.inside, edge.stats.held, edge.stats.in_flight) == (0, 0, 0)


@pytest.mark.requirement("LEASE-7")
async def test_a_held_call_is_answered_when_it_is_time() -> None:
    """A call that waits on purpose stands in no percentile, outlives every timeout, and gets its answer."""
    async with fake_edge() as edge:
        edge.leases.hold = asyncio.Event()
        reader, writer = await edge.connect()
        writer.write(ask(b'{"cost_units": 1, "wait_sec": 60}'))
        await edge.leases.waiting.wait()
        await asyncio.sleep(0.2)  # twice the longest of the limits above: none of them is about held calls
        edge.leases.hold.set()
        assert (await answer(reader))[0] == 200
        assert edge.stats.stats().p50_ms is None
        writer.close()


@pytest.mark.requirement("OPS-28", "LEASE-10")
async def test_before_recovery_is_done_only_health_answers() -> None:
    """The server listens at once: /health is 200, everything else 503 with the reason, and /ready too."""
    async with fake_edge() as edge:
        edge.pipeline.services = None
        reader, writer = await edge.connect()
        writer.write(HEALTH)
        assert (await answer(reader))[0] == 200
        for sent in (ask(), HEALTH.replace(b"/health", b"/ready")):
            writer.write(sent)
            status, headers, document = await answer(reader)
            assert (status, json.loads(document)["code"]) == (503, "NOT_READY")
            assert headers["retry-after"] == "1"
        assert edge.leases.asked == []
        writer.close()
