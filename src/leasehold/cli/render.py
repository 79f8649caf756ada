"""Output: tables for people, JSON for programs, ids alone with `--quiet`. Results go to standard output,
only they.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

COLORS = {
    "QUIET": "32", "NORMAL": "36", "BUSY": "33", "PANIC": "31", "UNKNOWN": "35",
    "ACTIVE": "32", "OFFERED": "36", "REVOKING": "33", "EXPIRED": "31", "REVOKED": "31", "LOST": "31",
    "ok": "32", "warn": "33", "bad": "31", "warning": "33", "critical": "31",
}  # fmt: skip
"""Words that are coloured wherever they fill a cell."""


class Out:
    """Where results go, and how."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, color: bool = True) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.color = color and sys.stdout.isatty()

    def document(self, value: Any) -> None:
        """One JSON document."""
        import msgspec

        data = msgspec.json.format(msgspec.json.encode(value), indent=2)
        sys.stdout.write(data.decode() + "\n")

    def line(self, value: Any) -> None:
        """One JSON document on one line, for streams."""
        import msgspec

        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        sys.stdout.flush()

    def text(self, sentence: str) -> None:
        """A line for people."""
        print(sentence)

    def ids(self, found: Sequence[str]) -> None:
        for one in found:
            print(one)

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[object]], *, nothing: str = "nothing"
    ) -> None:
        """Columns under a head, as wide as they need to be; the last one is cut to the terminal's width."""
        if not rows:
            print(nothing)
            return
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
        print(self._paint(_joined(head, widths), "1"))
        for row in cells:
            print(self._painted(row, widths))

    def pairs(self, rows: Sequence[tuple[str, object]]) -> None:
        """Names and values, those without a value left out."""
        shown = [(name, _cell(value)) for name, value in rows if value not in (None, "", [], {}, ())]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            print(f"{self._paint(name.ljust(width), '1')}  {self._paint(value, COLORS.get(value, ''))}")

    def state(self, word: str) -> str:
        return self._paint(word, COLORS.get(word, ""))

    def _painted(self, row: Sequence[str], widths: Sequence[int]) -> str:
        last = len(row) - 1
        parts = [cell if i == last else cell.ljust(widths[i]) for i, cell in enumerate(row)]
        return "  ".join(self._paint(part, COLORS.get(part.strip(), "")) for part in parts).rstrip()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code else text


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    """A value as text. Names may come from other users: nothing in them may steer the terminal."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    return printable(str(value))


def printable(text: str) -> str:
    """A text that can't steer a terminal, whoever wrote it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
