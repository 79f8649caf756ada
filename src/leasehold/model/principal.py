"""Who asks, and what they may do (OPS-5, OPS-6)."""

from __future__ import annotations

import msgspec

from leasehold.model.tenant import DEFAULT


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller.

    `name` is unique and stable (`user:1000`, `token:admin`); what it holds is charged to `holder`, "" for
    itself. `pid` and `uid` are those of the peer on the Unix socket, else None. `local` is true there: local
    users are exempt from the request bucket (LEASE-4). `token_id` and `expires_wall_ms` are those of the
    token that it showed, "" and 0 for one without an end. `session` is the id of the browser's session, ""
    for every other credential. `tenant` is whose quotas its leases and jobs count for.
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
    tenant: str = DEFAULT

    @property
    def acts_as(self) -> str:
        """The name that its leases and waiting are charged to."""
        return self.holder or self.name

    def may(self, verb: str) -> bool:
        return verb in self.verbs


class Shown(msgspec.Struct, frozen=True):
    """What a caller showed of itself, for the audit: never a secret (OPS-7).

    `who` is the principal's name, `nobody` where the credential was not good; `note` then says why. `kind`
    and `ident` are those of the credential: `token` and its id, `session` and its id, `socket`, `none`.
    """

    who: str
    kind: str = "none"
    ident: str = ""
    note: str = ""


SYSTEM = Principal(name="system", role="system", verbs=frozenset())
