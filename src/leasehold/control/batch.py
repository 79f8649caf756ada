"""One open batch:

the last value of each key it touches, its events, and how to take it all back (design: step 4).
"""

from __future__ import annotations

import asyncio

from leasehold.control import codec
from leasehold.core.state import Outcome, State, Undo
from leasehold.model.event import Event
from leasehold.ports.store import Batch, Limits


class OpenBatch:
    """Fills while the batch before it is being written.

    Values are encoded as they come, so its size is known.
    """

    __slots__ = ("bytes", "commands", "deletes", "events", "finishes", "puts", "undo", "waiters")

    def __init__(self) -> None:
        self.puts: dict[str, bytes] = {}
        self.finishes: dict[str, bytes] = {}
        self.deletes: dict[str, None] = {}
        self.events: list[Event] = []
        self.undo: list[Undo] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.commands = 0
        self.bytes = 0

    @property
    def is_empty(self) -> bool:
        return not self.commands

    @property
    def keys(self) -> int:
        return len(self.puts) + len(self.finishes) + len(self.deletes)

    def has_room(self, outcome: Outcome, limits: Limits) -> bool:
        """Whether one more command's changes fit; a command is never split. An empty batch takes any."""
        return self.is_empty or (
            self.commands < limits.commands
            and self.keys + len(outcome.changes) <= limits.keys
            and self.bytes + 1024 * len(outcome.changes) <= limits.bytes
        )

    def add(self, outcome: Outcome, state: State) -> None:
        """Apply a decision to the state and take its changes in."""
        for change in outcome.changes:
            self.undo.append(state.apply(change))
            key = codec.store_key(change.table, change.key)
            self.puts.pop(key, None)
            if change.record is None:
                self.deletes[key] = None
                continue
            value = codec.encode(change.table, change.record)
            self.bytes += len(key) + len(value)
            if change.finished:
                self.finishes[key] = value
            else:
                self.deletes.pop(key, None)
                self.puts[key] = value
        self.events.extend(outcome.events)
        self.commands += 1

    def put_raw(self, key: str, value: bytes) -> None:
        """A record that is the ledger's own (`/meta/…`)."""
        self.puts[key] = value
        self.commands += 1

    def sealed(self, seq: int, first_event: int) -> tuple[Batch, list[Event]]:
        """The batch as the store gets it, and its events with their numbers."""
        events = [
            Event(
                event.kind,
                event.subject,
                event.at_ms,
                event.actor,
                event.code,
                event.details,
                first_event + position,
            )
            for position, event in enumerate(self.events)
        ]
        batch = Batch(
            seq=seq,
            puts=list(self.puts.items()),
            finishes=list(self.finishes.items()),
            deletes=list(self.deletes),
            events=codec.encode_events(events) if events else b"",
            first_event=first_event if events else 0,
            last_event=first_event + len(events) - 1 if events else 0,
        )
        return batch, events

    def settle(self, error: BaseException | None) -> None:
        """Answer everyone who waits for this batch."""
        for waiter in self.waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
        self.waiters.clear()

    def take_back(self, state: State) -> None:
        for undo in reversed(self.undo):
            state.take_back(undo)
