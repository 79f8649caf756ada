"""The door of the ledger: bounded calls and bytes, a share each, a lane for what frees (OPS-31)."""

from __future__ import annotations

import pytest

from leasehold.control.backpressure import RESERVED_TIMES, SHARE_OF_ONE, Backpressure
from leasehold.model.errors import Overloaded
from leasehold.model.principal import Principal
from leasehold.model.settings import LimitSettings, PolicySettings

LIMIT = 40


def door() -> Backpressure:
    settings = PolicySettings(limits=LimitSettings(commands_waiting=LIMIT, bytes_waiting=1_000))
    return Backpressure(lambda: settings)


def who(number: int) -> Principal:
    return Principal(f"user:{number}", "user", frozenset())


@pytest.mark.requirement("OPS-31")
def test_one_caller_has_a_share_only() -> None:
    """A quarter of the calls is one caller's; another one still gets in, and a free place is reused."""
    backpressure = door()
    done = [backpressure.admit(who(1), 0, "normal") for _ in range(LIMIT // SHARE_OF_ONE)]
    with pytest.raises(Overloaded, match="user:1"):
        backpressure.admit(who(1), 0, "normal")
    backpressure.admit(who(2), 0, "normal")
    done[0]()
    backpressure.admit(who(1), 0, "normal")


@pytest.mark.requirement("OPS-31")
@pytest.mark.requirement("LEASE-27")
def test_what_frees_gets_in_when_nothing_else_does() -> None:
    """All together have filled the door; a release still comes through its reserved lane."""
    backpressure = door()
    for number in range(LIMIT):
        backpressure.admit(who(number % 8), 0, "normal")
    with pytest.raises(Overloaded, match="everybody"):
        backpressure.admit(who(100), 0, "normal")
    backpressure.admit(who(100), 0, "reserved")


@pytest.mark.requirement("OPS-31")
def test_bytes_are_bounded_too() -> None:
    """A few large bodies fill the door as many small ones do; the reserved lane is bounded as well."""
    backpressure = door()
    with pytest.raises(Overloaded):
        backpressure.admit(who(1), 251, "normal")
    backpressure.admit(who(1), 250, "normal")
    with pytest.raises(Overloaded):
        backpressure.admit(who(1), 1, "normal")
    with pytest.raises(Overloaded):
        backpressure.admit(who(1), 1_000 * RESERVED_TIMES // SHARE_OF_ONE + 1, "reserved")


def test_nothing_is_left_when_all_have_gone() -> None:
    """Callers that went leave no entry behind (INV-8)."""
    backpressure = door()
    for leave in [backpressure.admit(who(number), 7, "normal") for number in range(20)]:
        leave()
    assert (backpressure.calls, backpressure.bytes) == (0, 0)
    assert not backpressure._calls
    assert not backpressure._bytes
