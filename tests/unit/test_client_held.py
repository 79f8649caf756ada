"""Programs hold leases: losses, revocations and pauses, progress, leases in leases, event loops."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from leasehold import LeaseLost, NotGranted, current_lease, lease
from tests.unit.cli_scripted_server import (
    QUICK,
    Scripted,
    after_the_first,
    beat,
    granted,
    problem,
    until,
)

pytestmark = pytest.mark.requirement("LEASE-19")

EXPIRED = problem(410, "LEASE_ENDED", "lease-1 has ended (EXPIRED)", details={"state": "EXPIRED"})
DENIAL = {
    "approved": False, "reason": "Capacity exceeded: used=80, requested=40, capacity=90",
    "reasons": [{"code": "CAPACITY", "sentence": "Capacity exceeded: used=80, requested=40, capacity=90"}],
    "ticket": "tkt-1", "retry_after_sec": 1,
}  # fmt: skip


# -- losing ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-28")
def test_work_goes_on_overtime_after_a_loss(scripted: Scripted) -> None:
    """on_lost=continue: a definite loss is answered by a new lease, and the work hears nothing of it."""
    scripted.on["POST", "/lease-1/heartbeat"] = after_the_first((200, beat(limits=QUICK)), EXPIRED)
    scripted.on["POST", "/overtime"] = lambda body: (200, granted("lease-2", 9))
    scripted.on["POST", "/heartbeat"] = scripted.on.pop(("POST", "/heartbeat"))
    with lease(cost=30, export=True) as held:
        assert os.environ["LEASEHOLD_LEASE"] == "lease-1:7"
        until(lambda: held.id == "lease-2")
        held.report(0.9)
        assert os.environ["LEASEHOLD_LEASE"] == "lease-2:9"
        assert not held.should_stop
    assert "LEASEHOLD_LEASE" not in os.environ
    assert scripted.wait_for("/overtime")[0] == {"fencing_token": 7}
    assert scripted.wait_for("/lease-2/release")[0]["fencing_token"] == 9


@pytest.mark.requirement("LEASE-28")
def test_with_stop_a_loss_ends_the_work(scripted: Scripted) -> None:
    """on_lost=stop: should_stop, LeaseLost at the next report, and at the end of a body that never looked."""
    scripted.on["POST", "/heartbeat"] = after_the_first((200, beat(limits=QUICK)), EXPIRED)
    with pytest.raises(LeaseLost, match="has ended") as caught, lease(locks=["catalogue"]) as held:
        until(lambda: held.should_stop)
        held.report(0.5)
    assert caught.value.revoked is False
    scripted.on["POST", "/heartbeat"] = after_the_first((200, beat(limits=QUICK)), EXPIRED)
    with pytest.raises(LeaseLost), lease(locks=["catalogue"]) as held:
        until(lambda: held.should_stop)
    scripted.on["POST", "/heartbeat"] = after_the_first((200, beat(limits=QUICK)), EXPIRED)
    with pytest.raises(ZeroDivisionError), lease(locks=["catalogue"]) as held:
        until(lambda: held.should_stop)
        _ = 1 / 0
    assert [path for _, path, _ in scripted.calls if path.endswith("/overtime")] == []


@pytest.mark.requirement("LEASE-28")
def test_a_server_that_does_not_answer_is_no_loss(scripted: Scripted) -> None:
    """Errors and silence change nothing for the work, whatever on_lost says, while its lease lasts."""
    scripted.on["POST", "/heartbeat"] = after_the_first(
        (200, beat(limits=QUICK)), problem(503, "UNAVAILABLE", "not now")
    )
    with lease(cost=30, on_lost="stop") as held:
        scripted.wait_for("/heartbeat", 3)
        held.report(0.5)
        assert not held.should_stop


@pytest.mark.requirement("LEASE-28")
def test_with_stop_it_ends_before_the_lease_does_by_its_own_clock(scripted: Scripted) -> None:
    """A lease that can't be renewed may be somebody else's soon: the work is told in time."""
    short = {"ttl_sec": 1.5, "refresh_after_sec": 0.2}
    scripted.on["POST", "/heartbeat"] = after_the_first(
        (200, beat(limits=short)), problem(503, "UNAVAILABLE", "not now")
    )
    with lease(cost=30, on_lost="stop") as held:
        until(lambda: held.should_stop)
        assert "could not be renewed" in held.stop_reason
        assert held.stop_in_s is not None
        assert held.stop_in_s <= 0.5
    # It could be given back after all, so it was held to the end: no error.
    scripted.wait_for("/release")


@pytest.mark.requirement("LEASE-13")
def test_a_lease_that_is_taken_back_says_so_and_how_long_is_left(scripted: Scripted) -> None:
    """should_stop with the reason and the rest of the grace, whatever on_lost says."""
    stop = beat(limits=QUICK, action="stop", reason="revoked by user:owner", deadline_sec=8.0)
    scripted.on["POST", "/heartbeat"] = after_the_first((200, beat(limits=QUICK)), (200, stop))
    with lease(cost=30) as held:
        until(lambda: held.should_stop)
        assert "revoked by user:owner" in held.stop_reason
        assert held.stop_in_s is not None
        assert 0 < held.stop_in_s <= 8
        with pytest.raises(LeaseLost) as caught:
            held.checkpoint()
        assert caught.value.revoked


@pytest.mark.requirement("LEASE-14")
def test_work_that_is_paused_stands_still_at_its_checkpoints(scripted: Scripted) -> None:
    """`checkpoint` returns at once while the work may go on, and else when it may again."""
    beats = {"action": "continue"}
    scripted.on["POST", "/heartbeat"] = lambda body: (200, beat(limits=QUICK, **beats))
    with lease(cost=30) as held:
        held.checkpoint()
        beats["action"] = "pause"
        until(lambda: held.paused)
        went_on = threading.Event()
        thread = threading.Thread(target=lambda: (held.checkpoint(), went_on.set()))
        thread.start()
        assert not went_on.wait(0.3)
        beats["action"] = "continue"
        assert went_on.wait(10)
        thread.join()


# -- telling -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-11")
def test_reports_cost_nothing_and_the_last_one_counts(scripted: Scripted) -> None:
    """A thousand reports are a handful of calls, and the last one arrives."""
    with lease(cost=30) as held:
        for step in range(1000):
            held.report(step / 1000, f"step {step}")
        held.report(2.0, cpu_seconds=1.5, checkpoint="page 7")
        until(lambda: scripted.wait_for("/report")[-1].get("progress") == 1.0)
    told = scripted.wait_for("/report")
    assert len(told) < 20
    assert told[-1]["metrics"] == {"cpu_seconds": 1.5, "checkpoint": "page 7"}


@pytest.mark.requirement("LEASE-16")
def test_how_it_ended_is_told_without_what_an_error_says(scripted: Scripted) -> None:
    """The record of a failed block names the kind of error; its text may be private."""
    with pytest.raises(ValueError, match="secret"), lease(cost=30):
        raise ValueError("secret")
    assert scripted.wait_for("/release")[0]["outcome"] == "ended by ValueError"


# -- inside of each other ----------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-18")
def test_an_inner_lease_shares_the_outer_one(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    """It asks only for locks that are not held yet, and warns when it wants more than there is."""
    grants = [granted("lease-1", 7), granted("lease-2", 8)]
    scripted.on["POST", "/request"] = lambda body: (200, grants.pop(0))
    with lease(cost=30, locks=["a"]) as outer:
        with lease(cost=20, locks=["a"]) as inner:
            assert (inner.id, inner.is_shared, current_lease()) == (outer.id, True, inner)
            inner.report(0.5)
        assert current_lease() is outer
        assert not caplog.records
        with lease(cost=50):
            assert "wants 50 units, shares 30" in caplog.text
        with lease(cost=20, locks=["a", "b"]) as inner:
            assert not inner.is_shared
            assert inner.chain() == "lease-2:8,lease-1:7"
    asks = scripted.wait_for("/request")
    assert [ask.get("cost_units") for ask in asks] == [30, None]
    assert asks[1]["locks"] == ["b"]
    assert len(scripted.wait_for("/release")) == 2


def test_a_lease_that_another_thread_gave_back_is_shared_by_nobody(scripted: Scripted) -> None:
    """What was taken here and given back elsewhere is over here as well: the next one asks for itself."""
    held = lease(cost=30, export=False).acquire()
    thread = threading.Thread(target=held.release)
    thread.start()
    thread.join()
    assert (held.is_over, current_lease()) == (True, None)
    with lease(cost=30) as own:
        assert not own.is_shared
    assert len(scripted.wait_for("/request", 2)) == 2


def test_what_it_starts_shares_it(scripted: Scripted) -> None:
    """The main thread's lease is exported to what the process starts; elsewhere `env()` is passed on."""
    with lease(cost=30) as held:
        assert os.environ["LEASEHOLD_LEASE"] == held.chain() == "lease-1:7"
    assert "LEASEHOLD_LEASE" not in os.environ
    seen: list[tuple[str | None, str]] = []

    def work() -> None:
        with lease(cost=30) as held:
            seen.append((os.environ.get("LEASEHOLD_LEASE"), held.env()["LEASEHOLD_LEASE"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, "lease-1:7")]


def test_a_forked_child_gives_nothing_back(scripted: Scripted) -> None:
    """A child that leaves the block leaves its parent's lease alone, and sees how it stands."""
    scripted.on["GET", "/lease-1"] = lambda body: (200, {"lease_id": "lease-1", "state": "REVOKING"})
    with lease(cost=30) as held:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                held.release()
                until(lambda: held.should_stop)
                code = 0 if held.is_shared else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert [path for _, path, _ in scripted.calls if path.endswith("/release")] == []
    scripted.wait_for("/release")


# -- on an event loop, and as a decorator ------------------------------------------------------------------


async def test_tasks_of_an_event_loop_each_have_their_own(scripted: Scripted) -> None:
    """Leases of tasks that run at the same time stand apart; a blocked loop renews all the same."""
    numbers = iter(range(1, 9))
    scripted.on["POST", "/request"] = lambda body: (200, granted(f"lease-{(n := next(numbers))}", n))

    async def work() -> tuple[str, bool]:
        async with lease(cost=10) as held:
            await asyncio.sleep(0.05)
            await held.checkpoint_async()
            return held.id, current_lease() is held

    found = await asyncio.gather(*(work() for _ in range(4)))
    assert sorted(found) == [(f"lease-{n}", True) for n in range(1, 5)]
    async with lease(cost=10) as held:
        assert "LEASEHOLD_LEASE" not in os.environ
        before = len(scripted.wait_for(f"/{held.id}/heartbeat"))
        scripted.wait_for(f"/{held.id}/heartbeat", before + 2)  # This blocks the loop.
    scripted.wait_for("/release", 5)


async def test_a_wait_on_an_event_loop_ends_like_any_other(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience that ends, a server that is away, LEASEHOLD=off, an offer that lapsed."""
    scripted.on["POST", "/request"] = lambda body: (200, DENIAL)
    with pytest.raises(NotGranted, match="no room now"):
        await lease(cost=40, wait=0).acquire_async()
    grants = [granted("lease-1", 7), granted("lease-2", 8)]
    scripted.on["POST", "/request"] = lambda body: (200, grants.pop(0))
    scripted.on = {("POST", "/lease-1/heartbeat"): lambda body: EXPIRED, **scripted.on}
    async with lease(cost=40) as held:
        assert held.id == "lease-2"
    async with lease(cost=40, server="unix:/nowhere/at/all", when_down="run") as held:
        assert held.is_bare
    with pytest.raises(NotGranted) as caught:
        await lease(cost=40, server="unix:/nowhere/at/all", when_down="fail").acquire_async()
    assert caught.value.kind == "unreachable"
    monkeypatch.setenv("LEASEHOLD", "off")
    async with lease(cost=40) as held:
        assert held.is_bare


async def test_a_cancelled_wait_gives_its_place_up(scripted: Scripted) -> None:
    """Whoever is cancelled while waiting leaves the line, and gets nothing later."""
    scripted.on["POST", "/request"] = lambda body: (200, DENIAL)
    task = asyncio.create_task(lease(cost=40).acquire_async())
    await asyncio.to_thread(scripted.wait_for, "/request", 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(scripted.wait_for, "/ticket/tkt-1")


async def test_it_decorates_functions_and_coroutine_functions(scripted: Scripted) -> None:
    """Each call asks for a lease of its own, named after the function, and keeps its signature and result."""

    @lease(cost=10)
    def double(number: int) -> int:
        held = current_lease()
        assert held is not None
        return number * 2

    @lease(cost=10, job_type="later")
    async def later(number: int) -> int:
        assert current_lease() is not None
        return number * 3

    assert (double(2), await later(2), double.__name__) == (4, 6, "double")
    assert [ask["job_type"].rpartition(".")[2] for ask in scripted.wait_for("/request", 2)] == [
        "double", "later",
    ]  # fmt: skip
    assert len(scripted.wait_for("/release", 2)) == 2
