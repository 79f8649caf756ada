"""The server's own heavy work asks first too: a lease as everybody's, of the lowest priority (OPS-16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from leasehold.control.lease import LeaseService
from leasehold.model.errors import LeaseholdError
from leasehold.model.principal import Principal
from leasehold.wire import lease as wire

log = structlog.get_logger(__name__)

OWN = Principal(
    name="leasehold", role="system", verbs=frozenset({"lease:request", "lease:read", "limits:exempt"})
)

COST_UNITS = 5
ANYWAY_MS = 24 * 3_600_000
"""OPS-16: after waiting so long it is done all the same."""

WAIT_S = 300
PAUSE_MS = 30_000


@contextlib.asynccontextmanager
async def asked(leases: LeaseService, what: str, seconds: int) -> AsyncIterator[str]:
    """Hold a lease for a piece of care while the body runs; its id, "" where it is done without one."""
    granted = await _granted(leases, what, seconds)
    if granted is None:
        log.warning("care_without_a_lease", what=what, after_ms=ANYWAY_MS)
        yield ""
        return
    assert granted.lease_id is not None
    assert granted.fencing_token is not None
    keeper = asyncio.create_task(_keep(leases, granted.lease_id, granted.fencing_token), name="own-lease")
    try:
        yield granted.lease_id
    finally:
        keeper.cancel()
        with contextlib.suppress(LeaseholdError):
            await leases.release(OWN, granted.lease_id, wire.Release(granted.fencing_token))


async def _granted(leases: LeaseService, what: str, seconds: int) -> wire.HeavyLeaseResponse | None:
    clock, ticket = leases.ledger.clock, None
    end_ms = clock.now_ms() + ANYWAY_MS
    while clock.now_ms() < end_ms:
        body = wire.HeavyLeaseRequest(
            job_type=what,
            cost_units=COST_UNITS,
            priority="BACKGROUND",
            expected_duration_sec=seconds,
            wait_sec=WAIT_S,
            ticket=ticket,
            label="care of the store",
        )
        try:
            answer = await leases.request(OWN, body)
        except LeaseholdError as error:
            log.info("care_put_off", what=what, why=error.message)
            ticket = None
        else:
            if answer.approved:
                return answer
            ticket = answer.ticket
            if ticket is None:
                return None  # It could never be granted: the node is too small for any lease.
        await clock.sleep(PAUSE_MS)
    if ticket is not None:
        with contextlib.suppress(LeaseholdError):
            await leases.abandon(OWN, ticket)
    return None


async def _keep(leases: LeaseService, lease_id: str, token: int) -> None:
    """Renew until cancelled; that the lease is lost ends nothing: half a backup is worth nothing."""
    while True:
        with contextlib.suppress(LeaseholdError):
            await leases.heartbeat(OWN, lease_id, wire.Heartbeat(token))
        await leases.ledger.clock.sleep(max(1_000, leases.settings().lease.ttl_ms // 3))
