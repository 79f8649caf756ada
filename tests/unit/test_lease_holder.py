"""The process that asked for a lease over the Unix socket has ended: what that means (LEASE-7). Pure."""

from __future__ import annotations

import pytest

from leasehold.core.lease import processes_ended
from leasehold.core.state import Stamp, State
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask, Binding, Lease, LeaseState, Process
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import NODE

STAMP = Stamp(1_000, 2_000, 7, 0)
CALLER = Process(100, 1, "boot")
WORK = Process(101, 2, "boot")

pytestmark = pytest.mark.requirement("LEASE-7")


def after_its_death(by_caller: bool, *work: Process, state: LeaseState = LeaseState.ACTIVE) -> str:
    """What becomes of a lease whose caller has died; "" where nothing does."""
    ask = Ask("user:ann", "build", Charge(units=30), NODE, "user:ann")
    lease = Lease("lease-1", 7, ask, state, 0, 0, binding=Binding(caller=CALLER, work=work))
    outcome = processes_ended(
        State(NODE),
        lease,
        STAMP,
        PolicySettings(),
        caller_lives=False,
        work_lives=bool(work),
        by_caller=by_caller,
    )
    return f"{outcome.answer.state}: {outcome.answer.end_reason}" if outcome.changes else ""


def test_a_holder_that_dies_ends_its_lease() -> None:
    """The process that asked renewed the lease itself: with it there is nobody left who holds it."""
    assert after_its_death(True) == "EXPIRED: the process that held it ended"


def test_a_messenger_that_ends_changes_nothing() -> None:
    """`curl` asks and is gone, and a later one renews: such a lease ends by its time alone."""
    assert after_its_death(False) == ""


def test_work_that_lives_keeps_its_lease() -> None:
    """The holder died, its work goes on: unattended, not over."""
    assert after_its_death(True, WORK) == "ACTIVE: "


def test_an_offer_that_was_not_taken_up_ends_as_before() -> None:
    """Who asked and died before the first renewal has not held anything."""
    assert after_its_death(True, state=LeaseState.OFFERED) == "EXPIRED: the process that asked ended"
