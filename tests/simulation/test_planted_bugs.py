"""Bugs planted on purpose, each found by the simulation within a few seeds (PROVE-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from leasehold.control import line as line_of_control
from leasehold.control import recovery
from leasehold.control.batch import OpenBatch
from leasehold.control.ledger import Ledger
from leasehold.control.live import LiveLeases
from leasehold.control.request import RequestService
from leasehold.core import lease as life
from leasehold.core.book import Book
from leasehold.core.state import Outcome, State
from leasehold.model.lease import Lease
from leasehold.testing.fakes import VirtualClock
from leasehold.testing.simulation import simulate

SEEDS = 30
Patch = pytest.MonkeyPatch


def no_fence_compare(patch: Patch) -> None:
    """Any token will do."""
    own = life.own

    def lenient(state: State, lease_id: str, principal: str, *, token: int | None, **more: Any) -> Lease:
        return own(state, lease_id, principal, token=None, **more)

    patch.setattr(life, "own", lenient)


def effect_before_commit(patch: Patch) -> None:
    """Whoever decides is answered at once, before the disk has it."""
    take = Ledger._take

    def hasty(self: Ledger, outcome: Outcome) -> asyncio.Future[None]:
        take(self, outcome)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    patch.setattr(Ledger, "_take", hasty)


def double_release(patch: Patch) -> None:
    """The charge of a lease that ends falls twice."""
    remove = Book.remove

    def twice(self: Book, lease: Lease) -> None:
        remove(self, lease)
        self.units = max(0, self.units - lease.ask.charge.units)

    patch.setattr(Book, "remove", twice)


def wrong_clock(patch: Patch) -> None:
    """Durations are judged on the wall clock, which people set."""
    patch.setattr(VirtualClock, "now_ms", VirtualClock.wall_ms)


def lost_wake_up(patch: Patch) -> None:
    """Nobody looks at the line when a lease has ended."""

    def forgets(self: LiveLeases, lease_id: str) -> None:
        if lease_id not in self.ledger.state.leases:
            self.timers.drop(lease_id)

    patch.setattr(LiveLeases, "after_end", forgets)


def stale_read(patch: Patch) -> None:
    """Readers are shown what may still be taken back."""

    async def at_once(self: Ledger, build: Callable[[State], Any]) -> Any:
        return build(self.state)

    patch.setattr(Ledger, "read", at_once)


def undo_skipped(patch: Patch) -> None:
    """What could not be committed stays in memory."""
    patch.setattr(OpenBatch, "take_back", lambda self, state: None)


def tokens_begin_again(patch: Patch) -> None:
    """Each start counts tokens from the beginning."""
    patch.setattr(recovery.Start, "first_number", property(lambda self: (1 << recovery.INCARNATION_BITS) + 1))


def stall_not_noticed(patch: Patch) -> None:
    """After a stall what is due by the clock ends at once."""

    def unaware(self: Ledger) -> None:
        self._seen_ms = max(self.clock.now_ms(), self._seen_ms)

    patch.setattr(Ledger, "alive", unaware)


def denied_while_granted(patch: Patch) -> None:
    """A call that ends while its grant is being committed is told no."""

    async def at_once(self: RequestService, waiter: object, future: object) -> None:
        """Do not wait."""

    patch.setattr(RequestService, "_grant_under_way", at_once)


def ended_before_durable(patch: Patch) -> None:
    """That a lease has ended is said while it can still be taken back."""

    async def at_once(self: LiveLeases, lease_id: str) -> Lease | None:
        return self.ledger.state.leases.get(lease_id)

    patch.setattr(LiveLeases, "held", at_once)


def held_forgotten_at_reload(patch: Patch) -> None:
    """After a reload those who are still connected do not count as there."""
    patch.setattr(line_of_control.LineService, "kept_after_restart", lambda self, now_ms: None)


PLANTED: dict[Callable[[Patch], None], tuple[str, ...]] = {
    no_fence_compare: ("INV-3",),
    effect_before_commit: ("INV-4",),
    double_release: ("INV-1", "INV-2"),
    wrong_clock: ("LEASE-10",),
    lost_wake_up: ("LEASE-7",),
    stale_read: ("INV-4",),
    undo_skipped: ("INV-2", "INV-4", "INV-5", "LEASE-12"),
    tokens_begin_again: ("INV-3", "INV-5"),
    stall_not_noticed: ("LEASE-10",),
    denied_while_granted: ("LEASE-7",),
    ended_before_durable: ("INV-4",),
    held_forgotten_at_reload: ("INV-8", "QUEUE-7", "LEASE-7"),
}
"""Each with the rules of which one at least is found broken."""


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Within thirty seeds some validator tells of it, and names the rule that it breaks."""
    plant(monkeypatch)
    for seed in range(1, SEEDS + 1):
        found = simulate(seed).broken
        if found:
            assert any(f": {rule}: " in line for rule in PLANTED[plant] for line in found), found
            return
    pytest.fail(f"{plant.__name__} was not found in {SEEDS} seeds")
