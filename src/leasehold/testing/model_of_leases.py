"""What must be true of leases, kept beside the real code from what the disk took (PROVE-2, PROVE-3).

The model adds charges up by itself, never through the product's `Book`, and knows time as it really passed.
What it finds broken it notes; the run ends there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec

from leasehold.control import codec
from leasehold.control.recovery import INCARNATION_BITS, META_INCARNATION
from leasehold.core.state import CALLS, LEASES, SEMAPHORES, WAITERS, State
from leasehold.model.charge import DEVICE, UNITS_TOTAL
from leasehold.model.lease import TRANSITIONS, Ask, Flag, Lease, LeaseState
from leasehold.model.line import Semaphore, Waiter
from leasehold.model.node import STALE_AFTER_MS, NodeView
from leasehold.model.priority import Priority
from leasehold.model.settings import CapacitySettings, PolicySettings
from leasehold.ports.store import Batch

BROKEN_MAX = 20
"""Findings kept of one run: the first tells, the rest mostly follow from it."""


class Known(msgspec.Struct):
    """A lease as the disk has it: its record, and its states with the (true) times at which it took them."""

    record: Lease
    states: list[tuple[int, LeaseState]]

    def states_since(self, since_ms: int) -> set[LeaseState]:
        """The states that a call which began then may have seen."""
        before = [state for at_ms, state in self.states if at_ms < since_ms][-1:]
        return {*before, *(state for at_ms, state in self.states if at_ms >= since_ms)}


class LeaseModel:
    """Fed with every batch that the disk took and every decision that was applied."""

    def __init__(self, boot_ms: Callable[[], int], settings: PolicySettings) -> None:
        self.boot_ms = boot_ms
        self.settings = settings
        self.leases: dict[str, Known] = {}
        self.waiters: dict[str, Waiter] = {}
        self.tickets: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.calls: dict[str, str] = {}
        self.token_max = 0
        self.incarnation = 0
        self.broken: list[str] = []
        self.on_thaw: list[Callable[[str], None]] = []
        self.on_end: list[Callable[[Lease, LeaseState], None]] = []
        self._opening = False

    def fail(self, rule: str, what: str) -> None:
        """Note that a rule was broken."""
        if len(self.broken) < BROKEN_MAX:
            self.broken.append(f"{self.boot_ms()} ms: {rule}: {what}")

    # -- what the disk took

    def opened(self) -> None:
        """A server has opened the store: before anything else it must advance the incarnation."""
        self._opening = True

    def committed(self, batch: Batch) -> None:
        """Hold one batch against what was durable before it."""
        before = self.token_max
        for key, value in batch.puts:
            if key == META_INCARNATION:
                self._incarnation(msgspec.msgpack.decode(value, type=int))
        if self._opening:
            self.fail("INV-4", f"batch {batch.seq} came before recovery was done")
        paths = _paths(batch)
        for key, value in (*batch.puts, *batch.finishes):
            table, name = codec.split_key(key)
            if table == LEASES:
                self._lease(codec.decode(table, name, value), before, paths.get(name, []))
            else:
                self._other(table, name, value, before)
        for key in batch.deletes:
            table, name = codec.split_key(key)
            self._deleted(table, name)

    def _other(self, table: str, name: str, value: bytes, before: int) -> None:
        if table == WAITERS:
            self._waiter(codec.decode(table, name, value), before)
        elif table == SEMAPHORES:
            semaphore: Semaphore = codec.decode(table, name, value)
            self.sizes[name] = semaphore.size
        elif table == CALLS:
            self.calls[name] = codec.decode(table, name, value).lease_id

    def _deleted(self, table: str, name: str) -> None:
        if table == LEASES:
            self.fail("INV-4", f"{name} was deleted without having ended")
        elif table == WAITERS:
            self.waiters.pop(name, None)
            self.tickets.add(name)  # Also one that came and went within one batch.
        elif table == SEMAPHORES:
            self.sizes.pop(name, None)
        elif table == CALLS:
            self.calls.pop(name, None)

    def _incarnation(self, number: int) -> None:
        if number <= self.incarnation:
            self.fail("INV-3", f"incarnation {number} after {self.incarnation}")
        self.incarnation = number
        self._opening = False

    def _number(self, what: str, number: int, before: int) -> None:
        if number <= before:
            self.fail("INV-3", f"{what} has number {number}, and {before} was durable before it")
        if number >> INCARNATION_BITS != self.incarnation:
            self.fail("INV-3", f"{what} has number {number} in incarnation {self.incarnation}")
        self.token_max = max(self.token_max, number)

    def _waiter(self, waiter: Waiter, before: int) -> None:
        if waiter.ticket not in self.waiters:
            self._number(waiter.ticket, waiter.number, before)
        self.waiters[waiter.ticket] = waiter
        self.tickets.add(waiter.ticket)

    def _lease(self, lease: Lease, before: int, path: list[LeaseState]) -> None:
        known = self.leases.get(lease.lease_id)
        if known is None:
            self._number(lease.lease_id, lease.token, before)
            known = self.leases[lease.lease_id] = Known(lease, [])
            if path[:1] != [LeaseState.OFFERED]:
                self.fail("INV-5", f"{lease.lease_id} began as {path[:1]}")
            if lease.job and path == [LeaseState.OFFERED] and lease.state is LeaseState.ACTIVE:
                path = [LeaseState.ACTIVE]  # A claim is offer and word in one.
        else:
            path = [known.record.state, *path]
            if known.record.token != lease.token:
                self.fail("INV-3", f"{lease.lease_id} changed its token")
            if known.record.ended_ms:
                self.fail(
                    "INV-5", f"{lease.lease_id} had ended as {known.record.state} and was written again"
                )
        if not allowed(path) or path[-1] is not lease.state:
            self.fail(
                "INV-5", f"{lease.lease_id} is {lease.state}, its events say {[str(each) for each in path]}"
            )
        thawed = known.record.is_frozen and not lease.is_frozen
        known.record = lease
        for thaws in self.on_thaw if thawed else ():
            thaws(lease.lease_id)
        now_ms = self.boot_ms()
        known.states.extend((now_ms, state) for state in (path[1:] if known.states else path))
        if lease.ended_ms:
            was = path[-2] if len(path) > 1 else lease.state
            for heard in self.on_end:
                heard(lease, was)

    # -- what was decided

    def granted(self, state: State, new: list[Lease], now_ms: int) -> None:
        """INV-1: at this grant everything that is held fits, by the model's own sums."""
        for lease in new:
            if Flag.OVERTIME not in lease.flags:  # Only these may exceed what there is.
                self._fits(state, lease, now_ms)

    def _fits(self, state: State, lease: Lease, now_ms: int) -> None:
        charge, view, limits = lease.ask.charge, state.view, self.settings.capacity
        held = [each.ask.charge for each in state.leases.values()]
        for name, _ in charge.named:
            used = sum(count for each in held for other, count in each.named if other == name)
            there = size_of(name, state, view)
            if used > there:
                self.fail("INV-1", f"{name}: {used} held of {there} after {lease.lease_id}")
        if not charge.is_work:
            return
        if view is None:
            self.fail("INV-9", f"{lease.lease_id} was granted before anything was measured")
            return
        shut = gate(view, lease.ask, now_ms)
        if shut:
            self.fail("INV-9", f"{lease.lease_id} was granted while {shut}")
        memory = view.totals.memory_bytes - limits.memory_reserve_bytes
        memory -= view.foreign_memory_bytes + view.excess_memory_bytes
        disk = view.totals.disk_bytes - limits.disk_reserve_bytes
        for what, used, there in (
            ("units", sum(each.units for each in held) if charge.units else 0, usable_units(view, limits)),
            ("cpu", sum(each.cpu_millicores for each in held), view.totals.cpu_millicores),
            ("memory", sum(each.memory_bytes for each in held), memory),
            ("disk", sum(each.disk_bytes for each in held), disk),
        ):
            if used > there:
                self.fail("INV-1", f"{what}: {used} held of {there} after {lease.lease_id}")
        work = [each for each in state.leases.values() if each.ask.charge.is_work]
        of_holder = sum(each.ask.holder == lease.ask.holder for each in work)
        if len(work) > limits.max_per_node or of_holder > limits.max_per_holder_per_node:
            self.fail("LEASE-4", f"{len(work)} leases, {of_holder} of {lease.ask.holder}")

    def one_ledger(self, state: State) -> None:
        """INV-2: the product's running sums are what adding up the leases afresh gives."""
        held = [lease.ask.charge for lease in state.leases.values()]
        named: dict[str, int] = {}
        holders: dict[str, int] = {}
        for lease in state.leases.values():
            for name, count in lease.ask.charge.named:
                named[name] = named.get(name, 0) + count
            if lease.ask.charge.is_work:
                holders[lease.ask.holder] = holders.get(lease.ask.holder, 0) + 1
        book = state.book
        sums = (
            sum(each.units for each in held),
            sum(each.cpu_millicores for each in held),
            sum(each.memory_bytes for each in held),
            sum(each.disk_bytes for each in held),
        )
        kept = (book.units, book.cpu_millicores, book.memory_bytes, book.disk_bytes)
        if sums != kept or named != book.named or holders != book.per_holder:
            self.fail("INV-2", f"leases hold {sums} {named} {holders}, the book says {kept} {book.named}")

    def recovered(self, state: State) -> None:
        """INV-4: what a server read from the store is what was durable."""
        live = {key: known.record for key, known in self.leases.items() if not known.record.ended_ms}
        if state.leases != live:
            odd = sorted(set(state.leases) ^ set(live)) or "their records"
            self.fail("INV-4", f"recovered leases differ from the durable ones in {odd}")
        if state.waiters != self.waiters:
            self.fail("INV-4", "recovered waiters differ from the durable ones")
        if state.sizes != self.sizes:
            self.fail("INV-4", "recovered semaphores differ from the durable ones")
        if {key: call.lease_id for key, call in state.calls.items()} != self.calls:
            self.fail("INV-4", "recovered calls differ from the durable ones")


