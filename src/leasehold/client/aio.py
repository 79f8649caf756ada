"""The asynchronous client, for programs: the same calls over httpx, many at a time on one pool of
connections.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from leasehold.client.calls import A, B, Call, Values
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Unreachable, tls_context
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
                verify=tls_context(endpoint) if endpoint.tls else True,
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
        content = call.encode(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        try:
            answer = await self._http.request(
                call.method, call.url(path, query), content=content, headers=headers, timeout=timeout_s
            )
        except httpx.TimeoutException as error:
            raise Unreachable(f"the server at {self.endpoint} does not answer", hangs=True) from error
        except httpx.TransportError as error:
            raise Unreachable(f"no server answers at {self.endpoint} ({error})") from error
        return call.decode(answer.status_code, answer.content)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
