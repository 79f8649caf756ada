"""`/api/tenants`: who shares the machine, by which weight, and how much of it at most (OPS-7)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.tenant import TenantIn, TenantName, TenantOut, Tenants

table = Table("tenants")


class TenantPath(msgspec.Struct, frozen=True):
    name: TenantName


@table.endpoint("GET", "/api/tenants", verb="tenant:read", answer=Tenants)
async def list_tenants(call: Call[None, Nothing, Nothing]) -> Tenants:
    """All tenants: their weights, and each quota beside what is used of it."""
    return await call.services.tenants.tenants()


@table.endpoint(
    "GET",
    "/api/tenants/{name}",
    verb="tenant:read",
    path_params=TenantPath,
    answer=TenantOut,
    errors=(errors.NotFound,),
)
async def get_tenant(call: Call[None, Nothing, TenantPath]) -> TenantOut:
    """One tenant."""
    return await call.services.tenants.tenant(call.path.name)


@table.endpoint(
    "PUT",
    "/api/tenants/{name}",
    verb="tenant:set",
    path_params=TenantPath,
    body=TenantIn,
    answer=TenantOut,
    errors=(errors.Overloaded, *WRITES),
    lane="normal",
)
async def set_tenant(call: Call[TenantIn, Nothing, TenantPath]) -> TenantOut:
    """Make a tenant, or change its weight and quotas; what runs stays."""
    return await call.services.tenants.set_tenant(call.principal, call.path.name, call.body)


@table.endpoint(
    "DELETE",
    "/api/tenants/{name}",
    verb="tenant:set",
    path_params=TenantPath,
    errors=(errors.NotFound, errors.Conflict, *WRITES),
    lane="normal",
)
async def remove_tenant(call: Call[None, Nothing, TenantPath]) -> None:
    """Forget a tenant that nothing belongs to; of `default`, its weight and quotas."""
    await call.services.tenants.remove(call.principal, call.path.name)
