"""Starting the command: forked, held at a pipe until its lease is confirmed, then executed (LEASE-18).

The child stays in the caller's process group. So Ctrl-C, Ctrl-Z, `fg`, `bg`, pipelines and scripts mean
exactly what they mean without us: the kernel delivers, and the shell sees one job. A group of its own would
need the terminal handed to and fro, and would take it away from the pager at the end of a pipeline and
Ctrl-C from the script around it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Mapping, Sequence

from leasehold.cli import exits

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import NoReturn

GO = b"g"
DEFAULTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python, or we, may have set to something else than the caller had."""


class Child:
    """A process that waits for its word. Use `go` or `abandon` exactly once."""

    def __init__(self, pid: int, word: int, trouble: int) -> None:
        self.pid = pid
        self._word = word
        self._trouble = trouble

    def go(self) -> OSError | None:
        """Let it execute the command. Returns why it could not, None when the command runs."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._word, GO)
        os.close(self._word)
        told = b""
        while more := os.read(self._trouble, 64):
            told += more
        os.close(self._trouble)
        return OSError(int(told), os.strerror(int(told))) if told else None

    def abandon(self) -> None:
        """It will not run: the held process ends without having done anything."""
        os.close(self._word)
        os.close(self._trouble)
        os.waitpid(self.pid, 0)


def hold(
    command: Sequence[str], env: Mapping[str, str], mask: set[signal.Signals | int], ignored: frozenset[int]
) -> Child:
    """Fork a process that will execute `command` with the signal mask `mask` when told to.

    `ignored` are the signals that the caller had us ignore: the command ignores them too (`nohup`).
    """
    word_read, word_write = os.pipe()
    trouble_read, trouble_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _in_child(command, env, mask, ignored, (word_read, word_write, trouble_write))
    os.close(word_read)
    os.close(trouble_write)
    return Child(pid, word_write, trouble_read)


def _in_child(
    command: Sequence[str],
    env: Mapping[str, str],
    mask: set[signal.Signals | int],
    ignored: frozenset[int],
    pipes: tuple[int, int, int],
) -> NoReturn:
    word_read, word_write, trouble_write = pipes
    try:
        os.close(word_write)
        for number in DEFAULTS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        if os.read(word_read, 1) != GO:
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        execute(command, env)
    except OSError as error:
        os.write(trouble_write, str(error.errno or errno.EIO).encode())
    finally:
        os._exit(exits.CANNOT_EXECUTE)


def execute(command: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become `command`, found in PATH. A script without `#!` is run by sh, as sh would. Raises OSError."""
    try:
        os.execvpe(command[0], list(command), dict(env))
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    os.execve("/bin/sh", ["sh", found(command[0], env) or command[0], *command[1:]], dict(env))


def found(name: str, env: Mapping[str, str]) -> str | None:
    """The file that `name` means: itself with a slash in it, else the first in PATH; None without one."""
    if "/" in name:
        return name if os.path.exists(name) else None
    for folder in (env.get("PATH") or os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path):
            return path
    return None


def exit_code(error: OSError) -> int:
    """126 or 127, as a shell would."""
    return exits.NO_SUCH_COMMAND if error.errno in (errno.ENOENT, errno.ENOTDIR) else exits.CANNOT_EXECUTE
