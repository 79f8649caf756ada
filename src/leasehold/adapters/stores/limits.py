"""What every store refuses before it begins to write."""

from __future__ import annotations

from leasehold.adapters.stores.trail import size_of
from leasehold.ports.store import Batch, CommitFailed, Limits


def refuse_malformed(batch: Batch, limits: Limits) -> None:
    """Raise CommitFailed where a batch is over the store's limits, ValueError where its maker has a bug."""
    keys = len(batch.puts) + len(batch.finishes) + len(batch.deletes)
    if keys > limits.keys:
        raise CommitFailed(
            f"batch {batch.seq} has {keys:,} keys; this store takes {limits.keys:,} in one commit"
        )
    size = size_of(batch)
    if size > limits.bytes:
        raise CommitFailed(
            f"batch {batch.seq} has {size:,} bytes; this store takes {limits.bytes:,} in one commit"
        )
    distinct = {key for key, _ in batch.puts}
    distinct.update(key for key, _ in batch.finishes)
    distinct.update(batch.deletes)
    if len(distinct) != keys:
        raise ValueError(f"batch {batch.seq} has the same key twice: {', '.join(_repeated(batch))}")
    if batch.events and not 0 < batch.first_event <= batch.last_event:
        raise ValueError(f"batch {batch.seq} has events numbered {batch.first_event} to {batch.last_event}")


def _repeated(batch: Batch) -> list[str]:
    seen: set[str] = set()
    twice: list[str] = []
    for key in [*(key for key, _ in batch.puts), *(key for key, _ in batch.finishes), *batch.deletes]:
        if key in seen:
            twice.append(key)
        seen.add(key)
    return twice[:3]
