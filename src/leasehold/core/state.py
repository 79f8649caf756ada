"""The ledger's state in memory: tables, the indexes over them, and how one change is applied and taken back.

Pure data: no clock, no I/O. Records are immutable; only `apply` and `take_back` change tables, so every
change has its inverse and an invariant can be checked where it happens. What is volatile (INV-4) stands apart
and is never stored.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from leasehold.core.book import Book
from leasehold.core.by_number import ByNumber
from leasehold.core.jobs import Entry, Jobs
from leasehold.core.line import Line
from leasehold.core.reservation import Reservation
from leasehold.model.addon import Addon
from leasehold.model.alert import Alert, Said
from leasehold.model.estimate import Given, Hits
from leasehold.model.event import Event
from leasehold.model.job import Job, JobSpec, Terms
from leasehold.model.learned import Learned
from leasehold.model.lease import Flag, Lease, Liveness
from leasehold.model.line import Flow, Presence, Semaphore, Waiter
from leasehold.model.node import NodeView
from leasehold.model.notification import Delivery, Message, Target
from leasehold.model.owner import NOTHING_SAID, InForce, Pretend, Window, Word
from leasehold.model.schedule import Runs, Schedule
from leasehold.model.storage import StorageRun
from leasehold.model.tenant import Tenant
from leasehold.model.token import Revoked, Token

LEASES = "leases"
WAITERS = "waiters"
FLOWS = "flows"
SEMAPHORES = "semaphores"
CALLS = "calls"
LEARNED = "learned"
WORDS = "words"
WINDOWS = "windows"
PRETENDS = "pretends"
ADDONS = "addons"
TOKENS = "tokens"
REVOKED = "revoked"
TENANTS = "tenants"
SCHEDULES = "schedules"
SCHEDULE_RUNS = "schedule_runs"
ALERTS = "alerts"
ALERT_RULES = "alert_rules"
NOTIFY_TARGETS = "notify_targets"
NOTIFY_MESSAGES = "notify_messages"
NOTIFY_DELIVERIES = "notify_deliveries"
JOBS = "jobs"
TERMS = "terms"
STORAGE_RUNS = "storage_runs"
ESTIMATES = "estimates"
HITS = "hits"
COLD_JOBS = "cold/jobs"
"""The cold parts of jobs: their changes are written, and never stand in memory."""

OWNERS = frozenset({WORDS, WINDOWS, PRETENDS})
"""The tables of the owner's word."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """What an Idempotency-Key did: committed with its effect, kept 24 h (LEASE-8)."""

    key: str
    principal: str
    body_hash: bytes
    lease_id: str
    at_ms: int


