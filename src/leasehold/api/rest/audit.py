"""`/api/audit`: who changed or tried what, from where, and what came of it (OPS-7)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.wire.audit import AuditPage
from leasehold.wire.duration import Duration, duration_s

table = Table("audit")

Number = Annotated[int, Meta(ge=0, lt=2**53)]


class AuditFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after` is the `next` of the page before; without it the newest come, below `before` where it is given.

    `who` is a principal, the name of a user or token, or the id of a token, session or link. `range` is how
    far back.
    """

    after: Number | None = None
    before: Number | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    who: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    outcome: Literal["done", "denied", "failed", "lost"] | None = None
    range: Duration | None = None

    @property
    def range_sec(self) -> int | None:
        return None if self.range is None else duration_s(self.range)


@table.endpoint("GET", "/api/audit", verb="audit:read", query=AuditFilter, answer=AuditPage)
async def list_audit(call: Call[None, AuditFilter, Nothing]) -> AuditPage:
    """Changing and denied calls: the newest, or those after a number; always oldest first."""
    asked = call.query
    return await call.services.audit.page(
        after=asked.after,
        before=asked.before,
        limit=asked.limit,
        who=asked.who,
        outcome=asked.outcome,
        range_sec=asked.range_sec,
    )
