"""A backup takes the place of a store, at one instant (OPS-15).

What is to be done is noted durably first. Whoever opens the data folder next finishes it, under the leader's
lock and before anything reads the store; so whatever ends this (an error, a kill, the power), the store is
the one before or the restored one, whole, and never a third. The one before stays beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from leasehold.adapters.stores import backup_folder, sqlite_copy, sqlite_schema
from leasehold.adapters.stores.data_folder import flush_folder
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.core.storage import REPLACED
from leasehold.model.storage import FileSum, Intent, Manifest, Numbers
from leasehold.ports.storage import BackupFailed
from leasehold.runtime.faults import fault

log = structlog.get_logger(__name__)

INTENT = "restore.json"
RESTORING = f"{FILE_NAME}.restoring"
REPLACED_KEPT = 3
BESIDE = ("-journal", "-wal", "-shm")
SPARE_BYTES = 16 << 20
BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What any look at a damaged store may raise."""

STEPS = ("verified", "copied", "marked", "settled", "placed", "flushed", "done")
"""The points after which a test breaks in, as `store.restore.<step>`."""

Puts = Sequence[tuple[str, bytes]]
Marks = Callable[[Manifest, Mapping[str, bytes], Intent], tuple[Puts, Sequence[str]]]
"""Given the backup, some live records of the store before (`CARRIED`; none where it can't be read) and the
intent: records that the restored store gets before anybody opens it, and keys that it loses.
"""

CARRIED = ("/meta/", "/revoked/")
"""Prefixes of the records of the store before that have a say in the restored one."""


def intend(data: Path, intent: Intent) -> None:
    """Note what is to be done, durably. Raises OSError."""
    draft = data / f"{INTENT}.new"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(intent))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, data / INTENT)
    flush_folder(data)


def intended(data: Path) -> Intent | None:
    """What was noted; None where nothing is, or nothing that can be read."""
    try:
        return msgspec.json.decode((data / INTENT).read_bytes(), type=Intent)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("restore_intent_unreadable", path=str(data / INTENT), why=str(error))
        return None


def forget(data: Path) -> None:
    """What was noted is done, or can't be."""
    (data / INTENT).unlink(missing_ok=True)
    flush_folder(data)


def finish(data: Path, intent: Intent, marker: str, marks: Marks) -> Path | None:
    """Restore as noted, and forget it. Returns where the store before is kept, None where there was none.

    `marker` is the key of a record that a store restored by this very intent has: what is done is not done
    again. The caller holds the leader's lock and has no connection open. Raises BackupFailed with the store
    as it was, and nothing noted any more.
    """
    path, kept = data / FILE_NAME, data / intent.kept
    try:
        _discard(data)
        _save_journal(path, kept)
        if not _is_done(path, kept, marker):
            _put_back(path, kept)
            _save_journal(path, kept)
            _replace(data, intent, marks)
        fault("store.restore.flushed")
        forget(data)
    except BaseException as error:
        _discard(data)
        if not _is_done(path, kept, marker):
            _put_back(path, kept)
        if not isinstance(error, (BackupFailed, OSError, *BROKEN)):
            raise
        forget(data)
        if isinstance(error, BackupFailed):
            raise
        raise BackupFailed(
            f"{intent.backup_id} could not be restored ({error}): nothing was changed"
        ) from error
    _samples(data, intent)
    _forget_older(data)
    fault("store.restore.done")
    log.warning("store_restored", backup_id=intent.backup_id, by=intent.by, kept=str(kept))
    return kept if kept.exists() else None


def _replace(data: Path, intent: Intent, marks: Marks) -> None:
    path, copy = data / FILE_NAME, data / RESTORING
    folder = Path(intent.folder)
    manifest = backup_folder.read_manifest(folder)
    _refuse_without_room(data, manifest)
    fault("store.restore.verified")
    _copied(folder / FILE_NAME, copy, manifest.files[FILE_NAME], manifest)
    fault("store.restore.copied")
    _mark(copy, path, *marks(manifest, _carried(path), intent))
    fault("store.restore.marked")
    _settle(path, data / intent.kept)
    fault("store.restore.settled")
    os.replace(copy, path)
    fault("store.restore.placed")
    flush_folder(data)


