"""Leased work gives way within a second when a person needs the machine, and comes back by itself.

The load that needs the machine is a real one where the promise is about it; else it is pretended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import live
from accept.ask_first.sense import SETTLED_S, changes, foreign
from accept.harness import check, expect
from accept.product import Product, Server, until

FROZEN_WITHIN_S = 1.0
THAWED_WITHIN_S = 90
LOAD_S = 40
SPIKE_S = 14
STILL_S = 5
"""How long is looked at whether anything of frozen work moves."""

COMPILE = """
import os, sys, time
out = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def step(levels):
    child = os.fork()
    if child == 0:
        end = time.monotonic() + 0.03
        while time.monotonic() < end:
            os.write(out, b".")
            sum(range(20_000))
        if levels:
            step(levels - 1)
        os._exit(0)
    return child
while True:
    for child in [step(2) for _ in range(4)]:
        os.waitpid(child, 0)
"""
"""A tree like a compile's: always new children, which start children of their own; each writes as it works."""

TALKER = """
import socket, sys, threading, time
def burn():
    while True: sum(range(100_000))
threading.Thread(target=burn, daemon=True).start()
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
while True:
    link.sendall(b"still here\\n")
    time.sleep(0.2)
"""

PERSON = """
import hashlib, json, sys, time
end, took = time.monotonic() + float(sys.argv[1]), []
while time.monotonic() < end:
    began = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 120_000)
    took.append((began - end, time.monotonic() - began))
    time.sleep(0.002)
print(json.dumps(took), flush=True)
"""
"""Somebody's program: pieces of work as people wait for them (some 30 ms), each timed: (seconds before its end, seconds)."""


@contextmanager
def compiling(server: Server, *words: str) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    """A compile under a lease, seen to run: its lease, the file that grows with it, its wrapper."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        command = [server.product.python, "-I", "-S", "-c", COMPILE, str(path)]
        worker = server.spawn("run", "--job-type", "compile", *words, "--", *command, start_new_session=True)
        lease_id = ""
        try:
            began = until(lambda: path.exists() and path.stat().st_size > 0, 60)
            expect(began is not None, f"the compile did not start: {server.status()['headline']}")
            lease_id = next(lease["lease_id"] for lease in live(server) if lease["job_type"] == "compile")
            yield lease_id, path, worker
        finally:
            server.run("pretend", "off")
            server.run("resume", lease_id)
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGTERM)
            worker.communicate(timeout=30)


def unjudged(product: Product) -> AbstractContextManager[Server]:
    """A server that calls the machine quiet unless a person says otherwise: others' checks run beside it."""
    return product.server(LEASEHOLD_PRESET="always")


def moves(path: Path, seconds: float) -> bool:
    """Whether anything of the compile works within so long."""
    size = path.stat().st_size
    time.sleep(seconds)
    return path.stat().st_size != size


def events(server: Server, kind: str) -> list[dict[str, Any]]:
    return [event for event in server.get("/api/events?limit=1000")[1]["events"] if event["kind"] == kind]


def flags(server: Server, lease_id: str) -> list[str]:
    return next((lease.get("flags", []) for lease in live(server) if lease["lease_id"] == lease_id), [])


def state(server: Server) -> str:
    return str(server.status()["quiet_state"])


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@check(
    "ladder.freeze",
    "A program that is not ours loads all cores: a compile with `--on-busy pause` is frozen within 1 s of the "
    "state, with all its forking children, and goes on by itself within 90 s of the load's end",
    command="leasehold run --on-busy pause -- make -j & yes >/dev/null & yes >/dev/null & leasehold get events",
    budget_s=330,
)
def freeze(product: Product) -> str:
    """The state's time is that of the server's log; the work's is that of its last write."""
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        before = len(changes(server))
        with compiling(server, "--on-busy", "pause", "--cost", "60") as (lease_id, path, worker):
            with foreign(product) as began:
                found = until(lambda: flags(server, lease_id) == ["frozen"], 40, 0.1)
                expect(found is not None, f"not frozen within 40 s: {server.status()['reasons']}")
                expect(not moves(path, STILL_S), f"something still runs {STILL_S} s after the freeze")
                stopped = path.stat().st_mtime
                busy = [row for row in changes(server)[before:] if row["state"] in ("BUSY", "PANIC")]
                after_s = stopped - instant(busy[0]["at"])
                expect(
                    after_s <= FROZEN_WITHIN_S, f"it still worked {after_s:.2f} s after {busy[0]['state']}"
                )
                why = next(lease["held_back"] for lease in live(server) if lease["lease_id"] == lease_id)
                time.sleep(max(0.0, LOAD_S - (time.monotonic() - began)))
                expect(not moves(path, 0.5), "it goes on under load")
            thawed_s = until(lambda: moves(path, 0.2), THAWED_WITHIN_S + 30)
            expect(thawed_s is not None and thawed_s <= THAWED_WITHIN_S, f"it goes on after {thawed_s} s")
            expect(worker.poll() is None, f"the compile ended with {worker.returncode}")
            stood = events(server, "LeaseThawed")[0]["details"]["stood_ms"] / 1000
        return (
            f"last write {1000 * after_s:+.0f} ms after {busy[0]['state']} (“{why}”), {STILL_S} s without a "
            f"move; it goes on {thawed_s:.1f} s after the end of {LOAD_S} s of load, having stood {stood:.0f} s"
        )