TOLD_BY = {
    "LeaseGranted": LeaseState.OFFERED,
    "LeaseActivated": LeaseState.ACTIVE,
    "LeaseRevoking": LeaseState.REVOKING,
    "LeaseRevoked": LeaseState.REVOKED,
    "LeaseReleased": LeaseState.RELEASED,
    "LeaseExpired": LeaseState.EXPIRED,
}
"""The event that is committed with each transition (INV-5)."""


def _paths(batch: Batch) -> dict[str, list[LeaseState]]:
    """The states that each lease took in this batch, as its events tell them."""
    paths: dict[str, list[LeaseState]] = {}
    for event in codec.decode_events(batch.events) if batch.events else []:
        if event.kind in TOLD_BY:
            paths.setdefault(event.subject, []).append(TOLD_BY[event.kind])
    return paths


def allowed(path: list[LeaseState]) -> bool:
    """Whether each step stands in the table; a revoked lease ends a second time, when its processes do."""
    return bool(path) and all(
        to in TRANSITIONS[at] or at is to is LeaseState.REVOKED for at, to in pairwise(path)
    )


def size_of(name: str, state: State, view: NodeView | None) -> int:
    if not name.startswith(DEVICE):
        return state.semaphores[name].size if name in state.semaphores else 1
    return dict(view.totals.devices).get(name.removeprefix(DEVICE), 0) if view is not None else 0


