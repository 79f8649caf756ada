"""Browser sessions: links of one use, cookies that alone open nothing, pages of elsewhere, ends (OPS-9)."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from leasehold.api import session as sessions
from leasehold.api.auth import ADMIN
from leasehold.api.roles import ROLES
from leasehold.model.errors import NotPermitted, Unauthenticated
from leasehold.model.principal import Principal
from leasehold.testing.manual_clock import ManualClock
from tests.api.browser_session import BrowserSession, new_code, send
from tests.api.real_server import RealServer, Wire, request

ME = "/api/session"
BLOCK = "/api/nodes/self/admission"
ALLOW = {"effect": "allow"}


@pytest.fixture
def browser(server: RealServer) -> BrowserSession:
    """A browser that has just signed in."""
    return BrowserSession(server)


@pytest.mark.requirement("OPS-9", "OPS-5")
def test_a_link_signs_in_once(server: RealServer, browser: BrowserSession) -> None:
    """The code opens a session with its caller's name and role; the second use is refused, with the cure."""
    assert (browser.me["role"], browser.me["name"].split(":")[0]) == ("admin", "user")
    again = browser.sign_in(browser.code)
    assert again.status == 401
    assert "leasehold open" in again.json["detail"]
    assert "set-cookie" not in again.headers
    for wrong in ("0" * 32, "f" * 31 + "0"):
        assert browser.sign_in(wrong).status == 401
    assert browser.sign_in("not-a-code").status == 422


@pytest.mark.requirement("OPS-9")
def test_the_cookie_is_out_of_the_reach_of_scripts_and_of_other_sites(browser: BrowserSession) -> None:
    """HttpOnly, SameSite=Strict, path /, an end; its name tells servers of one machine apart."""
    name = browser.set_cookie.partition("=")[0]
    assert re.fullmatch(r"leasehold_[0-9a-f]{8}", name)
    flags = browser.set_cookie.split("; ")[1:]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
    assert any(flag.startswith("Max-Age=") for flag in flags)
    assert "Secure" not in flags, "plain HTTP on loopback: Secure would keep some browsers from sending it"
    secret = browser.set_cookie.split("=")[1].split(";")[0]
    assert len(secret.removeprefix("lsh_")) == 43, "256 bits"


@pytest.mark.requirement("OPS-9")
def test_a_session_reads_and_changes_within_its_role(server: RealServer, browser: BrowserSession) -> None:
    """Cookie and key together do what the role may, and a bearer token works as it always did."""
    assert browser.call("GET", "/api/whoami").json["role"] == "admin"
    assert browser.call("PUT", BLOCK, ALLOW).status == 200
    viewer = BrowserSession(server, role="viewer")
    assert viewer.call("GET", "/api/dashboard/state").status == 200
    assert viewer.call("PUT", BLOCK, ALLOW).status == 403
    assert server.call("PUT", BLOCK, ALLOW).status == 200
    both = browser.call("GET", "/api/whoami", authorization="Bearer lsh_wrong")
    assert both.status == 401, "a token that is shown decides alone"


@pytest.mark.requirement("OPS-9")
def test_a_stolen_cookie_opens_nothing(server: RealServer, browser: BrowserSession) -> None:
    """Every port of a host gets to see a cookie: without the page's own key it is refused."""
    for path in (ME, "/api/whoami", "/api/dashboard/state", "/api/dashboard/stream", "/api/scheduler/status"):
        assert browser.call("GET", path, without=("x-leasehold-session",)).status == 401, path
    other = BrowserSession(server)
    assert browser.call("GET", ME, x_leasehold_session=other.key).status == 401
    assert browser.call("PUT", BLOCK, ALLOW, without=("x-leasehold-session",)).status == 401
    assert browser.call("GET", ME, without=("cookie",)).status == 401, "and the key alone neither"
    assert browser.call("GET", ME).status == 200


