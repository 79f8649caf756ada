"""Tables of the SQLite store, the steps that lead to them, and the one statement that commits a batch.

`live` and `jobs` hold what the ledger loads. Keys of jobs ascend, so their table is its own index: new rows
go to its end, and one that is claimed out of turn dirties one page, not two. `cold` is read by key.

`finished` is append-only, in the order of ends: its rows, and the entries of its index by noun, always go to
the end of a tree. Most keys end in random letters, so an index over all finished keys would dirty a page for
each row, the more the larger the archive; `finished_key` is therefore ordered by segments of 2,048 rows
first, and holds the last letters only: about ten pages a segment. A commit costs the same at any size of the
archive; finding one key costs a probe per segment. Jobs end about in the order of their keys and have an
index of their own, `finished_job`. `meta.archived` is what finished records, their cold rows and events
amount to: live jobs of any number must not cost the history its place.

`audit` has a row per call, or per hour of calls alike, which then have a `place`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from leasehold.ports.store import StoreError

APPLICATION_ID = 0x4C656173
"""`Leas`, in the file's header: tells our file from any other SQLite file."""

_FIRST = """
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), batch_seq INTEGER NOT NULL,
    last_event INTEGER NOT NULL, settled INTEGER NOT NULL);
INSERT INTO meta VALUES (1, 0, 0, 0);
CREATE TABLE live (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX live_key ON live (key);
CREATE TABLE finished (id INTEGER PRIMARY KEY, noun TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE INDEX finished_noun ON finished (noun);
CREATE INDEX finished_key ON finished (id >> 11, substr(key, -6));
CREATE TABLE events (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
    record BLOB NOT NULL);
CREATE TABLE folds (bucket_ms INTEGER NOT NULL, holder TEXT NOT NULL, code TEXT NOT NULL,
    first_wall_ms INTEGER NOT NULL, last_wall_ms INTEGER NOT NULL, count INTEGER NOT NULL,
    sentence TEXT NOT NULL, PRIMARY KEY (bucket_ms, holder, code)) WITHOUT ROWID;
"""

_AUDIT = """
CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, place BLOB, wall_ms INTEGER NOT NULL,
    first_wall_ms INTEGER NOT NULL, count INTEGER NOT NULL, outcome TEXT NOT NULL, who TEXT NOT NULL,
    what TEXT NOT NULL, status INTEGER NOT NULL, credential TEXT NOT NULL, credential_id TEXT NOT NULL,
    note TEXT NOT NULL, listener TEXT NOT NULL, address TEXT NOT NULL, pid INTEGER NOT NULL,
    ids TEXT NOT NULL, code TEXT NOT NULL, request_id TEXT NOT NULL);
CREATE UNIQUE INDEX audit_place ON audit (place) WHERE place IS NOT NULL;
CREATE INDEX audit_time ON audit (wall_ms);
"""
"""AUTOINCREMENT: the number of a row that goes is given to no other, so who follows misses nothing."""

_JOBS = """
ALTER TABLE meta ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET archived = (SELECT coalesce(sum(length(value) + 64), 0) FROM finished)
    + (SELECT coalesce(sum(length(record) + 64), 0) FROM events);
CREATE TABLE jobs (key TEXT PRIMARY KEY, value BLOB NOT NULL, cold INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO jobs SELECT key, value, 0 FROM live WHERE key >= '/jobs/' AND key < '/jobs0';
DELETE FROM live WHERE key >= '/jobs/' AND key < '/jobs0';
CREATE TABLE cold (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX cold_key ON cold (key);
DROP INDEX finished_key;
CREATE INDEX finished_key ON finished (id >> 11, substr(key, -6)) WHERE noun <> '/jobs/';
CREATE INDEX finished_job ON finished (key) WHERE noun = '/jobs/';
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _AUDIT, _JOBS)
"""Step n leads from schema n to n + 1. A step that has been released is never edited."""

JOBS = "/jobs/"
"""Hot records whose keys ascend: in `jobs`, all others in `live`."""

ROW_BYTES = 64
"""What a row of the archive counts beside its value."""

COLD_UNIT = 128
"""Bytes in which the size of a cold row is noted. It and JOBS stand in the statement below as they are."""

COMMIT_STATEMENT = """
CREATE TEMP VIEW batch AS SELECT 0 AS seq, '' AS puts, x'' AS put_values, '' AS jobs, x'' AS job_values,
    '' AS colds, x'' AS cold_values, '' AS finishes, x'' AS finish_values, '' AS gone, '' AS gone_jobs,
    '' AS gone_cold, x'' AS events, 0 AS first_event, 0 AS last_event, 0 AS wall_ms, 0 AS archived;
