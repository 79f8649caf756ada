"""The answers of the lease service, made from the state. No decisions beyond what to say."""

from __future__ import annotations

from leasehold.control import views
from leasehold.control.ledger import Ledger
from leasehold.control.line import plan_now
from leasehold.core import admission, enforce
from leasehold.core.attempt import job_id
from leasehold.core.lease import NEVER_MS
from leasehold.core.state import State
from leasehold.model.errors import RateLimited
from leasehold.model.lease import Ask, Lease, LeaseState, Liveness, Usage
from leasehold.model.line import Waiter
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import LineSettings, PolicySettings
from leasehold.wire import lease as wire


def limits_of(lease: Lease, settings: PolicySettings) -> wire.LimitsOut:
    """An offer lives shortly and wants its first heartbeat soon (LEASE-7)."""
    times = settings.lease
    if lease.state is LeaseState.OFFERED:
        return wire.LimitsOut(times.offer_ms / 1000, times.offer_refresh_ms / 1000)
    return wire.LimitsOut(times.ttl_ms / 1000, times.ttl_ms / 3000)


def approved(
    lease: Lease, ledger: Ledger, settings: PolicySettings, notice: str = ""
) -> wire.HeavyLeaseResponse:
    """A lease. Shown as it is: also one that a repeated call finds ended (LEASE-8)."""
    clock = ledger.clock
    live = ledger.state.liveness.get(lease.lease_id)
    deadline_ms = live.deadline_ms if live is not None else clock.now_ms() + settings.lease.offer_ms
    return wire.HeavyLeaseResponse(
        approved=True,
        reason="granted" if not lease.end_reason else f"granted, and ended since: {lease.end_reason}",
        lease_id=lease.lease_id,
        fencing_token=lease.token,
        node_id=lease.ask.node,
        state=str(lease.state),
        cost_units=lease.ask.charge.units,
        expires_at=views.expires_at(deadline_ms, clock.now_ms(), clock.wall_ms())
        if not lease.ended_ms
        else None,
        limits=limits_of(lease, settings),
        notice=enforce.notice(lease.ask, lease.binding) or notice,
        enforced=views.enforced(lease),
    )


def why(state: State, waiter: Waiter, now_ms: int, settings: PolicySettings) -> list[Reason]:
    """Every reason why a waiter does not start, the line among them; never empty."""
    found = admission.reasons(state, waiter.ask, now_ms, settings)
    position = (
        state.line.position(waiter.number, state.flows, settings.line) if waiter.number in state.line else 1
    )
    if not found or position > 1:
        found.append(_in_line(state, position))
    return found


def _in_line(state: State, position: int) -> Reason:
    ahead = position - 1
    who = "one waiter is" if ahead == 1 else f"{ahead} waiters are"
    sentence = (
        f"{who} ahead in line, {len(state.line)} wait in all"
        if ahead
        else "next in line; room is kept for those before"
    )
    return Reason(
        Code.IN_LINE,
        sentence,
        "the turn of those ahead",
        {"position": position, "waiting": len(state.line)},
        None,
    )


def denied(
    found: list[Reason], waiter: Waiter | None, state: State, settings: PolicySettings, now_ms: int, seed: int
) -> wire.HeavyLeaseResponse:
    """No, why, and when (LEASE-2). Without a place in line where no waiting mends it."""
    line = None if waiter is None else line_of(state, waiter, settings, now_ms)
    expected_s = line.expected_start_sec if line is not None else None
    retry_s = admission.retry_after_s(found, None if expected_s is None else int(expected_s), seed)
    return wire.HeavyLeaseResponse(
        approved=False,
        reason=found[0].sentence,
        retry_after_sec=retry_s,
        ticket=waiter.ticket if waiter is not None else None,
        line=line,
        reasons=[views.reason(one) for one in found],
        notice=enforce.notice(waiter.ask, waiter.ask.binding) if waiter is not None else "",
        node_id=state.node_id,
    )