@check(
    "ladder.spikes",
    "Two spikes of load within a minute freeze it at most once",
    command="for i in 1 2; do timeout 14 yes >/dev/null & timeout 14 yes >/dev/null; sleep 14; done",
    budget_s=300,
)
def spikes(product: Product) -> str:
    """Each spike long enough to make the machine BUSY; counted are the events from the first freeze on."""
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        with compiling(server, "--on-busy", "pause", "--cost", "60") as (lease_id, path, _):
            first: float | None = None
            states: list[str] = []
            for _ in range(2):
                with foreign(product) as began:
                    busy = until(lambda: state(server) in ("BUSY", "PANIC"), 25, 0.1)
                    expect(busy is not None, f"a spike of 25 s made the machine {state(server)}")
                    until(lambda: "frozen" in flags(server, lease_id), 3, 0.05)
                    first = time.monotonic() if first is None else first
                    states.append(state(server))
                    time.sleep(max(0.0, SPIKE_S - (time.monotonic() - began)))
                until(lambda: state(server) in ("NORMAL", "QUIET"), 40, 0.1)
                states.append(state(server))
            assert first is not None
            time.sleep(max(0.0, 59 - (time.monotonic() - first)))
            frozen = len(events(server, "LeaseFrozen"))
            expect(frozen == 1, f"frozen {frozen} times within a minute")
            goes_on = until(lambda: moves(path, 0.2), 150)
            expect(goes_on is not None, "it does not go on")
        return f"the machine was {', '.join(states)}; frozen {frozen} time within a minute"


@check(
    "ladder.network",
    "Work that is `network_heavy` is throttled instead of frozen: its connections live, at a tenth of its charge",
    command="leasehold run --constraint network_heavy --on-busy pause -- rsync … & leasehold pretend busy",
    budget_s=120,
)
def network(product: Product) -> str:
    """A program that burns a core and says every fifth of a second over a connection that it still lives."""
    import socket

    with unjudged(product) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        words = ("run", "--cpu", "1", "--constraint", "network_heavy", "--on-busy", "pause", "--")
        command = (product.python, "-I", "-S", "-c", TALKER, port)
        worker = server.spawn(*words, *command, start_new_session=True)
        try:
            listener.settimeout(60)
            link, _ = listener.accept()
            link.settimeout(5)
            lease_id = live(server)[0]["lease_id"]
            server.run("pretend", "busy", "--for", "5m")
            throttled = until(lambda: flags(server, lease_id) == ["throttled"], 5)
            expect(throttled is not None, f"flags: {flags(server, lease_id)}")
            time.sleep(2)
            before, began, heard = cpu_s(server, lease_id), time.monotonic(), 0
            while time.monotonic() - began < 20:
                expect(bool(link.recv(4096)), "the connection was closed")
                heard += 1
            time.sleep(2.5)
            share = (cpu_s(server, lease_id) - before) / (time.monotonic() - began)
            has_quota = any(lease.get("cgroup") for lease in live(server))
            expect(not has_quota or share <= 0.2, f"it uses {share:.2f} of a core, charged one")
            return f"heard {heard} times in 20 s; {share:.2f} of the core that it is charged" + (
                "" if has_quota else " (no cgroup here, so no quota)"
            )
        finally:
            server.run("pretend", "off")
            os.killpg(worker.pid, signal.SIGTERM)
            worker.communicate(timeout=30)


def cpu_s(server: Server, lease_id: str) -> float:
    found = next(lease for lease in live(server) if lease["lease_id"] == lease_id)
    return float(found["usage"]["cpu_seconds"])


