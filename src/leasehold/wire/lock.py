"""Messages of `/api/scheduler/locks` (LEASE-21)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from leasehold.wire.lease import HolderAhead, Input


class LockSize(Input, frozen=True):
    """`PUT /api/scheduler/locks/{name}`."""

    size: Annotated[int, Meta(ge=1, le=100_000)]


class LockOut(msgspec.Struct):
    name: str
    size: int
    held: int
    waiting: int
    holders: list[HolderAhead]


class Locks(msgspec.Struct):
    locks: list[LockOut]
