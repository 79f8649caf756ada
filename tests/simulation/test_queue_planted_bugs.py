"""Bugs planted in the queue on purpose, each found by its simulation within a few seeds (PROVE-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from leasehold.control.batch import OpenBatch
from leasehold.control.claims import Claims
from leasehold.control.ledger import Ledger
from leasehold.control.runner import RunnerService
from leasehold.core import attempt, execution
from leasehold.core.state import Outcome
from leasehold.model.job import Job
from leasehold.testing.simulated_jobs import simulate

SEEDS = 150
Patch = pytest.MonkeyPatch


def completion_without_fence(patch: Patch) -> None:
    """Whoever once held a job may say how it ended."""
    patch.setattr(execution, "check", lambda job, generation, token: None)


def effect_before_commit(patch: Patch) -> None:
    """Whoever decides is answered at once, before the disk has it."""
    take = Ledger._take

    def hasty(self: Ledger, outcome: Outcome) -> asyncio.Future[None]:
        take(self, outcome)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    patch.setattr(Ledger, "_take", hasty)


def requeue_forgets_the_generation(patch: Patch) -> None:
    """What goes back into the line is handed out under the number of the attempt before."""
    requeued = attempt.requeued

    def forgets(outcome: Outcome, job: Job, *what: Any, **fields: Any) -> Job:
        return requeued(outcome, job, *what, **{**fields, "generation": job.generation - 1})

    patch.setattr(attempt, "requeued", forgets)


def lost_wake_up(patch: Patch) -> None:
    """Who waits for jobs under a session is not told of any."""
    patch.setattr(Claims, "more_may_start", lambda self: None)


def handed_out_twice(patch: Patch) -> None:
    """A claim leaves the job in line for the next one."""
    running = execution._running

    def stays(job: Job, *what: Any) -> Job:
        return attempt.with_(running(job, *what), state=job.state)

    patch.setattr(execution, "_running", stays)


def lease_ends_without_its_job(patch: Patch) -> None:
    """The end of a lease is one commit, that of its job is forgotten."""
    patch.setattr(attempt, "lease_ended", lambda *what: None)


def a_command_beside_another(patch: Patch) -> None:
    """A command is started again while its last attempt runs."""

    async def at_once(self: RunnerService, job: Job) -> None:
        """Do not look."""

    patch.setattr(RunnerService, "_others_gone", at_once)


def strays_run_on(patch: Patch) -> None:
    """What a server finds running and no job is at is left alone."""

    async def leaves(self: RunnerService, *what: Any) -> None:
        """Do nothing about it."""

    patch.setattr(RunnerService, "_abandon", leaves)


def undo_skipped(patch: Patch) -> None:
    """What could not be committed stays in memory."""
    patch.setattr(OpenBatch, "take_back", lambda self, state: None)


PLANTED: dict[Callable[[Patch], None], tuple[str, ...]] = {
    completion_without_fence: ("INV-3", "INV-4", "INV-5", "QUEUE-9", "QUEUE-13"),
    effect_before_commit: ("INV-4",),
    requeue_forgets_the_generation: ("INV-3",),
    lost_wake_up: ("QUEUE-8",),
    handed_out_twice: ("INV-3", "INV-4", "INV-5", "QUEUE-9", "QUEUE-13"),
    lease_ends_without_its_job: ("QUEUE-9",),
    a_command_beside_another: ("QUEUE-13",),
    strays_run_on: ("QUEUE-13", "QUEUE-15"),
    undo_skipped: ("INV-2", "INV-3", "INV-4", "INV-5", "QUEUE-9", "INV-9"),
}
"""Each with the rules of which one at least is found broken."""


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Within 150 seeds some model tells of it, and names the rule that it breaks."""
    plant(monkeypatch)
    for seed in range(1, SEEDS + 1):
        found = simulate(seed).broken
        if found:
            assert any(f": {rule}: " in line for rule in PLANTED[plant] for line in found), found
            return
    pytest.fail(f"{plant.__name__} was not found in {SEEDS} seeds")
