"""Jobs, workers and commands under virtual time and seeded faults (PROVE-3): one seed, one run, one verdict.

python -m leasehold.testing.simulated_jobs --seed 17        # one run, with what was found
python -m leasehold.testing.simulated_jobs --seeds 1-500    # many, with how often each fault was met
"""

from __future__ import annotations

import asyncio
import sys

from leasehold.core.attempt import job_id
from leasehold.model.job import JobState
from leasehold.testing.faults import plan
from leasehold.testing.injection import Injection
from leasehold.testing.jobs_world import JobsWorld, number_of
from leasehold.testing.queue_callers import Person, Submitter
from leasehold.testing.queue_workers import SessionWorker, Worker
from leasehold.testing.simulation import (
    CALM_S_MAX,
    FAULTS_LEAST,
    ROUGH_MS,
    Verdict,
    calm_down,
    run_seeds,
    simulated,
)

CALLS_EACH = 8
LEFT_S = 120
"""After this everything that nobody renews has ended."""


async def drama(world: JobsWorld) -> None:
    """The rough part, the calm part, and the end."""
    chance = world.chance("plan")
    await world.start_server()
    submitters = [Submitter(world, f"c{number}", CALLS_EACH) for number in range(3)]
    workers = [Worker(world, f"c{number}") for number in (3, 4)]
    sessions = [SessionWorker(world, f"c{number}") for number in (5, 6)]
    person = Person(world, "c7")
    tasks = {asyncio.create_task(each.run(), name=each.name) for each in submitters}
    beside = [asyncio.create_task(each.run(), name=each.name) for each in (*workers, *sessions, person)]
    beside += [asyncio.create_task(world.measure()), asyncio.create_task(world.audit())]
    injection = Injection(world)
    faults = plan(chance, ROUGH_MS, FAULTS_LEAST + chance.randrange(8))
    injected = [asyncio.create_task(injection.inject(fault)) for fault in faults]
    for fault in injected:
        await fault
    await asyncio.sleep(max(0.0, ROUGH_MS / 1000 - world.loop.time()))
    calm_down(world)
    await until_served(world, tasks)
    for task in (*tasks, *beside):
        task.cancel()
    for task in (*tasks, *beside):
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception() or AssertionError
    if not world.model.broken:
        await asyncio.sleep(LEFT_S)
        nothing_left(world)


async def until_served(world: JobsWorld, tasks: set[asyncio.Task[None]]) -> None:
    """Wait until all have handed over what they had, and every job has ended."""
    end_s = world.loop.time() + CALM_S_MAX
    while world.loop.time() < end_s and not world.model.broken:
        if all(task.done() for task in tasks) and not world.jobs.live:
            return
        await asyncio.sleep(1)
    if not world.model.broken:
        left = [
            f"{job_id(job.number)} {job.state} {job.terms.ask.job_type}" for job in world.jobs.live.values()
        ]
        busy = sorted(task.get_name() for task in tasks if not task.done())
        world.model.fail("QUEUE-7", f"never served: {left[:5]} of {len(left)}, {busy}")


def nothing_left(world: JobsWorld) -> None:
    """Each job that somebody was told of has ended, each command is over, nothing has leaked (INV-8)."""
    for name in sorted(world.told):
        if number_of(name) not in world.jobs.ended:
            world.model.fail("QUEUE-13", f"{name} was acknowledged, and is gone")
    for key, run in sorted(world.runs.runs.items()):
        job = world.jobs.ended.get(key.number)
        if run.started.ended is None:
            world.model.fail(
                "QUEUE-13", f"{key.name} runs on, and its job is {job.state if job else 'unknown'}"
            )
        elif not run.kept:
            world.model.fail("QUEUE-15", f"{key.name} was never filed away")
        if job is not None and job.state is JobState.DONE and job.generation == key.generation:
            ended = run.started.ended
            if ended is not None and ended.exit_code != 0:
                world.model.fail("QUEUE-15", f"{key.name} ended with {ended.exit_code}, and its job is DONE")
    if world.server is None:
        return world.model.fail("INV-9", "no server runs at the end")
    for what, names in {**world.server.left(), "leases": sorted(world.server.ledger.state.leases)}.items():
        if names:
            world.model.fail("INV-8", f"{what} left at the end: {names}")
    return None


def simulate(seed: int) -> Verdict:
    """Run one seed. Nothing outside is touched, and nothing of it is left behind."""
    return simulated(
        seed,
        JobsWorld,
        drama,
        lambda world: {
            "jobs": len(world.jobs.ended),
            "runs": world.runs.runs_begun,
            "starts": world.starts,
        },
    )


def main(arguments: list[str] | None = None) -> int:
    """The program: 0 when every seed held."""
    return run_seeds("leasehold.testing.simulated_jobs", __doc__ or "", simulate, arguments)


if __name__ == "__main__":
    sys.exit(main())
