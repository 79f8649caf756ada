"""The port `Standing` on this machine's own cgroups and processes, and on an engine's socket (LEASE-26)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from leasehold.adapters.hosts import cgroups, units
from leasehold.adapters.hosts.brakes import LinuxBrakes
from leasehold.adapters.hosts.cgroups import Groups, made, removed, write
from leasehold.adapters.hosts.containers import Containers, sockets_of
from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.standing import LinuxStanding, paths_of
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.model.lease import Binding
from leasehold.model.work import WorkQuery
from leasehold.ports.host import TargetUnknown, TargetUnreachable
from leasehold.testing.brakes_contract import growing, grows, stands, until

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-26")]

HOME = f"leasehold-standing-{os.getpid()}"
LEASE = "lease-standing"
NOBODY = Containers(())


class Elsewhere:
    """A cgroup that is not ours, in every hierarchy, with a folder below it; and the means to hold it."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.path = f"/{HOME}-elsewhere"
        self.folders = sorted({groups.folder(each, self.path) for each in groups.roots})
        for folder in self.folders:
            assert made(folder)
            assert made(f"{folder}/below")
        self.standing = LinuxStanding(groups, NOBODY)
        self.brakes = LinuxBrakes(groups, self.standing)

    def move(self, pid: int, below: str = "") -> None:
        taken = [write(f"{folder}{below}/cgroup.procs", str(pid)) for folder in self.folders]
        assert all(taken)

    def file(self, name: str) -> str:
        return (read(f"{self.groups.folder('cpu', self.path)}/{name}") or "").strip()

    @property
    def weight(self) -> int:
        return int(self.file("cpu.weight" if self.groups.kind == "cgroup2" else "cpu.shares"))

    def query(self, binding: Binding) -> WorkQuery:
        return WorkQuery(LEASE, 1_000, 0, binding.work, (), binding.cgroup, binding.before, is_guarded=True)

    def close(self) -> None:
        for folder in self.folders:
            until(lambda folder=folder: removed(f"{folder}/below") and removed(folder))  # type: ignore[misc]
        for lease in self.groups.leases():
            self.groups.remove(lease)
        self.groups.close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    groups = cgroups.find(HOME)
    if groups is None or not groups.freezer:
        pytest.skip("no cgroup that can freeze can be made by this user on this machine")
    found = Elsewhere(groups)
    yield found
    found.close()


