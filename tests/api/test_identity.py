"""Who may do what: tokens, peer credentials, names of the server, what is open to everybody (OPS-4…6, 27)."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from leasehold.api.auth import PEER, Gate, Peer, token_hash
from leasehold.api.roles import ROLES, VERBS
from leasehold.api.routes import ENDPOINTS
from leasehold.api.server import tcp_socket, unix_socket
from leasehold.model.errors import Invalid, Unauthenticated
from tests.api.real_server import LEASE, RealServer, request

OPEN = {"/health", "/ready"}
SIGN_IN = ("POST", "/api/session")
TOKEN = b"lsh_" + b"x" * 40

_AS_ANOTHER_USER = """
import json, socket, sys
sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1]); sock.sendall(sys.stdin.buffer.read())
answer = sock.makefile("rb"); length = 0; answer.readline()
while (line := answer.readline().strip().lower()):
    if line.startswith(b"content-length:"): length = int(line[15:])
sys.stdout.write(answer.read(length).decode())
"""


@pytest.mark.requirement("OPS-4", "OPS-5")
def test_the_token_is_long_and_only_its_owner_can_read_it(server: RealServer) -> None:
    """The administrator's token has 256 bits, in a file of 0600 that is the same after a restart."""
    path = server.data / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(server.token.removeprefix("lsh_")) == 43
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600


@pytest.mark.requirement("OPS-4")
def test_a_token_file_that_others_may_read_is_closed_and_kept(scratch: Path) -> None:
    """A restart keeps the token, and takes away rights that somebody gave to others."""
    server = RealServer(scratch)
    with server:
        token = server.token
    (server.data / "admin.token").chmod(0o644)
    with server:
        assert server.token == token
        assert stat.S_IMODE((server.data / "admin.token").stat().st_mode) == 0o600


@pytest.mark.requirement("OPS-4", "OPS-27")
def test_only_health_and_readiness_are_open(server: RealServer) -> None:
    """Without a credential every other route is 401, with a wrong one too; signing in wants a code."""
    for headers in ({}, {"authorization": "Bearer lsh_wrong"}, {"authorization": "Basic YTpi"}):
        for endpoint in ENDPOINTS:
            path = (
                endpoint.path.replace("{lease_id}", "x").replace("{name:path}", "x").replace("{ticket}", "x")
            )
            with server.tcp() as wire:
                wire.send(request(endpoint.method, path, headers))
                reply = wire.reply()
            expected = 415 if (endpoint.method, endpoint.path) == SIGN_IN else 401
            assert reply.status == (200 if endpoint.path in OPEN else expected), (endpoint.path, reply)
            if reply.status == 401:
                assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.requirement("OPS-5")
def test_the_owner_is_known_on_the_unix_socket(server: RealServer) -> None:
    """The kernel says who connected: no token is needed, and who runs the server is admin."""
    with server.unix() as wire:
        wire.send(request("GET", "/api/whoami", host="anything"))
        me = wire.reply().json
    assert (me["role"], me["local"], me["uid"], me["pid"]) == ("admin", True, os.getuid(), os.getpid())


@pytest.mark.requirement("OPS-5")
def test_a_token_on_the_unix_socket_decides_alone(server: RealServer) -> None:
    """Who shows a token is that token; a wrong one is refused, not ignored."""
    with server.unix() as wire:
        wire.send(request("GET", "/api/whoami", {"authorization": f"Bearer {server.token}"}))
        assert wire.reply().json["name"] == "token:admin"
        wire.send(request("GET", "/api/whoami", {"authorization": "Bearer lsh_wrong"}))
        assert wire.reply().status == 401


@pytest.mark.requirement("OPS-5")
def test_the_socket_for_containers_wants_a_token(server: RealServer) -> None:
    """On `client.sock` the kernel is not asked, for in a container anybody may be root."""
    path = server.data / "client.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with server.unix(path) as wire:
        wire.send(request("GET", "/api/whoami"))
        assert wire.reply().status == 401
        wire.send(request("GET", "/api/whoami", {"authorization": f"Bearer {server.token}"}))
        me = wire.reply().json
    assert (me["name"], "local" in me) == ("token:admin", False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.requirement("OPS-5", "OPS-6", "LEASE-12")
def test_another_user_is_a_submitter_of_their_own(server: RealServer) -> None:
    """Two Unix users: the other one may ask for leases, not touch those of others, nor administer."""
    run_socket = server.folder / "run" / "leasehold.sock"
    assert stat.S_IMODE(run_socket.stat().st_mode) == 0o666
    server.folder.chmod(0o711)

    def other(method: str, path: str, body: object = None) -> dict[str, object]:
        payload = b"" if body is None else json.dumps(body).encode()
        raw = request(method, path, {"content-type": "application/json"} if payload else {}, payload)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", _AS_ANOTHER_USER, str(run_socket)],
            input=raw,
            capture_output=True,
            check=True,
            user=65534,
            group=65534,
            extra_groups=(),
            cwd="/",
        )
        found: dict[str, object] = json.loads(done.stdout)
        return found

    assert (me := other("GET", "/api/whoami"))["role"] == "submitter"
    assert me["uid"] == 65534
    mine = server.lease()
    path = f"{LEASE}/{mine['lease_id']}"
    assert other("POST", f"{path}/release", {"fencing_token": mine["fencing_token"]})["status"] == 403
    assert other("POST", f"{path}/revoke", {})["status"] == 403
    assert other("PUT", "/api/scheduler/locks/a", {"size": 2})["status"] == 403
    assert other("PUT", "/api/admin/log-level", {"level": "debug"})["status"] == 403
    assert "fencing_token" not in other("GET", path)
    theirs = other("POST", f"{LEASE}/request", {"cost_units": 1})
    assert theirs["approved"] is True
    server.release(mine)


