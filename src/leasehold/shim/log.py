"""The log of a run: what was printed, by which stream and when; the first part and the newest part of it.

A log is one stream of records, each a header and what was read at once. It lies in files that are named after
the offset at which they begin, counted from the first byte ever logged: the head (a fifth of the whole),
which stays, and parts of a tenth, of which the oldest goes when there is one too many. So rotation copies
nothing, offsets never move, and a gap between two files is what was dropped.
"""

from __future__ import annotations

import os
import struct
import time
from errno import EIO

LOG = "log."
DIGITS = 15
OUT, ERR, NOTE = 1, 2, 3
MAGIC = 0x4C52
HEADER = struct.Struct("<HBBIQ")
"""Magic, stream, sum of the other bytes, length of the data, Unix ms."""
CHUNK_MAX = 1 << 16
PART_MIN = 2 * CHUNK_MAX
TAIL_PARTS = 8
"""Of a tenth each, the one that is being written included. With the head: the whole."""


def header(stream: int, length: int, wall_ms: int) -> bytes:
    """The header of a record."""
    return HEADER.pack(MAGIC, stream, _sum(stream, length, wall_ms), length, wall_ms)


def parse(data: bytes | memoryview, at: int = 0) -> tuple[int, int, int] | None:
    """(stream, length, wall ms) of the header at `at`; None where there is none."""
    if len(data) - at < HEADER.size:
        return None
    magic, stream, check, length, wall_ms = HEADER.unpack_from(data, at)
    if magic != MAGIC or check != _sum(stream, length, wall_ms) or length > CHUNK_MAX:
        return None
    return stream, length, wall_ms


def _sum(stream: int, length: int, wall_ms: int) -> int:
    """So that a bit that has changed anywhere shows."""
    return sum(HEADER.pack(MAGIC, stream, 0, length, wall_ms)) & 0xFF


def part_name(offset: int) -> str:
    """The file of the part that begins there."""
    return f"{LOG}{offset:0{DIGITS}}"


class Log:
    """Appends records of at most `CHUNK_MAX`, and drops what is too much. A full disk loses output only.

    `printed` and `dropped` count bytes of output without headers.
    """

    def __init__(self, folder: str, bytes_max: int) -> None:
        self._folder = folder
        self._part_max = max(PART_MIN, bytes_max // 10)
        self._left = self._head_max = 2 * self._part_max
        self._end = 0
        self._descriptor = -1
        self._parts: list[tuple[int, int]] = []
        self._output = 0  # Of the part that is being written.
        self._lost = 0
        self._why = ""
        self.printed = 0
        self.dropped = 0
        self._open()

    def add(self, stream: int, data: bytes) -> None:
        """Log what was printed. Never raises for want of room."""
        self.printed += len(data)
        if self._lost and not self._note_loss():
            self._lose(len(data), None)
            return
        try:
            self._append(stream, data)
        except OSError as error:
            self._lose(len(data), error)

    def close(self) -> None:
        """Say what was lost, as far as there is room for that."""
        if self._lost:
            self._note_loss()

    def _lose(self, count: int, error: OSError | None) -> None:
        self._lost += count
        self.dropped += count
        if error is not None:
            self._why = os.strerror(error.errno or EIO)

    def _note_loss(self) -> bool:
        try:
            self._append(NOTE, f"{self._lost} bytes of output are lost here: {self._why}".encode())
        except OSError:
            return False
        self._lost = 0
        return True

    def _append(self, stream: int, data: bytes) -> None:
        size = HEADER.size + len(data)
        if size > self._left or self._descriptor < 0:
            self._rotate()
        record = header(stream, len(data), time.time_ns() // 1_000_000)
        written = 0
        try:
            written = os.writev(self._descriptor, (record, data))
            if written < size:
                rest = memoryview(record + data)[written:]
                while rest:
                    count = os.write(self._descriptor, rest)
                    written, rest = written + count, rest[count:]
        except OSError:
            if written:
                os.ftruncate(self._descriptor, self._head_or_part() - self._left)
                os.lseek(self._descriptor, 0, os.SEEK_END)
            raise
        self._left -= size
        self._end += size
        if stream != NOTE:
            self._output += len(data)

    def _head_or_part(self) -> int:
        return self._part_max if self._parts else self._head_max

    def _rotate(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._parts.append((self._begin, self._output))
        self._open()
        if len(self._parts) > TAIL_PARTS:
            begin, output = self._parts.pop(1)
            os.unlink(f"{self._folder}/{part_name(begin)}")
            self.dropped += output

    def _open(self) -> None:
        path = f"{self._folder}/{part_name(self._end)}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._begin = self._end
        self._output = 0
        self._left = self._head_or_part()
