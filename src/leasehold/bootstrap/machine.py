"""What this machine is, by the adapters that find it out."""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.adapters.hosts.made_up import MadeUpHost
from leasehold.adapters.hosts.run_folder import places_of
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.core.made_up import rhythm_of
from leasehold.model.charge import Totals
from leasehold.model.lease import UNLIMITED
from leasehold.model.made_up import MadeUp
from leasehold.model.run import RunnerCapabilities
from leasehold.model.work import Containment, WorkQuery
from leasehold.ports.clock import Clock
from leasehold.ports.host import Host
from leasehold.runtime.redaction import SECRET_KEY

RUNS = "runs"
"""The folder of commands that run or have run, within the data folder."""

FULL_BYTES = 1 << 20
"""With less room than this, an error of the store at start is taken for a full disk, and waited for."""


def disk_is_full(data: Path) -> bool:
    found = os.statvfs(data)
    return found.f_bavail * found.f_frsize < FULL_BYTES


def containment() -> Containment:
    """How leased work is held on this machine by a server of this user."""
    return LinuxWork().containment()


def runs() -> RunnerCapabilities:
    """How commands of the queue are held on this machine by a server of this user."""
    return LinuxWork().runs()


def let_go(data: Path) -> None:
    """Thaw and loosen all work that a server of this data folder has left in its places.

    No limit stays but those of commands: they run on, and are found again.
    """
    work = LinuxWork(cgroup_home(data))
    brakes = work.brakes()
    left = [WorkQuery(lease_id, cgroup=lease_id) for lease_id in brakes.held()]
    brakes.thaw(left)
    brakes.loosen(left)
    of_commands = places_of(data / RUNS)
    for place in work.places():
        if place not in of_commands:
            work.limit(place, UNLIMITED)


def detect() -> tuple[str, str]:
    """The preset that suits this machine, and why."""
    return LinuxHost("/").preset()


def cgroup_home(data: Path) -> str:
    """The cgroup under which this server's leases stand.

    Its own, so that two servers never tidy up each other's.
    """
    return f"leasehold-{hashlib.blake2b(str(data.resolve()).encode(), digest_size=4).hexdigest()}"


def host_of(data: Path, made_up: MadeUp | None, clock: Clock) -> Host:
    """This machine; for a folder of `leasehold demo` one that does not exist."""
    real = LinuxHost(str(data))
    return real if made_up is None else MadeUpHost(rhythm_of(made_up), real, clock.wall_ms)


def totals_of(host: Host, now_ms: int, data: Path) -> Totals:
    """What the node has, until the first measurement says it."""
    counters = host.counters(now_ms)
    free = os.statvfs(data)
    return Totals(
        cpu_millicores=1_000 * len(counters.cores),
        memory_bytes=counters.memory_total_bytes,
        disk_bytes=free.f_frsize * free.f_blocks,
    )


def secrets(env: Mapping[str, str]) -> list[str]:
    """Values of the environment whose names say that they are secret."""
    return [value for name, value in sorted(env.items()) if SECRET_KEY.search(name)]


def uid_of(user: str) -> int | None:
    """The number of a user of this machine, by name or number; None where there is none."""
    try:
        return pwd.getpwuid(int(user)).pw_uid if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except (KeyError, OverflowError):
        return None
