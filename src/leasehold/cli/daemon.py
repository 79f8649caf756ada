"""The server of one data folder as a process: is it there, start it, stop it. Never touches anybody else's
process.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from leasehold.cli import exits
from leasehold.cli.session import Failed
from leasehold.client.endpoint import SOCKET, Endpoint
from leasehold.client.lean import Connection, Unreachable
from leasehold.client.paths import READY
from leasehold.runtime.lean import elapsed_s, pause

LOCK = "leader.lock"
START_S = 60.0
"""Recovery of a large store included; a start on a fresh folder takes about a second."""
STOP_S = 10.0
INSIST_S = 5.0
POLL_S = 0.02
TAIL_BYTES = 4_000


def holder(data: Path) -> int | None:
    """The pid of the server of this folder: whoever holds its leader lock. None while nobody does.

    Raises Failed where somebody holds it whose pid can't be proven: nothing is signalled on a guess.
    """
    path = data / LOCK
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(
            exits.NOT_PERMITTED, f"{path} can't be read ({error.strerror}): whose server is it?"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _proven(path, os.pread(lock, 32, 0))
    finally:
        os.close(lock)
    return None


def _proven(path: Path, written: bytes) -> int:
    """The pid that the lock file names, where that process really has the file open."""
    text = written.strip().decode("ascii", "replace")
    if text.isdecimal() and has_open(int(text), path):
        return int(text)
    raise Failed(
        exits.OUR_FAULT,
        f"{path} is held by a process that can't be told for certain (it names {text or 'nobody'}); "
        f"`fuser {path}` finds it",
    )


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has this very file open."""
    wanted = path.stat()
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def ready(data: Path, timeout_s: float = 2.0) -> tuple[bool, str]:
    """Whether the server of this folder accepts commands; where not, why."""
    connection = Connection(Endpoint(socket_path=str(data / SOCKET)))
    try:
        answer = connection.call(*READY, timeout_s=timeout_s)
    except Unreachable as error:
        return False, error.message
    finally:
        connection.close()
    return answer.status == 200, str(answer.document().get("detail") or "")


def start(data: Path, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Start the server in the background, in a session of its own, and wait until it is ready. Returns its
    pid.
    """
    log = data / "log" / "up.log"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)  # a mode is not for parents that are made on the way
    log.parent.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "leasehold", "up", "--foreground", *arguments]
    with open(log, "wb") as file, open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            command,
            stdin=nothing,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env=dict(env) | {"LEASEHOLD_DATA": str(data)},
        )
    return _await_ready(process, data, log)


def _await_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> int:
    end_s = elapsed_s() + START_S
    why = ""
    while elapsed_s() < end_s:
        code = process.poll()
        if code is not None:
            text = _tail(log)
            known = code if code in exits.MEANINGS and code else exits.OUR_FAULT
            raise Failed(
                known, text.removeprefix("leasehold: ") or f"the server ended with {code}; see {log}"
            )
        is_ready, why = ready(data)
        if is_ready:
            return process.pid
        pause(POLL_S)
    raise Failed(
        exits.UNREACHABLE,
        f"the server (process {process.pid}) is not ready after {START_S:g} s: {why}; see {log}",
    )


def await_ready_of(pid: int, data: Path) -> None:
    """Wait for a server that somebody else has started. Raises Failed."""
    end_s = elapsed_s() + START_S
    why = ""
    while elapsed_s() < end_s:
        is_ready, why = ready(data)
        if is_ready:
            return
        if holder(data) != pid:
            raise Failed(
                exits.UNREACHABLE, f"the server (process {pid}) ended before it was ready; try again"
            )
        pause(POLL_S)
    raise Failed(
        exits.UNREACHABLE,
        f"the server (process {pid}) runs but is not ready: {why}; `leasehold doctor` looks",
    )


def _tail(log: Path) -> str:
    """The last line that the server wrote before it ended."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if line.startswith("leasehold: ")]
    return (told or lines or [""])[-1]


def stop(data: Path, pid: int) -> None:
    """Ask the server to stop, and wait; insist when it takes longer than it may (OPS-28). Raises Failed."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if holder(data) != pid:
            return
        for patience_s in (STOP_S, INSIST_S):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            end_s = elapsed_s() + patience_s
            while elapsed_s() < end_s:
                if holder(data) != pid:
                    return
                pause(POLL_S)
    except PermissionError:
        raise Failed(exits.NOT_PERMITTED, f"the server is another user's process ({pid})") from None
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
    raise Failed(
        exits.OUR_FAULT,
        f"process {pid} does not stop; `kill -9 {pid}` ends it, and loses nothing acknowledged",
    )
