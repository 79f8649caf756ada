"""The asynchronous client, for programs: the same calls over httpx, many at a time on one pool of
connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

import httpx

from leasehold.client.calls import A, B, Call, Values
from leasehold.client.endpoint import Endpoint
from leasehold.client.errors import error_of
from leasehold.client.lean import Answer, Unreachable, tls_context
from leasehold.client.sync import NONE, TIMEOUT_S

CONNECTIONS_MAX = 100


class AsyncClient:
    """Sends the calls of `calls` to one server. Close it, or use it as a context manager."""

    def __init__(self, endpoint: Endpoint, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self.endpoint = endpoint
        headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
        limits = httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=endpoint.socket_path or None,
                limits=limits,
                # Without TLS nothing is verified, and the system's certificates take 20 ms to load.
                verify=tls_context(endpoint) if endpoint.tls else False,
            ),
            base_url="http://leasehold" if endpoint.socket_path else str(endpoint),
            headers=headers,
            trust_env=False,
        )

    async def send(
        self,
        call: Call[B, A],
        body: B | None = None,
        *,
        path: Values = NONE,
        query: Values = NONE,
        timeout_s: float = TIMEOUT_S,
        idempotency_key: str = "",
    ) -> A:
        """Make one call. Raises the errors of `model.errors`, and Unreachable where no answer came."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = await self.exchange(
            call.method, call.url(path, query), call.encode(body), timeout_s=timeout_s, headers=headers
        )
        return call.decode(answer.status, answer.body)

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout_s: float,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """Send one call and return its answer, whatever its status. Raises Unreachable."""
        sent = dict(headers)
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            answer = await self._http.request(method, path, content=body, headers=sent, timeout=timeout_s)
        except httpx.TimeoutException as error:
            raise Unreachable(f"the server at {self.endpoint} does not answer", hangs=True) from error
        except httpx.TransportError as error:
            raise Unreachable(f"no server answers at {self.endpoint} ({error})") from error
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    async def pieces(self, method: str, path: str, *, silence_s: float) -> AsyncIterator[str]:
        """The text of an answer that goes on, piece by piece as it comes.

        Raises the errors of `model.errors`, and httpx.TransportError where the connection breaks or is silent
        for `silence_s`.
        """
        patience = httpx.Timeout(TIMEOUT_S, read=silence_s)
        async with self._http.stream(method, path, timeout=patience) as answer:
            if answer.status_code >= 400:
                raise error_of(answer.status_code, await answer.aread())
            async for text in answer.aiter_text():
                yield text

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
