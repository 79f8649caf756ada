"""The examinations of `leasehold doctor`. Each looks at one thing, changes nothing, and says how to mend
what it finds.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from leasehold import __version__
from leasehold.cli.amounts import bytes_text
from leasehold.cli.session import Failed
from leasehold.client import endpoint as where
from leasehold.client.lean import Unreachable

if TYPE_CHECKING:
    from leasehold.client.sync import Client
    from leasehold.config import Settings

FREE_BAD_PCT, FREE_WARN_PCT = 3, 10
"""The thresholds of the alert on disk space."""
UNSYNCHRONISED = 0x0040
"""STA_UNSYNC of adjtimex(2)."""
OPEN_FILES_MIN = 4_096


class Finding(msgspec.Struct, frozen=True):
    """What one examination found: `bad` keeps Leasehold from working, `warn` is worth knowing."""

    name: str
    state: Literal["ok", "warn", "bad"]
    what: str
    cure: str = ""


Examination = Callable[[Mapping[str, str], str], Iterator[Finding]]


def examine(env: Mapping[str, str], server: str) -> list[Finding]:
    """Look at everything. An examination that fails is a finding of its own."""
    found: list[Finding] = []
    for look in EXAMINATIONS:
        try:
            found.extend(look(env, server))
        except (OSError, ValueError) as error:
            found.append(Finding(look.__name__.strip("_"), "warn", f"could not be looked at: {error}"))
    return found


def _platform(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()}"
    versions = f"leasehold {__version__}, Python {platform.python_version()}, {system}"
    if platform.system() != "Linux":
        yield Finding("versions", "warn", versions, "here only the client works; the server needs Linux")
    else:
        yield Finding("versions", "ok", versions)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_MIN:
        cure = f"raise the hard limit (`ulimit -Hn`) to {OPEN_FILES_MIN} or more"
        yield Finding(
            "open files", "warn", f"at most {hard} open files: fewer connections than planned for", cure
        )
    else:
        yield Finding(
            "open files",
            "ok",
            f"{soft} now, up to {'any number' if hard == resource.RLIM_INFINITY else hard}",
        )


def _settings(env: Mapping[str, str]) -> Settings:
    from leasehold.config import load

    return load({}, env).settings


def _configuration(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    from leasehold.config import ConfigError, load

    try:
        loaded = load({}, env)
    except ConfigError as error:
        yield Finding("configuration", "bad", str(error), "`leasehold config example` shows what can be set")
        return
    yield Finding(
        "configuration", "ok", str(loaded.file) if loaded.file else "no file; defaults and the environment"
    )


def _data(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    data = Path(where.data_dir(env))
    if not data.exists():
        parent = next(folder for folder in data.parents if folder.exists())
        if os.access(parent, os.W_OK):
            yield Finding("data folder", "ok", f"{data} will be made by `leasehold up`")
        else:
            yield Finding(
                "data folder", "bad", f"{data} can't be made", f"give yourself write access to {parent}"
            )
        return
    found = data.stat()
    if found.st_uid != os.geteuid():
        yield Finding(
            "data folder",
            "bad",
            f"{data} belongs to user {found.st_uid}",
            "set LEASEHOLD_DATA to a folder of yours",
        )
    elif not os.access(data, os.W_OK | os.X_OK):
        yield Finding("data folder", "bad", f"{data} can't be written", f"chmod u+rwx {data}")
    elif stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding("data folder", "warn", f"{data} can be opened by others", f"chmod 700 {data}")
    else:
        yield Finding("data folder", "ok", str(data))
    token = data / where.TOKEN
    if token.exists() and stat.S_IMODE(token.stat().st_mode) & 0o077:
        yield Finding(
            "token", "bad", f"others can read {token}", f"chmod 600 {token}, and restart the server"
        )


def _disk(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    data = Path(where.data_dir(env))
    there = next(folder for folder in (data, *data.parents) if folder.exists())
    found = os.statvfs(there)
    free, share = found.f_bavail * found.f_frsize, 100 * found.f_bavail // max(1, found.f_blocks)
    what = f"{bytes_text(free)} free where the data is ({share} %)"
    if share < FREE_BAD_PCT:
        yield Finding("disk", "bad", what, "free some space: without room nothing can be granted")
    elif share < FREE_WARN_PCT:
        yield Finding("disk", "warn", what, f"below {FREE_BAD_PCT} % the machine counts as full")
    else:
        yield Finding("disk", "ok", what)
    if found.f_flag & os.ST_RDONLY:
        yield Finding(
            "disk",
            "bad",
            f"{there} is on a read-only file system",
            "set LEASEHOLD_DATA to one that can be written",
        )


def _port(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    from leasehold.api.hosts import is_loopback
    from leasehold.cli import daemon
    from leasehold.config import ConfigError

    try:
        settings = _settings(env)
        running = daemon.holder(settings.data_path)
    except ConfigError:
        return
    except Failed as error:
        yield Finding("process", "bad", error.sentence)
        return
    if running is not None:
        yield Finding("process", "ok", f"the server of this folder is process {running}")
        return
    yield Finding("process", "warn", "no server runs on this data folder", "leasehold up")
    own = is_loopback(settings.host)
    wanted = [("LEASEHOLD_PORT", settings.host if own else "127.0.0.1", settings.port)]
    wanted += [] if own else [("LEASEHOLD_TLS__PORT", settings.host, settings.tls.port)]
    for variable, host, port in wanted:
        if port and _taken(host, port):
            cure = f"{variable}={port + 1} leasehold up, or stop what listens there"
            yield Finding("port", "bad", f"port {port} is taken by another program", cure)


def _taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _server(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    from leasehold.client.sync import Client
    from leasehold.model.errors import LeaseholdError

    try:
        with Client.first_of(where.candidates(env, server)) as client:
            yield from _answers(client)
    except Unreachable as error:
        cure = (
            "`kill -CONT` it if it was stopped, else `leasehold down` and `up`"
            if error.hangs
            else "leasehold up"
        )
        yield Finding("server", "bad", error.message, cure)
    except where.BadAddress as error:
        yield Finding("server", "bad", str(error), "mend LEASEHOLD_URL or --server")
    except LeaseholdError as error:
        cure = "if another server listens there, `leasehold up` with another LEASEHOLD_PORT starts your own"
        yield Finding("server", "bad", error.message, cure)


def _answers(client: Client) -> Iterator[Finding]:
    from leasehold.client import calls
    from leasehold.model.errors import LeaseholdError

    health = client.send(calls.HEALTH)
    if health.version != __version__:
        cure = "`leasehold down` and `up`, so that both are the same"
        yield Finding(
            "server", "warn", f"{client.endpoint} is version {health.version}, this is {__version__}", cure
        )
    else:
        yield Finding("server", "ok", f"{client.endpoint} answers, version {health.version}")
    try:
        client.send(calls.READY)
    except LeaseholdError as error:
        yield Finding("ready", "bad", error.message, "its log stands in the data folder, log/leasehold.log")
        return
    who = client.send(calls.WHOAMI)
    yield Finding("ready", "ok", f"commands are accepted; you are {who.name} ({who.role})")
    for name, why in client.send(calls.STATS).errors.items():
        yield Finding(
            f"collector {name}",
            "bad" if name == "host" else "warn",
            why,
            "nothing starts without measurements",
        )
    for notice in client.send(calls.STATUS).notices:
        yield Finding("notice", "warn", notice)


def _clock(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    """Leases do not depend on wall time; calendars and records do."""
    status = _adjtimex()
    if status is None or not status & UNSYNCHRONISED:
        yield Finding(
            "clock", "ok", "kept in step" if status is not None else "not known whether it is kept in step"
        )
    else:
        cure = "run a time service (chrony, systemd-timesyncd); leases are not affected, times in records are"
        yield Finding("clock", "warn", "the kernel says that nothing keeps the wall clock in step", cure)


def _adjtimex() -> int | None:
    """The status bits of adjtimex(2), read only; None where it can't be asked."""
    buffer = (ctypes.c_long * 64)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer))
    except AttributeError:
        return None
    # struct timex: modes (int, padded), offset, freq, maxerror, esterror, status (int), …
    return None if state < 0 else ctypes.cast(buffer, ctypes.POINTER(ctypes.c_int))[10]


