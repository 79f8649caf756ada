"""All routes of the control plane, in the order in which the documentation shows them."""

from __future__ import annotations

from leasehold.api.endpoint import Endpoint
from leasehold.api.rest import addon, event, lease, lock, node, scheduler, server, stats, token

TABLES = (
    lease.table,
    scheduler.table,
    lock.table,
    node.table,
    addon.table,
    event.table,
    stats.table,
    token.table,
    server.table,
)

ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for table in TABLES for endpoint in table.endpoints)