def _samples(data: Path, intent: Intent) -> None:
    """The history of measurements comes back where there is none; without it all works too."""
    folder, draft = Path(intent.folder), data / f"{SAMPLES}.restoring"
    try:
        manifest = backup_folder.read_manifest(folder)
        if SAMPLES in manifest.files and not (data / SAMPLES).exists():
            _copied(folder / SAMPLES, draft, manifest.files[SAMPLES], manifest)
            os.replace(draft, data / SAMPLES)
    except (BackupFailed, OSError) as error:
        draft.unlink(missing_ok=True)
        log.warning("samples_not_restored", why=str(error))


def _refuse_without_room(data: Path, manifest: Manifest) -> None:
    disk = os.statvfs(data)
    free, needed = disk.f_bavail * disk.f_frsize, manifest.bytes + SPARE_BYTES
    if free < needed:
        raise BackupFailed(
            f"{manifest.backup_id} is not restored: {needed >> 20:,} MiB are needed in {data} and "
            f"{free >> 20:,} MiB are free; make room there (nothing was changed)"
        )
    if manifest.schema > len(sqlite_schema.MIGRATIONS):
        raise BackupFailed(
            f"{manifest.backup_id} has schema {manifest.schema}, and this version of leasehold knows "
            f"{len(sqlite_schema.MIGRATIONS)}: restore it with leasehold {manifest.version} (nothing was "
            "changed)"
        )


def _copied(source: Path, target: Path, expected: FileSum, manifest: Manifest) -> None:
    """Copy, and hold the very bytes that were copied against the manifest."""
    digest, size = hashlib.sha256(), 0
    with (
        source.open("rb") as reading,
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as writing,
    ):
        while piece := reading.read(backup_folder.CHUNK):
            digest.update(piece)
            size += len(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    found = FileSum(size, digest.hexdigest())
    if found != expected:
        backup_folder.check_sums(source.parent, manifest, {**manifest.files, source.name: found})


def _mark(copy: Path, path: Path, puts: Puts, gone: Sequence[str]) -> None:
    """Put what the restored store has to say of itself, and let its numbers never fall behind the others."""
    before, audited = _numbers(path)
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO live (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            puts,
        )
        connection.executemany("DELETE FROM live WHERE key = ?", [(key,) for key in gone])
        connection.execute(
            "UPDATE meta SET batch_seq = max(batch_seq, ?), last_event = max(last_event, ?)",
            (before.batch_seq, before.last_event),
        )
        if audited:  # Whoever follows the audit goes by its numbers.
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'audit' AND seq < ?", (audited,))
            connection.execute(
                "INSERT INTO sqlite_sequence SELECT 'audit', ? WHERE NOT EXISTS"
                " (SELECT 1 FROM sqlite_sequence WHERE name = 'audit')",
                (audited,),
            )
        connection.execute("COMMIT")
    descriptor = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(path: Path) -> tuple[Numbers, int]:
    """Of the store before, as far as it can be read; and the last number of its audit."""
    try:
        with contextlib.closing(_opened(path)) as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
            return sqlite_copy.numbers_of(connection), int(row[0]) if row else 0
    except (*BROKEN, OSError, TypeError):
        return Numbers(0, 0, 0), 0


def _carried(path: Path) -> dict[str, bytes]:
    """Records of the store before that matter beyond it; none where they can't be read."""
    found: dict[str, bytes] = {}
    try:
        with contextlib.closing(_opened(path)) as connection:
            for prefix in CARRIED:
                query = "SELECT key, value FROM live WHERE key >= ? AND key < ?"
                found.update(connection.execute(query, (prefix, prefix[:-1] + "0")).fetchall())
    except (*BROKEN, OSError):
        return {}
    return found


def _value_of(path: Path, key: str) -> bytes | None:
    """A live record of the store that is in place, None where there is none or it can't be read."""
    try:
        with contextlib.closing(_opened(path)) as connection:
            row = connection.execute("SELECT value FROM live WHERE key = ?", (key,)).fetchone()
    except (*BROKEN, OSError):
        return None
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def _opened(path: Path) -> sqlite3.Connection:
    """Raises OSError where there is no file: none is made."""
    path.stat()
    return sqlite3.connect(path, 5.0, isolation_level=None)


# -- the store before


def _save_journal(path: Path, kept: Path) -> None:
    """Copy the journal before anything opens the file: SQLite removes one that it can make nothing of."""
    aside, journal = Path(f"{kept}-wal"), Path(f"{path}-wal")
    if aside.exists() or not journal.exists() or (kept.exists() and not kept.samefile(path)):
        return
    draft = Path(f"{aside}.new")
    shutil.copyfile(journal, draft)
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, aside)


