"""Who asks, and what they may do (OPS-5, OPS-6)."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller.

    `name` is unique and stable (`user:1000`, `token:admin`). `pid`, `uid` and `gid` are those of the peer on
    the Unix socket, else None. `local` is true there: local users are exempt from the request bucket
    (LEASE-4).
    """

    name: str
    role: str
    verbs: frozenset[str]
    local: bool = False
    pid: int | None = None
    uid: int | None = None

    def may(self, verb: str) -> bool:
        return verb in self.verbs


SYSTEM = Principal(name="system", role="system", verbs=frozenset())
