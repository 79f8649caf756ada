"""The verbs of add-ons, and the example: a real service that registers, is seen, and asks before it works."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.machine import Machine

EXAMPLE = Path(__file__).parents[2] / "examples" / "addon"
pytestmark = pytest.mark.slow


class Service:
    """The example, running."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def job(self, number: int) -> Any:
        return self.http.get(f"/digests/{number}").json()


def port() -> int:
    """One that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], Any], why: str, timeout_s: float = 40.0) -> Any:
    """Wait for it, and return what it gave."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout_s} s: {why}")


@contextmanager
def example(machine: Machine) -> Iterator[Service]:
    """The example beside that machine's server, started as its first lines say."""
    at = port()
    url = f"http://127.0.0.1:{at}"
    server = json.loads((machine.data / "server.json").read_text())
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLE), "--port", str(at), "app:app"]
    env = {
        "ADDON_URL": url,
        "ADDON_DIR": str(machine.folder),
        "LEASEHOLD_URL": f"http://127.0.0.1:{server['port']}",
        "LEASEHOLD_TOKEN": (machine.data / "admin.token").read_text().strip(),
    }
    log = (machine.folder / "example.log").open("w")
    process = machine.start(command, env=env, stdout=log, stderr=log)
    service = Service(url, process)
    try:
        until(
            lambda: _answers(service), f"the example answers: {(machine.folder / 'example.log').read_text()}"
        )
        yield service
    finally:
        service.http.close()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        log.close()


def _answers(service: Service) -> bool:
    try:
        return service.http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def shown(machine: Machine) -> Any:
    """The example as `addon show` has it; None before it has registered."""
    done = machine.cli("addon", "show", "digests", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.requirement("SENSE-21", "SENSE-22", "SENSE-5")
def test_the_example_registers_itself_and_is_seen(here: Machine) -> None:
    """By itself, with its size and its figures, which the middleware counts."""
    with example(here) as service:
        until(lambda: (now := shown(here)) and now["lifecycle"] == "loaded", f"it is loaded: {shown(here)}")
        for _ in range(40):
            service.http.get("/digests/999")
        now = until(
            lambda: (now := shown(here)) and ((now["stats"]["requests"] or {}).get("rps") or 0) > 0.5 and now,
            f"its requests are seen: {shown(here)}",
        )
        assert now["version"] == "1.0"
        assert now["stats"]["runtime_dir_bytes"] > 0
        assert now["stats"]["requests"]["error_pct"] == 0
        assert now["stats"]["requests_count"] is True
        assert now["stats"]["custom"] == {"jobs": {}}
        listed = here.cli("addon", "list").stdout
        assert "digests" in listed
        assert "loaded" in listed
    until(lambda: shown(here)["lifecycle"] == "error", "it is gone", timeout_s=60)
    assert "nobody answers" in here.cli("addon", "list").stdout
    assert here.cli("addon", "remove", "digests").returncode == 0


@pytest.mark.requirement("SENSE-21", "LEASE-7", "LEASE-10", "LEASE-12")
def test_the_example_works_under_a_lease_and_gives_it_back(here: Machine) -> None:
    """It waits while there is no room, runs and renews when there is, and frees it at the end."""
    with example(here) as service:
        until(lambda: shown(here), "it has registered")
        blocker = here.run(
            "--cost", "80", "--job-type", "blocker", "--", "sh", "-c", "read x", stdin=subprocess.PIPE
        )
        here.until_active("blocker")
        number = service.http.post("/digests?rounds=60").json()["id"]
        waiting = here.until(lambda: here.status()["waiting"], "the job waits in line")
        assert (waiting[0]["holder"], waiting[0]["job_type"]) == ("digests", "digest")
        assert service.job(number)["state"] == "waiting"
        blocker.communicate("\n", timeout=30)
        lease = here.until_active("digest")
        assert lease["addon_id"] == "digests"
        assert service.job(number)["lease_id"] == lease["lease_id"]
        until(lambda: service.job(number)["state"] == "done", f"the job ends: {service.job(number)}", 60)
        here.until_idle()
        ended = json.loads(here.cli("status", "--json").stdout)["ended"]
        assert next(one for one in ended if one["lease_id"] == lease["lease_id"])["state"] == "RELEASED"
    here.cli("addon", "remove", "digests")


@pytest.mark.requirement("SENSE-21", "LEASE-13")
def test_the_example_obeys_revocation_and_being_disabled(here: Machine) -> None:
    """A revoked job stops and gives back; a disabled service waits and says why; enabled it goes on."""
    with example(here) as service:
        until(lambda: shown(here), "it has registered")
        number = service.http.post("/digests?rounds=1000").json()["id"]
        lease = here.until_active("digest")
        assert here.cli("revoke", lease["lease_id"], "--yes").returncode == 0
        until(lambda: service.job(number)["state"] == "stopped", f"it stops: {service.job(number)}", 60)
        here.until_idle()
        assert here.cli("addon", "disable", "digests").returncode == 0
        number = service.http.post("/digests?rounds=1").json()["id"]
        found = here.until(lambda: here.status()["waiting"], "it waits")
        assert found[0]["code"] == "ADDON_DISABLED"
        assert here.cli("addon", "enable", "digests").returncode == 0
        until(lambda: service.job(number)["state"] == "done", f"it runs: {service.job(number)}", 60)
    here.cli("addon", "remove", "digests")


@pytest.mark.requirement("SENSE-21", "OPS-18")
def test_the_verbs(here: Machine) -> None:
    """Each as people and programs use it, with the errors that help."""
    folder = here.folder / "work"
    folder.mkdir(exist_ok=True)
    assert here.cli("addon", "list").stdout == "no add-ons\n"
    assert here.cli("addon", "add", "shop", "--dry-run").stdout == "would register shop\n"
    added = here.cli("addon", "add", "shop", "--version", "3", "--dir", str(folder))
    assert (added.returncode, added.stdout.splitlines()[1].split()) == (0, ["shop", "enabled", "3"])
    off = json.loads(here.cli("addon", "disable", "shop", "--json").stdout)
    assert (off["enabled"], off["lifecycle"]) == (False, "installed")
    assert here.cli("addon", "list").stdout.splitlines()[1].split() == ["shop", "disabled", "3"]
    assert here.cli("addon", "list", "-q").stdout == "shop\n"
    assert here.cli("addon", "enable", "shop", "-q").stdout == "shop\n"
    text = here.cli("addon", "show", "shop").stdout
    assert "enabled" in text
    assert str(folder) in text
    gone = here.cli("addon", "show", "nobody")
    assert gone.returncode != 0
    assert "leasehold addon list" in gone.stderr
    bad = here.cli("addon", "add", "x", "--url", "http://10.1.2.3:80")
    assert bad.returncode != 0
    assert "allowed_hosts" in bad.stderr
    assert here.cli("addon", "remove", "shop").stderr == "leasehold: shop is removed\n"
    assert here.cli("addon", "list", "--json").stdout.strip() == "[]"
