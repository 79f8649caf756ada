"""The file of samples: its tables, and how one of an earlier version becomes one of this.

Rows lie in the order of time, so that pages fill up; kept by key, each payload would spill over a page.
"""

from __future__ import annotations

import os
import sqlite3

import structlog

from leasehold.model.errors import Unavailable

log = structlog.get_logger(__name__)

WAL_PAGES = 64  # half a megabyte beside the file; a checkpoint every two minutes
SCHEMA_VERSION = 2
SCHEMA_1 = """
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE stats_samples (
    timestamp INTEGER NOT NULL, metric_group TEXT NOT NULL, payload_json TEXT NOT NULL
);
CREATE UNIQUE INDEX stats_samples_by_group ON stats_samples (metric_group, timestamp);
CREATE TABLE stats_rollups (
    step_sec INTEGER NOT NULL, metric_group TEXT NOT NULL, timestamp INTEGER NOT NULL,
    payload_json TEXT NOT NULL
);
CREATE UNIQUE INDEX stats_rollups_by_group ON stats_rollups (step_sec, metric_group, timestamp);
CREATE TABLE quiet_streaks (
    start_time INTEGER PRIMARY KEY, end_time INTEGER NOT NULL, avg_score REAL NOT NULL,
    min_score INTEGER NOT NULL, score_sum INTEGER NOT NULL, seen INTEGER NOT NULL
);
CREATE INDEX quiet_streaks_by_end ON quiet_streaks (end_time);
CREATE TABLE open_streak (
    one INTEGER PRIMARY KEY CHECK (one = 1), start_time INTEGER NOT NULL, end_time INTEGER NOT NULL,
    min_score INTEGER NOT NULL, score_sum INTEGER NOT NULL, seen INTEGER NOT NULL
);
PRAGMA user_version = 1;
COMMIT;
"""
# Nothing was ever rolled up by version 1. Names of fields stand once, in `stats_fields`: `figures` has
# (least, mean, greatest, last, count) of each of them in order. `rolled.until`: all before it is rolled up.
SCHEMA_2 = """
BEGIN;
DROP TABLE stats_rollups;
CREATE TABLE stats_rollups (
    step_sec INTEGER NOT NULL, metric_group TEXT NOT NULL, timestamp INTEGER NOT NULL,
    fields_id INTEGER NOT NULL, figures BLOB NOT NULL
);
CREATE UNIQUE INDEX stats_rollups_by_group ON stats_rollups (step_sec, metric_group, timestamp);
CREATE TABLE stats_fields (
    id INTEGER PRIMARY KEY, step_sec INTEGER NOT NULL, metric_group TEXT NOT NULL, names_json TEXT NOT NULL,
    used INTEGER NOT NULL
);
CREATE UNIQUE INDEX stats_fields_by_group ON stats_fields (metric_group, step_sec, names_json);
CREATE INDEX stats_fields_by_use ON stats_fields (step_sec, used);
CREATE TABLE rolled (step_sec INTEGER PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE day_forecasts (day INTEGER PRIMARY KEY, payload_json BLOB NOT NULL);
PRAGMA user_version = 2;
COMMIT;
"""


def opened(path: str) -> sqlite3.Connection:
    """The file, made or brought up to this version. One that is damaged is set aside, and a new one begun:
    history is not worth a stop. Raises Unavailable where it can't be opened or is of a newer program.
    """
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"{path} can't be opened: {error}; check the folder and the disk") from error
        aside = f"{path}.damaged"
        log.error("samples_set_aside", path=path, aside=aside, why=str(error))
        for suffix in ("-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
        os.replace(path, aside)
        return _connected(path)


def _connected(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise Unavailable(
                f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}; "
                "start the newer program, or move the file away"
            )
        for number, script in enumerate((SCHEMA_1, SCHEMA_2)):
            if version <= number:
                database.executescript(script)
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        database.execute("PRAGMA cache_size = -512")  # KiB; a write touches four leaves
        database.execute("SELECT count(*) FROM quiet_streaks").fetchone()
    except BaseException:
        database.close()
        raise
    return database
