"""Reached from another machine and from containers: TLS, tokens, revocation."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accept.harness import Skipped, check, expect
from accept.product import Product, Server, until
from leasehold.testing import two_hosts as hosts

AT_ONCE_S = 2.0
HELD = """
import json, socket, ssl, sys, time
address, named, ca, token = sys.argv[1:]
if ca:
    plain = socket.create_connection((address, 7118), 5)
    wire = ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=named)
else:
    wire = socket.socket(socket.AF_UNIX); wire.connect(address)
body = json.dumps({"locks": ["held"], "wait_sec": 120}).encode()
head = f"POST /api/scheduler/lease/request HTTP/1.1\\r\\nhost: {named}\\r\\nauthorization: Bearer {token}\\r\\n"
head += f"content-type: application/json\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n"
wire.settimeout(100); wire.sendall(head.encode() + body)
try: got = wire.recv(100)
except OSError as error: got = type(error).__name__.encode()
print(time.monotonic(), got.decode(), flush=True)
"""


STREAM = """
import socket, ssl, sys, time
address, ca, token = sys.argv[1:]
plain = socket.create_connection((address, 7118), 5)
wire = ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=address)
wire.sendall(f"GET /api/dashboard/stream HTTP/1.1\\r\\nhost: {address}\\r\\nauthorization: Bearer {token}\\r\\n\\r\\n".encode())
wire.settimeout(100)
print("open" if b"text/event-stream" in wire.recv(65536) else "refused", flush=True)
try:
    while wire.recv(65536): pass
except OSError: pass
print(time.monotonic(), flush=True)
"""


class Lan:
    """A server started with `up --lan` on a host of its own, and the other host on its cable."""

    def __init__(self, server: Server, cable: hosts.TwoHosts) -> None:
        self.server = server
        self.cable = cable
        self.url = f"https://{hosts.SERVER}:7118"
        self.ca = server.data / "ca" / "ca.pem"

    def start(self) -> None:
        command = [*self.cable.server, self.server.product.leasehold, "up", "--foreground", "--lan"]
        with open(self.server.data.parent / "lan.out", "ab") as log:
            self.server.process = subprocess.Popen(
                command, env=self.server.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def ready() -> bool:
            done = self.server.run("status", "--json")
            return done.returncode == 0 and json.loads(done.stdout)["quiet_state"] != "UNKNOWN"

        expect(until(ready, 30, 0.2) is not None, "the server was not ready within 30 s")

    def token(self, *words: str) -> tuple[str, str]:
        """A new token: its id and its secret."""
        done = self.server.run("token", "create", "--json", *words)
        expect(done.returncode == 0, f"no token was made: {done.stderr}")
        made = json.loads(done.stdout)
        return made["about"]["token_id"], made["token"]

    def elsewhere(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """The installed command line on the other host, with nothing of the server's in its environment."""
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith("LEASEHOLD") and key != "CI"
        }
        home = self.server.data.parent / "elsewhere"
        home.mkdir(exist_ok=True)
        command = [*self.cable.other, self.server.product.leasehold, *words]
        env = {**clean, "HOME": str(home), **env}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def lan(product: Product) -> Iterator[Lan]:
    """Raises Skipped where this machine has no namespaces to give."""
    why = hosts.why_not()
    if why:
        raise Skipped(why)
    with tempfile.TemporaryDirectory(prefix="leasehold-accept-") as scratch, hosts.two_hosts() as cable:
        env = {"LEASEHOLD_PRESET": "always"}
        server = Server(product, Path(scratch) / "data", 7117, Path(scratch) / "run", env, "")
        found = Lan(server, cable)
        found.start()
        try:
            yield found
        finally:
            server.stop()


@check(
    "lan.namespace",
    "From another machine: nothing without TLS, its CA and a token; with them it works, and only as its role",
    budget_s=60,
)
def namespace(product: Product) -> str:
    """Each way in, from a network namespace that sees the server over one cable."""
    with lan(product) as there:
        _, token = there.token("--role", "submitter", "--name", "laptop", "--ttl", "1h")
        ca = {"LEASEHOLD_CA": str(there.ca)}
        tries = [
            (
                "plain HTTP on 7117",
                69,
                {"LEASEHOLD_URL": f"http://{hosts.SERVER}:7117", "LEASEHOLD_TOKEN": token},
            ),
            (
                "plain HTTP on 7118",
                69,
                {"LEASEHOLD_URL": f"http://{hosts.SERVER}:7118", "LEASEHOLD_TOKEN": token},
            ),
            ("an unknown CA", 69, {"LEASEHOLD_URL": there.url, "LEASEHOLD_TOKEN": token}),
            ("no token", 77, {"LEASEHOLD_URL": there.url, **ca}),
            ("a wrong token", 77, {"LEASEHOLD_URL": there.url, **ca, "LEASEHOLD_TOKEN": "lsh_" + "A" * 43}),
        ]
        for name, code, env in tries:
            done = there.elsewhere("status", **env)
            expect(done.returncode == code, f"{name}: exit {done.returncode}, expected {code}: {done.stderr}")
        right = {"LEASEHOLD_URL": there.url, **ca, "LEASEHOLD_TOKEN": token}
        ran = there.elsewhere("run", "--cost", "1", "--", "echo", "built", **right)
        expect((ran.returncode, ran.stdout) == (0, "built\n"), f"with all three: {ran.stderr}")
        denied = there.elsewhere("token", "list", **right)
        expect(denied.returncode == 77, f"a submitter saw the tokens: {denied.stdout}")
        return f"{len(tries)} wrong ways refused; with TLS, ca.pem and a token a command ran; its role held"


