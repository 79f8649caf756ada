"""Reading the log of a run, while it grows, rotates, or long after (format: `shim.log`)."""

from __future__ import annotations

import os
from pathlib import Path

from leasehold.model.run import LogChunk, LogPart, Stream
from leasehold.shim.log import CHUNK_MAX, DIGITS, ERR, HEADER, LOG, NOTE, OUT, parse

LIMIT_MAX = 4 << 20
AGAIN_MAX = 8
"""A part that is dropped between listing and reading; the log would have to rotate that often meanwhile."""
STREAMS = {OUT: Stream.OUT, ERR: Stream.ERR, NOTE: Stream.NOTE}


def parts_of(folder: Path) -> list[tuple[int, int]]:
    """(offset, size) of each part that is there, in order."""
    found = []
    with os.scandir(folder) as entries:
        for each in entries:
            digits = each.name.removeprefix(LOG)
            if len(digits) == DIGITS and each.name.startswith(LOG) and digits.isdecimal():
                try:
                    found.append((int(digits), each.stat().st_size))
                except FileNotFoundError:
                    continue
    return sorted(found)


def end_of(folder: Path) -> int:
    """How far the log reaches, what is half written included."""
    parts = parts_of(folder)
    return sum(parts[-1]) if parts else 0


def part_of_log(folder: Path, offset: int, limit: int, *, is_over: bool) -> LogPart:
    """See `ports.runner.Runner.log`. `is_over`: the run had ended before this call. Raises OSError."""
    for _ in range(AGAIN_MAX):
        parts = parts_of(folder)
        end = sum(parts[-1]) if parts else 0
        wanted = max(0, end + offset) if offset < 0 else min(offset, end)
        try:
            return _read(folder, parts, wanted, min(max(limit, 1), LIMIT_MAX), is_over=is_over)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"the log in {folder} rotates faster than it can be read")


def _read(folder: Path, parts: list[tuple[int, int]], wanted: int, limit: int, *, is_over: bool) -> LogPart:
    at = wanted
    for number, (begin, size) in enumerate(parts):
        if at >= begin + size:
            continue
        at = max(at, begin)
        data, at = _window(f"{folder}/{LOG}{begin:0{DIGITS}}", begin, size, at, limit)
        chunks = _chunks(data, at, limit)
        if chunks:
            last = chunks[-1]
            next_offset = last.offset + HEADER.size + len(last.data)
            return LogPart(tuple(chunks), next_offset, at - wanted)
        if number + 1 < len(parts):
            at = begin + size  # Nothing that could be read: damaged, so on to the next part.
    return LogPart((), at, at - wanted, is_over)


def _window(path: str, begin: int, size: int, at: int, limit: int) -> tuple[bytes, int]:
    """What the file has from the first record at or after `at`, and where that is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, limit + HEADER.size + CHUNK_MAX, at - begin)
        if parse(data) is not None:
            return data, at
        whole = os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)
    position = 0
    while position < at - begin and (found := parse(whole, position)) is not None:
        position += HEADER.size + found[1]
    if position < at - begin:
        return b"", at
    return whole[position : position + limit + HEADER.size + CHUNK_MAX], begin + position


def _chunks(data: bytes, offset: int, limit: int) -> list[LogChunk]:
    """Whole records: as many as fit, at least one if one is there to its end."""
    chunks: list[LogChunk] = []
    position = 0
    while (found := parse(data, position)) is not None:
        stream, length, wall_ms = found
        stop = position + HEADER.size + length
        if stop > len(data) or (chunks and stop > limit):
            break
        chunks.append(
            LogChunk(
                offset + position,
                wall_ms,
                STREAMS.get(stream, Stream.NOTE),
                data[position + HEADER.size : stop],
            )
        )
        position = stop
    return chunks
