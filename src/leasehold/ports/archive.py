"""The port of what has ended: finished records, events, folded counters, the audit (design: Archive)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from leasehold.model.audit import Called, Wanted


class Fold(msgspec.Struct, frozen=True):
    """A folded counter.

    How often `code` happened to `holder`, first and last (wall ms), with the last sentence.
    """

    holder: str
    code: str
    first_wall_ms: int
    last_wall_ms: int
    count: int
    sentence: str = ""


class Archive(Protocol):
    """Read from threads of its own, never through the writer.

    Embedded: the store's own SQLite file, read-only connections.
    """

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        """Finished records under `prefix`, newest first; `before` is the last key of the page before (≤
        1,000).

        A job that ended more than once comes once, as it last ended. One that lives again comes too: who
        knows what lives leaves it out.
        """
        ...

    async def find(self, key: str) -> bytes | None:
        """One finished record by its key; where it ended more than once, as it last did."""
        ...

    async def events(self, *, after: int, limit: int) -> Sequence[bytes]:
        """Encoded event records (one per batch, each a list of events) that hold events numbered above
        `after`, in order.
        """
        ...

    async def fold(self, folds: Sequence[Fold]) -> None:
        """Add to the counters, in one transaction of their own.

        Losing the last 5 s of them in a crash is allowed (INV-4).
        """
        ...

    async def folds(self, *, holder: str | None, since_wall_ms: int) -> Sequence[Fold]:
        """Counters of the range, per holder and code, most recent first, at most 10,000."""
        ...

    async def record(self, calls: Sequence[Called]) -> None:
        """Add to the audit, in one transaction of its own; each gets the next number (OPS-7).

        A folded one is added to those alike of its hour: their row takes its figures and its number.
        """
        ...

    async def recorded(self, wanted: Wanted) -> Sequence[Called]:
        """Records of the audit by their numbers, ascending (≤ 1,000)."""
        ...

    async def prune(
        self, *, before_wall_ms: int, bytes_max: int, apart: Mapping[str, int] | None = None
    ) -> int:
        """Drop the oldest that is past its time or over the size, a slice per call.

        `apart` gives finished records of a noun (`/jobs/`) a time of their own. The size is that of finished
        records, their cold rows, and events. With the last end of a key goes its cold row, in the same
        transaction, unless the key lives again. The audit has a bound of its own, in rows: events by the
        million must not push it out. Returns how many rows went, 0 when it is done.
        """
        ...
