"""Care of what is stored, of a running server by its API and of a stopped one by hand: the same calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session

if TYPE_CHECKING:
    from leasehold.config import Settings
    from leasehold.wire.storage import BackupOut, Backups, Loss, StorageOut

LONG_S = 3_600.0
"""A large store takes its time."""

RESTART_S = 120.0
POLL_S = 0.2


class Care(Protocol):
    """What can be done, wherever."""

    afterwards: str
    """What comes after a restore."""

    def backups(self) -> Backups: ...

    def make(self) -> BackupOut: ...

    def check(self, backup_id: str) -> BackupOut: ...

    def loss(self, backup_id: str) -> Loss | None: ...

    def restore(self, backup_id: str) -> str:
        """Returns where the store before is kept."""
        ...

    def compact(self) -> int:
        """Returns the bytes that were given back."""
        ...

    def report(self) -> StorageOut: ...


def care_of(session: Session) -> Care:
    """The running server that this caller means; where none runs, this user's own data folder."""
    from leasehold.cli import daemon
    from leasehold.client.lean import Unreachable
    from leasehold.config import load

    try:
        return OfServer(session, session.client)
    except Unreachable as error:
        if session.server or session.env.get("LEASEHOLD_URL"):
            raise
        settings = load({}, session.env).settings
        pid = daemon.holder(settings.data_path)
        if pid is not None:
            raise Failed(
                exits.UNREACHABLE,
                f"process {pid} holds {settings.data_path} and does not answer ({error.message}); stop it by "
                "`leasehold down`, then try again",
            ) from None
        return OfFolder(settings)


class OfServer:
    """By the API."""

    afterwards = "the server has started anew; leases are lost until their holders are heard of again"

    def __init__(self, session: Session, client: object) -> None:
        del client  # It is there: that was asked.
        self._session = session

    def backups(self) -> Backups:
        from leasehold.client import calls

        return self._session.client.send(calls.BACKUPS)

    def make(self) -> BackupOut:
        from leasehold.client import calls
        from leasehold.wire.storage import BackupIn

        self._session.progress("a backup is being made…")
        return self._session.client.send(calls.MAKE_BACKUP, BackupIn(), timeout_s=LONG_S)

    def check(self, backup_id: str) -> BackupOut:
        from leasehold.client import calls

        path = {"backup_id": backup_id}
        return self._session.client.send(calls.CHECK_BACKUP, path=path, timeout_s=LONG_S)

    def loss(self, backup_id: str) -> Loss | None:
        from leasehold.client import calls
        from leasehold.wire.storage import RestoreIn

        body = RestoreIn(backup_id, dry_run=True)
        return self._session.client.send(calls.RESTORE, body, timeout_s=LONG_S).loss

    def restore(self, backup_id: str) -> str:
        from leasehold.client import calls
        from leasehold.wire.storage import RestoreIn

        asked = self._session.client.send(calls.RESTORE, RestoreIn(backup_id), timeout_s=LONG_S)
        return self._came_back(asked.restore_id)

    def _came_back(self, restore_id: str) -> str:
        """Wait for the server's next start, and for what it says of the restore."""
        from leasehold.client import calls
        from leasehold.client.lean import Unreachable
        from leasehold.model.errors import LeaseholdError
        from leasehold.runtime.lean import elapsed_s, pause

        end_s = elapsed_s() + RESTART_S
        while elapsed_s() < end_s:
            self._session.progress("the server starts anew…")
            pause(POLL_S)
            try:
                runs = self._session.fresh_client().send(calls.STORAGE).runs
            except (Unreachable, LeaseholdError):
                continue
            for run in runs:
                if run.run_id == restore_id:
                    if run.why:
                        raise Failed(exits.CONFLICT, f"not restored: {run.why}")
                    return run.kept
        raise Failed(
            exits.UNREACHABLE,
            f"the server has not said within {RESTART_S:g} s what came of it; `leasehold store show` does",
        )

    def compact(self) -> int:
        from leasehold.client import calls
        from leasehold.wire.storage import CompactIn

        self._session.progress("the store is being compacted…")
        return self._session.client.send(calls.COMPACT, CompactIn(), timeout_s=LONG_S).bytes

    def report(self) -> StorageOut:
        from leasehold.client import calls

        return self._session.client.send(calls.STORAGE)


class OfFolder:
    """By hand, on a stopped server's data folder."""

    afterwards = "`leasehold up` starts on it; leases are lost until their holders are heard of again"

    def __init__(self, settings: Settings) -> None:
        import logging

        import structlog

        from leasehold.bootstrap import Stopped

        # What is worth saying is said by the verb.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._settings = settings
        self._stopped = Stopped(settings)

    def backups(self) -> Backups:
        from leasehold.control import storage_views
        from leasehold.wire.storage import Backups

        with _told():
            found = [storage_views.listed(one) for one in self._stopped.backups.listed()]
        backup = self._settings.backup
        return Backups(str(self._settings.backup_path), backup.keep, backup.enabled, found)

    def make(self) -> BackupOut:
        from leasehold.control import storage_views

        self._refuse_nothing()
        with _told():
            return storage_views.backup(self._stopped.make())

    def check(self, backup_id: str) -> BackupOut:
        from leasehold.control import storage_views

        with _told():
            return storage_views.backup(self._stopped.backups.check(backup_id))

    def loss(self, backup_id: str) -> Loss | None:
        return self._stopped.loss(backup_id)

    def restore(self, backup_id: str) -> str:
        with _told():
            kept = self._stopped.restore(backup_id, f"user:{os.getuid()}")
        return str(kept) if kept is not None else ""

    def compact(self) -> int:
        self._refuse_nothing()
        with _told():
            before, after = self._stopped.compact()
        return max(0, before - after)

    def report(self) -> StorageOut:
        raise Failed(
            exits.UNREACHABLE,
            "no server runs here that could tell; `leasehold backup list` shows the backups",
        )

    def _refuse_nothing(self) -> None:
        data: Path = self._settings.data_path
        if not data.exists():
            raise Failed(exits.NOT_FOUND, f"there is no {data}: nothing is stored here yet")


@contextmanager
def _told() -> Iterator[None]:
    """Errors of files as this program's own."""
    from leasehold.ports.store import StoreError

    try:
        yield
    except StoreError as error:
        raise Failed(exits.CONFLICT, str(error)) from None
    except OSError as error:
        raise Failed(exits.BAD_FILE, f"{error.filename or 'a file'}: {error.strerror}") from None
