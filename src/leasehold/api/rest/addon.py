"""`/api/addons`: the registry of add-ons, and what they tell of themselves (SENSE-21, 22)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.addon import AddonErrors, AddonId, AddonIn, AddonList, AddonOut, AddonStatsIn

table = Table("addons")


class AddonPath(msgspec.Struct, frozen=True):
    addon_id: AddonId


@table.endpoint("GET", "/api/addons", verb="addon:read", answer=AddonList)
async def list_addons(call: Call[None, Nothing, Nothing]) -> AddonList:
    """All registered add-ons, and whether each is allowed and answers."""
    return await call.services.addons.addons()


@table.endpoint(
    "POST",
    "/api/addons",
    verb="addon:self",
    body=AddonIn,
    answer=AddonOut,
    errors=(errors.Unavailable, *WRITES),
    lane="normal",
)
async def register_addon(call: Call[AddonIn, Nothing, Nothing]) -> AddonOut:
    """Register an add-on, or say what has changed of it; the same again changes nothing."""
    call.names(addon_id=call.body.id)
    return await call.services.addons.register(call.principal, call.body)


@table.endpoint("GET", "/api/addons/errors", verb="addon:read", answer=AddonErrors)
async def list_addon_errors(call: Call[None, Nothing, Nothing]) -> AddonErrors:
    """What is wrong with any add-on just now."""
    return call.services.addons.errors()


@table.endpoint(
    "GET",
    "/api/addons/{addon_id}",
    verb="addon:read",
    path_params=AddonPath,
    answer=AddonOut,
    errors=(errors.NotFound,),
)
async def get_addon(call: Call[None, Nothing, AddonPath]) -> AddonOut:
    """One add-on, with what is seen of it."""
    return await call.services.addons.addon(call.path.addon_id)


@table.endpoint(
    "DELETE",
    "/api/addons/{addon_id}",
    verb="addon:manage",
    path_params=AddonPath,
    errors=(errors.NotFound, *WRITES),
    lane="normal",
)
async def remove_addon(call: Call[None, Nothing, AddonPath]) -> None:
    """Forget an add-on. What it holds it keeps."""
    await call.services.addons.remove(call.principal, call.path.addon_id)


@table.endpoint(
    "POST",
    "/api/addons/{addon_id}/enable",
    verb="addon:manage",
    path_params=AddonPath,
    answer=AddonOut,
    errors=(errors.NotFound, *WRITES),
    lane="normal",
)
async def enable_addon(call: Call[None, Nothing, AddonPath]) -> AddonOut:
    """Allow an add-on to ask for leases again."""
    return await call.services.addons.enable(call.principal, call.path.addon_id)


@table.endpoint(
    "POST",
    "/api/addons/{addon_id}/disable",
    verb="addon:manage",
    path_params=AddonPath,
    answer=AddonOut,
    errors=(errors.NotFound, *WRITES),
    lane="normal",
)
async def disable_addon(call: Call[None, Nothing, AddonPath]) -> AddonOut:
    """Give an add-on no new lease, and don't ask it for anything. What it holds it keeps."""
    return await call.services.addons.disable(call.principal, call.path.addon_id)


@table.endpoint(
    "POST",
    "/api/addons/{addon_id}/stats",
    verb="addon:self",
    path_params=AddonPath,
    body=AddonStatsIn,
    errors=(errors.NotFound, errors.Conflict),
    quiet=True,
)
async def tell_addon_stats(call: Call[AddonStatsIn, Nothing, AddonPath]) -> None:
    """Tell an add-on's figures as of now; those of its requests feed quietness for 30 s."""
    await call.services.addons.tell(call.principal, call.path.addon_id, call.body)
