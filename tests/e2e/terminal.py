"""A real terminal: a shell on a pseudo-terminal, typed into and read from."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PROMPT = "PROMPT> "
CTRL_C, CTRL_D, CTRL_Z, ESC = "\x03", "\x04", "\x1a", "\x1b"


class Terminal:
    """An interactive bash. What it prints is kept; `expect` looks at what came after the last match."""

    def __init__(self, fd: int, pid: int) -> None:
        self.fd = fd
        self.pid = pid
        self.seen = ""
        self._at = 0

    def send(self, text: str) -> None:
        """Type."""
        os.write(self.fd, text.encode())

    def line(self, text: str) -> None:
        """Type a line."""
        self.send(text + "\r")

    def expect(self, pattern: str, timeout_s: float = 20.0) -> re.Match[str]:
        """Read until the pattern comes, and go past it."""
        end = time.monotonic() + timeout_s
        while True:
            found = re.compile(pattern).search(self.seen, self._at)
            if found:
                self._at = found.end()
                return found
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{pattern!r} did not come; seen: {self.seen[self._at :]!r}")
            try:
                self.seen += os.read(self.fd, 65_536).decode("utf-8", "replace")
            except OSError as error:
                raise AssertionError(
                    f"{pattern!r} did not come before the terminal closed: {self.seen!r}"
                ) from error

    def run(self, command: str, timeout_s: float = 20.0) -> str:
        """Type a command, wait for the next prompt, and return what it printed and its exit code."""
        self.line(f"{command}; echo rc=$?=")
        start = self._at
        self.expect(r"rc=\d+=", timeout_s)
        self.prompt()
        return self.seen[start : self._at]

    def prompt(self) -> None:
        """Wait for the shell to ask for a command."""
        self.expect(re.escape(PROMPT))

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel tells the foreground processes."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(env: Mapping[str, str], folder: Path, rows: int = 24, columns: int = 200) -> Iterator[Terminal]:
    """A shell in a terminal of its own; hung up at the end."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        shell = {"PS1": PROMPT, "TERM": "xterm", "HISTFILE": "", "BASH_SILENCE_DEPRECATION_WARNING": "1"}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], dict(env) | shell)
    found = Terminal(fd, pid)
    found.resize(rows, columns)
    try:
        found.prompt()
        # Without echo of what is typed, what is seen is what was printed.
        found.line(
            "stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; PS1='PROMPT> '; echo ready"
        )
        found.expect("ready\r\n")
        found.prompt()
        yield found
    finally:
        os.close(fd)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        os.waitpid(pid, 0)
