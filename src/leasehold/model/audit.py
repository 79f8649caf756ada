"""Records of calls: who did or tried what, from where, and what came of it (OPS-7)."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["done", "denied", "failed", "lost"]

DENIED = frozenset({401, 403, 421})
"""Answers that say no to whoever asked: no credential, no right, or a host that is not this one."""

NOBODY = "nobody"
"""Who calls without a credential that is good."""


class Called(msgspec.Struct, frozen=True):
    """One call, or, where it is `folded`, all alike of one hour with the last one's figures.

    `who` is the principal's name. `credential` is its kind (`token`, `admin token`, `session`, `socket`,
    `sign-in link`, `none`), `credential_id` its public id, `note` why it was not taken. `listener` is where
    the call came in, `address` from where: an address without its port, or `unix uid=…`, with the `pid` of
    the last. `what` is method and template of the route, `ids` are those in the path and of what was made.
    `code` is that of an error. `seq` grows with every change of the audit; 0 until it is stored. Times are
    wall ms.
    """

    who: str
    what: str
    status: int
    first_wall_ms: int
    last_wall_ms: int
    credential: str = "none"
    credential_id: str = ""
    note: str = ""
    listener: str = ""
    address: str = ""
    pid: int = 0
    ids: dict[str, str] = {}
    code: str = ""
    request_id: str = ""
    count: int = 1
    folded: bool = False
    seq: int = 0

    @property
    def outcome(self) -> Outcome:
        """What came of it. `lost` stands for records that could not be kept."""
        if self.status == 0:
            return "lost"
        if self.status in DENIED:
            return "denied"
        return "done" if self.status < 400 else "failed"

    @property
    def alike(self) -> tuple[str, ...]:
        """What calls that fold into one have in common."""
        return (
            self.who,
            self.credential,
            self.credential_id,
            self.note,
            self.listener,
            self.address,
            self.what,
            str(self.status),
            self.code,
        )


class Wanted(msgspec.Struct, frozen=True):
    """Which records are asked for: those numbered above `after`, oldest first, or else the newest below
    `before`, in the same order. `who` is a principal, the name of a user or token, or the id of a credential.
    """

    after: int | None = None
    before: int | None = None
    limit: int = 100
    who: str | None = None
    outcome: Outcome | None = None
    since_wall_ms: int = 0
