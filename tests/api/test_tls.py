"""TLS at the edge: secured before a byte is read, bounded, renewed while connections stay (CLUSTER-28)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from leasehold.adapters.signers.identity import Identity
from leasehold.adapters.signers.own import OwnSigner
from leasehold.api import server as listening
from leasehold.api.tls import Tls, keep
from leasehold.client import calls
from leasehold.client.aio import AsyncClient
from leasehold.client.endpoint import BadAddress, candidates, parse
from leasehold.client.lean import Connection, Unreachable
from leasehold.ports.signer import SignerError
from leasehold.runtime.clock import RealClock
from leasehold.wire.lease import HeavyLeaseRequest
from tests.api.fake_services import TOKEN, FakeEdge, answer, fake_edge

HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Certificates:
    """A CA in a folder, and what is served of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ca"
        wall_ms = RealClock().wall_ms
        self.names = ["localhost", "127.0.0.1"]
        signer = OwnSigner(self.folder, "here", wall_ms)
        self.tls = Tls(Identity(self.folder, signer, lambda: self.names, wall_ms).issue)

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    async def connect(self, edge: FakeEdge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=self.ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return await asyncio.open_connection("127.0.0.1", edge.port, ssl=context)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@pytest.mark.requirement("OPS-4", "CLUSTER-28")
async def test_both_clients_check_the_ca_and_work_with_it(certificates: Certificates) -> None:
    """The one for programs and the one of the command line; without the CA neither goes on."""
    async with fake_edge(tls=certificates.tls) as edge:
        address = f"https://127.0.0.1:{edge.port}"
        async with AsyncClient(parse(address, TOKEN, certificates.ca)) as client:
            granted = await client.send(calls.REQUEST, HeavyLeaseRequest(cost_units=1))
            assert granted.approved
        async with AsyncClient(parse(address, TOKEN)) as client:
            with pytest.raises(Unreachable):
                await client.send(calls.HEALTH)
        lean = Connection(parse(address, TOKEN, certificates.ca))
        answered = await asyncio.to_thread(lean.call, "GET", "/health", timeout_s=5)
        again = await asyncio.to_thread(lean.call, "GET", "/health", timeout_s=5)
        lean.close()
        assert (answered.status, again.status) == (200, 200)
        for endpoint, said in (
            (parse(address, TOKEN), "LEASEHOLD_CA names the file"),
            (parse(address, TOKEN, certificates.ca + "x"), "no file of certificates"),
            (parse(address, TOKEN, __file__), "no file of certificates"),
        ):
            with pytest.raises(Unreachable, match=said):
                await asyncio.to_thread(Connection(endpoint).call, "GET", "/health", timeout_s=5)


@pytest.mark.requirement("OPS-4")
async def test_plain_http_and_garbage_get_nothing(certificates: Certificates) -> None:
    """Not a byte of HTTP comes back; nor does what is refused keep anybody else out."""
    async with fake_edge(tls=certificates.tls) as edge:
        for raw in (HEALTH, b"\x16\x03\x01", b"\x00" * 300, b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            reader, writer = await edge.connect()
            writer.write(raw)
            writer.write_eof()
            try:
                got = await reader.read()
            except ConnectionResetError:
                got = b""
            assert b"HTTP" not in got
            writer.close()
        reader, writer = await certificates.connect(edge)
        writer.write(HEALTH)
        assert (await answer(reader))[0] == 200
        await closed(writer)
        assert edge.leases.asked == []


@pytest.mark.requirement("OPS-4", "OPS-31")
async def test_connections_that_are_not_secured_are_bounded(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound they are closed at once; those that say nothing are closed after a while."""
    monkeypatch.setattr(listening, "HANDSHAKES_MAX", 3)
    monkeypatch.setattr(listening, "HANDSHAKE_S", 0.5)
    async with fake_edge(tls=certificates.tls) as edge:
        silent = [await edge.connect() for _ in range(6)]
        for reader, _ in silent:
            try:
                assert await asyncio.wait_for(reader.read(), 10) == b""
            except ConnectionResetError:
                continue
        for _, writer in silent:
            writer.close()
        reader, writer = await certificates.connect(edge)
        writer.write(HEALTH)
        assert (await answer(reader))[0] == 200
        await closed(writer)


@pytest.mark.parametrize("turns", range(4))
async def test_a_stop_while_somebody_connects_leaves_no_socket_open(
    certificates: Certificates, turns: int
) -> None:
    """At whichever step of being taken and secured the connection is."""
    with socket.socket() as client:
        async with fake_edge(tls=certificates.tls) as edge:
            client.connect(("127.0.0.1", edge.port))
            for _ in range(turns):
                await asyncio.sleep(0)
        client.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""


@pytest.mark.requirement("CLUSTER-28")
async def test_a_renewed_certificate_is_for_new_connections(certificates: Certificates) -> None:
    """Whoever is connected goes on; who comes next sees the new one, with the new name."""
    renewed, look = asyncio.Event(), asyncio.Event()
    async with fake_edge(tls=certificates.tls) as edge:

        async def in_thread(work):  # type: ignore[no-untyped-def]
            return await asyncio.to_thread(work)

        keeper = asyncio.create_task(keep(certificates.tls, in_thread, look, renewed.set))
        reader, writer = await certificates.connect(edge)
        old = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert not certificates.tls.is_named(b"nas.lan:7118")
        certificates.names.append("nas.lan")
        look.set()
        await asyncio.wait_for(renewed.wait(), 10)
        writer.write(HEALTH)
        assert (await answer(reader))[0] == 200
        await closed(writer)
        _, writer = await certificates.connect(edge)
        assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True) != old
        assert certificates.tls.is_named(b"NAS.lan:7118")
        await closed(writer)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


@pytest.mark.requirement("CLUSTER-28")
async def test_a_renewal_that_fails_leaves_the_old_certificate(certificates: Certificates) -> None:
    """What is served goes on being served, and it is tried again."""
    before, tries = certificates.tls.context, asyncio.Event()

    async def fails(work):  # type: ignore[no-untyped-def]
        tries.set()
        raise SignerError("the signer is away")

    look = asyncio.Event()
    keeper = asyncio.create_task(keep(certificates.tls, fails, look, lambda: None))
    for _ in range(2):
        tries.clear()
        look.set()
        await asyncio.wait_for(tries.wait(), 10)
    assert certificates.tls.context is before
    assert not keeper.done()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)


@pytest.mark.requirement("OPS-5")
def test_where_a_client_takes_its_token_and_ca_from(tmp_path: Path) -> None:
    """A variable goes before a file; both go to a named server alone, over sockets too."""
    file = tmp_path / "token"
    file.write_text("lsh_of_the_file\n")
    env = {"LEASEHOLD_URL": "https://nas:7118", "LEASEHOLD_TOKEN_FILE": str(file), "LEASEHOLD_CA": "/ca.pem"}
    (found,) = candidates(env)
    assert (found.token, found.ca, found.tls, found.port) == ("lsh_of_the_file", "/ca.pem", True, 7118)
    (found,) = candidates(env | {"LEASEHOLD_TOKEN": "lsh_given"}, "unix:/run/client.sock")
    assert (found.token, found.socket_path) == ("lsh_given", "/run/client.sock")
    for bad in (tmp_path / "none", tmp_path):
        with pytest.raises(BadAddress, match="LEASEHOLD_TOKEN_FILE"):
            candidates(env | {"LEASEHOLD_TOKEN_FILE": str(bad)})