RECORD_OF: dict[str, type] = {
    LEASES: Lease,
    WAITERS: Waiter,
    FLOWS: Flow,
    SEMAPHORES: Semaphore,
    CALLS: Call,
    LEARNED: Learned,
    WORDS: Word,
    WINDOWS: Window,
    PRETENDS: Pretend,
    ADDONS: Addon,
    TOKENS: Token,
    REVOKED: Revoked,
    TENANTS: Tenant,
    SCHEDULES: Schedule,
    SCHEDULE_RUNS: Runs,
    ALERTS: Alert,
    ALERT_RULES: Said,
    NOTIFY_TARGETS: Target,
    NOTIFY_MESSAGES: Message,
    NOTIFY_DELIVERIES: Delivery,
    ESTIMATES: Given,
    HITS: Hits,
    TERMS: Terms,
    STORAGE_RUNS: StorageRun,
    JOBS: Job,
    COLD_JOBS: JobSpec,
}
"""Every table with its record. The store's key is `/<table>/<key>`; a job's is `model.ids.sortable`."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One record's new value; None deletes it. `finished` moves it from the live part to the archive.

    The key is a text, a job's its number.
    """

    table: str
    key: Any
    record: Any
    finished: bool = False


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What is not deterministic, settled before the decision. `number` is the next free fencing token."""

    now_ms: int
    wall_ms: int
    number: int
    seed: int


class Outcome:
    """What a decision asks for.

    `numbers` tells how many tokens from `stamp.number` on were used; `flows` are those that earlier grants of
    the same decision have charged. `bytes` is its estimated size once somebody has asked for it, else -1.
    """

    __slots__ = ("answer", "bytes", "changes", "deadlines", "events", "flows", "numbers", "presences")

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.bytes = -1
        self.changes: list[Change] = []
        self.events: list[Event] = []
        self.flows: dict[str, Flow] = {}
        self.deadlines: list[tuple[str, int]] = []
        self.presences: list[tuple[str, Presence]] = []
        self.numbers = 0


Undo = tuple[str, Any, Any, bool, Any]
"""Table, key, the record before (None where there was none), whether it was a finish, and the volatile part
that went with it."""


class State:
    """All that decisions read. One instance per ledger, replaced as a whole by a reload."""

    def __init__(self, node_id: str, ended_shown: int = 200) -> None:
        self.node_id = node_id
        self.leases: dict[str, Lease] = {}
        self.waiters: dict[str, Waiter] = {}
        self.flows: dict[str, Flow] = {}
        self.semaphores: dict[str, Semaphore] = {}
        self.calls: OrderedDict[str, Call] = OrderedDict()
        self.learned: dict[str, Learned] = {}
        self.words: dict[str, Word] = {}
        self.windows: dict[str, Window] = {}
        self.pretends: dict[str, Pretend] = {}
        self.addons: dict[str, Addon] = {}
        self.tokens: dict[str, Token] = {}
        self.token_ids: dict[bytes, str] = {}
        self.revoked: dict[str, Revoked] = {}
        self.revoked_ids: dict[bytes, str] = {}
        self.tenants: dict[str, Tenant] = {}
        self.weights: dict[str, int] = {}
        """Weights of tenants other than 1, by name. Another object after each change of a tenant."""
        self.schedules: dict[str, Schedule] = {}
        self.schedule_runs: dict[str, Runs] = {}
        self.alerts: dict[str, Alert] = {}
        self.alert_rules: dict[str, Said] = {}
        self.notify_targets: dict[str, Target] = {}
        self.notify_messages: dict[str, Message] = {}
        self.notify_deliveries: dict[str, Delivery] = {}
        self.estimates: dict[str, Given] = {}
        self.hits: dict[str, Hits] = {}
        self.jobs: ByNumber[Job] = ByNumber()
        self.terms: dict[str, Terms] = {}
        self.storage_runs: dict[str, StorageRun] = {}
        self.book = Book()
        self.line: Line[Waiter | Job | Entry] = Line()
        self.queue = Jobs(self.line)
        self.sizes: dict[str, int] = {}
        self.calls_of: dict[str, int] = {}
        self.waiters_of: dict[str, int] = {}
        self.ended: OrderedDict[str, Lease] = OrderedDict()
        self.ended_shown = ended_shown
        self.unsettled: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        """Records of jobs that can't be read, by their store key: they stay where they are, and are told."""
        self.quarantined: dict[str, str] = {}
        """All records that could not be read, by table and key, with the reason; the first thousand."""
        self.quarantined_count = 0
        self.braked: set[str] = set()
        self.resuming: dict[str, str] = {}
        # Volatile.
        self.broken = ""
        self.view: NodeView | None = None
        self.liveness: dict[str, Liveness] = {}
        self.presence: dict[str, Presence] = {}
        self.reserved: Reservation | None = None
        self.measured: NodeView | None = None
        self.owner: InForce = NOTHING_SAID
        self.owner_changes = 0

    def apply(self, change: Change) -> Undo:
        """Make a change and return its inverse. Raises InvariantBroken, with the table as it was."""
        key, name = change.key, change.table
        if name == JOBS:
            return self._apply_job(key, change.record, change.finished)
        if name == COLD_JOBS:
            return (COLD_JOBS, key, None, False, None)
        if name == FLOWS:  # Very many, and nothing is indexed by them.
            flow = self.flows.get(key)
            if change.record is not None:
                self.flows[key] = change.record
            elif flow is not None:
                del self.flows[key]
            return (FLOWS, key, flow, False, None)
        table: dict[str, Any] = getattr(self, name)
        old = table.get(key)
        aux: Liveness | Presence | None = None
        if name == LEASES:  # First, since the sums may refuse it: then the table stays as it was.
            aux = self._index_lease(old, change.record, change.finished)
        if change.record is None or change.finished:
            if old is not None:
                del table[key]
        else:
            table[key] = change.record
        if name == WAITERS:
            aux = self._index_waiter(key, old, change.record)
        elif name != LEASES:
            self._index_other(name, key, old, change.record)
        if self.unsettled and name == LEASES and change.record is None:
            self.unsettled.pop(key, None)
        return (name, key, old, change.finished, aux)

    def _apply_job(self, number: int, job: Job | None, finished: bool) -> Undo:
        jobs = self.jobs
        old, new = jobs.get(number), None if finished else job
        self.queue.index(old, new)
        if new is not None:
            jobs[number] = new
        elif old is not None:
            del jobs[number]
        if finished and job is not None:
            self.queue.ended(job)
        return (JOBS, number, old, False, None)

    def take_back(self, undo: Undo) -> None:
        """Make the inverse of a change.

        Inverses are taken back in the reverse of the order in which they were made.
        """
        name, key, old, finished, aux = undo
        if name == JOBS:
            self._apply_job(key, old, False)
            return
        if name == COLD_JOBS:
            return
        table: dict[str, Any] = getattr(self, name)
        new: Any = self.ended.pop(key, None) if finished else table.get(key)
        if old is None:
            table.pop(key, None)
        else:
            table[key] = old
        if name == LEASES:
            self._index_lease(None if finished else new, old, False)
            if old is None:
                self.liveness.pop(key, None)
            elif finished and aux is not None:
                self.liveness[key] = aux
        elif name == WAITERS:
            self._index_waiter(key, new, old)
            if old is not None and aux is not None:
                self.presence[key] = aux
        else:
            self._index_other(name, key, new, old)
            if name == CALLS and new is None and old is not None:
                self.calls.move_to_end(key, last=False)  # Only the oldest are ever forgotten: it was first.

    def _index_other(self, name: str, key: str, old: Any, new: Any) -> None:
        if name == SEMAPHORES:
            self._index_semaphore(key, new)
        elif name == CALLS:
            self._index_call(old, new)
        elif name == TERMS:
            self._index_terms(key, new)
        else:
            self._index_said(name, old, new)

    def _index_lease(self, old: Lease | None, new: Lease | None, finished: bool) -> Liveness | None:
        if new is not None and not finished and (new.brake is not None or Flag.RESUMED in new.flags):
            self.braked.add(new.lease_id)
        elif self.braked and (new or old) is not None:
            self.braked.discard((new or old).lease_id)  # type: ignore[union-attr]
        if finished:
            assert new is not None
            if old is not None:
                self.book.remove(old)
            self.ended[new.lease_id] = new
            return self.liveness.pop(new.lease_id, None)
        if old is None:
            if new is not None:
                self.book.add(new)
        elif new is None:
            self.book.remove(old)
        elif new.ask is not old.ask:
            self.book.remove(old)
            self.book.add(new)
        return None

    def trim_ended(self, not_durable: int = 0) -> None:
        """Keep only the newest ended leases in memory; all of them stand in the archive.

        Only those that are not durable yet do not: they are the newest, and stay beside the others.
        """
        while len(self.ended) > self.ended_shown + not_durable:
            self.ended.popitem(last=False)

    def _index_waiter(self, key: str, old: Waiter | None, new: Waiter | None) -> Presence | None:
        gone = None
        if old is not None:
            self.line.remove(old.number)
            self.resuming.pop(old.resumes, None)
            count(self.waiters_of, old.ask.holder, -1)
            if new is None:
                gone = self.presence.pop(key, None)
        if new is not None:
            self.line.add(new)
            if new.resumes:
                self.resuming[new.resumes] = key
            count(self.waiters_of, new.ask.holder, 1)
        return gone

    def _index_semaphore(self, key: str, new: Semaphore | None) -> None:
        if new is None:
            self.sizes.pop(key, None)
        else:
            self.sizes[key] = new.size

    def _index_call(self, old: Call | None, new: Call | None) -> None:
        if old is not None:
            count(self.calls_of, old.principal, -1)
        if new is not None:
            count(self.calls_of, new.principal, 1)

    def _index_terms(self, key: str, new: Terms | None) -> None:
        if new is None:
            self.queue.forget_terms(key)
        elif key not in self.queue.terms_used:
            self.queue.unused[key] = None

    def _index_said(self, table: str, old: Any, new: Any) -> None:
        """The tables that people change by hand, seldom."""
        if table in OWNERS:
            self.owner_changes += 1
        elif table in (TOKENS, REVOKED):
            ids = self.token_ids if table == TOKENS else self.revoked_ids
            if old is not None:
                ids.pop(old.digest, None)
            if new is not None:
                ids[new.digest] = new.token_id
        elif table == TENANTS:
            self.weights = {one.name: one.weight for one in self.tenants.values() if one.weight != 1}


def count(counts: dict[str, int], key: str, change: int) -> None:
    """Add to a counter and forget it at zero, so that names that went do not stay."""
    value = counts.get(key, 0) + change
    if value:
        counts[key] = value
    else:
        counts.pop(key, None)
