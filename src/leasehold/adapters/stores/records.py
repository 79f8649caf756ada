"""Many small records held closely: a million waiting jobs take a third of what as many tuples would.

Each tuple of a text and bytes has 170 bytes beside them, and would live from the load to its end, while the
state is built from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import TypeAlias, overload

Row: TypeAlias = tuple[str, bytes]

CHUNK_ROWS = 10_000
"""Rows of one joined piece: about 1 MB."""


class Chunk:
    """Up to CHUNK_ROWS records as one text and one piece of bytes, with the places where each ends."""

    __slots__ = ("_key_ends", "_keys", "_value_ends", "_values")

    def __init__(self, rows: Sequence[Row]) -> None:
        self._keys = "".join([key for key, _ in rows])
        self._key_ends = array("Q", accumulate(len(key) for key, _ in rows))
        self._values = b"".join([value for _, value in rows])
        self._value_ends = array("Q", accumulate(len(value) for _, value in rows))

    def __len__(self) -> int:
        return len(self._key_ends)

    def __iter__(self) -> Iterator[Row]:
        keys, values = self._keys, self._values
        key_at = value_at = 0
        for key_end, value_end in zip(self._key_ends, self._value_ends, strict=True):
            yield keys[key_at:key_end], values[value_at:value_end]
            key_at, value_at = key_end, value_end

    def at(self, place: int) -> Row:
        """The record at a place, from 0."""
        key_at = self._key_ends[place - 1] if place else 0
        value_at = self._value_ends[place - 1] if place else 0
        return self._keys[key_at : self._key_ends[place]], self._values[value_at : self._value_ends[place]]


class Records(Sequence[Row]):
    """Records in order, which equal any sequence of the same pairs."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._chunks: list[Chunk] = []
        self._count = 0
        self.extend(rows)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end; they are not kept as they are."""
        waiting: list[Row] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == CHUNK_ROWS:
                self._add(waiting)
                waiting = []
        if waiting:
            self._add(waiting)

    def _add(self, rows: list[Row]) -> None:
        self._chunks.append(Chunk(rows))
        self._count += len(rows)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self._chunks)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return list(self)[place]
        if not -self._count <= place < self._count:
            raise IndexError(f"record {place} of {self._count}")
        place %= self._count
        for chunk in self._chunks:
            if place < len(chunk):
                return chunk.at(place)
            place -= len(chunk)
        raise AssertionError("the chunks hold fewer records than were counted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # As of any sequence that can change.

    def __repr__(self) -> str:
        return f"<{self._count:,} records>"
