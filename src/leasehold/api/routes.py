"""All routes: of the control plane, in the order in which the documentation shows them, and of the page."""

from __future__ import annotations

from leasehold.api.endpoint import Endpoint
from leasehold.api.rest import (
    addon,
    alert,
    audit,
    dashboard,
    event,
    guard,
    job,
    lease,
    lock,
    node,
    notification,
    page,
    schedule,
    scheduler,
    server,
    session,
    stats,
    storage,
    tenant,
    token,
)

TABLES = (
    lease.table,
    scheduler.table,
    job.table,
    schedule.table,
    lock.table,
    node.table,
    addon.table,
    guard.table,
    event.table,
    audit.table,
    alert.table,
    stats.table,
    dashboard.table,
    session.table,
    notification.table,
    tenant.table,
    token.table,
    storage.table,
    server.table,
)

ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for table in TABLES for endpoint in table.endpoints)

PAGES: tuple[Endpoint, ...] = tuple(page.table.endpoints)
"""What browsers load; no part of the contract of the API."""
