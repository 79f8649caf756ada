"""The decisions about tokens: make, revoke, note their use, forget the expired (OPS-5)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from leasehold.core import waiter as waiting
from leasehold.core.state import REVOKED, TOKENS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Overloaded
from leasehold.model.event import Event
from leasehold.model.line import Waiter
from leasehold.model.token import Revoked, Token

TOKENS_MAX = 10_000
"""Of one server; each is looked up by its digest, and listed in one answer."""

EXPIRED_KEPT_MS = 30 * 86_400_000
"""How long the list still shows a token that has expired, so that its end is no riddle."""

REVOKED_MAX = 1_000
REVOKED_KEPT_MS = 90 * 86_400_000
"""How many revoked tokens, and for how long, are still known by name when somebody shows one (OPS-7)."""

AT_ONCE_MAX = 500
"""Records that one tidying changes."""


def create(state: State, token: Token, stamp: Stamp) -> Outcome:
    """A new token. Raises Overloaded where there are TOKENS_MAX, Conflict for a secret that is known."""
    if len(state.tokens) >= TOKENS_MAX:
        raise Overloaded(f"there are {TOKENS_MAX} tokens; revoke some first")
    if token.token_id in state.tokens or token.digest in state.token_ids:
        raise Conflict("this token exists already; try again")
    outcome = Outcome(token)
    outcome.changes.append(Change(TOKENS, token.token_id, token))
    outcome.events.append(_event("TokenCreated", token, stamp, token.created_by))
    return outcome


def revoke(state: State, token: Token, stamp: Stamp, by: str) -> Outcome:
    """Forget a token for good. Its places in line go; its leases stay until their time is up.

    Nobody can renew them: they belong to its principal, which nobody is any more.
    """
    outcome = Outcome(token)
    outcome.changes.append(Change(TOKENS, token.token_id, None))
    if len(state.revoked) >= REVOKED_MAX:
        oldest = min(state.revoked.values(), key=lambda one: (one.wall_ms, one.token_id))
        outcome.changes.append(Change(REVOKED, oldest.token_id, None))
    gone = Revoked(token.token_id, token.digest, stamp.wall_ms)
    outcome.changes.append(Change(REVOKED, token.token_id, gone))
    for waiter in _waiting(state, token):
        waiting.leave(waiter, outcome)
    outcome.events.append(_event("TokenRevoked", token, stamp, by))
    return outcome


def _waiting(state: State, token: Token) -> list[Waiter]:
    return [one for one in state.waiters.values() if one.ask.principal == token.principal_name]


def used(state: State, used_wall_ms: Mapping[str, int]) -> Outcome:
    """Write down when tokens were last used: at most AT_ONCE_MAX of those that still exist."""
    outcome = Outcome()
    for token_id in sorted(used_wall_ms)[:AT_ONCE_MAX]:
        token = state.tokens.get(token_id)
        if token is not None and token.used_wall_ms < used_wall_ms[token_id]:
            outcome.changes.append(
                Change(TOKENS, token_id, replace(token, used_wall_ms=used_wall_ms[token_id]))
            )
    return outcome


def stale(state: State, stamp: Stamp) -> Outcome:
    """Forget tokens that expired more than EXPIRED_KEPT_MS ago, and revoked ones after REVOKED_KEPT_MS."""
    outcome = Outcome()
    before_ms = stamp.wall_ms - EXPIRED_KEPT_MS
    old = sorted(key for key, token in state.tokens.items() if token.has_expired(before_ms))
    outcome.changes.extend(Change(TOKENS, key, None) for key in old[:AT_ONCE_MAX])
    until_ms = stamp.wall_ms - REVOKED_KEPT_MS
    gone = sorted(key for key, one in state.revoked.items() if one.wall_ms <= until_ms)
    outcome.changes.extend(Change(REVOKED, key, None) for key in gone[:AT_ONCE_MAX])
    return outcome


def _event(kind: str, token: Token, stamp: Stamp, actor: str) -> Event:
    details: dict[str, object] = {
        "name": token.name,
        "role": token.role,
        "holder": token.holder,
        "tenant": token.tenant,
    }
    if kind == "TokenCreated":
        details["expires_wall_ms"] = token.expires_wall_ms
    return Event(kind, token.token_id, stamp.wall_ms, actor, details=details)