def test_a_cgroup_is_found_held_slowed_and_put_back(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """With what is in the folders below it; its own quota and weight are what they were in the end."""
    target = f"cgroup:{elsewhere.path}"
    assert elsewhere.standing.find(target) is None
    if elsewhere.groups.kind == "cgroup2":
        before = {"cpu.max": "150000 100000"}
    else:
        before = {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"}
    for name, value in before.items():
        assert write(f"{elsewhere.groups.folder('cpu', elsewhere.path)}/{name}", value)
    weight = elsewhere.weight
    with growing(tmp_path, waits=True) as (process, path):
        elsewhere.move(process.pid, "/below")
        assert process.stdin is not None
        process.stdin.close()
        grows(path)
        found = elsewhere.standing.find(target)
        assert found == Binding(cgroup=elsewhere.path)
        lowered = elsewhere.standing.lower(LEASE, found)
        assert elsewhere.weight < weight
        query = elsewhere.query(lowered)
        assert elsewhere.brakes.freeze([query]) == {LEASE}
        stands(path)
        assert elsewhere.brakes.thaw([query]) == {LEASE}
        grows(path)
        assert elsewhere.brakes.throttle([query]) == {LEASE}
        assert {name: elsewhere.file(name) for name in before} != before
        assert elsewhere.brakes.loosen([query]) == {LEASE}
        assert {name: elsewhere.file(name) for name in before} == before
        assert elsewhere.standing.lower(LEASE, lowered) == lowered
        elsewhere.standing.put_back(LEASE, lowered)
        assert elsewhere.weight == weight
        grows(path)


@pytest.mark.requirement("SENSE-6")
def test_what_it_uses_is_ours(elsewhere: Elsewhere) -> None:
    """Its CPU time from when it was first seen, its memory, and its processes."""
    burner = subprocess.Popen([sys.executable, "-c", "x = bytearray(80 << 20)\nwhile True: pass"])
    try:
        elsewhere.move(burner.pid, "/below")
        until(lambda: _resident(burner.pid) > 80 << 20)
        work = LinuxWork(HOME)
        query = elsewhere.query(Binding(cgroup=elsewhere.path))
        before = work.measure([query], 0, io=False)
        until(lambda: work.measure([query], 1, io=False).cpu_ms > before.cpu_ms + 200)
        after = work.measure([query], 2, io=False)
        assert after.memory_bytes > 80 << 20
        assert burner.pid in after.pids
        assert after.uses[0].alive == 1
    finally:
        burner.kill()
        burner.wait()


def _resident(pid: int) -> int:
    return int((read(f"/proc/{pid}/statm") or "0 0").split()[1]) * 4096


def test_a_process_gets_a_place_and_goes_back_to_its_own(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """With all that it has started; it is frozen there, and stands where it stood in the end."""
    with growing(tmp_path) as (process, path):
        own = paths_of(process.pid)
        found = elsewhere.standing.find(f"pid:{process.pid}")
        assert found is not None
        lowered = elsewhere.standing.lower(LEASE, found)
        assert (lowered.cgroup, paths_of(process.pid) != own) == (LEASE, True)
        assert elsewhere.brakes.freeze([elsewhere.query(lowered)]) == {LEASE}
        stands(path)
        assert elsewhere.brakes.thaw([elsewhere.query(lowered)]) == {LEASE}
        elsewhere.standing.put_back(LEASE, lowered)
        assert paths_of(process.pid) == own
        grows(path)


def test_the_servers_own_cgroup_is_never_held(elsewhere: Elsewhere) -> None:
    """Frozen, it could thaw nothing: neither is it found, nor frozen where it is bound all the same."""
    own = paths_of(os.getpid())
    elsewhere.move(os.getpid())
    try:
        with pytest.raises(TargetUnreachable, match="the server itself runs in"):
            elsewhere.standing.find(f"cgroup:{elsewhere.path}")
        assert elsewhere.brakes.freeze([elsewhere.query(Binding(cgroup=elsewhere.path))]) == frozenset()
    finally:
        for controller, root in elsewhere.groups.roots.items():
            place = own.get("" if elsewhere.groups.kind == "cgroup2" else controller, "/")
            assert write(f"{root}{place}/cgroup.procs", str(os.getpid()))


def test_what_is_not_there_is_unknown() -> None:
    """Said with where it was looked for."""
    groups = cgroups.find(HOME)
    standing = LinuxStanding(groups, NOBODY)
    if groups is not None:
        groups.close()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for target in ("cgroup:/no/such/cgroup", f"pid:{gone.pid}"):
        with pytest.raises(TargetUnknown, match="there is no"):
            standing.find(target)
    with pytest.raises(TargetUnreachable, match="guard a pid: instead"):
        LinuxStanding(None, NOBODY).find("cgroup:/x")
    if not os.path.isdir("/run/systemd/system"):
        with pytest.raises(TargetUnreachable, match="systemd does not run this machine"):
            units.find("nginx.service")


# -- units


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that prints a file and notes what it was asked: systemd itself can't be had here."""
    program, told = tmp_path / "systemctl", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncat {told}\n[ ! -e {tmp_path}/fails ]\n')
    program.chmod(0o755)
    monkeypatch.setattr(units, "BOOTED", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return told


def shown(load: str = "loaded", active: str = "active", pid: int = 0, cgroup: str = "") -> str:
    """What `systemctl show --property=…` prints."""
    return f"LoadState={load}\nActiveState={active}\nMainPID={pid}\nControlGroup={cgroup}\n"


def test_a_unit_is_asked_for_by_name(systemctl: Path) -> None:
    """Its main process, nothing while it is not active, and systemd's own word where it has none."""
    systemctl.write_text(shown(pid=os.getpid()))
    found = LinuxStanding(None, NOBODY).find("unit:nginx.service")
    assert found == Binding(work=(LinuxProcesses().identify(os.getpid()),))  # type: ignore[arg-type]
    assert (systemctl.parent / "asked").read_text().startswith("show --property=LoadState,ActiveState")
    systemctl.write_text(shown(active="inactive"))
    assert LinuxStanding(None, NOBODY).find("unit:nginx.service") is None
    systemctl.write_text(shown(load="not-found", active="inactive"))
    with pytest.raises(TargetUnknown, match=r"no unit nginx\.service \(not-found\)"):
        units.find("nginx.service")
    (systemctl.parent / "fails").touch()
    with pytest.raises(TargetUnreachable, match="systemctl show"):
        units.find("nginx.service")


def test_a_unit_without_a_main_process_is_held_by_its_cgroup(systemctl: Path, elsewhere: Elsewhere) -> None:
    """As a service of several processes, or a slice; while nothing is in it, it does not run."""
    systemctl.write_text(shown(cgroup=elsewhere.path))
    assert elsewhere.standing.find("unit:many.slice") is None
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        elsewhere.move(sleeper.pid)
        assert elsewhere.standing.find("unit:many.slice") == Binding(cgroup=elsewhere.path)
    finally:
        sleeper.kill()
        sleeper.wait()


# -- the engine's socket


class Engine:
    """A socket that answers as it is told, and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                asked = f"{self.command} {self.path}"
                engine.asked.append(asked)
                status, body = engine.answers.get(asked, (404, b'{"message": "no such container"}'))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer

            def address_string(self) -> str:
                return "here"

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # Callers hang up.
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def runs(self, name: str, pid: int) -> None:
        state = {"Running": bool(pid), "Pid": pid}
        self.answers[f"GET /containers/{name}/json"] = (
            200,
            json.dumps({"Id": "abc", "State": state}).encode(),
        )


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[], tuple[Engine, Containers]]]:
    opened: list[Engine] = []

    def start() -> tuple[Engine, Containers]:
        path = tmp_path / "engine.sock"
        opened.append(Engine(path))
        return opened[0], Containers((str(tmp_path / "none.sock"), str(path)))

    yield start
    for each in opened:
        each.server.shutdown()
        each.server.server_close()


def test_a_container_is_asked_for_by_name(engine: Callable[[], tuple[Engine, Containers]]) -> None:
    """Its first process, nothing while it does not run, and the engine's own words where it refuses."""
    told, containers = engine()
    told.runs("web", os.getpid())
    assert containers.find("web").pid == os.getpid()
    found = LinuxStanding(None, containers).find("docker:web")
    assert found == Binding(work=(LinuxProcesses().identify(os.getpid()),))  # type: ignore[arg-type]
    told.runs("web", 0)
    assert LinuxStanding(None, containers).find("docker:web") is None
    with pytest.raises(TargetUnknown, match="no container other is known"):
        containers.find("other")
    told.answers["GET /containers/web/json"] = (500, b'{"message": "the disk is full"}')
    with pytest.raises(TargetUnreachable, match="500 about web: the disk is full"):
        containers.find("web")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"Id": 1, "State": null}', b"\xff\xfe", b"x" * (5 << 20)]
)
def test_an_engine_that_answers_rubbish_is_unreachable(
    engine: Callable[[], tuple[Engine, Containers]], body: bytes
) -> None:
    """No answer is believed that can't be read, and none is read for ever."""
    told, containers = engine()
    told.answers["GET /containers/web/json"] = (200, body)
    with pytest.raises(TargetUnreachable):
        containers.find("web")


def test_stop_and_start_are_asked_of_the_engine(engine: Callable[[], tuple[Engine, Containers]]) -> None:
    """Once each, in a thread of their own; a refusal is told with the next call."""
    told, containers = engine()
    told.runs("web", os.getpid())
    standing = LinuxStanding(None, containers)
    told.answers["POST /containers/web/stop"] = (204, b"")
    assert not standing.stop("docker:web")
    until(lambda: "POST /containers/web/stop" in told.asked)
    told.runs("web", 0)
    assert standing.stop("docker:web")
    told.answers["POST /containers/web/start"] = (500, b'{"message": "no room"}')
    assert not standing.start("docker:web")
    with pytest.raises(TargetUnreachable, match="no room"):
        until(lambda: standing.start("docker:web"))


def test_without_an_engine_it_is_said_what_was_tried(tmp_path: Path) -> None:
    """A socket that is not there, and one that nobody listens on."""
    with pytest.raises(TargetUnreachable, match=r"guard\.container_sockets"):
        Containers((str(tmp_path / "none"),)).find("web")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(TargetUnreachable, match="does not answer"):
        Containers((str(tmp_path / "dead"),)).find("web")
    assert sockets_of({"DOCKER_HOST": "unix:///x/y.sock"}) == ("/x/y.sock",)
    assert "/run/docker.sock" in sockets_of({"DOCKER_HOST": "tcp://10.0.0.1:2375"})
