"""Where things stand below the prefix, and a batch as one transaction.

    <prefix>/leader              who holds the store; bound to an etcd lease, gone with it
    <prefix>/meta/format         of which form all this is
    <prefix>/meta/batch_seq      "<number of the last batch> <number of the last event>"
    <prefix>/meta/rest           what of the last batch is not in its place yet
    <prefix>/live/<noun>/<id>    a live record
    <prefix>/cold/<noun>/<id>    its cold part
    <prefix>/events/<seq>        the events of a batch, what it finished and deleted; ends with an etcd lease

etcd takes at most 128 operations in a transaction. A larger batch is durable by one all the same: what does
not fit goes along as one value, `rest`, and is moved to its places by more transactions before anything else
is written. Whoever opens the store finds it and does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from leasehold.adapters.stores.etcd import messages as m
from leasehold.ports.store import COLD, Batch, StoreCorrupt

OPERATIONS = 128
"""What etcd takes in one transaction unless it is told otherwise (--max-txn-ops)."""

FORMAT = b"1"

Change: TypeAlias = tuple[str, bytes | None]
"""A key with its new value, or None where it goes."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """What stands in `<prefix>/events/<seq>`."""

    first_event: int
    last_event: int
    events: bytes
    finishes: list[tuple[str, bytes]]
    deletes: list[str]


class Standing(msgspec.Struct, frozen=True):
    """What `<prefix>/meta/` tells: the newest batch, its last event, and the revision of the key itself."""

    seq: int
    last_event: int
    revision: int


_record = msgspec.msgpack.Decoder(Record)
_changes = msgspec.msgpack.Decoder(list[Change])
_encode = msgspec.msgpack.encode


class Layout:
    """Keys and values of one ledger. Keys of etcd are bytes; their order is that of the texts."""

    def __init__(self, prefix: str) -> None:
        root = prefix.encode()
        self.root = root + b"/"
        self.leader = root + b"/leader"
        self.meta = root + b"/meta/"
        self.format = root + b"/meta/format"
        self.batch_seq = root + b"/meta/batch_seq"
        self.rest = root + b"/meta/rest"
        self.live = root + b"/live"
        self.cold = root + b"/cold/"
        self.events = root + b"/events/"
        self._root = root

    def place(self, key: str) -> bytes:
        """Where a key of the store stands in etcd."""
        return (self._root if key.startswith(COLD) else self.live) + key.encode()

    def live_key(self, place: bytes) -> str | None:
        """The key of a live record; None where the place is of something else."""
        if not place.startswith(self.live + b"/"):
            return None
        try:
            return place[len(self.live) :].decode()
        except UnicodeDecodeError as exc:
            raise StoreCorrupt(
                f"a key in etcd is no text: {place!r}; remove it, or restore a backup"
            ) from exc

    def record(self, seq: int) -> bytes:
        """Where the record of a batch stands. Sixteen digits, so that they sort."""
        return self.events + b"%016d" % seq

    def operation(self, change: Change) -> Any:
        """One change of the live or cold part."""
        key, value = change
        return m.delete(self.place(key)) if value is None else m.put(self.place(key), value)

    def standing(self, kv: Any) -> Standing:
        """What the value of `batch_seq` says; None: nothing was ever committed."""
        if kv is None:
            return Standing(0, 0, 0)
        try:
            seq, last_event = map(int, kv.value.split())
        except ValueError as exc:
            raise StoreCorrupt(
                f"{self.batch_seq.decode()} in etcd holds {bytes(kv.value[:40])!r}: restore a backup"
            ) from exc
        return Standing(seq, last_event, kv.mod_revision)

    def rest_of(self, kv: Any) -> list[Change]:
        """What the value of `rest` says."""
        try:
            return _changes.decode(kv.value)
        except msgspec.MsgspecError as exc:
            raise StoreCorrupt(f"{self.rest.decode()} in etcd can't be read: restore a backup") from exc

    def record_of(self, kv: Any) -> Record:
        """What the value of a batch's record says."""
        try:
            return _record.decode(kv.value)
        except msgspec.MsgspecError as exc:
            raise StoreCorrupt(
                f"{bytes(kv.key).decode()} in etcd can't be read: load the store again"
            ) from exc

    def commit(
        self, batch: Batch, last_event: int, fence: Sequence[Any], lease: int
    ) -> tuple[Any, list[Change]]:
        """The transaction that makes a batch durable, and what has to be moved to its place afterwards.

        `last_event` is the newest event with this batch in, `fence` what has to hold, `lease` the etcd lease
        of the record.
        """
        changes: list[Change] = [*batch.puts]
        changes += [(key, None) for key, _ in batch.finishes]
        changes += [(key, None) for key in batch.deletes]
        record = Record(
            batch.first_event,
            batch.last_event,
            batch.events,
            list(batch.finishes),
            [key for key in batch.deletes if not key.startswith(COLD)],
        )
        rest: list[Change] = []
        if len(changes) + 2 > OPERATIONS:
            changes, rest = changes[: OPERATIONS - 3], changes[OPERATIONS - 3 :]
        operations = [self.operation(change) for change in changes]
        if rest:
            operations.append(m.put(self.rest, _encode(rest)))
        operations.append(m.put(self.record(batch.seq), _encode(record), lease))
        operations.append(m.put(self.batch_seq, b"%d %d" % (batch.seq, last_event)))
        failure = [m.get(self.leader), m.get(self.batch_seq)]
        return m.TxnRequest(compare=fence, success=operations, failure=failure), rest
