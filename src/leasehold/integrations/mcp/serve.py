"""Serving MCP: over standard input and output for one agent, or over HTTP on loopback for several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.client.endpoint import BadAddress
from leasehold.client.lean import Unreachable
from leasehold.integrations.mcp.link import sentence
from leasehold.integrations.mcp.session import Session, Sessions
from leasehold.integrations.mcp.tools import build, local_only
from leasehold.model.errors import LeaseholdError, Unauthenticated

LOOPBACK = "127.0.0.1"
PATH = "/mcp"
BODY_BYTES_MAX = 1 << 20
MCP_SESSIONS_MAX = 256
"""Open at a time; the SDK closes those that are idle for half an hour."""
SESSION = "leasehold.session"
"""Where the gate leaves the caller's session, in the ASGI scope."""
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDED_BY_SIGNAL = 128


# -- standard input and output -----------------------------------------------------------------------------


def stdio(env: Mapping[str, str], server: str = "") -> None:
    """Serve one agent until it closes standard input, or a signal comes.

    Either way its leases are given back and its commands ended before this returns or the process ends.
    """
    asyncio.run(_stdio(env, server))


async def _stdio(env: Mapping[str, str], server: str) -> None:
    session = Session(env, server)
    tools = build(local_only(session), with_run=True)
    with _on_signal(session.close):
        try:
            await tools.run_stdio_async()
        except* (BrokenPipeError, ConnectionError):
            pass  # the host has gone without a word: what ends a session otherwise ends it too
        finally:
            await session.close()


@contextlib.contextmanager
def _on_signal(close: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """End the process in order on a signal: the SDK's thread that reads standard input can't be woken."""
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    async def end(number: int) -> None:
        with contextlib.suppress(Exception):
            await close()
        os._exit(ENDED_BY_SIGNAL + number)

    def begin(number: int) -> None:
        if not ending:
            ending.append(loop.create_task(end(number)))

    for number in ENDINGS:
        loop.add_signal_handler(number, begin, number)
    yield
    for number in ENDINGS:
        loop.remove_signal_handler(number)


# -- HTTP --------------------------------------------------------------------------------------------------


def http(
    env: Mapping[str, str], server: str, port: int, *, with_run: bool, ready: Callable[[str], None]
) -> None:
    """Serve agents on loopback until a signal comes. `ready` is told the URL. Raises OSError (port taken).

    Every call needs a token of Leasehold, which is passed through: this process decides nothing itself.
    """
    listening = socket.create_server((LOOPBACK, port))
    with listening:
        asyncio.run(_http(env, server, listening, with_run=with_run, ready=ready))


async def _http(
    env: Mapping[str, str],
    server: str,
    listening: socket.socket,
    *,
    with_run: bool,
    ready: Callable[[str], None],
) -> None:
    sessions = Sessions(env, server)
    app = application(sessions, with_run=with_run)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        ws="none",
        server_header=False,
    )
    web = _Web(config)
    loop = asyncio.get_running_loop()
    for number in ENDINGS:
        loop.add_signal_handler(number, web.handle_exit, number, None)
    ready(f"http://{LOOPBACK}:{listening.getsockname()[1]}{PATH}")
    try:
        await web.serve([listening])
    finally:
        await sessions.close()


class _Web(uvicorn.Server):
    """Without uvicorn's own signal handling, which raises the signal anew before leases are given back."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def application(sessions: Sessions, *, with_run: bool) -> ASGIApp:
    """The ASGI application: the SDK's own, behind a gate that knows tokens.

    Calls of the protocol since 2026-07-28 stand by themselves. Older ones have sessions, without which a call
    that is given up could not be told; the SDK lets only the credential that opened one use it. It refuses
    hosts and origins other than loopback's (DNS rebinding).
    """
    tools = build(_of_request, with_run=with_run)
    app = tools.streamable_http_app(
        streamable_http_path=PATH,
        max_sessions=MCP_SESSIONS_MAX,
        max_request_body_size=BODY_BYTES_MAX,
        host=LOOPBACK,
    )
    return Gate(app, sessions)


async def _of_request(context: Any) -> Session:
    request = context.request_context.request
    if request is None or SESSION not in request.scope:
        raise ToolError("this call came without a session of its own; call again")
    session: Session = request.scope[SESSION]
    return session


class Gate:
    """Lets calls with a token of Leasehold pass, each with the session of its token."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 without a token that Leasehold knows, 503 without a server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = await self._refused(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    async def _refused(self, scope: Scope) -> JSONResponse | None:
        scheme, _, token = Request(scope).headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _refusal(401, "no credential; send `Authorization: Bearer` and a token of Leasehold")
        try:
            session = await self._sessions.of(token.strip())
        except Unauthenticated as error:
            return _refusal(401, str(error))
        except (Unreachable, LeaseholdError, BadAddress) as error:
            return _refusal(503, sentence(error))
        scope[SESSION] = session
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=session.credential, scopes=[]))
        return None


def _refusal(status: int, detail: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": detail}, status_code=status, headers=headers)
