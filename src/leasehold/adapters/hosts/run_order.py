"""Filing a run: checking its command, its user, its place and limits, and writing the shim's order."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from leasehold.adapters.hosts import cgroups, limits, priority
from leasehold.adapters.hosts.cgroups import Groups
from leasehold.model.lease import Limits
from leasehold.model.run import ARGUMENTS_MAX, ORDER_BYTES_MAX, OWN_USER, Command, RunKey
from leasehold.ports.runner import RunFailed
from leasehold.shim import layout

UNFINISHED, DROPPED, KEPT = ".new-", ".gone-", "kept"
OPEN_FILES = 1_024
"""The soft limit of a command: what programs expect of old. The server's own is higher."""
PATHS = (b"/usr/local/bin:/usr/bin:/bin", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
PLACE = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
LOG_MIN, LOG_MAX = 1 << 20, 1 << 40
FULL = (errno.ENOSPC, errno.EDQUOT)


class User(msgspec.Struct, frozen=True):
    """Who a command runs as. `uid` OWN_USER: nothing is switched."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    env: tuple[tuple[bytes, bytes], ...]


def check(command: Command) -> None:
    """Raises RunFailed with BAD_COMMAND where no machine could run it so."""
    words = (*command.argv, command.cwd, *(each for pair in command.env for each in pair))
    if not command.argv or not command.argv[0] or len(command.argv) > ARGUMENTS_MAX:
        raise _bad(f"expected 1 to {ARGUMENTS_MAX} arguments, the first of them a program")
    if any(b"\0" in each for each in words):
        raise _bad("arguments, working folder and environment can't hold a NUL")
    if sum(len(each) + 1 for each in words) > ORDER_BYTES_MAX:
        raise _bad(f"arguments and environment take more than {ORDER_BYTES_MAX} bytes; put them into a file")
    if not command.cwd.startswith(b"/"):
        raise _bad("the working folder is to be an absolute path")
    if any(not name or b"=" in name for name, _ in command.env):
        raise _bad("a name in the environment is empty, or has `=` in it")
    if command.place and not PLACE.fullmatch(command.place):
        raise _bad("the place is to be the id of a lease")
    amounts = (command.cpu_millicores, command.memory_bytes, command.pids_max, command.grace_ms)
    if min(amounts) < 0 or max(amounts) >= 1 << 62 or not LOG_MIN <= command.log_bytes_max <= LOG_MAX:
        raise _bad(f"expected limits of 0 or more, and {LOG_MIN} to {LOG_MAX} bytes of log")
    if min(command.key.number, command.key.generation, command.key.member) < 0:
        raise _bad("expected a number, a generation and a member of 0 or more")


def _bad(sentence: str) -> RunFailed:
    return RunFailed("BAD_COMMAND", sentence)


def user_of(uid: int) -> User:
    """Raises RunFailed with NOT_PERMITTED or NO_SUCH_USER."""
    own = os.geteuid()
    if uid not in (OWN_USER, own) and own != 0:
        sentence = (
            f"this server runs as user {own}, and can't run anything as user {uid}; submit as user {own}, or "
            "start the server as root"
        )
        raise RunFailed("NOT_PERMITTED", sentence)
    wanted = own if uid == OWN_USER else uid
    try:
        known = pwd.getpwuid(wanted)
    except KeyError as exc:
        if wanted != own:
            raise RunFailed("NO_SUCH_USER", f"this machine has no user {uid}; name one that it has") from exc
        return User(OWN_USER, -1, (), ((b"PATH", PATHS[own == 0]),))
    name = os.fsencode(known.pw_name)
    env = (
        (b"HOME", os.fsencode(known.pw_dir)),
        (b"USER", name),
        (b"LOGNAME", name),
        (b"SHELL", os.fsencode(known.pw_shell or "/bin/sh")),
        (b"PATH", PATHS[wanted == 0]),
    )
    if wanted == own:
        return User(OWN_USER, -1, (), env)
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return User(wanted, known.pw_gid, tuple(groups), env)


def file(root: Path, command: Command, groups: Groups | None) -> bool:
    """File the run, its order complete; False where it is filed already. Raises RunFailed."""
    if folder_of(root, command.key) is not None:
        return False
    user = user_of(command.uid)
    name = command.key.name
    folder = root / f"{UNFINISHED}{name}.{os.getpid()}"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder, 0o700)
        fields = _fields(command, user, groups)
        layout.write_new(f"{folder}/{layout.ORDER}", layout.text_of(fields))
        layout.write_new(f"{folder}/{layout.ARGS}", _listed((command.cwd, *command.argv)))
        env = dict(user.env) | dict(command.env) | {layout.VARIABLE: name.encode()}
        if command.terminal:
            env.setdefault(b"TERM", b"xterm-256color")
        layout.write_new(f"{folder}/{layout.ENV}", _listed(b"=".join(pair) for pair in env.items()))
        layout.reserve_result(str(folder))
        layout.reserve(f"{folder}/{layout.STOP}", layout.STOP_BYTES)
        os.rename(folder, root / name)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise not_started(error) from error
    return True


def not_started(error: OSError) -> RunFailed:
    """What the machine lacked."""
    cure = "make room on the disk of the data folder" if error.errno in FULL else "try again"
    return RunFailed("NOT_STARTED", f"the command could not be started: {error.strerror}; {cure}")


def _listed(words: Iterable[bytes]) -> bytes:
    return b"".join(each + b"\0" for each in words)


def _fields(command: Command, user: User, groups: Groups | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "boot_id": layout.boot_id(),
        "place": command.place,
        "uid": user.uid,
        "gid": user.gid,
        "groups": ",".join(map(str, user.groups)),
        "grace_ms": command.grace_ms,
        "log_bytes_max": command.log_bytes_max,
        "terminal": int(command.terminal),
        "open_files": OPEN_FILES,
        "nice": 0,
        "idle_io": int(groups is None or not groups.io_weight),
        "data_bytes": 0,
    }
    outside = [f"{each}/cgroup.procs" for each in cgroups.unit_roots() if os.access(each, os.W_OK)]
    if groups is not None and command.place and groups.make(command.place):
        fields |= _in_place(command, groups)
        fields["shim_procs"] = "\t".join(groups.shims() + outside)
        return fields
    fields["shim_procs"] = "\t".join(outside)
    fields |= {"nice": priority.NICE, "data_bytes": command.memory_bytes, "held": "memory_bytes_each"}
    return fields


def _in_place(command: Command, groups: Groups) -> dict[str, object]:
    """What holds it there, and the files that tell what it uses."""
    place = command.place
    held = limits.hold(groups, place, Limits(command.cpu_millicores, command.memory_bytes))
    names = [name for name in ("cpu_millicores", "memory_bytes") if getattr(held, name)]
    if command.pids_max and limits.limit_pids(groups, place, command.pids_max):
        names.append("pids_max")
    second = groups.kind == "cgroup2"
    folders = sorted(
        {groups.folder(each, place) for each in groups.homes}, key=lambda each: each != _main(groups, place)
    )
    memory = groups.folder("memory", place) if groups.memory else ""
    freezer = groups.folder("cpu" if second else "freezer", place) if groups.freezer else ""
    cpu = (
        f"{groups.folder('cpu', place)}/cpu.stat"
        if second
        else f"{groups.folder('cpuacct', place)}/cpuacct.usage"
    )
    found = {
        "held": " ".join(names),
        "work_procs": "\t".join(f"{each}/cgroup.procs" for each in folders),
        "thaw_file": f"{freezer}/{'cgroup.freeze' if second else 'freezer.state'}" if freezer else "",
        "thaw_text": "0" if second else "THAWED",
        "kill_file": f"{groups.folder('cpu', place)}/cgroup.kill" if second else "",
        "cpu_file": cpu,
    }
    if memory:
        found |= {
            "kills_file": f"{memory}/{'memory.events' if second else 'memory.oom_control'}",
            "memory_file": f"{memory}/memory.stat",
            "peak_file": f"{memory}/{'memory.peak' if second else 'memory.max_usage_in_bytes'}",
        }
    return dict(found)


def _main(groups: Groups, place: str) -> str:
    return groups.folder("cpu", place)


def folder_of(root: Path, key: RunKey) -> Path | None:
    """Where a run is filed: among those that are under way, or those that are kept."""
    return next((each for each in (root / key.name, root / KEPT / key.name) if each.is_dir()), None)


def filed(root: Path) -> list[RunKey]:
    """The runs that are neither kept nor forgotten. What was left unfinished on the way is removed."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(root) as entries:
        for each in entries:
            key = RunKey.of(each.name)
            if key is not None:
                found.append(key)
            elif each.name.startswith((UNFINISHED, DROPPED)):
                shutil.rmtree(each.path, ignore_errors=True)
    return sorted(found)
