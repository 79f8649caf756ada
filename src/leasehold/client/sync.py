"""The blocking client: one connection, one call at a time. What the command line stands on."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from leasehold.client.calls import A, B, Call, Values
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Connection, Unreachable

NONE: Values = {}
TIMEOUT_S = 10.0


class Client:
    """Sends the calls of `calls` to one server. Not for use by two threads at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = Connection(endpoint)

    @classmethod
    def first_of(cls, endpoints: Iterable[Endpoint]) -> Client:
        """A client of the first place where somebody listens. Raises Unreachable with what stood against the
        first.
        """
        problem: Unreachable | None = None
        for endpoint in endpoints:
            client = cls(endpoint)
            try:
                client._connection.open(TIMEOUT_S)
            except Unreachable as error:
                problem = problem or error
                continue
            return client
        raise problem or Unreachable("no server is set up here; `leasehold up` starts one")

    def send(
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
        answer = self._connection.call(
            call.method, call.url(path, query), call.encode(body), timeout_s=timeout_s, headers=headers
        )
        return call.decode(answer.status, answer.body)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
