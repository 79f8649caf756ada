"""`/api/session`: sign-in links, signing in and out of the page (OPS-9)."""

from __future__ import annotations

from leasehold.api.endpoint import Call, Headed, Nothing, Table
from leasehold.api.session import LINK_KIND, LINK_MS, Session, link_id, verbs_of
from leasehold.control.views import rfc3339
from leasehold.model import errors
from leasehold.model.principal import Shown
from leasehold.wire.session import SessionOut, SignIn, SignInLink, SignInLinkIn

table = Table("session")


@table.endpoint(
    "POST", "/api/session/link", verb="lease:read", body=SignInLinkIn, answer=SignInLink, errors=()
)
async def make_link(call: Call[SignInLinkIn, Nothing, Nothing]) -> SignInLink:
    """A link that signs a browser in as the caller: once, within ten minutes."""
    code, link = call.services.sessions.link(call.principal, call.body.role)
    call.names(link=link_id(code))
    return SignInLink(path=f"/sign-in#{code}", role=link.role, expires_sec=LINK_MS // 1000)


@table.endpoint(
    "POST",
    "/api/session",
    verb=None,
    body=SignIn,
    answer=SessionOut,
    errors=(errors.Unauthenticated, errors.NotPermitted),
)
async def sign_in(call: Call[SignIn, Nothing, Nothing]) -> Headed:
    """Trade the code of a sign-in link for a session: a cookie, and a key that is shown this once."""
    sessions = call.services.sessions
    call.shows(sessions.shown(call.body.code))
    opened = await sessions.sign_in(call.body.code, call.headers, call.scheme)
    call.shows(Shown(opened.session.principal, LINK_KIND, link_id(call.body.code)))
    call.names(session=opened.session.sid)
    cookie = (b"set-cookie", sessions.set_cookie(opened.cookie, secure=call.scheme == "https"))
    return Headed(_out(opened.session, opened.key), (cookie,))


@table.endpoint("GET", "/api/session", verb="lease:read", answer=SessionOut)
async def get_session(call: Call[None, Nothing, Nothing]) -> SessionOut:
    """Who is signed in by this session, and until when."""
    return _out(call.services.sessions.session(call.principal.session))


@table.endpoint("DELETE", "/api/session", verb="lease:read")
async def sign_out(call: Call[None, Nothing, Nothing]) -> Headed:
    """End this session: its cookie opens nothing any more, and its streams are closed at once."""
    sessions = call.services.sessions
    await sessions.sign_out(call.principal.session)
    return Headed(None, ((b"set-cookie", sessions.set_cookie("")),))


def _out(session: Session, key: str = "") -> SessionOut:
    return SessionOut(
        name=session.principal,
        role=session.role,
        verbs=sorted(verbs_of(session.role)),
        expires_at=rfc3339(session.ends_ms()),
        key=key,
    )
