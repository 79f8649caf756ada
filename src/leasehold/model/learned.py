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


class Asked(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the newest lease of a kind was charged, and how long it was said to take. All 0: not known."""

    units: int = 0
    cpu_millicores: int = 0
    memory_bytes: int = 0
    expected_ms: int = 0


NOTHING_ASKED = Asked()


class Learned(msgspec.Struct, frozen=True, gc=False):
    """One (holder, job_type).

    `count` is how many leases were observed, old ones fading. Encoded, without its names, it stays below 400
    bytes.

    `cpu_millicores` is the mean share of cores over a lease, `memory_bytes` its peak, `duration_ms` from
    grant to end. `asked` is what to hold all that beside.
    """

    holder: str
    job_type: str
    count: int = 0
    cpu_millicores: Sketch = EMPTY
    memory_bytes: Sketch = EMPTY
    duration_ms: Sketch = EMPTY
    asked: Asked = NOTHING_ASKED
