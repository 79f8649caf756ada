"""Writing what has become of alerts, also where no store takes it, or hangs (OPS-13, OPS-17)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from leasehold.control.ledger import Ledger
from leasehold.core.state import ALERTS, Change, Outcome, State
from leasehold.model.alert import Alert
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event

log = structlog.get_logger(__name__)

LATE_EVENTS_MAX = 200
"""Events that wait for a store; of older ones their alerts still tell what has become of it."""

WRITE_MS = 10_000
"""A store that has not answered by then hangs: nothing waits for it any longer."""


class Writing:
    """Commits alerts with their events. `late` are those that stand in memory alone.

    `on_untold` gets the events that no store has taken, at once. They are committed when that is possible
    again, marked `late`; of a store that hangs they may come without that mark.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.late: dict[str, Alert] = {}
        self._events: list[Event] = []
        self._hung: asyncio.Future[None] | None = None
        self._hung_events: list[Event] = []
        self.on_untold: Callable[[Sequence[Event]], None] = lambda events: None

    async def write(self, changed: Mapping[str, Alert], events: Sequence[Event]) -> None:
        """Return when it is durable, or when that is not to be had. Raises nothing that a store may raise."""
        alerts = {**self.late, **changed}
        if self._hangs():
            self._keep(alerts, events, "the store has not answered yet")
            return
        if not alerts and not self._events:
            return
        told = [*(_as_late(event) for event in self._events), *events]
        try:
            _, durable = self._ledger.submit(lambda state, stamp: _outcome(state, alerts, told))
            if durable is not None and not await self._in_time(durable):
                self._hung, self._hung_events = durable, [*self._events, *events]
                self._events = []
                self._keep(alerts, (), "the store hangs")
                self.on_untold(events)
                return
        except LeaseholdError as error:
            self._keep(alerts, events, str(error))
            return
        self.late.clear()
        self._events.clear()

    def _hangs(self) -> bool:
        """Whether an earlier commit is still under way. One that failed after all is to be made again."""
        if self._hung is None:
            return False
        if not self._hung.done():
            return True
        if self._hung.cancelled() or self._hung.exception() is not None:
            self._events = [*self._hung_events, *self._events][-LATE_EVENTS_MAX:]
        self._hung, self._hung_events = None, []
        return False

    async def _in_time(self, durable: asyncio.Future[None]) -> bool:
        """Whether it is durable in time. Raises what the ledger says of a commit that failed."""
        patience = asyncio.ensure_future(self._ledger.clock.sleep(WRITE_MS))
        await asyncio.wait((durable, patience), return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        if durable.done():
            durable.result()
            return True
        durable.add_done_callback(_seen)
        return False

    def _keep(self, alerts: Mapping[str, Alert], events: Sequence[Event], why: str) -> None:
        """No store takes it: it counts all the same."""
        if events or not self.late:
            log.warning("alerts_not_written", why=why, rules=sorted(alerts))
        self.late = dict(alerts)
        self._events = [*self._events, *events][-LATE_EVENTS_MAX:]
        if events:
            self.on_untold(events)


def _outcome(state: State, alerts: Mapping[str, Alert], events: Sequence[Event]) -> Outcome:
    outcome = Outcome()
    for name, alert in alerts.items():
        said = state.alert_rules.get(name)
        if said is None or said.enabled:  # Somebody may have switched it off meanwhile.
            outcome.changes.append(Change(ALERTS, name, alert))
    outcome.events = list(events)
    return outcome


def _as_late(event: Event) -> Event:
    """An event that was told when it happened, and could not be written then."""
    return msgspec.structs.replace(event, details={**event.details, "late": True})


def _seen(done: asyncio.Future[Any]) -> None:
    """What becomes of a commit that nobody waits for is looked at, so that it is no error of its own."""
    if not done.cancelled():
        done.exception()
