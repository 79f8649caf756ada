"""Kills, crashes and a full disk, on the real program."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import WORK, began, child_of, live
from accept.harness import check, expect
from accept.product import Product, Server, until
from accept.small_disk import small_disk

KILLS = 100
CLIENTS = 8

ASKS = """
import http.client, json, os, socket, sys
kind, where, token = sys.argv[1:4]
if kind == "unix":
    c = http.client.HTTPConnection("localhost"); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(where)
else:
    c = http.client.HTTPConnection("127.0.0.1", int(where))
body = json.dumps({"cost_units": 1, "start": "now", "wait_sec": 30})
head = {"Content-Type": "application/json"}
if token: head["Authorization"] = "Bearer " + token
c.request("POST", "/api/scheduler/lease/request", body, head)
c.getresponse().fp.peek(1)
os.kill(os.getpid(), 9)
"""
"""Asks for a lease and dies, by SIGKILL, at the first byte of its answer."""


def killed_at_grant(product: Product, kind: str, within_s: float) -> str:
    """The longest time that room stayed charged after the caller's death, of ten."""
    with product.server() as server:
        where = str(server.data / "leasehold.sock") if kind == "unix" else str(server.port)
        token = "" if kind == "unix" else (server.data / "admin.token").read_text().strip()
        worst = 0.0
        for _ in range(4 if kind == "tcp" else 10):
            caller = subprocess.run([product.python, "-c", ASKS, kind, where, token], check=False)
            expect(
                caller.returncode == -9,
                f"the caller was to die of SIGKILL, it ended with {caller.returncode}",
            )
            freed = until(lambda: server.status()["capacity"]["units"]["used"] == 0, within_s + 3, 0.005)
            expect(freed is not None, f"still charged {within_s + 3} s after the caller's death")
            worst = max(worst, freed or 0.0)
        granted = sum(
            1 for e in server.get("/api/events?limit=1000")[1]["events"] if e["kind"] == "LeaseGranted"
        )
        expect(granted >= 4, f"{granted} leases were granted: nothing was shown")
        expect(worst <= within_s, f"room was charged for {worst:.2f} s after the caller's death")
        return f"at most {worst:.2f} s charged after the caller's death ({granted} kills)"


@check(
    "fault.caller_tcp",
    "A kill of the caller at the instant of its grant leaves nothing charged after 5 s",
    budget_s=60,
)
def caller_tcp(product: Product) -> str:
    """Over TCP nobody knows who asked: the offer lapses."""
    return killed_at_grant(product, "tcp", 5.1)


@check("fault.caller_unix", "… after 1 s on the Unix socket", budget_s=30)
def caller_unix(product: Product) -> str:
    """On the Unix socket the caller's process is watched."""
    return killed_at_grant(product, "unix", 1.0)


@check(
    "fault.wrapper",
    "A kill -9 of the wrapper leaves its child's lease held and listed",
    kind="quiet",
    budget_s=90,
)
def wrapper_killed(product: Product) -> str:
    """The child goes on, unattended; its lease ends with it, not before."""
    with tempfile.TemporaryDirectory() as folder, product.server() as server:
        path = Path(folder) / "span"
        python = product.python
        wrapper = server.spawn("run", "--cost", "60", "--", python, "-c", WORK, str(path), "50")
        expect(until(lambda: began(path) is not None, 20) is not None, "the command did not start")
        child = child_of(wrapper.pid)
        wrapper.kill()
        wrapper.wait()
        listed = until(lambda: any("unattended" in lease.get("flags", []) for lease in live(server)), 2)
        expect(listed is not None, f"not listed as unattended: {live(server)}")
        time.sleep(38)  # More than a whole time to live: without its child it would have expired.
        held = live(server)
        expect(len(held) == 1 and held[0]["cost_units"] == 60, f"the lease is not held any more: {held}")
        expect(os.path.exists(f"/proc/{child}"), "the child was to live on")
        shown = server.run("get", "leases").stdout
        expect("unattended" in shown, f"`leasehold get leases` does not say so: {shown}")
        freed = until(lambda: not live(server), 30)
        expect(freed is not None, "the lease outlived its child")
        ended = server.status()["ended"][0]
        return f"listed unattended after {listed:.2f} s, held for {ended['running_sec']:.0f} s, ended: {ended['end_reason']}"


class Load(threading.Thread):
    """One client: request, heartbeat, release, without end; remembers what it was told."""

    def __init__(self, server: Server, seed: int) -> None:
        super().__init__(daemon=True)
        self.server, self.random = server, random.Random(seed)
        self.granted: dict[str, int] = {}
        self.released: set[str] = set()
        self.unsure: set[str] = set()
        self.tokens: list[int] = []
        self.going = True
        self.errors: list[str] = []

    def run(self) -> None:
        """Until told to stop; a server that is gone is asked again."""
        token = (self.server.data / "admin.token").read_text().strip()
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        while self.going:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
            try:
                while self.going:
                    self.cycle(connection, head)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.02)
            finally:
                connection.close()

    def post(self, connection: http.client.HTTPConnection, head: dict[str, str], path: str, body: Any) -> Any:
        connection.request("POST", f"/api/scheduler/lease/{path}", json.dumps(body), head)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        if answer.status not in (200, 503, 410):
            self.errors.append(f"{path}: {answer.status} {found}")
        return answer.status, found

    def cycle(self, connection: http.client.HTTPConnection, head: dict[str, str]) -> None:
        """One lease; half of them are kept for the crash to come."""
        status, lease = self.post(
            connection, head, "request", {"cost_units": 1, "start": "now", "job_type": "load"}
        )
        if status != 200 or not lease["approved"]:
            time.sleep(0.01)
            return
        name, token = lease["lease_id"], lease["fencing_token"]
        self.granted[name] = token
        self.tokens.append(token)
        self.post(connection, head, f"{name}/heartbeat", {"fencing_token": token})
        if self.random.random() < 0.1 and len(self.granted) - len(self.released) < 8:
            return
        self.unsure.add(name)
        status, _ = self.post(connection, head, f"{name}/release", {"fencing_token": token})
        if status == 200:
            self.released.add(name)
            self.unsure.discard(name)