@pytest.mark.requirement("OPS-9")
@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "http://evil.example", "sec_fetch_site": "cross-site"},
        {"origin": "http://127.0.0.1:1", "sec_fetch_site": "same-site"},
        {"origin": "null", "sec_fetch_site": "cross-site"},
        {"origin": "http://evil.example"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_a_page_of_another_origin_is_refused(browser: BrowserSession, foreign: dict[str, str]) -> None:
    """Cookie and key with a foreign Origin or Sec-Fetch-Site are refused for reading and for changing."""
    for method, path, body in (
        ("GET", ME, None),
        ("PUT", BLOCK, ALLOW),
        ("GET", "/api/dashboard/stream", None),
    ):
        reply = browser.call(method, path, body, **foreign)
        assert (reply.status, reply.json["code"]) == (403, "NOT_PERMITTED"), (method, foreign)
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.requirement("OPS-9")
def test_a_change_says_where_it_comes_from(browser: BrowserSession) -> None:
    """A changing call by cookie without Origin and without Sec-Fetch-Site is refused, reading is not."""
    nowhere = ("origin", "sec-fetch-site")
    assert browser.call("PUT", BLOCK, ALLOW, without=nowhere).status == 403
    assert browser.call("DELETE", ME, without=nowhere).status == 403
    assert browser.call("GET", ME, without=nowhere).status == 200


@pytest.mark.requirement("OPS-9")
def test_signing_in_from_another_origin_is_refused(server: RealServer, browser: BrowserSession) -> None:
    """No page of elsewhere can plant a session; the code is not used up by the attempt."""
    code = new_code(server)
    assert browser.sign_in(code, origin="http://evil.example", sec_fetch_site="cross-site").status == 403
    assert browser.sign_in(code).status == 200


@pytest.mark.requirement("OPS-9", "OPS-5")
def test_signing_out_ends_the_session_and_its_streams(server: RealServer) -> None:
    """After DELETE the cookie is taken away, cookie and key open nothing, and the stream ends at once."""
    browser = BrowserSession(server)
    with browser.stream() as wire:
        assert read_until(wire, b"event: state")
        gone = browser.call("DELETE", ME)
        assert gone.status == 204
        assert "Max-Age=0" in gone.headers["set-cookie"]
        assert b"signed out" in read_until(wire, b"event: bye", b"\r\n0\r\n\r\n"), "the answer is whole"
    assert browser.call("GET", ME).status == 401
    assert browser.call("GET", "/api/dashboard/stream").status == 401


@pytest.mark.requirement("OPS-9")
def test_a_restart_signs_nobody_out_and_the_file_holds_hashes(scratch: Path) -> None:
    """Hashes are kept in a file of 0600, links are not; a broken file keeps no server from starting."""
    server = RealServer(scratch)
    with server:
        browser = BrowserSession(server)
        left = new_code(server)
    kept = server.data / "sessions.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    text = kept.read_text()
    for secret in (browser.key, browser.cookie.partition("=")[2], browser.code, left):
        assert secret not in text
    with server:
        assert browser.call("GET", ME).status == 200
        assert browser.sign_in(left).status == 401
    kept.write_text("{")
    with server:
        assert browser.call("GET", ME).status == 401
        assert BrowserSession(server).call("GET", ME).status == 200
        logged = "".join(path.read_text() for path in (server.data / "log").glob("*"))
    for secret in (browser.key, browser.cookie.partition("=")[2], browser.code):
        assert secret not in logged, "no secret of a session is ever logged"


@pytest.mark.requirement("OPS-9", "OPS-6")
def test_a_link_gives_no_more_than_its_maker_has(server: RealServer) -> None:
    """A session makes no links, nobody makes one with more rights than their own, strangers make none."""
    browser = BrowserSession(server)
    reply = browser.call("POST", "/api/session/link", {})
    assert (reply.status, reply.json["code"]) == (403, "NOT_PERMITTED")
    assert send(server, "POST", "/api/session/link", {"content-type": "application/json"}, {}).status == 401
    bad = server.call("POST", "/api/session/link", {"role": "emperor"})
    assert bad.status == 422


class Kept:
    """Sessions on a clock that stands still until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.ended: list[str] = []
        numbers = iter(range(1_000))
        self.sessions = sessions.Sessions(
            folder,
            self.clock,
            new_secret=lambda: f"lsh_{next(numbers)}",
            new_code=lambda: f"{next(numbers):032x}",
            offload=run_now,
        )
        self.sessions.on_end = self.ended.append

    async def signed_in(self, principal: Principal = ADMIN) -> tuple[dict[bytes, bytes], str]:
        """The headers of a new session's calls, and its id."""
        code, _ = self.sessions.link(principal)
        opened = await self.sessions.sign_in(code, FROM_HERE)
        cookie = f"{self.sessions.cookie}={opened.cookie}".encode()
        return {b"cookie": cookie, sessions.KEY_HEADER: opened.key.encode(), **FROM_HERE}, opened.session.sid

    def who(self, headers: dict[bytes, bytes]) -> Principal | None:
        return self.sessions.identify({"method": "GET"}, headers)


FROM_HERE = {b"host": b"127.0.0.1:1", b"origin": b"http://127.0.0.1:1"}


async def run_now(function: object, *arguments: object) -> object:
    """Offload to nowhere."""
    return function(*arguments)  # type: ignore[operator]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Sessions of a server that nobody has signed in to yet."""
    return Kept(tmp_path)


@pytest.mark.requirement("OPS-9")
async def test_an_old_link_is_refused(kept: Kept) -> None:
    """Ten minutes after it was made a link opens nothing, used or not."""
    code, _ = kept.sessions.link(ADMIN)
    await kept.clock.advance(sessions.LINK_MS - 1)
    other, _ = kept.sessions.link(ADMIN)
    await kept.clock.advance(1)
    with pytest.raises(Unauthenticated, match="ten minutes"):
        await kept.sessions.sign_in(code, FROM_HERE)
    assert (await kept.sessions.sign_in(other, FROM_HERE)).session.role == "admin"


@pytest.mark.requirement("OPS-9")
async def test_an_unused_session_ends_and_a_used_one_too_in_the_end(kept: Kept) -> None:
    """Idle for a week, or thirty days after the sign-in however much it is used: it is over."""
    headers, sid = await kept.signed_in()
    await kept.clock.advance(sessions.IDLE_MS - 1)
    assert kept.who(headers) is not None
    for _ in range(3):
        await kept.clock.advance(sessions.IDLE_MS - 1)
        assert kept.who(headers) is not None
    await kept.clock.advance(sessions.LONGEST_MS - 4 * (sessions.IDLE_MS - 1))
    assert not kept.sessions.lives(sid)
    with pytest.raises(Unauthenticated):
        kept.who(headers)
    idle, _ = await kept.signed_in()
    await kept.clock.advance(sessions.IDLE_MS)
    with pytest.raises(Unauthenticated):
        kept.who(idle)


@pytest.mark.requirement("OPS-9", "INV-8")
async def test_links_and_sessions_are_bounded(kept: Kept) -> None:
    """The oldest link, and the session used longest ago, give way; the end of a session is told."""
    codes = [kept.sessions.link(ADMIN)[0] for _ in range(sessions.LINKS_MAX + 1)]
    with pytest.raises(Unauthenticated):
        await kept.sessions.sign_in(codes[0], FROM_HERE)
    first, sid = await kept.signed_in()
    for _ in range(sessions.SESSIONS_MAX):
        await kept.clock.advance(1)
        await kept.signed_in()
    with pytest.raises(Unauthenticated):
        kept.who(first)
    assert sid in kept.ended


@pytest.mark.requirement("OPS-5", "OPS-9")
async def test_taking_a_credential_away_ends_its_sessions_and_links(kept: Kept) -> None:
    """Whoever loses the right to call loses the pages that were opened with it, and no others."""
    other = Principal(name="user:1001", role="viewer", verbs=ROLES["viewer"])
    theirs, sid = await kept.signed_in(other)
    code, _ = kept.sessions.link(other)
    mine, _ = await kept.signed_in()
    await kept.sessions.end_of("user:1001")
    with pytest.raises(Unauthenticated):
        kept.who(theirs)
    with pytest.raises(Unauthenticated):
        await kept.sessions.sign_in(code, FROM_HERE)
    by_token = Principal(name="token:ci/tok-1", role="viewer", verbs=ROLES["viewer"], token_id="tok-1")
    with pytest.raises(NotPermitted, match="outlive"):
        kept.sessions.link(by_token)
    assert kept.who(mine) is not None
    assert kept.ended == [sid]
    with pytest.raises(NotPermitted):
        kept.sessions.link(other, "admin")


@pytest.mark.requirement("OPS-9")
async def test_cookies_of_others_are_passed_by(kept: Kept) -> None:
    """Other programs of this machine have cookies too: they are nobody's session and no error."""
    headers, _ = await kept.signed_in()
    assert kept.who({b"cookie": b"theme=dark; leasehold_ffffffff=x", **FROM_HERE}) is None
    mixed = headers | {b"cookie": b"theme=dark; " + headers[b"cookie"] + b"; other=1"}
    assert kept.who(mixed) is not None


def read_until(wire: Wire, *marks: bytes) -> bytes:
    """Read from a stream until the marks have come, one after the other."""
    found = b""
    at = 0
    for mark in marks:
        while (next_at := found.find(mark, at)) < 0:
            data = wire.sock.recv(65536)
            assert data, found
            found += data
        at = next_at + len(mark)
    return found


def test_the_page_never_learns_the_code_from_the_server(server: RealServer) -> None:
    """The code stands behind `#`: it is in no path that a server, a log or a referrer could see."""
    with server.unix() as wire:
        wire.send(request("POST", "/api/session/link", {"content-type": "application/json"}, b"{}"))
        link = json.loads(wire.reply().body)
    assert re.fullmatch(r"/sign-in#[0-9a-f]{32}", link["path"])
    assert link["expires_sec"] == 600