@pytest.mark.requirement("OPS-4")
def test_a_page_on_another_name_does_not_reach_the_server(server: RealServer) -> None:
    """Host must name loopback, so that no name that resolves to it leads a browser here; there is no CORS."""
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "[::1].evil.example",
        "localhost.evil.example",
        "",
    ):
        with server.tcp() as wire:
            wire.send(request("GET", "/health", host=host))
            reply = wire.reply()
        assert (reply.status, reply.json["code"]) == (421, "MISDIRECTED"), host
    for host in ("localhost:7117", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        with server.tcp() as wire:
            wire.send(request("GET", "/health", {"origin": "http://evil.example"}, host=host))
            reply = wire.reply()
        assert reply.status == 200
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.requirement("OPS-4")
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_any_address_but_loopback_is_refused_with_the_reason(host: str) -> None:
    """Without TLS nothing but loopback is listened on, and no name; the sentence says so."""
    with pytest.raises(Invalid, match=r"without TLS|is no address"):
        tcp_socket(host, 0)


@pytest.mark.requirement("OPS-4", "OPS-30")
def test_a_server_told_to_listen_elsewhere_does_not_start(scratch: Path) -> None:
    """Without TLS, or with a CA that can't be used, the program ends with the reason, and nothing listens."""
    server = RealServer(scratch, LEASEHOLD_HOST="0.0.0.0", LEASEHOLD_TLS__ENABLED="false")
    with pytest.raises(AssertionError, match="any address but loopback needs TLS"):
        server.start()
    server.env |= {"LEASEHOLD_TLS__ENABLED": "true", "LEASEHOLD_TLS__PORT": "0"}
    (server.data / "ca").mkdir()
    (server.data / "ca" / "authority.pem").write_text("garbage")
    with pytest.raises(AssertionError, match="remove it to have another CA made"):
        server.start()


def test_a_file_in_the_way_of_a_socket_is_not_removed(scratch: Path) -> None:
    """Only a socket that nobody listens on is replaced; anything else is named."""
    path = scratch / "x.sock"
    path.write_text("mine")
    with pytest.raises(OSError, match="in the way"):
        unix_socket(path, 0o600)
    assert path.read_text() == "mine"
    path.unlink()
    for _ in range(2):
        left_behind = unix_socket(path, 0o600)
        left_behind.close()
    listening = unix_socket(path, 0o600)
    listening.listen()
    with pytest.raises(OSError, match="another server listens"):
        unix_socket(path, 0o600)
    listening.close()


@pytest.mark.requirement("OPS-6")
def test_rights_are_built_from_verbs_and_denied_by_default() -> None:
    """Every verb that a route needs is documented; roles hold known verbs only; only admin holds all."""
    needed = {endpoint.verb for endpoint in ENDPOINTS if endpoint.verb is not None}
    assert needed <= set(VERBS)
    assert set().union(*ROLES.values()) == set(VERBS)
    assert [role for role, verbs in ROLES.items() if verbs == set(VERBS)] == ["admin"]
    assert "lease:now" not in ROLES["worker"] | ROLES["submitter"]
    assert ROLES["viewer"] == {
        "lease:read",
        "job:read",
        "schedule:read",
        "stats:read",
        "events:read",
        "addon:read",
        "alert:read",
        "notification:read",
        "tenant:read",
    }


@pytest.mark.requirement("OPS-6")
def test_roles_of_peers() -> None:
    """Root and the owner are admin, others submitters, who at the machine may skip the quiet gate."""
    gate = Gate(admin_hash=token_hash(TOKEN), owner_uid=1000)

    def role(uid: int) -> str:
        return gate.identify({"extensions": {PEER: Peer(1, uid, uid)}}, {}).role

    assert [role(0), role(1000), role(1001)] == ["admin", "admin", "submitter"]
    assert gate.local(Peer(1, 1001, 1001)).may("lease:now")
    assert gate.local(Peer(1, 4_000_000_000, 0)).name == "user:4000000000"
    assert gate.identify({}, {b"authorization": b"bearer " + TOKEN}).role == "admin"
    with pytest.raises(Unauthenticated):
        gate.identify({}, {b"authorization": b"Bearer"})