@check(
    "lan.container",
    "A token mounted into a container with client.sock works; being root there is worth nothing",
    budget_s=60,
)
def container(product: Product) -> str:
    """A mount and network namespace in which only client.sock is to be seen."""
    with lan(product) as there:
        server, box = there.server, there.server.data.parent / "box"
        box.mkdir()
        secret = box / "token"
        done = server.run("token", "create", "--role", "worker", "--name", "box", "--out", str(secret))
        expect(done.returncode == 0, f"no token was made: {done.stderr}")
        expect(secret.stat().st_mode & 0o777 == 0o600, "the token's file is not for its owner alone")

        def inside(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
            run_dir = Path(server.env["LEASEHOLD_RUN_DIR"])
            command = hosts.in_container(box, server.data, run_dir, words)
            given = {**server.env, "LEASEHOLD_URL": f"unix:{box}/mnt/client.sock", **env}
            return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)

        program = product.leasehold
        expect(inside("ls", "-A", str(server.data)).stdout == "", "the data folder is to be seen inside")
        bare = inside(program, "status")
        expect(bare.returncode == 77, f"root without a token got in: {bare.stdout}{bare.stderr}")
        mounted = {"LEASEHOLD_TOKEN_FILE": str(secret)}
        ran = inside(program, "run", "--cost", "1", "--", "echo", "inside", **mounted)
        expect((ran.returncode, ran.stdout) == (0, "inside\n"), f"with the token: {ran.stderr}")
        denied = inside(program, "token", "list", **mounted)
        expect(denied.returncode == 77, f"the owner's rights leaked in: {denied.stdout}")
        return "without a token 401 though root; with the mounted token a command ran, as worker and no more"


@check(
    "lan.revoked",
    "A revoked token: its held call and its open stream over TLS are closed at once, and it stays revoked over kill -9",
    budget_s=60,
)
def revoked(product: Product) -> str:
    """Time from the end of the revoking command to the end of the connection, then a crash."""
    with lan(product) as there:
        server = there.server
        gone_id, gone = there.token("--role", "submitter", "--name", "laptop")
        crashed_id, crashed = there.token("--role", "submitter", "--name", "laptop")
        _, kept = there.token("--role", "submitter", "--name", "laptop")
        holder = server.spawn("run", "--lock", "held", "--", "sleep", "60")
        try:
            first = until(lambda: json.loads(server.run("status", "--json").stdout)["active"], 20, 0.1)
            expect(first is not None, "the lock was not taken")
            command = [product.python, "-c", HELD, hosts.SERVER, hosts.SERVER, str(there.ca), gone]
            follow = [product.python, "-c", STREAM, hosts.SERVER, str(there.ca), gone]
            with (
                subprocess.Popen([*there.cable.other, *command], stdout=subprocess.PIPE, text=True) as waiter,
                subprocess.Popen(
                    [*there.cable.other, *follow], stdout=subprocess.PIPE, text=True
                ) as follower,
            ):
                assert follower.stdout is not None
                expect(follower.stdout.readline() == "open\n", "the stream was refused")
                waits = until(lambda: json.loads(server.run("status", "--json").stdout)["waiting"], 20, 0.1)
                expect(waits is not None, "the call does not wait")
                done = server.run("token", "revoke", gone_id)
                answered = time.monotonic()
                out, _ = waiter.communicate(timeout=30)
                followed, _ = follower.communicate(timeout=30)
            expect(done.returncode == 0, f"not revoked: {done.stderr}")
            at, _, got = out.strip().partition(" ")
            expect(not got.startswith("HTTP"), f"the held call was answered: {got}")
            ended_s = float(at) - answered
            stream_s = float(followed) - answered
            expect(
                max(ended_s, stream_s) < AT_ONCE_S,
                f"the connection lasted {ended_s:.1f} s, the stream {stream_s:.1f} s longer than their token",
            )
            done = server.run("token", "revoke", crashed_id)
            server.kill()
            expect(done.returncode == 0, f"not revoked: {done.stderr}")
            there.start()
            env = {"LEASEHOLD_URL": there.url, "LEASEHOLD_CA": str(there.ca)}
            codes = [
                there.elsewhere("status", LEASEHOLD_TOKEN=one, **env).returncode
                for one in (gone, crashed, kept)
            ]
            expect(
                codes == [77, 77, 0], f"after kill -9: the two revoked, and the third of their name: {codes}"
            )
        finally:
            holder.terminate()
            holder.communicate(timeout=20)
        return f"the held call ended {ended_s * 1000:+.0f} ms, the stream {stream_s * 1000:+.0f} ms after the answer; after kill -9 still 401, its namesake 200"
