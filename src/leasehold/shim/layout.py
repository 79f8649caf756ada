"""What lies in the folder of a run, for the shim that writes it and the server that reads it.

All of it is small text of `key value` lines, so that neither side needs a parser that takes long to load.

`order`: what is to be done. `args`: the working folder and the arguments, each ended by NUL; `env`: the
environment likewise, removed once read. `lock` is held by the shim for life. `state` has two slots, each
written once: that somebody has taken the run up, and which process was started. `stop`: the grace of a stop.
`trouble`: what the shim itself has died of, if it was not killed.
`result` appears when all is over, by renaming `result.new`, whose room was reserved before anything was
started. `log.<offset>`: the parts of the log (see `shim.log`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os

ORDER, ARGS, ENV, LOCK, STATE, STOP, RESULT = "order", "args", "env", "lock", "state", "stop", "result"
TROUBLE = "trouble"
NEW = ".new"
PRIVATE = 0o600
SLOT_BYTES = 512
RESULT_BYTES = 4_096
STOP_BYTES = 32
ERROR_CHARS_MAX = 500
END = "end ."
VARIABLE = b"LEASEHOLD_RUN"
"""In the environment of every command: its run, by which is found what has detached itself."""


class Broken(Exception):
    """A file of a run that is not as it was written."""


def text_of(fields: dict[str, object]) -> bytes:
    """Lines of `key value`, closed by a last line without which it was not written to its end."""
    lines = [f"{key} {_flat(str(value))}" for key, value in fields.items()]
    return "\n".join([*lines, END, ""]).encode("utf-8", "surrogateescape")


def _flat(value: str) -> str:
    return value.replace("\n", " ").replace("\0", " ")


def fields_of(data: bytes) -> dict[str, str] | None:
    """What `text_of` was given; None where it was never written, or not to its end."""
    lines = data.rstrip(b"\0").decode("utf-8", "surrogateescape").split("\n")
    if len(lines) < 2 or lines[-1] or END not in lines:
        return None
    return dict(line.split(" ", 1) for line in lines[: lines.index(END)] if " " in line)


def read(path: str) -> bytes | None:
    """A whole small file; None where it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def write_new(path: str, data: bytes) -> None:
    """A file that is not there yet, for its owner only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def reserve(path: str, size: int) -> None:
    """Room on the disk for `size` bytes, so that writing them later can't fail for want of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        # Zeros that are written are room on every file system; what is only allocated is not on some.
        write_all(descriptor, bytes(size))
    finally:
        os.close(descriptor)


def lock(folder: str) -> int | None:
    """Take the run up, for as long as the descriptor stays open; None while somebody else has it.

    It is not inherited by what is executed, so it is free again as soon as the shim is gone.
    """
    descriptor = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def write_slot(folder: str, slot: int, fields: dict[str, object]) -> None:
    """Slot 0: taken up, by whom. Slot 1: started. Both have room already, and are written once."""
    data = text_of(fields)
    assert len(data) <= SLOT_BYTES, data
    descriptor = os.open(f"{folder}/{STATE}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, data, slot * SLOT_BYTES)
    finally:
        os.close(descriptor)


def slots(folder: str) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """Both slots as far as they have been written."""
    data = read(f"{folder}/{STATE}") or b""
    return fields_of(data[:SLOT_BYTES]), fields_of(data[SLOT_BYTES : 2 * SLOT_BYTES])


def ask_to_stop(folder: str, grace_ms: int) -> None:
    """Leave word that it is the server who wants it to end, and how soon. There is room for that already."""
    descriptor = os.open(f"{folder}/{STOP}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, f"{grace_ms}\n".encode().ljust(STOP_BYTES, b"\0"), 0)
    finally:
        os.close(descriptor)


def asked_to_stop(folder: str) -> int | None:
    """The grace in ms; None where nobody has asked."""
    grace = (read(f"{folder}/{STOP}") or b"").partition(b"\n")[0]
    return int(grace) if grace.isdigit() else None


def reserve_result(folder: str) -> None:
    """Room for what must be written even when the disk is full by then. Raises OSError."""
    reserve(f"{folder}/{RESULT}{NEW}", RESULT_BYTES)
    reserve(f"{folder}/{STATE}", 2 * SLOT_BYTES)


def write_result(folder: str, fields: dict[str, object]) -> None:
    """Durably: over the reserved room, flushed, renamed, and the name flushed. Raises OSError."""
    path = f"{folder}/{RESULT}{NEW}"
    fields = fields | {"error": str(fields.get("error", ""))[:ERROR_CHARS_MAX]}
    data = text_of(fields).ljust(RESULT_BYTES, b"\0")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(path, f"{folder}/{RESULT}")
    with contextlib.suppress(
        OSError
    ):  # Some file systems can't flush a folder; the result stands all the same.
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder_descriptor)
        finally:
            os.close(folder_descriptor)


def result(folder: str) -> dict[str, str] | None:
    """How it ended; None where that is not written."""
    return fields_of(read(f"{folder}/{RESULT}") or b"")


def identity(pid: int) -> str:
    """`pid start_ticks`: which process that is, beyond the reuse of its number; "" where there is none."""
    data = read(f"/proc/{pid}/stat")
    return f"{pid} {data[data.rindex(b')') + 2 :].split()[19].decode()}" if data else ""


def boot_id() -> str:
    """This start of the machine."""
    return (read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