@check(
    "ladder.person",
    "What a person paused stays so: while it is calm, over `down` and `up`, over kill -9; `resume` ends it at once",
    command="leasehold pause ID; leasehold down; leasehold up; leasehold resume ID",
    kind="quiet",
    budget_s=180,
)
def person(product: Product) -> str:
    """Its charge stays too."""
    with unjudged(product) as server, compiling(server, "--cost", "40") as (lease_id, path, _):
        said = server.run("pause", lease_id, "--note", "a call")
        expect(said.returncode == 0 and "stands still" in said.stdout, f"{said.stdout}{said.stderr}")
        expect(not moves(path, 1), "it moves after `pause` has answered")
        server.stop()
        expect(not moves(path, 2), "it goes on when the server stops")
        server.start()
        server.kill()
        expect(not moves(path, 2), "it goes on when the server is killed")
        server.start()
        expect(not moves(path, 75), "it goes on by itself")
        expect("paused" in flags(server, lease_id), f"flags: {flags(server, lease_id)}")
        used = server.status()["capacity"]["units"]["used"]
        expect(used == 40, f"{used} units are charged for it")
        began = time.monotonic()
        server.run("resume", lease_id)
        goes_on = until(lambda: moves(path, 0.05), 10)
        expect(goes_on is not None, "`resume` does not let it go on")
        return f"still after a stop, a crash and 75 s of calm; it goes on {time.monotonic() - began:.1f} s after `resume`"


@check(
    "ladder.room",
    "Nothing is granted that thawing work needs, and what fits beside it is",
    command="leasehold run --cost 60 --on-busy pause -- make & leasehold pretend busy; leasehold pretend off; leasehold run --cost 50 --wait 0 -- true",
    kind="quiet",
    budget_s=150,
)
def room(product: Product) -> str:
    """Asked again and again from the end of the load until the work runs again, and after."""
    with unjudged(product) as server:
        with compiling(server, "--cost", "60", "--on-busy", "pause") as (lease_id, path, _):
            server.run("pretend", "busy", "--for", "5m")
            expect(until(lambda: "frozen" in flags(server, lease_id), 5) is not None, "it is not frozen")
            expect(not moves(path, 0.5), "it still moves")
            server.run("pretend", "off")
            asked = 0

            def thawed() -> bool:
                nonlocal asked
                answer = server.request(cost_units=50, start="now")
                expect(not answer["approved"], "50 units were granted beside 60 that stand still")
                server.call("DELETE", f"/api/scheduler/ticket/{answer['ticket']}")
                asked += 1
                return moves(path, 0.5)

            found = until(thawed, 90, 0.5)
            expect(found is not None, "it does not go on")
            beside = server.request(cost_units=30, start="now")
            expect(beside["approved"], f"30 beside 60 were refused: {beside['reason']}")
            given = {"fencing_token": beside["fencing_token"]}
            server.post(f"/api/scheduler/lease/{beside['lease_id']}/release", given)
        return f"refused {asked} times in {found:.0f} s until it ran again; 30 units beside it were granted"


@check(
    "ladder.disturbance",
    "Somebody's programs on all cores are hardly slower beside leased work than alone, and faster than beside "
    "the same work under plain `nice`, or without any gate",
    command="leasehold run --on-busy pause -- make -j & time make -C somebody/elses",
    budget_s=330,
)
def disturbance(product: Product) -> str:
    """The time that a small piece of their work takes, from 20 s after they began, in each of four worlds."""
    burn = [product.python, "-I", "-S", "-c", "while True: pass"]
    cores = os.cpu_count() or 1
    alone = pieces(product)
    with product.server() as server:
        server.until_quiet(SETTLED_S)
        with compiling(server, "--on-busy", "pause", "--cost", "60") as (lease_id, _, _):
            leased = pieces(product)
            expect(bool(events(server, "LeaseFrozen")), f"it was not frozen: {flags(server, lease_id)}")
    with beside([["nice", "-n", "10", *burn]] * cores):
        nice = pieces(product)
    with beside([burn] * cores):
        ungated = pieces(product)
    told = "; ".join(
        f"{name} p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms"
        for name, (p50, p99) in (("alone", alone), ("leased", leased), ("nice", nice), ("no gate", ungated))
    )
    expect(leased[0] <= 1.15 * alone[0], f"slower beside leased work than alone: {told}")
    expect(leased[0] <= 1.02 * nice[0] and leased[0] < 0.8 * ungated[0], f"no better than without us: {told}")
    return told


def pieces(product: Product, seconds: float = 35, settled_s: float = 20) -> tuple[float, float]:
    """Somebody's programs on every core: median and 99th percentile of a piece of work, once settled."""
    command = [product.python, "-I", "-S", "-c", PERSON, str(seconds)]
    programs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(os.cpu_count() or 1)
    ]
    rows: list[tuple[float, float]] = []
    for program in programs:
        rows += json.loads(program.communicate(timeout=seconds + 60)[0])
    took = sorted(each for before_end, each in rows if before_end > settled_s - seconds)
    return took[len(took) // 2], took[len(took) * 99 // 100]


@contextmanager
def beside(commands: list[list[str]]) -> Iterator[None]:
    """Other programs that run meanwhile, each in a session of its own."""
    programs = [subprocess.Popen(command, start_new_session=True) for command in commands]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()
