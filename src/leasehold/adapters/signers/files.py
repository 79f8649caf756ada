"""Files of keys and certificates: for their owner alone, and replaced in one step."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from leasehold.ports.signer import SignerError

FILE_BYTES_MAX = 64 << 10


def read(path: Path) -> bytes | None:
    """What a file holds, None where there is none. One that others may read is closed to them.

    Raises SignerError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SignerError(f"{path} can't be read: {error.strerror}") from error
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
        return os.read(descriptor, FILE_BYTES_MAX)
    except OSError as error:
        raise SignerError(f"{path} can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file: all of it or nothing, also over a crash. Raises SignerError."""
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SignerError(f"{path} can't be written: {error.strerror}") from error
