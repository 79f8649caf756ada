"""From the fork to the command: its place, session, limits, user and folder (QUEUE-15, 21)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import termios

from leasehold.shim import system

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import NoReturn

    from leasehold.shim.order import Order

NOT_FOUND, NOT_EXECUTABLE = 127, 126
UMASK = 0o022
MISSING = (errno.ENOENT, errno.ENOTDIR)


class Pipes:
    """The ends of what the command reads and writes; both of its own and ours."""

    def __init__(self, *, terminal: bool) -> None:
        if terminal:
            self.out_read, slave = os.openpty()
            self.err_read = -1
            termios.tcsetwinsize(slave, (24, 80))
            self.inner = (slave, slave, slave)
        else:
            self.out_read, out = os.pipe()
            self.err_read, err = os.pipe()
            self.inner = (os.open(os.devnull, os.O_RDONLY), out, err)

    def close_inner(self) -> None:
        """In the shim, once the command has them: else there would be no end."""
        for each in set(self.inner):
            os.close(each)


def become(order: Order, pipes: Pipes, trouble: int, parent: int) -> NoReturn:
    """In the forked child: become the command. What keeps it from that goes to `trouble` as `step errno`."""
    step = "place"
    try:
        for path in order.work_procs:
            _write(path, b"0")
        step = "session"
        os.setsid()
        if order.terminal:
            fcntl.ioctl(pipes.inner[0], termios.TIOCSCTTY, 0)
        for number, descriptor in enumerate(pipes.inner):
            os.dup2(descriptor, number)
        step = "limits"
        _limit(order)
        step = "user"
        if order.uid >= 0:
            for descriptor in set(pipes.inner[1:]):  # Else its own `/dev/stdout` would be closed to it.
                os.fchown(descriptor, order.uid, -1)
            os.setgroups(order.groups)
            os.setresgid(order.gid, order.gid, order.gid)
            os.setresuid(order.uid, order.uid, order.uid)
        # Changing the user clears it, so it comes last. The shim may have been killed before.
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(NOT_EXECUTABLE)
        step = "folder"
        os.umask(UMASK)
        os.chdir(order.cwd)
        step = "program"
        for caught in range(1, signal.NSIG):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(caught, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _execute(order.argv, order.env)
    except OSError as error:
        os.write(trouble, f"{step} {error.errno or errno.EIO}".encode())
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second shim
        os.write(trouble, f"{step} {errno.EIO}".encode())
    finally:
        os._exit(NOT_EXECUTABLE)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _limit(order: Order) -> None:
    with contextlib.suppress(OSError):  # The shim's own is lower than others may have.
        _write("/proc/self/oom_score_adj", b"0")
    if order.nice:
        os.setpriority(os.PRIO_PROCESS, 0, order.nice)
        with contextlib.suppress(
            OSError
        ):  # Between sessions only the autogroup's counts, where there is one.
            _write("/proc/self/autogroup", str(order.nice).encode())
    if order.idle_io:
        system.idle_io()
    if order.data_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (order.data_bytes, order.data_bytes))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = order.open_files if hard == resource.RLIM_INFINITY else min(order.open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _execute(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Become the command, found in its PATH. A script without `#!` is run by sh, as sh would.

    `os.execvpe` would import a module first, which another user may not be able to read.
    """
    name, trouble = argv[0], OSError(errno.ENOENT, "")
    folders = env.get(b"PATH", b"/bin:/usr/bin").split(b":")
    for path in [name] if b"/" in name else [(each or b".") + b"/" + name for each in folders]:
        try:
            os.execve(path, argv, env)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                os.execve(b"/bin/sh", [b"sh", path, *argv[1:]], env)
            if error.errno not in MISSING:  # As in execvp(3): the first that is there, but can't be executed.
                trouble = trouble if trouble.errno != errno.ENOENT else error
    raise trouble


def verdict(told: str, order: Order) -> tuple[str, int | None, str]:
    """(fault, exit code, sentence) of what `become` has told."""
    step, _, text = told.partition(" ")
    number = int(text) if text.isdecimal() else errno.EIO
    why = os.strerror(number)
    if step == "program":
        name = os.fsdecode(order.argv[0])
        if number in MISSING:
            return (
                "not_found",
                NOT_FOUND,
                f"{name}: there is no such program in PATH, or what runs it is missing",
            )
        return "not_executable", NOT_EXECUTABLE, f"{name} can't be executed: {why}"
    if step == "folder":
        return (
            "no_folder",
            NOT_EXECUTABLE,
            f"the working folder {os.fsdecode(order.cwd)} can't be entered: {why}",
        )
    what = {
        "place": "it could not be put into the place of its lease",
        "user": f"it could not be run as user {order.uid}",
    }
    return "not_started", None, f"{what.get(step, f'its {step} could not be set up')}: {why}"
