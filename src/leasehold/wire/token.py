"""Messages of `/api/tokens` (OPS-5)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input, Name
from leasehold.wire.tenant import TenantName

TokenName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
TokenId = Annotated[str, Meta(min_length=1, max_length=64)]
RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
LifeSeconds = Annotated[int, Meta(ge=1, le=3_650 * 86_400)]


class TokenIn(Input, frozen=True):
    """`POST /api/tokens`: a new token, which never allows more than its maker's credential.

    `ttl_sec`: a year where it is left out, less where the maker's own credential ends before. `holder` is the
    name that it acts as: its own name where it is left out, or its maker where that one may not act for
    others. `tenant` is the one that its work counts for: its maker's where it is left out.
    """

    name: TokenName
    role: RoleName
    ttl_sec: LifeSeconds | None = None
    holder: Name | None = None
    tenant: TenantName | None = None


class TokenOut(msgspec.Struct, omit_defaults=True):
    """A token without its secret. `last_used_at` is exact to a few seconds."""

    token_id: str
    name: str
    role: str
    holder: str
    created_at: str
    created_by: str
    expires_at: str
    expired: bool = False
    last_used_at: str | None = None
    tenant: str = "default"


class TokenMade(msgspec.Struct):
    """A token that has just been made. `token` is the secret: it is shown here once, and kept nowhere."""

    token: str
    about: TokenOut


class Tokens(msgspec.Struct):
    """All tokens, the newest first."""

    tokens: list[TokenOut]
