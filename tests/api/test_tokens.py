"""Tokens at a running server: what they may, how they end, that nothing stays open behind them (OPS-5)."""

from __future__ import annotations

import grp
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.real_server import JSON_TYPE, LEASE, PROGRAM, RealServer, Reply, Wire, request

ASK = f"{LEASE}/request"
AT_ONCE_S = 2.0
"""Well below every time-out that would close a connection anyway."""


def made(server: RealServer, **asked: Any) -> tuple[str, dict[str, str]]:
    """A new token: its id, and the header that shows it."""
    reply = server.post("/api/tokens", {"name": "ci", "role": "submitter", **asked})
    assert reply.status == 200, reply
    return reply.json["about"]["token_id"], {"authorization": f"Bearer {reply.json['token']}"}


def asking(header: dict[str, str], **body: Any) -> bytes:
    payload = json.dumps({"cost_units": 1, **body}).encode()
    return request("POST", ASK, {**header, **JSON_TYPE}, payload)


def revoke(server: RealServer, token_id: str) -> Reply:
    return server.call("DELETE", f"/api/tokens/{token_id}")


def held(server: RealServer, header: dict[str, str]) -> Wire:
    """A connection with a call on it that waits for a lock that somebody else has."""
    wire = server.tcp()
    wire.send(asking(header, locks=["busy"], cost_units=None, wait_sec=60))
    deadline = time.monotonic() + 10
    while not any(one["held"] for one in server.get("/api/scheduler/status").json["waiting"]):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)
    return wire


@pytest.mark.requirement("OPS-5", "OPS-6")
def test_a_token_may_what_its_role_may(server: RealServer) -> None:
    """A submitter asks and gives back; a viewer looks; neither makes tokens or revokes others' leases."""
    token_id, submitter = made(server, name="laptop", holder="alice")
    _, viewer = made(server, role="viewer")
    me = server.call("GET", "/api/whoami", headers=submitter).json
    assert (me["name"], me["role"], me["holder"]) == (f"token:laptop/{token_id}", "submitter", "alice")
    lease = server.call("POST", ASK, {"cost_units": 1}, headers=submitter).json
    assert lease["approved"]
    shown = server.get(f"{LEASE}/{lease['lease_id']}").json
    assert shown["addon_id"] == "alice"
    assert server.call("GET", "/api/scheduler/status", headers=viewer).status == 200
    for header, method, path, body in (
        (viewer, "POST", ASK, {"cost_units": 1}),
        (viewer, "GET", "/api/tokens", None),
        (submitter, "POST", "/api/tokens", {"name": "x", "role": "viewer"}),
        (submitter, "DELETE", f"/api/tokens/{token_id}", None),
        (submitter, "PUT", "/api/admin/log-level", {"level": "debug"}),
    ):
        refused = server.call(method, path, body, headers=header)
        assert (refused.status, refused.json["code"]) == (403, "NOT_PERMITTED"), (method, path)
    release = f"{LEASE}/{lease['lease_id']}/release"
    done = server.call("POST", release, {"fencing_token": lease["fencing_token"]}, headers=submitter)
    assert done.json["state"] == "RELEASED"


@pytest.mark.requirement("OPS-5", "OPS-6")
def test_two_tokens_of_one_name_do_not_touch_each_others_leases(server: RealServer) -> None:
    """They act as the same holder, and are two principals all the same."""
    _, one = made(server)
    _, other = made(server)
    lease = server.call("POST", ASK, {"cost_units": 1}, headers=one).json
    path, body = f"{LEASE}/{lease['lease_id']}", {"fencing_token": lease["fencing_token"]}
    assert server.call("POST", f"{path}/release", body, headers=other).status == 403
    assert "fencing_token" not in server.call("GET", path, headers=other).json
    assert server.call("POST", f"{path}/release", body, headers=one).status == 200


@pytest.mark.requirement("OPS-5")
@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer lsh_" + "A" * 43,
        "Bearer lsh_" + "A" * 5_000,
        "Bearer tok-0000000000000",
        "Basic bHNoXw==",
        "lsh_" + "A" * 43,
        "Bearer \xff\xfe\x80",
        "Bearer null",
        ", Bearer x",
    ],
)
def test_garbage_for_a_token_is_refused_alike(server: RealServer, value: str) -> None:
    """Each is 401 with the same code, says nothing of what was sent, and leaves the connection usable."""
    with server.tcp() as wire:
        for _ in range(3):
            wire.send(request("GET", "/api/whoami", {"authorization": value}))
            reply = wire.reply()
            assert (reply.status, reply.json["code"]) == (401, "UNAUTHENTICATED")
            assert "AAAA" not in reply.body.decode()
        wire.send(request("GET", "/api/whoami", {"authorization": f"Bearer {server.token}"}))
        assert wire.reply().status == 200


