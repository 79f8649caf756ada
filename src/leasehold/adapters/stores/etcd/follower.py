"""Committed batches as etcd's watch tells them: a batch is all that changed at one revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.errors import Closed, Unreachable
from leasehold.adapters.stores.etcd.layout import Layout, Record
from leasehold.adapters.stores.etcd.link import PAUSE_S, Link
from leasehold.ports.store import COLD, Batch, StoreError

GONE = "load the store again"


class Follower:
    """One follower of one open store, from a batch on. A stream that breaks is opened again where it was."""

    def __init__(self, link: Link, layout: Layout, after_seq: int, read_s: float) -> None:
        self._link = link
        self._layout = layout
        self._seq = after_seq
        self._read_s = read_s
        self._revision = 0
        self._pending: list[Any] = []

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Batch after batch, until the store is closed. Raises StoreError where one is no longer kept."""
        try:
            self._revision = await self._first_revision()
            while True:
                async with aclosing(self._streamed()) as batches:
                    async for batch in batches:
                        yield batch
                await asyncio.sleep(PAUSE_S)
        except Closed:
            return

    async def _first_revision(self) -> int:
        """From which revision on to watch."""
        layout = self._layout
        asked = [m.get(layout.batch_seq), m.get(layout.record(self._seq + 1))]
        answer = await self._link.ask(m.TXN, m.TxnRequest(success=asked), self._read_s)
        newest, record = (list(each.response_range.kvs) for each in answer.responses)
        seq = layout.standing(newest[0] if newest else None).seq
        if self._seq == seq:
            return int(answer.header.revision) + 1
        if self._seq > seq:
            raise StoreError(f"batch {self._seq} is not in this store, whose newest is {seq}: {GONE}")
        if not record:
            raise StoreError(f"batch {self._seq + 1} is no longer kept in etcd: {GONE}")
        return int(record[0].mod_revision)

    async def _streamed(self) -> AsyncGenerator[Batch, None]:
        """What one stream brings, until it breaks."""
        try:
            call, at = await self._link.stream(m.WATCH, self._read_s)
        except Unreachable:
            return
        self._pending.clear()
        request = m.WatchCreateRequest(
            key=self._layout.root,
            range_end=m.after(self._layout.root),
            start_revision=self._revision,
            progress_notify=True,
            fragment=True,
        )
        try:
            await self._sent(call, m.WatchRequest(create_request=request))
            while (answer := await self._read(call)) is not None:
                for batch in self._taken(answer):
                    yield batch
        finally:
            call.cancel()
        self._link.leave(at)

    async def _sent(self, call: Any, request: Any) -> None:
        try:
            with self._link.closing():
                await call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # Reading tells what is the matter.

    async def _read(self, call: Any) -> Any:
        """The next answer; None: the stream has ended and may be opened again."""
        try:
            with self._link.closing():
                answer = await call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return None
        if answer is grpc.aio.EOF:
            return None
        if answer.compact_revision:
            raise StoreError(f"what follows batch {self._seq} has been compacted in etcd: {GONE}")
        if answer.canceled:
            if "no leader" in answer.cancel_reason:
                return None
            raise StoreError(f"etcd does not let us follow: {answer.cancel_reason or 'it gives no reason'}")
        return answer

    def _taken(self, answer: Any) -> list[Batch]:
        """The batches that are complete with this answer.

        etcd splits a revision only over fragments, so all but the last one of a fragment is whole.
        """
        self._pending.extend(answer.events)
        if not answer.events and not answer.created and not answer.fragment:
            self._revision = max(self._revision, answer.header.revision + 1)
        revisions: dict[int, list[Any]] = {}
        for event in self._pending:
            revisions.setdefault(event.kv.mod_revision, []).append(event)
        self._pending = revisions.pop(max(revisions)) if answer.fragment and revisions else []
        batches = []
        for revision, events in revisions.items():
            batch = self._batch(events)
            self._revision = revision + 1
            if batch is not None:
                self._seq = batch.seq
                batches.append(batch)
        return batches

    def _batch(self, events: list[Any]) -> Batch | None:
        """What one revision says; None where it is no batch: the leader's key, a rest put in its place."""
        layout = self._layout
        seq, record, rest = 0, None, []
        puts: list[tuple[str, bytes]] = []
        for event in events:
            if event.type != 0:
                continue
            place = event.kv.key
            if place == layout.batch_seq:
                seq = layout.standing(event.kv).seq
            elif place.startswith(layout.events):
                record = layout.record_of(event.kv)
            elif place == layout.rest:
                rest = layout.rest_of(event.kv)
            elif (key := layout.live_key(place)) is not None:
                puts.append((key, event.kv.value))
        if seq <= self._seq:
            return None
        if seq != self._seq + 1 or record is None:
            raise StoreError(f"batch {seq} in etcd does not follow batch {self._seq}: {GONE}")
        puts += [(key, value) for key, value in rest if value is not None and not key.startswith(COLD)]
        return _assembled(seq, puts, record)


def _assembled(seq: int, puts: list[tuple[str, bytes]], record: Record) -> Batch:
    return Batch(
        seq,
        puts=puts or (),
        finishes=record.finishes or (),
        deletes=record.deletes or (),
        events=record.events,
        first_event=record.first_event,
        last_event=record.last_event,
    )
