"""The service by which leased work gives way and comes back (LEASE-14).

What each lease is to do stands in its record; that its processes do it is a *level* effect, derived from the
records again and again: after each commit, each tick, and after a restart. A brake that could not be put on
is tried again until it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import structlog

from leasehold.control import answers
from leasehold.control.bindings import Offload
from leasehold.control.lease import LeaseService
from leasehold.control.live import query_of
from leasehold.core import ladder, pause
from leasehold.core import lease as life
from leasehold.core.ladder import Move, Step
from leasehold.core.state import LEASES, Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event
from leasehold.model.lease import BrakeLevel, Lease
from leasehold.model.principal import Principal
from leasehold.model.work import WorkQuery
from leasehold.ports.host import Brakes
from leasehold.wire import lease as wire

log = structlog.get_logger(__name__)

SETTLE_S = 2.0
"""How long a person's pause waits for the processes to stand still before it says that they will."""

ENDED_LOOKED_AT = 200
"""How many of those that ended last are looked at after a restart: one of them may stand still yet."""

UNHEARD_MS = 6_000
"""How long what was taken back for want of memory stands still at most: `run` asks every five seconds."""

HEARD_MS = 250
"""How long the holder takes to tell the work to end, once it has heard of it."""


class NoBrakes:
    """`ports.host.Brakes` where nothing is held by force: holders are told by their heartbeats, and obey."""

    def freeze(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        return frozenset(query.lease_id for query in queries)

    thaw = throttle = loosen = freeze

    def held(self) -> dict[str, BrakeLevel]:
        return {}


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """An `Offload` for what does not block."""
    return function(*arguments)


class LadderService:
    """Decides when the node's state changes, and sees that the processes follow. One instance per server.

    `offload` is a thread of its own: a freeze must not wait behind anything else.
    """

    def __init__(
        self, leases: LeaseService, brakes: Brakes | None = None, offload: Offload | None = None
    ) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._brakes: Brakes = brakes or NoBrakes()
        self._offload: Offload = offload or at_once
        self._memory = ladder.Memory()
        self._applied: dict[str, tuple[BrakeLevel, WorkQuery]] = {}
        self._unwritten: dict[str, BrakeLevel] = {}
        self._taken_back: dict[str, int] = {}
        self._holds: set[str] = set()
        self._complained: set[str] = set()
        self._dirty = self._verify = False
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # -- deciding

    def look(self) -> None:
        """Decide what follows from the node's state and the time. Cheap while nothing is to be done."""
        ledger, state = self._ledger, self._ledger.state
        view = state.view
        if view is None or not ledger.ready or self._stopping:
            return
        now_ms = ledger.clock.now_ms()
        self._memory = ladder.seen(self._memory, view, now_ms)
        self._taken_back = {
            lease_id: since_ms
            for lease_id, since_ms in self._taken_back.items()
            if lease_id in state.leases and self._is_unheard(lease_id, since_ms)
        }
        if self._memory.calm_since_ms is not None and not (state.braked or self._unwritten or self._applied):
            return
        if ladder.is_calm(self._memory, now_ms):
            self._unwritten.clear()
        steps = ladder.steps(self._concerned(state), view, self._memory, now_ms, partial(self._need, now_ms))
        if steps:
            self._take(steps, now_ms)
        self._wake()

    def _concerned(self, state: State) -> list[Lease]:
        if self._memory.calm_since_ms is None:
            return list(state.leases.values())
        return [state.leases[lease_id] for lease_id in sorted(state.braked)]

    def _need(self, now_ms: int, lease: Lease) -> ladder.Need:
        live = self._ledger.state.liveness.get(lease.lease_id)
        cpu_ms, memory = (0, 0) if live is None else (live.cpu_ms, live.memory_bytes)
        return ladder.need_of(lease, now_ms, cpu_ms, memory)

    def _take(self, steps: list[Step], now_ms: int) -> None:
        try:
            self._ledger.submit(self._deciding(steps))
        except LeaseholdError as error:
            # The machine is needed all the same: what gives way gives way unwritten, until it can be written.
            known = len(self._unwritten)
            for step in steps:
                if step.move in (Move.FREEZE, Move.THROTTLE):
                    frozen = step.move is Move.FREEZE
                    self._unwritten[step.lease_id] = BrakeLevel.FROZEN if frozen else BrakeLevel.THROTTLED
            if len(self._unwritten) > known:
                log.warning("held_back_unwritten", leases=len(self._unwritten), why=str(error))
            return
        self._unwritten.clear()
        self._taken_back.update({step.lease_id: now_ms for step in steps if step.stands})
        self._memory = ladder.after(self._memory, steps, now_ms)

    def _is_unheard(self, lease_id: str, since_ms: int) -> bool:
        """Whether the work of a lease that was taken back is yet to be told to end, as far as is known."""
        live, now_ms = self._ledger.state.liveness.get(lease_id), self._ledger.clock.now_ms()
        if live is not None and live.told_ms is not None:
            return now_ms - live.told_ms < HEARD_MS
        return now_ms - since_ms < UNHEARD_MS

    def _deciding(self, steps: Sequence[Step]) -> Callable[[State, Stamp], Outcome]:
        return lambda state, stamp: ladder.take(state, stamp, steps, self._leases.settings())

    # -- what people say

    async def pause(self, principal: Principal, lease_id: str, body: wire.Pause) -> wire.LeaseOut:
        """Have its work stand still until somebody resumes it. Idempotent. Somebody else's takes a right.

        Answered when all of it stands still, or after two seconds.
        """

        def decide(state: State, stamp: Stamp) -> Outcome:
            return pause.pause(self._own(state, principal, lease_id), stamp, principal.name, body.note)

        return await self._said(principal, lease_id, decide)

    async def resume(self, principal: Principal, lease_id: str, body: wire.Resume) -> wire.LeaseOut:
        """Have it go on at once, whoever held it back. Idempotent.

        Where it was paused for so long that it gave its room back, it waits in line for that first.
        """

        def decide(state: State, stamp: Stamp) -> Outcome:
            lease = self._own(state, principal, lease_id)
            claims = len(state.line) > 0 and self._leases.line.claims(stamp.now_ms)
            return pause.resume(
                state, lease, stamp, self._leases.settings(), principal.name, body.note, line_claims=claims
            )

        return await self._said(principal, lease_id, decide)

    def _own(self, state: State, principal: Principal, lease_id: str) -> Lease:
        return life.own(state, lease_id, principal.name, token=None, any_holder=principal.may("lease:revoke"))

    async def _said(
        self, principal: Principal, lease_id: str, decide: Callable[[State, Stamp], Outcome]
    ) -> wire.LeaseOut:
        if await self._leases.held(lease_id) is None:
            ended = await self._leases.find(lease_id)
            life.check_holder(ended, principal.name, any_holder=principal.may("lease:revoke"))
            raise life.ended(ended)
        await self._ledger.execute(decide)
        self._wake()
        self._leases.line.dispatch()  # When others may start has changed.
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=SETTLE_S)
        lease = await self._leases.held(lease_id) or await self._leases.find(lease_id)
        lease = await self._leases.as_durable(lease)
        return answers.lease(lease, self._ledger, with_token=lease.ask.principal == principal.name)

    # -- the effect

    def committed(self, events: Iterable[Event]) -> None:
        """After each commit: what was decided is done now."""
        held = {*self._ledger.state.braked, *self._applied, *self._taken_back}
        if held and any(event.subject in held for event in events):
            self._wake()

    def _wake(self) -> None:
        if not self._todo():
            return
        self._dirty = True
        self._run()

    def _run(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        try:
            while self._dirty or self._verify:
                if not self._dirty:
                    self._verify = False
                    await self._verified()
                    continue
                self._dirty = False
                # The machine is needed: what is to stand still comes before what may go on.
                for (before, after), queries in sorted(
                    self._todo().items(), key=lambda one: one[0][1] != "frozen"
                ):
                    await self._change(before, after, queries)
        except Exception:  # The next tick tries again: nobody may be left standing for ever.
            log.exception("brakes")

    def _todo(self) -> dict[tuple[str, str], list[WorkQuery]]:
        """What is and what should be, where they differ, each "" or a level; with the work concerned."""
        state = self._ledger.state
        todo: dict[tuple[str, str], list[WorkQuery]] = {}
        cores = self._leases.totals.cpu_millicores
        for lease_id in sorted({*state.braked, *self._applied, *self._unwritten, *self._taken_back}):
            if self._ledger.is_pending(LEASES, lease_id):
                continue  # Effects follow what is durable.
            lease = state.leases.get(lease_id)
            applied = self._applied.get(lease_id)
            has, query = ("", None) if applied is None else applied
            want = self._wanted(lease)
            if lease is not None and (lease.is_live or query is None):
                known, query = query, query_of(lease, cores)
                if known is not None and query.is_guarded and _elsewhere(known, query):
                    # It runs elsewhere now, or gives way in another way: the old one is let go first.
                    want, query = "", known
            slips = want == BrakeLevel.FROZEN and lease_id not in self._holds
            if (want != has or slips) and query is not None:
                todo.setdefault((str(has), str(want)), []).append(query)
        return todo

    def _wanted(self, lease: Lease | None) -> BrakeLevel | str:
        if lease is None or not lease.is_live:
            return ""
        if lease.brake is not None:
            return lease.brake.level
        if lease.lease_id in self._taken_back:
            return BrakeLevel.FROZEN
        return self._unwritten.get(lease.lease_id, "")

    async def _change(self, before: str, after: str, queries: list[WorkQuery]) -> None:
        """Off with one brake, on with the other; what did not take is tried again at the next look."""
        began_ms = self._ledger.clock.now_ms()
        free = frozenset(query.lease_id for query in queries)
        if before != after and before:
            let_go = self._brakes.thaw if before == BrakeLevel.FROZEN else self._brakes.loosen
            free = await self._offload(let_go, queries)
            for lease_id in free:
                self._applied.pop(lease_id, None)
                self._holds.discard(lease_id)
        held = free
        if after and free:
            put_on = self._brakes.freeze if after == BrakeLevel.FROZEN else self._brakes.throttle
            queries = [query for query in queries if query.lease_id in free]
            # Noted before it holds: what stands still only in part has to be let go like the rest.
            self._applied.update({query.lease_id: (BrakeLevel(after), query) for query in queries})
            held = await self._offload(put_on, queries)
            self._holds |= held
        self._tell(before, after, queries, held, self._ledger.clock.now_ms() - began_ms)

    def _tell(
        self, before: str, after: str, queries: list[WorkQuery], held: frozenset[str], took_ms: int
    ) -> None:
        failed = sorted({query.lease_id for query in queries} - held - self._complained)
        if failed and after == BrakeLevel.THROTTLED:
            log.info("no_quota", leases=failed)  # Low weight is all there is here; it is no fault.
        elif failed:
            log.warning("brake_did_not_take", leases=failed, before=before, after=after)
        self._complained = (self._complained | set(failed)) - held
        if held:
            log.info("brakes", before=before, after=after, leases=sorted(held)[:10], took_ms=took_ms)

    def verify(self) -> None:
        """Processes may have been woken by others (`fg` in a terminal): what is frozen is frozen again."""
        if self._applied:
            self._verify = True
            self._run()

    async def _verified(self) -> None:
        frozen = [query for level, query in self._applied.values() if level is BrakeLevel.FROZEN]
        if not frozen:
            return
        held = await self._offload(self._brakes.freeze, frozen)
        self._holds -= {query.lease_id for query in frozen} - held

    # -- starting and stopping

    def reloaded(self, state: State) -> None:
        """The state was read from the store: find out what a server before this one has left frozen."""
        self._memory = ladder.Memory()
        self._taken_back.clear()
        self._leases.spawn(self._found(state))

    async def _found(self, state: State) -> None:
        held = await self._offload(self._brakes.held)
        cores = self._leases.totals.cpu_millicores
        for lease_id, level in held.items():
            lease = state.leases.get(lease_id)
            query = query_of(lease, cores) if lease is not None else WorkQuery(lease_id, cgroup=lease_id)
            self._applied.setdefault(lease_id, (level, query))
        for lease in await self._may_stand(state):
            # Signals leave no trace to be found by: who ever stood, and should not, is told to go on.
            self._applied.setdefault(lease.lease_id, (BrakeLevel.FROZEN, query_of(lease, cores)))
        self._wake()

    async def _may_stand(self, state: State) -> list[Lease]:
        ended = await self._leases.ended_lately(ENDED_LOOKED_AT)
        known = [*state.leases.values(), *(lease for lease in ended if lease.lease_id not in state.leases)]
        return [lease for lease in known if lease.stood_ms and not lease.brake and _leaves_no_trace(lease)]

    async def stop(self) -> None:
        """Let go of all that is held back, unless a person paused it: without a server nobody would.

        Takes at most a second or two; call it while the ledger still takes commands.
        """
        self._stopping = True
        self._unwritten.clear()
        self._taken_back.clear()
        steps = ladder.farewell(self._ledger.state.leases[each] for each in sorted(self._ledger.state.braked))
        if steps:
            try:
                await self._ledger.execute(self._deciding(steps))
            except LeaseholdError as error:
                log.warning("held_back_at_stop", leases=len(steps), why=str(error))
        self._wake()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=SETTLE_S)


def _elsewhere(known: WorkQuery, query: WorkQuery) -> bool:
    if known.stops or query.stops:  # Where it ran does not matter to what stops it.
        return known.stops != query.stops
    return (known.processes, known.cgroup, known.stops) != (query.processes, query.cgroup, query.stops)


def _leaves_no_trace(lease: Lease) -> bool:
    """Whether no look at our own places would find it frozen."""
    return not lease.binding.cgroup or lease.ask.guard is not None
