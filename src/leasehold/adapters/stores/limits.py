"""What every store refuses before it begins to write."""

from __future__ import annotations

from collections import Counter

from leasehold.ports.store import Batch, CommitFailed, Limits


def checked_size(batch: Batch, limits: Limits) -> int:
    """Bytes of keys, values and events.

    Raises CommitFailed where the batch is over the store's limits, ValueError where its maker has a bug.
    """
    keys = _keys(batch)
    if len(keys) > limits.keys:
        raise CommitFailed(
            f"batch {batch.seq} has {len(keys):,} keys; this store takes {limits.keys:,} in one commit"
        )
    size = len(batch.events) + sum(map(len, keys))
    size += sum([len(value) for _, value in batch.puts]) + sum([len(value) for _, value in batch.finishes])
    if size > limits.bytes:
        raise CommitFailed(
            f"batch {batch.seq} has {size:,} bytes; this store takes {limits.bytes:,} in one commit"
        )
    if len(set(keys)) != len(keys):
        twice = [key for key, times in Counter(keys).items() if times > 1]
        raise ValueError(f"batch {batch.seq} has the same key twice: {', '.join(twice[:3])}")
    if batch.events and not 0 < batch.first_event <= batch.last_event:
        raise ValueError(f"batch {batch.seq} has events numbered {batch.first_event} to {batch.last_event}")
    return size


def _keys(batch: Batch) -> list[str]:
    keys = [key for key, _ in batch.puts]
    keys += [key for key, _ in batch.finishes]
    keys += batch.deletes
    return keys
