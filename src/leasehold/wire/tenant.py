"""Messages of `/api/tenants` (OPS-7)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from leasehold.wire.lease import Input, Text

TenantName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]

Units = Annotated[int, Meta(ge=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Bytes = Annotated[int, Meta(ge=0, lt=2**53)]


class TenantIn(Input, frozen=True):
    """`PUT /api/tenants/{name}`: make a tenant, or change what is named; what is left out stays as it is.

    `weight` is its share in the order: 2 gets twice what 1 gets while both wait. Each quota is the most of
    something, 0 lets nothing new in, null lifts it: `units`, `cpu_millicores`, `memory_bytes` and `leases`
    over its live leases of work, `jobs` and `payload_bytes` over its live jobs. What runs stays.
    """

    weight: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    units: Units | UnsetType | None = UNSET
    cpu_millicores: Count | UnsetType | None = UNSET
    memory_bytes: Bytes | UnsetType | None = UNSET
    leases: Count | UnsetType | None = UNSET
    jobs: Count | UnsetType | None = UNSET
    payload_bytes: Bytes | UnsetType | None = UNSET
    note: Text | UnsetType = UNSET


class Use(msgspec.Struct):
    """What is used of one quota; `quota` is null where there is none."""

    used: int
    quota: int | None


class TenantOut(msgspec.Struct, omit_defaults=True):
    """One tenant: its weight, and each quota beside what is used of it.

    `waiting` are its jobs and requests that stand in line. `changed_at` is left out where it was never set:
    it is there because somebody belongs to it. `problem`: its record can't be read, nothing new is let in.
    """

    name: str
    weight: int
    units: Use
    cpu_millicores: Use
    memory_bytes: Use
    leases: Use
    jobs: Use
    payload_bytes: Use
    waiting: int = 0
    tokens: int = 0
    note: str = ""
    changed_at: str | None = None
    changed_by: str = ""
    problem: str = ""


class Tenants(msgspec.Struct):
    """All tenants, by name."""

    tenants: list[TenantOut]
