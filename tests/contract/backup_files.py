"""What the tests of backups and restores share: a store with records that a server can read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from leasehold.adapters.stores import sqlite_restore
from leasehold.adapters.stores.backups import Backups
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.bootstrap.proof import COMMAND
from leasehold.control import codec, recovery
from leasehold.core.state import JOBS, LEASES, REVOKED, TOKENS, State
from leasehold.core.storage import kept_name
from leasehold.model.event import Event
from leasehold.model.ids import sortable
from leasehold.model.storage import Intent
from leasehold.model.token import Revoked, Token
from leasehold.ports.store import Batch, cold_key
from leasehold.testing import waiting as factories
from leasehold.testing.store_contract import awaited
from tests.contract.sqlite_files import store_in

__all__ = ["awaited"]

DAY_MS = 86_400_000
MADE_MS = 1_790_000_000_000
PASS = ("true",)
"""A command that proves nothing: for what comes before the proof."""


def lease_row(number: int, incarnation: int = 1) -> tuple[str, bytes]:
    token = (incarnation << recovery.INCARNATION_BITS) + number
    lease = factories.lease(token, factories.ask(1))
    return codec.store_key(LEASES, lease.lease_id), codec.encode(LEASES, lease)


def token_row(number: int) -> tuple[str, bytes]:
    token = Token(f"tok-{number}", "name", b"%032d" % number, "viewer", 1, "ann", 1 << 50, "ann")
    return codec.store_key(TOKENS, token.token_id), codec.encode(TOKENS, token)


def revoked_row(number: int) -> tuple[str, bytes]:
    gone = Revoked(f"tok-{number}", b"%032d" % number, 5)
    return codec.store_key(REVOKED, gone.token_id), codec.encode(REVOKED, gone)


def events_of(seq: int) -> bytes:
    return codec.encode_events([Event("LeaseGranted", "lease-x", MADE_MS, seq=seq)])


def batch(seq: int, *rows: tuple[str, bytes]) -> Batch:
    """A batch with one event, as a ledger writes it."""
    return Batch(seq, puts=[*rows], events=events_of(seq), first_event=seq, last_event=seq)


async def filled(data: Path, leases: int = 50, incarnation: int = 1) -> SqliteStore:
    """An open store: an incarnation, leases, what has ended, two tokens."""
    store = store_in(data)
    await store.open()
    seq = await store.batch_seq()
    mark = (recovery.META_INCARNATION, msgspec.msgpack.encode(incarnation))
    await store.commit(batch(seq + 1, mark, token_row(1), token_row(2)))
    for number in range(1, leases + 1):
        await store.commit(batch(seq + 1 + number, lease_row(number, incarnation)))
    ended = [lease_row(number, incarnation) for number in range(1, leases // 5)]
    await store.commit(Batch(seq + leases + 2, finishes=ended))
    return store


def backups_of(
    data: Path, root: Path, *, prove: tuple[str, ...] = COMMAND, wall_ms: int = MADE_MS
) -> Backups:
    return Backups(data, lambda: root, wall_ms=lambda: wall_ms, version="1.2.3", prove=prove)


def intent_of(root: Path, backup_id: str, number: int = 1, asked_ms: int = MADE_MS + DAY_MS) -> Intent:
    return Intent(
        restore_id=f"care-{number}",
        backup_id=backup_id,
        folder=str(root / backup_id),
        kept=kept_name(asked_ms + number),
        by="ann",
        asked_wall_ms=asked_ms,
    )


def restore(data: Path, intent: Intent) -> Path | None:
    """As a start does it, under the lock."""
    sqlite_restore.intend(data, intent)
    return finish(data, intent)


def finish(data: Path, intent: Intent) -> Path | None:
    return sqlite_restore.finish(data, intent, recovery.marker_of(intent.restore_id), recovery.marks)


async def state_of(data: Path) -> tuple[State, recovery.Start]:
    """What a server finds there."""
    store = store_in(data)
    await store.open()
    try:
        return await recovery.load(store, State("node"))
    finally:
        await store.close()


async def records_of(data: Path) -> list[tuple[str, bytes]]:
    store = store_in(data)
    await store.open()
    try:
        return list((await store.load()).records)
    finally:
        await store.close()


def a_job(number: int) -> tuple[str, str]:
    """The keys of a job's hot and cold rows."""
    key = f"/{JOBS}/{sortable(number)}"
    return key, cold_key(key)