def usable_units(view: NodeView, limits: CapacitySettings) -> int:
    """LEASE-6, written down once more: max(0, floor(total · curve(score) · (1 - headroom)) - reserve)."""
    share = 10_000
    if not view.always:
        score = view.score or 0
        points = limits.curve
        low = max((point for point in points if point[0] <= score), default=points[0])
        high = min((point for point in points if point[0] > score), default=low)
        span = high[0] - low[0]
        share = low[1] + ((high[1] - low[1]) * (score - low[0]) // span if span else 0)
    return max(0, UNITS_TOTAL * share * (100 - limits.headroom_pct) // 1_000_000 - limits.reserve_units)


def gate(view: NodeView, ask: Ask, now_ms: int) -> str:
    """Why nothing of this kind may start at this moment; empty: it may (LEASE-4)."""
    if view.state == "UNKNOWN" or view.score is None or now_ms - view.measured_ms > STALE_AFTER_MS:
        return "nothing was known of the machine"
    if view.always:
        return ""
    if view.state == "PANIC":
        return "the machine was in PANIC"
    if now_ms < view.cooldown_until_ms:
        return "it was cooling down"
    if view.state != "QUIET" and ask.quiet_gate and ask.priority > Priority.HIGH:
        return f"the machine was {view.state}"
    return ""
