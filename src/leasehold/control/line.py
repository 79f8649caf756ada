"""The waiting line at work:

held calls, tickets, and the dispatcher that wakes when room may have come (LEASE-7, QUEUE-8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from leasehold.control.demand import Round
from leasehold.control.ledger import Ledger
from leasehold.core import admission, dispatch, pause
from leasehold.core import lease as life
from leasehold.core import waiter as waiting
from leasehold.core.jobs import Entry
from leasehold.core.reservation import running
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError, OutcomeUnknown, StoreUnavailable
from leasehold.model.job import Job
from leasehold.model.lease import Lease
from leasehold.model.line import Here, Presence, Waiter
from leasehold.model.refusal import Reason
from leasehold.model.settings import PolicySettings

FORGET_AGAIN_MS = 1_000
"""How long after the store refused it a waiter's end is tried again."""


class Takers(Protocol):
    """Who does the jobs that stand in the line (control/claims.py)."""

    def round(self, now_ms: int) -> Round:
        """What is wanted during one pass."""
        ...

    def awaited(self, now_ms: int) -> bool:
        """Whether anybody takes jobs now, or is expected."""
        ...

    def hand_out(
        self,
        state: State,
        entry: Job | Entry,
        taker: Any,
        stamp: Stamp,
        settings: PolicySettings,
        outcome: Outcome,
    ) -> Any:
        """Add to `outcome` what gives this job to its taker."""
        ...

    def handed_out(self, taker: Any, handed: Any, failed: bool) -> None:
        """That is durable now, or was taken back."""
        ...