CREATE TEMP TRIGGER commit_batch INSTEAD OF INSERT ON batch BEGIN
    UPDATE meta SET batch_seq = NEW.seq,
        last_event = CASE WHEN length(NEW.events) > 0 THEN NEW.last_event ELSE last_event END,
        archived = archived + NEW.archived + 128 * (SELECT coalesce(sum(cold), 0) FROM jobs
            WHERE key IN (SELECT key FROM json_each(NEW.finishes) WHERE substr(key, 1, 6) = '/jobs/'))
        WHERE id = 1 AND batch_seq = NEW.seq - 1;
    SELECT RAISE(ABORT, 'fenced') WHERE changes() = 0;
    INSERT INTO live (key, value)
        SELECT key, substr(NEW.put_values, (value >> 24) + 1, value & 0xFFFFFF) FROM json_each(NEW.puts)
        WHERE true
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    INSERT INTO jobs (key, value, cold)
        SELECT key, substr(NEW.job_values, (value >> 24 & 0x7FFFFF) + 1, value & 0xFFFFFF), value >> 47
        FROM json_each(NEW.jobs)
        WHERE true
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, cold = max(cold, excluded.cold);
    INSERT INTO cold (key, value)
        SELECT key, substr(NEW.cold_values, (value >> 24) + 1, value & 0xFFFFFF) FROM json_each(NEW.colds)
        WHERE true
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    INSERT INTO finished (noun, key, value, wall_ms)
        SELECT substr(key, 1, instr(substr(key, 2), '/') + 1), key,
            substr(NEW.finish_values, (value >> 24) + 1, value & 0xFFFFFF), NEW.wall_ms
        FROM json_each(NEW.finishes);
    DELETE FROM live WHERE key IN (SELECT value FROM json_each(NEW.gone));
    DELETE FROM jobs WHERE key IN (SELECT value FROM json_each(NEW.gone_jobs));
    DELETE FROM cold WHERE key IN (SELECT value FROM json_each(NEW.gone_cold));
    INSERT INTO events SELECT NEW.last_event, NEW.first_event, NEW.wall_ms, NEW.events
        WHERE length(NEW.events) > 0;
END;
"""
"""A batch is one INSERT: one transaction, and one call into SQLite, which holds the interpreter for no row.

The fence is the first thing that it does. Keys come as a JSON object from key to place; a place is
offset · 2^24 + length in the joined values. Above it (2^47) a job's has the size of its cold row, so that
what ends can be counted without a look at that.
"""

COMMIT = "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> int:
    """Lead an empty or older file to our schema, one step per transaction; return the steps taken.

    Raises StoreError for a file that is not ours, or is of a later schema.
    """
    found = version(connection)
    if found > len(migrations):
        raise StoreError(
            f"the store has schema {found}, and this version of leasehold knows {len(migrations)}: run the "
            "newer version, or restore a backup that was made before the upgrade"
        )
    for step in range(found, len(migrations)):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {migrations[step]} PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {step + 1}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(migrations) - found


def version(connection: sqlite3.Connection) -> int:
    """The file's schema; 0: it is empty. StoreError: it is not ours."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0]
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if ours != APPLICATION_ID and (tables or found):
        raise StoreError("the file is a SQLite database of another program: choose another data folder")
    return found
