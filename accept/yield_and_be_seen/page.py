"""The first page, in a real browser on the installed program (OPS-3, OPS-9, OPS-21, OPS-22)."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accept.browser import SHOTS, WEB, chromium, holds, link
from accept.harness import check, expect
from accept.product import ROOT, Product, Server, until
from leasehold.testing import browser as real

CUT_S = 30
SIZE_MAX = 150_000
FRAME_MAX = 5_000
CORE_PCT_MAX = 3.0
COST_S = 60
LEASES = 10
COMMAND = 'make accept ARGS="--only page"'


@contextmanager
def working(product: Product, count: int = 3) -> Iterator[Server]:
    """A server with so many commands running under it; `always`, so that only the page is looked at."""
    with product.server(LEASEHOLD_PRESET="always") as server:
        runs = [run(server, f"piece of work {number}", 1 + number % 4) for number in range(count)]
        began = until(lambda: len(server.status()["active"]) == count, 30)
        expect(began is not None, f"{count} runs were started, not all of them run")
        try:
            yield server
        finally:
            for one in runs:
                one.terminate()
                one.wait()


def run(server: Server, label: str, units: int) -> subprocess.Popen[str]:
    """A command under a lease."""
    return server.spawn("run", "--cost", str(units), "--label", label, "--", "sleep", "600")


@check(
    "page.browser",
    "Chromium at 1440 and 390 px, light and dark: axe finds nothing against WCAG AA, the strict CSP nothing, and nothing is asked of another host",
    command=COMMAND,
    budget_s=90,
)
def in_a_browser(product: Product) -> str:
    """Sign in by the printed link in each of the four, look, block, take it back."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    seen_as = []
    with chromium() as started, working(product) as server:
        for size in real.SIZES:
            for scheme in ("light", "dark"):
                visit = real.Visit(started, size=size, scheme=scheme)
                visit.sign_in(link(server))
                visit.page.wait_for_selector(".chart canvas")
                visit.page.get_by_text("piece of work 1", exact=True).wait_for()
                visit.page.screenshot(path=str(SHOTS / f"overview-{size}-{scheme}.png"), full_page=True)
                holds(visit, f"{size} {scheme}")
                visit.page.get_by_role("button", name="Block new work").click()
                holds(visit, f"the dialog, {size} {scheme}")
                visit.page.get_by_role("button", name=re.compile("^Block until")).click()
                visit.page.get_by_text("No, nothing new may start").wait_for()
                blocked = server.get("/api/nodes/self/admission")[1]["admission"]
                expect(blocked == "block", f"{size} {scheme}: blocked on the page, {blocked} on the server")
                visit.page.get_by_role("button", name="Undo").click()
                visit.page.get_by_text("New work may start again").wait_for()
                seen_as.append(f"{size} {scheme}")
                visit.close()
    return f"{', '.join(seen_as)}; screenshots in {SHOTS.relative_to(ROOT)}"


@check(
    "page.offline",
    "The network cut for 30 s and back: the page says so, reconnects by itself, and misses nothing",
    command=COMMAND,
    budget_s=90,
)
def offline(product: Product) -> str:
    """A relay stands for the cable; while it is cut leases come and go."""
    with chromium() as started, working(product, 0) as server:
        cable = real.Cable(server.port)
        visit = real.Visit(started)
        visit.sign_in(link(server).replace(f":{server.port}/", f":{cable.port}/"))
        cable.cut()
        cut_at = time.monotonic()
        visit.page.get_by_text("Not connected.").wait_for()
        said_s = time.monotonic() - cut_at
        expect(server.run("run", "--label", "came and went", "--", "true").returncode == 0, "`run` failed")
        stays = run(server, "came and stayed", 3)
        time.sleep(max(0.0, CUT_S - (time.monotonic() - cut_at)))
        expect(not visit.page.get_by_text("came and stayed").is_visible(), "the cable was not cut")
        cable.heal()
        back_at = time.monotonic()
        visit.page.get_by_text("came and stayed", exact=True).wait_for()
        visit.page.wait_for_selector(real.LIVE)
        back_s = time.monotonic() - back_at
        told = visit.page.locator(".decisions").inner_text()
        expect(told.count("was granted") == 2, f"a decision was missed: {told}")
        expect(" ended" in told, f"an end was missed: {told}")
        visit.close()
        cable.close()
        stays.terminate()
        stays.wait()
    return f"said after {said_s:.1f} s, live again {back_s:.1f} s after {CUT_S} s without a network, two grants and an end told"


@check(
    "page.sessions",
    "A used link, a stolen, an old and a foreign-origin session are refused; a viewer sees no actions",
    command=COMMAND,
    budget_s=60,
)
def refused(product: Product) -> str:
    """Each is tried as an attacker would, against the installed server."""
    with product.server() as server:
        code = link(server).partition("#")[2]
        opened, cookie = _sign_in(server, code)
        good = {"Cookie": cookie, "X-Leasehold-Session": opened["key"], "Origin": _origin(server)}
        expect(_status(server, good) == 200, "the session itself is refused")
        tries = {
            "a used link": _answer(
                server, "POST", "/api/session", {"Origin": _origin(server)}, {"code": code}
            ),
            "a cookie without its key": _status(server, {"Cookie": cookie, "Origin": _origin(server)}),
            "a key of another session": _status(server, good | {"X-Leasehold-Session": "lsh_" + "x" * 43}),
            "a page of another port": _status(server, good | {"Origin": "http://127.0.0.1:1"}),
            "a page of another host": _status(server, good | {"Origin": "http://evil.example"}),
            "another site, by Sec-Fetch-Site": _status(server, good | {"Sec-Fetch-Site": "cross-site"}),
        }
        expect(_answer(server, "DELETE", "/api/session", good) == 204, "signing out failed")
        tries["an old session, signed out"] = _status(server, good)
        let_in = {name: status for name, status in tries.items() if status not in (401, 403)}
        expect(not let_in, f"let in: {let_in}")
        expect(_viewer_sees_no_actions(server), "a viewer sees actions")
    return ", ".join(f"{name}: {status}" for name, status in tries.items())


