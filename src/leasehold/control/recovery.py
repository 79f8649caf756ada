"""From the store's records to a state:

what a start, a reload and a new leader do before anything is granted (INV-3, INV-9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
import structlog

from leasehold.control import codec
from leasehold.core.lease import NEVER_MS
from leasehold.core.state import (
    JOBS,
    LEASES,
    RECORD_OF,
    REVOKED,
    STORAGE_RUNS,
    TENANTS,
    TERMS,
    TOKENS,
    Change,
    State,
)
from leasehold.model.errors import InvariantBroken
from leasehold.model.lease import Flag, LeaseState, Liveness
from leasehold.model.storage import Care, Intent, Manifest, StorageRun
from leasehold.model.tenant import closed
from leasehold.ports.store import Batch, Snapshot

log = structlog.get_logger(__name__)

INCARNATION_BITS = 33
"""A token is incarnation · 2^33 + counter (INV-3): 2^20 starts, each with eight billion grants."""

QUARANTINED_SHOWN = 1_000

META_INCARNATION = "/meta/incarnation"
META_PROBE = "/meta/probe"


class Start(msgspec.Struct, frozen=True):
    """Where a recovered ledger goes on."""

    batch_seq: int
    last_event: int
    incarnation: int

    @property
    def first_number(self) -> int:
        return (self.incarnation << INCARNATION_BITS) + 1

    @property
    def numbers_end(self) -> int:
        return (self.incarnation + 1) << INCARNATION_BITS


class Loads(Protocol):
    """The part of a store that is needed here."""

    async def load(self) -> Snapshot:
        """See `ports.store.Store`."""
        ...


async def load(store: Loads, state: State) -> tuple[State, Start]:
    """Read everything live into `state`. Unreadable records are quarantined and said, never dropped."""
    snapshot = await store.load()
    incarnation = 0
    for key, value in sorted(snapshot.records, key=_terms_first):
        if key == META_INCARNATION:
            incarnation = msgspec.msgpack.decode(value, type=int)
            continue
        table, name = codec.split_key(key)
        if table in RECORD_OF:
            _take(state, table, name, value)
    check_loaded(state, incarnation)
    return state, Start(snapshot.batch_seq, snapshot.last_event, incarnation + 1)


def _terms_first(record: tuple[str, bytes]) -> bool:
    return not record[0].startswith(f"/{TERMS}/")


def _take(state: State, table: str, name: str, value: bytes) -> None:
    try:
        record = codec.decode(table, name, value, state.terms)
    except codec.Unreadable as error:
        log.error("record_quarantined", table=table, key=name, why=str(error))
        state.quarantined_count += 1
        if len(state.quarantined) < QUARANTINED_SHOWN:
            state.quarantined[f"{table}/{name}"] = str(error)
        if error.rescued is not None:
            state.apply(Change(table, name, error.rescued))
        elif table == LEASES:
            state.unsettled[name] = str(error)
        elif table == JOBS:
            state.unreadable[name] = str(error)
        elif table == TENANTS:
            state.apply(Change(TENANTS, name, closed(name)))
        return
    state.apply(Change(table, record.number if table == JOBS else name, record))


def check_loaded(state: State, incarnation: int) -> None:
    """Assert on this side too what held before each commit.

    Tokens are unique and of an incarnation that was.
    """
    tokens: dict[int, str] = {}
    for lease in state.leases.values():
        other = tokens.setdefault(lease.token, lease.lease_id)
        if other != lease.lease_id:
            raise InvariantBroken(f"{other} and {lease.lease_id} have the same fencing token")
        if lease.token >> INCARNATION_BITS > incarnation:
            raise InvariantBroken(
                f"{lease.lease_id} has a token of a later incarnation than the store's {incarnation}"
            )


def opening_batch(start: Start) -> Batch:
    """The first commit of an incarnation: nothing is granted before it is durable."""
    return Batch(
        seq=start.batch_seq + 1, puts=[(META_INCARNATION, msgspec.msgpack.encode(start.incarnation))]
    )


SKIPPED_INCARNATIONS = 1_024
MINUTE_MS = 60_000


def marker_of(restore_id: str) -> str:
    """The key of the record by which a restored store is known."""
    return codec.store_key(STORAGE_RUNS, restore_id)


def marks(
    manifest: Manifest, before: Mapping[str, bytes], intent: Intent
) -> tuple[list[tuple[str, bytes]], list[str]]:
    """What a restored store says of itself before anybody opens it: its incarnation, and that it is restored.

    Tokens that have been revoked since the backup stay revoked: `before` are records of the store that is
    replaced. Returns records, and keys that are no more.

    The incarnation is above all that ever were (INV-3): that of the store before where it can be read, and
    in any case so many above the backup's as there may have been starts since, one a minute and a thousand
    more; for the store that went on from the backup may not be the one that is replaced.
    """
    minutes = max(0, intent.asked_wall_ms - manifest.made_wall_ms) // MINUTE_MS
    least = manifest.incarnation + SKIPPED_INCARNATIONS + minutes
    run = StorageRun(
        run_id=intent.restore_id,
        care=Care.RESTORE,
        began_wall_ms=intent.asked_wall_ms,
        ended_wall_ms=intent.asked_wall_ms,
        by=intent.by,
        reason="command",
        backup_id=manifest.backup_id,
        bytes=manifest.bytes,
        made_wall_ms=manifest.made_wall_ms,
        kept=intent.kept,
        fresh=True,
    )
    incarnation = max(least, _number_of(before.get(META_INCARNATION)))
    revoked = [(key, value) for key, value in before.items() if codec.split_key(key)[0] == REVOKED]
    puts = [
        (META_INCARNATION, msgspec.msgpack.encode(incarnation)),
        (marker_of(intent.restore_id), codec.encode(STORAGE_RUNS, run)),
        *revoked,
    ]
    return puts, [codec.store_key(TOKENS, codec.split_key(key)[1]) for key, _ in revoked]


def _number_of(incarnation: bytes | None) -> int:
    try:
        return msgspec.msgpack.decode(incarnation or b"", type=int)
    except msgspec.MsgspecError:
        return 0


def probe_record(wall_ms: int) -> tuple[str, bytes]:
    return (META_PROBE, msgspec.msgpack.encode(wall_ms))


def set_deadlines(state: State, deadlines: Iterable[tuple[str, int]], wall_ms: int) -> None:
    """Move leases' deadlines: volatile, nothing is written (LEASE-10)."""
    for lease_id, deadline_ms in deadlines:
        liveness = state.liveness.get(lease_id)
        if liveness is None:
            if lease_id in state.leases:
                state.liveness[lease_id] = Liveness(deadline_ms, wall_ms)
        else:
            liveness.deadline_ms = deadline_ms
            liveness.renewed_wall_ms = wall_ms


def full_time(state: State, now_ms: int, ttl_ms: int) -> list[tuple[str, int]]:
    """Deadlines that give each lease one full time to live, never less than it had (LEASE-10).

    A silent or revoked lease has none: it ends with its processes.
    """
    deadlines = []
    for lease_id, lease in state.leases.items():
        if Flag.SILENT in lease.flags or lease.state is LeaseState.REVOKED:
            deadlines.append((lease_id, NEVER_MS))
            continue
        liveness = state.liveness.get(lease_id)
        had_ms = 0 if liveness is None or liveness.deadline_ms >= NEVER_MS else liveness.deadline_ms
        deadlines.append((lease_id, max(had_ms, now_ms + ttl_ms)))
    return deadlines