def _certificate(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    """What other machines check the server with, where there is such a thing."""
    folder = Path(where.data_dir(env)) / "ca"
    for name, file in (("CA", "ca.pem"), ("certificate", "server.pem")):
        if (folder / file).exists():
            yield _lasting(name, folder / file)


def _lasting(name: str, path: Path) -> Finding:
    """How long a certificate still holds; the last quarter of its life is late for a renewal."""
    from cryptography import x509

    from leasehold.runtime.clock import RealClock

    found = x509.load_pem_x509_certificate(path.read_bytes())
    ends_s = found.not_valid_after_utc.timestamp()
    left_s = ends_s - RealClock().wall_ms() / 1000
    what = f"{path} holds until {found.not_valid_after_utc:%Y-%m-%d}"
    if 4 * left_s > ends_s - found.not_valid_before_utc.timestamp():
        return Finding(name, "ok", what)
    if name == "CA":
        cure = f"remove {path.with_name('authority.pem')}, restart, and give the new ca.pem to every client"
    else:
        cure = "a running server renews it; its log says why it could not (certificate_not_renewed)"
    return Finding(name, "warn" if left_s > 0 else "bad", what, cure)


def _pressure(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    missing = [name for name in ("cpu", "memory", "io") if not os.access(f"/proc/pressure/{name}", os.R_OK)]
    if missing:
        cure = "boot with psi=1, or a kernel with CONFIG_PSI; quietness is judged by use alone until then"
        yield Finding("pressure", "warn", f"the kernel tells no pressure for {', '.join(missing)}", cure)
    else:
        yield Finding("pressure", "ok", "the kernel tells cpu, memory and io pressure")


def _containment(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    """How leased work is held back, as a server started by this user could do it."""
    from leasehold.bootstrap import containment

    found = containment()
    if found.kind == "tree":
        yield Finding("low weight", "warn", *_halves(found.notes))
        return
    yield Finding("low weight", "ok", f"leased work runs in a {found.kind} of its own, at low cpu weight")
    if found.io_weight:
        yield Finding("io weight", "ok", "and at low io weight")
    else:
        yield Finding("io weight", "warn", *_halves(found.notes))
    missing = [what for what, has in (("cpu", found.cpu_limit), ("memory", found.memory_limit)) if not has]
    if missing:
        what = f"work can't be held to its {' and '.join(missing)} by `run --enforce`"
        cure = "a kernel and a parent cgroup with those controllers would do it; low weight works without"
        yield Finding("limits", "warn", what, cure)
    else:
        yield Finding("limits", "ok", "work can be held to its cores and memory (`run --enforce`)")
    if not found.freezer:
        yield Finding(
            "freezer", "warn", "leased work can't be frozen as a whole here; signals are used instead"
        )


def _runner(env: Mapping[str, str], server: str) -> Iterator[Finding]:
    """How the commands of the queue are run, as a server started by this user would run them."""
    from leasehold.bootstrap import runs

    found = runs()
    lacking = [
        what
        for what, has in (
            ("cores", found.cpu_limit),
            ("memory", found.memory_limit),
            ("processes", found.pids_limit),
        )
        if not has
    ]
    if not found.notes and not lacking:
        yield Finding(
            "commands", "ok", "are held to cores, memory and processes, and run as who submits them"
        )
        return
    if lacking and found.kind != "tree":
        what = f"commands of the queue can't be held to {' and '.join(lacking)}"
        yield Finding(
            "commands", "warn", what, "a kernel and a parent cgroup with those controllers would do it"
        )
    for note in found.notes:
        yield Finding("commands", "warn", *_halves((note,)))


def _halves(notes: tuple[str, ...]) -> tuple[str, str]:
    """A note as what is and what to do about it."""
    what, _, cure = " ".join(notes).partition("; ")
    return what, cure


EXAMINATIONS: tuple[Examination, ...] = (
    _platform,
    _configuration,
    _data,
    _disk,
    _port,
    _server,
    _certificate,
    _clock,
    _pressure,
    _containment,
    _runner,
)
"""All of them, in the order in which they are told."""
