"""Letting work go on without a server: its cgroup is thawed by hand, where this user may (LEASE-14)."""

from __future__ import annotations

MOUNTED = {"freezer": ("freezer.state", "THAWED"), "": ("cgroup.freeze", "0")}
"""By hierarchy, v1's freezer and v2: the file of a cgroup that freezes it, and what thaws it."""


def thaw(pid: int, lease_id: str) -> bool:
    """Thaw the cgroup of this lease in which `pid` stands. False where there is none, or it may not be."""
    return sum(_write(folder, *MOUNTED[name]) for name, folder in _folders(pid, lease_id)) > 0


def _folders(pid: int, lease_id: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in _lines(f"/proc/{pid}/cgroup"):
        _, names, path = line.split(":", 2)
        for name in MOUNTED:
            if name in names.split(",") and path.rsplit("/", 1)[-1] == lease_id:
                found.extend((name, mount + path) for mount in _mounts(name))
    return found


def _mounts(name: str) -> list[str]:
    kind = "cgroup" if name else "cgroup2"
    rows = [line.split(" ") for line in _lines("/proc/self/mounts")]
    return [row[1] for row in rows if row[2] == kind and (not name or name in row[3].split(","))]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _write(folder: str, name: str, text: str) -> bool:
    try:
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True
