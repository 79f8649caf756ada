"""The page as it is served: its files, their headers, and what stands in for a missing one (OPS-9, 21)."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from leasehold.api import assets
from leasehold.api.assets import Assets, accepted_codings
from leasehold.api.openapi import document
from leasehold.api.rest import page
from leasehold.api.routes import ENDPOINTS, PAGES
from tests.api.browser_session import BrowserSession
from tests.api.real_server import RealServer, Reply, request
from tests.api.test_sessions import read_until

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
BUILT = (assets.FOLDER / assets.INDEX).exists()


def get(server: RealServer, path: str, **headers: str) -> Reply:
    """A GET without any credential, as a browser's first one."""
    with server.tcp() as wire:
        wire.send(request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()}))
        return wire.reply()


@pytest.mark.requirement("OPS-9", "OPS-27")
@pytest.mark.parametrize(
    "path",
    ["/", "/sign-in", "/?x=1", "/sign-in?once=old", "/queue?state=HELD", "/jobs/job-0"]
    + [f"/{part}" for part in page.PARTS],
)
def test_the_page_is_open_and_strict(server: RealServer, path: str) -> None:
    """It needs no credential, and its policy lets nothing inline and nothing from elsewhere."""
    reply = get(server, path)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    said = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert said.items() >= POLICY.items()
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-cache"
    text = reply.body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=", text), "nothing inline"
    assert not re.search(r"https?://", text), "nothing from elsewhere"


@pytest.mark.skipif(not BUILT, reason="the page is not built here: no Node")
@pytest.mark.requirement("OPS-21")
def test_assets_are_kept_for_ever_and_come_compressed(server: RealServer) -> None:
    """Every file that the page names is there, immutable, and in the coding that the browser prefers."""
    html = get(server, "/").body.decode()
    names = re.findall(r'(?:src|href)="(/assets/[^"]+)"', html)
    assert any(name.endswith(".js") for name in names)
    assert any(name.endswith(".css") for name in names)
    for name in names:
        plain = get(server, name)
        assert plain.status == 200
        assert "immutable" in plain.headers["cache-control"]
        assert "content-encoding" not in plain.headers
        packed = get(server, name, accept_encoding="gzip")
        if "content-encoding" in packed.headers:
            assert gzip.decompress(packed.body) == plain.body
        best = get(server, name, accept_encoding="gzip, deflate, br;q=0.9")
        assert len(best.body) <= len(packed.body)
    for gone in ("/assets/nothing.js", "/assets/..%2f..%2fauth.py", "/assets/.hidden", "/assets/stamp"):
        assert get(server, gone).status == 404, gone


@pytest.mark.skipif(not BUILT, reason="the page is not built here: no Node")
@pytest.mark.requirement("OPS-9", "OPS-14")
def test_the_service_worker_is_asked_for_each_time_under_the_same_policy(server: RealServer) -> None:
    """It answers for all paths of the page, so it stands at their root, and never grows old in a cache."""
    reply = get(server, "/service-worker.js")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-cache")
    assert reply.headers["content-type"].startswith("text/javascript")
    said = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert (said["worker-src"], said["trusted-types"]) == ("'self'", "leasehold-worker")


@pytest.mark.skipif(not BUILT, reason="the page is not built here: no Node")
@pytest.mark.requirement("OPS-22")
def test_the_page_is_small() -> None:
    """Everything that a browser loads is under 150 kB as it is sent."""
    files = [path for path in assets.FOLDER.rglob("*") if path.suffix in (".html", ".js", ".css", ".svg")]
    assert len(files) >= 4
    sent = sum(min(each.stat().st_size for each in path.parent.glob(f"{path.name}*")) for path in files)
    assert sent < 150_000, sent


@pytest.mark.requirement("OPS-21")
async def test_an_unbuilt_page_says_how_to_build_it(tmp_path: Path) -> None:
    """Without built files `/` is plain HTML with the command to type."""
    answer = await Assets(tmp_path).page({})
    assert b"make page" in answer.body
    assert dict(answer.headers)[b"content-security-policy"]
    assert await Assets(tmp_path).file("x.js", {}) is None


async def test_a_rebuilt_page_is_served_without_a_restart(tmp_path: Path) -> None:
    """A file that has changed is read again, and one with an unknown ending is not served."""
    files = Assets(tmp_path)
    (tmp_path / "index.html").write_text("one")
    assert (await files.page({})).body == b"one"
    (tmp_path / "index.html").write_text("other")
    assert (await files.page({})).body == b"other"
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.py").write_text("x")
    assert await files.file("a.py", {}) is None


def test_codings_are_taken_by_their_weights() -> None:
    """A weight of zero is a refusal."""
    assert accepted_codings(b"gzip;q=0, br") == {"br"}
    assert accepted_codings(b"") == {""}


def test_the_page_is_no_part_of_the_contract() -> None:
    """What browsers load stands beside the API, under paths that it does not use."""
    assert not {endpoint.path for endpoint in PAGES} & set(document(ENDPOINTS)["paths"])
    assert all(endpoint.hot and endpoint.verb is None for endpoint in PAGES)
    assert page.table.endpoints == list(PAGES)


@pytest.mark.requirement("OPS-3")
def test_the_stream_begins_with_the_state_and_tells_a_grant_at_once(server: RealServer) -> None:
    """Its first event is what GET answers; a grant and an end follow; it stands in no percentile."""
    browser = BrowserSession(server)
    with browser.stream() as wire:
        begun = read_until(wire, b"HTTP/1.1 200", b"event: state", b"\n\n")
        assert b"text/event-stream" in begun
        data = json.loads(begun.partition(b"data: ")[2].partition(b"\n")[0])
        whole = browser.call("GET", "/api/dashboard/state").json
        assert data.keys() == whole.keys()
        held = server.get("/api/system-stats/current").json["api"]["held"]
        assert held >= 1
        lease = server.lease(label="a build", cost_units=7)
        told = read_until(wire, lease["lease_id"].encode())
        assert b"event: patch" in told
        server.release(lease)
        assert b"LeaseReleased" in read_until(wire, b"LeaseReleased", b"\n\n")


@pytest.mark.requirement("OPS-3", "OPS-28")
def test_open_streams_do_not_hold_up_a_stop(scratch: Path) -> None:
    """With a page open the server ends as quickly as without, and says so on the stream."""
    with RealServer(scratch) as server:
        browser = BrowserSession(server)
        with browser.stream() as wire:
            read_until(wire, b"event: state", b"\n\n")
            assert server.stop() == 0
            assert b"stopping" in read_until(wire, b"event: bye", b"\n\n")


@pytest.mark.requirement("OPS-3")
def test_whoever_comes_back_gets_the_state_first(server: RealServer) -> None:
    """A Last-Event-ID of before, or of nonsense, leads to a whole state."""
    browser = BrowserSession(server)
    for last in ("1", "99999", "x"):
        with server.tcp() as wire:
            wire.send(
                request(
                    "GET",
                    "/api/dashboard/stream",
                    browser.headers(last_event_id=last),
                    host=browser.origin[7:],
                )
            )
            assert b"event: state" in read_until(wire, b"data: ")
