"""Browser sessions: a link of one use opens one, two secrets carry it, hashes are what is kept (OPS-9).

A session is carried by a cookie, which scripts can't read, together with a key, which the page keeps in the
storage of its own origin and sends as a header. Browsers show cookies to every port of a host, so a cookie
alone may have been seen by any other program that serves pages on this machine; the key has not. The header
is also what no page of another origin can send.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from leasehold.api.roles import ROLES
from leasehold.model.audit import NOBODY
from leasehold.model.errors import NotPermitted, Unauthenticated
from leasehold.model.principal import Principal, Shown
from leasehold.model.tenant import DEFAULT
from leasehold.ports.clock import Clock
from leasehold.runtime.ids import token_hash
from leasehold.runtime.logging import get_logger

log = get_logger(__name__)

FILE = "sessions.json"
KEY_HEADER = b"x-leasehold-session"

LINK_MS = 10 * 60_000
LINKS_MAX = 16
USED_LINKS_MAX = 64
"""Links that are remembered although they open nothing any more: so that the audit can say whose one was."""

LINK_KIND = "sign-in link"
SESSIONS_MAX = 64
"""One more takes the place of the one that was used longest ago."""

IDLE_MS = 7 * 86_400_000
LONGEST_MS = 30 * 86_400_000
USED_MS = 10 * 60_000
"""How old the note of the last use may grow before it is written again."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})

Offload = Callable[..., Awaitable[Any]]


class Link(msgspec.Struct, frozen=True):
    """What is kept of a link until it is used. `until_ms` is on the ledger's clock."""

    principal: str
    role: str
    until_ms: int
    tenant: str = DEFAULT


class Session(msgspec.Struct):
    """One signed-in browser, as the file has it. Times are Unix ms."""

    sid: str
    cookie_hash: bytes
    key_hash: bytes
    principal: str
    role: str
    since_ms: int
    used_ms: int
    tenant: str = DEFAULT

    def ends_ms(self) -> int:
        """When it is over, if it is not used again."""
        return min(self.used_ms + IDLE_MS, self.since_ms + LONGEST_MS)


class Kept(msgspec.Struct):
    """The file: the cookie's name, which tells servers of one machine apart, and the sessions."""

    cookie: str
    sessions: list[Session] = []


class SignedIn(msgspec.Struct, frozen=True):
    """A new session, with its secrets, which are shown this once."""

    session: Session
    cookie: str
    key: str


