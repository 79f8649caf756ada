"""The only writer: stamps, decides, applies, commits in groups, and undoes what could not be committed.

A caller is answered when the batch that holds its change is durable; a reader when what it would see is
durable. There are no locks: a decision runs from its stamp to its changes without giving up the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog

from leasehold.control import recovery
from leasehold.control.batch import OpenBatch
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import (
    LeaseholdError,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    StoreUnavailable,
)
from leasehold.model.event import Event
from leasehold.ports.clock import Clock, Ids
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, Fenced, Store, StoreError
from leasehold.runtime.faults import fault

log = structlog.get_logger(__name__)

PROBE_MS = 1_000
"""How often a store that refused a commit is tried again."""

UNKNOWN_READ_MS = 5_000
"""How long the outcome of a commit is asked after before it is called unknown."""

ResultT = TypeVar("ResultT")
Decide = Callable[[State, Stamp], Outcome]
Committed = Callable[[Sequence[Event]], None]


class Ledger:
    """State and its one writer.

    `stall_ms`: a gap between two signs of life longer than this counts as a stall, and `on_stall` is called
    before anything else is decided (LEASE-10). `on_due` gets each lease's or ticket's next due time.
    `on_committed` gets the events of each durable batch, in order: effects start there and nowhere else
    (INV-4). `on_reload` is called with the new state after a recovery. `on_decided` may add to a decision
    what has to be durable with its events.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        state: Callable[[], State],
        *,
        stall_ms: int = 10_000,
        on_committed: Committed = lambda events: None,
        on_stall: Callable[[int], None] = lambda gap_ms: None,
        on_reload: Callable[[State], None] = lambda state: None,
        on_due: Callable[[str, int], None] = lambda key, due_ms: None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.state = state()
        self.on_committed = on_committed
        self.on_stall = on_stall
        self.on_reload = on_reload
        self.on_due = on_due
        self.on_decided: Callable[[State, Stamp, Outcome], None] = lambda state, stamp, outcome: None
        self.read_only = ""
        self.lost = ""
        self.ready = False
        self.events_last = 0
        self.commits = 0
        self._fresh_state = state
        self._stall_ms = stall_ms
        self._seen_ms = clock.now_ms()
        self._stopping = False
        self._number = 0
        self._numbers_end = 0
        self._batch_seq = 0
        self._remembered: list[tuple[str, Decide]] = []
        self._reset_batches()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def _reset_batches(self) -> None:
        self._open = OpenBatch()
        self._full: deque[OpenBatch] = deque()
        self._writing: OpenBatch | None = None

    # -- starting and stopping

    async def start(self) -> None:
        """Open the store, recover, advance the incarnation durably, then accept commands (INV-3)."""
        await self.store.open()
        await self._load()
        self.ready = True
        self._writer = asyncio.create_task(self._write(), name="ledger-writer")

    async def _load(self) -> None:
        state, start = await recovery.load(self.store, self._fresh_state())
        self._batch_seq = start.batch_seq + 1
        self.events_last = start.last_event
        await self.store.commit(recovery.opening_batch(start))
        self._number = start.first_number
        self._numbers_end = start.numbers_end
        state.view, state.measured = self.state.view, self.state.measured
        self.state = state
        self._seen_ms = self.clock.now_ms()
        self.on_reload(state)

    async def stop(self) -> None:
        """Refuse new commands, commit what is open, give up the store. Idempotent."""
        await self.finish()
        await self.store.close()

    async def finish(self) -> None:
        """Refuse new commands and commit what is open; the store stays open for its readers. Idempotent."""
        self._stopping = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
            self._writer = None

    # -- commands

    def stamp(self) -> Stamp:
        """Settle what is not deterministic.

        A stall is noticed here, before anything is decided on a stale clock.
        """
        self.alive()
        return Stamp(self._seen_ms, self.clock.wall_ms(), self._number, self.ids.seed())

    def alive(self) -> None:
        """A sign of life. After a gap every live lease gets its full time again (`on_stall`)."""
        now_ms = max(self.clock.now_ms(), self._seen_ms)
        gap_ms = now_ms - self._seen_ms
        self._seen_ms = now_ms
        if gap_ms > self._stall_ms and self.ready:
            log.warning("stalled", gap_ms=gap_ms)
            self.on_stall(gap_ms)

    def submit(self, decide: Decide) -> tuple[Any, asyncio.Future[None] | None]:
        """Decide now; the future is done when the change is durable.

        It is None where nothing changed.
        """
        self._refuse_unless_open()
        stamp = self.stamp()
        outcome = decide(self.state, stamp)
        if outcome.events:
            self.on_decided(self.state, stamp, outcome)
        if not outcome.changes and not outcome.events:
            self._volatile(outcome)
            return outcome.answer, None
        if self.read_only:
            raise StoreUnavailable(f"nothing can be written: {self.read_only}", retry_after_s=2)
        return outcome.answer, self._take(outcome)

    def _take(self, outcome: Outcome) -> asyncio.Future[None]:
        if not self._open.has_room(outcome, self.store.limits):
            self._full.append(self._open)
            self._open = OpenBatch()
        self._number += outcome.numbers
        assert self._number < self._numbers_end, "an incarnation has run out of tokens"
        self._open.add(outcome, self.state)
        self._volatile(outcome)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.waiters.append(durable)
        self._wake.set()
        return durable

    def _volatile(self, outcome: Outcome) -> None:
        recovery.set_deadlines(self.state, outcome.deadlines, self.clock.wall_ms())
        for lease_id, due_ms in outcome.deadlines:
            self.on_due(lease_id, due_ms)
        for ticket, presence in outcome.presences:
            if ticket in self.state.waiters:
                self.state.presence[ticket] = presence
                self.on_due(ticket, presence.reserves_until_ms)

    async def execute(self, decide: Decide) -> Any:
        """Decide, and return the answer once it is durable."""
        answer, durable = self.submit(decide)
        if durable is not None:
            await durable
        return answer

    def remember(self, name: str, decide: Decide) -> None:
        """Keep a command until the store takes writes again (OPS-17). A newer one replaces its namesake."""
        self._remembered = [(old, kept) for old, kept in self._remembered if old != name][-9_999:]
        self._remembered.append((name, decide))

    async def read(self, build: Callable[[State], ResultT]) -> ResultT:
        """What `build` makes of the state, once all that it may show is durable (INV-4).

        It is built first and waited for afterwards, so that a busy ledger holds no reader up for ever; where
        something was taken back meanwhile it is built anew. Raises NotReady before recovery is done.
        """
        while True:
            self.refuse_unknown()
            answer = build(self.state)
            batch = (
                self._open if not self._open.is_empty else (self._full[-1] if self._full else self._writing)
            )
            if batch is None or await self._became_durable(batch):
                return answer

    def refuse_unknown(self) -> None:
        """Raise NotReady while what is durable is not known: in recovery, and after an unknown outcome."""
        if not self.ready:
            raise NotReady("recovery is not done", retry_after_s=1)

    async def _became_durable(self, batch: OpenBatch) -> bool:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch.waiters.append(durable)
        try:
            await durable
        except LeaseholdError:
            return False  # It has been taken back.
        return True

    def is_pending(self, table: str, key: str | int) -> bool:
        """Whether a change of this record has been decided and is not durable yet."""
        return self._last_with(table, key) is not None

    async def record_settled(self, table: str, key: str | int) -> None:
        """Return when no change of this record waits to become durable (INV-4)."""
        while (batch := self._last_with(table, key)) is not None:
            await self._became_durable(batch)

    def _last_with(self, table: str, key: str | int) -> OpenBatch | None:
        for batch in (self._open, *reversed(self._full), self._writing):
            if batch is not None and (table, key) in batch.changes:
                return batch
        return None

    def _refuse_unless_open(self) -> None:
        if self.lost:
            raise NotLeader(self.lost, retry_after_s=5)
        if not self.ready or self._stopping:
            why = "the server is stopping" if self._stopping else "recovery is not done"
            raise NotReady(why, retry_after_s=1)

    # -- the writer

    async def _write(self) -> None:
        """Commit batch after batch until stopped and empty."""
        while True:
            if self._open.is_empty and not self._full:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            await asyncio.sleep(0)  # Let what is ready in this turn of the loop join the batch.
            batch = self._next_batch()
            try:
                await self._commit(batch)
            except Exception:  # The writer must outlive any bug: what waits for it would hang for ever.
                log.exception("ledger_writer")
                why = "the outcome of a commit is unknown; read the state again"
                self._fail(OutcomeUnknown(why, retry_after_s=2))
                await self._reload_when_possible()

    def _next_batch(self) -> OpenBatch:
        if self._full:
            batch = self._full.popleft()
        else:
            batch, self._open = self._open, OpenBatch()
        self._writing = batch
        return batch

    async def _commit(self, batch: OpenBatch) -> None:
        sealed, events = batch.sealed(self._batch_seq + 1, self.events_last + 1)
        fault("ledger.before_commit")
        try:
            await self.store.commit(sealed)
        except CommitFailed as error:
            return await self._refused(str(error))
        except Fenced as error:
            self.lost = str(error)
            log.error("fenced", why=self.lost)
            return self._fail(NotLeader(self.lost, retry_after_s=5))
        except Exception as error:
            if not isinstance(error, CommitUnknown):
                log.exception("store_raised")
            if not await self._ask_after(sealed):
                return None
        fault("ledger.after_commit")
        self._committed(batch, sealed, events)
        return None

    def _committed(self, batch: OpenBatch, sealed: Batch, events: list[Event]) -> None:
        self._writing = None
        self._batch_seq = sealed.seq
        self.commits += 1
        if events:
            self.events_last = sealed.last_event
        batch.settle(None)
        try:
            self.on_committed(events)
        except Exception:
            log.exception("effects")
        self.state.trim_ended(self._open.finishes + sum(full.finishes for full in self._full))

    async def _ask_after(self, sealed: Batch) -> bool:
        """The outcome of a commit is unknown: ask the store. True when it did commit (design: step 6)."""
        try:
            async with asyncio.timeout(UNKNOWN_READ_MS / 1000):
                seq = await self.store.batch_seq()
        except (StoreError, TimeoutError, OSError) as error:
            self._fail(OutcomeUnknown(f"a commit's outcome could not be learned: {error}", retry_after_s=2))
            await self._reload_when_possible()
            return False
        if seq == sealed.seq:
            return True
        if seq > sealed.seq:
            self.lost = f"another writer has advanced the store to batch {seq}"
            self._fail(NotLeader(self.lost, retry_after_s=5))
            return False
        await self._refused("the store did not take a commit")
        return False

    async def _refused(self, why: str) -> None:
        """A commit definitely failed: undo, answer 503, go read-only until an empty batch commits."""
        self.read_only = why
        log.error("store_unavailable", why=why)
        self._fail(StoreUnavailable(f"nothing was changed: {why}", retry_after_s=2))
        while self.read_only and not self._stopping:
            await self.clock.sleep(PROBE_MS)
            await self._probe()

    async def _probe(self) -> None:
        probe = Batch(seq=self._batch_seq + 1, puts=[recovery.probe_record(self.clock.wall_ms())])
        try:
            await self.store.commit(probe)
        except Fenced as error:
            self.lost, self.read_only = str(error), ""
            return
        except CommitFailed as error:
            self.read_only = str(error)
            return
        except Exception as error:  # noqa: BLE001 - the outcome is unknown: the next load tells
            log.warning("probe_unknown", why=str(error))
            await self._reload_when_possible()
            return
        self._batch_seq = probe.seq
        self._writable_again()

    def _writable_again(self) -> None:
        self.read_only = ""
        log.info("store_available")
        self.on_stall(0)  # Nothing expired meanwhile; undone decisions left deadlines behind.
        remembered, self._remembered = self._remembered, []
        for name, decide in remembered:
            try:
                self.submit(decide)
            except LeaseholdError as error:
                log.info("remembered_command_refused", name=name, why=str(error))
        self.on_committed(())

    async def _reload_when_possible(self) -> None:
        """Step down and take everything from the store again; nothing is granted meanwhile."""
        self.ready = False
        while not self._stopping:
            try:
                await self._load()
            except Fenced as error:
                self.lost = str(error)
                log.error("fenced", why=self.lost)
                return
            except (StoreError, OSError) as error:
                log.warning("reload_failed", why=str(error))
                await self.clock.sleep(PROBE_MS)
                continue
            self.ready = True
            self._writable_again()
            return

    def _fail(self, error: LeaseholdError) -> None:
        """Take back everything that is not durable, newest first, and say so to everyone who waits."""
        batches = [self._open, *reversed(self._full)]
        if self._writing is not None:
            batches.append(self._writing)
        self._reset_batches()
        for batch in batches:
            batch.take_back(self.state)
        for batch in reversed(batches):
            batch.settle(error)
