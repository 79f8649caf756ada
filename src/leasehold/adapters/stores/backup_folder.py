"""The folder of backups: one folder each, a manifest in it that its own checksum guards.

A backup is made under a name that begins with a dot and gets its own name at one instant, when it is whole,
flushed, proven and stamped: what has a name of its own is a backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from leasehold.adapters.stores.data_folder import flush_folder
from leasehold.model.storage import FORMAT, FileSum, Listed, Manifest
from leasehold.ports.storage import BackupFailed

MANIFEST = "manifest.json"
PARTIAL = ".making-"
LOCK = ".lock"
PREFIX = "backup-"
LISTED_MAX = 1_000
MANIFEST_BYTES_MAX = 64 << 10
CHUNK = 1 << 20

_NAME = re.compile(r"backup-[0-9]{8}-[0-9]{6}(-[0-9]{1,4})?")


def sum_of(path: Path) -> FileSum:
    """Size and SHA-256 of a file, read from the disk. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            size += len(piece)
    return FileSum(size, digest.hexdigest())


def summed(manifest: Manifest) -> Manifest:
    """The manifest with the sum of all the rest of it."""
    bare = msgspec.json.encode(replace(manifest, sha256=""))
    return replace(manifest, sha256=hashlib.sha256(bare).hexdigest())


def written(manifest: Manifest) -> bytes:
    """The bytes of a manifest, the only ones that are taken for it: every other byte is damage."""
    return msgspec.json.format(msgspec.json.encode(summed(manifest)), indent=2) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises BackupFailed where it is missing, damaged, or of a later format."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise BackupFailed(f"{path} is damaged: it is larger than any manifest; choose another backup")
        found = path.read_bytes()
    except OSError as error:
        raise BackupFailed(f"{path} can't be read: {error.strerror}") from error
    try:
        manifest = msgspec.json.decode(found, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _is_later(found):
            raise BackupFailed(f"{path} is of a later version of leasehold: use that one") from error
        raise BackupFailed(f"{path} is damaged ({error}); choose another backup") from error
    if manifest.format > FORMAT:
        raise BackupFailed(f"{path} is of a later version of leasehold: use that one")
    if found != written(manifest):
        raise BackupFailed(f"{path} is damaged: it does not fit its own checksum; choose another backup")
    return manifest


def _is_later(found: bytes) -> bool:
    try:
        raw = msgspec.json.decode(found)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT


def found_in(root: Path) -> list[Listed]:
    """The backups of a folder, newest first by their numbers; those with a problem last."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BackupFailed(f"{root} can't be read: {error.strerror}; see backup.dir") from error
    listed: list[Listed] = []
    for name in names[-LISTED_MAX:]:
        try:
            manifest = read_manifest(root / name)
            problem = "" if manifest.backup_id == name else f"it says that it is {manifest.backup_id}"
            listed.append(Listed(name, None if problem else manifest, problem))
        except BackupFailed as error:
            listed.append(Listed(name, None, str(error)))
    return sorted(listed, key=_newest_first)


def _newest_first(one: Listed) -> tuple[bool, int, str]:
    return one.manifest is None, -one.manifest.number if one.manifest else 0, one.backup_id


def folder_of(root: Path, backup_id: str) -> Path:
    """The folder of a backup. Raises BackupFailed for a name that is none, or of none."""
    if not _NAME.fullmatch(backup_id) or not (root / backup_id).is_dir():
        raise BackupFailed(f"there is no backup {backup_id} in {root}; see `leasehold backup list`")
    return root / backup_id


def check_sums(folder: Path, manifest: Manifest, sums: dict[str, FileSum] | None = None) -> None:
    """Hold every file against the manifest: missing, changed and foreign ones raise BackupFailed."""
    names = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    if missing := sorted(manifest.files.keys() - names):
        raise BackupFailed(f"{manifest.backup_id} is damaged: {missing[0]} is missing; choose another backup")
    for name, expected in manifest.files.items():
        try:
            found = sums[name] if sums is not None else sum_of(folder / name)
        except (OSError, KeyError) as error:
            raise BackupFailed(f"{folder / name} can't be read: {error}; choose another backup") from error
        if found != expected:
            raise BackupFailed(
                f"{manifest.backup_id} is damaged: {name} is not what was written (SHA-256 "
                f"{found.sha256[:16]}… of {found.bytes:,} bytes, expected {expected.sha256[:16]}… of "
                f"{expected.bytes:,}); choose another backup"
            )


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """The folder, made where it is not there, for one who writes. Raises BackupFailed where another does."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackupFailed(f"{root} can't be written: {error.strerror}; see backup.dir") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise BackupFailed(f"another backup is being made in {root}; wait for it, and try again") from error
    try:
        discard(root)
        yield
    finally:
        os.close(lock)


def discard(root: Path) -> None:
    """Remove what backups that did not come to their end have left."""
    for entry in list(os.scandir(root)):
        if entry.name.startswith(PARTIAL):
            shutil.rmtree(entry.path, ignore_errors=True)


def free_name(root: Path, stamp: str) -> str:
    """A name for a backup that is made now: the time, and a number where that second has one already."""
    for number in range(1, 10_000):
        name = f"{PREFIX}{stamp}" + (f"-{number}" if number > 1 else "")
        if not (root / name).exists():
            return name
    raise BackupFailed(f"there are too many backups of one second in {root}; remove some")


def next_number(listed: Sequence[Listed]) -> int:
    """Above all that are there, whatever the clock said when they were made."""
    return 1 + max((one.manifest.number for one in listed if one.manifest), default=0)


def stamp(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with its sum, and make it and the names beside it durable."""
    descriptor = os.open(folder / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(written(manifest))
        file.flush()
        os.fsync(file.fileno())
    flush_folder(folder)
    return summed(manifest)


def drop(root: Path, backup_id: str) -> None:
    """Remove a backup: it loses its name first, so what is half removed is none."""
    folder = folder_of(root, backup_id)
    gone = root / f"{PARTIAL}{backup_id}"
    try:
        os.replace(folder, gone)
        flush_folder(root)
        shutil.rmtree(gone)
    except OSError as error:
        raise BackupFailed(f"{folder} can't be removed: {error}") from error
