"""One demo at a time in a folder: a lock while the command runs, which tells `--stop` whom to end."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import tempfile
from pathlib import Path

from leasehold.cli import exits
from leasehold.cli.session import Failed
from leasehold.runtime.lean import elapsed_s, pause

END_S = 60.0
"""A demo that is told to end stops its jobs and its server first."""
POLL_S = 0.1


class DemoLock:
    """The lock of one demo folder, in the folder for temporary files: the demo's own may be removed."""

    def __init__(self, folder: Path) -> None:
        name = hashlib.blake2b(os.fsencode(folder), digest_size=6).hexdigest()
        self._path = Path(tempfile.gettempdir()) / f"leasehold-demo-{os.getuid()}-{name}.lock"
        self._folder = folder
        self._fd = -1

    def take(self) -> None:
        """Hold it until `release`, or until this process ends, however it does. Raises Failed."""
        if not self._taken():
            raise Failed(
                exits.CONFLICT, f"a demo runs already in {self._folder}; `leasehold demo --stop` ends it"
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def take_from_other(self) -> bool:
        """Hold it; whoever holds it is told to end first. Whether somebody was. Raises Failed."""
        was_told, end_s = False, elapsed_s() + END_S
        while not self._taken():
            was_told = was_told or self._tell()
            if elapsed_s() > end_s:
                raise Failed(exits.OUR_FAULT, f"the demo in {self._folder} does not end; see {self._path}")
            pause(POLL_S)
        return was_told

    def release(self) -> None:
        """Let it go, and leave nothing behind."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def _taken(self) -> bool:
        """Whether it is ours now. One that was unlinked meanwhile is not the lock any more."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Failed(exits.BAD_FILE, f"{self._path} can't be used: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(self._path).st_ino:
                self._fd = fd
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return False

    def _tell(self) -> bool:
        """Tell the holder to end, where it is proven that the process that is named holds the lock."""
        from leasehold.cli.daemon import has_open

        try:
            text = self._path.read_text(encoding="ascii")
            if text.isdecimal() and has_open(int(text), self._path):
                os.kill(int(text), signal.SIGTERM)
                return True
        except (OSError, ValueError):
            pass
        return False
