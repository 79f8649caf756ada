"""Problem documents turned back into the errors they were made from."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.model import errors as domain
from leasehold.model.errors import LeaseholdError
from leasehold.wire.problem import Problem

BY_STATUS: dict[int, type[LeaseholdError]] = {
    400: domain.Malformed,
    401: domain.Unauthenticated,
    403: domain.NotPermitted,
    404: domain.NotFound,
    409: domain.Conflict,
    410: domain.LeaseEnded,
    413: domain.TooLarge,
    422: domain.Invalid,
    429: domain.RateLimited,
    503: domain.Unavailable,
}
"""For codes that this version does not know, and answers that are no problem document."""


def _classes(base: type[LeaseholdError] = LeaseholdError) -> Iterator[type[LeaseholdError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


BY_CODE = {kind.code: kind for kind in _classes()}


def error_of(status: int, body: bytes) -> LeaseholdError:
    """The error that an answer of status 400 or more stands for.

    Its details have `status`, `request_id`, `reasons` and `fields` of the document, and what the server put
    there.
    """
    fallback = BY_STATUS.get(status, LeaseholdError)
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return fallback(f"the server answered {status} without saying why", status=status)
    details = problem.details | {
        "status": status,
        "code": problem.code,
        "request_id": problem.request_id,
        "reasons": problem.reasons,
        "fields": problem.fields,
        "ticket": problem.ticket,
    }
    kind = BY_CODE.get(problem.code, fallback)
    return kind(problem.detail, retry_after_s=problem.retry_after_sec, **details)
