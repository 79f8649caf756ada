"""No answer before its flush: read from a trace of system calls or a record of `lost_writes.c` (PROVE-4).

A step is a write to a file below the data folder, the begin or the successful end of a flush of such a file,
or a message to a socket or pipe. What a message tells of (an id) must stand in a write that a flush has
covered: the flush began after that write was done, and was done before the message was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from leasehold.testing.power_loss import Op

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,fsync,fdatasync"
STRACE = ("strace", "-f", "-y", "-xx", "-s", "70000", "-e", f"trace={CALLS}", "-e", "signal=none")
"""The command line before the program's own; add `-o FILE`. Strings come in hexadecimal, and whole."""


class Kind(StrEnum):
    WRITE = "write"
    FLUSH_BEGIN = "flush begin"
    FLUSH_END = "flush end"
    MESSAGE = "message"


class Step(NamedTuple):
    """`file` tells files apart; `flush` pairs the begin and the end of a flush."""

    kind: Kind
    file: str = ""
    data: bytes = b""
    flush: int = 0


class Verdict(NamedTuple):
    """How many ids were told after a flush that covers them, and sentences about those that were not."""

    judged: int
    early: list[str]


def judge(steps: Iterable[Step], stored: re.Pattern[bytes], told: re.Pattern[bytes]) -> Verdict:
    """Hold each id's first telling against its first writing.

    The first group of `stored` finds ids in what is written, that of `told` in messages. An id that is never
    written is not judged: it is not ours, or was written before the trace began.
    """
    written: dict[bytes, tuple[str, int]] = {}
    flushed: dict[str, int] = {}
    flushes: dict[int, tuple[str, int]] = {}
    tellings: dict[bytes, tuple[int, bool]] = {}
    for at, step in enumerate(steps):
        if step.kind is Kind.WRITE:
            for name in stored.findall(step.data):
                written.setdefault(name, (step.file, at))
        elif step.kind is Kind.FLUSH_BEGIN:
            flushes[step.flush] = (step.file, at)
        elif step.kind is Kind.FLUSH_END:
            file, began_at = flushes.pop(step.flush)
            flushed[file] = max(flushed.get(file, -1), began_at)
        else:
            for name in told.findall(step.data):
                file, written_at = written.get(name, ("", at))
                tellings.setdefault(name, (at, flushed.get(file, -1) > written_at))
    early = [
        f"{name.decode()} was told at step {at}, before a flush of its write at step {written[name][1]}"
        for name, (at, durable) in tellings.items()
        if name in written and not durable
    ]
    return Verdict(sum(name in written for name in tellings), early)


def from_record(ops: Iterable[Op]) -> Iterator[Step]:
    """Steps of a record of `lost_writes.c`."""
    for op in ops:
        if op.kind == "W":
            yield Step(Kind.WRITE, str(op.file), op.data)
        elif op.kind == "B":
            yield Step(Kind.FLUSH_BEGIN, str(op.file), flush=op.offset)
        elif op.kind == "E":
            yield Step(Kind.FLUSH_END, flush=op.file)
        elif op.kind == "P":
            yield Step(Kind.MESSAGE, data=op.data)


_LINE = re.compile(
    r"^(?:(?P<pid>\d+) +)?"
    r"(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<call>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>)(?P<rest>.*)$"
)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def from_strace(lines: Iterable[str], folder: Path) -> Iterator[Step]:
    """Steps of a trace made with `STRACE`, in the order in which strace saw calls begin and end."""
    root = f"{folder.resolve()}/"
    open_calls: dict[str, tuple[str, str, bytes]] = {}
    for line in lines:
        parsed = _LINE.match(line.rstrip("\n"))
        if parsed is None:
            continue
        thread, rest = parsed["pid"] or "", parsed["rest"]
        if parsed["resumed"]:
            begun = open_calls.pop(thread, None)
            if begun is not None:
                yield from _done(*begun, thread, rest)
            continue
        call, path = parsed["call"], _unescaped(parsed["path"]).decode("utf-8", "replace")
        data = b"".join(map(_unescaped, _TEXT.findall(rest)))
        if not path.startswith(root):
            if path.startswith(("socket:", "pipe:", "TCP:", "TCPv6:", "UNIX:", "UNIX-STREAM:")):
                yield Step(Kind.MESSAGE, path, data)
            continue
        if call in ("fsync", "fdatasync"):
            yield Step(Kind.FLUSH_BEGIN, path, flush=_number(thread))
        if rest.endswith("<unfinished ...>"):
            open_calls[thread] = (call, path, data)
        else:
            yield from _done(call, path, data, thread, rest)


def _done(call: str, path: str, data: bytes, thread: str, rest: str) -> Iterator[Step]:
    if call in ("fsync", "fdatasync"):
        if rest.rstrip().endswith("= 0"):
            yield Step(Kind.FLUSH_END, path, flush=_number(thread))
    elif not re.search(r"= -1 E\w+", rest):
        yield Step(Kind.WRITE, path, data)


def _number(thread: str) -> int:
    return int(thread or 0)


def _unescaped(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()