@check(
    "fault.kill9",
    "kill -9 of the server 100 times under load: no acknowledged grant lost or doubled, tokens only grow, nothing granted "
    "before recovery is done",
    command="kill -9 SERVER   # 100 times, with 8 clients asking",
    budget_s=420,
)
def kill9(product: Product) -> str:
    """After each crash what was acknowledged is compared with what the server says."""
    chance = random.Random(2)
    with product.server() as server:
        greatest = grants = 0
        for crash in range(KILLS):
            loads = [Load(server, crash * CLIENTS + n) for n in range(CLIENTS)]
            for load in loads:
                load.start()
            time.sleep(0.15 + chance.random() * 0.6)
            server.kill()
            for load in loads:
                load.going = False
            for load in loads:
                load.join(10)
            server.start()
            greatest, more = compare(server, loads, greatest)
            grants += more
            settle(server, loads)
        expect(grants > KILLS * 5, f"only {grants} grants were acknowledged: the load was no load")
        return f"{KILLS} kills, {grants} acknowledged grants: none lost, none twice, tokens grow over every restart"


def compare(server: Server, loads: list[Load], greatest_before: int) -> tuple[int, int]:
    """What clients were told against what the server knows after its restart."""
    now = {lease["lease_id"]: lease for lease in live(server)}
    tokens = [token for load in loads for token in load.tokens]
    expect(len(tokens) == len(set(tokens)), "a fencing token was given out twice")
    expect(not tokens or min(tokens) > greatest_before, "a token is older than one of before the last crash")
    for load in loads:
        expect(not load.errors, f"undocumented answers under load: {load.errors[:2]}")
        for name, token in load.granted.items():
            if name in load.released:
                expect(name not in now, f"{name} was released and acknowledged, and is live again")
            elif name not in load.unsure:
                expect(name in now, f"{name} was granted and acknowledged, and is gone after the crash")
                expect(now[name]["fencing_token"] == token, f"{name} came back with another token")
    used = server.status()["capacity"]["units"]["used"]
    expect(
        used == sum(lease["cost_units"] for lease in now.values()),
        "what is charged is not the sum of the leases",
    )
    return max([greatest_before, *tokens]), len(tokens)


def settle(server: Server, loads: list[Load]) -> None:
    """Release what is still held, so that the next round has room."""
    for lease in live(server):
        body = {"fencing_token": lease["fencing_token"]}
        server.post(f"/api/scheduler/lease/{lease['lease_id']}/release", body)


@check(
    "fault.full_disk",
    "Full disk: reads go on, writes get 503 with the reason, it recovers by itself",
    command="fallocate a tmpfs full under LEASEHOLD_DATA",
    budget_s=60,
)
def full_disk(product: Product) -> str:
    """A small file system of its own is filled to the last byte under the running server."""
    with small_disk(24) as disk, product.server(data=disk / "data") as server:
        return filled(server, disk)


def filled(server: Server, folder: Path) -> str:
    """Fill, look, free, look."""
    lease = server.request(cost_units=5, start="now")
    beat = {"fencing_token": lease["fencing_token"]}
    path = f"/api/scheduler/lease/{lease['lease_id']}"
    server.post(f"{path}/heartbeat", beat)
    hog = folder / "hog"
    refused = None
    with open(hog, "wb", buffering=0) as file:
        end = time.monotonic() + 20
        while refused is None and time.monotonic() < end:
            try:
                file.write(b"\0" * 65536)
            except OSError:
                status, answer = server.post(
                    "/api/scheduler/lease/request", {"cost_units": 1, "start": "now"}
                )
                refused = answer if status == 503 else None
                if status == 200 and answer.get("approved"):
                    body = {"fencing_token": answer["fencing_token"]}
                    server.post(f"/api/scheduler/lease/{answer['lease_id']}/release", body)
    expect(refused is not None, "writes were never refused on a full disk")
    expect(refused["code"] == "STORE_UNAVAILABLE", f"503 with {refused['code']}")
    expect("full" in refused["detail"], f"the reason is not said: {refused['detail']}")
    expect(server.get("/ready", token=False)[0] == 503, "/ready is not 503")
    expect(server.status()["read_only"] is True, "status does not say read-only")
    expect(server.get(path)[0] == 200, "a read was refused")
    expect(server.post(f"{path}/heartbeat", beat)[0] == 200, "a renewal was refused")
    status, _ = server.post(f"{path}/release", beat)
    expect(status in (200, 503), f"a release answered {status}")
    hog.unlink()
    again = until(lambda: server.get("/ready", token=False)[0] == 200, 15)
    expect(again is not None, "it did not recover by itself within 15 s")
    gone = until(lambda: not live(server), 5)
    expect(gone is not None, "the release that was remembered was not committed")
    expect(server.request(cost_units=1, start="now")["approved"], "nothing is granted after the recovery")
    return f"503 STORE_UNAVAILABLE ({refused['detail'][:60]}…), reads and renewals 200, recovered after {again:.1f} s"
