"""Works the outbox: tells targets what is due, again and again until it is taken or given up (CLUSTER-27).

Events become messages and deliveries in the commit that they are part of. Each attempt is a commit (begun), a
call, and a commit (what came of it). So nothing goes out that was not committed, a crash loses nothing, and a
receiver may get something twice, with the same id: at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from leasehold.control.ledger import Ledger
from leasehold.control.timers import Timers
from leasehold.core import notification as decisions
from leasehold.core import notification_now as now
from leasehold.core import notify_target
from leasehold.core.news import news_of
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event
from leasehold.model.notification import Delivery, DeliveryState, Draft, Message, Parcel
from leasehold.ports.notifier import Notifier, NotifyFailed

log = structlog.get_logger(__name__)

AT_ONCE_MAX = 8
"""Calls in flight, over all targets; each target gets one at a time, so a slow one delays itself only."""

BUSY_MS = 500
"""When something is looked at again that could not be begun: its target, or every place, is taken."""

TRY_AGAIN_MS = 2_000
"""When it is tried again where the store did not take it."""

UNTOLD_MAX = 20
"""Rounds of news that are told from memory at the same time."""

SET_BACK_MS = 1_000
NEVER_MS = 1 << 60

MADE = frozenset({"NotificationMade", "NotificationRetried", "NotificationTargetChanged"})
"""Events after which something may be due that was not."""


class Outbox:
    """One per server. `tick` is called a few times a second, `committed` with the events of each commit."""

    def __init__(
        self, ledger: Ledger, notifier: Notifier, redacted: Callable[[str], str] = lambda text: text
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._notifier = notifier
        self._redacted = redacted
        self.on_targets: Callable[[], None] = lambda: None
        """Called when targets may be others than they were."""
        self._timers = Timers()
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._targets: set[str] = set()
        self._untold: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE_MAX)
        self._looked_wall_ms = NEVER_MS
        self._is_stopping = False
        ledger.on_decided = self._decided

    # -- what is told

    def _decided(self, state: State, stamp: Stamp, outcome: Outcome) -> None:
        """Take the news of a decision's events into it. A fault of ours costs the news, not the decision."""
        drafts = [draft for event in outcome.events if (draft := news_of(event)) is not None]
        if not drafts:
            return
        changes, events, numbers = list(outcome.changes), list(outcome.events), outcome.numbers
        try:
            decisions.post(state, drafts, stamp, outcome)
        except Exception:
            outcome.changes[:], outcome.events[:], outcome.numbers = changes, events, numbers
            log.exception("news_not_taken", kinds=[draft.kind for draft in drafts])

    def untold(self, events: Sequence[Event]) -> None:
        """Tell at once of events that no store takes: of a full disk, say. See `core.notification_now`.

        Once the store takes writes again it is written down; what failed is tried again then.
        """
        drafts = [draft for event in events if (draft := news_of(event)) is not None]
        if not drafts or self._is_stopping:
            return
        if len(self._untold) >= UNTOLD_MAX:
            log.error("news_not_taken", kinds=[draft.kind for draft in drafts])
            return
        task = asyncio.create_task(self._tell_now(drafts), name="notify-now")
        self._untold.add(task)
        task.add_done_callback(self._untold.discard)

    async def _tell_now(self, drafts: Sequence[Draft]) -> None:
        state, wall_ms = self._ledger.state, self._clock.wall_ms()
        messages, parcels = now.parcels(state, drafts, wall_ms, self._ledger.ids.new)
        deliveries = await asyncio.gather(*(self._send_now(parcel) for parcel in parcels))
        record = partial(_written, messages, deliveries)
        try:
            await self._ledger.execute(record)
        except LeaseholdError:
            self._ledger.remember(f"notifications {messages[0].message_id}", record)

    async def _send_now(self, parcel: Parcel) -> Delivery:
        """One call from memory; what has come of it."""
        if parcel.delivery.held:
            return parcel.delivery
        failure = NotifyFailed("", "")
        try:
            async with self._places:
                await self._notifier.send(parcel)
        except NotifyFailed as error:
            failure = error
        except Exception as error:
            log.exception("notifier", delivery_id=parcel.delivery.delivery_id)
            failure = NotifyFailed("INTERNAL", f"a fault here: {type(error).__name__}")
        sentence = self._redacted(failure.sentence)
        log.info("told_without_store", target=parcel.target.name, code=failure.code, why=sentence)
        return now.after(
            parcel.delivery, self._clock.wall_ms(), failure.code, sentence, permanent=failure.permanent
        )

    # -- what is due

    def reloaded(self) -> None:
        """The state was read anew: with the next tick everything is looked at."""
        self._looked_wall_ms = NEVER_MS
        self.on_targets()

    def committed(self, events: Sequence[Event]) -> None:
        """Something that waits may be new."""
        if any(event.kind.startswith("NotificationTarget") for event in events):
            self.on_targets()
        if not events or any(event.kind in MADE for event in events):
            self._look()

    def tick(self) -> None:
        """Begin what is due by the wall clock."""
        wall_ms = self._clock.wall_ms()
        if wall_ms < self._looked_wall_ms - SET_BACK_MS:
            self._timers = Timers()
            self._look()
        self._looked_wall_ms = wall_ms
        if self._ledger.read_only or self._is_stopping:
            return
        for delivery_id in self._timers.pop_due(wall_ms):
            self._begin(delivery_id, wall_ms)

    def _look(self) -> None:
        """Set the time of everything that waits."""
        wall_ms = self._clock.wall_ms()
        for one in self._ledger.state.notify_deliveries.values():
            if one.state is DeliveryState.PENDING and one.delivery_id not in self._calls:
                self._timers.set(one.delivery_id, decisions.due_ms(one, wall_ms))

    def _begin(self, delivery_id: str, wall_ms: int) -> None:
        state = self._ledger.state
        found = state.notify_deliveries.get(delivery_id)
        target = state.notify_targets.get(found.target_id) if found is not None else None
        if found is None or target is None or not target.enabled or found.state is not DeliveryState.PENDING:
            return
        if len(self._calls) >= AT_ONCE_MAX or found.target_id in self._targets or delivery_id in self._calls:
            self._timers.set(delivery_id, wall_ms + BUSY_MS)
            return
        self._targets.add(found.target_id)
        call = asyncio.create_task(self._deliver(delivery_id), name=f"notify-{delivery_id}")
        self._calls[delivery_id] = call
        call.add_done_callback(partial(self._ended, delivery_id, found.target_id))

    def _ended(self, delivery_id: str, target_id: str, call: asyncio.Task[None]) -> None:
        self._calls.pop(delivery_id, None)
        self._targets.discard(target_id)
        wall_ms, again_ms = self._clock.wall_ms(), 0
        if not call.cancelled() and (error := call.exception()) is not None:
            again_ms = wall_ms + TRY_AGAIN_MS
            if isinstance(error, LeaseholdError):
                log.info("notification_put_off", delivery_id=delivery_id, why=error.message)
            else:
                log.error("notification", delivery_id=delivery_id, exc_info=error)
        found = self._ledger.state.notify_deliveries.get(delivery_id)
        if found is not None and found.state is DeliveryState.PENDING:
            self._timers.set(delivery_id, max(decisions.due_ms(found, wall_ms), again_ms))

    # -- one attempt

    async def _deliver(self, delivery_id: str) -> None:
        begun = partial(_begun, delivery_id)
        parcel: Parcel | None = await self._ledger.execute(begun)
        if parcel is None:
            return
        try:
            await self._notifier.send(parcel)
        except NotifyFailed as failure:
            await self._failed(parcel, failure)
            return
        except Exception as error:  # An adapter of ours is broken: that must not stop the others.
            log.exception("notifier", delivery_id=delivery_id)
            await self._failed(parcel, NotifyFailed("INTERNAL", f"a fault here: {type(error).__name__}"))
            return
        log.info("notification_sent", delivery_id=delivery_id, target=parcel.target.name)
        await self._settle(delivery_id, partial(_sent, parcel.delivery))

    async def _failed(self, parcel: Parcel, failure: NotifyFailed) -> None:
        delivery = parcel.delivery
        failure.sentence = self._redacted(failure.sentence)
        log.warning(
            "notification_failed",
            delivery_id=delivery.delivery_id,
            target=parcel.target.name,
            attempt=delivery.attempts,
            code=failure.code,
            why=failure.sentence,
        )
        if failure.gone:
            await self._settle(delivery.delivery_id, partial(_gone, delivery.target_id))
        else:
            await self._settle(delivery.delivery_id, partial(_failed, delivery, failure))

    async def _settle(self, delivery_id: str, decide: partial[Outcome]) -> None:
        """Commit what came of an attempt, or keep it until the store takes it: else it is only sent again."""
        try:
            await self._ledger.execute(decide)
        except LeaseholdError:
            self._ledger.remember(f"delivery {delivery_id}", decide)
            raise

    # -- the rest

    def busy(self) -> int:
        """Calls in flight."""
        return len(self._calls)

    async def stop(self) -> None:
        """Cut off what is in flight: it is sent again after the next start."""
        self._is_stopping = True
        calls = [*self._calls.values(), *self._untold]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._notifier.close()


def _written(
    messages: Sequence[Message], deliveries: Sequence[Delivery], state: State, stamp: Stamp
) -> Outcome:
    return now.written(state, messages, deliveries, stamp)


def _begun(delivery_id: str, state: State, stamp: Stamp) -> Outcome:
    return decisions.begin(state, delivery_id, stamp)


def _sent(begun: Delivery, state: State, stamp: Stamp) -> Outcome:
    return decisions.sent(state, begun, stamp)


def _failed(begun: Delivery, failure: NotifyFailed, state: State, stamp: Stamp) -> Outcome:
    return decisions.failed(
        state,
        begun,
        failure.code,
        failure.sentence,
        stamp,
        permanent=failure.permanent,
        retry_after_ms=failure.retry_after_s * 1000,
    )


def _gone(target_id: str, state: State, stamp: Stamp) -> Outcome:
    if target_id not in state.notify_targets:
        return Outcome()
    return notify_target.remove(state, target_id, stamp, "", gone=True)
