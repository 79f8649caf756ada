"""Messages of `/api/session`: sign-in links of one use, and the sessions that they open (OPS-9)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input

RoleName = Literal["admin", "operator", "submitter", "worker", "node", "viewer"]
Code = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$", description="What stands behind `#` in a sign-in link")]


class SignInLinkIn(Input, frozen=True):
    """`POST /api/session/link`: a link for the caller, with its own role or a lesser one."""

    role: RoleName | None = None


class SignInLink(msgspec.Struct):
    """A link that opens one session, once. The code is behind `#`, which browsers send to nobody."""

    path: str
    role: str
    expires_sec: int


class SignIn(Input, frozen=True):
    """`POST /api/session`: trade the code of a link for a session."""

    code: Code


class SessionOut(msgspec.Struct, omit_defaults=True):
    """Who is signed in, and until when at the longest.

    `key` is shown once, at the sign-in. The page keeps it where only pages of this very address can read it,
    and sends it as `X-Leasehold-Session` with every call: the cookie alone, which a browser shows to every
    port of this machine, opens nothing.
    """

    name: str
    role: str
    verbs: list[str]
    expires_at: str
    key: str = ""
