"""All that belongs to one agent: its way to the server, its leases, its runs, and what it has yet to hear."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Mapping

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.integrations.mcp.leases import Leases
from leasehold.integrations.mcp.link import Link
from leasehold.integrations.mcp.runs import Runs
from leasehold.model.errors import Overloaded
from leasehold.runtime.lean import elapsed_s
from leasehold.wire.server import Whoami

NEWS_MAX = 20
SESSIONS_MAX = 64
"""Credentials at a time over HTTP; of those that hold nothing, the one used longest ago is dropped."""
TRUSTED_S = 10.0
"""For how long a credential is not asked about again. Leasehold judges every call by itself anyway."""


class Session:
    """One agent's. Over stdio it is this process's own; over HTTP it is a credential's."""

    def __init__(self, env: Mapping[str, str], server: str = "", token: str = "") -> None:
        self.link = Link(env, server, token)
        self._news: deque[str] = deque(maxlen=NEWS_MAX)
        self.leases = Leases(self.link, self._news)
        # Who may run commands here runs them as this process's user, whose `run` can bind them.
        self._own_link = Link(env, server) if token else self.link
        self.runs = Runs(self._own_link)
        self._by_token = bool(token)
        self.credential = hashlib.sha256(token.encode()).hexdigest()
        self.me: Whoami | None = None
        self.known_s = -TRUSTED_S

    def news(self) -> list[str]:
        """What the agent has not been told yet; told once."""
        found = [*self._news, *self.runs.unheard()]
        self._news.clear()
        return found

    async def identify(self) -> Whoami:
        """Who the server takes the caller for. Raises Unauthenticated and Unreachable."""
        if self.me is None or elapsed_s() - self.known_s > TRUSTED_S:
            self.me = await self.link.send(calls.WHOAMI)
            self.known_s = elapsed_s()
        return self.me

    async def runner(self) -> Runs:
        """The runs, for who may run commands as this process's user. Raises ToolError for others."""
        if self._by_token and (await self.identify()).role != "admin":
            raise ToolError("running commands here takes an administrator's token; use request and release")
        return self.runs

    async def submitter(self) -> Link:
        """The way by which commands go to the queue, as this process's user. Raises ToolError for others."""
        await self.runner()
        return self._own_link

    @property
    def idle(self) -> bool:
        """Whether it holds nothing and runs nothing."""
        return not self.leases.ids and not self.runs.busy

    async def close(self) -> None:
        """Give back every lease and end every command, at once."""
        await asyncio.gather(self.leases.close(), self.runs.close())
        await self.link.close()
        await self._own_link.close()


class Sessions:
    """The sessions of an HTTP server, one for each credential."""

    def __init__(self, env: Mapping[str, str], server: str = "") -> None:
        self._env = env
        self._server = server
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    async def of(self, token: str) -> Session:
        """The session of a token that Leasehold knows. Raises Unauthenticated and Unreachable."""
        key = hashlib.sha256(token.encode()).hexdigest()
        session = self._sessions.get(key)
        if session is None:
            session = Session(self._env, self._server, token)
            try:
                await session.identify()
            except BaseException:
                await session.close()
                raise
            if (first := self._sessions.setdefault(key, session)) is not session:
                await session.close()
                session = first
            await self._make_room(key)
        else:
            await session.identify()
        self._sessions.move_to_end(key)
        return session

    async def _make_room(self, newest: str) -> None:
        if len(self._sessions) <= SESSIONS_MAX:
            return
        idle = (key for key, one in self._sessions.items() if one.idle and key != newest)
        oldest = next(idle, newest)
        await self._sessions.pop(oldest).close()
        if oldest == newest:
            raise Overloaded(f"{SESSIONS_MAX} credentials hold leases here; try again", retry_after_s=30)

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._sessions.values()), return_exceptions=True)
