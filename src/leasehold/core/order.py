"""Who comes next: start-time fair queuing over tenant, holder and lane (QUEUE-6).

Source: Goyal, Vin, Cheng, *Start-time Fair Queuing*, SIGCOMM 1996, applied at each level of a tree. At a
dispatch a flow's start tag is max(V of its parent, its own last finish tag); its finish tag is start + cost x
expected time ÷ weight; V of the parent becomes that start tag. Tags are integer unit-milliseconds, divisions
are rounded up, so no job is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from leasehold.model.lease import Ask
from leasehold.model.line import Flow
from leasehold.model.settings import LineSettings


class Flows(Protocol):
    """Where flows are looked up: the ledger's table (a dict), or an `Overlay` upon one."""

    def get(self, key: str, /) -> Flow | None: ...


ROOT = ""
"""The key of the flow whose V all tenants share."""


class Overlay:
    """Flows as they stand once some were charged in trial: `changed` over `base`, which stays as it is."""

    __slots__ = ("base", "changed")

    def __init__(self, base: Flows) -> None:
        self.base = base
        self.changed: dict[str, Flow] = {}

    def get(self, key: str, /) -> Flow | None:
        return self.changed.get(key) or self.base.get(key)


def flow_keys(ask: Ask) -> tuple[str, str, str]:
    """The ask's flows: `tenant`, `tenant/holder`, `tenant/holder/LANE`. A slash within a name is escaped."""
    return _keys(ask.tenant, ask.holder, ask.priority.name)


def tenant_key(name: str) -> str:
    """The key of a tenant's flow."""
    return _plain(name)


@lru_cache(maxsize=4_096)
def _keys(tenant_name: str, holder_name: str, lane: str) -> tuple[str, str, str]:
    tenant = _plain(tenant_name)
    holder = f"{tenant}/{_plain(holder_name)}"
    return tenant, holder, f"{holder}/{lane}"


def _plain(name: str) -> str:
    if "/" in name or "%" in name:
        return name.replace("%", "%25").replace("/", "%2F")
    return name


def weights(ask: Ask, settings: LineSettings) -> tuple[int, int, int]:
    """The weights of the ask's flows, in the order of `flow_keys`; 1 where nothing is set, never less."""
    if not settings.tenant_weights and not settings.holder_weights:
        return 1, 1, max(1, settings.weights[ask.priority])
    return (
        max(1, settings.tenant_weights.get(ask.tenant, 1)),
        max(1, settings.holder_weights.get(ask.holder, 1)),
        max(1, settings.weights[ask.priority]),
    )


def static_due(ask: Ask, since_ms: int, settings: LineSettings, deadline_ms: int = 0) -> int:
    """The key within a lane: min(deadline, submission + the lane's offset). It is the ageing. 0: none."""
    due_ms = since_ms + settings.offsets_ms[ask.priority]
    return min(deadline_ms, due_ms) if deadline_ms else due_ms


def start_tag(flow: Flow | None, parent: Flow | None) -> int:
    """Where a flow's next job starts on its parent's scale: at V after being idle, nothing saved up."""
    virtual = parent.virtual if parent is not None else 0
    return flow.finish if flow is not None and flow.finish > virtual else virtual


def charged(flows: Flows, ask: Ask, cost: int, settings: LineSettings) -> tuple[Flow, Flow, Flow, Flow]:
    """The flows once this ask is dispatched: root, tenant, holder, lane. `cost`: its `dominant_share_cost`.

    Two dispatches in one decision must be charged one after the other, the second upon the flows that the
    first returned (an `Overlay` does that).
    """
    tenant_key, holder_key, lane_key = flow_keys(ask)
    tenant_weight, holder_weight, lane_weight = weights(ask, settings)
    work = cost * max(1, ask.expected_ms)
    root = flows.get(ROOT)
    tenant = flows.get(tenant_key)
    holder = flows.get(holder_key)
    lane = flows.get(lane_key)
    tenant_start = start_tag(tenant, root)
    holder_start = start_tag(holder, tenant)
    lane_start = start_tag(lane, holder)
    return (
        Flow(ROOT, 0, tenant_start),
        Flow(tenant_key, tenant_start - (-work // tenant_weight), holder_start),
        Flow(holder_key, holder_start - (-work // holder_weight), lane_start),
        Flow(lane_key, lane_start - (-work // lane_weight), 0),
    )


def corrected(
    flows: Flows,
    ask: Ask,
    cost: int,
    expected_ms: int,
    real_ms: int,
    settings: LineSettings,
) -> tuple[Flow, ...]:
    """The flows whose finish tags change because a lease took `real_ms` where `expected_ms` was charged.

    No start tag falls below V: what would be given back too late is lost, so nobody saves up credit. A flow
    that has been forgotten meanwhile is charged, from V on, only for what was too little. V never moves here.
    """
    difference = cost * (max(1, real_ms) - max(1, expected_ms))
    changed: list[Flow] = []
    parent = flows.get(ROOT)
    for key, weight in zip(flow_keys(ask), weights(ask, settings), strict=True):
        flow = flows.get(key)
        virtual = parent.virtual if parent is not None else 0
        now = flow.finish if flow is not None else virtual
        finish = max(now - (-difference // weight), min(now, virtual))
        if finish != now:
            changed.append(Flow(key, finish, flow.virtual if flow is not None else 0))
        parent = flow
    return tuple(changed)


def forgettable(flow: Flow, parent: Flow | None) -> bool:
    """Whether dropping this flow leaves every start tag beside it as it is: it would start at V anyway.

    Only a flow with neither waiters nor live leases may be dropped, and all flows `below` it go with it: a
    busy period has ended for them, and they begin afresh. The root stays.
    """
    return flow.key != ROOT and parent is not None and flow.finish <= parent.virtual


def below(flows: Mapping[str, Flow], key: str) -> tuple[str, ...]:
    """The keys of all flows under this one, sorted."""
    prefix = f"{key}/"
    return tuple(sorted(other for other in flows if other.startswith(prefix)))
