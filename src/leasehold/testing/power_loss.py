"""The disk as it would be had the power failed, rebuilt at any point from a record of a program's writes.

The record is made by `lost_writes.c`, preloaded under any command line whose data stands in one folder. What
was flushed is there. What was not is dropped, or some of it is there: a part of the writes, in any mixture of
512-byte sectors, as a disk with a cache may leave it. A name that was made or removed is durable when its
folder has been flushed.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

SOURCE = Path(__file__).with_name("lost_writes.c")

_HEAD = struct.Struct("=c3xIQQQ")


class Loss(StrEnum):
    """What becomes of writes that no flush has covered."""

    DROPPED = "dropped"
    TORN = "torn"


class Op(NamedTuple):
    """One recorded step: see `lost_writes.c` for the kinds."""

    kind: str
    file: int
    offset: int
    path: str
    data: bytes


def build(folder: Path) -> Path:
    """Compile the library into `folder`; its path. FileNotFoundError where there is no compiler."""
    library = folder / "lost_writes.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"],
        check=True,
        capture_output=True,
        text=True,
    )
    return library


def environment(library: Path, data: Path, log: Path) -> dict[str, str]:
    """What makes a program record: add this to its environment. `data` exists."""
    return {
        "LD_PRELOAD": str(library),
        "LOST_WRITES_FOLDER": str(data.resolve()),
        "LOST_WRITES_LOG": str(log),
    }


def recorded(log: Path) -> Iterator[Op]:
    """The steps in their order; a last one that was cut off (the program was killed) is left out."""
    with log.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            kind, path_length, number, offset, length = _HEAD.unpack(head)
            body = file.read(path_length + length)
            if len(body) < path_length + length:
                return
            yield Op(kind.decode(), number, offset, os.fsdecode(body[:path_length]), body[path_length:])


class File:
    """What one inode holds for sure, and what it may hold besides: (at, data) in order, or (size, None)."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.pending: list[tuple[int, bytes | None]] = []
        self.flushed = 0

    @property
    def changes(self) -> int:
        """How many there ever were."""
        return self.flushed + len(self.pending)

    def flush(self, until: int) -> None:
        """The first `until` changes are durable."""
        count = max(0, until - self.flushed)
        for offset, data in self.pending[:count]:
            change(self.durable, offset, data)
        del self.pending[:count]
        self.flushed += count

    def after(self, loss: Loss, chance: random.Random) -> bytes:
        """The content after a power failure."""
        content = bytearray(self.durable)
        if loss is Loss.TORN:
            for offset, data in self._kept(chance):
                change(content, offset, data)
        return bytes(content)

    def _kept(self, chance: random.Random) -> Iterator[tuple[int, bytes | None]]:
        """A random beginning of what is pending, whole; or random sectors of all of it."""
        if chance.random() < 0.4:
            yield from self.pending[: chance.randint(0, len(self.pending))]
            return
        share = chance.choice((0.1, 0.5, 0.9))
        for offset, data in self.pending:
            if data is None:
                if chance.random() < share:
                    yield offset, None
                continue
            for at, part in sectors(offset, data):
                if chance.random() < share:
                    yield at, part


class Disk:
    """A folder while a program writes to it: `take` each step in order, `after` at any point between two."""

    def __init__(self, before: Path | None = None) -> None:
        """`before` is a copy of the folder as it was when the program started; None: it was empty."""
        self.root = ""
        self._files: dict[int, File] = {}
        self._names: dict[str, File] = {}
        self._durable_names: dict[str, File] = {}
        self._pending_names: list[tuple[str, File | None]] = []
        self._flushed_names = 0
        self._flushes: dict[int, tuple[int, int]] = {}
        self._folders: set[int] = set()
        self._unrecorded: set[int] = set()
        self._before = {} if before is None else _contents(before)

    def begin(self, root: Path) -> None:
        """The folder's real path, as it stands in the record."""
        self.root = str(root.resolve())
        for name, content in self._before.items():
            self._durable_names[f"{self.root}/{name}"] = File(content)
        self._names = dict(self._durable_names)

    def take(self, op: Op) -> None:
        """One step. Raises ValueError where the record can't tell what the disk would hold."""
        match op.kind:
            case "F":
                self._folders.add(op.file)
            case "C" | "O":
                self._open(op)
            case "W" if op.file in self._files:
                self._files[op.file].pending.append((op.offset, op.data))
            case "T" if op.file in self._files:
                self._files[op.file].pending.append((op.offset, None))
            case "B":
                self._flushes[op.offset] = (op.file, self._changes(op.file))
            case "E":
                self._flush(*self._flushes.pop(op.file))
            case "U":
                self._rename(op.path, None)
            case "R" | "L":
                self._rename(op.path, os.fsdecode(op.data), keeps=op.kind == "L")
            case "X" if op.file not in self._unrecorded:
                raise ValueError(f"a file below the folder was written by {op.path}, which is not recorded")
            case "W" | "T" if op.file not in self._unrecorded:
                raise ValueError(f"a write to inode {op.file}, which was never opened")
            case _:
                pass

    def after(self, loss: Loss, chance: random.Random) -> dict[str, bytes]:
        """What the folder would hold after a power failure here: contents by relative name."""
        names = dict(self._durable_names)
        kept = chance.randint(0, len(self._pending_names)) if loss is Loss.TORN else 0
        for name, file in self._pending_names[:kept]:
            _name(names, name, file)
        return {name[len(self.root) + 1 :]: file.after(loss, chance) for name, file in sorted(names.items())}

    def _open(self, op: Op) -> None:
        if op.path.endswith("-shm"):
            self._unrecorded.add(op.file)  # SQLite makes it again after a crash, and never flushes it.
            self._files.pop(op.file, None)
            return
        file = self._names.get(op.path)
        if op.kind == "C" or file is None:
            file = File()
            self._names[op.path] = file
            self._pending_names.append((op.path, file))
        self._files[op.file] = file
        self._unrecorded.discard(op.file)

    def _changes(self, inode: int) -> int:
        if inode in self._files:
            return self._files[inode].changes
        return self._flushed_names + len(self._pending_names)

    def _flush(self, inode: int, until: int) -> None:
        if inode in self._files:
            self._files[inode].flush(until)
        elif inode in self._folders:
            count = max(0, until - self._flushed_names)
            for name, file in self._pending_names[:count]:
                _name(self._durable_names, name, file)
            del self._pending_names[:count]
            self._flushed_names += count

    def _rename(self, path: str, to: str | None, *, keeps: bool = False) -> None:
        file = self._names.get(path)
        if file is None:
            return
        if to is not None:
            self._names[to] = file
            self._pending_names.append((to, file))
        if not keeps:
            del self._names[path]
            self._pending_names.append((path, None))


def change(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write `data` at `offset`, or give `content` the size `offset`."""
    if data is None:
        if offset <= len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` cut where the file's sectors end."""
    at = 0
    while at < len(data):
        end = min(len(data), at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES)
        yield offset + at, data[at:end]
        at = end


def lay_out(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write what a disk holds into `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def crash_points(ops: Sequence[Op], count: int, chance: random.Random) -> list[int]:
    """`count` places in the record, in order: half anywhere, half right beside flushes and messages."""
    edges = [at for at, op in enumerate(ops) if op.kind in "BEP"]
    near = [edge + chance.randint(0, 1) for edge in chance.choices(edges, k=count // 2)] if edges else []
    anywhere = [chance.randint(0, len(ops)) for _ in range(count - len(near))]
    return sorted([*near, *anywhere])


def _name(names: dict[str, File], name: str, file: File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
