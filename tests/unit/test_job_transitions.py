"""Every action upon a job in every state: what it becomes, or that it is refused and nothing has changed."""

from __future__ import annotations

import itertools

import pytest

from leasehold.model.errors import LeaseholdError
from leasehold.model.job import AT_WORK, ENDED, TRANSITIONS, JobState, Retry
from tests.job_table import JobTable, leases_of, terms

S = JobState

WAYS: dict[str, tuple[str, ...]] = {
    "QUEUED": (),
    "HELD": ("hold",),
    "DISPATCHING": ("offer",),
    "RUNNING": ("claim",),
    "under a session": ("claim_under",),
    "told to end": ("claim", "cancel"),
    "taken back": ("claim", "lease_revoked"),
    "DONE": ("claim", "done"),
    "FAILED": ("claim", "failed_for_good"),
    "CANCELED": ("cancel",),
    "EXPIRED": ("expired",),
}
"""How a job comes into each of the states that matter."""

STATE_OF = {"under a session": S.RUNNING, "told to end": S.RUNNING, "taken back": S.RUNNING}

ALLOWED: dict[str, dict[str, JobState]] = {
    "hold": {"QUEUED": S.HELD, "HELD": S.HELD},
    "resume": {"HELD": S.QUEUED},
    "cancel": {
        "QUEUED": S.CANCELED,
        "HELD": S.CANCELED,
        "DISPATCHING": S.CANCELED,
        "RUNNING": S.RUNNING,
        "under a session": S.RUNNING,
        "told to end": S.RUNNING,
        "taken back": S.RUNNING,
    },
    "retry": {"FAILED": S.QUEUED, "CANCELED": S.QUEUED, "EXPIRED": S.QUEUED},
    "take_up": {"DISPATCHING": S.RUNNING},
    "done": {
        "RUNNING": S.DONE,
        "under a session": S.DONE,
        "told to end": S.DONE,
        "taken back": S.DONE,
    },
    "failed": {
        "RUNNING": S.QUEUED,
        "under a session": S.QUEUED,
        "told to end": S.CANCELED,
        "taken back": S.QUEUED,
    },
    "failed_for_good": {
        "RUNNING": S.FAILED,
        "under a session": S.FAILED,
        "told to end": S.CANCELED,
        "taken back": S.FAILED,
    },
    "returned": {
        "RUNNING": S.QUEUED,
        "under a session": S.QUEUED,
        "told to end": S.CANCELED,
        "taken back": S.QUEUED,
    },
    "lease_lost": {
        "DISPATCHING": S.QUEUED,
        "RUNNING": S.QUEUED,
        "under a session": S.QUEUED,
        "told to end": S.CANCELED,
        "taken back": S.QUEUED,
    },
    "lease_released": {
        "DISPATCHING": S.QUEUED,
        "RUNNING": S.QUEUED,  # A failed attempt; it has another one.
        "under a session": S.QUEUED,
        "told to end": S.CANCELED,
        "taken back": S.QUEUED,
    },
    "out_of_time": {
        "RUNNING": S.QUEUED,
        "under a session": S.QUEUED,
        "told to end": S.CANCELED,
        "taken back": S.QUEUED,
    },
}
"""What is allowed; every other pair is refused."""


def made(way: str, *, max_attempts: int = 3) -> tuple[JobTable, int]:
    """A job that has come into this state, among others."""
    table = JobTable()
    table.submit(terms(2))
    number = table.submit(terms(1, max_attempts=max_attempts, retry=Retry(0, 0)), unique="u", size=9)
    session = table.session()
    for action in WAYS[way]:
        table.now_ms += 10
        table.act(action, number, session)
    assert table.job(number).state is STATE_OF.get(way, S.__members__.get(way))
    table.now_ms += 10
    return table, number


