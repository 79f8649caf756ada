"""What `run` tells on standard error: each change once, errors always."""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

PREFIX = "leasehold: "


class Voice:
    """Messages with the prefix, or with `as_json` one object a line.

    With `fd`, a descriptor for programs, everything goes there instead of standard error, as JSON. On a
    terminal a waiting line is written over. Nothing here raises: a closed standard error must not end the
    work.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False, fd: int | None = None) -> None:
        self.for_program = fd is not None
        self._fd = 2 if fd is None else fd
        self._quiet = quiet and fd is None
        self._json = as_json or fd is not None
        self._terminal = not self._json and os.isatty(2)
        self._fleeting = False

    def tell(self, kind: str, sentence: str, **figures: Any) -> None:
        """Say something that happened."""
        if not self._quiet:
            self._write(kind, sentence, figures)

    def error(self, sentence: str, **figures: Any) -> None:
        """Say what went wrong; not silenced."""
        self._write("error", sentence, figures)

    def fleeting(self, kind: str, sentence: str, *, changed: bool, **figures: Any) -> None:
        """Say where things stand.

        On a terminal the next message writes over it; elsewhere it is a line for each change.
        """
        if self._quiet or not (changed or self._terminal):
            return
        if self._terminal and _in_foreground():
            self._put(f"{self._back()}{_fitted(PREFIX + sentence)}")
            self._fleeting = True
        elif changed:
            self._write(kind, sentence, figures)

    def _write(self, kind: str, sentence: str, figures: dict[str, Any]) -> None:
        if self._json:
            self._put(json.dumps({"kind": kind, "message": sentence, **figures}) + "\n")
        else:
            # In a terminal in raw mode a line feed alone does not return to the first column.
            self._put(f"{self._back()}{PREFIX}{sentence}{chr(13) if self._terminal else ''}\n")
        self._fleeting = False

    def _back(self) -> str:
        return "\r\x1b[K" if self._fleeting else ""

    def finish_line(self) -> None:
        """Leave what was written over as it stands, and begin a new line."""
        if self._fleeting:
            self._put("\n")
            self._fleeting = False

    def _put(self, text: str) -> None:
        try:
            os.write(
                self._fd, text.encode(getattr(sys.stderr, "encoding", None) or "utf-8", "backslashreplace")
            )
        except OSError:
            self._quiet = True


def _in_foreground() -> bool:
    """Whether the terminal is ours to rewrite lines on: a job in the background tells changes alone."""
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return False


def _fitted(line: str) -> str:
    """Cut to the width of the terminal: a line that wraps can't be written over."""
    try:
        width = os.get_terminal_size(2).columns
    except OSError:
        width = 80
    return line if len(line) < width or width < 20 else line[: width - 2] + "…"
