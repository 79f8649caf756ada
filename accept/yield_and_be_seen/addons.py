"""Add-ons: registered, watched, switched off; and what a bad one can't do to the others."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accept.harness import Broken, check, expect
from accept.product import ROOT, Product, Server, until

ADDONS = "/api/addons"
EXAMPLE = ROOT / "examples" / "addon"
RSS_MORE_BYTES = 24 << 20
"""What watching a bad add-on may add to the server's memory."""
CALL_S_MAX = 1.0
MANY_FILES = 210_000


class Program:
    """A program on loopback that answers each request with what `answer` writes."""

    def __init__(self, answer: Callable[[str, Any], None]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    path = self.rfile.readline(65_536).split(b" ")[1].decode()
                    while self.rfile.readline(65_536) not in (b"\r\n", b""):
                        pass
                    answer(path, self.wfile)
                except (OSError, IndexError):
                    pass

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def program(answer: Callable[[str, Any], None]) -> Iterator[str]:
    """Its address, while it runs."""
    found = Program(answer)
    threading.Thread(target=found.server.serve_forever, daemon=True).start()
    try:
        yield found.url
    finally:
        found.server.shutdown()
        found.server.server_close()


def plain(document: Any, status: str = "200 OK") -> bytes:
    """An answer as bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


def good(path: str, out: Any) -> None:
    """A healthy one."""
    out.write(plain({"status": "ok"} if path == "/health" else {"requests": {"rps": 0.2}, "queue": 1}))


def register(server: Server, addon_id: str, **more: Any) -> None:
    status, answer = server.post(ADDONS, {"id": addon_id, "name": addon_id, "version": "1", **more})
    expect(status == 200, f"registering {addon_id} answered {status}: {answer}")


def seen(server: Server, addon_id: str) -> dict[str, Any]:
    """One add-on as the statistics show it."""
    return dict(server.get("/api/system-stats/addons")[1]["addons"][addon_id])


def codes(server: Server, addon_id: str) -> dict[str, str]:
    """Source -> code of what is wrong with it."""
    found = server.get(f"{ADDONS}/errors")[1]["errors"]
    return {one["source"]: one["code"] for one in found if one["id"] == addon_id}


def within(holds: Callable[[], Any], what: str, timeout_s: float = 20) -> float:
    """After how many seconds it holds."""
    after = until(holds, timeout_s, 0.1)
    if after is None:
        raise Broken(f"not within {timeout_s:g} s: {what}")
    return after


def rss_bytes(server: Server) -> int:
    """What the server's process holds."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def harmed_nobody(server: Server, name: str = "good") -> str:
    """The neighbour is loaded and was asked on time, leases are granted, calls are quick, the rollup is ok."""
    expect(seen(server, name)["lifecycle"] == "loaded", f"{name}: {seen(server, name)}")
    expect(codes(server, name) == {}, f"{name} is told to be broken: {codes(server, name)}")
    collectors = server.get("/api/system-stats/debug/collectors")[1]["collectors"]
    late = max(one["late_ms"] for one in collectors if not one["name"].startswith("addon:bad:"))
    expect(late < 1_000, f"a collector ran {late} ms late")
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        lease = server.request(cost_units=1, start="now")
        slowest = max(slowest, time.monotonic() - began)
        expect(lease["approved"], f"not granted: {lease['reason']}")
        server.post(
            f"/api/scheduler/lease/{lease['lease_id']}/release", {"fencing_token": lease["fencing_token"]}
        )
    expect(slowest < CALL_S_MAX, f"a request took {slowest:.2f} s")
    status, health = server.get("/api/system-stats/health")
    expect(status == 200 and health["status"] == "ok", f"system-stats/health: {health}")
    return (
        f"neighbour loaded, collectors at most {late} ms late, 20 leases of at most {slowest * 1000:.0f} ms"
    )


@contextmanager
def beside_a_good_one(product: Product, answer: Callable[[str, Any], None], **more: Any) -> Iterator[Server]:
    """A server with an add-on `good`, and one `bad` that answers so."""
    with product.server() as server, program(good) as url, program(answer) as bad:
        register(server, "good", base_url=url)
        within(lambda: seen(server, "good")["lifecycle"] == "loaded", "the good one is loaded")
        register(server, "bad", base_url=bad, **more)
        yield server


@check(
    "addon.broken",
    "An add-on that is gone, refuses or answers rubbish has a code, and harms nothing",
    budget_s=60,
)
def broken(product: Product) -> str:
    """Closed port, 500, a redirect to elsewhere, no HTTP."""
    said = {"answer": plain({}, "500 Oops")}
    with beside_a_good_one(product, lambda path, out: out.write(said["answer"])) as server:
        found = []
        for answer, code in (
            (said["answer"], "HTTP_500"),
            (plain({}, "302 Found\r\nlocation: http://169.254.169.254/"), "REDIRECT"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "NOT_HTTP"),
            (b"", "NOT_HTTP"),
        ):
            said["answer"] = answer
            within(
                lambda code=code: codes(server, "bad").get("stats") == code,
                f"the code {code}: {codes(server, 'bad')}",
            )
            found.append(code)
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            register(server, "bad", base_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
            within(lambda: codes(server, "bad").get("health") == "UNREACHABLE", "UNREACHABLE")
        expect(seen(server, "bad")["lifecycle"] == "error", f"{seen(server, 'bad')}")
        refused = server.post(ADDONS, {"id": "far", "base_url": "http://169.254.169.254"})
        expect(
            refused[0] == 422 and "allowed_hosts" in refused[1]["detail"], f"an address outside: {refused}"
        )
        return f"{', '.join(found)}, UNREACHABLE told; an address outside is refused; {harmed_nobody(server)}"


@check(
    "addon.slow",
    "An add-on that answers a byte now and then is given up in 5 s, and delays no other",
    budget_s=60,
)
def slow(product: Product) -> str:
    """It takes the connection, and drips."""
    ends = threading.Event()

    def drip(_: str, out: Any) -> None:
        for byte in plain({"status": "ok"} | {str(number): number for number in range(1_000)}):
            out.write(bytes([byte]))
            if ends.wait(0.5):
                return

    try:
        with beside_a_good_one(product, drip) as server:
            after = within(lambda: codes(server, "bad").get("health") == "TIMEOUT", "TIMEOUT")
            expect(4 < after < 8, f"it was given up after {after:.1f} s")
            time.sleep(12)  # More pulls of the good one fall due meanwhile.
            return f"given up after {after:.1f} s; {harmed_nobody(server)}"
    finally:
        ends.set()


@check(
    "addon.lying",
    "Absurd, negative, NaN, text and stale figures are cut or refused and harm nothing",
    budget_s=180,
)
def lying(product: Product) -> str:
    """Pulled ones count for nothing; pushed ones are refused; what is absurd is cut, and ends with its author."""
    said: dict[str, Any] = {"stats": b"{}"}
    with beside_a_good_one(
        product, lambda path, out: out.write(plain({} if path == "/health" else said["stats"]))
    ) as server:
        for lie, code in (
            (b'{"requests": {"rps": -5, "p95_ms": "9", "in_flight": true}}', "INVALID"),
            (b'{"requests": {"rps": NaN}}', "NOT_JSON"),
            (b'{"requests": {"rps": 1e999}}', "NOT_JSON"),
            (b"[" * 60_000, "TOO_DEEP"),
            (b'{"a":' * 30 + b"1" + b"}" * 30, "TOO_DEEP"),
        ):
            said["stats"] = lie
            within(lambda code=code: codes(server, "bad").get("stats") == code, f"{code} for {lie[:40]!r}")
            expect(
                seen(server, "bad")["requests_count"] is False, f"{lie[:40]!r} counts: {seen(server, 'bad')}"
            )
        for lie in ({"rps": -1}, {"rps": "1"}, {"rps": 1e300}, {"error_pct": 101}, {"more": 1}):
            status, _ = server.post(f"{ADDONS}/bad/stats", {"requests": lie})
            expect(status == 422, f"{lie} was answered {status}")
        said["stats"] = b'{"requests": {"rps": 1e300, "in_flight": 1e18}}'
        within(
            lambda: (seen(server, "bad")["requests"] or {}).get("rps") == 1e6, "cut to what any machine does"
        )
        within(lambda: read_rps(server) == 1e6, "it presses")
        quiet = server.get("/api/system-stats/current")[1]["quiet"]
        by_others = [reason for reason in quiet["reasons"] if "application" not in reason]
        expect("(bad)" in " ".join(quiet["reasons"]), f"the reasons name nobody: {quiet['reasons']}")
        expect(quiet["state"] != "PANIC" or by_others, f"an add-on alone makes a PANIC: {quiet}")
        figure = harmed_nobody(server)
        status, _ = server.post(f"{ADDONS}/bad/disable", {})
        expect(status == 200, f"disable answered {status}")
        gone = within(lambda: read_rps(server) == 0.2, "it has ended")
        register(server, "silent")
        server.post(f"{ADDONS}/silent/stats", {"requests": {"rps": 30}})
        within(lambda: read_rps(server) == 30, "what is pushed presses")
        stale = within(lambda: read_rps(server) == 0.2, "what is stale counts for nothing", 40)
        expect(stale > 20, f"figures counted for {stale:.1f} s only")
        return (
            f"10 kinds of lies refused, absurd ones cut and ended {gone:.1f} s after disabling, pushed ones "
            f"{stale:.0f} s after the last push; {figure}"
        )


def read_rps(server: Server) -> float:
    """The rate of the busiest application, as quietness reads it."""
    return float(server.get("/api/system-stats/current")[1]["quiet"]["inputs"]["rps"] or 0)


@check(
    "addon.huge",
    "An add-on with endless answers and 210,000 files is cut off, said, and takes no memory",
    budget_s=180,
)
def huge(product: Product) -> str:
    """A body without end; a folder beyond the bound of a walk."""

    def endless(path: str, out: Any) -> None:
        out.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            out.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")

    with tempfile.TemporaryDirectory() as folder:
        for number in range(MANY_FILES):
            if number % 1_000 == 0:
                os.mkdir(f"{folder}/{number}")
            os.close(os.open(f"{folder}/{number // 1_000 * 1_000}/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
        with beside_a_good_one(product, endless) as server:
            before = rss_bytes(server)
            register(server, "large-folder", runtime_dir=folder)
            within(lambda: codes(server, "bad") == {"health": "TOO_LARGE", "stats": "TOO_LARGE"}, "TOO_LARGE")
            within(lambda: seen(server, "large-folder")["folder"], "the folder was walked", 30)
            walked = seen(server, "large-folder")["folder"]
            expect(not walked["complete"] and "stopped after" in walked["note"], f"the walk: {walked}")
            expect(walked["entries"] <= 200_000, f"the walk: {walked}")
            time.sleep(25)  # Several more endless answers.
            more = rss_bytes(server) - before
            expect(more < RSS_MORE_BYTES, f"the server has grown by {more >> 20} MiB")
            return f"{walked['note']}; {more / (1 << 20):.1f} MiB more memory; {harmed_nobody(server)}"


@check(
    "addon.example",
    "The example registers, is seen, waits with a ticket, works under a lease, obeys",
    budget_s=180,
)
def example(product: Product) -> str:
    """As its first lines say, with the installed package."""
    port = product.port()
    with product.server(LEASEHOLD_PRESET="always") as server, tempfile.TemporaryDirectory() as folder:
        env = server.env | {
            "ADDON_URL": f"http://127.0.0.1:{port}",
            "ADDON_DIR": folder,
            "LEASEHOLD_URL": f"http://127.0.0.1:{server.port}",
            "LEASEHOLD_TOKEN": (server.data / "admin.token").read_text().strip(),
        }
        command = [product.python, "-m", "uvicorn", "--app-dir", str(EXAMPLE), "--port", str(port), "app:app"]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        try:
            return _used(server, Server(product, server.data, port, Path(folder), {}, ""))
        finally:
            process.terminate()
            process.wait(20)


def _used(server: Server, service: Server) -> str:
    within(
        lambda: (
            server.get(f"{ADDONS}/digests")[0] == 200 and seen(server, "digests")["lifecycle"] == "loaded"
        ),
        "the example is loaded",
        40,
    )
    blocker = server.request(cost_units=80, start="now")
    number = service.post("/digests?rounds=40", None, token=False)[1]["id"]

    def state() -> str:
        return str(service.get(f"/digests/{number}", token=False)[1]["state"])

    def held() -> str:
        """Keep the blocker alive, and say how the job is."""
        token = {"fencing_token": blocker["fencing_token"]}
        server.post(f"/api/scheduler/lease/{blocker['lease_id']}/heartbeat", token)
        return state()

    within(lambda: held() and server.status()["waiting"], "the job waits in line")
    expect(held() == "waiting", f"the job is {held()}")
    server.post(
        f"/api/scheduler/lease/{blocker['lease_id']}/release", {"fencing_token": blocker["fencing_token"]}
    )
    started = within(lambda: state() == "running", "the job runs")
    within(lambda: state() == "done", "the job is done", 90)
    within(lambda: not server.status()["active"], "its lease is given back")
    server.post(f"{ADDONS}/digests/disable", {})
    number = service.post("/digests?rounds=1", None, token=False)[1]["id"]
    within(
        lambda: [one for one in server.status()["waiting"] if one["code"] == "ADDON_DISABLED"], "it is denied"
    )
    server.post(f"{ADDONS}/digests/enable", {})
    within(lambda: state() == "done", "it runs once enabled", 40)
    custom = seen(server, "digests")["custom"]
    return f"started {started:.1f} s after there was room; denied while disabled; shows {json.dumps(custom)}"
