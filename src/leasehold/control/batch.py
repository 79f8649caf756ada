"""One open batch:

the last value of each key it touches, its events, and how to take it all back (design: step 4).
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from leasehold.control import codec
from leasehold.core.state import (
    COLD_JOBS,
    JOBS,
    LEASES,
    NOTIFY_DELIVERIES,
    NOTIFY_MESSAGES,
    NOTIFY_TARGETS,
    SCHEDULE_RUNS,
    SCHEDULES,
    STORAGE_RUNS,
    TERMS,
    WAITERS,
    Change,
    Outcome,
    State,
    Undo,
)
from leasehold.model.errors import InvariantBroken
from leasehold.model.event import Event
from leasehold.model.job import Job, Terms
from leasehold.model.lease import Ask
from leasehold.ports.store import Batch, Limits

log = structlog.get_logger(__name__)

RECORD_BYTES = 1_024
"""What a record is taken for before it is encoded; its texts and lists are added."""

LETTER_BYTES = 4
"""The most that a letter of somebody's text takes."""

LISTED_BYTES = 160
"""What each bound process and each named device, slot or lock adds; their names have at most 128 letters."""


NOTIFY = frozenset({NOTIFY_TARGETS, NOTIFY_MESSAGES, NOTIFY_DELIVERIES})

TEXTS = frozenset({LEASES, WAITERS, JOBS, TERMS, COLD_JOBS, SCHEDULES, SCHEDULE_RUNS, STORAGE_RUNS}) | NOTIFY
"""The tables whose records hold what somebody wrote."""


class OpenBatch:
    """Fills while the batch before it is being written. Only the last value of a key is ever encoded."""

    __slots__ = ("bytes", "changes", "commands", "events", "finishes", "undo", "waiters")

    def __init__(self) -> None:
        self.changes: dict[tuple[str, str], Change] = {}
        self.events: list[Event] = []
        self.undo: list[Undo] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.commands = 0
        self.finishes = 0
        self.bytes = 0

    @property
    def is_empty(self) -> bool:
        return not self.commands

    def has_room(self, outcome: Outcome, limits: Limits) -> bool:
        """Whether one more command's changes fit; a command is never split. An empty batch takes any."""
        if not self.commands:
            return True
        return (
            self.commands < limits.commands
            and len(self.changes) + len(outcome.changes) <= limits.keys
            and self.bytes + size(outcome) <= limits.bytes
        )

    def add(self, outcome: Outcome, state: State) -> None:
        """Apply a decision to the state and take its changes in: all of them, or none where one raises."""
        changes, undo, first = self.changes, self.undo, len(self.undo)
        try:
            for change in outcome.changes:
                undo.append(state.apply(change))
        except InvariantBroken as error:
            # The sums can no longer be trusted: this command is refused, grants stop, reads go on (INV-9).
            state.broken = error.message
            log.error("invariant_broken", why=error.message)
            while len(undo) > first:
                state.take_back(undo.pop())
            raise
        for change in outcome.changes:
            changes[change.table, change.key] = change
            self.finishes += change.finished
        self.bytes += size(outcome)
        self.events.extend(outcome.events)
        self.commands += 1

    def sealed(self, seq: int, first_event: int) -> tuple[Batch, list[Event]]:
        """The batch as the store gets it, and its events with their numbers."""
        puts, finishes, deletes = [], [], []
        for (table, name), change in self.changes.items():
            key = codec.store_key(table, name)
            if change.record is None:
                deletes.append(key)
            elif change.finished:
                finishes.append((key, codec.encode(table, change.record, ended=True)))
            else:
                puts.append((key, codec.encode(table, change.record)))
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
            puts=puts,
            finishes=finishes,
            deletes=deletes,
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
                waiter.exception()  # Not everybody who decides waits: who does not is no bug.
        self.waiters.clear()

    def take_back(self, state: State) -> None:
        for undo in reversed(self.undo):
            state.take_back(undo)


def size(outcome: Outcome) -> int:
    """An upper bound of the bytes of all its changes, good enough for a store's limit; made once."""
    if outcome.bytes < 0:
        outcome.bytes = RECORD_BYTES * len(outcome.changes) + sum(
            [_written(change) for change in outcome.changes if change.table in TEXTS]
        )
    return outcome.bytes


def _written(change: Change) -> int:
    """What somebody's texts and lists add to a record."""
    record, table = change.record, change.table
    if record is None:
        return 0
    if table == COLD_JOBS:
        return len(record)
    if table == JOBS:
        return _of_job(record) + (_of_terms(record.terms) if change.finished else 0)
    if table == TERMS:
        return _of_terms(record)
    if table == SCHEDULES:
        return len(record.body) + _of_texts(record.note, record.holder, record.principal)
    if table == SCHEDULE_RUNS:
        return LISTED_BYTES * len(record.last) + _of_texts(*(run.why for run in record.last))
    if table in NOTIFY:
        return _of_notification(table, record)
    if table == WAITERS:
        return _of_texts(record.call_key) + _of_ask(record.ask)
    if table == STORAGE_RUNS:
        return _of_texts(record.why, record.kept, record.by)
    binding = record.binding
    texts = _of_texts(record.revoke_note, record.end_reason, binding.unlimited)
    # A lease carries the binding that it was asked with beside the present one, and its charge twice.
    return texts + LISTED_BYTES * (len(binding.work) + len(record.ask.charge.named)) + _of_ask(record.ask)


def _of_notification(table: str, record: Any) -> int:
    if table == NOTIFY_TARGETS:
        return LISTED_BYTES * len(record.quiet) + _of_texts(record.url, record.name, *record.kinds)
    if table == NOTIFY_MESSAGES:
        return _of_texts(record.title, record.text, record.link, record.key)
    return _of_texts(record.error, *record.messages)


def _of_texts(*texts: str) -> int:
    return LETTER_BYTES * sum(map(len, texts))


def _of_ask(ask: Ask) -> int:
    listed = len(ask.binding.work) + len(ask.charge.named) + len(ask.needs)
    texts = _of_texts(ask.holder, ask.job_type, ask.principal, ask.label, ask.notice, ask.tenant, *ask.needs)
    return texts + LISTED_BYTES * listed


def _of_terms(terms: Terms) -> int:
    labels = [text for label in terms.labels for text in label]
    return _of_ask(terms.ask) + _of_texts(terms.group, *labels)


NUMBER_BYTES = 9


def _of_job(job: Job) -> int:
    ends = [job.end] if job.end is not None else []
    ends += [attempt.end for attempt in job.past]
    numbers = NUMBER_BYTES * (len(job.after) + len(job.waits_for)) if job.after else 0
    texts = LETTER_BYTES * (len(job.unique) + len(job.cancel))
    if not ends:
        return numbers + texts
    told = sum([len(end.result) + LETTER_BYTES * len(end.error) for end in ends])
    return numbers + texts + told + 512 * len(job.past)
