"""`/api/alerts`: what is wrong, and what people say of it; `/api/config/alert-thresholds` (OPS-13)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.alert import (
    Acknowledge,
    AlertIn,
    AlertOut,
    Alerts,
    RuleName,
    Thresholds,
    ThresholdsIn,
)

table = Table("alerts")

THRESHOLDS = "/api/config/alert-thresholds"


class RulePath(msgspec.Struct, frozen=True):
    rule: RuleName


@table.endpoint("GET", "/api/alerts", verb="alert:read", answer=Alerts)
async def list_alerts(call: Call[None, Nothing, Nothing]) -> Alerts:
    """All rules and where each stands, the worst first."""
    return await call.services.alerts.alerts()


@table.endpoint(
    "POST",
    "/api/alerts/{rule}/acknowledge",
    verb="alert:manage",
    path_params=RulePath,
    body=Acknowledge,
    answer=AlertOut,
    errors=(errors.NotFound, errors.Conflict, *WRITES),
    lane="normal",
)
async def acknowledge_alert(call: Call[Acknowledge, Nothing, RulePath]) -> AlertOut:
    """Say that an alert was seen: it tells no more unless it worsens. Again changes nothing."""
    return await call.services.alerts.acknowledge(call.principal, call.path.rule, call.body)


@table.endpoint(
    "PUT",
    "/api/alerts/{rule}",
    verb="alert:manage",
    path_params=RulePath,
    body=AlertIn,
    answer=AlertOut,
    errors=(errors.NotFound, errors.Conflict, *WRITES),
    lane="normal",
)
async def set_alert(call: Call[AlertIn, Nothing, RulePath]) -> AlertOut:
    """Switch a rule on or off, or mute it for a while."""
    return await call.services.alerts.set_rule(call.principal, call.path.rule, call.body)


@table.endpoint("GET", THRESHOLDS, verb="alert:read", answer=Thresholds)
async def get_alert_thresholds(call: Call[None, Nothing, Nothing]) -> Thresholds:
    """What each rule fires at, what is built in, and what may be set."""
    return await call.services.alerts.thresholds()


@table.endpoint(
    "PUT",
    THRESHOLDS,
    verb="alert:manage",
    body=ThresholdsIn,
    answer=Thresholds,
    errors=WRITES,
    lane="normal",
)
async def set_alert_thresholds(call: Call[ThresholdsIn, Nothing, Nothing]) -> Thresholds:
    """Change some thresholds, from the next check on: what is not named stays, null is what is built in."""
    return await call.services.alerts.set_thresholds(call.principal, call.body)
