"""Backups of a data folder, as calls that block: made, proven, checked, removed (OPS-15).

The command line calls them on a stopped server, `sqlite_storage` from a thread of a running one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from leasehold.adapters.stores import backup_folder as folders
from leasehold.adapters.stores import sqlite_copy
from leasehold.adapters.stores.data_folder import flush_folder
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.model.storage import Listed, Manifest, Numbers, Proof, Since
from leasehold.ports.storage import BackupFailed
from leasehold.runtime.faults import fault
from leasehold.runtime.lean import elapsed_s

log = structlog.get_logger(__name__)

SPARE_BYTES = 16 << 20
"""Room that a backup leaves on its disk beside itself."""

PROOF_S_MAX = 3_600
POLL_S = 0.02

SINCE_MAX = 10_000

_AGAIN = """
SELECT count(*) FROM old.jobs WHERE key IN (SELECT key FROM main.finished WHERE noun = '/jobs/')
    AND key NOT IN (SELECT key FROM main.jobs)
"""


class Backups:
    """Of one data folder. `prove` is the command that proves the folder named behind it.

    `root` gives the folder of backups as it is set now; `wall_ms` the time that backups are named by.
    `stopped` says that whatever runs is to end.
    """

    def __init__(
        self,
        data: Path,
        root: Callable[[], Path],
        *,
        wall_ms: Callable[[], int],
        version: str,
        prove: Sequence[str],
    ) -> None:
        self.data = data
        self.root = root
        self.stopped = False
        self._wall_ms = wall_ms
        self._version = version
        self._prove = tuple(prove)

    def listed(self) -> list[Listed]:
        """All backups, the newest first. Raises BackupFailed."""
        return folders.found_in(self.root())

    def make(self, reason: str, *, samples: bool, unreadable: int = 0) -> Manifest:
        """Copy, prove, stamp, and name it at one instant. Raises BackupFailed; then nothing of it is left."""
        root = self.root()
        with folders.held(root):
            self._refuse_without_room(root, samples)
            made_ms = self._wall_ms()
            stamp = datetime.fromtimestamp(made_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
            name = folders.free_name(root, stamp)
            partial = root / f"{folders.PARTIAL}{name}"
            try:
                manifest = self._made(partial, name, reason, made_ms, samples, unreadable)
                os.replace(partial, root / name)
                fault("backup.placed")
                flush_folder(root)
            except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
                raise BackupFailed(f"{root / name} could not be made: {_said(error)}") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            fault("backup.done")
            log.info("backup_made", backup_id=name, bytes=manifest.bytes, folder=str(root))
            return manifest

    def _made(
        self, partial: Path, name: str, reason: str, made_ms: int, samples: bool, unreadable: int
    ) -> Manifest:
        partial.mkdir(mode=0o700)
        numbers, counts = sqlite_copy.copied(self.data / FILE_NAME, partial / FILE_NAME, self._go_on)
        if samples and (self.data / SAMPLES).exists():
            sqlite_copy.copied_plain(self.data / SAMPLES, partial / SAMPLES, self._go_on)
        fault("backup.copied")
        proof = self._proven(partial)
        fault("backup.proven")
        self._compare(name, numbers, counts, proof, unreadable)
        manifest = Manifest(
            backup_id=name,
            number=folders.next_number(self.listed()),
            reason=reason,
            made_wall_ms=made_ms,
            proven_wall_ms=self._wall_ms(),
            version=self._version,
            schema=proof.schema,
            batch_seq=proof.batch_seq,
            last_event=proof.last_event,
            incarnation=proof.incarnation,
            counts=proof.counts,
            files=proof.files,
            unreadable=proof.unreadable,
        )
        manifest = folders.stamp(partial, manifest)
        fault("backup.stamped")
        return manifest

    def check(self, backup_id: str) -> Manifest:
        """Restore it into a scratch process again, and hold it against its manifest. Raises BackupFailed."""
        folder = folders.folder_of(self.root(), backup_id)
        manifest = folders.read_manifest(folder)
        if manifest.backup_id != backup_id:
            raise BackupFailed(f"{folder} is not what its name says: it is {manifest.backup_id}")
        folders.check_sums(folder, manifest)
        proof = self._proven(folder)
        folders.check_sums(folder, manifest, proof.files)
        expected = Numbers(manifest.incarnation, manifest.batch_seq, manifest.last_event)
        self._compare(backup_id, expected, manifest.counts, proof, manifest.unreadable)
        return manifest

    def since(self, backup_id: str) -> Since:
        """What the store has that a backup does not. Raises BackupFailed, sqlite3.Error."""
        folder = folders.folder_of(self.root(), backup_id)
        manifest = folders.read_manifest(folder)
        with contextlib.closing(sqlite_copy.reading(self.data / FILE_NAME)) as connection:
            rows = connection.execute(
                "SELECT record FROM events WHERE last > ? ORDER BY last LIMIT ?",
                (manifest.last_event, SINCE_MAX),
            ).fetchall()
            again = 0
            if "jobs" in manifest.counts:
                old = f"{(folder / FILE_NAME).resolve().as_uri()}?immutable=1"
                connection.execute("ATTACH ? AS old", (old,))
                again = connection.execute(_AGAIN).fetchone()[0]
        return Since(tuple(row[0] for row in rows), int(again))

    def drop(self, backup_id: str) -> None:
        """Remove one. Raises BackupFailed."""
        folders.drop(self.root(), backup_id)

    def _refuse_without_room(self, root: Path, samples: bool) -> None:
        names = (FILE_NAME, f"{FILE_NAME}-wal", *((SAMPLES,) if samples else ()))
        try:
            needed = SPARE_BYTES + sum(
                (self.data / name).stat().st_size for name in names if (self.data / name).exists()
            )
            disk = os.statvfs(root)
        except OSError as error:
            raise BackupFailed(f"{root} can't be looked at: {error.strerror}") from error
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise BackupFailed(
                f"no backup is made: {needed >> 20:,} MiB are needed in {root} and {free >> 20:,} MiB are "
                "free; make room there, lower backup.keep, or choose another disk (backup.dir)"
            )

    def _go_on(self) -> None:
        if self.stopped:
            raise sqlite_copy.Stopped("the server stops; a backup is made again later")

    def _proven(self, folder: Path) -> Proof:
        """What the scratch process finds. Raises BackupFailed with what it says."""
        process = subprocess.Popen(
            [*self._prove, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        try:
            told, why = self._end_of(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode != 0:
            last = why.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit {process.returncode}"]
            raise BackupFailed(f"the copy could not be restored: {last[0]}")
        try:
            return msgspec.json.decode(told, type=Proof)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackupFailed(f"the copy could not be proven: {error}") from error

    def _end_of(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        end_s = elapsed_s() + PROOF_S_MAX
        while True:
            try:
                return process.communicate(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                self._go_on()
                if elapsed_s() > end_s:
                    raise BackupFailed(f"the copy was not proven within {PROOF_S_MAX} s") from None

    @staticmethod
    def _compare(name: str, numbers: Numbers, counts: dict[str, int], proof: Proof, unreadable: int) -> None:
        found = (proof.batch_seq, proof.last_event, proof.counts)
        if found != (numbers.batch_seq, numbers.last_event, counts):
            raise BackupFailed(
                f"{name} is not what was copied: it holds {found}, expected "
                f"{(numbers.batch_seq, numbers.last_event, counts)}"
            )
        if proof.unreadable > unreadable:
            raise BackupFailed(
                f"{name} holds {proof.unreadable} live record(s) that can't be read, and {unreadable} were "
                "known: the store may be damaged; `leasehold doctor` looks"
            )


def _said(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
