"""All routes in FastAPI, each leading to the one pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leasehold.api.body import ClientGone
from leasehold.api.endpoint import Endpoint
from leasehold.api.errors import MethodNotAllowed
from leasehold.api.pipeline import REQUEST_ID, Answer, Pipeline, Prepared, Scope, internal, refusal
from leasehold.model.errors import NotFound
from leasehold.runtime.request_stats import ROUTE


def framework(endpoints: Sequence[Endpoint], pipeline: Pipeline) -> FastAPI:
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
        request_id = request.scope[REQUEST_ID]
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
        headers, path, request_id = dict(scope["headers"]), scope["path_params"], scope[REQUEST_ID]
        answer_to = pipeline.change if prepared.endpoint.audited else pipeline.answer
        try:
            answer = await answer_to(prepared, scope, headers, request.receive, path, request_id)
        except ClientGone:
            return Response(status_code=499)
        return _response(answer)

    return handle


def _response(answer: Answer) -> Response:
    assert answer.chunks is None, "a streamed route is hot, so it never comes here"
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
