"""Credentials that people make for programs: named, with a role, ending by themselves (OPS-5)."""

from __future__ import annotations

import msgspec

from leasehold.model.tenant import DEFAULT


class Token(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One token, without its secret: `digest` is the SHA-256 of that.

    `role` is looked up whenever the token is used, so a role that was taken away allows nothing. `holder` is
    the name in which it asks, `tenant` the one that its work counts for. `used_wall_ms` is written seldom;
    the newest figure is in memory.
    """

    token_id: str
    name: str
    digest: bytes
    role: str
    created_wall_ms: int
    created_by: str
    expires_wall_ms: int
    holder: str
    used_wall_ms: int = 0
    tenant: str = DEFAULT

    @property
    def principal_name(self) -> str:
        """Whom its leases belong to. Two tokens of one name are two principals, and none is `token:admin`."""
        return f"token:{self.name}/{self.token_id}"

    def has_expired(self, wall_ms: int) -> bool:
        return self.expires_wall_ms <= wall_ms


class Revoked(msgspec.Struct, frozen=True, gc=False):
    """What is left of a token that was revoked: enough to tell the audit which one somebody still shows."""

    token_id: str
    digest: bytes
    wall_ms: int