@pytest.mark.requirement("OPS-5")
def test_unknown_expired_and_revoked_tokens_are_told_the_same(server: RealServer) -> None:
    """Nobody learns from an answer whether a token ever was one."""
    _, short = made(server, ttl_sec=1)
    revoked_id, gone = made(server)
    assert revoke(server, revoked_id).status == 204
    assert revoke(server, revoked_id).status == 404
    deadline = time.monotonic() + 10
    while server.call("GET", "/api/whoami", headers=short).status == 200:
        assert time.monotonic() < deadline, "it did not expire"
        time.sleep(0.05)
    unknown = {"authorization": "Bearer lsh_" + "B" * 43}
    told = [server.call("GET", "/api/whoami", headers=one).json for one in (short, gone, unknown)]
    assert len({(one["status"], one["code"], one["detail"]) for one in told}) == 1
    assert told[0]["status"] == 401


@pytest.mark.requirement("OPS-5")
def test_revocation_closes_what_is_open_at_once(server: RealServer) -> None:
    """An idle connection, one on the short way for repeated requests, a held call: all end; others do not."""
    token_id, header = made(server)
    _, other = made(server)
    lock = server.lease(locks=["busy"], cost_units=None)
    with server.tcp() as idle, server.tcp() as repeated, server.tcp() as bystander:
        idle.send(request("GET", "/api/whoami", header))
        assert idle.reply().status == 200
        for _ in range(3):
            repeated.send(asking(header))
            assert repeated.reply().json["approved"]
        bystander.send(asking(other))
        assert bystander.reply().json["approved"]
        with held(server, header) as waiting:
            began = time.monotonic()
            assert revoke(server, token_id).status == 204
            for wire in (idle, repeated, waiting):
                wire.sock.settimeout(AT_ONCE_S)
                assert wire.ended()
            assert time.monotonic() - began < AT_ONCE_S
        bystander.send(asking(other))
        assert bystander.reply().json["approved"]
    waiting_now = server.get("/api/scheduler/status").json["waiting"]
    assert waiting_now == [], "its place in line went with it"
    server.release(lock)


@pytest.mark.requirement("OPS-5", "OPS-3")
def test_revocation_closes_an_open_stream_at_once(server: RealServer) -> None:
    """What was followed by a token ends with it, in the middle; others' streams go on."""
    token_id, header = made(server)
    _, other = made(server)
    with server.tcp() as followed, server.tcp() as bystander:
        for wire, by in ((followed, header), (bystander, other)):
            wire.send(request("GET", "/api/dashboard/stream", by))
            wire.sock.settimeout(10)
            assert b"text/event-stream" in wire.sock.recv(65_536)
        began = time.monotonic()
        assert revoke(server, token_id).status == 204
        followed.sock.settimeout(AT_ONCE_S)
        try:
            while followed.sock.recv(65_536):
                assert time.monotonic() - began < AT_ONCE_S
        except ConnectionResetError:
            pass
        bystander.sock.settimeout(30)
        seen = time.monotonic()
        while time.monotonic() < seen + 1:
            assert bystander.sock.recv(65_536)


@pytest.mark.requirement("OPS-5")
def test_expiry_closes_what_is_open_too(server: RealServer) -> None:
    """A held call does not outlive the token that asked for it."""
    _, header = made(server, ttl_sec=2)
    lock = server.lease(locks=["busy"], cost_units=None)
    with held(server, header) as waiting:
        waiting.sock.settimeout(2 + AT_ONCE_S)
        assert waiting.ended()
    server.release(lock)


@pytest.mark.requirement("OPS-5", "LEASE-10")
def test_leases_of_a_revoked_token_stay_and_nobody_renews_them(server: RealServer) -> None:
    """The work may still run, so its charge stays until the lease's time is up or an operator ends it."""
    token_id, header = made(server)
    lease = server.call("POST", ASK, {"cost_units": 3}, headers=header).json
    path, body = f"{LEASE}/{lease['lease_id']}", {"fencing_token": lease["fencing_token"]}
    assert server.call("POST", f"{path}/heartbeat", body, headers=header).status == 200
    assert revoke(server, token_id).status == 204
    assert server.call("POST", f"{path}/heartbeat", body, headers=header).status == 401
    _, again = made(server)
    assert server.call("POST", f"{path}/heartbeat", body, headers=again).status == 403
    assert server.get(path).json["state"] == "ACTIVE"
    assert server.post(f"{path}/revoke", {"grace_sec": 0}).status == 200


@pytest.mark.requirement("OPS-7", "OPS-8")
def test_what_was_done_with_tokens_is_told_and_no_secret_with_it(server: RealServer) -> None:
    """Events name token, maker and role; neither they, nor the list, nor any file has the secret."""
    token_id, header = made(server, name="audited")
    secret = header["authorization"].removeprefix("Bearer ")
    revoke(server, token_id)
    events = server.get("/api/events?limit=1000").json["events"]
    ours = [(one["kind"], one["actor"]) for one in events if one["subject"] == token_id]
    assert ours == [("TokenCreated", "token:admin"), ("TokenRevoked", "token:admin")]
    assert secret not in json.dumps(events)
    for file in server.data.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