class Sessions:
    """All links and sessions of one server.

    Links live in memory: a restart only means a new one. Sessions live in `<folder>/sessions.json` (0600), so
    that a restart signs nobody out. `offload` runs a blocking call elsewhere. `on_end` is called with the id
    of each session that is over.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        new_secret: Callable[[], str],
        new_code: Callable[[], str],
        offload: Offload,
    ) -> None:
        self.on_end: Callable[[str], None] = lambda sid: None
        self._path = folder / FILE
        self._clock = clock
        self._new_secret = new_secret
        self._new_code = new_code
        self._offload = offload
        self._links: dict[bytes, Link] = {}
        self._used_links: dict[bytes, Link] = {}
        kept = self._read()
        self.cookie = kept.cookie if kept is not None else f"leasehold_{new_code()[:8]}"
        self._by_cookie = {one.cookie_hash: one for one in kept.sessions} if kept is not None else {}

    # -- links

    def link(self, principal: Principal, role: str | None = None) -> tuple[str, Link]:
        """A code of one use for this caller. Raises NotPermitted for more rights than it has."""
        role = role or principal.role
        if principal.token_id:
            raise NotPermitted("a token opens no sessions, which would outlive it; ask who owns the machine")
        if principal.session:
            raise NotPermitted("a session opens no others; ask at the terminal: `leasehold open`")
        if not verbs_of(role) <= principal.verbs:
            raise NotPermitted(f"{principal.name} has the role {principal.role}, which is not all of {role}")
        now_ms = self._clock.now_ms()
        self._links = {code: one for code, one in self._links.items() if one.until_ms > now_ms}
        while len(self._links) >= LINKS_MAX:
            del self._links[next(iter(self._links))]
        code, found = self._new_code(), Link(principal.name, role, now_ms + LINK_MS, principal.tenant)
        self._links[token_hash(code)] = found
        return code, found

    async def sign_in(self, code: str, headers: Mapping[bytes, bytes], scheme: str = "http") -> SignedIn:
        """Trade a code for a session. Raises Unauthenticated, and NotPermitted for a page of elsewhere."""
        check_origin("POST", headers, scheme)
        link = self._links.pop(token_hash(code), None)
        if link is not None:
            self._used_links[token_hash(code)] = link
            if len(self._used_links) > USED_LINKS_MAX:
                del self._used_links[next(iter(self._used_links))]
        if link is None or link.until_ms <= self._clock.now_ms():
            raise Unauthenticated(
                "this link was used already, or is older than ten minutes; `leasehold open` prints a new one"
            )
        cookie, key, now_ms = self._new_secret(), self._new_secret(), self._clock.wall_ms()
        cookie_hash = token_hash(cookie)
        session = Session(
            cookie_hash.hex()[:12],
            cookie_hash,
            token_hash(key),
            link.principal,
            link.role,
            now_ms,
            now_ms,
            link.tenant,
        )
        self._forget(one for one in self._by_cookie.values() if one.ends_ms() <= now_ms)
        while len(self._by_cookie) >= SESSIONS_MAX:
            self._forget([min(self._by_cookie.values(), key=lambda one: one.used_ms)])
        self._by_cookie[cookie_hash] = session
        await self._write()
        log.info("signed_in", session=session.sid, principal=session.principal, role=session.role)
        return SignedIn(session, cookie, key)

    def shown(self, code: str) -> Shown:
        """What a code is, for the audit, before it is traded."""
        digest, now_ms = token_hash(code), self._clock.now_ms()
        link = self._links.get(digest)
        if link is not None and link.until_ms > now_ms:
            return Shown(NOBODY, LINK_KIND, link_id(code), f"not traded; {link.principal} made it")
        used = self._used_links.get(digest)
        if used is not None:
            return Shown(NOBODY, LINK_KIND, link_id(code), f"used already; {used.principal} made it")
        return Shown(NOBODY, LINK_KIND, link_id(code) if link else "", "expired" if link else "unknown")

    # -- sessions

    def session_of(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The id of the session whose cookie is shown, whether it is good or not; "" for an unknown one.

        None where no such cookie is shown.
        """
        cookie = cookie_value(headers.get(b"cookie", b""), self.cookie.encode())
        if cookie is None:
            return None
        session = self._by_cookie.get(token_hash(cookie))
        return session.sid if session is not None else ""

    def identify(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Principal | None:
        """The principal of the session whose cookie is shown; None where none is.

        Raises Unauthenticated for one that is unknown, over, or shown without its key, and NotPermitted for a
        page of elsewhere.
        """
        cookie = cookie_value(headers.get(b"cookie", b""), self.cookie.encode())
        if cookie is None:
            return None
        check_origin(scope.get("method", "GET"), headers, scope.get("scheme", "http"))
        session = self._by_cookie.get(token_hash(cookie))
        key = headers.get(KEY_HEADER, b"")
        # The key is looked up by no one but its own session: comparing hashes leaks nothing of it.
        if session is None or token_hash(key) != session.key_hash or not self.lives(session.sid):
            raise Unauthenticated(
                "this session is unknown or over; `leasehold open` prints a new sign-in link"
            )
        self._used(session)
        return _principal(session)

    def lives(self, sid: str) -> bool:
        """Whether the session with this id is there and not over."""
        session = next((one for one in self._by_cookie.values() if one.sid == sid), None)
        return session is not None and session.ends_ms() > self._clock.wall_ms()

    def session(self, sid: str) -> Session:
        """The session with this id. Raises Unauthenticated."""
        for one in self._by_cookie.values():
            if one.sid == sid:
                return one
        raise Unauthenticated("this call came by no session; sign in with the link of `leasehold open`")

    async def sign_out(self, sid: str) -> None:
        """End a session at once. Idempotent."""
        self._forget([one for one in self._by_cookie.values() if one.sid == sid])
        await self._write()

    async def end_of(self, principal: str) -> None:
        """End all sessions and links of a principal whose credential was taken away."""
        self._links = {code: one for code, one in self._links.items() if one.principal != principal}
        self._forget([one for one in self._by_cookie.values() if one.principal == principal])
        await self._write()

    def set_cookie(self, value: str, *, secure: bool = False) -> bytes:
        """The header that gives a browser its cookie; with an empty value the one that takes it away."""
        lasts_s = LONGEST_MS // 1000 if value else 0
        tail = "; Secure" if secure else ""
        return f"{self.cookie}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{tail}".encode()

    def _used(self, session: Session) -> None:
        now_ms = self._clock.wall_ms()
        if now_ms - session.used_ms > USED_MS:
            session.used_ms = now_ms  # Written with the next change, and at the stop.

    def _forget(self, sessions: Iterable[Session]) -> None:
        for session in list(sessions):
            self._by_cookie.pop(session.cookie_hash, None)
            self.on_end(session.sid)

    # -- the file

    async def close(self) -> None:
        """Write when each was used last."""
        if self._by_cookie:
            await self._write()

    async def _write(self) -> None:
        raw = msgspec.json.encode(Kept(self.cookie, list(self._by_cookie.values())))
        try:
            await self._offload(_replace, self._path, raw)
        except OSError as error:  # A full disk: who is signed in stays so until the next restart.
            log.warning("sessions_not_written", why=str(error))

    def _read(self) -> Kept | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            try:
                os.fchmod(descriptor, 0o600)
                return msgspec.json.decode(file.read(1 << 20), type=Kept)
            except (OSError, msgspec.DecodeError) as error:
                log.warning("sessions_unreadable", why=str(error), cure="everybody signs in anew")
                return None


def link_id(code: str) -> str:
    """A public name of a link, by which the one that was made is known as the one that was used."""
    return f"link-{token_hash(code).hex()[:12]}"


def verbs_of(role: str) -> frozenset[str]:
    """What a role may do; a role that this version does not know may do nothing."""
    return next((verbs for name, verbs in ROLES.items() if name == role), frozenset())


def _principal(session: Session) -> Principal:
    return Principal(
        name=session.principal,
        role=session.role,
        verbs=verbs_of(session.role),
        session=session.sid,
        tenant=session.tenant,
    )


def cookie_value(header: bytes, name: bytes) -> bytes | None:
    """The value of one cookie of a Cookie header."""
    for pair in header.split(b";"):
        found, separator, value = pair.strip().partition(b"=")
        if separator and found == name:
            return value
    return None


def check_origin(method: str, headers: Mapping[bytes, bytes], scheme: str) -> None:
    """Raise NotPermitted for what a page of another origin may have sent.

    Where neither `Origin` nor `Sec-Fetch-Site` is there, only reading is let through.
    """
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    own = scheme.encode() + b"://" + headers.get(b"host", b"")
    foreign = (origin is not None and origin.lower() != own.lower()) or site not in (None, b"same-origin")
    if foreign or (method not in READS and origin is None and site is None):
        raise NotPermitted(
            "a session is for the page of this server; a page of another origin may not use it"
        )


def _replace(path: Path, raw: bytes) -> None:
    """Write it under another name first: a crash leaves the file before."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, raw)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)
