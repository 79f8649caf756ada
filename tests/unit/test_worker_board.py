"""What the threads of a worker share: no job is begun twice, and none is forgotten (LEASE-27)."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold.client.asking import Held
from leasehold.client.board import Board
from leasehold.client.endpoint import Endpoint
from leasehold.client.handler import End, done, handlers_of
from leasehold.client.work import Holding, Work

pytestmark = pytest.mark.requirement("LEASE-27")

HELD = Held({"lease_id": "lease-1", "fencing_token": 7}, 0.0)
SESSION = Holding(HELD, is_session=True)
DONE = End("DONE", result="1")


def work(ident: str, generation: int = 1, **more: Any) -> Work:
    claimed = {"job_id": ident, "generation": generation, "job_type": "t", "payload": 1, **more}
    return Work(claimed, SESSION, Endpoint(socket_path="/nowhere"))


def board(concurrency: int = 2, unfinished: int = 10) -> Board:
    return Board(concurrency, unfinished, lambda: None)


def begun(found: Board) -> Work:
    one = found.next_work()
    assert one is not None
    return one


def sent(found: Board) -> list[tuple[str, str]]:
    return [(one.job_id, end.outcome) for one, end in found.next_results() or []]


def test_own_leases_are_claimed_for_free_slots_alone() -> None:
    """Without a session no job waits in the worker: its lease would charge for nothing."""
    found = board(concurrency=3)
    assert found.room(0) == 3
    found.take([work("a"), work("b")])
    assert found.room(0) == 1
    begun(found)
    assert found.room(0) == 1
    found.ended(begun(found), DONE)
    assert found.room(0) == 2


def test_a_session_claims_ahead_and_stops_at_what_is_unfinished() -> None:
    """Jobs are claimed ahead, again when half of them are begun; results that can't be sent stop claims."""
    found = board(concurrency=2, unfinished=10)
    assert found.room(6) == 6
    found.take([work(str(number)) for number in range(6)])
    assert found.room(6) == 0
    for _ in range(4):
        found.ended(begun(found), DONE)
    assert found.room(6) == 4
    found.take([work(str(number)) for number in range(6, 10)])
    for _ in range(6):
        found.ended(begun(found), DONE)
    assert found.room(6) == 0
    results = found.next_results()
    assert results is not None
    found.unsent(results)
    assert found.room(6) == 0
    for one, end in found.next_results() or []:
        found.taken(one, end.outcome)
    assert found.room(6) == 6
    assert found.figures()["done"] == 10


def test_a_job_that_comes_again_is_not_begun_twice() -> None:
    """Under the same generation it goes on as it is; under a new one the earlier attempt is lost."""
    found = board()
    found.take([work("a")])
    first = begun(found)
    found.take([work("a")])
    assert found.figures()["claimed"] == 1
    assert found.figures()["waiting"] == 0
    found.take([work("a", 2)])
    assert first.lost
    assert first.standing.stop
    again = begun(found)
    assert again.generation == 2
    found.ended(first, DONE)
    found.ended(again, DONE)
    assert [(one.generation, end.outcome) for one, end in found.next_results() or []] == [(2, "DONE")]
    assert found.figures()["lost"] == 1


def test_results_that_could_not_be_sent_stay_in_order() -> None:
    """They come first again, and those that were lost meanwhile are left out."""
    found = board(concurrency=4)
    found.take([work(name) for name in "abc"])
    for _ in range(3):
        found.ended(begun(found), DONE)
    results = found.next_results()
    assert results is not None
    found.lose(results[1][0], "while it is being sent this says nothing")
    assert not results[1][0].lost
    found.unsent(results)
    found.lose(results[1][0], "its lease has ended")
    assert sent(found) == [("a", "DONE"), ("c", "DONE")]


def test_what_has_not_begun_goes_back() -> None:
    """A stop, or the worker's end, returns what waits; what comes after that goes back as well."""
    found = board(concurrency=1)
    found.take([work(name) for name in "abc"])
    running = begun(found)
    waiting = found.works["b"]
    found.stop(waiting, "it was cancelled", 5.0)
    assert sent(found) == [("b", "RETURNED")]
    found.drain()
    assert sent(found) == [("c", "RETURNED")]
    found.take([work("d")])
    assert sent(found) == [("d", "RETURNED")]
    assert found.next_work() is None
    assert not running.standing.stop
    found.ended(running, DONE)
    assert sent(found) == [("a", "DONE")]
    for one in list(found.works.values()):
        found.taken(one, "RETURNED")
    assert found.is_idle
    assert found.next_results() is None


def test_handlers_are_checked_when_a_worker_is_made() -> None:
    """What can't be meant is an error at once."""
    for given, words in (
        ("shop.tasks", "expected functions of @job"),
        ([print], "is no function of @job"),
        ({"a": 3}, "can't be called"),
        ({}, "1 to 64 job types"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            handlers_of(given)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(None, "DONE"), ({"a": [1]}, "DONE"), (object(), "FAILED"), ("x" * 70_000, "FAILED")],
)
def test_results_are_json_of_a_bounded_size(value: Any, outcome: str) -> None:
    """Whatever else a handler returns fails the job for good, and says so: doing it again would not help."""
    end = done(value)
    assert end.outcome == outcome
    assert ("it ran to its end, but" in end.error) is (outcome == "FAILED")
    assert end.error_class == ("permanent" if outcome == "FAILED" else "")
