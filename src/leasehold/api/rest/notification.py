"""`/api/notifications`: what people were told of, to whom it goes, and trying again (OPS-14, CLUSTER-27)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.notification import (
    DeliveryId,
    DeliveryOut,
    Notifications,
    PushKey,
    Retried,
    SubscriptionIn,
    TargetChange,
    TargetId,
    TargetIn,
    TargetMade,
    TargetOut,
    Targets,
)

table = Table("notifications")

TARGETS = "/api/notifications/targets"
ONE = f"{TARGETS}/{{target_id}}"
CHANGES = (errors.NotPermitted, errors.NotFound, *WRITES)
MAKES = (errors.Conflict, errors.Overloaded, errors.Unavailable, *WRITES)


class TargetPath(msgspec.Struct, frozen=True):
    target_id: TargetId


class DeliveryPath(msgspec.Struct, frozen=True):
    delivery_id: DeliveryId


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`state`: only messages with a delivery in it."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    state: Literal["pending", "sent", "dead"] | None = None


@table.endpoint("GET", "/api/notifications", verb="notification:read", query=Filter, answer=Notifications)
async def list_notifications(call: Call[None, Filter, Nothing]) -> Notifications:
    """What people were told of, the newest first, and what came of telling each target."""
    return await call.services.notifications.notifications(limit=call.query.limit, state=call.query.state)


@table.endpoint(
    "POST",
    "/api/notifications/retry",
    verb="notification:manage",
    answer=Retried,
    errors=WRITES,
    lane="normal",
)
async def retry_notifications(call: Call[None, Nothing, Nothing]) -> Retried:
    """Send everything again that was given up."""
    return await call.services.notifications.retry_all(call.principal)


@table.endpoint(
    "POST",
    "/api/notifications/deliveries/{delivery_id}/retry",
    verb="notification:manage",
    path_params=DeliveryPath,
    answer=DeliveryOut,
    errors=(errors.NotFound, errors.Conflict, *WRITES),
    lane="normal",
)
async def retry_notification(call: Call[None, Nothing, DeliveryPath]) -> DeliveryOut:
    """Send one again that was given up, or one that waits at once; its id stays the same."""
    return await call.services.notifications.retry(call.principal, call.path.delivery_id)


@table.endpoint("GET", TARGETS, verb="notification:read", answer=Targets)
async def list_targets(call: Call[None, Nothing, Nothing]) -> Targets:
    """Where notifications go. Addresses are secrets, and shown only as far as they tell targets apart."""
    return await call.services.notifications.targets()


@table.endpoint(
    "POST",
    TARGETS,
    verb="notification:manage",
    body=TargetIn,
    verbatim=True,
    body_bytes=32 << 10,
    answer=TargetMade,
    errors=MAKES,
    lane="normal",
)
async def add_target(call: Call[TargetIn, Nothing, Nothing]) -> TargetMade:
    """Tell a webhook, or e-mail and chats; the key that its calls are signed with is in this answer only."""
    made = await call.services.notifications.add(call.principal, call.body)
    call.names(target_id=made.target.target_id)
    return made


@table.endpoint(
    "GET",
    ONE,
    verb="notification:read",
    path_params=TargetPath,
    answer=TargetOut,
    errors=(errors.NotFound,),
)
async def get_target(call: Call[None, Nothing, TargetPath]) -> TargetOut:
    """One target."""
    return await call.services.notifications.target(call.path.target_id)


@table.endpoint(
    "PUT",
    ONE,
    verb="notification:read",
    path_params=TargetPath,
    body=TargetChange,
    answer=TargetOut,
    errors=CHANGES,
    lane="normal",
)
async def set_target(call: Call[TargetChange, Nothing, TargetPath]) -> TargetOut:
    """Change what a target is told and when; of others' than one's own browser with `notification:manage`."""
    return await call.services.notifications.change(call.principal, call.path.target_id, call.body)


@table.endpoint(
    "DELETE", ONE, verb="notification:read", path_params=TargetPath, errors=CHANGES, lane="normal"
)
async def remove_target(call: Call[None, Nothing, TargetPath]) -> None:
    """Tell it nothing any more; what waits for it is dropped."""
    await call.services.notifications.remove(call.principal, call.path.target_id)


@table.endpoint(
    "POST",
    f"{ONE}/test",
    verb="notification:read",
    path_params=TargetPath,
    answer=DeliveryOut,
    errors=(errors.Conflict, *CHANGES),
    lane="normal",
)
async def test_target(call: Call[None, Nothing, TargetPath]) -> DeliveryOut:
    """Send a test to one target, once, and tell what came of it: within 15 s."""
    return await call.services.notifications.test(call.principal, call.path.target_id)


@table.endpoint(
    "GET",
    "/api/notifications/push/key",
    verb="notification:read",
    answer=PushKey,
    errors=(errors.Unavailable,),
)
async def get_push_key(call: Call[None, Nothing, Nothing]) -> PushKey:
    """The key that browsers subscribe with; it stays the same for ever."""
    return await call.services.notifications.push_key()


@table.endpoint(
    "POST",
    "/api/notifications/push/subscriptions",
    verb="notification:read",
    body=SubscriptionIn,
    verbatim=True,
    body_bytes=16 << 10,
    answer=TargetOut,
    errors=MAKES,
    lane="normal",
)
async def subscribe(call: Call[SubscriptionIn, Nothing, Nothing]) -> TargetOut:
    """Tell this browser. Its target is the caller's own, to change and to remove."""
    made = await call.services.notifications.subscribe(call.principal, call.body)
    call.names(target_id=made.target_id)
    return made
