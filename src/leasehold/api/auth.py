"""Who is asking: a bearer token, a browser's session, or the Unix socket's peer credentials (OPS-4, 5, 9).

A token, where one is shown, decides alone, on the socket too: a wrong one is refused there rather than
ignored, so that nobody works with other rights than they think.
"""

from __future__ import annotations

import hmac
import pwd
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from leasehold.api.roles import LOCAL, ROLES, Rights
from leasehold.model.audit import NOBODY
from leasehold.model.errors import LeaseholdError, NotPermitted, NotReady, Unauthenticated
from leasehold.model.principal import Principal, Shown
from leasehold.runtime.ids import token_hash

PEER = "leasehold.peer"
"""Where the server leaves the peer's credentials, in the `extensions` of the ASGI scope."""

CREDENTIALS = "leasehold.credentials"
"""Where the server leaves the set of tokens that this connection has used, to be added to."""

NAMES_MAX = 4_096
"""User names kept; when there are more, all are looked up again."""

BySession = Callable[[Mapping[str, Any], Mapping[bytes, bytes]], Principal | None]
SessionOf = Callable[[Mapping[bytes, bytes]], str | None]

ADMIN = Principal(name="token:admin", role="admin", verbs=ROLES["admin"])


class Peer(msgspec.Struct, frozen=True):
    """What the kernel says of the process that connected to a Unix socket."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Tokens(Protocol):
    """Whom the tokens that people made stand for. `control.token` keeps them."""

    def find(self, digest: bytes) -> Principal | None:
        """None where it is unknown, expired or revoked. Raises NotReady where that is not known yet."""
        ...

    def used(self, token_id: str) -> None:
        """A call has come with it."""
        ...

    def known(self, digest: bytes) -> tuple[str, str]:
        """Of one that `find` does not take: its id, and whether it expired or was revoked; else nothing."""
        ...


class _NoTokens:
    def find(self, digest: bytes) -> Principal | None:
        return None

    def used(self, token_id: str) -> None:
        """There are none."""

    def known(self, digest: bytes) -> tuple[str, str]:
        return "", ""


class Gate:
    """Turns a request into a principal. `owner_uid` is who runs the server.

    `rights` are the roles in force. `by_session` finds the principal of a browser's session, None where the
    request shows none, and `session_of` the id of that whose cookie is shown, "" for an unknown one. `epoch`
    grows whenever what was found out before may no longer hold: nobody may remember a principal over that
    (see `express`).
    """

    def __init__(
        self,
        *,
        admin_hash: bytes,
        owner_uid: int,
        rights: Rights | None = None,
        by_session: BySession = lambda scope, headers: None,
        session_of: SessionOf = lambda headers: None,
        wall_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.wall_ms = wall_ms
        self.tokens: Tokens = _NoTokens()
        self.rights = rights or Rights()
        self.epoch = 0
        self._by_session = by_session
        self._session_of = session_of
        self._admin_hash = admin_hash
        self._admins = {0, owner_uid}
        self._names: dict[int, str] = {}

    def identify(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Principal:
        """The principal behind an HTTP request. Raises Unauthenticated; NotPermitted for a foreign page."""
        authorization = headers.get(b"authorization")
        extensions = scope.get("extensions")
        if authorization is not None:
            return self._by_token(authorization, extensions)
        if b"cookie" in headers and (principal := self._by_session(scope, headers)) is not None:
            return principal
        if extensions is not None and PEER in extensions:
            return self.local(extensions[PEER])
        raise Unauthenticated(
            "no credential; send `Authorization: Bearer` with a token (`leasehold token create`, or the one "
            "in admin.token of the data folder), or use the Unix socket leasehold.sock in it"
        )

    def _by_token(self, authorization: bytes, extensions: Mapping[str, Any] | None) -> Principal:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("unknown kind of credential; send `Authorization: Bearer` and the token")
        digest = token_hash(token.strip())
        if hmac.compare_digest(digest, self._admin_hash):
            return ADMIN
        found = self.tokens.find(digest)
        if found is None:
            raise Unauthenticated(
                "unknown, expired or revoked token; `leasehold token create` makes one, and that of the "
                "server's owner stands in admin.token of its data folder"
            )
        if extensions is not None and CREDENTIALS in extensions:
            extensions[CREDENTIALS].add(found.token_id)
        self.tokens.used(found.token_id)
        return found

    def shown(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Shown:
        """Who calls, and by what, for the audit. Never raises."""
        try:
            return shown_by(self.identify(scope, headers))
        except LeaseholdError as error:
            return self._refused(headers, error)

    def _refused(self, headers: Mapping[bytes, bytes], error: LeaseholdError) -> Shown:
        """What was shown by somebody whom nothing is believed."""
        authorization = headers.get(b"authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(b" ")
            if isinstance(error, NotReady):
                return Shown(NOBODY, "token", "", "not known yet")
            if scheme.lower() != b"bearer":
                return Shown(NOBODY, "other", "", "no bearer token")
            ident, why = self.tokens.known(token_hash(token.strip()))
            return Shown(NOBODY, "token", ident, why or "unknown")
        session = self._session_of(headers)
        if session is None:
            return Shown(NOBODY)
        if isinstance(error, NotPermitted):
            return Shown(NOBODY, "session", session, "from a page of another origin")
        return Shown(NOBODY, "session", session, "over, or without its key" if session else "unknown")

    def still(self, principal: Principal) -> bool:
        """Whether a principal that was remembered in this epoch may go on; notes that its token is used."""
        if not principal.token_id:
            return True
        self.tokens.used(principal.token_id)
        return self.wall_ms() < principal.expires_wall_ms

    def local(self, peer: Peer) -> Principal:
        """A user on the Unix socket: the owner and root are admin; others what their groups are, or else
        submitters of their own.
        """
        if peer.uid in self._admins:
            role, verbs = "admin", _LOCAL_ADMIN
        else:
            role, verbs = self.rights.of_groups((peer.gid, *peer.groups))
        name = self._name(peer.uid)
        tenant = self.rights.tenant_of(name, (peer.gid, *peer.groups))
        return Principal(
            name=name, role=role, verbs=verbs, local=True, pid=peer.pid, uid=peer.uid, tenant=tenant
        )

    def _name(self, uid: int) -> str:
        if uid not in self._names:
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            try:
                self._names[uid] = f"user:{pwd.getpwuid(uid).pw_name}"
            except KeyError:
                self._names[uid] = f"user:{uid}"
        return self._names[uid]


def shown_by(principal: Principal) -> Shown:
    """What a principal showed that was good."""
    if principal.token_id:
        return Shown(principal.name, "token", principal.token_id)
    if principal.session:
        return Shown(principal.name, "session", principal.session)
    if principal.local:
        return Shown(principal.name, "socket")
    return Shown(principal.name, "admin token")


_LOCAL_ADMIN = ROLES["admin"] | LOCAL
