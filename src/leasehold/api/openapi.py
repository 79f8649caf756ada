"""The OpenAPI 3.1 document, made from the declarations of the routes (OPS-1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from leasehold import __version__
from leasehold.api.endpoint import Endpoint, Plain, Stream
from leasehold.api.errors import TITLES, Misdirected, TooSlow, UnsupportedMedia, row
from leasehold.api.pipeline import IDEMPOTENCY_KEY
from leasehold.model import errors as domain
from leasehold.model.errors import LeaseholdError
from leasehold.wire.problem import MEDIA_TYPE, Problem

TEMPLATE = "#/components/schemas/{name}"

ABOUT = """May this run here, now? Yes (a lease); or no, why, and when.

Errors are problem documents (RFC 9457) with a stable `code`. Every answer carries `X-Request-Id`: 16 hex
digits, those of the request where it brought well-formed ones. Whatever can't be read as HTTP, or has headers
of more than 64 KiB, is answered 400 or 431 and closed; a path that does not exist 404, and a method that it
does not take 405.
"""

LOOPBACK = "http://127.0.0.1:7117"

JSON = dict[str, Any]


def document(endpoints: Sequence[Endpoint]) -> JSON:
    """The whole document; the same for the same declarations, in their order."""
    structs = {struct for endpoint in endpoints for struct in _structs(endpoint)} | {Problem}
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=TEMPLATE)
    paths: dict[str, JSON] = {}
    for endpoint in endpoints:
        item = paths.setdefault(_path(endpoint), {})
        item[endpoint.method.lower()] = _operation(endpoint, components)
    inputs = {
        struct.__name__
        for endpoint in endpoints
        for struct in (endpoint.query, endpoint.path_params)
        if struct
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leasehold",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "http://127.0.0.1:7117", "description": "Loopback; the Unix socket serves the same."}
        ],
        "security": [{"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token made by `leasehold token create`, or that in `admin.token` of "
                    "the data folder. On the Unix socket none is needed: the kernel says who the caller is.",
                }
            },
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in inputs},
        },
    }


def errors_of(endpoint: Endpoint) -> frozenset[type[LeaseholdError]]:
    """Every error of the route: its service's, and those that its declaration implies."""
    found: set[type[LeaseholdError]] = {Misdirected, *endpoint.errors}
    if endpoint.verb is not None:
        found |= {domain.Unauthenticated, domain.NotPermitted}
    if not endpoint.during_recovery:
        found |= {domain.NotReady, domain.StoreUnavailable, domain.Invalid}
    if endpoint.body is not None:
        found |= {domain.Malformed, domain.TooLarge, UnsupportedMedia, TooSlow, domain.Overloaded}
    if endpoint.path_params is not None:
        found.add(domain.NotFound)
    if endpoint.lane is not None:
        found.add(domain.Overloaded)
    return frozenset(found)


def _structs(endpoint: Endpoint) -> Iterable[type[msgspec.Struct]]:
    for struct in (endpoint.body, endpoint.query, endpoint.path_params, endpoint.answer):
        if struct is not None and struct not in (Plain, Stream):
            yield struct


def _path(endpoint: Endpoint) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", endpoint.path)


def _operation(endpoint: Endpoint, components: JSON) -> JSON:
    operation: JSON = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint, components),
        "responses": _responses(endpoint),
    }
    if endpoint.verb is None:
        operation["security"] = []
    else:
        operation["description"] = f"Needs the right `{endpoint.verb}`."
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(endpoint.body)),
            "content": {"application/json": {"schema": _ref(endpoint.body)}},
        }
    return operation


def _parameters(endpoint: Endpoint, components: JSON) -> list[JSON]:
    found = []
    for where, struct in (("path", endpoint.path_params), ("query", endpoint.query)):
        if struct is None:
            continue
        schema = components[struct.__name__]
        for name, inner in schema["properties"].items():
            required = where == "path" or name in schema.get("required", ())
            found.append({"name": name, "in": where, "required": required, "schema": inner})
    if endpoint.idempotent:
        key = {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": IDEMPOTENCY_KEY.pattern.decode(),
        }
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key and body give the same lease, for 24 h.",
                "schema": key,
            }
        )
    return found


def _responses(endpoint: Endpoint) -> JSON:
    responses: JSON = {}
    if endpoint.answer is None:
        responses["204"] = {"description": "Done.", "headers": _headers(204)}
    else:
        schema = {"type": "string"} if endpoint.answer in (Plain, Stream) else _ref(endpoint.answer)
        media = endpoint.media_type.partition(";")[0]
        responses["200"] = {
            "description": (endpoint.answer.__doc__ or "").partition("\n")[0] or "Done.",
            "headers": _headers(200),
            "content": {media: {"schema": schema}},
        }
    by_status: dict[int, set[str]] = {}
    for error in errors_of(endpoint):
        by_status.setdefault(row(error).http, set()).add(error.code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": f"{TITLES[status]}: {', '.join(sorted(codes))}",
            "headers": _headers(status),
            "content": {MEDIA_TYPE: {"schema": _ref(Problem)}},
        }
    return responses


def _headers(status: int) -> JSON:
    headers: JSON = {
        "X-Request-Id": {"required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}
    }
    if status in (429, 503):
        headers["Retry-After"] = {"required": True, "schema": {"type": "integer", "minimum": 1}}
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    return headers


def _ref(struct: type[msgspec.Struct]) -> JSON:
    return {"$ref": TEMPLATE.format(name=struct.__name__)}
