"""`/api/tokens`: credentials for programs: make, list, revoke (OPS-5)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.token import TokenId, TokenIn, TokenMade, Tokens

table = Table("tokens")


class TokenPath(msgspec.Struct, frozen=True):
    token_id: TokenId


@table.endpoint("GET", "/api/tokens", verb="token:list", answer=Tokens)
async def list_tokens(call: Call[None, Nothing, Nothing]) -> Tokens:
    """All tokens with their roles, ends and last uses; never their secrets."""
    return await call.services.tokens.tokens(call.principal)


@table.endpoint(
    "POST",
    "/api/tokens",
    verb="token:create",
    body=TokenIn,
    answer=TokenMade,
    errors=(errors.Conflict, errors.Overloaded, *WRITES),
    lane="normal",
)
async def create_token(call: Call[TokenIn, Nothing, Nothing]) -> TokenMade:
    """Make a token; its secret is in this answer and nowhere else."""
    made = await call.services.tokens.create(call.principal, call.body)
    call.names(token_id=made.about.token_id)
    return made


@table.endpoint(
    "DELETE",
    "/api/tokens/{token_id}",
    verb="token:revoke",
    path_params=TokenPath,
    errors=(errors.NotFound, *WRITES),
    lane="normal",
)
async def revoke_token(call: Call[None, Nothing, TokenPath]) -> None:
    """Revoke a token: its open connections end at once, held calls too; its leases live out their time."""
    await call.services.tokens.revoke(call.principal, call.path.token_id)
