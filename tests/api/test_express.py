"""The short way for repeated requests: the same answers, and the same checks as by the ordinary way."""

from __future__ import annotations

import asyncio
import json

import pytest

from leasehold.api.auth import ADMIN
from leasehold.api.express import BLOCKS_MAX, Block
from leasehold.model.errors import Overloaded
from tests.api.fake_services import TOKEN, FakeEdge, answer, ask, fake_edge

PLAIN = [
    (b"host", b"localhost"),
    (b"content-type", b"application/json"),
    (b"content-length", b"17"),
    (b"authorization", b"Bearer " + TOKEN.encode()),
]


def short_way(edge: FakeEdge) -> list[str]:
    """From now on, the routes that were answered by the short way."""
    express = next(iter(edge.server._listeners[0].state.connections))._express  # type: ignore[attr-defined]
    taken: list[str] = []
    inner = express.answer

    async def recorded(request, *others):  # type: ignore[no-untyped-def]
        taken.append(request.prepared.endpoint.path)
        return await inner(request, *others)

    express.answer = recorded
    return taken


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Send and read one answer."""
    writer.write(raw)
    return await answer(reader)


@pytest.mark.requirement("PROVE-6")
async def test_a_repeated_request_is_answered_the_same() -> None:
    """Status, headers and body are those of the first, but for the request's own id and the date."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        first = await exchange(reader, writer, ask())
        taken = short_way(edge)
        second = await exchange(reader, writer, ask())
        assert taken == ["/api/scheduler/lease/request"]
        assert (first[0], first[2], sorted(first[1])) == (second[0], second[2], sorted(second[1]))
        assert first[1]["x-request-id"] != second[1]["x-request-id"]
        assert len(edge.leases.asked) == 2
        assert edge.leases.inside == 0
        assert edge.stats.stats().requests == 2
        assert edge.stats.stats().in_flight == 0
        writer.close()


@pytest.mark.requirement("PROVE-6", "OPS-2")
async def test_an_error_by_the_short_way_is_the_same_problem_document() -> None:
    """What is refused stays refused: a bad field, an overload, a wrong credential."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        await exchange(reader, writer, ask(b'{"cost_units": 1}'))
        taken = short_way(edge)
        status, _, document = await exchange(reader, writer, ask(b'{"cost_unit_": 1}'))
        assert (status, json.loads(document)["code"]) == (422, "INVALID")
        edge.leases.refusal = Overloaded("too much", retry_after_s=1)
        status, headers, _ = await exchange(reader, writer, ask(b'{"cost_units": 1}'))
        assert (status, headers["retry-after"]) == (503, "1")
        edge.leases.refusal = None
        assert len(taken) == 2
        wrong = ask().replace(TOKEN.encode(), b"lsh_" + b"x" * 43)
        assert [(await exchange(reader, writer, wrong))[0] for _ in range(2)] == [401, 401]
        writer.close()


@pytest.mark.requirement("PROVE-6")
async def test_requests_sent_ahead_are_answered_in_order() -> None:
    """What arrives before the answer waits for it; what arrives in pieces is put together."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        await exchange(reader, writer, ask())
        edge.leases.hold = asyncio.Event()
        writer.write(ask())
        await edge.leases.waiting.wait()
        writer.write(ask(b'{"cost_units": 2}') + ask(b'{"cost_units": 3}')[:40])
        await asyncio.sleep(0)
        edge.leases.hold.set()
        writer.write(ask(b'{"cost_units": 3}')[40:])
        assert [(await answer(reader))[0] for _ in range(3)] == [200, 200, 200]
        assert [one.cost_units for one in edge.leases.asked] == [1, 1, 2, 3]
        writer.close()


@pytest.mark.requirement("PROVE-6", "OPS-28")
async def test_a_stop_lets_the_answer_out_and_closes() -> None:
    """Whoever is being answered gets the answer, told that the connection ends."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        await exchange(reader, writer, ask())
        edge.leases.hold = asyncio.Event()
        writer.write(ask())
        await edge.leases.waiting.wait()
        await edge.server.stop_accepting()
        edge.leases.hold.set()
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.requirement("PROVE-6")
async def test_a_caller_that_goes_leaves_nothing_behind() -> None:
    """A connection that ends while its answer is made ends the count too."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        await exchange(reader, writer, ask())
        edge.leases.hold = asyncio.Event()
        writer.write(ask())
        await edge.leases.waiting.wait()
        writer.transport.abort()
        edge.leases.hold.set()
        async with asyncio.timeout(5):
            await edge.server.drain(5.0)
        assert (edge.leases.inside, edge.stats.stats().in_flight) == (0, 0)


@pytest.mark.requirement("PROVE-6", "LEASE-7")
async def test_a_held_caller_that_goes_is_noticed() -> None:
    """A call that waits on purpose is counted apart, and given up when its caller has gone."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        held = ask(b'{"cost_units": 1, "wait_sec": 60}')
        await exchange(reader, writer, held)
        taken = short_way(edge)
        edge.leases.hold = asyncio.Event()
        writer.write(held)
        await edge.leases.waiting.wait()
        assert (len(taken), edge.stats.held, edge.stats.in_flight) == (1, 1, 0)
        writer.transport.abort()
        await edge.leases.cancelled.wait()
        await edge.server.drain(5.0)
        assert (edge.leases.inside, edge.stats.held, edge.stats.in_flight) == (0, 0, 0)


@pytest.mark.parametrize(
    "headers",
    [
        [*PLAIN, (b"transfer-encoding", b"chunked")],
        [*PLAIN, (b"expect", b"100-continue")],
        [*PLAIN, (b"idempotency-key", b"a")],
        [*PLAIN, (b"x-request-id", b"0123456789abcdef")],
        [*PLAIN, (b"content-length", b"18")],
        [*PLAIN, (b"connection", b"close")],
        [(b"host", b"localhost")],
        [*PLAIN[:2], (b"content-length", b"-1"), PLAIN[3]],
        [*PLAIN[:3], (b"authorization", b"Bearer lsh_wrong")],
        PLAIN[:3],
        [(b"host", b"evil.example"), *PLAIN[1:]],
    ],
)
@pytest.mark.requirement("PROVE-6")
async def test_only_plain_blocks_are_remembered(headers: list[tuple[bytes, bytes]]) -> None:
    """A field with a meaning of its own, the same twice, no length, a stranger: always the ordinary way."""
    async with fake_edge() as edge:
        express = edge.express
        assert express.block(PLAIN, None) == Block(dict(PLAIN), 17, ADMIN)
        assert express.block(headers, None) is None


@pytest.mark.requirement("INV-8")
async def test_the_memory_of_a_connection_is_bounded() -> None:
    """A client that varies its headers does not grow the server."""
    async with fake_edge() as edge:
        reader, writer = await edge.connect()
        for length in range(BLOCKS_MAX * 2):
            await exchange(reader, writer, ask(b'{"cost_units": 1' + b" " * length + b"}"))
        connection = next(iter(edge.server._listeners[0].state.connections))
        assert len(connection._blocks) == BLOCKS_MAX  # type: ignore[attr-defined]
        writer.close()
