"""Messages of the audit (OPS-7)."""

from __future__ import annotations

from typing import Literal

import msgspec


class CalledOut(msgspec.Struct, omit_defaults=True):
    """One call, or `count` alike since `first_at`, with the figures of the last one at `at`.

    `who` is the principal, `nobody` where no credential was good; `credential` is the kind of what was shown
    (`token`, `admin token`, `session`, `socket`, `sign-in link`, `none`), with its public id, and in `note`
    why it was not taken. `from` is an address without port, or `unix uid=… pid=…`; `listener` is `tcp`,
    `tls`, or the file of a Unix socket. `what` is a method and the template of a route, `ids` what is in the
    path and what was made. A `lost` one tells how many records could not be kept.
    """

    seq: int
    at: str
    who: str
    what: str
    outcome: Literal["done", "denied", "failed", "lost"]
    status: int
    count: int
    credential: str = "none"
    credential_id: str = ""
    note: str = ""
    listener: str = ""
    origin: str = msgspec.field(name="from", default="")
    ids: dict[str, str] = {}
    code: str = ""
    request_id: str = ""
    first_at: str | None = None


class AuditPage(msgspec.Struct, omit_defaults=True):
    """`GET /api/audit`, oldest first.

    `next` is the `after` of the page that follows, where `after` was given. `notice` says when records can't
    be written.
    """

    calls: list[CalledOut]
    next: str | None = None
    notice: str = ""
