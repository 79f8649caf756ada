"""The one table of errors: what each class means on every transport and to the shell (OPS-2, OPS-30).

`docs/reference/errors.md` is generated from it. A class that is missing here is caught by a test, and would
be answered as its nearest base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from leasehold.model import errors as domain
from leasehold.model.errors import LeaseholdError
from leasehold.model.refusal import Reason
from leasehold.wire.lease import ReasonOut
from leasehold.wire.problem import FieldProblem, Problem


class MethodNotAllowed(LeaseholdError):
    """The path exists, but not with this method; `Allow` lists those that do."""

    code = "METHOD_NOT_ALLOWED"


class UnsupportedMedia(LeaseholdError):
    """A body that is not declared as plain JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class Misdirected(LeaseholdError):
    """A Host header that does not name this server: a browser was led here (DNS rebinding)."""

    code = "MISDIRECTED"


class TooSlow(LeaseholdError):
    """The body did not arrive in time."""

    code = "TOO_SLOW"


class HeadersTooLarge(LeaseholdError):
    """The request line and headers are above their limit."""

    code = "HEADERS_TOO_LARGE"


class Row(msgspec.Struct, frozen=True):
    """One error everywhere: HTTP status, gRPC status name, WebSocket close code, exit code of the CLI."""

    http: int
    grpc: str
    websocket: int
    exit: int


TABLE: Mapping[type[LeaseholdError], Row] = {
    LeaseholdError: Row(500, "INTERNAL", 1011, 70),
    domain.Malformed: Row(400, "INVALID_ARGUMENT", 1007, 70),
    domain.Unauthenticated: Row(401, "UNAUTHENTICATED", 4401, 77),
    domain.NotPermitted: Row(403, "PERMISSION_DENIED", 4403, 77),
    domain.NotFound: Row(404, "NOT_FOUND", 4404, 66),
    MethodNotAllowed: Row(405, "UNIMPLEMENTED", 4405, 70),
    TooSlow: Row(408, "DEADLINE_EXCEEDED", 4408, 69),
    domain.Conflict: Row(409, "FAILED_PRECONDITION", 4409, 73),
    domain.StaleToken: Row(409, "FAILED_PRECONDITION", 4409, 76),
    domain.IdempotencyBusy: Row(409, "ABORTED", 4409, 73),
    domain.LeaseEnded: Row(410, "FAILED_PRECONDITION", 4410, 76),
    domain.TooLarge: Row(413, "RESOURCE_EXHAUSTED", 1009, 64),
    UnsupportedMedia: Row(415, "INVALID_ARGUMENT", 1003, 70),
    Misdirected: Row(421, "UNIMPLEMENTED", 4421, 69),
    domain.Invalid: Row(422, "INVALID_ARGUMENT", 4422, 64),
    domain.IdempotencyMismatch: Row(422, "INVALID_ARGUMENT", 4422, 73),
    domain.NeverFits: Row(422, "OUT_OF_RANGE", 4422, 1),
    domain.QueueFull: Row(429, "RESOURCE_EXHAUSTED", 4429, 75),
    domain.QuotaReached: Row(429, "RESOURCE_EXHAUSTED", 4429, 75),
    domain.RateLimited: Row(429, "RESOURCE_EXHAUSTED", 4429, 75),
    HeadersTooLarge: Row(431, "RESOURCE_EXHAUSTED", 1009, 70),
    domain.InvariantBroken: Row(500, "INTERNAL", 1011, 70),
    domain.Unavailable: Row(503, "UNAVAILABLE", 1013, 69),
    domain.StoreUnavailable: Row(503, "UNAVAILABLE", 1013, 69),
    domain.OutcomeUnknown: Row(503, "UNKNOWN", 1013, 69),
    domain.NotLeader: Row(503, "UNAVAILABLE", 1013, 69),
    domain.Overloaded: Row(503, "RESOURCE_EXHAUSTED", 1013, 69),
    domain.NotReady: Row(503, "UNAVAILABLE", 1013, 69),
}

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Phrases of RFC 9110; those of the standard library change from version to version."""

RETRY_AFTER_S = {429: 2, 503: 1}
"""What is told when an error that may be tried again names no time of its own."""


def all_errors(base: type[LeaseholdError] = LeaseholdError) -> Iterator[type[LeaseholdError]]:
    """The base and every class below it."""
    yield base
    for child in base.__subclasses__():
        yield from all_errors(child)


def row(kind: type[LeaseholdError]) -> Row:
    """The row of an error class, or that of its nearest base that has one."""
    return next(TABLE[base] for base in kind.__mro__ if base in TABLE)


def problem(error: LeaseholdError, request_id: str) -> Problem:
    """Put an error into its problem document. What is left of its details goes along as data."""
    status = row(type(error)).http
    details = dict(error.details)
    fields = _fields(details)
    reasons = [_reason(reason) for reason in details.pop("reasons", ())]
    denied = isinstance(error, domain.RateLimited)
    return Problem(
        title=TITLES[status],
        status=status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
        reasons=reasons,
        fields=fields,
        retry_after_sec=error.retry_after_s or RETRY_AFTER_S.get(status),
        approved=False if denied else None,
        ticket=details.pop("ticket", None) if denied else None,
        details=details,
    )


def _fields(details: dict[str, Any]) -> list[FieldProblem]:
    """Take one `field` with what was `expected`, and any list of `fields`, out of the details."""
    given: Iterable[tuple[str, str]] = details.pop("fields", ())
    problems = [FieldProblem(field, expected) for field, expected in given]
    if "field" in details:
        problems.insert(0, FieldProblem(details.pop("field"), details.pop("expected", "")))
    return problems


def _reason(reason: Reason | ReasonOut) -> ReasonOut:
    if isinstance(reason, ReasonOut):
        return reason
    return ReasonOut(
        code=reason.code.value,
        sentence=reason.sentence,
        cure=reason.cure,
        figures=reason.figures,
        retry_after_sec=reason.retry_after_s,
    )
