"""Live leases as time, processes and the store bring them: deadlines, deaths, stalls, recoveries, effects.

What callers ask for stands in `control/request.py` and `control/lease.py`, on top of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from leasehold.control import codec
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.ledger import Ledger
from leasehold.control.limiter import Limiter
from leasehold.control.line import LineService
from leasehold.control.recovery import full_time, set_deadlines
from leasehold.control.tenant import InForce
from leasehold.control.timers import Timers
from leasehold.core import lease as life
from leasehold.core.capacity import UNITS_QUIET
from leasehold.core.state import LEASES, Outcome, Stamp, State
from leasehold.model.charge import Totals
from leasehold.model.errors import LeaseholdError, NotFound, NotReady
from leasehold.model.lease import UNBOUND, Lease, LeaseState, OnBusy
from leasehold.model.settings import PolicySettings
from leasehold.model.work import WorkQuery, WorkUse
from leasehold.ports.archive import Archive

log = structlog.get_logger(__name__)

AGAIN_MS = 1_000
"""How long after the store refused it a change that nobody asked for is tried again."""

LOOK_AGAIN = "again "
"""Before a lease's id in the timers: its processes are to be looked at again, whatever its deadline."""


class LiveLeases:
    """The leases of one ledger, with their timers, their bindings and the line of those who wait for one."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        bindings: Bindings,
        archive: Archive,
        counters: Counters,
        totals: Totals,
    ) -> None:
        self.ledger = ledger
        self.settings = settings = InForce(settings, ledger)
        self.limiter = Limiter(settings)
        self.bindings = bindings
        self.archive = archive
        self.counters = counters
        self.timers = Timers()
        self.line = LineService(ledger, settings, lambda _waiter, lease: self.started(lease))
        self._totals_at_start = totals
        self._background: set[asyncio.Task[None]] = set()
        self._containing: dict[str, asyncio.Task[None]] = {}

    @property
    def totals(self) -> Totals:
        """The node's totals: as last measured, or as read at start."""
        view = self.ledger.state.view
        return view.totals if view is not None else self._totals_at_start

    # -- looking

    async def find(self, lease_id: str) -> Lease:
        """An ended lease, from memory or the archive. Raises NotFound."""
        if not self.ledger.ready:
            raise NotReady("recovery is not done, so nothing is known of it yet", retry_after_s=1)
        lease = self.ledger.state.ended.get(lease_id)
        if lease is None:
            value = await self.archive.find(codec.store_key(LEASES, lease_id))
            if value is None:
                raise NotFound(f"no lease {lease_id} is known; see `leasehold get leases`", lease_id=lease_id)
            lease = codec.decode(LEASES, lease_id, value)
        return lease

    async def ended_lately(self, at_most: int) -> list[Lease]:
        """The leases that ended last, from the archive, newest first."""
        rows = await self.archive.finished(f"/{LEASES}/", limit=at_most)
        return [codec.decode(LEASES, codec.split_key(key)[1], value) for key, value in rows]

    async def held(self, lease_id: str) -> Lease | None:
        """The lease, where it is charged; that it is over is said once it can't be taken back (INV-4)."""
        lease = self.ledger.state.leases.get(lease_id)
        while (lease is None or not lease.is_live) and self.ledger.is_pending(LEASES, lease_id):
            await self.ledger.record_settled(LEASES, lease_id)
            lease = self.ledger.state.leases.get(lease_id)
        return lease

    async def as_durable(self, lease: Lease) -> Lease:
        """The lease as an answer may show it: with nothing in it that could still be taken back (INV-4)."""
        while self.ledger.is_pending(LEASES, lease.lease_id):
            await self.ledger.record_settled(LEASES, lease.lease_id)
            lease = self.ledger.state.leases.get(lease.lease_id) or await self.find(lease.lease_id)
        return lease

    # -- the effects of a grant

    def started(self, lease: Lease) -> None:
        """The effects of a durable grant.

        The time that it is offered for begins now, however slow the disk was; its processes are watched.
        """
        if self.ledger.state.leases.get(lease.lease_id) is lease:
            now_ms = self.ledger.clock.now_ms()
            offered = [(lease.lease_id, now_ms + self.settings().lease.offer_ms)]
            set_deadlines(self.ledger.state, offered, self.ledger.clock.wall_ms())
            self.timers.set(*offered[0])
        if lease.binding is UNBOUND:
            return
        self.bindings.follow(lease)
        self._put_in_place(lease)

    def _put_in_place(self, lease: Lease) -> None:
        if lease.binding.work and not lease.binding.cgroup and lease.ask.guard is None:
            task = self._containing[lease.lease_id] = self.spawn(self._contain(lease))
            task.add_done_callback(lambda _done: self._containing.pop(lease.lease_id, None))

    async def contained(self, lease: Lease) -> Lease:
        """The lease; where it is to be limited, with what holds its processes by now (LEASE-23)."""
        under_way = self._containing.get(lease.lease_id)
        if under_way is None or lease.ask.limits is None:
            return lease
        await asyncio.wait({under_way})
        return self.ledger.state.leases.get(lease.lease_id, lease)

    async def _contain(self, lease: Lease) -> None:
        admitted = await self.bindings.admit(lease, lease.binding.work)
        if not admitted.cgroup and not admitted.unlimited:
            return

        def decide(state: State, stamp: Stamp) -> Outcome:
            now = state.leases.get(lease.lease_id)
            if now is None:
                return Outcome()
            return life.place(now, admitted.cgroup, admitted.limits, admitted.unlimited)

        await self.ledger.execute(decide)

    def spawn(self, work: object) -> asyncio.Task[None]:
        """Run an effect beside the calls; what it raises is logged."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._background.add(task)
        task.add_done_callback(self._spawned)
        return task

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("effect_failed", why=str(task.exception()))

    # -- what time and processes bring

    def due(self, key: str, now_ms: int) -> None:
        """A time has come: a deadline of a lease or ticket, or to look at a lease's processes again."""
        if key.startswith(LOOK_AGAIN):
            self.process_ended(key.removeprefix(LOOK_AGAIN))
            return
        if key.startswith("tkt-"):
            next_ms = self.line.due(key, now_ms)
            if next_ms is not None:
                self.timers.set(key, next_ms)
            return
        live = self.ledger.state.liveness.get(key)
        lease = self.ledger.state.leases.get(key)
        if live is None or lease is None:
            return
        if lease.state is LeaseState.OFFERED and self.ledger.is_pending(LEASES, key):
            self.timers.set(key, now_ms + AGAIN_MS)  # Nobody can have heard of it yet.
            return
        if live.deadline_ms > now_ms or self.ledger.read_only:
            self.timers.set(
                key, max(live.deadline_ms, now_ms + 1000) if self.ledger.read_only else live.deadline_ms
            )
            return
        self._by_itself(key, key, partial(life.due, work_lives=self.bindings.work_lives(lease)))

    def process_ended(self, lease_id: str) -> None:
        """A bound process has ended."""
        lease = self.ledger.state.leases.get(lease_id)
        if lease is None:
            return
        caller, work = self.bindings.caller_lives(lease), self.bindings.work_lives(lease)
        kills = 0 if work else self.bindings.memory_kills(lease)
        live = self.ledger.state.liveness.get(lease_id)
        ended = partial(
            life.processes_ended,
            caller_lives=caller,
            work_lives=work,
            memory_kills=kills,
            by_caller=live is not None and live.by_caller,
        )
        self._by_itself(lease_id, LOOK_AGAIN + lease_id, ended)

    def _by_itself(self, lease_id: str, again: str, change: Callable[..., Outcome]) -> None:
        """Submit a change that nobody asked for. What can't be written now is tried again, as `again`."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            lease = state.leases.get(lease_id)
            return Outcome() if lease is None else change(state, lease, stamp, self.settings())

        try:
            _, durable = self.ledger.submit(decide)
        except LeaseholdError as error:
            log.info("put_off", lease_id=lease_id, why=str(error))
            self.timers.set(again, self.ledger.clock.now_ms() + AGAIN_MS)
            return
        if durable is not None:
            durable.add_done_callback(partial(self._tried, lease_id, again))
        self.after_end(lease_id)

    def _tried(self, lease_id: str, again: str, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self.timers.set(again, self.ledger.clock.now_ms() + AGAIN_MS)
        elif lease_id not in self.ledger.state.leases:
            self.bindings.forget(lease_id)

    def after_end(self, lease_id: str) -> None:
        """Room may have come.

        Whoever is next is decided in the same turn, and committed in the same batch.
        """
        if lease_id not in self.ledger.state.leases:
            self.timers.drop(lease_id)
            ticket = self.ledger.state.resuming.get(lease_id)
            if ticket is not None:  # It waited for room to go on, and needs none any more.
                self.line.forget(self.ledger.state.waiters[ticket])
            self.line.dispatch()

    def to_measure(self) -> list[WorkQuery]:
        """What the collectors measure.

        The work of every live lease, and the wrappers that wait for it (SENSE-6).
        """
        cores = self.totals.cpu_millicores
        leases = self.ledger.state.leases.values()
        return [query_of(lease, cores) for lease in leases if _is_measured(lease)]

    def take_use(self, uses: Mapping[str, WorkUse]) -> None:
        """What the work of each lease has used so far.

        Volatile, kept for the end and for learning (LEASE-15).
        """
        for lease_id, use in uses.items():
            live = self.ledger.state.liveness.get(lease_id)
            if live is not None:
                live.cpu_ms = max(live.cpu_ms, use.cpu_ms)
                live.memory_bytes = use.memory_bytes
                live.memory_peak_bytes = max(live.memory_peak_bytes, use.memory_bytes)

    def stalled(self, _gap_ms: int) -> None:
        """After a stall, a suspend, or a time without a store each live lease has one full time to live
        (LEASE-10).
        """
        now_ms = self.ledger.clock.now_ms()
        deadlines = full_time(self.ledger.state, now_ms, self.settings().lease.ttl_ms)
        set_deadlines(self.ledger.state, deadlines, self.ledger.clock.wall_ms())
        for lease_id, due_ms in deadlines:
            self.timers.set(lease_id, due_ms)

    def reloaded(self, state: State) -> None:
        """The state was read from the store.

        Everyone gets a full time, places are kept, processes are watched again.
        """
        self.ledger.state = state
        self.stalled(0)
        self.line.kept_after_restart(self.ledger.clock.now_ms())
        for lease in list(state.leases.values()):
            self.bindings.follow(lease)
            if lease.ask.limits is not None:
                self._put_in_place(lease)  # A server before this one may have died in between.
        self.spawn(self.hold_limits())

    async def hold_limits(self) -> None:
        """What limits leases still does, also where somebody else has changed it (LEASE-23)."""
        await self.bindings.hold(list(self.ledger.state.leases.values()))

    def ended(self, lease: Lease) -> None:
        """The effects of a durable end."""
        if lease.ask.limits is not None and lease.lease_id not in self.ledger.state.leases:
            self.spawn(self.bindings.let_go(lease))


def _is_measured(lease: Lease) -> bool:
    """Guarded software while it runs, and what presses the machine or is held back."""
    if lease.ask.guard is not None:
        return lease.binding != UNBOUND
    return lease.ask.charge.is_work or lease.brake is not None


def query_of(lease: Lease, cores_millicores: int) -> WorkQuery:
    """What the host is asked about a lease's work. Units alone imply their share of the cores (LEASE-24)."""
    charge, binding, guard = lease.ask.charge, lease.binding, lease.ask.guard
    units = charge.units if guard is None else guard.cost_units or UNITS_QUIET
    return WorkQuery(
        lease.lease_id,
        charge.cpu_millicores or min(cores_millicores, cores_millicores * units // UNITS_QUIET),
        charge.memory_bytes,
        binding.work,
        (binding.caller,) if binding.caller is not None else (),
        binding.cgroup,
        binding.before,
        limits=binding.limits,
        is_guarded=guard is not None,
        stops=guard.target if guard is not None and lease.ask.on_busy is OnBusy.STOP else "",
    )