@pytest.mark.requirement("QUEUE-2", "INV-5")
@pytest.mark.parametrize(("way", "action"), list(itertools.product(WAYS, ALLOWED)))
def test_every_action_in_every_state(way: str, action: str) -> None:
    """The one table decides: a step that it has is made, any other is refused and leaves no trace."""
    table, number = made(way)
    before, was = table.dump(), table.job(number)
    expected = ALLOWED[action].get(way)
    if expected is None:
        with pytest.raises(LeaseholdError):
            table.act(action, number)
        assert table.dump() == before
        assert table.job(number) == was
        return
    assert table.act(action, number) is expected
    assert expected is was.state or expected in TRANSITIONS[was.state]
    after = table.job(number)
    live = number in table.state.jobs
    assert live == (expected not in ENDED)
    if expected not in AT_WORK:
        assert not leases_of(table, number), "what does not run holds no lease"
        assert not any(number in under for under in table.state.queue.by_lease.values())
        assert after.lease_id == ""
    assert (table.state.queue.unique.get(("default", "test", "u")) == number) == live


@pytest.mark.requirement("QUEUE-2", "QUEUE-11")
@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("failed", S.FAILED),
        ("out_of_time", S.EXPIRED),
        ("lease_released", S.FAILED),
        ("lease_lost", S.QUEUED),
        ("returned", S.QUEUED),
    ],
)
@pytest.mark.parametrize("way", ["RUNNING", "under a session"])
def test_the_last_attempt(way: str, action: str, state: JobState) -> None:
    """With no attempt left it is over, unless the attempt did not count."""
    table, number = made(way, max_attempts=1)
    if (way, action) == ("under a session", "lease_released"):
        state = S.FAILED
    assert table.act(action, number) is state
    job = table.job(number)
    assert job.attempts == (0 if state is S.QUEUED else 1)
    assert [one.generation for one in job.past] == [1]


@pytest.mark.requirement("QUEUE-11")
def test_losses_count_from_the_fourth_on() -> None:
    """Poison: what takes its node along each time does not do so for ever."""
    table, number = made("QUEUED", max_attempts=2)
    for loss in range(1, 6):
        table.act("claim", number)
        state = table.act("lease_lost", number)
        job = table.job(number)
        counted = max(0, loss - 3)
        assert (job.attempts, state) == (counted, S.QUEUED if counted < 2 else S.FAILED)
    assert [one.outcome for one in table.job(number).past] == ["LOST"] * 4 + ["FAILED"]


@pytest.mark.requirement("QUEUE-2")
def test_a_generation_is_never_given_twice() -> None:
    """Each time it is handed out it has the next one, whatever happened between."""
    table, number = made("QUEUED", max_attempts=1_000)
    session = table.session()
    seen = []
    for begin, end in itertools.product(
        ("claim", "offer", "claim_under"), ("lease_lost", "returned", "failed")
    ):
        table.act(begin, number, session)
        seen.append(table.job(number).generation)
        if table.tried(end, number) is None:
            table.act("take_up", number)
            table.act(end, number)
        if session not in table.state.leases:
            session = table.session()
    assert seen == list(range(1, len(seen) + 1))


@pytest.mark.requirement("QUEUE-10")
def test_who_obeys_the_word_to_stop_has_not_failed() -> None:
    """A lease that is let go after it was taken back is a loss, which does not count."""
    table, number = made("taken back", max_attempts=1)
    assert table.act("lease_released", number) is S.QUEUED
    assert table.job(number).past[-1].outcome == "LOST"
    assert "revoked by ann" in table.job(number).past[-1].end.error


@pytest.mark.requirement("QUEUE-20")
def test_a_gang_begins_and_ends_as_one() -> None:
    """One lease for each member in one decision; whichever of them ends first, none is left at the end."""
    for end in ("done", "failed", "returned", "cancel", "out_of_time"):
        table = JobTable()
        number = table.submit(terms(1, gang=3))
        table.act("offer", number)
        assert len(leases_of(table, number)) == 3
        if end != "cancel":
            table.act("take_up", number)
        table.act(end, number)
        assert not leases_of(table, number), end
        assert table.state.book.leases == 0
