"""The data folder: made private, on a disk of this machine, and held by one process for its life."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from leasehold.ports.store import StoreError

LOCK_NAME = "leader.lock"

# fmt: off
NETWORK_FILE_SYSTEMS = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph-fuse", "fuse.davfs2",
    "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3",
    "smbfs", "vboxsf", "virtiofs",
))
# fmt: on
"""Types where a lock may not hold between machines, or shared memory does not exist, or both."""


def prepare(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Make the folder (0700) and refuse one that is not on a disk of this machine."""
    try:
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            flush_folder(folder.parent)
        kind = file_system(os.stat(folder).st_dev, folder.resolve(), mountinfo)
    except OSError as exc:
        raise StoreError(f"the data folder {folder} can't be used: {exc.strerror}") from exc
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"the data folder {folder} is on a network or shared file system ({kind}), where a lock does not "
            "keep a second server out: choose a folder on a disk of this machine (LEASEHOLD_DATA)"
        )


def file_system(device: int, path: Path, mountinfo: Path) -> str:
    """The type of the file system that holds `path`, as the kernel names it; empty: it can't be told."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    deepest, kind = -1, ""
    try:
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        _, _, numbers, _, mounted_at, *_ = fields.split(" ")
        mount = Path(mounted_at.replace("\\040", " "))
        on_path = path == mount or mount in path.parents
        depth = len(mount.parts) + (1_000 if numbers == wanted else 0)
        if on_path and depth >= deepest:
            deepest, kind = depth, rest.split(" ", 1)[0]
    return kind


def flush_folder(folder: Path) -> None:
    """Make names that were created or removed in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LeaderLock:
    """An advisory lock on `<data>/leader.lock`. The kernel frees it when its process ends, in any way."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None

    def take(self) -> None:
        """Hold the lock, or raise StoreError that names who does."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"{self._path} can't be opened: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"{self._path} is held by process {holder or 'unknown'}: another server uses this folder; "
                "stop it (`leasehold down`), or choose another folder (LEASEHOLD_DATA)"
            ) from exc
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # On a full disk a message lacks the pid; the lock still holds.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
