"""Reached from another machine: by TLS and a token, or not at all (OPS-4, OPS-5, CLUSTER-28)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.testing import two_hosts as hosts
from tests.e2e.machine import LEASEHOLD, Machine

WHY_NOT = hosts.why_not()
needs_hosts = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "namespaces work here")
READY_S = 30.0


class Nas:
    """A server on a host of its own, and a laptop on the same cable; `folder` is on both."""

    def __init__(self, folder: Path, cable: hosts.TwoHosts, **env: str) -> None:
        self.machine = Machine(folder, LEASEHOLD_TLS__PORT="7118", LEASEHOLD_PORT="7117", **env)
        self.cable = cable
        self.process = self.start()
        self.url = f"https://{hosts.SERVER}:7118"
        self.ca = self.machine.data / "ca" / "ca.pem"

    def start(self) -> subprocess.Popen[str]:
        command = [*self.cable.server, LEASEHOLD, "up", "--foreground", "--lan", "--name", "nas.lan"]
        with (self.machine.folder / "server.out").open("a") as out:
            process = self.machine.start(command, stdout=out, stderr=out)
        deadline = time.monotonic() + READY_S
        while self.machine.cli("status", "--check").returncode != 0:
            assert process.poll() is None, (self.machine.folder / "server.out").read_text()
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.1)
        return process

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)

    def token(self, *words: str) -> str:
        done = self.machine.cli("token", "create", "--name", "laptop", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def laptop(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command on the other machine: nothing of the server's is in its environment."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LEASEHOLD") and not name.upper().endswith("_PROXY")
        }
        home = self.machine.folder / "laptop"
        home.mkdir(exist_ok=True)
        return subprocess.run(
            [*self.cable.other, *words],
            env={**clean, "HOME": str(home), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@contextmanager
def nas(**env: str) -> Iterator[Nas]:
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    try:
        with hosts.two_hosts() as cable:
            found = Nas(folder, cable, **env)
            try:
                yield found
            finally:
                found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def there() -> Iterator[Nas]:
    with nas() as found:
        yield found


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-4", "OPS-5", "OPS-7", "CLUSTER-28")
def test_another_machine_needs_tls_the_ca_and_a_token(there: Nas) -> None:
    """Plain HTTP gets nowhere, TLS without a token 401, an unknown CA stops the client; all three work."""
    plain = there.laptop(LEASEHOLD, "status", LEASEHOLD_URL=f"http://{hosts.SERVER}:7117")
    assert (plain.returncode, "no server answers" in plain.stderr) == (69, True), plain.stderr
    over_tls = there.laptop(LEASEHOLD, "status", LEASEHOLD_URL=f"http://{hosts.SERVER}:7118")
    assert over_tls.returncode == 69, over_tls.stderr
    token = there.token("--role", "submitter")
    checked = {"LEASEHOLD_URL": there.url, "LEASEHOLD_CA": str(there.ca)}
    without = there.laptop(LEASEHOLD, "status", **checked)
    assert (without.returncode, "no credential" in without.stderr) == (77, True), without.stderr
    wrong = there.laptop(LEASEHOLD, "status", **checked, LEASEHOLD_TOKEN="lsh_" + "A" * 43)
    assert wrong.returncode == 77, wrong.stderr
    unchecked = there.laptop(LEASEHOLD, "status", LEASEHOLD_URL=there.url, LEASEHOLD_TOKEN=token)
    assert (unchecked.returncode, "LEASEHOLD_CA" in unchecked.stderr) == (69, True), unchecked.stderr
    bad_file = there.laptop(
        LEASEHOLD, "status", LEASEHOLD_URL=there.url, LEASEHOLD_TOKEN=token, LEASEHOLD_CA=str(there.ca) + "x"
    )
    assert (bad_file.returncode, "LEASEHOLD_CA" in bad_file.stderr) == (69, True), bad_file.stderr
    right = there.laptop(
        LEASEHOLD, "status", "--json", "--server", there.url, **checked, LEASEHOLD_TOKEN=token
    )
    assert right.returncode == 0, right.stderr
    assert json.loads(right.stdout)["quiet_state"]
    ran = there.laptop(
        LEASEHOLD, "run", "--cost", "1", "--", "echo", "built", **checked, LEASEHOLD_TOKEN=token
    )
    assert (ran.returncode, ran.stdout) == (0, "built\n"), ran.stderr
    refused = json.loads(there.machine.cli("audit", "--denied", "--json").stdout)
    assert {(one["listener"], one["from"], one.get("note")) for one in refused} == {
        ("tls", hosts.OTHER, None),
        ("tls", hosts.OTHER, "unknown"),
    }, "the call without a token and that with a wrong one, each from where it came"


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-4")
def test_it_answers_to_its_own_names_alone(there: Nas) -> None:
    """The address, the machine's name and that of --name, as in the certificate; no other Host header."""
    token = there.token("--role", "viewer")
    script = (
        "import socket, ssl, sys\n"
        "host, named, ca, token = sys.argv[1:5]\n"
        "context = ssl.create_default_context(cafile=ca)\n"
        "context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on\n"
        "plain = socket.create_connection((host, 7118), 5)\n"
        "with context.wrap_socket(plain, server_hostname=named) as wire:\n"
        "    for name in sys.argv[5:]:\n"
        "        wire.sendall(f'GET /health HTTP/1.1\\r\\nhost: {name}\\r\\n\\r\\n'.encode())\n"
        "        got = wire.recv(65536).decode()\n"
        "        print(got.split()[1], end=' ')\n"
    )
    names = [hosts.SERVER, f"{hosts.SERVER}:7118", "NAS.lan:7118", socket.gethostname(), "localhost"]
    for named in (hosts.SERVER, "nas.lan"):
        done = there.laptop(
            "/usr/bin/python3", "-c", script, hosts.SERVER, named, str(there.ca), token, *names
        )
        assert done.stdout.split() == ["200"] * len(names), done.stderr
    strange = ["evil.example", "192.0.2.1", f"{hosts.SERVER}.evil.example", "leasehold"]
    done = there.laptop(
        "/usr/bin/python3", "-c", script, hosts.SERVER, "nas.lan", str(there.ca), token, *strange
    )
    assert done.stdout.split() == ["421"] * len(strange), done.stderr
    other = there.laptop("/usr/bin/python3", "-c", script, hosts.SERVER, "evil.example", str(there.ca), token)
    assert "CERTIFICATE_VERIFY_FAILED" in other.stderr, "the certificate is for its own names alone"


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-4", "CLUSTER-28")
def test_the_certificate_is_renewed_without_a_restart(there: Nas) -> None:
    """Another one is taken up by new connections after a reload; open ones go on."""
    context = ssl.create_default_context(cafile=str(there.ca))
    script = (
        "import hashlib, socket, ssl, sys\n"
        "context = ssl.create_default_context(cafile=sys.argv[2])\n"
        "def connect():\n"
        "    plain = socket.create_connection((sys.argv[1], 7118), 5)\n"
        "    return context.wrap_socket(plain, server_hostname=sys.argv[1])\n"
        "def seen(wire): return hashlib.sha256(wire.getpeercert(True)).hexdigest()\n"
        "old = connect()\n"
        "for line in sys.stdin:\n"
        "    old.sendall(b'GET /health HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n')\n"
        "    alive = old.recv(65536).startswith(b'HTTP/1.1 200')\n"
        "    with connect() as new: print(alive, seen(new) != seen(old), flush=True)\n"
    )
    assert context.cert_store_stats()["x509_ca"] == 1
    command = [*there.cable.other, "/usr/bin/python3", "-c", script, hosts.SERVER, str(there.ca)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdin is not None
        assert watcher.stdout is not None

        def look() -> str:
            assert watcher.stdin is not None
            assert watcher.stdout is not None
            print("look", file=watcher.stdin, flush=True)
            return watcher.stdout.readline()

        assert look() == "True False\n"
        (there.machine.data / "ca" / "server.pem").unlink()
        there.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 15
        while (found := look()) != "True True\n":
            assert (found, time.monotonic() < deadline) == ("True False\n", True)
            time.sleep(0.1)
        watcher.stdin.close()
        watcher.wait(10)


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-26", "OPS-12")
def test_what_is_left_of_the_certificate_is_looked_at(there: Nas) -> None:
    """It is 90 days long: nearly all of it is left, in the rule of alerts and for Prometheus."""

    def looked_at() -> dict[str, object]:
        found = json.loads(there.machine.cli("alert", "list", "--json").stdout)["alerts"]
        return next(one for one in found if one["rule"] == "certificate")

    rule = looked_at()
    assert rule["now"] == "the certificate ends in 90.0 days"
    assert isinstance(rule["value"], float)
    assert 99 < rule["value"] <= 100
    token = there.token("--role", "viewer")
    script = (
        "import ssl, sys, urllib.request\n"
        "context = ssl.create_default_context(cafile=sys.argv[2])\n"
        "asked = urllib.request.Request(sys.argv[1] + '/metrics', "
        "headers={'authorization': 'Bearer ' + sys.argv[3]})\n"
        "print(urllib.request.urlopen(asked, context=context).read().decode())\n"
    )
    told = there.laptop("/usr/bin/python3", "-c", script, there.url, str(there.ca), token)
    ends = next(
        line.split()[1]
        for line in told.stdout.splitlines()
        if line.startswith("leasehold_certificate_end_seconds ")
    )
    assert 89 * 86_400 < float(ends) - time.time() <= 90 * 86_400


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-5")
def test_a_revoked_token_loses_its_tls_connection_at_once(there: Nas) -> None:
    """A held call from the other machine ends with the token, not with its time."""
    token = there.token("--role", "submitter", "--ttl", "1h")
    token_id = json.loads(there.machine.cli("token", "list", "--json").stdout)[0]["token_id"]
    script = (
        "import json, socket, ssl, sys, time\n"
        "host, ca, token = sys.argv[1:]\n"
        "context = ssl.create_default_context(cafile=ca)\n"
        "wire = context.wrap_socket(socket.create_connection((host, 7118), 5), server_hostname=host)\n"
        "body = json.dumps({'locks': ['held'], 'wait_sec': 60}).encode()\n"
        "head = f'POST /api/scheduler/lease/request HTTP/1.1\\r\\nhost: {host}\\r\\n'\n"
        "head += f'authorization: Bearer {token}\\r\\n'\n"
        "head += f'content-type: application/json\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n'\n"
        "wire.settimeout(50); wire.sendall(head.encode() + body)\n"
        "try: print(repr(wire.recv(100)))\n"
        "except OSError as error: print(type(error).__name__)\n"
    )
    holder = there.machine.run("--lock", "held", "--", "sleep", "60")
    there.machine.until(lambda: there.machine.leases(), "the lock is taken")
    command = [*there.cable.other, "/usr/bin/python3", "-c", script, hosts.SERVER, str(there.ca), token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiter:
        there.machine.until(lambda: there.machine.status()["waiting"], "the call waits")
        began = time.monotonic()
        assert there.machine.cli("token", "revoke", token_id).returncode == 0
        out, _ = waiter.communicate(timeout=20)
        assert time.monotonic() - began < 10
        assert "HTTP" not in out
    holder.terminate()
    holder.communicate(timeout=20)


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-5", "OPS-6")
def test_in_a_container_the_owners_rights_are_worth_nothing(there: Nas) -> None:
    """Only client.sock is to be seen there: root without a token is nobody, with one it is that token."""
    data, run_dir = there.machine.data, there.machine.folder / "r"
    sock = there.machine.folder / "box" / "mnt" / "client.sock"
    token = there.token("--role", "worker", "--holder", "box")

    def inside(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = hosts.in_container(there.machine.folder / "box", data, run_dir, words)
        given = {**there.machine.env, "LEASEHOLD_URL": f"unix:{sock}", **env}
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)

    assert inside("ls", "-A", str(data)).stdout == "", "the server's folder is hidden"
    root = inside(LEASEHOLD, "status")
    assert (root.returncode, "no credential" in root.stderr) == (77, True), root.stderr
    assert inside(LEASEHOLD, "status", LEASEHOLD_TOKEN=token).returncode == 0
    denied = inside(LEASEHOLD, "token", "list", LEASEHOLD_TOKEN=token)
    assert (denied.returncode, "token:list" in denied.stderr) == (77, True), denied.stderr
    ran = inside(LEASEHOLD, "run", "--cost", "1", "--", "echo", "inside", LEASEHOLD_TOKEN=token)
    assert (ran.returncode, ran.stdout) == (0, "inside\n"), ran.stderr
    ended = json.loads(there.machine.cli("status", "--json").stdout)["ended"]
    assert any(one["addon_id"] == "box" for one in ended)


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-4", "OPS-31")
def test_half_made_connections_keep_nobody_out(there: Nas) -> None:
    """Who opens connections and says nothing, or garbage, is dropped; others are served meanwhile."""
    script = (
        "import socket, sys\n"
        "many = [socket.create_connection((sys.argv[1], 7118), 5) for _ in range(200)]\n"
        "for one in many[::2]: one.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
        "print('open', flush=True); sys.stdin.read()\n"
        "for one in many: one.settimeout(10)\n"
        "def ended(one):\n"
        "    try:\n"
        "        while one.recv(4096): pass\n"
        "        return True\n"
        "    except ConnectionError: return True\n"
        "    except OSError: return False\n"
        "print(all(ended(one) for one in many))\n"
    )
    command = [*there.cable.other, "/usr/bin/python3", "-c", script, hosts.SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flood:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "open\n"
        right = there.laptop(
            LEASEHOLD,
            "status",
            LEASEHOLD_URL=there.url,
            LEASEHOLD_CA=str(there.ca),
            LEASEHOLD_TOKEN=there.token("--role", "viewer"),
        )
        assert right.returncode == 0, right.stderr
        out, _ = flood.communicate("", timeout=60)
        assert out == "True\n"


@needs_hosts
@pytest.mark.slow
@pytest.mark.requirement("OPS-4", "CLUSTER-28")
def test_up_lan_says_how_to_reach_it() -> None:
    """URL, CA with its fingerprint, token and curl line; again it changes nothing; a plain one is told."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    here = Machine(folder, LEASEHOLD_TLS__PORT="7118")
    try:
        with hosts.two_hosts() as cable:

            def up(*words: str) -> subprocess.CompletedProcess[str]:
                process = here.start([*cable.server, LEASEHOLD, "up", *words])
                out, err = process.communicate(timeout=60)
                return subprocess.CompletedProcess(words, process.returncode, out, err)

            assert up().returncode == 0
            refused = up("--lan")
            assert (refused.returncode, "this machine alone" in refused.stderr) == (73, True), refused.stderr
            assert up("--name", "nas.lan").returncode == 64
            here.down()
            first = up("--lan", "--name", "nas.lan")
            assert first.returncode == 0, first.stderr
            ca = here.data / "ca" / "ca.pem"
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.read_text())).hexdigest().upper()
            for said in (
                "https://nas.lan:7118",
                hosts.SERVER,
                str(ca),
                digest[:2] + ":",
                "--cacert",
                "token create",
            ):
                assert said in first.stderr, said
            document = json.loads(up("--lan", "--name", "nas.lan", "--json").stdout)
            assert document["was_running"]
            assert document["lan"]["ca_sha256"].replace(":", "") == digest
            assert f"https://{hosts.SERVER}:7118" in document["lan"]["urls"]
    finally:
        here.down()
        shutil.rmtree(folder, ignore_errors=True)
