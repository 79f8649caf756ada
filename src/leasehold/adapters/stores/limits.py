"""What every store refuses before it begins to write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from leasehold.ports.store import COLD, READ_MAX, Batch, CommitFailed, Limits


def checked_size(batch: Batch, limits: Limits) -> int:
    """Bytes of keys, values and events.

    Raises CommitFailed where the batch is over the store's limits, ValueError where its maker has a bug.
    """
    keys = _keys(batch)
    if len(keys) > limits.keys:
        raise CommitFailed(
            f"batch {batch.seq} has {len(keys):,} keys; this store takes {limits.keys:,} in one commit"
        )
    size = _size(batch)
    if size > limits.bytes:
        raise CommitFailed(
            f"batch {batch.seq} has {size:,} bytes; this store takes {limits.bytes:,} in one commit"
        )
    if len(set(keys)) != len(keys):
        twice = [key for key, times in Counter(keys).items() if times > 1]
        raise ValueError(f"batch {batch.seq} has the same key twice: {', '.join(twice[:3])}")
    if cold := [key for key, _ in batch.finishes if key.startswith(COLD)]:
        raise ValueError(f"batch {batch.seq} finishes what is cold: {', '.join(cold[:3])}")
    if batch.events and not 0 < batch.first_event <= batch.last_event:
        raise ValueError(f"batch {batch.seq} has events numbered {batch.first_event} to {batch.last_event}")
    return size


def checked_keys(keys: Sequence[str]) -> Sequence[str]:
    """The keys of a read; ValueError where there are more than one may ask for."""
    if len(keys) > READ_MAX:
        raise ValueError(f"{len(keys):,} keys asked for in one read; at most {READ_MAX:,}")
    return keys


def without_cold(batch: Batch, size: int) -> tuple[Batch, int]:
    """The batch as followers get it, and its bytes: without the rows that `load` leaves out."""
    puts = [(key, value) for key, value in batch.puts if not key.startswith(COLD)]
    deletes = [key for key in batch.deletes if not key.startswith(COLD)] if batch.deletes else ()
    if len(puts) == len(batch.puts) and len(deletes) == len(batch.deletes):
        return batch, size
    kept = replace(batch, puts=puts, deletes=deletes)
    return kept, _size(kept)


def _size(batch: Batch) -> int:
    size = len(batch.events) + sum(map(len, _keys(batch)))
    size += sum([len(value) for _, value in batch.puts])
    return size + sum([len(value) for _, value in batch.finishes])


def _keys(batch: Batch) -> list[str]:
    keys = [key for key, _ in batch.puts]
    keys += [key for key, _ in batch.finishes]
    keys += batch.deletes
    return keys
