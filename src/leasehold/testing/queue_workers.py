"""Simulated workers of the queue: with leases of their own, or under a session's; some vanish, some lie."""

from __future__ import annotations

import asyncio
from typing import Any

from leasehold.model.errors import (
    LeaseEnded,
    LeaseholdError,
    NotFound,
    NotPermitted,
    StaleToken,
)
from leasehold.model.job import JobState
from leasehold.model.principal import Principal
from leasehold.testing import edge
from leasehold.testing.edge import Lost
from leasehold.testing.jobs_world import Held, JobsWorld, number_of
from leasehold.testing.queue_callers import VERBS, QueueCaller
from leasehold.testing.simulated_queue import UID, HeldClaim, QueueServer
from leasehold.wire import claim as claim_wire
from leasehold.wire import lease as lease_wire

CLAIM_MAX = 4
SESSION_UNITS = 20
CONCURRENCY = 4


class Worker(QueueCaller):
    """Claims, renews, works for a while, says how it went until that is answered; some just vanish."""

    kind = "own"

    def __init__(self, world: JobsWorld, name: str) -> None:
        super().__init__(world, name)
        self.me = Principal(f"worker:{name}", "worker", VERBS, local=True, uid=UID)
        self.held: dict[str, Held] = {}
        self.old: list[claim_wire.CompletionItem] = []
        self.gone: set[str] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.chance.choice((0.01, 0.1, 1.0)))
            if len(self.held) < CLAIM_MAX:
                await self._claim()
            await self.renew()
            await self._finish_due()
            if self.old and self.chance.randrange(4) == 0:
                await self._lie(self.chance.choice(self.old))

    def session(self) -> claim_wire.SessionIn | None:
        """The session's lease, for who has one."""
        return None

    async def _claim(self) -> None:
        wait_s = self.chance.choice((0, 0, 1, 5, 20)) if not self.held else 0
        body = claim_wire.Claim(
            max=self.chance.choice((1, 2, CLAIM_MAX)),
            job_types=[self.kind],
            wait_sec=wait_s,
            worker_id=self.name,
            session=self.session(),
            known=self.chance.choice(([*self.held, *self.gone], None)),
        )
        sent_ms = self.world.machine.boot_ms()

        async def claim(server: QueueServer) -> Any:
            if body.session is not None:
                server.held_claims[self.name] = HeldClaim(self.me, body)
            try:
                answer = await server.jobs.claim(self.me, body)
            finally:
                server.held_claims.pop(self.name, None)
            for job in answer.jobs:
                token = job.fencing_token or answer.fencing_token
                self.world.jobs.told_handed(number_of(job.job_id), job.generation, token)
            return answer

        try:
            answer = await self.call(claim, edge.PATIENCE_S + wait_s)
        except (LeaseEnded, NotFound, StaleToken, NotPermitted):
            self.session_lost()
            return
        except (Lost, LeaseholdError):
            return
        for job in answer.jobs:
            self._take(job, answer, sent_ms)

    def session_lost(self) -> None:
        """There is none."""

    def trusted_until_ms(self, sent_ms: int, answer: claim_wire.ClaimOut) -> int:
        return sent_ms + int(answer.ttl_sec * 1000)

    def _take(self, job: claim_wire.Claimed, answer: claim_wire.ClaimOut, sent_ms: int) -> None:
        now_ms = self.world.machine.boot_ms()
        work_ms = self.chance.choice((0, 0, 50, 2_000, 20_000, 50_000))
        held = Held(
            job.job_id,
            job.generation,
            job.fencing_token or answer.fencing_token,
            job.lease_id or answer.lease_id,
            self.trusted_until_ms(sent_ms, answer),
            now_ms + work_ms,
        )
        if held.until_ms <= now_ms:
            return  # The answer was so late that it can't rely on it.
        self.gone.discard(job.job_id)
        self.held[job.job_id] = held
        self.world.works_on(self.name, held)

    async def renew(self) -> None:
        """Each lease of a job is renewed by itself."""
        for held in list(self.held.values()):
            sent_ms = self.world.machine.boot_ms()
            if held.until_ms - sent_ms > 20_000:
                continue
            beat = lease_wire.Heartbeat(held.token)
            lease_id = held.lease_id
            try:
                answer = await self.call(
                    lambda server, i=lease_id, b=beat: server.leases.heartbeat(self.me, i, b)
                )
            except (LeaseEnded, NotFound, StaleToken, NotPermitted):
                self._drop(held)
                continue
            except (Lost, LeaseholdError):
                if self.world.machine.boot_ms() >= held.until_ms:
                    self._drop(held)
                continue
            if answer.action == "stop":
                held.stop = True
            else:
                held.until_ms = max(held.until_ms, sent_ms + int(answer.limits.ttl_sec * 1000))

    def _drop(self, held: Held) -> None:
        self.held.pop(held.job_id, None)
        self.world.stopped(held)
        self.old.append(self._item(held, "DONE"))

    async def _finish_due(self) -> None:
        now_ms = self.world.machine.boot_ms()
        for held in list(self.held.values()):
            if held.until_ms <= now_ms:
                self._drop(held)
        due = [held for held in self.held.values() if held.stop or held.done_ms <= now_ms]
        if not due:
            return
        for held in due:
            self.world.stopped(held)
        if self.chance.randrange(15) == 0:
            self._vanish(due)
            return
        items = []
        for held in due:
            del self.held[held.job_id]
            how = "FAILED" if held.stop else self.chance.choices(("DONE", "FAILED", "RETURNED"), (8, 2, 1))[0]
            items.append(self._item(held, how))
        await self._tell(items)

    def _vanish(self, due: list[Held]) -> None:
        """It has died with these: its leases lapse."""
        for held in due:
            del self.held[held.job_id]
            self.gone.add(held.job_id)
            self.old.append(self._item(held, "DONE"))

    @staticmethod
    def _item(held: Held, how: Any) -> claim_wire.CompletionItem:
        return claim_wire.CompletionItem(
            job_id=held.job_id, generation=held.generation, fencing_token=held.token, outcome=how
        )

    async def _tell(self, items: list[claim_wire.CompletionItem]) -> None:
        body = claim_wire.Complete(items)

        async def complete(server: QueueServer) -> Any:
            answer = await server.jobs.complete_many(self.me, body)
            for item, one in zip(items, answer.items, strict=True):
                if one.state in (JobState.DONE, JobState.FAILED, JobState.CANCELED) and not one.code:
                    self.world.jobs.told_ended(number_of(item.job_id), one.state)
            return answer

        answer = await self.surely(complete)
        for item, one in zip(items, answer.items, strict=True):
            if item.outcome == "RETURNED" or one.code:
                self.old.append(item)

    async def _lie(self, item: claim_wire.CompletionItem) -> None:
        """A result of an attempt that is over changes nothing."""
        body = claim_wire.Complete([item])

        async def complete(server: QueueServer) -> Any:
            answer = await server.jobs.complete_many(self.me, body)
            if not answer.items[0].code:
                self.world.may_be_taken(self.name, item, answer.items[0].state)
            return answer

        try:
            await self.call(complete)
        except (Lost, LeaseholdError):
            return


