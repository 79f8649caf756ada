"""The care of a data folder by its concrete parts: for a running server, and for a stopped one (OPS-15)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from leasehold import __version__
from leasehold.adapters.stores import sqlite_restore, sqlite_space
from leasehold.adapters.stores.backup_folder import folder_of
from leasehold.adapters.stores.backups import Backups
from leasehold.adapters.stores.data_folder import LeaderLock, prepare
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_migrate import discard
from leasehold.bootstrap.proof import COMMAND
from leasehold.config import Settings
from leasehold.control import recovery, storage_views
from leasehold.core.storage import kept_name, surplus
from leasehold.model.storage import Intent, Manifest
from leasehold.ports.storage import BackupFailed
from leasehold.ports.store import StoreError
from leasehold.runtime.clock import RealClock
from leasehold.runtime.ids import RandomIds
from leasehold.wire.storage import Loss


def backups_of(data: Path, root: Callable[[], Path]) -> Backups:
    """The backups of a data folder."""
    return Backups(data, root, wall_ms=RealClock().wall_ms, version=__version__, prove=COMMAND)


def finish_restore(data: Path) -> tuple[Intent, str] | None:
    """Under the leader's lock, before the store is opened: do what was asked for, if anything was.

    Returns the intent and why it could not be done, "" where it was; None where nothing was asked for.
    """
    intent = sqlite_restore.intended(data)
    if intent is None:
        with contextlib.suppress(OSError):
            if (data / sqlite_restore.INTENT).exists():
                sqlite_restore.forget(data)  # Half a note is none: it was never answered.
        return None
    try:
        _finish(data, intent)
    except BackupFailed as error:
        return intent, str(error)
    return intent, ""


def _finish(data: Path, intent: Intent) -> Path | None:
    return sqlite_restore.finish(data, intent, recovery.marker_of(intent.restore_id), recovery.marks)


class Stopped:
    """The care of a data folder whose server is stopped. Raises StoreError where it is not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data = settings.data_path
        self.backups = backups_of(self._data, lambda: settings.backup_path)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        prepare(self._data)
        lock = LeaderLock(self._data)
        lock.take()
        try:
            finish_restore(self._data)
            yield
        finally:
            lock.release()

    def make(self) -> Manifest:
        """A backup of what is there, and drop those that are too many."""
        with self._held():
            made = self.backups.make("command", samples=self._settings.backup.samples)
        manifests = [one.manifest for one in self.backups.listed() if one.manifest is not None]
        for old in surplus(manifests, self._settings.backup.keep):
            self.backups.drop(old.backup_id)
        return made

    def loss(self, backup_id: str) -> Loss | None:
        """What a restore would lose, as far as that can be told."""
        try:
            return storage_views.loss(self.backups.since(backup_id))
        except (StoreError, sqlite3.Error, UnicodeDecodeError, OSError):
            return None

    def restore(self, backup_id: str, by: str) -> Path | None:
        """Put a backup in the place of the store; return where the store before is kept."""
        self.backups.check(backup_id)
        wall_ms = RealClock().wall_ms()
        intent = Intent(
            restore_id=RandomIds().new("care"),
            backup_id=backup_id,
            folder=str(folder_of(self._settings.backup_path, backup_id)),
            kept=kept_name(wall_ms),
            by=by,
            asked_wall_ms=wall_ms,
        )
        with self._held():
            sqlite_restore.intend(self._data, intent)
            return _finish(self._data, intent)

    def compact(self) -> tuple[int, int]:
        """Write the whole store anew; its bytes before and after."""
        path = self._data / FILE_NAME
        if not path.exists():
            raise StoreError(f"there is no store in {self._data}")
        with self._held():
            discard(path)
            try:
                return sqlite_space.rewrite(path)
            except sqlite3.Error as error:
                raise StoreError(f"{path} could not be compacted ({error}); it is as it was") from error
