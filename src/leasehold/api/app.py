"""The ASGI application: hot routes from a dictionary, the others by FastAPI, one pipeline behind both."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leasehold.api.body import ClientGone
from leasehold.api.endpoint import Endpoint
from leasehold.api.errors import MethodNotAllowed, Misdirected
from leasehold.api.hosts import check_host
from leasehold.api.middleware_stats import ROUTE, STATUS
from leasehold.api.pipeline import EXCHANGE, Answer, Pipeline, Prepared, Scope, internal, refusal
from leasehold.model.errors import NotFound
from leasehold.runtime import context

REQUEST_ID = re.compile(rb"^[0-9a-f]{16}$")

Send = Callable[[Any], Awaitable[None]]


class HotRoutes:
    """Paths without a parameter, or with one before the last segment, found by dictionary."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._exact: dict[tuple[str, str], Prepared] = {}
        self._with_id: dict[tuple[str, str, str], tuple[Prepared, str]] = {}
        for endpoint in endpoints:
            self._add(endpoint)

    def _add(self, endpoint: Endpoint) -> None:
        prepared = Prepared(endpoint)
        if "{" not in endpoint.path:
            self._exact[endpoint.method, endpoint.path] = prepared
            return
        head, _, last = endpoint.path.rpartition("/")
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
        if found is None or not ident:
            return None, {}
        return found[0], {found[1]: ident}


class App:
    """The application. `new_request_id` makes ids for requests that bring none."""

    def __init__(
        self, endpoints: Sequence[Endpoint], pipeline: Pipeline, new_request_id: Callable[[], str]
    ) -> None:
        self.pipeline = pipeline
        self._hot = HotRoutes(endpoint for endpoint in endpoints if endpoint.hot)
        self._cold = _framework(endpoints, pipeline)
        self._new_request_id = new_request_id

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is not None and REQUEST_ID.match(given):
            request_id = given.decode("ascii")
        else:
            request_id = self._new_request_id()
        context.begin(request_id=request_id)
        try:
            check_host(scope.get("extensions"), headers)
        except Misdirected as error:
            await _send(scope, send, refusal(error, request_id))
            return
        prepared, path = self._hot.find(scope["method"], scope["path"])
        if prepared is None:
            scope["leasehold.request_id"] = request_id
            await self._cold(scope, receive, send)
            return
        scope[ROUTE] = prepared.endpoint.path
        try:
            answer = await self.pipeline.answer(prepared, scope, headers, receive, path, request_id)
        except ClientGone:
            return
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


def _framework(endpoints: Sequence[Endpoint], pipeline: Pipeline) -> FastAPI:
    """All routes in FastAPI. Hot ones stand here too, so that a wrong method on them is told as such."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for endpoint in endpoints:
        app.add_api_route(
            endpoint.path,
            _route(Prepared(endpoint), pipeline),
            methods=[endpoint.method],
            name=endpoint.name,
            response_model=None,
        )
    methods = _methods_by_path(app)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        request_id = request.scope["leasehold.request_id"]
        if error.status_code == 404:
            return _response(
                refusal(NotFound("no such path; docs/reference/openapi.json lists all"), request_id)
            )
        if error.status_code == 405:
            allowed = ", ".join(methods(request.scope))
            answer = refusal(MethodNotAllowed(f"this path takes {allowed}"), request_id)
            answer.headers.append((b"allow", allowed.encode()))
            return _response(answer)
        return _response(refusal(internal(), request_id))

    app.add_exception_handler(HTTPException, on_http_error)
    return app


def _route(prepared: Prepared, pipeline: Pipeline) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        scope = request.scope
        scope[ROUTE] = prepared.endpoint.path
        try:
            answer = await pipeline.answer(
                prepared,
                scope,
                dict(scope["headers"]),
                request.receive,
                scope["path_params"],
                scope["leasehold.request_id"],
            )
        except ClientGone:
            return Response(status_code=499)
        return _response(answer)

    return handle


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    length = [] if answer.status == 204 else [(b"content-length", b"%d" % len(answer.body))]
    response.raw_headers = answer.headers + length
    return response


def _methods_by_path(app: FastAPI) -> Callable[[Scope], list[str]]:
    """All methods of the routes whose path fits, for `Allow`; the framework names those of one route."""

    def methods(scope: Scope) -> list[str]:
        fitting = [route for route in app.routes if isinstance(route, Route)]
        fitting = [route for route in fitting if route.path_regex.match(scope["path"])]
        return sorted({method for route in fitting for method in route.methods or ()})

    return methods