class LineService:
    """Who waits, and who is next.

    `granted` is called with each lease that the dispatcher made, once it is durable.
    """

    def __init__(
        self, ledger: Ledger, settings: Callable[[], PolicySettings], granted: Callable[[Waiter, Lease], None]
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._granted = granted
        self._held: dict[str, asyncio.Future[Lease]] = {}
        self._reserved_until_ms = 0
        self._more = False
        self.attempts = 0
        self.attempts_idle = 0
        self.takers: Takers | None = None
        """Who takes jobs; without, jobs only stand there."""

    def hold(self, waiter: Waiter, now_ms: int) -> asyncio.Future[Lease]:
        """A call is open for this waiter from now on.

        It can be granted at any moment. A later call takes the place over.
        """
        before = self._held.pop(waiter.ticket, None)
        if before is not None:
            before.cancel()
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._held[waiter.ticket] = future
        forget_ms = now_ms + self._settings().line.ticket_ms
        self._ledger.state.presence[waiter.ticket] = Presence(True, now_ms, forget_ms)
        return future

    def claims(self, now_ms: int) -> bool:
        """Whether anybody in line may claim room now: held, or within the time that it was told to come back,
        or a job that somebody would take.

        While nobody does, whoever asks is judged alone: the others have their places, and no room is theirs.
        """
        state = self._ledger.state
        if self._held or state.resuming or now_ms < self._reserved_until_ms:
            return True
        has_jobs = len(state.line) > len(state.waiters)
        return has_jobs and self.takers is not None and self.takers.awaited(now_ms)

    def let_go(self, ticket: str, future: asyncio.Future[Lease], now_ms: int, retry_s: int | None) -> None:
        """The call is over without a grant.

        The place is kept, room is reserved until the retry time it was told + 2 s.
        """
        if self._held.get(ticket) is not future:
            return  # A later call has taken the place over.
        del self._held[ticket]
        if ticket not in self._ledger.state.waiters:
            return
        line = self._settings().line
        reserves_ms = now_ms + retry_s * 1000 + line.reserve_slack_ms if retry_s is not None else now_ms
        self._ledger.state.presence[ticket] = Presence(False, reserves_ms, now_ms + line.ticket_ms)
        self._reserved_until_ms = max(self._reserved_until_ms, reserves_ms)
        self._ledger.on_due(ticket, reserves_ms)

    def kept_after_restart(self, now_ms: int) -> None:
        """Everyone whose place was read from the store may come back within the ticket's time.

        Who is held still is; who has lost its place, because the commit that was unknown granted it, is told.
        """
        line = self._settings().line
        self._reserved_until_ms = now_ms + line.reserve_slack_ms
        for ticket, future in list(self._held.items()):
            if ticket in self._ledger.state.waiters:
                self._ledger.state.presence[ticket] = Presence(True, now_ms, now_ms + line.ticket_ms)
            elif not future.done():
                sentence = (
                    f"whether {ticket} was granted could not be learned; ask again, or see `leasehold status`"
                )
                future.set_exception(OutcomeUnknown(sentence, retry_after_s=1))
                future.exception()  # Its call may have ended already.
        for ticket, waiter in self._ledger.state.waiters.items():
            if waiter.resumes:  # Nobody calls for it; it is there as long as its lease is.
                self._ledger.state.presence[ticket] = Presence(True, now_ms, now_ms + line.ticket_ms)
            elif ticket not in self._held:
                self._ledger.state.presence[ticket] = Presence(
                    False, now_ms + line.reserve_slack_ms, now_ms + line.ticket_ms
                )
                self._ledger.on_due(ticket, now_ms + line.reserve_slack_ms)

    def dispatch(self) -> None:
        """Grant whoever's turn it is and who fits.

        Nothing happens, and nothing is written, when nobody does.
        """
        state = self._ledger.state
        if not len(state.line) or self._ledger.read_only or not self._ledger.ready:
            return
        self.attempts += 1
        try:
            grants, durable = self._ledger.submit(self._decide)
        except LeaseholdError:
            return  # Stopping, or the store has just refused: the next wake tries again.
        if durable is None:
            self.attempts_idle += 1
            return
        durable.add_done_callback(lambda done: self._answer(done, grants))
        if self._more:
            self.dispatch()

    def _decide(self, state: State, stamp: Stamp) -> Outcome:
        settings = self._settings()
        outcome = Outcome([])
        round_ = self.takers.round(stamp.now_ms) if self.takers is not None else None
        plan = plan_now(state, settings, stamp.now_ms, round_)
        if plan is not None:
            state.reserved = plan.reserved
            self._more = plan.more
        for waiter in plan.grants if plan is not None else ():
            if not isinstance(waiter, Waiter):
                assert self.takers is not None
                assert round_ is not None
                taker = round_.taker_of[waiter.number]
                handed = self.takers.hand_out(state, waiter, taker, stamp, settings, outcome)
                outcome.answer.append((taker, handed))
                continue
            waiting.leave(waiter, outcome)
            if waiter.resumes:
                answered, outcome.answer = outcome.answer, None
                pause.regain(state, waiter, stamp, settings, outcome)
                outcome.answer = answered
                continue
            call = waiting.call_of(waiter, stamp)
            waited_ms = stamp.now_ms - waiter.since_ms
            lease = life.grant(
                state, waiter.ask, stamp, settings, outcome, call=call, waited_ms=max(0, waited_ms)
            )
            outcome.answer.append((waiter, lease))
        return outcome

    def _answer(self, done: asyncio.Future[None], grants: list[tuple[Any, Any]]) -> None:
        failed = done.cancelled() or done.exception() is not None
        for waiter, lease in grants:
            if not isinstance(waiter, Waiter):
                assert self.takers is not None
                self.takers.handed_out(waiter, lease, failed)
                continue
            if failed:
                self._taken_back(waiter.ticket)
                continue
            self._granted(waiter, lease)
            future = self._held.pop(waiter.ticket, None)
            if future is not None and not future.done():
                future.set_result(lease)

    def _taken_back(self, ticket: str) -> None:
        """It waits on, as the state says; but its caller may have hung up meanwhile."""
        now_ms = self._ledger.clock.now_ms()
        if ticket in self._ledger.state.waiters and ticket not in self._held:
            forget_ms = now_ms + self._settings().line.ticket_ms
            self._ledger.state.presence[ticket] = Presence(False, now_ms, forget_ms)
            self._ledger.on_due(ticket, forget_ms)

    def refuse_all(self, why: str) -> None:
        """Answer every held call: the server stops (OPS-28). Their places stay."""
        held, self._held = self._held, {}
        for future in held.values():
            if not future.done():
                future.set_exception(StoreUnavailable(why, retry_after_s=2))
                future.exception()  # Its call may wait for something else just now.

    def due(self, ticket: str, now_ms: int) -> int | None:
        """A time of this waiter has come. Returns its next one, None when there is none."""
        state = self._ledger.state
        presence = state.presence.get(ticket)
        waiter = state.waiters.get(ticket)
        if presence is None or waiter is None:
            return None
        if presence.held:
            return now_ms + self._settings().line.ticket_ms
        if now_ms < presence.reserves_until_ms:
            return presence.reserves_until_ms
        if now_ms < presence.forget_ms:
            self.dispatch()  # What it had reserved is free for others now.
            return presence.forget_ms
        return None if self.forget(waiter) else now_ms + FORGET_AGAIN_MS

    def forget(self, waiter: Waiter) -> bool:
        """Take a waiter out for good: it did not come back in time. False: it can't be written now."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome()
            if waiter.ticket in state.waiters:
                waiting.leave(waiter, outcome)
            return outcome

        try:
            _, durable = self._ledger.submit(decide)
        except LeaseholdError:
            return False
        if durable is not None:
            durable.add_done_callback(lambda done: self._forgotten(done, waiter.ticket))
        self.dispatch()
        return True

    def _forgotten(self, done: asyncio.Future[None], ticket: str) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._ledger.on_due(ticket, self._ledger.clock.now_ms() + FORGET_AGAIN_MS)


def plan_now(
    state: State, settings: PolicySettings, now_ms: int, wanted: Round | None = None
) -> dispatch.Plan[Waiter | Job | Entry] | None:
    """The dispatcher's plan for this instant; None before anything is known of the machine."""
    if state.view is None:
        return None

    def gate(entry: Waiter | Job | Entry) -> Reason | None:
        stands = admission.gates(state, entry.ask, now_ms, settings)
        return stands[0] if stands else None

    def here(entry: Waiter | Job | Entry) -> Here:
        if not isinstance(entry, Waiter):
            return wanted.here(entry.ask) if wanted is not None else Here.AWAY
        presence = state.presence.get(entry.ticket)
        return presence.here(now_ms) if presence is not None else Here.AWAY

    def started(entry: Waiter | Job | Entry) -> None:
        if wanted is not None and not isinstance(entry, Waiter):
            wanted.started(entry.number, entry.ask)

    return dispatch.plan(
        state.line,
        state.flows,
        here,
        state.book,
        state.view,
        state.sizes,
        lambda: [running(lease, now_ms) for lease in state.leases.values()],
        settings,
        now_ms,
        gate,
        kept=state.reserved,
        started=started,
        tenants=state.tenants,
    )
