"""Undo leaves the state exactly as if what is taken back had never been (design: step 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from leasehold.control.batch import OpenBatch
from leasehold.control.calls import Calls
from leasehold.control.recovery import set_deadlines
from leasehold.core import lease as life
from leasehold.core import tenant as tenants
from leasehold.core import token as tokens
from leasehold.core import waiter as waiting
from leasehold.core.line import plain_cost
from leasehold.core.state import SEMAPHORES, Call, Change, Outcome, Stamp, State
from leasehold.model.lease import LeaseState, Usage
from leasehold.model.line import Presence, Semaphore
from leasehold.model.priority import Priority
from leasehold.model.settings import LimitSettings, PolicySettings
from leasehold.model.token import Token
from leasehold.testing import waiting as factories

SETTINGS = PolicySettings(limits=LimitSettings(idempotency_ms=2_000))

Move = tuple[str, int, int]

OF_LEASES = ("grant", "join", "rejoin", "leave", "renew", "revoke", "due", "release")
KINDS = (*OF_LEASES, "size", "forget calls", "token", "token used", "tenant")

MOVES = some.lists(
    some.tuples(some.sampled_from(KINDS), some.integers(0, 7), some.integers(1, 3_000)),
    max_size=25,
)


class Table:
    """A state, and decisions upon it by small numbers."""

    def __init__(self) -> None:
        self.state = State("node")
        self.state.view = factories.quiet()
        self.calls = Calls(lambda: SETTINGS)
        self.number = 1
        self.now_ms = 1_000

    def play(self, moves: list[Move], batch: OpenBatch) -> None:
        for move in moves:
            self.now_ms += move[2]
            stamp = Stamp(self.now_ms, self.now_ms, self.number, 0)
            outcome = self._outcome(move, stamp)
            if outcome is None:
                continue
            self.number += outcome.numbers
            batch.add(outcome, self.state)
            set_deadlines(self.state, outcome.deadlines, self.now_ms)
            for ticket in self.state.waiters:
                self.state.presence.setdefault(ticket, Presence(False, 0, 0))

    def _outcome(self, move: Move, stamp: Stamp) -> Outcome | None:
        what, which, _ = move
        state, outcome = self.state, Outcome()
        ask = factories.ask(
            1 + which,
            holder=f"h{which % 3}",
            tenant=f"t{which % 2}",
            priority=Priority(which % 5),
            named=[("lock:a", 1)][: which % 2],
        )
        call = Call(f"key {self.number}", "p", b"", "", stamp.now_ms) if which % 2 else None
        lease = self._pick(state.leases, which)
        waiter = self._pick(state.waiters, which)
        if what == "grant":
            life.grant(state, ask, stamp, SETTINGS, outcome, call=call)
        elif what == "join":
            waiting.join(ask, stamp, SETTINGS, outcome, call=call)
        elif what == "size":
            record = Semaphore("lock:a", 1 + which, "p", stamp.wall_ms)
            outcome.changes.append(Change(SEMAPHORES, "lock:a", record))
        elif what == "tenant":
            return self._tenant(which, stamp)
        elif what == "token":
            return self._token(which, stamp)
        elif what == "token used":
            return tokens.used(state, {f"tok-{which % 3}": stamp.wall_ms})
        elif what == "forget calls":
            return self.calls.stale(state, stamp)
        elif what == "rejoin" and waiter is not None:
            waiting.rejoin(waiter, ask, outcome, call=call)
        elif what == "leave" and waiter is not None:
            waiting.leave(waiter, outcome)
        elif lease is not None and lease.state is not LeaseState.REVOKED:
            return self._of_lease(what, lease, stamp)
        return outcome

    def _tenant(self, which: int, stamp: Stamp) -> Outcome:
        """Set one, or remove it where it is there and nothing is in its name."""
        name = f"t{which % 3}"
        if name in self.state.tenants and not tenants.in_use(self.state, name):
            return tenants.remove(self.state, name, stamp, "p")
        return tenants.set_tenant(self.state, name, {"weight": 1 + which, "leases": which}, stamp, "p")

    def _token(self, which: int, stamp: Stamp) -> Outcome:
        """Make one, or revoke it where it is there; its waiters leave with it."""
        known = self.state.tokens.get(f"tok-{which % 3}")
        if known is not None:
            return tokens.revoke(self.state, known, stamp, "p")
        digest = f"{which} {self.number} {self.now_ms}".encode()
        made = Token(f"tok-{which % 3}", "n", digest, "worker", stamp.wall_ms, "p", 9_999, "h")
        return tokens.create(self.state, made, stamp)

    def _of_lease(self, what: str, lease: Any, stamp: Stamp) -> Outcome | None:
        state = self.state
        if what == "renew":
            return life.renew(lease, stamp, SETTINGS)
        if what == "revoke":
            return life.revoke(state, lease, stamp, SETTINGS, by="p", note="", grace_ms=10)
        if what == "due":
            return life.due(state, lease, stamp, SETTINGS, work_lives=False)
        if what == "release":
            return life.release(state, lease, stamp, SETTINGS, Usage(), "")
        return None

    @staticmethod
    def _pick(table: dict[str, Any], which: int) -> Any:
        return table[sorted(table)[which % len(table)]] if table else None

    def dump(self) -> dict[str, Any]:
        """Everything that a decision could see; deadlines apart, which a recovery gives anew."""
        state = self.state
        walk = state.line.walk(state.flows, SETTINGS.line, 0, plain_cost)
        order = []
        while (waiter := walk.next()) is not None:
            order.append(waiter.ticket)
            walk.take()
        return {
            "leases": dict(state.leases),
            "waiters": dict(state.waiters),
            "flows": dict(state.flows),
            "semaphores": dict(state.semaphores),
            "calls, oldest first": list(state.calls.items()),
            "tenants": (dict(state.tenants), dict(state.weights)),
            "tokens": (dict(state.tokens), dict(state.token_ids)),
            "sizes": dict(state.sizes),
            "calls of": dict(state.calls_of),
            "waiters of": dict(state.waiters_of),
            "ended": list(state.ended),
            "used": state.book.used,
            "counts": (state.book.leases, dict(state.book.per_holder), dict(state.book.constraints)),
            "held by tenants": dict(state.book.per_tenant),
            "alive": sorted(state.liveness),
            "present": sorted(state.presence),
            "order": order,
            "length": len(state.line),
            "shapes": dict(state.line.shapes),
        }


@pytest.mark.requirement("PROVE-2")
@pytest.mark.requirement("INV-2")
@pytest.mark.requirement("INV-4")
@given(kept=MOVES, first=MOVES, second=MOVES)
@example(kept=[("grant", 1, 1), ("grant", 3, 2_500)], first=[("forget calls", 0, 1)], second=[])
def test_what_is_taken_back_had_never_been(kept: list[Move], first: list[Move], second: list[Move]) -> None:
    """Two batches upon a state of any history, taken back newest first, leave no trace in it."""
    table = Table()
    table.play(kept, OpenBatch())
    before = table.dump()
    batches = [OpenBatch(), OpenBatch()]
    table.play(first, batches[0])
    table.play(second, batches[1])
    for batch in reversed(batches):
        batch.take_back(table.state)
    assert table.dump() == before
    for _ in range(3):  # The state is as usable as before: the same moves do the same again.
        batch = OpenBatch()
        table.play(first, batch)
        batch.take_back(table.state)
    assert table.dump() == before
