"""Who is asking: a bearer token, or the peer credentials of the Unix socket (OPS-4, OPS-5).

A token, where one is shown, decides alone, on the socket too: a wrong one is refused there rather than
ignored, so that nobody works with other rights than they think.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
from collections.abc import Mapping
from typing import Any

import msgspec

from leasehold.api.roles import LOCAL, ROLES
from leasehold.model.errors import Unauthenticated
from leasehold.model.principal import Principal

PEER = "leasehold.peer"
"""Where the server leaves the peer's credentials, in the `extensions` of the ASGI scope."""

NAMES_MAX = 4_096
"""User names kept; when there are more, all are looked up again."""

ADMIN = Principal(name="token:admin", role="admin", verbs=ROLES["admin"])


class Peer(msgspec.Struct, frozen=True):
    """What the kernel says of the process that connected to a Unix socket."""

    pid: int
    uid: int
    gid: int


def token_hash(token: str | bytes) -> bytes:
    """What is kept of a token. It is random, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()


class Gate:
    """Turns a request into a principal. `owner_uid` is who runs the server."""

    def __init__(self, *, admin_hash: bytes, owner_uid: int) -> None:
        self._admin_hash = admin_hash
        self._admins = {0, owner_uid}
        self._names: dict[int, str] = {}

    def identify(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Principal:
        """The principal behind an HTTP request. Raises Unauthenticated."""
        authorization = headers.get(b"authorization")
        if authorization is not None:
            return self._by_token(authorization)
        extensions = scope.get("extensions")
        if extensions is not None and PEER in extensions:
            return self.local(extensions[PEER])
        raise Unauthenticated(
            "no credential; send `Authorization: Bearer` with the token in admin.token of the data folder, "
            "or use the Unix socket leasehold.sock in it"
        )

    def _by_token(self, authorization: bytes) -> Principal:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("unknown kind of credential; send `Authorization: Bearer` and the token")
        if not hmac.compare_digest(token_hash(token.strip()), self._admin_hash):
            raise Unauthenticated("unknown token; it stands in admin.token of the server's data folder")
        return ADMIN

    def local(self, peer: Peer) -> Principal:
        """A user on the Unix socket: the owner and root are admin, others submitters of their own."""
        role = "admin" if peer.uid in self._admins else "submitter"
        return Principal(
            name=self._name(peer.uid),
            role=role,
            verbs=_LOCAL_VERBS[role],
            local=True,
            pid=peer.pid,
            uid=peer.uid,
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


_LOCAL_VERBS = {"admin": ROLES["admin"] | LOCAL, "submitter": ROLES["submitter"] | LOCAL}
