"""What lies between an etcd store's opening and its closing: commits, and what was learned from them.

A commit compares the create revision of the leader's key and the revision at which `batch_seq` changed
last, so nothing of an earlier leader, and nothing that was sent and given up, is ever done late. Where a
commit's outcome is not known, `batch_seq` is written once more with the value that it has: what was under way
fails its comparison from then on, and what is read then is the truth (`_settle`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.errors import COMPACTED, LEASE_GONE, Closed, Refused, Unreachable, Unsure
from leasehold.adapters.stores.etcd.follower import Follower
from leasehold.adapters.stores.etcd.layout import OPERATIONS, Change, Layout, Standing
from leasehold.adapters.stores.etcd.link import Link
from leasehold.adapters.stores.etcd.place import LEAVE_S, Place, first
from leasehold.adapters.stores.etcd.reading import Reader
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.etcd.upkeep import Upkeep
from leasehold.ports.clock import Clock
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, Fenced, Snapshot, StoreError

LOADS = 3
"""How often a load is begun: history may be compacted under it by others."""


class Session:
    """The leader's hold on one prefix. For one event loop; at most one commit at a time."""

    def __init__(self, settings: EtcdSettings, clock: Clock) -> None:
        self._settings = settings
        self._layout = Layout(settings.prefix)
        self._link = Link(settings)
        self._place = Place(settings, self._link, self._layout)
        self._reader = Reader(self._link, self._layout, settings.read_s)
        self._upkeep = Upkeep(self._link, clock.now_ms, compacts=settings.compacts, within_s=settings.read_s)
        self._standing = Standing(0, 0, 0)
        self._unsettled = 0
        self._rest: list[Change] = []
        self._rest_revision = 0
        self._moving: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Take the leader's place, and finish what the one before may have left half moved."""
        await self._place.take()
        await self._look()
        await self._moved()

    async def end(self) -> None:
        """Give everything back. What is not moved yet the next one finds."""
        if self._moving is not None:
            await asyncio.wait([self._moving], timeout=LEAVE_S)
            self._moving.cancel()
            with contextlib.suppress(asyncio.CancelledError, StoreError):
                await self._moving
        await self._upkeep.close()
        await self._place.leave()
        await self._link.close()

    # -- reading

    async def load(self) -> Snapshot:
        """Everything live, at one revision."""
        for left in reversed(range(LOADS)):
            try:
                await self._settled()
                await self._moved()
                revision = await self._look()
                standing = self._standing
                records = await self._reader.live(revision)
            except Refused as exc:
                if not left or COMPACTED not in exc.details:
                    raise
            else:
                return Snapshot(standing.seq, standing.last_event, records)
        raise AssertionError("the last load returns or raises")

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of these keys, those included that are durable and not in their place yet."""
        rest = dict(self._rest)
        found = await self._reader.by_key(keys)
        for key in rest.keys() & set(keys):
            value = rest[key]
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        return found

    async def batch_seq(self) -> int:
        """The newest durable batch, by a read that no member may answer from memory alone."""
        if self._unsettled:
            await self._settled()
            return self._standing.seq
        asked = m.RangeRequest(key=self._layout.batch_seq)
        kvs = (await self._link.ask(m.RANGE, asked, self._settings.read_s)).kvs
        return self._layout.standing(kvs[0] if kvs else None).seq

    def follow(self, after_seq: int) -> AsyncGenerator[Batch, None]:
        """Batches after this one."""
        return Follower(self._link, self._layout, after_seq, self._settings.read_s).batches()

    async def forget(self, through_seq: int) -> None:
        """Drop the records of batches up to this one."""
        drop = m.delete(self._layout.record(0))
        drop.request_delete_range.range_end = self._layout.record(through_seq + 1)
        request = m.TxnRequest(compare=[self._place.holds()], success=[drop], failure=[self._leader()])
        answer = await self._link.ask(m.TXN, request, self._settings.read_s)
        if not answer.succeeded:
            raise Fenced(self._place.why_lost(first(answer, 0)))

    async def _look(self) -> int:
        """Learn what stands in etcd; the revision as of which."""
        layout = self._layout
        request = m.TxnRequest(success=[m.get(layout.batch_seq), m.get(layout.rest)])
        answer = await self._link.ask(m.TXN, request, self._settings.read_s)
        self._learn(first(answer, 0), first(answer, 1))
        return int(answer.header.revision)

    def _learn(self, batch_seq: Any, rest: Any) -> None:
        """Take over what is newer than what is known. What is as old may be older by what was moved since."""
        standing = self._layout.standing(batch_seq)
        if standing.revision > self._standing.revision:
            self._standing = standing
            self._rest = self._layout.rest_of(rest) if rest is not None else []
            self._rest_revision = rest.mod_revision if rest is not None else 0

    def _leader(self) -> Any:
        return m.get(self._layout.leader)

    # -- committing

    async def commit(self, batch: Batch, size: int) -> None:
        """Make a batch of `size` bytes durable. A member that does not answer costs time, and no more."""
        if self._unsettled:
            raise CommitUnknown(
                f"the outcome of batch {self._unsettled} is not known yet: ask for batch_seq first"
            )
        if batch.seq != self._standing.seq + 1:
            raise Fenced(
                f"batch {batch.seq} does not follow the store's batch {self._standing.seq}: another writer "
                "was here"
            )
        ends_at = _now() + self._settings.commit_s
        try:
            await self._moved()
            lease = await self._upkeep.lease()
        except Fenced:
            raise
        except StoreError as exc:
            raise CommitFailed(f"nothing was written: {exc}") from exc
        while not await self._attempted(batch, lease, ends_at):
            if _now() >= ends_at:
                raise CommitFailed(f"etcd did not take batch {batch.seq} in {self._settings.commit_s:g} s")
        if self._rest:
            self._moving = asyncio.create_task(self._move(), name="etcd-rest")
        self._upkeep.committed(size, self._standing.revision)

    async def _attempted(self, batch: Batch, lease: int, ends_at: float) -> bool:
        """Whether the batch is durable now; False: it is not, and may be tried again."""
        last_event = batch.last_event if batch.events else self._standing.last_event
        request, rest = self._layout.commit(batch, last_event, self._fence(), lease)
        within_s = max(0.05, min(self._settings.attempt_s, ends_at - _now()))
        try:
            answer = await self._link.call(m.TXN, request, within_s)
        except (Unreachable, Refused) as exc:
            if isinstance(exc, Refused) and LEASE_GONE in exc.details:
                self._upkeep.forget_lease()
            raise CommitFailed(f"nothing was written: {exc}") from exc
        except Unsure as exc:
            return await self._resolved(batch, exc, ends_at)
        except BaseException as exc:  # Cancelled or closed while it was under way.
            self._unsettled = batch.seq
            if isinstance(exc, Closed):
                raise CommitUnknown(f"the outcome of batch {batch.seq} can't be told: {exc}") from exc
            raise
        if not answer.succeeded:
            raise Fenced(self._why_fenced(first(answer, 0), first(answer, 1)))
        self._standing = Standing(batch.seq, last_event, answer.header.revision)
        self._rest, self._rest_revision = rest, answer.header.revision
        return True

    def _fence(self) -> list[Any]:
        return [self._place.holds(), m.changed_at(self._layout.batch_seq, self._standing.revision)]

    def _why_fenced(self, leader: Any, batch_seq: Any) -> str:
        if leader is None or leader.create_revision != self._place.revision:
            return self._place.why_lost(leader)
        seq = self._layout.standing(batch_seq).seq
        return f"the store stands at batch {seq} by another writer, who was no leader: see what writes there"

    # -- what is not known, and what is not in its place

    async def _resolved(self, batch: Batch, unsure: Unsure, ends_at: float) -> bool:
        """Whether a batch whose commit had no answer is durable, within the time of its commit."""
        self._unsettled = batch.seq
        try:
            await self._settle(max(0.05, ends_at - _now()))
        except StoreError as exc:
            raise CommitUnknown(
                f"the outcome of batch {batch.seq} can't be told: {unsure}; {exc}"
            ) from unsure
        return self._standing.seq == batch.seq

    async def _settled(self) -> None:
        if self._unsettled:
            await self._settle(self._settings.read_s)

    async def _settle(self, within_s: float) -> None:
        """Let nothing that is still under way be done, and learn what was."""
        layout, standing = self._layout, self._standing
        value = b"%d %d" % (standing.seq, standing.last_event)
        request = m.TxnRequest(
            compare=self._fence(),
            success=[m.put(layout.batch_seq, value)],
            failure=[m.get(layout.batch_seq), m.get(layout.rest)],
        )
        answer = await self._link.ask(m.TXN, request, within_s)
        if answer.succeeded:
            self._standing = Standing(standing.seq, standing.last_event, answer.header.revision)
        else:
            self._learn(first(answer, 0), first(answer, 1))
        self._unsettled = 0

    async def _moved(self) -> None:
        """Return when everything durable is in its place. Raises StoreError."""
        moving, self._moving = self._moving, None
        if moving is not None:
            with contextlib.suppress(StoreError):
                await moving
        if self._rest:
            await self._move()

    async def _move(self) -> None:
        """Put in its place what did not fit into the transaction of its batch.

        Compared with the revision of `rest` itself: what comes late finds it gone, and does nothing.
        """
        layout = self._layout
        fence = [self._place.holds(), m.changed_at(layout.rest, self._rest_revision)]
        width = OPERATIONS - 1
        parts = [self._rest[at : at + width] for at in range(0, len(self._rest), width)]
        for part in parts:
            operations = [layout.operation(change) for change in part]
            if part is parts[-1]:
                operations.append(m.delete(layout.rest))
            request = m.TxnRequest(compare=fence, success=operations, failure=[self._leader()])
            answer = await self._link.ask(m.TXN, request, self._settings.read_s)
            leader = None if answer.succeeded else first(answer, 0)
            if not answer.succeeded and (leader is None or leader.create_revision != self._place.revision):
                raise Fenced(self._place.why_lost(leader))
        self._rest = []


def _now() -> float:
    return asyncio.get_running_loop().time()
