"""The service of tenants: weights, quotas, and what is used of them (OPS-7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from leasehold.control.ledger import Ledger
from leasehold.control.views import rfc3339
from leasehold.core import order
from leasehold.core import tenant as decisions
from leasehold.core.book import NOTHING_HELD
from leasehold.core.state import TENANTS, State
from leasehold.model.errors import NotFound
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.model.tenant import Tenant
from leasehold.wire import tenant as wire


class InForce:
    """The settings that decisions read: those of the configuration, with the weights that tenants have now.

    One place for each: tenants' weights stand in the store alone.
    """

    def __init__(self, settings: Callable[[], PolicySettings], ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._base: PolicySettings | None = None
        self._weights: dict[str, int] = {}
        self._now: PolicySettings | None = None

    def __call__(self) -> PolicySettings:
        base, weights = self._settings(), self._ledger.state.weights
        if self._now is None or base is not self._base or weights is not self._weights:
            self._base, self._weights = base, weights
            self._now = base
            if weights:
                line = msgspec.structs.replace(base.line, tenant_weights=weights)
                self._now = msgspec.structs.replace(base, line=line)
        return self._now


class TenantService:
    """One per server. `more_may_start` is called once quotas or weights have changed."""

    def __init__(self, ledger: Ledger, more_may_start: Callable[[], None]) -> None:
        self._ledger = ledger
        self._more_may_start = more_may_start

    async def tenants(self) -> wire.Tenants:
        """All that were set, or have anything, by name."""
        return await self._ledger.read(
            lambda state: wire.Tenants([_shown(state, name) for name in decisions.names(state)])
        )

    async def tenant(self, name: str) -> wire.TenantOut:
        """One of them. Raises NotFound."""

        def build(state: State) -> wire.TenantOut:
            if name not in decisions.names(state):
                raise NotFound(f"there is no tenant {name}; see `leasehold tenant list`", tenant=name)
            return _shown(state, name)

        return await self._ledger.read(build)

    async def set_tenant(self, principal: Principal, name: str, body: wire.TenantIn) -> wire.TenantOut:
        """Make one, or change what is said of it. What runs stays, whatever its quotas are now."""
        said = {
            field: value
            for field in body.__struct_fields__
            if (value := getattr(body, field)) is not msgspec.UNSET
        }
        by = principal.name
        await self._ledger.execute(lambda state, stamp: decisions.set_tenant(state, name, said, stamp, by))
        await self._ledger.record_settled(TENANTS, name)
        self._more_may_start()
        return await self._ledger.read(lambda state: _shown(state, name))

    async def remove(self, principal: Principal, name: str) -> None:
        """Forget one that nothing belongs to; of `default`, what was said of it."""
        await self._ledger.execute(lambda state, stamp: decisions.remove(state, name, stamp, principal.name))
        self._more_may_start()


def _shown(state: State, name: str) -> wire.TenantOut:
    known = state.tenants.get(name)
    tenant = known or Tenant(name)
    held = state.book.per_tenant.get(name, NOTHING_HELD)
    jobs, payload_bytes = state.queue.per_tenant.get(name, (0, 0))
    use = partial(_use, tenant)
    return wire.TenantOut(
        name=name,
        weight=tenant.weight,
        units=use("units", held.units),
        cpu_millicores=use("cpu_millicores", held.cpu_millicores),
        memory_bytes=use("memory_bytes", held.memory_bytes),
        leases=use("leases", held.leases),
        jobs=use("jobs", jobs),
        payload_bytes=use("payload_bytes", payload_bytes),
        waiting=state.line.waiting_of(order.tenant_key(name)),
        tokens=sum(1 for one in state.tokens.values() if one.tenant == name),
        note=tenant.note,
        changed_at=rfc3339(tenant.changed_wall_ms) if tenant.changed_wall_ms else None,
        changed_by=tenant.changed_by,
        problem="its record can't be read: set it anew" if tenant.unreadable else "",
    )


def _use(tenant: Tenant, field: str, used: int) -> wire.Use:
    return wire.Use(used, getattr(tenant, field))
