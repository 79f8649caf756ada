"""What was told is kept until the job starts, scored once, and survives a restart."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.control import codec
from leasehold.control.estimates import book as books
from leasehold.control.estimates import views
from leasehold.control.estimates.book import EstimateBook
from leasehold.core.estimate import Guess
from leasehold.core.state import ESTIMATES, HITS, JOBS, Change, Stamp, State
from leasehold.model.charge import Charge
from leasehold.model.job import Job, JobState, Terms
from leasehold.model.lease import Ask

pytestmark = pytest.mark.requirement("QUEUE-12")

AT = 1_700_000_000_000
TERMS = Terms("k", Ask("ann", "test", Charge(1), "n", is_job=True))


def state_with(*numbers: int) -> State:
    state = State("n")
    state.terms["k"] = TERMS
    for number in numbers:
        state.apply(Change(JOBS, number, Job(number, TERMS, JobState.QUEUED, AT, AT)))
    return state


def write(book: EstimateBook, state: State) -> list[Change]:
    changes = book.write(state, Stamp(0, AT, 1, 1)).changes
    for change in changes:
        state.apply(change)
    return changes


def started(state: State, number: int, after_s: int) -> Job:
    job = state.jobs[number]
    return msgspec.structs.replace(job, state=JobState.RUNNING, started_wall_ms=AT + 1_000 * after_s)


def test_a_start_is_scored_once_against_what_was_told_first() -> None:
    """Told 10 s and 20 s, then something else, started after 15 s: its P50 was missed, its P90 kept."""
    state, book = state_with(1), EstimateBook()
    book.give(state, 1, Guess(10_000, 20_000), AT)
    book.give(state, 1, Guess(1, 1), AT)
    write(book, state)
    book.give(state, 1, Guess(1, 1), AT)
    book.started(state, [started(state, 1, 15)])
    book.started(state, [started(state, 1, 15)])
    assert (book.scored, book.kept, book.open(state)) == (1, [0, 1], 0)
    write(book, state)
    assert not state.estimates
    assert not book.has_news(state)
    shown = views.hits(book, state, AT + 60_000)
    assert [(each.scored, each.p50_pct, each.p90_pct) for each in shown.ranges] == [(1, 0.0, 100.0)] * 3
    assert shown.factors == {"p50": 1.113, "p90": 1.228}


def test_what_is_open_survives_a_restart() -> None:
    """Estimates and hits are read back as they were written; another server scores them."""
    state, book = state_with(1, 2), EstimateBook()
    book.give(state, 1, Guess(10_000, 20_000), AT)
    book.give(state, 2, Guess(10_000, 20_000), AT)
    book.started(state, [started(state, 2, 5)])
    after = state_with(1)
    for change in write(book, state):
        value = codec.encode(change.table, change.record)
        assert len(value) < 64
        after.apply(Change(change.table, change.key, codec.decode(change.table, change.key, value)))
    assert (list(after.estimates), list(after.hits)) == (["1"], ["all"])
    other = EstimateBook()
    other.started(after, [started(after, 1, 25)])
    assert other.hits(after).hours[0].scored == 2
    assert (other.kept, other.open(after)) == ([0, 0], 0)


def test_a_job_that_never_starts_is_forgotten_unscored() -> None:
    """Cancelled or held meanwhile: its estimate goes, and counts for nothing."""
    state, book = state_with(1, 2, 3), EstimateBook()
    for number in (1, 2, 3):
        book.give(state, number, Guess(10_000, 20_000), AT)
    write(book, state)
    state.apply(Change(JOBS, 1, None))
    state.apply(Change(JOBS, 2, msgspec.structs.replace(state.jobs[2], state=JobState.HELD)))
    write(book, state)
    assert list(state.estimates) == ["3"]
    assert (book.scored, HITS in {change.table for change in write(book, state)}) == (0, False)
    assert ESTIMATES == "estimates"


def test_only_so_many_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the limit is not kept; after a start there is room for it."""
    monkeypatch.setattr(books, "OPEN_MAX", 2)
    state, book = state_with(1, 2, 3), EstimateBook()
    for number in (1, 2, 3):
        book.give(state, number, Guess(1, 1), AT)
    assert (book.open(state), book.has(state, 3)) == (2, False)
    book.started(state, [started(state, 1, 0)])
    book.give(state, 3, Guess(1, 1), AT)
    assert book.has(state, 3)
    write(book, state)
    for number in (2, 3):
        state.apply(Change(JOBS, number, None))
    assert book.has_news(state), "both places are taken by jobs that are gone"
    write(book, state)
    assert (state.estimates, book.has_news(state)) == ({}, False)
