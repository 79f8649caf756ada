"""What all traces share: opening the file, gzip or not, its bounds, and how a bad one is refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

JOBS_MAX = 1_000_000
"""About 1 GB of memory. Longer traces are replayed in parts."""

LINE_MAX = 16_384


class BadTrace(ValueError):
    """A trace that can't be used. The sentence names the file, the line, and what was expected."""


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, from 1, plain or gzip. Raises BadTrace."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_MAX + 1):
                number += 1
                if len(line) > LINE_MAX:
                    raise BadTrace(f"{path}, line {number}: longer than {LINE_MAX} bytes; is this a trace?")
                yield number, line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadTrace(f"{path} is no text in UTF-8; is this a trace?") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadTrace(f"{path} can't be read: {reason}") from None


def few_enough(path: Path, count: int) -> None:
    """Raises BadTrace past `JOBS_MAX`."""
    if count > JOBS_MAX:
        raise BadTrace(f"{path} has more than {JOBS_MAX:,} jobs; replay a part of it")