@pytest.mark.requirement("OPS-5")
def test_a_revoked_token_stays_revoked_over_kill_9(scratch: Path) -> None:
    """Killed in the moment after the answer: the next start does not know it, and knows the others."""
    with RealServer(scratch) as server:
        gone_id, gone = made(server, name="gone")
        _, kept = made(server, name="kept")
        assert revoke(server, gone_id).status == 204
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.start()
        assert server.call("GET", "/api/whoami", headers=gone).status == 401
        assert server.call("GET", "/api/whoami", headers=kept).status == 200


@pytest.mark.requirement("OPS-5", "OPS-6")
def test_the_command_line_on_the_socket_for_containers(server: RealServer) -> None:
    """It works with a token, also from a file, and says what is missing without one."""
    _, header = made(server, name="box", role="worker")
    secret = header["authorization"].removeprefix("Bearer ")
    file = server.folder / "secret"
    file.write_text(secret + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEASEHOLD")}
    env = {**clean, "LEASEHOLD_URL": f"unix:{server.data}/client.sock"}

    def cli(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words], env={**env, **more}, capture_output=True, text=True, check=False
        )

    for given in ({"LEASEHOLD_TOKEN": secret}, {"LEASEHOLD_TOKEN_FILE": str(file)}):
        done = cli("status", "--json", **given)
        assert done.returncode == 0, done.stderr
    assert cli("run", "--cost", "1", "--", "true", LEASEHOLD_TOKEN=secret).returncode == 0
    assert cli("token", "list", LEASEHOLD_TOKEN=secret).returncode == 77
    bare = cli("status")
    assert (bare.returncode, "no credential" in bare.stderr) == (77, True)
    nowhere = cli("status", LEASEHOLD_TOKEN_FILE=str(server.folder / "none"))
    assert (nowhere.returncode, "LEASEHOLD_TOKEN_FILE" in nowhere.stderr) == (64, True)


@pytest.mark.requirement("OPS-6", "OPS-10")
def test_a_reload_changes_what_a_role_may_on_open_connections_too(scratch: Path) -> None:
    """A verb that is taken from a role is gone with the next call, even on the short way."""
    config = scratch / "config" / "leasehold" / "config.toml"
    config.parent.mkdir(parents=True)
    group = grp.getgrgid(os.getgid()).gr_name
    config.write_text('[roles.ci]\nverbs = ["lease:request", "lease:read"]\n')
    with RealServer(scratch) as server, server.tcp() as wire:
        _, header = made(server, role="ci")
        for _ in range(3):
            wire.send(asking(header))
            assert wire.reply().json["approved"]
        config.write_text(f'[roles.ci]\nverbs = ["lease:read"]\n[identity.groups]\n{group} = "ci"\n')
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while True:
            wire.send(asking(header))
            reply = wire.reply()
            if reply.status == 403:
                break
            assert time.monotonic() < deadline, "the reload changed nothing"
            time.sleep(0.02)
        assert "lacks lease:request" in reply.json["detail"]
        config.write_text("[roles]\n")
        os.kill(server.pid, signal.SIGHUP)
        while server.call("GET", "/api/whoami", headers=header).status == 200:
            assert time.monotonic() < deadline + 10, "a role that is gone still allows"
            time.sleep(0.02)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.requirement("OPS-6")
def test_a_local_group_gives_its_role_on_the_unix_socket(scratch: Path) -> None:
    """Somebody in the group is a viewer, who may not ask; somebody outside it is a submitter."""
    config = scratch / "config" / "leasehold" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[identity.groups]\nmail = "viewer"\n')
    scratch.chmod(0o711)
    (scratch / "run").mkdir(mode=0o755)
    with RealServer(scratch) as server:
        sock = server.folder / "run" / "leasehold.sock"

        def role(gid: int) -> str:
            command = ["curl", "-sS", "--unix-socket", str(sock), "http://localhost/api/whoami"]
            done = subprocess.run(
                command, user=65534, group=gid, extra_groups=(), capture_output=True, check=True, cwd="/"
            )
            return str(json.loads(done.stdout)["role"])

        assert role(grp.getgrnam("mail").gr_gid) == "viewer"
        assert role(65534) == "submitter"


@pytest.mark.requirement("LEASE-4", "OPS-5")
def test_a_token_is_held_to_the_rate_of_requests(server: RealServer) -> None:
    """Only administrators and users of the machine may ask as often as they like; others get 429."""
    _, header = made(server, name="busy")
    answers = [server.call("POST", ASK, {"cost_units": 1}, headers=header) for _ in range(15)]
    assert answers[0].json["approved"]
    refused = [one for one in answers if one.status == 429]
    assert refused, "the limiter never said no"
    assert refused[0].json["approved"] is False
    assert int(refused[0].headers["retry-after"]) >= 1
    for one in answers:
        if one.status == 200 and one.json["approved"]:
            lease = one.json
            path = f"{LEASE}/{lease['lease_id']}/release"
            server.call("POST", path, {"fencing_token": lease["fencing_token"]}, headers=header)
