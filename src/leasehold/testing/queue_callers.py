"""Simulated callers of the queue: submitters, workers with their own leases or a session's, a person.

Answers are held against the model in the turn in which the server gives them; what a caller hears may be
late, doubled or lost, and it asks again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from leasehold.core.attempt import job_id as job_id_of
from leasehold.model.errors import (
    Conflict,
    LeaseEnded,
    LeaseholdError,
    NotFound,
    NotPermitted,
    StaleToken,
    StoreUnavailable,
)
from leasehold.model.job import JobState
from leasehold.model.principal import Principal
from leasehold.ports.store import StoreError
from leasehold.testing import edge
from leasehold.testing.callers import USER
from leasehold.testing.edge import Lost
from leasehold.testing.jobs_world import JobsWorld, number_of
from leasehold.testing.simulated_queue import UID, QueueServer
from leasehold.wire import job as wire
from leasehold.wire import lease as lease_wire

VERBS = USER | {"job:submit", "job:work", "job:cancel", "job:manage", "job:read"}
KINDS = ("own", "session")

Ask = Callable[[QueueServer], Awaitable[Any]]


class QueueCaller:
    """One program with a credential and a stream of chance of its own."""

    async def run(self) -> None:
        """All that it does."""
        raise NotImplementedError

    def __init__(self, world: JobsWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.chance = random.Random(f"{world.seed} {name}")
        self.me = Principal(f"user:{name}", "user", VERBS, local=True, uid=UID)
        self.keys = 0

    async def call(self, work: Any, patience_s: float = edge.PATIENCE_S) -> Any:
        try:
            return await self.world.network.call(self.name, work, patience_s)
        except StoreError as error:
            raise StoreUnavailable(str(error)) from error  # As the edge says it.

    async def surely(self, work: Any, *, tries: int = 10_000) -> Any:
        """Ask until the server gives an answer, or an error that is one."""
        for _ in range(tries):
            try:
                return await self.call(work)
            except (Conflict, LeaseEnded, NotFound, NotPermitted, StaleToken):
                raise
            except (Lost, LeaseholdError):
                await asyncio.sleep(0.2 + self.chance.random() * 2)
        raise Lost(self.name)


class Submitter(QueueCaller):
    """Hands jobs over, with a key for each call, until each call is answered."""

    def __init__(self, world: JobsWorld, name: str, calls: int) -> None:
        super().__init__(world, name)
        self.calls = calls
        self.mine: list[str] = []

    async def run(self) -> None:
        for _ in range(self.calls):
            await asyncio.sleep(self.chance.random() * 8)
            self.keys += 1
            key = f"{self.name}-{self.keys}"
            jobs = [self._job() for _ in range(self.chance.choice((1, 1, 2, 5)))]
            body = wire.Submit(jobs=jobs)

            async def submit(server: QueueServer, body: Any = body, key: str = key) -> Any:
                digest = key.encode()
                answer = await server.jobs.submit(self.me, body, idempotency_key=key, body_hash=digest)
                for taken in answer.jobs:
                    if taken.job_id:
                        self.world.jobs.told_submitted(number_of(taken.job_id))
                return answer

            try:
                answer = await self.surely(submit)
            except (Conflict, NotFound):
                continue  # What it was to come after has failed meanwhile.
            for taken in answer.jobs:
                if taken.job_id:
                    self._file(taken.job_id)

    def _file(self, job_id: str) -> None:
        self.mine.append(job_id)
        self.world.told.add(job_id)

    def _job(self) -> wire.JobIn:
        chance = self.chance
        body = wire.JobIn(
            job_type=chance.choice(KINDS),
            payload=msgspec.Raw(b'{"x":1}'),
            addon_id=chance.choice((None, None, "addon-a", "addon-b")),
            cost_units=chance.choice((1, 1, 2, 5)),
            priority=chance.choice(("NORMAL", "NORMAL", "LOW", "HIGH", "BACKGROUND")),
            start=chance.choice(("now", "now", "quiet")),
            max_attempts=chance.choice((1, 2, 3)),
            retry=wire.RetryIn(base_sec=chance.choice((0, 1, 5)), cap_sec=20),
            expected_duration_sec=chance.choice((None, 5, 30)),
            unique_key=chance.choice(("", "", "", "", "u1", "u2")),
            hold=chance.randrange(20) == 0,
        )
        if chance.randrange(3) == 0:
            words = ["simulated", f"after_ms={chance.choice((0, 5, 300, 3_000, 40_000, 90_000))}"]
            words += chance.choice(([], [], ["exit=3"], ["deaf"]))
            limit_s = chance.choice((None, None, 20))
            command = wire.ExecIn(argv=words, cwd="/", grace_sec=chance.choice((0, 2, 10)))
            gang = chance.choice((1, 1, 1, 1, 3))
            body = msgspec.structs.replace(
                body,
                job_type="generic",
                payload=msgspec.Raw(b"{}"),
                exec=command,
                max_runtime_sec=limit_s,
                gang=gang,
            )
        if self.mine and chance.randrange(6) == 0:
            body = msgspec.structs.replace(
                body, after=[chance.choice(self.mine[-5:])], after_any=chance.randrange(2) == 0
            )
        return body


class Person(QueueCaller):
    """Cancels, holds, resumes, reorders and tries again."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 4)
            if self.world.calm:
                await self._let_all_go()
                continue
            if not self.world.told:
                continue
            job_id = self.chance.choice(sorted(self.world.told))
            acts = (self._cancel, self._hold, self._resume, self._retry, self._look, self._release)
            act = self.chance.choice(acts)
            try:
                await act(job_id)
            except (Lost, LeaseholdError):
                continue

    async def _let_all_go(self) -> None:
        for job in list(self.world.jobs.live.values()):
            if job.state is JobState.HELD:
                try:
                    await self._resume(job_id_of(job.number))
                except (Lost, LeaseholdError):
                    continue

    async def _cancel(self, job_id: str) -> None:
        self.world.excused.add(job_id)
        body = wire.Cancel(grace_sec=self.chance.choice((None, 0, 3)))
        await self.call(lambda server: server.jobs.cancel(self._boss, job_id, body))

    async def _hold(self, job_id: str) -> None:
        await self.call(lambda server: server.jobs.hold(self._boss, job_id, wire.Note()))

    async def _resume(self, job_id: str) -> None:
        await self.call(lambda server: server.jobs.resume(self._boss, job_id, wire.Note()))

    async def _retry(self, job_id: str) -> None:
        await self.call(lambda server: server.jobs.retry(self._boss, job_id, wire.Note()))

    async def _release(self, job_id: str) -> None:
        """A command gives its own lease back, as it can: it knows the token."""
        job = self.world.jobs.live.get(number_of(job_id))
        lease = self.world.model.leases.get(job.lease_id) if job is not None else None
        if job is None or lease is None or job.worker != "runner":
            return
        me = Principal(lease.record.ask.principal, "user", VERBS, local=True, uid=UID)
        body = lease_wire.Release(job.token)
        await self.call(lambda server: server.leases.release(me, job.lease_id, body))

    async def _look(self, job_id: str) -> None:
        """What is shown is durable: an ended job has ended."""

        async def look(server: QueueServer) -> Any:
            answer = await server.jobs.get(self._boss, job_id)
            if answer.state in ("DONE", "FAILED", "CANCELED", "EXPIRED"):
                self.world.jobs.told_ended(number_of(job_id), answer.state)
            return answer

        await self.call(look)

    @property
    def _boss(self) -> Principal:
        return Principal("admin:p", "admin", VERBS | {"lease:revoke"}, local=True, uid=0)
