"""The service of tokens: make, look up, revoke; and end what was open by them at once (OPS-5)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from functools import partial

import structlog

from leasehold.control import views
from leasehold.control.ledger import Ledger
from leasehold.core import token as decisions
from leasehold.core.state import Outcome, Stamp, State
from leasehold.core.tenant import tenant_of
from leasehold.model.errors import (
    Invalid,
    LeaseholdError,
    NotFound,
    NotPermitted,
    OutcomeUnknown,
    StoreUnavailable,
)
from leasehold.model.principal import Principal
from leasehold.model.token import Token
from leasehold.runtime.ids import token_hash
from leasehold.wire import token as wire

log = structlog.get_logger(__name__)

LIFE_MS = 365 * 86_400_000
"""How long a token lives where nobody said."""

WRITE_USED_MS = 600_000
"""How far behind the written time of last use may be: one small write per token and ten minutes at most."""

Roles = Mapping[str, frozenset[str]]


class TokenService:
    """One per server. `roles` are those in force; `new_secret` draws 256 random bits as text.

    `cut` is set by whoever keeps the connections: it is told which tokens are no more, and closes what is
    open by them; `now` is False where its own answer has to go out first.
    """

    def __init__(self, ledger: Ledger, roles: Callable[[], Roles], new_secret: Callable[[], str]) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._roles = roles
        self._new_secret = new_secret
        self._refused: dict[str, str] = {}
        self._used: set[str] = set()
        self._used_wall_ms: dict[str, int] = {}
        self._looked_wall_ms = ledger.clock.wall_ms()
        self.cut: Callable[[Collection[str], bool], None] = lambda token_ids, now: None

    # -- looking up, on the way of every call

    def find(self, digest: bytes) -> Principal | None:
        """Whom a secret with this digest stands for; None where it is unknown, expired or revoked.

        The table is asked by digest, so the time that it takes tells nothing about any secret. Raises
        NotReady while what is durable is not known: a token must not be called unknown then.
        """
        self._ledger.refuse_unknown()
        state = self._ledger.state
        token = state.tokens.get(state.token_ids.get(digest, ""))
        if token is None or token.token_id in self._refused or token.has_expired(self._clock.wall_ms()):
            return None
        return Principal(
            name=token.principal_name,
            role=token.role,
            verbs=self._roles().get(token.role, frozenset()),
            holder=token.holder,
            token_id=token.token_id,
            expires_wall_ms=token.expires_wall_ms,
            tenant=token.tenant,
        )

    def known(self, digest: bytes) -> tuple[str, str]:
        """Of a secret that is not taken: the token's id, and why; nothing of one that never was one."""
        state = self._ledger.state
        if digest in state.revoked_ids:
            return state.revoked_ids[digest], "revoked"
        token_id = state.token_ids.get(digest, "")
        if not token_id:
            return "", ""
        return token_id, "revoked" if token_id in self._refused else "expired"

    def used(self, token_id: str) -> None:
        """Note that a call came with this token: in memory, stamped with the next tick."""
        self._used.add(token_id)

    # -- the calls

    async def create(self, principal: Principal, body: wire.TokenIn) -> wire.TokenMade:
        """A new token, with its secret. Raises Invalid, NotPermitted, Overloaded."""
        self._check_role(principal, body.role)
        wall_ms = self._clock.wall_ms()
        secret = self._new_secret()
        token = Token(
            token_id=self._ledger.ids.new("tok"),
            name=body.name,
            digest=token_hash(secret),
            role=body.role,
            created_wall_ms=wall_ms,
            created_by=principal.name,
            expires_wall_ms=_expiry(principal, body, wall_ms),
            holder=_holder(principal, body),
            tenant=tenant_of(principal, body.tenant, self._ledger.state),
        )
        await self._ledger.execute(lambda state, stamp: decisions.create(state, token, stamp))
        return wire.TokenMade(secret, self._shown(token, wall_ms))

    def _check_role(self, principal: Principal, role: str) -> None:
        """Nobody gives more than they have: not a verb, and (see `_expiry`) not a day."""
        roles = self._roles()
        if role not in roles:
            nearest = difflib.get_close_matches(role, roles, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            expected = f"one of {', '.join(roles)}{hint}"
            raise Invalid(f"role: expected {expected}", field="$.role", expected=expected)
        lacking = sorted(roles[role] - principal.verbs)
        if lacking:
            raise NotPermitted(
                f"{principal.name} can't give the role {role}: it lacks {', '.join(lacking)} itself"
            )

    async def tokens(self, principal: Principal) -> wire.Tokens:
        """All tokens, the newest first, without their secrets."""
        wall_ms = self._clock.wall_ms()
        self._stamp_used(wall_ms)

        def build(state: State) -> wire.Tokens:
            newest = sorted(state.tokens.values(), key=lambda one: (-one.created_wall_ms, one.token_id))
            return wire.Tokens([self._shown(one, wall_ms) for one in newest])

        return await self._ledger.read(build)

    async def revoke(self, principal: Principal, token_id: str) -> None:
        """Forget a token: nothing is taken from it from this moment on, and what is open by it is closed.

        Raises NotFound. While the store takes no writes it is refused all the same, remembered, and
        StoreUnavailable says so.
        """
        token = self._ledger.state.tokens.get(token_id)
        if token is None:
            raise NotFound(f"there is no token {token_id}; see `leasehold token list`", token_id=token_id)
        decide = partial(_revoked, token_id, principal.name)
        self._refused[token_id] = principal.name  # A commit that fails brings the record back.
        self.cut({token_id}, principal.token_id != token_id)
        try:
            await self._ledger.execute(decide)
        except (StoreUnavailable, OutcomeUnknown) as error:
            self._ledger.remember(f"revoke {token_id}", decide)
            raise StoreUnavailable(
                f"{error.message}; the token is refused from now on, and its end will be written first; "
                "until then a restart would bring it back",
                retry_after_s=2,
                remembered=True,
            ) from error
        except LeaseholdError:
            del self._refused[token_id]
            raise
        del self._refused[token_id]

    # -- what time brings

    def tick(self) -> None:
        """Close what is open by tokens that have just expired; stamp those that were used."""
        wall_ms = self._clock.wall_ms()
        if self._used:
            self._stamp_used(wall_ms)
        since_ms, self._looked_wall_ms = self._looked_wall_ms, wall_ms
        if wall_ms == since_ms:
            return
        state = self._ledger.state
        ends = [one for one in state.tokens.values() if since_ms < one.expires_wall_ms <= wall_ms]
        if ends:
            log.info("tokens_expired", ids=[one.token_id for one in ends[:16]], count=len(ends))
            self.cut({one.token_id for one in ends}, True)

    def _stamp_used(self, wall_ms: int) -> None:
        for token_id in self._used:
            self._used_wall_ms[token_id] = wall_ms
        self._used.clear()

    async def write_used(self, *, all_of_them: bool = False) -> None:
        """Write last uses that are WRITE_USED_MS ahead of their records, or all of them."""
        self._stamp_used(self._clock.wall_ms())
        state = self._ledger.state
        self._used_wall_ms = {key: at for key, at in self._used_wall_ms.items() if key in state.tokens}
        behind_ms = 0 if all_of_them else WRITE_USED_MS
        due = {
            key: at
            for key, at in self._used_wall_ms.items()
            if at - state.tokens[key].used_wall_ms > behind_ms
        }
        if due:
            await self._ledger.execute(lambda state, stamp: decisions.used(state, due))

    async def care(self) -> None:
        """Write last uses, what could not be revoked before, and forget what expired long ago."""
        await self.write_used()
        await self._ledger.execute(decisions.stale)
        for token_id, by in list(self._refused.items()):
            await self._ledger.execute(partial(_revoked, token_id, by))
            del self._refused[token_id]

    def _shown(self, token: Token, wall_ms: int) -> wire.TokenOut:
        used_ms = max(token.used_wall_ms, self._used_wall_ms.get(token.token_id, 0))
        return wire.TokenOut(
            token_id=token.token_id,
            name=token.name,
            role=token.role,
            holder=token.holder,
            tenant=token.tenant,
            created_at=views.rfc3339(token.created_wall_ms),
            created_by=token.created_by,
            expires_at=views.rfc3339(token.expires_wall_ms),
            expired=token.has_expired(wall_ms),
            last_used_at=views.rfc3339(used_ms) if used_ms else None,
        )


def _revoked(token_id: str, by: str, state: State, stamp: Stamp) -> Outcome:
    token = state.tokens.get(token_id)
    return Outcome() if token is None else decisions.revoke(state, token, stamp, by)


def _expiry(principal: Principal, body: wire.TokenIn, wall_ms: int) -> int:
    """When the new token ends: never after its maker's own credential. Raises NotPermitted."""
    latest_ms = principal.expires_wall_ms
    if body.ttl_sec is None:
        return min(wall_ms + LIFE_MS, latest_ms or wall_ms + LIFE_MS)
    until_ms = wall_ms + body.ttl_sec * 1000
    if latest_ms and until_ms > latest_ms:
        raise NotPermitted(
            f"ttl_sec: {principal.name} itself ends in {(latest_ms - wall_ms) // 1000} s, and can't give more"
        )
    return until_ms


def _holder(principal: Principal, body: wire.TokenIn) -> str:
    """The name that the new token acts as. Raises NotPermitted."""
    if principal.may("lease:for-others"):
        return body.holder or body.name
    if body.holder not in (None, principal.acts_as):
        raise NotPermitted(
            f"holder: {principal.name} may act as {principal.acts_as} only, and so may its tokens"
        )
    return principal.acts_as
