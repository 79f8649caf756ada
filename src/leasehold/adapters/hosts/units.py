"""Services of systemd, by `systemctl show`, whose output is for programs: where one runs, stop, start."""

from __future__ import annotations

import os
import subprocess

from leasehold.ports.host import TargetUnknown, TargetUnreachable

BOOTED = "/run/systemd/system"
"""There where systemd is the init of this machine (`sd_booted(3)`)."""

ASK_S = 5.0
STOP_S = 100.0  # systemd's own limit for a stop is 90 s


class Unit:
    """One unit. `pid` and `cgroup` are 0 and "" where it has none, as while it does not run."""

    __slots__ = ("cgroup", "pid")

    def __init__(self, pid: int, cgroup: str) -> None:
        self.pid = pid
        self.cgroup = cgroup


def find(name: str) -> Unit:
    """Raises TargetUnknown, TargetUnreachable."""
    properties = "LoadState,ActiveState,MainPID,ControlGroup"
    rows = _systemctl("show", f"--property={properties}", "--", name, timeout_s=ASK_S).splitlines()
    found = dict(row.split("=", 1) for row in rows if "=" in row)
    if found.get("LoadState") != "loaded":
        raise TargetUnknown(f"systemd knows no unit {name} ({found.get('LoadState') or 'no answer'})")
    if found.get("ActiveState") not in ("active", "reloading", "activating", "deactivating"):
        return Unit(0, "")
    pid = found.get("MainPID", "")
    return Unit(int(pid) if pid.isdecimal() else 0, found.get("ControlGroup", ""))


def stop(name: str) -> None:
    """Returns once it has stopped. Raises TargetUnreachable."""
    _systemctl("stop", "--", name, timeout_s=STOP_S)


def start(name: str) -> None:
    """Raises TargetUnreachable."""
    _systemctl("start", "--", name, timeout_s=STOP_S)


def _systemctl(*arguments: str, timeout_s: float) -> str:
    if not os.path.isdir(BOOTED):
        raise TargetUnreachable(
            "systemd does not run this machine, so there are no units; guard a cgroup: or a pid:"
        )
    try:
        done = subprocess.run(
            ["systemctl", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetUnreachable(f"systemctl {arguments[0]}: {error}") from error
    if done.returncode:
        raise TargetUnreachable(f"systemctl {arguments[0]}: {done.stderr.strip()[:200]}")
    return done.stdout
