"""The ASGI application: hot routes from a dictionary, the others by FastAPI, one pipeline behind both."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from leasehold.api.audit import CODE
from leasehold.api.body import ClientGone
from leasehold.api.endpoint import Endpoint
from leasehold.api.errors import Misdirected
from leasehold.api.hosts import check_host
from leasehold.api.pipeline import EXCHANGE, REQUEST_ID, Answer, Pipeline, Prepared, Scope, refusal
from leasehold.api.streaming import stream
from leasehold.model.errors import NotReady
from leasehold.runtime import context
from leasehold.runtime.request_stats import ROUTE, STATUS

REQUEST_ID_SHAPE = re.compile(rb"^[0-9a-f]{16}$")

ANY_ROUTE = "any route"
"""What a call to another host's name asked for: it is refused before its path is looked at."""

Send = Callable[[Any], Awaitable[None]]


class HotRoutes:
    """Paths without a parameter, or with one as the last segment or before it, found by dictionary."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._exact: dict[tuple[str, str], Prepared] = {}
        self._with_id: dict[tuple[str, str, str], tuple[Prepared, str]] = {}
        self._last: dict[tuple[str, str], tuple[Prepared, str]] = {}
        for endpoint in endpoints:
            self._add(endpoint)

    def _add(self, endpoint: Endpoint) -> None:
        prepared = Prepared(endpoint)
        if "{" not in endpoint.path:
            self._exact[endpoint.method, endpoint.path] = prepared
            return
        head, _, last = endpoint.path.rpartition("/")
        if re.fullmatch(r"\{\w+\}", last):
            self._last[endpoint.method, head] = (prepared, last[1:-1])
            return
        prefix, _, parameter = head.rpartition("/")
        assert re.fullmatch(r"\{\w+\}", parameter), f"{endpoint.path} can't be hot: not prefix/{{id}}/verb"
        self._with_id[endpoint.method, prefix, last] = (prepared, parameter[1:-1])

    def find(self, method: str, path: str) -> tuple[Prepared | None, dict[str, str]]:
        """The route and its path parameters, or None."""
        prepared = self._exact.get((method, path))
        if prepared is not None:
            return prepared, {}
        head, _, last = path.rpartition("/")
        prefix, _, ident = head.rpartition("/")
        found = self._with_id.get((method, prefix, last))
        if found is not None and ident:
            return found[0], {found[1]: ident}
        found = self._last.get((method, head))
        return (found[0], {found[1]: last}) if found is not None and last else (None, {})


class App:
    """The application. `new_request_id` makes ids for requests that bring none.

    The framework takes half of the time that a start takes, and the first answers do not need it: `prepare`
    brings it in, and until then only hot routes are served.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], pipeline: Pipeline, new_request_id: Callable[[], str]
    ) -> None:
        self.pipeline = pipeline
        self._hot = HotRoutes(endpoint for endpoint in endpoints if endpoint.hot)
        self._cold: Any = None
        self._endpoints = endpoints
        self._new_request_id = new_request_id

    def prepare(self) -> None:
        """Bring in the framework, with all routes. May run in a thread."""
        from leasehold.api.framework import framework

        self._cold = framework(self._endpoints, self.pipeline)

    def hot(self, path: str) -> tuple[Prepared | None, dict[str, str]]:
        """The hot POST route of a path, with its parameters."""
        return self._hot.find("POST", path)

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is not None and REQUEST_ID_SHAPE.match(given):
            request_id = given.decode("ascii")
        else:
            request_id = self._new_request_id()
        context.begin(request_id=request_id)
        try:
            check_host(scope.get("extensions"), headers)
        except Misdirected as error:
            answer = refusal(error, request_id)
            scope[CODE] = error.code
            self.pipeline.audit.denied(ANY_ROUTE, scope, headers, {}, answer.status, request_id)
            await _send(scope, send, answer)
            return
        prepared, path = self._hot.find(scope["method"], scope["path"])
        if prepared is None:
            if self._cold is None:
                await _send(scope, send, refusal(NotReady(self.pipeline.not_ready), request_id))
                return
            scope[REQUEST_ID] = request_id
            await self._cold(scope, receive, send)
            return
        scope[ROUTE] = prepared.endpoint.path
        try:
            answer = await self.pipeline.answer(prepared, scope, headers, receive, path, request_id)
        except ClientGone:
            return
        if answer.chunks is not None:
            await stream(scope, receive, send, answer)
        else:
            await _send(scope, send, answer)


async def _send(scope: Scope, send: Send, answer: Answer) -> None:
    headers = answer.headers
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    exchange = scope.get(EXCHANGE)
    if exchange is not None and exchange.answer(answer):
        scope[STATUS] = answer.status
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
