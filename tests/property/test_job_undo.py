"""Decisions about jobs that are taken back leave no trace, in records or indexes (design: step 6)."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as some

from leasehold.control.batch import OpenBatch
from leasehold.model.job import ENDED, JobState, Retry
from tests.job_table import JobTable, terms

ACTIONS = (
    "hold",
    "resume",
    "cancel",
    "prioritise",
    "retry",
    "offer",
    "take_up",
    "claim",
    "claim_under",
    "done",
    "failed",
    "failed_for_good",
    "returned",
    "lease_lost",
    "lease_released",
    "lease_revoked",
    "out_of_time",
)
OFTEN = ("submit", "claim", "claim", "claim_under", "claim_under", "offer", "session")

Move = tuple[str, int, int]

MOVES = some.lists(
    some.tuples(some.sampled_from((*ACTIONS, *OFTEN)), some.integers(0, 9), some.integers(0, 3_000)),
    min_size=4,
    max_size=30,
)

KINDS = (
    terms(1, max_attempts=3, retry=Retry(0, 0)),
    terms(2, max_attempts=2),
    terms(1, gang=2, max_runtime_ms=1_000),
)


class Played(JobTable):
    """Moves by small numbers; those that are refused do nothing."""

    def __init__(self) -> None:
        super().__init__()
        for which in (1, 2, 4, 6, 8, 0):
            self._file(which)
        self.session()

    def play(self, moves: list[Move]) -> OpenBatch:
        """As one batch."""
        self.batch = OpenBatch()
        for what, which, wait_ms in moves:
            self.now_ms += wait_ms
            if what == "submit":
                self._file(which)
            elif what == "session":
                self.session()
            else:
                self._one(what, which)
        return self.batch

    def _file(self, which: int) -> None:
        live = sorted(self.state.jobs)
        after = (live[which % len(live)],) if live and which % 3 == 0 else ()
        self.submit(
            KINDS[which % len(KINDS)],
            unique=f"u{which % 4}" if which % 2 else "",
            size=which,
            after=after,
            waits_for=after,
            held=which == 9,
            earliest_wall_ms=self.now_ms + 500 if which == 8 else 0,
        )

    def _one(self, what: str, which: int) -> None:
        numbers = sorted({*self.state.jobs, *self.ended})
        if not numbers:
            return
        number = numbers[which % len(numbers)]
        sessions = sorted(each.lease_id for each in self.state.leases.values() if not each.job)
        if what in ("offer", "claim", "claim_under"):
            if self.job(number).state is not JobState.QUEUED or number not in self.state.line:
                return  # The dispatcher takes from the line alone.
            if what == "claim_under" and (not sessions or self.job(number).terms.gang > 1):
                return
        if self.job(number).state in ENDED and what != "retry":
            return
        done = self.tried(what, number, sessions[which % len(sessions)] if sessions else "")
        event(f"{what}: {done}")


@pytest.mark.requirement("PROVE-2", "INV-2", "QUEUE-9")
@given(kept=MOVES, first=MOVES, second=MOVES)
def test_what_is_taken_back_had_never_been(kept: list[Move], first: list[Move], second: list[Move]) -> None:
    """Two batches upon jobs of any history, taken back newest first, leave no trace; and again."""
    table = Played()
    table.play(kept)
    before, ended = table.dump(), dict(table.ended)
    for _ in range(2):
        batches = [table.play(first), table.play(second)]
        for batch in reversed(batches):
            batch.take_back(table.state)
        table.ended = dict(ended)
        assert table.dump() == before


@pytest.mark.requirement("QUEUE-2", "INV-2", "INV-3")
@given(moves=MOVES)
def test_indexes_say_what_the_records_say(moves: list[Move]) -> None:
    """After any history each index is as if made of the records alone; what does not run holds no lease."""
    table = Played()
    table.play(moves)
    state, queue = table.state, table.state.queue
    anew = JobTable()
    for one in state.terms.values():
        anew.state.terms[one.key] = one
        anew.state._index_terms(one.key, one)
    for number in sorted(state.jobs):
        anew.state._apply_job(number, state.jobs[number], False)
    found, wanted = table.dump(), anew.dump()
    for name in (
        "by lease",
        "unique",
        "dependants",
        "waiting on",
        "depth",
        "terms used",
        "per holder",
        "bytes",
    ):
        assert found[name] == wanted[name], name
    assert found["waiting"] == wanted["waiting"]
    for number, job in state.jobs.items():
        own = [each for each in state.leases.values() if each.job == number]
        if job.state in (JobState.DISPATCHING, JobState.RUNNING):
            assert len(own) in (0, job.terms.gang) or own[0].state.name == "REVOKING", job
            assert all(lease_id in state.leases for lease_id in job.leases) or job.terms.gang > 1
        else:
            assert not own, f"{job.state} holds {own}"
    assert queue.bytes == sum(job.size for job in state.jobs.values())
