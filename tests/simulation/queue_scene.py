"""One scene on the real queue and runner: no faults but those that the scene makes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from leasehold.control.job_change import number_of
from leasehold.model.job import Job
from leasehold.model.principal import Principal
from leasehold.testing.callers import USER
from leasehold.testing.simulated_queue import UID, QueueServer, QueueWorld
from leasehold.wire import claim as claim_wire
from leasehold.wire import job as wire
from tests.simulation.scene import Scene, played

VERBS = USER | {"job:submit", "job:work", "job:cancel", "job:manage", "job:read"}
ANN = Principal("user:ann", "user", VERBS, local=True, uid=UID)
WORKER = Principal("worker:w", "worker", VERBS, local=True, uid=UID)


class QueueScene(Scene):
    """What a scene of the queue has at hand."""

    world: QueueWorld

    @property
    def server(self) -> QueueServer:
        assert self.world.server is not None
        return self.world.server

    async def submit(self, **what: Any) -> str:
        """Hand one job over; its id."""
        what.setdefault("cost_units", 1)
        body = wire.Submit(start="now", **what)
        taken: wire.Submitted = await self.do(self.server.jobs.submit(ANN, body))
        return taken.jobs[0].job_id

    async def command(self, *words: str, **what: Any) -> str:
        """Hand over a command that the machine simulates."""
        return await self.submit(exec=wire.ExecIn(argv=["simulated", *words], cwd="/"), **what)

    async def claim(self, count: int = 1, **what: Any) -> list[claim_wire.Claimed]:
        found: claim_wire.ClaimOut = await self.do(
            self.server.jobs.claim(WORKER, claim_wire.Claim(max=count, **what))
        )
        return found.jobs

    async def complete(self, job: claim_wire.Claimed, outcome: Any = "DONE") -> claim_wire.Completed:
        item = claim_wire.CompletionItem(
            job_id=job.job_id, generation=job.generation, fencing_token=job.fencing_token, outcome=outcome
        )
        found: claim_wire.CompleteOut = await self.do(
            self.server.jobs.complete_many(WORKER, claim_wire.Complete([item]))
        )
        return found.items[0]

    async def cancel(self, job_id: str, **what: Any) -> None:
        await self.do(self.server.jobs.cancel(ANN, job_id, wire.Cancel(**what)))

    async def job(self, job_id: str) -> Job:
        found: Job = await self.do(self.server.jobs.find(number_of(job_id)))
        return found

    def running(self) -> list[str]:
        """The commands that run on the machine."""
        return [key.name for key, run in self.world.runs.runs.items() if run.started.ended is None]

    async def crash(self) -> None:
        self.world.kill_server()
        await self.world.start_server()
        self.quiet()


def play(act: Callable[[QueueScene], Coroutine[Any, Any, None]]) -> None:
    """Run a scene to its end; whatever the models saw breaks it."""

    async def whole(scene: QueueScene) -> None:
        await act(scene)
        scene.world.jobs.indexes(scene.server.ledger.state)

    played(whole, QueueWorld, QueueScene)
