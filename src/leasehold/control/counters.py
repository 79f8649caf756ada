"""Folded counters of what is not worth an event each: denials by holder and code (LEASE-16, LEASE-17)."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from leasehold.ports.archive import Fold

KEYS_MAX = 10_000
"""Holders × codes in memory; beyond it, the holder is counted as `(others)`."""


RECENT_MAX = 12


class Denial(msgspec.Struct):
    """The newest denial of one holder and code, and how often it was said since the start."""

    holder: str
    code: str
    wall_ms: int
    count: int
    sentence: str


class Last(msgspec.Struct):
    """A holder's last denial and how long it was told to wait."""

    sentence: str
    wall_ms: int
    retry_until_ms: int


class Counters:
    """Counts since the last flush, and each holder's last denial."""

    def __init__(self) -> None:
        self._folds: dict[tuple[str, str], Fold] = {}
        self._last: dict[str, Last] = {}
        self.totals: dict[str, int] = {}
        self.recent: OrderedDict[tuple[str, str], Denial] = OrderedDict()

    def count(self, holder: str, code: str, wall_ms: int, sentence: str = "") -> None:
        key = (holder, code)
        if key not in self._folds and len(self._folds) >= KEYS_MAX:
            key = ("(others)", code)
        before = self._folds.get(key)
        first_ms, count = (wall_ms, 0) if before is None else (before.first_wall_ms, before.count)
        self._folds[key] = Fold(key[0], code, first_ms, wall_ms, count + 1, sentence)

    def denied(self, holder: str, code: str, sentence: str, wall_ms: int, retry_until_ms: int) -> None:
        self.count(holder, code, wall_ms, sentence)
        self.totals[code] = self.totals.get(code, 0) + 1
        self._note(holder, code, sentence, wall_ms)
        if holder in self._last or len(self._last) < KEYS_MAX:
            self._last[holder] = Last(sentence, wall_ms, retry_until_ms)

    def _note(self, holder: str, code: str, sentence: str, wall_ms: int) -> None:
        """Keep the newest few, the newest last."""
        before = self.recent.pop((holder, code), None)
        count = 1 if before is None else before.count + 1
        self.recent[holder, code] = Denial(holder, code, wall_ms, count, sentence)
        if len(self.recent) > RECENT_MAX:
            self.recent.popitem(last=False)

    def last(self, holder: str) -> Last | None:
        return self._last.get(holder)

    def take(self) -> list[Fold]:
        """What has been counted since the last call; the caller stores it."""
        folds, self._folds = self._folds, {}
        return list(folds.values())

    def pending(self) -> list[Fold]:
        """What has been counted and is not stored yet."""
        return list(self._folds.values())