class SessionWorker(Worker):
    """The same under one lease, charged for all of them (LEASE-27)."""

    kind = "session"

    def __init__(self, world: JobsWorld, name: str) -> None:
        super().__init__(world, name)
        self.lease: lease_wire.HeavyLeaseResponse | None = None
        self.until_ms = 0

    def session(self) -> claim_wire.SessionIn | None:
        assert self.lease is not None
        assert self.lease.lease_id is not None
        assert self.lease.fencing_token is not None
        return claim_wire.SessionIn(self.lease.lease_id, self.lease.fencing_token, CONCURRENCY)

    def trusted_until_ms(self, sent_ms: int, answer: claim_wire.ClaimOut) -> int:
        return self.until_ms

    async def _claim(self) -> None:
        if self.lease is None:
            await self._open()
        elif self.until_ms > self.world.machine.boot_ms():
            await super()._claim()

    async def _open(self) -> None:
        body = lease_wire.HeavyLeaseRequest(
            cost_units=SESSION_UNITS, start="now", job_type="session", wait_sec=5
        )
        try:
            answer = await self.call(lambda server: edge.request(server, self.me, body, None), 15)
        except (Lost, LeaseholdError):
            return
        if answer.approved:
            self.lease = answer
            self.until_ms = 0
            await self.renew()

    def _vanish(self, due: list[Held]) -> None:
        self.session_lost()

    async def renew(self) -> None:
        sent_ms = self.world.machine.boot_ms()
        if self.lease is None or self.until_ms - sent_ms > 20_000:
            return
        assert self.lease.lease_id is not None
        assert self.lease.fencing_token is not None
        lease_id, beat = self.lease.lease_id, lease_wire.Heartbeat(self.lease.fencing_token)
        try:
            answer = await self.call(lambda server: server.leases.heartbeat(self.me, lease_id, beat))
        except (LeaseEnded, NotFound, StaleToken, NotPermitted):
            self.session_lost()
            return
        except (Lost, LeaseholdError):
            return
        self.until_ms = sent_ms + int(answer.limits.ttl_sec * 1000)
        for held in self.held.values():
            held.until_ms = max(held.until_ms, self.until_ms)
            held.stop = held.stop or held.job_id in answer.cancel or answer.action == "stop"

    def session_lost(self) -> None:
        """Whatever ran under it does so no more."""
        self.lease = None
        self.until_ms = 0
        for held in list(self.held.values()):
            self._drop(held)
