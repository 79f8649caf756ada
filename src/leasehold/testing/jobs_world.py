"""What is true of simulated jobs beyond any server: what callers have heard, and who works on what."""

from __future__ import annotations

import msgspec

from leasehold.model.ids import to_number
from leasehold.testing.simulated_queue import QueueWorld
from leasehold.wire import claim as claim_wire


def number_of(job_id: str) -> int:
    number = to_number("job", job_id)
    assert number is not None
    return number


class Held(msgspec.Struct):
    """A job as its worker knows it. `until_ms` is how long it relies on it (true time)."""

    job_id: str
    generation: int
    token: int
    lease_id: str
    until_ms: int
    done_ms: int
    stop: bool = False


class JobsWorld(QueueWorld):
    """With what callers have heard, and who works on what."""

    def __init__(self, *what: object) -> None:
        super().__init__(*what)  # type: ignore[arg-type]
        self.told: set[str] = set()
        self.excused: set[str] = set()
        """Jobs that somebody has cancelled: who does not hear of it in its grace may work on for a while."""
        self.at_work: dict[str, tuple[str, Held]] = {}

    def works_on(self, worker: str, held: Held) -> None:
        """A worker takes a job up: nobody else relies on having it (QUEUE-13)."""
        other = self.at_work.get(held.job_id)
        now_ms = self.machine.boot_ms()
        if other is not None and other[1].until_ms > now_ms and held.job_id not in self.excused:
            self.model.fail(
                "QUEUE-13",
                f"{held.job_id} is worked on by {worker} (generation {held.generation}) and {other[0]} "
                f"({other[1].generation}, until {other[1].until_ms})",
            )
        self.at_work[held.job_id] = (worker, held)

    def stopped(self, held: Held) -> None:
        """Its worker does not work on it any more."""
        mine = self.at_work.get(held.job_id)
        if mine is not None and mine[1] is held:
            del self.at_work[held.job_id]

    def may_be_taken(self, worker: str, item: claim_wire.CompletionItem, state: str) -> None:
        """An attempt that its worker had given up was completed: fine where nobody else has had it since, or
        where it is what was told of it before, which changes nothing.
        """
        number = number_of(item.job_id)
        job = self.jobs.ended.get(number) or self.jobs.live.get(number)
        told = [(each.generation, each.outcome) for each in job.past] if job is not None else []
        if (item.generation, item.outcome) in told:
            return
        if job is None or job.generation != item.generation:
            has = job.generation if job is not None else None
            self.model.fail(
                "INV-3", f"{worker} completed generation {item.generation} of {item.job_id}: it has {has}"
            )
