"""How counters fold, and the limits that every archive keeps (LEASE-16, INV-8)."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from leasehold.model.audit import Called
from leasehold.ports.archive import Fold

PAGE_MAX = 1_000
"""Rows of one page of the archive: about 1 MiB."""

FOLDS_MAX = 10_000
"""Counters of one answer: one per holder and code."""

PRUNED_ROWS = 500
"""Rows of a table that one call of `prune` looks at: a few ms of the writer, between two commits."""

AUDIT_ROWS_MAX = 500_000
"""Records of the audit, beside their time: under 100 MiB."""

BUCKET_MS = 3_600_000
"""Counters fold per hour, so that a range can be asked for. A range is exact to one hour at its older end."""


def bucket_of(wall_ms: int) -> int:
    """The start of the hour that holds `wall_ms`."""
    return wall_ms - wall_ms % BUCKET_MS


def merged(one: Fold, other: Fold) -> Fold:
    """Both counters as one; the sentence is the later one's."""
    later = other if other.last_wall_ms >= one.last_wall_ms else one
    return Fold(
        holder=one.holder,
        code=one.code,
        first_wall_ms=min(one.first_wall_ms, other.first_wall_ms),
        last_wall_ms=later.last_wall_ms,
        count=one.count + other.count,
        sentence=later.sentence,
    )


def place_of(call: Called) -> bytes | None:
    """Where calls alike fold into one, a row an hour; None for one that has a row of its own."""
    if not call.folded:
        return None
    parts = "\0".join((str(bucket_of(call.last_wall_ms)), *call.alike))
    return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def added(call: Called, *, first_wall_ms: int, count: int) -> Called:
    """A call with those alike before it: how many, and since when."""
    return replace(call, first_wall_ms=min(first_wall_ms, call.first_wall_ms), count=count + call.count)
