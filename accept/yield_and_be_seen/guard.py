"""Software that never heard of Leasehold gives way like leased work: a process, and a container of a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accept.ask_first.sense import SETTLED_S, changes, foreign
from accept.harness import Skipped, check, expect
from accept.product import Product, Server, until
from accept.yield_and_be_seen.ladder import (
    COMPILE,
    FROZEN_WITHIN_S,
    LOAD_S,
    SPIKE_S,
    STILL_S,
    THAWED_WITHIN_S,
    events,
    instant,
    moves,
    state,
)
from leasehold.testing import podman as engines

IN_CONTAINER = """
step() { i=0; while [ $i -lt 400 ]; do echo . >> /shared/grows; i=$((i + 1)); done; }
while :; do for child in 1 2 3 4; do (step; step &) & done; wait; done
"""
"""Always new children, which start children of their own; each writes as it works."""


class Guarded:
    """A process and a container that work by themselves, each with the file that grows with it."""

    def __init__(self, folder: Path, engine: engines.Podman, product: Product) -> None:
        self.engine = engine
        self.files = {"pid": folder / "grows-process", "docker": folder / "grows"}
        command = [product.python, "-I", "-S", "-c", COMPILE, str(self.files["pid"])]
        self.process = subprocess.Popen(command, start_new_session=True)
        engine.start("guarded", IN_CONTAINER, folder)
        self.targets = {"pid": f"pid:{self.process.pid}", "docker": "docker:guarded"}

    def guard(self, server: Server, *words: str) -> None:
        for kind, target in self.targets.items():
            until(lambda path=self.files[kind]: path.exists() and moves(path, 0.2), 30)  # type: ignore[misc]
            done = server.run("guard", target, "--on-busy", "pause", *words)
            expect(done.returncode == 0 and "it runs" in done.stdout, f"{target}: {done.stdout}{done.stderr}")

    def stand(self, seconds: float) -> list[str]:
        """Those of which something moves."""
        sizes = {kind: path.stat().st_size for kind, path in self.files.items()}
        time.sleep(seconds)
        return [kind for kind, path in self.files.items() if path.stat().st_size != sizes[kind]]

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def guarded(product: Product) -> Iterator[Guarded]:
    why = engines.missing()
    if why:
        raise Skipped(why)
    try:
        with tempfile.TemporaryDirectory() as folder, engines.podman() as engine:
            found = Guarded(Path(folder), engine, product)
            try:
                yield found
            finally:
                found.close()
    except engines.Unusable as error:
        raise Skipped(str(error)) from error


def listed(server: Server) -> dict[str, dict[str, Any]]:
    """What is guarded, by the kind of its target."""
    found = json.loads(server.run("guard", "--json").stdout)
    return {each["target"].partition(":")[0]: each for each in found}


@check(
    "guard.freeze",
    "A guarded process and a guarded container are frozen within 1 s of the state, with all their forking "
    "children, go on by themselves within 90 s of the load's end, and are frozen once by two spikes in a minute",
    command="leasehold guard docker:NAME --on-busy pause; leasehold guard pid:N --on-busy pause; stress -c 2",
    budget_s=540,
)
def freeze(product: Product) -> str:
    """One load for both; the state's time is that of the server's log, theirs that of their last write."""
    with guarded(product) as found, product.server(DOCKER_HOST=f"unix://{found.engine.socket}") as server:
        found.guard(server)
        until(lambda: not any(each.get("held_back") for each in listed(server).values()), 120, 1)
        server.until_quiet(SETTLED_S)
        before, known = len(changes(server)), len(events(server, "LeaseFrozen"))
        with foreign(product) as began:
            held = until(lambda: all(each.get("held_back") for each in listed(server).values()), 40, 0.1)
            expect(held is not None, f"not frozen within 40 s: {server.status()['reasons']}")
            expect(not found.stand(STILL_S), f"something still runs {STILL_S} s after the freeze")
            busy = [row for row in changes(server)[before:] if row["state"] in ("BUSY", "PANIC")]
            late = {kind: path.stat().st_mtime - instant(busy[0]["at"]) for kind, path in found.files.items()}
            expect(max(late.values()) <= FROZEN_WITHIN_S, f"seconds that they still worked: {late}")
            time.sleep(max(0.0, LOAD_S - (time.monotonic() - began)))
            expect(not found.stand(0.5), "they go on under load")
        thawed_s = until(lambda: len(found.stand(0.3)) == 2, THAWED_WITHIN_S + 30)
        expect(thawed_s is not None and thawed_s <= THAWED_WITHIN_S, f"they go on after {thawed_s} s")
        frozen = len(events(server, "LeaseFrozen")) - known
        expect(frozen == 2, f"{frozen} freezes of two guards under one load")
        spiked = spikes(product, server)
        shown = ", ".join(f"{kind} {1000 * after_s:+.0f} ms" for kind, after_s in sorted(late.items()))
        return f"last write after {busy[0]['state']}: {shown}; they go on {thawed_s:.0f} s after the load's end; {spiked}"


def spikes(product: Product, server: Server) -> str:
    """Two spikes, each long enough for BUSY: each guard is frozen once within the minute."""
    server.until_quiet(SETTLED_S)
    known = len(events(server, "LeaseFrozen"))
    first: float | None = None
    for _ in range(2):
        with foreign(product) as began:
            busy = until(lambda: state(server) in ("BUSY", "PANIC"), 25, 0.1)
            expect(busy is not None, f"a spike of 25 s made the machine {state(server)}")
            first = time.monotonic() if first is None else first
            time.sleep(max(0.0, SPIKE_S - (time.monotonic() - began)))
        until(lambda: state(server) in ("NORMAL", "QUIET"), 40, 0.1)
    assert first is not None
    time.sleep(max(0.0, 59 - (time.monotonic() - first)))
    frozen = len(events(server, "LeaseFrozen")) - known
    expect(frozen == 2, f"two guards were frozen {frozen} times by two spikes in a minute")
    return "two spikes in a minute froze each once"


@check(
    "guard.survives",
    "Guards survive kill -9 of the server and a restart of the container; what they use counts as used and is ours; "
    "`why` complains above `--cost`; `--remove` leaves all as it was",
    command="leasehold guard docker:NAME --cost 20; podman restart NAME; leasehold why; leasehold guard docker:NAME --remove",
    budget_s=240,
)
def survives(product: Product) -> str:
    """On a quiet machine, where all of the load is that of what is guarded."""
    with guarded(product) as found, product.server(DOCKER_HOST=f"unix://{found.engine.socket}") as server:
        found.guard(server, "--cost", "5")
        until(lambda: not any(each.get("held_back") for each in listed(server).values()), 120, 1)
        quiet_s = until(lambda: state(server) == "QUIET", 150, 0.5)
        expect(
            quiet_s is not None,
            f"its own load makes the machine {state(server)}: {server.status()['reasons']}",
        )
        used = until(lambda: server.status()["capacity"]["units"]["used"] >= 20, 90, 1)
        expect(
            used is not None, f"used: {server.status()['capacity']['units']}, {server.status()['reasons']}"
        )
        units = server.status()["capacity"]["units"]["used"]
        denied = server.request(cost_units=90, start="now")
        expect(not denied["approved"] and f"used={units // 10}" in denied["reason"], f"{denied['reason']}")
        server.call("DELETE", f"/api/scheduler/ticket/{denied['ticket']}")
        said = server.run("why").stdout
        expect("more than the 5 that it was said to cost" in said, said)
        before = listed(server)
        server.kill()
        server.start()
        expect(
            {each["lease_id"] for each in listed(server).values()}
            == {each["lease_id"] for each in before.values()},
            "other guards",
        )
        found.engine.run("restart", "--time", "0", "guarded")
        pid = found.engine.pid("guarded")
        again = until(lambda: listed(server)["docker"].get("pids") == [pid], 15, 0.1)
        expect(again is not None, f"the new process {pid} is not guarded: {listed(server)}")
        server.run("pretend", "busy", "--for", "5m")
        expect(until(lambda: not found.stand(0.5), 5) is not None, "they do not stand still")
        for target in found.targets.values():
            done = server.run("guard", target, "--remove")
            expect(done.returncode == 0, done.stderr)
        goes_on = until(lambda: len(found.stand(0.3)) == 2, 5)
        expect(goes_on is not None and not listed(server), "they do not go on, or are guarded still")
        return f"QUIET beside {units} units of guarded use; 90 more: “{denied['reason']}”; the new container is held after {again:.1f} s"
