"""What was measured of past leases of one holder and job type (LEASE-15):

small, mergeable, made of integers.
"""

from __future__ import annotations

import msgspec


class Sketch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A histogram in logarithmic buckets.

    How often each bucket was hit, by rising bucket, and the greatest value seen.

    `core/learn.py` says what a bucket spans, and keeps the list short.
    """

    hits: tuple[tuple[int, int], ...] = ()
    peak: int = 0


EMPTY = Sketch()


class Learned(msgspec.Struct, frozen=True, gc=False):
    """One (holder, job_type).

    `count` is how many leases were observed, old ones fading. Encoded, without its names, it stays below 400
    bytes.

    `cpu_millicores` is the mean share of cores over a lease, `memory_bytes` its peak, `duration_ms` from
    grant to end.
    """

    holder: str
    job_type: str
    count: int = 0
    cpu_millicores: Sketch = EMPTY
    memory_bytes: Sketch = EMPTY
    duration_ms: Sketch = EMPTY
