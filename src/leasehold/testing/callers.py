"""Simulated callers: programs that ask, keep, report, release, die, repeat themselves and lie."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec

from leasehold.model.errors import Conflict, LeaseEnded, LeaseholdError, NotFound, NotPermitted, StaleToken
from leasehold.model.lease import Process
from leasehold.model.principal import Principal
from leasehold.testing import edge
from leasehold.testing.edge import Lost
from leasehold.testing.faults import Kind
from leasehold.wire import lease as wire

if TYPE_CHECKING:
    from leasehold.testing.simulated_world import World

USER = frozenset({"lease:now", "lease:request"})
ADMIN = USER | {"lease:revoke", "lease:bind-any", "limits:exempt"}
WAITS_S = (0, 0, 1, 5, 20, 60, 300)


class Held(msgspec.Struct):
    """A lease as its holder knows it. `until_ms` is how long it relies on it (true time)."""

    lease_id: str
    token: int
    refresh_s: float
    until_ms: int = 0
    ended: bool = False
    stop: bool = False


class Caller:
    """One program with a credential of its own. `jobs` are done one after the other, each to its end."""

    def __init__(self, world: World, name: str, jobs: int) -> None:
        self.world = world
        self.name = name
        self.chance = random.Random(f"{world.seed} {name}")
        self.yields = random.Random(f"{world.seed} {name} yields")
        self.me = Principal(f"user:{name}", "user", USER, local=True, uid=1000)
        self.jobs = jobs
        self.keys = 0

    async def run(self) -> None:
        for _ in range(self.jobs):
            await asyncio.sleep(self.chance.random() * 20)
            kind = self.chance.choices((self.plain, self.bound, self.dies, self.forgetful), (10, 4, 2, 2))[0]
            await kind()

    async def call(self, work: edge.Work, patience_s: float = edge.PATIENCE_S) -> Any:
        return await self.world.network.call(self.name, work, patience_s)

    # -- asking

    def body(self) -> wire.HeavyLeaseRequest:
        """Something to ask for: units, parts of the machine, locks, slots, devices."""
        chance = self.chance
        body = wire.HeavyLeaseRequest(
            job_type=chance.choice(("build", "scan", "sync")),
            priority=chance.choice(("NORMAL", "NORMAL", "LOW", "HIGH", "BACKGROUND", "URGENT")),
            start=chance.choice(("now", "quiet", "quiet")),
            expected_duration_sec=chance.choice((None, 10, 60, 600)),
            on_busy=self.yields.choice(("keep", "keep", "keep", "throttle", "pause", "stop")),
        )
        kind = chance.randrange(10)
        if kind < 3:
            return msgspec.structs.replace(body, cost_units=chance.choice((1, 10, 30, 40, 60, 90)))
        if kind < 5:
            needs = wire.Resources(
                cpu_millicores=chance.choice((None, 500, 2_000, 4_000)),
                memory_bytes=chance.choice((1 << 30, 6 << 30, 12 << 30)),
                devices=chance.choice(({}, {}, {"gpu:0": 1}, {"gpu:1": 1})),
            )
            return msgspec.structs.replace(body, resources=needs)
        if kind < 7:
            return msgspec.structs.replace(
                body, locks=chance.sample(["a", "b", "c"], chance.choice((1, 1, 2)))
            )
        if kind < 9:
            slots = [wire.SlotAsk(chance.choice(("s", "t")), 2)]
            return msgspec.structs.replace(body, slots=slots, cost_units=chance.choice((None, 5)))
        limits = [chance.choice(("cpu_heavy", "disk_write_heavy", "gpu", "network_heavy"))]
        return msgspec.structs.replace(body, cost_units=5, constraints=limits)

    async def obtain(
        self, me: Principal, body: wire.HeavyLeaseRequest, *, tries: int = 10_000
    ) -> Held | None:
        """Ask until granted, coming back with the ticket, as a patient program does."""
        ticket: str | None = None
        key: str | None = None
        asked = body
        for _ in range(tries):
            if key is None:
                wait_s = self.chance.choice(WAITS_S)
                asked = msgspec.structs.replace(body, wait_sec=wait_s, ticket=ticket)
                if self.chance.randrange(3) == 0:
                    self.keys += 1
                    key = f"{self.name}-{self.keys}"
            try:
                answer = await self._ask(me, asked, key)
            except Lost:
                await asyncio.sleep(self.chance.random() * 3)
                continue  # With a key the very same call is repeated, else another one is made.
            except Conflict:
                if key is None:
                    ticket = None
                await asyncio.sleep(1)
                key = None
                continue
            except LeaseholdError as error:
                await asyncio.sleep(error.retry_after_s or 1)
                continue
            key = None
            if answer.approved:
                return self._held(answer)
            ticket = answer.ticket
            if ticket is None:
                return None  # NEVER_FITS
            await asyncio.sleep(answer.retry_after_sec or 1)
        return None

    async def _ask(
        self, me: Principal, body: wire.HeavyLeaseRequest, key: str | None
    ) -> wire.HeavyLeaseResponse:
        answer: wire.HeavyLeaseResponse = await self.call(
            lambda server: edge.request(server, me, body, key), edge.PATIENCE_S + body.wait_sec
        )
        return answer

    def _held(self, answer: wire.HeavyLeaseResponse) -> Held | None:
        if answer.lease_id is None or answer.fencing_token is None or answer.limits is None:
            self.world.model.fail("LEASE-2", f"an approval without its lease: {answer}")
            return None
        return Held(answer.lease_id, answer.fencing_token, answer.limits.refresh_after_sec)

    # -- keeping

    async def beat(self, me: Principal, held: Held, bind: wire.Bind | None = None) -> bool:
        """Renew once. False when nothing was heard."""
        sent_ms = self.world.machine.boot_ms()
        body = wire.Heartbeat(held.token, bind)
        try:
            answer = await self.call(lambda server: edge.heartbeat(server, me, held.lease_id, body))
        except (LeaseEnded, NotFound, StaleToken, NotPermitted):
            held.ended = True
            self.world.histories.gave_up(held.lease_id)
            return True
        except (Lost, LeaseholdError):
            return False
        self._heard(held, answer, sent_ms)
        return True

    def _heard(self, held: Held, answer: wire.HeartbeatAnswer, sent_ms: int) -> None:
        held.refresh_s = answer.limits.refresh_after_sec
        if answer.action == "stop":
            held.stop = True
            return
        ttl_ms = int(answer.limits.ttl_sec * 1000)
        held.until_ms = max(held.until_ms, sent_ms + ttl_ms)
        self.world.histories.renewed(held.lease_id, sent_ms, held.until_ms, ttl_ms)

    async def keep(self, me: Principal, held: Held, for_s: float) -> None:
        """Work for a while, renewing as it was told to."""
        clock = self.world.machine.boot_ms
        end_ms = clock() + int(for_s * 1000)
        while not held.ended and not held.stop and clock() < end_ms:
            if self.chance.randrange(6) == 0:
                await self._report(me, held)
            heard = await self.beat(me, held)
            pause_s = held.refresh_s if heard else min(2.0, held.refresh_s)
            await asyncio.sleep(min(pause_s, max(0.0, (end_ms - clock()) / 1000)))

    async def _report(self, me: Principal, held: Held) -> None:
        body = wire.Report(held.token, progress=self.chance.random())
        try:
            await self.call(lambda server: edge.report(server, me, held.lease_id, body))
        except (Lost, LeaseholdError):
            return

    async def give_back(self, me: Principal, held: Held) -> None:
        """Release, until it was heard; sometimes once more."""
        self.world.histories.gave_up(held.lease_id)
        left = self.chance.choice((1, 1, 2))
        body = wire.Release(held.token)
        while left:
            try:
                await self.call(lambda server: edge.release(server, me, held.lease_id, body))
                left -= 1
            except LeaseEnded:
                return
            except (Lost, LeaseholdError):
                await asyncio.sleep(0.5 + self.chance.random())

    # -- kinds of programs

    async def plain(self) -> None:
        """Asks, works, releases."""
        held = await self.obtain(self.me, self.body())
        if held is not None:
            await self.keep(self.me, held, self.chance.choice((0.0, 0.1, 5.0, 20.0, 70.0)))
            await self.give_back(self.me, held)

    async def forgetful(self) -> None:
        """Renews for a while, and is then gone without a word."""
        held = await self.obtain(self.me, self.body())
        if held is not None and self.chance.randrange(3):
            await self.keep(self.me, held, self.chance.random() * 20)

    async def dies(self) -> None:
        """Is killed in the instant in which its grant is committed."""
        world = self.world
        asking = asyncio.ensure_future(self.obtain(self.me, self.body(), tries=20))
        world.dies_at_grant[self.me.name] = asking
        held = None
        try:
            held = await asking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            world.met[Kind.CALLER_KILLED] += 1
        finally:
            world.dies_at_grant.pop(self.me.name, None)
        if held is not None:
            await self.give_back(self.me, held)

    async def bound(self) -> None:
        """A command under a lease: a wrapper on the Unix socket, and its child; either may die first."""
        world = self.world
        wrapper = world.processes.start()
        me = Principal(f"user:{self.name}", "user", USER, local=True, pid=wrapper.pid, uid=1000)
        held = await self.obtain(me, self.body())
        if held is None:
            world.processes.end(wrapper)
            return
        child = world.work.fork(held.lease_id)
        fate = self.chance.randrange(3)
        await self._bind(me, held, child)
        await self.keep(me, held, self.chance.random() * 30)
        if fate == 0:
            await self._orphan(held, wrapper, child)
            return
        if fate == 1:
            grandchild = world.work.fork(held.lease_id)
            world.processes.end(child)
            await self.keep(me, held, self.chance.random() * 20)
            world.processes.end(grandchild)
        world.processes.end(child)
        await self.give_back(me, held)
        world.processes.end(wrapper)

    async def _bind(self, me: Principal, held: Held, child: Process) -> None:
        bind = wire.Bind(pids=[child.pid])
        while not held.ended:
            if await self.beat(me, held, bind):
                return
            await asyncio.sleep(0.3)

    async def _orphan(self, held: Held, wrapper: Process, child: Process) -> None:
        """The wrapper is killed; what it had started works on, and ends some time later."""
        world = self.world
        world.met[Kind.WRAPPER_KILLED] += 1
        world.histories.gave_up(held.lease_id)
        world.processes.end(wrapper)
        await asyncio.sleep(self.chance.random() * 100)
        world.processes.end(child)


class Person(Caller):
    """Looks, revokes, renews in bulk, gives up places, and shows tokens that are not its own."""

    def __init__(self, world: World, name: str, jobs: int) -> None:
        super().__init__(world, name, jobs)
        self.me = Principal(f"admin:{name}", "admin", ADMIN, local=True, uid=0)

    async def run(self) -> None:
        for _ in range(self.jobs):
            await asyncio.sleep(self.chance.random() * 8)
            kind = self.chance.choices(
                (self.look, self.take_back, self.lie, self.many, self.leave), (6, 2, 3, 2, 1)
            )[0]
            if self.yields.randrange(5) == 0:
                kind = self.hold_back
            try:
                await kind()
            except (Lost, LeaseholdError):
                continue

    async def look(self) -> None:
        await self.call(lambda server: edge.status(server, self.me))

    def _some_lease(self) -> Any:
        known = [each.record for each in self.world.model.leases.values() if not each.record.ended_ms]
        return self.chance.choice(known) if known else None

    async def take_back(self) -> None:
        """Revoke somebody's lease."""
        lease = self._some_lease()
        if lease is not None:
            body = wire.Revoke(grace_sec=self.chance.choice((None, 0, 3)))
            await self.call(lambda server: edge.revoke(server, self.me, lease.lease_id, body))

    async def hold_back(self) -> None:
        """Pause somebody's work, and let it go on some time later, however often that takes."""
        lease = self._some_lease()
        if lease is None:
            return
        paused = await self.call(lambda server: edge.pause(server, self.me, lease.lease_id))
        while "paused" in paused.flags:
            await asyncio.sleep(self.yields.random() * 20)
            try:
                paused = await self.call(lambda server: edge.resume(server, self.me, lease.lease_id))
            except (LeaseEnded, NotFound):
                return
            except (Lost, LeaseholdError):
                continue

    async def lie(self) -> None:
        """Show a token that is too old, or another's lease."""
        lease = self._some_lease()
        if lease is None:
            return
        owner = Principal(lease.ask.principal, "user", USER, local=True)
        me, token = self.chance.choice(((owner, lease.token - 1), (owner, 0), (self.me, lease.token)))
        if self.chance.randrange(2):
            beat = wire.Heartbeat(token)
            await self.call(lambda server: edge.heartbeat(server, me, lease.lease_id, beat))
        else:
            end = wire.Release(token)
            await self.call(lambda server: edge.release(server, me, lease.lease_id, end))

    async def many(self) -> None:
        """Hold two leases, renew them together, release them."""
        body = wire.HeavyLeaseRequest(cost_units=2, start="now")
        both = [held for _ in range(2) if (held := await self.obtain(self.me, body, tries=30)) is not None]
        if not both:
            return
        for _ in range(self.chance.randrange(1, 4)):
            sent_ms = self.world.machine.boot_ms()
            ids = wire.BulkHeartbeat({held.lease_id: held.token for held in both})
            answer = await self._renew_all(ids)
            for held, item in zip(both, answer.leases, strict=True):
                if item.answer is not None:
                    self._heard(held, item.answer, sent_ms)
            await asyncio.sleep(5)
        for held in both:
            await self.give_back(self.me, held)

    async def _renew_all(self, ids: wire.BulkHeartbeat) -> wire.BulkHeartbeatAnswer:
        answer: wire.BulkHeartbeatAnswer = await self.call(
            lambda server: edge.heartbeats(server, self.me, ids)
        )
        return answer

    async def leave(self) -> None:
        """Ask once, and give the place in line up again."""
        body = msgspec.structs.replace(self.body(), wait_sec=self.chance.choice((0, 1)))
        answer = await self._ask(self.me, body, None)
        if answer.approved and answer.lease_id is not None:
            held = self._held(answer)
            if held is not None:
                await self.give_back(self.me, held)
        elif answer.ticket is not None:
            ticket = answer.ticket
            await self.call(lambda server: server.leases.abandon(self.me, ticket))
