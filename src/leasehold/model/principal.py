"""Who asks, and what they may do (OPS-5, OPS-6)."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller.

    `name` is unique and stable (`user:1000`, `token:admin`); what it holds is charged to `holder`, "" for
    itself. `pid` and `uid` are those of the peer on the Unix socket, else None. `local` is true there: local
    users are exempt from the request bucket (LEASE-4). `token_id` and `expires_wall_ms` are those of the
    token that it showed, "" and 0 for one without an end. `session` is the id of the browser's session, ""
    for every other credential.
    """

    name: str
    role: str
    verbs: frozenset[str]
    local: bool = False
    pid: int | None = None
    uid: int | None = None
    holder: str = ""
    token_id: str = ""
    expires_wall_ms: int = 0
    session: str = ""

    @property
    def acts_as(self) -> str:
        """The name that its leases and waiting are charged to."""
        return self.holder or self.name

    def may(self, verb: str) -> bool:
        return verb in self.verbs


SYSTEM = Principal(name="system", role="system", verbs=frozenset())