def _settle(path: Path, kept: Path) -> None:
    """Move the journal into the file; where that is damaged, its copy stays beside what is kept.

    A journal that stayed would be replayed into the restored file.
    """
    if not path.exists():
        for suffix in BESIDE:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return
    with contextlib.suppress(*BROKEN), contextlib.closing(_opened(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if _is_sound(path):
        if Path(f"{path}-wal").exists():
            raise BackupFailed(
                f"{path} can't be replaced while another program has it open: end that program, and try "
                "again (nothing was changed)"
            )
        Path(f"{kept}-wal").unlink(missing_ok=True)
    _second_name(path, kept)
    flush_folder(path.parent)
    for suffix in BESIDE:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    flush_folder(path.parent)


def _is_sound(path: Path) -> bool:
    """Whether SQLite can make anything of the file: then all that was committed is in it now."""
    try:
        with contextlib.closing(_opened(path)) as connection:
            connection.execute("SELECT batch_seq FROM meta").fetchone()
            return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]
    except BROKEN:
        return False


def _second_name(name: Path, other: Path) -> None:
    """The store before keeps it when the first one goes to the restored file."""
    if other.exists():
        return
    try:
        os.link(name, other)
    except OSError:  # A file system without second names.
        shutil.copy2(name, other)
        with open(other, "rb+") as file:
            os.fsync(file.fileno())


def _is_done(path: Path, kept: Path, marker: str) -> bool:
    """Whether the restored file stands in its place already."""
    if not path.exists() or (kept.exists() and kept.samefile(path)):
        return False
    return _value_of(path, marker) is not None


def _put_back(path: Path, kept: Path) -> None:
    """A restore that ended before the file was replaced: the journal that was there belongs to it again.

    What of it is in the file already is written once more, and changes nothing.
    """
    aside, journal = Path(f"{kept}-wal"), Path(f"{path}-wal")
    if aside.exists():
        if path.exists() and (not journal.exists() or not journal.stat().st_size):
            os.replace(aside, journal)
        else:
            aside.unlink()
    if kept.exists() and path.exists():
        kept.unlink()
    flush_folder(path.parent)


def _discard(data: Path) -> None:
    """Remove what a restore that did not come to its end has left."""
    for name in (RESTORING, *(f"{RESTORING}{suffix}" for suffix in BESIDE), f"{SAMPLES}.restoring"):
        (data / name).unlink(missing_ok=True)
    for draft in data.glob(f"{REPLACED}*-wal.new"):
        draft.unlink(missing_ok=True)


def _forget_older(data: Path) -> None:
    """A few replaced stores are enough; their names sort by time."""
    kept = sorted(each for each in data.glob(f"{REPLACED}*") if not each.name.endswith(BESIDE))
    for old in kept[:-REPLACED_KEPT]:
        for name in (old, *(Path(f"{old}{suffix}") for suffix in BESIDE)):
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)
