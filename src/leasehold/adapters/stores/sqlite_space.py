"""The room that a SQLite store takes, and giving free pages back slice by slice (OPS-16).

Free pages can be given back in slices where the file keeps a map of its pages (`auto_vacuum = INCREMENTAL`,
see sqlite.org/pragma.html). A file of before has none: writing it anew makes one, in one piece,
while nobody uses it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import structlog

from leasehold.adapters.stores import sqlite_check
from leasehold.model.storage import Sizes

log = structlog.get_logger(__name__)

INCREMENTAL = 2

AT_START_PAGES = 8_192
"""A file of up to 32 MiB is written anew at a start: that takes less than half a second."""


def sizes(connection: sqlite3.Connection, path: Path, samples: Path) -> Sizes:
    """What the files take. Raises sqlite3.Error."""
    found = {
        name: int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
    }
    disk = os.statvfs(path.parent)
    return Sizes(
        page_bytes=found["page_size"],
        pages=found["page_count"],
        free_pages=found["freelist_count"],
        journal_bytes=_bytes_of(Path(f"{path}-wal")),
        samples_bytes=_bytes_of(samples) + _bytes_of(Path(f"{samples}-wal")),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        in_slices=found["auto_vacuum"] == INCREMENTAL,
    )


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def give_back(connection: sqlite3.Connection, pages: int) -> int:
    """Within a transaction: give up to so many free pages back; return how many are left."""
    for _ in range(pages):  # Of each, Python takes the first step alone, which gives back one page.
        connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def keep_map(connection: sqlite3.Connection) -> None:
    """Have a new file keep the map; a small one of before is written anew for it, a large one is left.

    So is a damaged one: of what is damaged, more can be read as it is.

    What fails is tried again at the next start: SQLite undoes it whole.
    """
    if int(connection.execute("PRAGMA auto_vacuum").fetchone()[0]) == INCREMENTAL:
        return
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}").fetchall()
    if 0 < pages <= AT_START_PAGES and not sqlite_check.damage(connection):
        try:
            connection.execute("VACUUM")
        except sqlite3.Error as error:
            log.warning("store_not_rewritten", why=str(error))


def rewrite(path: Path) -> tuple[int, int]:
    """Write the whole file anew, while nobody has it open; return its bytes before and after.

    It takes about a second for each 100 MB, and as much room again. Raises sqlite3.Error, with the file as it
    was.
    """
    before = path.stat().st_size
    with contextlib.closing(sqlite3.connect(path, 5.0, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before, path.stat().st_size