def line_of(state: State, waiter: Waiter, settings: PolicySettings, now_ms: int) -> wire.LineOut:
    """A waiter's place, who holds the room, and when it may start.

    The reservation's time where it is the first.
    """
    position = (
        state.line.position(waiter.number, state.flows, settings.line) if waiter.number in state.line else 1
    )
    expected_s = None
    if position == 1:
        plan = plan_now(state, settings, now_ms)
        reserved = plan.reserved if plan is not None else None
        if reserved is not None and reserved.number == waiter.number:
            expected_s = max(0.0, round((reserved.start_ms - now_ms) / 1000, 1))
    return wire.LineOut(position, len(state.line), views.held_by(state.leases.values(), now_ms), expected_s)


def line_is_full(holder: str, line: LineSettings) -> RateLimited:
    own, all_of_them = line.waiters_per_holder_max, line.waiters_max
    sentence = f"{holder} has its {own} places in line taken, or all {all_of_them} are; come back later"
    return RateLimited(sentence, retry_after_s=10)


def heartbeat(
    lease: Lease, ledger: Ledger, settings: PolicySettings, low_weight: str
) -> wire.HeartbeatAnswer:
    """What the holder is to do now (LEASE-10, LEASE-13)."""
    clock = ledger.clock
    live = ledger.state.liveness.get(lease.lease_id)
    deadline_ms = live.deadline_ms if live is not None else clock.now_ms()
    stops = lease.state is LeaseState.REVOKING
    left_ms = max(0, min(deadline_ms, NEVER_MS) - clock.now_ms())
    stands = lease.brake if lease.is_frozen else None
    return wire.HeartbeatAnswer(
        action="stop" if stops else "pause" if stands is not None else "continue",
        state=str(lease.state),
        expires_at=views.expires_at(deadline_ms, clock.now_ms(), clock.wall_ms()) or "",
        limits=limits_of(lease, settings),
        reason=stands.why if stands is not None else lease.revoke_note,
        deadline_sec=round(left_ms / 1000, 3) if stops else None,
        cgroup=lease.binding.cgroup,
        low_weight=low_weight,
        notice=enforce.unlimited(lease.ask, lease.binding),
        enforced=views.enforced(lease),
        cancel=_to_stop(lease, ledger.state),
    )


def _to_stop(lease: Lease, state: State) -> list[str]:
    """The jobs under a lease that somebody has cancelled."""
    under = state.queue.by_lease.get(lease.lease_id, ())
    return [job_id(number) for number in under if state.jobs[number].cancel]


def lease(record: Lease, ledger: Ledger, *, with_token: bool) -> wire.LeaseOut:
    clock = ledger.clock
    return views.lease(record, ledger.state, clock.now_ms(), clock.wall_ms(), with_token=with_token)


def take_report(live: Liveness, body: wire.Report) -> None:
    """Progress and figures of the holder: volatile (LEASE-11)."""
    if body.progress is not None:
        live.progress = body.progress
    if body.message is not None:
        live.message = body.message
    metrics = body.metrics
    if metrics is None:
        return
    for name in ("cpu_seconds", "peak_memory_bytes", "bytes", "checkpoint"):
        value = getattr(metrics, name)
        if value is not None:
            live.metrics[name] = value


def usage_of(live: Liveness | None, metrics: wire.ReportMetrics | None) -> Usage:
    """What the work used: as measured here, or as its holder says where that is more."""
    cpu_ms = memory = moved = 0
    if live is not None:
        cpu_ms, memory, said = live.cpu_ms, live.memory_peak_bytes, live.metrics
        if said:
            cpu_ms = max(cpu_ms, int(float(said.get("cpu_seconds", 0)) * 1000))
            memory = max(memory, int(said.get("peak_memory_bytes", 0)))
            moved = int(said.get("bytes", 0))
    if metrics is not None:
        cpu_ms = max(cpu_ms, int((metrics.cpu_seconds or 0) * 1000))
        memory = max(memory, metrics.peak_memory_bytes or 0)
        moved = max(moved, metrics.bytes or 0)
    return Usage(cpu_ms, memory, moved)


def charge_of(ask: Ask) -> wire.ChargeOut:
    return views.charge(ask.charge)