def _viewer_sees_no_actions(server: Server) -> bool:
    if real.missing(WEB):
        return True  # page.browser says what is missing.
    with real.browser() as started:
        visit = real.Visit(started)
        visit.sign_in(link(server, "viewer"))
        buttons = visit.page.get_by_role("button").all_inner_texts()
        visit.close()
    return not any("Block" in text or "Pretend" in text for text in buttons)


def _origin(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def _sign_in(server: Server, code: str) -> tuple[dict[str, Any], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Origin": _origin(server), "Content-Type": "application/json"}
    connection.request("POST", "/api/session", json.dumps({"code": code}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    expect(answer.status == 200, f"a fresh link is refused: {body}")
    cookie = str(answer.headers["set-cookie"])
    expect("HttpOnly" in cookie and "SameSite=Strict" in cookie, f"the cookie is {cookie}")
    return body, cookie.partition(";")[0]


def _answer(server: Server, method: str, path: str, headers: dict[str, str], body: Any = None) -> int:
    return server.call(method, path, body, token=False, headers=headers)[0]


def _status(server: Server, headers: dict[str, str]) -> int:
    """Of a change by this session: the worst that could be let in."""
    return _answer(server, "PUT", "/api/nodes/self/admission", headers, {"effect": "allow"})


@check(
    "page.cost",
    f"With the page open and ten leases the server stays under {CORE_PCT_MAX:g} % of one core; a metrics frame is under 5 kB",
    command=COMMAND,
    budget_s=COST_S + 60,
)
def cost(product: Product) -> str:
    """CPU time of the server's process over a minute; frames are read by a second viewer."""
    with chromium() as started, working(product, LEASES) as server:
        visit = real.Visit(started)
        visit.sign_in(link(server))
        frames = _Frames(server)
        until(lambda: False, 5)
        before_s, began = _cpu_s(server.pid), time.monotonic()
        frames.read_for(COST_S)
        share = 100 * (_cpu_s(server.pid) - before_s) / (time.monotonic() - began)
        shown = visit.page.locator(".leases .row").count()
        visit.close()
    expect(shown == LEASES, f"{shown} leases are shown, {LEASES} are held")
    expect(frames.count >= COST_S / 4, f"only {frames.count} frames in {COST_S} s: nothing was measured")
    expect(frames.greatest < FRAME_MAX, f"a frame of {frames.greatest} bytes")
    expect(share < CORE_PCT_MAX, f"the server takes {share:.2f} % of one core")
    return f"{share:.2f} % of one core over {COST_S} s, {frames.count} frames, the greatest {frames.greatest} bytes"


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process, all its threads together."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()  # noqa: SIM115
    return (int(fields[11]) + int(fields[12])) / 100


class _Frames:
    """A second viewer, by the token: it counts and weighs the patches."""

    def __init__(self, server: Server) -> None:
        token = (server.data / "admin.token").read_text().strip()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/api/dashboard/stream", headers={"Authorization": f"Bearer {token}"})
        self._answer = connection.getresponse()
        self.count = self.greatest = 0

    def read_for(self, span_s: float) -> None:
        """Read patches for a while."""
        end = time.monotonic() + span_s
        kind = b""
        while time.monotonic() < end:
            line = self._answer.readline()
            if line.startswith(b"event: "):
                kind = line[7:].strip()
            elif line.startswith(b"data: ") and kind == b"patch":
                self.count += 1
                self.greatest = max(self.greatest, len(line))


@check(
    "page.size",
    f"All that the page loads is under {SIZE_MAX // 1000} kB as it is sent, from this server alone",
    command=COMMAND,
    kind="quiet",
    budget_s=30,
)
def size(product: Product) -> str:
    """What the page and the scripts name, fetched as a browser does."""
    with product.server() as server:
        html, sent = _fetched(server, "/")
        names = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', html))
        expect(bool(names), "the page in the wheel is not built")
        todo, done = sorted(names), dict.fromkeys(("/",), sent)
        while todo:
            name = todo.pop()
            text, done[name] = _fetched(server, name)
            later = re.findall(r"[\"'`](?:\./|/?assets/)([\w.-]+\.(?:js|css))[\"'`]", text)
            todo += [
                path for path in {f"/assets/{one}" for one in later} if path not in done and path not in todo
            ]
    total = sum(done.values())
    expect(total < SIZE_MAX, f"{total} bytes: {done}")
    return f"{total / 1000:.1f} kB in {len(done)} files"


def _fetched(server: Server, path: str) -> tuple[str, int]:
    """The text of a file, and how many bytes of body it took as gzip."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    expect(answer.status == 200, f"{path} is answered {answer.status}")
    packed = answer.headers.get("content-encoding") == "gzip"
    return (gzip.decompress(body) if packed else body).decode(), len(body)
