"""The one shape of errors: RFC 9457 problem documents (OPS-2)."""

from __future__ import annotations

from typing import Any

import msgspec

from leasehold.wire.lease import ReasonOut

MEDIA_TYPE = "application/problem+json"


class FieldProblem(msgspec.Struct, omit_defaults=True):
    """What was wrong with one field, never its value.

    `field` is a JSON path like `$.resources.memory_bytes`.
    """

    field: str
    expected: str


class Problem(msgspec.Struct, omit_defaults=True):
    """`type` is `about:blank`; `title` is the status phrase; `detail` says which object and the next step.

    A 429 of a lease request also has the members of a denial (LEASE-4).
    """

    title: str
    status: int
    detail: str
    code: str
    request_id: str
    type: str = "about:blank"
    reasons: list[ReasonOut] = []
    fields: list[FieldProblem] = []
    retry_after_sec: int | None = None
    approved: bool | None = None
    ticket: str | None = None
    details: dict[str, Any] = {}
