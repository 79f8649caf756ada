"""Calls to the Leasehold server: found where any client finds it, looked for again when it was away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.client import endpoint as where
from leasehold.client.aio import AsyncClient
from leasehold.client.calls import A, B, Call, Values
from leasehold.client.endpoint import BadAddress, Endpoint
from leasehold.client.lean import Unreachable
from leasehold.client.sync import NONE
from leasehold.model.errors import LeaseholdError

ANSWER_S = 10.0
"""A server that takes longer, on top of the time that it was asked to hold a call, hangs."""
FIND_S = 3.0


class Link:
    """One caller's way to its server.

    `token` is a credential that was passed through; without it, the caller is who runs this process.
    """

    def __init__(self, env: Mapping[str, str], server: str = "", token: str = "") -> None:
        self.env = env
        self.server = server
        self._token = token
        self._client: AsyncClient | None = None

    async def send(
        self,
        call: Call[B, A],
        body: B | None = None,
        *,
        path: Values = NONE,
        query: Values = NONE,
        hold_s: float = 0.0,
        idempotency_key: str = "",
    ) -> A:
        """Make one call. Raises errors of `model.errors`, and Unreachable.

        What got no answer because the server had gone is sent once more, to wherever it is now; so `call`
        changes nothing when it is repeated, or has an idempotency key.
        """
        for again in (True, False):
            client = self._client or await self._find()
            try:
                return await client.send(
                    call,
                    body,
                    path=path,
                    query=query,
                    timeout_s=hold_s + ANSWER_S,
                    idempotency_key=idempotency_key,
                )
            except Unreachable as error:
                await self.close()
                if error.hangs or not again:
                    raise
        raise AssertionError("the loop returns or raises")

    async def _find(self) -> AsyncClient:
        """A client of the first place where a server answers. Raises Unreachable."""
        problem: Unreachable | None = None
        for endpoint in where.candidates(self.env, self.server):
            client = AsyncClient(self._as_caller(endpoint), connections_max=16)
            try:
                await client.send(calls.HEALTH, timeout_s=FIND_S)
            except (Unreachable, LeaseholdError) as error:
                await client.close()
                if isinstance(error, Unreachable):
                    problem = problem or error
                continue
            self._client = client
            return client
        raise problem or Unreachable("no server is set up here")

    def _as_caller(self, found: Endpoint) -> Endpoint:
        if not self._token:
            return found
        return Endpoint(
            socket_path=found.socket_path,
            host=found.host,
            port=found.port,
            token=self._token,
            tls=found.tls,
            prefix=found.prefix,
        )

    async def close(self) -> None:
        """Forget the connections; the next call looks for the server again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def sentence(error: Exception) -> str:
    """What stood in the way, and what to do about it, for a model to read."""
    match error:
        case Unreachable():
            return (
                f"{error.message}. Nothing was leased. Start the server with `leasehold up`, then call "
                "again; `leasehold doctor` finds out what is wrong"
            )
        case LeaseholdError():
            fields = "; ".join(f"{one.field}: {one.expected}" for one in error.details.get("fields") or [])
            later = f"; call again in {error.retry_after_s} s" if error.retry_after_s else ""
            return f"{error.message}{f' ({fields})' if fields else ''}{later}"
        case _:
            return str(error)


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn what a call raises into a tool error that says what to do."""
    try:
        yield
    except (LeaseholdError, Unreachable, BadAddress) as error:
        raise ToolError(sentence(error)) from error
