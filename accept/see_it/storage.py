"""Care of the store: backups that are proven, back to yesterday, kill -9 anywhere, room given back."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import subprocess
import tempfile
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import moved_clock
from accept.harness import check, expect
from accept.product import ROOT, Product, Server, until
from accept.queue.client import QUEUE, all_jobs, submit
from accept.small_disk import small_disk

GUIDE = ROOT / "docs" / "guide" / "backup.md"
BACKUPS, RESTORE, STORAGE = "/api/admin/backups", "/api/admin/restore", "/api/admin/storage"
STORE = "leasehold.sqlite3"
ON = {"LEASEHOLD_BACKUP__ENABLED": "true"}
DAMAGES, KILLS = 300, 16
SEED = 515

OLD_STORES = """
import sqlite3, sys
from leasehold.adapters.stores import sqlite_schema
for version in range(1, len(sqlite_schema.MIGRATIONS)):
    connection = sqlite3.connect(f"{sys.argv[1]}/{version}.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    sqlite_schema.migrate(connection, sqlite_schema.MIGRATIONS[:version])
    connection.execute("BEGIN")
    rows = [(f"/old/{number:06}", b"%06d" % number * 40) for number in range(20_000)]
    connection.executemany("INSERT INTO live (key, value) VALUES (?, ?)", rows)
    ended = [("/old/", key, value, 5) for key, value in rows]
    connection.executemany("INSERT INTO finished (noun, key, value, wall_ms) VALUES (?, ?, ?, ?)", ended)
    connection.execute("COMMIT")
    connection.close()
print(len(sqlite_schema.MIGRATIONS))
"""


def documented(beginning: str) -> list[str]:
    """The command of the guide that begins so, as its words."""
    found = re.search(rf"^{re.escape(beginning)}[^#\n]*", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    expect(found is not None, f"the guide has no command {beginning}")
    assert found is not None
    return found[0].split()


def typed(server: Server, beginning: str) -> subprocess.CompletedProcess[str]:
    """Type the guide's command."""
    return server.run(*documented(beginning)[1:])


def backup(server: Server) -> str:
    """Make one; its id."""
    status, made = server.post(BACKUPS, {}, unix=True, timeout_s=120)
    expect(status == 200, f"a backup answers {status}: {made}")
    return str(made["backup_id"])


def kinds(server: Server) -> list[str]:
    """The kinds of all events."""
    return [event["kind"] for event in server.get("/api/events?limit=1000", unix=True)[1]["events"]]


def ready(server: Server) -> bool:
    """Whether it accepts commands."""
    try:
        return bool(server.get("/ready", token=False, unix=True)[0] == 200)
    except OSError:
        return False


@check(
    "storage.yesterday",
    "A restore to yesterday works by the command of the documentation",
    command="leasehold backup restore --to yesterday --yes",
    kind="quiet",
    budget_s=120,
)
def yesterday(product: Product) -> str:
    """A server whose clock shows yesterday makes a backup by its schedule; a day later it is restored."""
    with tempfile.TemporaryDirectory() as folder:
        offset, library = moved_clock(Path(folder))
        now = datetime.now().astimezone()
        noon = (now - timedelta(days=1)).replace(hour=12, minute=0)
        offset.write_text(str(round((noon - now).total_seconds())))
        with product.server(
            preload=library, WALL_CLOCK_OFFSET_FILE=str(offset), LEASEHOLD_PRESET="always", **ON
        ) as server:
            kept = submit(server, [{"job_type": "of-yesterday"}] * 5)
            before = server.request(cost_units=1, start="now")["fencing_token"]
            after_s = until(lambda: server.get(BACKUPS, unix=True)[1]["backups"], 100)
            expect(after_s is not None, "no backup was made soon after the start")
            offset.write_text("0")
            time.sleep(1)
            lost = submit(server, [{"job_type": "of-today"}] * 3)
            token = server.request(cost_units=1, start="now")["fencing_token"]
            expect(token > before, "tokens grow")
            dry = typed(server, "leasehold backup restore --to yesterday --dry-run")
            expect(dry.returncode == 0 and "JobSubmitted 3" in dry.stdout, f"{dry.stdout}{dry.stderr}")
            expect(
                {one["job_id"] for one in all_jobs(server)} == {*kept, *lost}, "a dry run changed something"
            )
            pid, began = server.pid, time.monotonic()
            done = typed(server, "leasehold backup restore --to yesterday --yes")
            took_s = time.monotonic() - began
            expect(done.returncode == 0, f"it ended with {done.returncode}: {done.stderr}")
            expect({one["job_id"] for one in all_jobs(server)} == set(kept), "not the jobs of yesterday")
            expect(
                server.process is not None and server.process.poll() is None and server.pid == pid, "it died"
            )
            expect(len(list(server.data.glob(f"{STORE}.replaced-*"))) == 1, "the replaced store is not kept")
            until(lambda: server.status()["quiet_state"] != "UNKNOWN", 20)
            new = server.request(cost_units=1, start="now")["fencing_token"]
            expect(new > token, f"token {new} after {token}")
            expect("StoreRestored" in kinds(server), "no event tells of it")
    return f"5 jobs of yesterday are back, 3 of today gone, in {took_s:.1f} s; tokens went on from {token} to {new}"


@check(
    "storage.damaged",
    f"A backup damaged by one byte is refused and reported: {DAMAGES} bytes at random places",
    command="leasehold backup check",
    kind="quiet",
    budget_s=180,
)
def damaged(product: Product) -> str:
    """One byte after the other, of the copy and of the manifest; then a restore of a damaged one."""
    chance = random.Random(SEED)
    with product.server() as server:
        submit(server, [{"job_type": "fill", "payload": {"fill": "x" * 500}}] * 200)
        name = backup(server)
        folder = server.data / "backups" / name
        store = (server.data / STORE).stat().st_ino
        for number in range(DAMAGES):
            path = folder / ("manifest.json" if number % 3 == 0 else STORE)
            sound = path.read_bytes()
            place = chance.randrange(len(sound))
            changed = sound[place] ^ chance.randrange(1, 256)
            path.write_bytes(sound[:place] + bytes([changed]) + sound[place + 1 :])
            body = {"backup_id": name}
            status, answer = server.post(RESTORE, body, unix=True)
            expect(status == 409, f"byte {place} of {path.name}: {status} {str(answer)[:200]}")
            path.write_bytes(sound)
        expect((server.data / STORE).stat().st_ino == store, "the store was replaced")
        reported = kinds(server).count("BackupDamaged")
        expect(reported > 100, f"only {reported} events tell of it")
        failure = server.get(STORAGE, unix=True)[1]["last_failure"]
        expect("is damaged" in failure["why"], f"{failure}")
        checked = typed(server, "leasehold backup check")
        expect(checked.returncode == 0, f"mended, and still refused: {checked.stderr}")
    return f"{DAMAGES} damaged bytes, {DAMAGES} refusals, {reported} events; mended, it is taken"


@check(
    "storage.killed",
    "kill -9 during backup, restore and migration loses nothing",
    command="kill -9 SERVER; leasehold up",
    budget_s=600,
)
def killed(product: Product) -> str:
    """The server at random instants of a backup and of a restore; then of a start on each older schema."""
    chance = random.Random(SEED)
    with product.server() as server:
        known = set(submit(server, [{"job_type": "kept"}] * 50))
        backup(server)
        backups = _killed_backups(server, known, chance)
        restores = _killed_restores(server, known, chance)
    migrations = _killed_migrations(product, chance)
    return f"{backups} kills around backups, {restores} around restores, {migrations} around migrations: all there"


def _kill_within(server: Server, path: str, body: Any, chance: random.Random, span_s: float) -> None:
    """Ask for something, and kill the server some way into it."""

    def ask() -> None:
        with contextlib.suppress(OSError):
            server.post(path, body, unix=True, timeout_s=60)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    time.sleep(chance.uniform(0, span_s))
    server.kill()
    asking.join()
    server.start()


def _killed_backups(server: Server, known: set[str], chance: random.Random) -> int:
    for _ in range(KILLS):
        known |= set(submit(server, [{"job_type": "kept"}]))
        _kill_within(server, BACKUPS, {}, chance, 1.5)
        there = {one["job_id"] for one in all_jobs(server)}
        expect(there == known, f"jobs differ by {sorted(there ^ known)[:5]}")
        listed = server.get(BACKUPS, unix=True)[1]["backups"]
        expect(not [one for one in listed if one.get("problem")], f"{listed}")
    for one in server.get(BACKUPS, unix=True)[1]["backups"]:
        status, answer = server.call("POST", f"{BACKUPS}/{one['backup_id']}/check", unix=True, timeout_s=120)
        expect(status == 200, f"{one['backup_id']}: {status} {answer}")
    return KILLS


def _killed_restores(server: Server, known: set[str], chance: random.Random) -> int:
    """After each the jobs are those of before or those of the backup, and tokens have grown."""
    name = backup(server)
    then, token = set(known), 0
    for _ in range(KILLS):
        more = set(submit(server, [{"job_type": "later"}]))
        _kill_within(server, RESTORE, {"backup_id": name}, chance, 3.0)
        there = {one["job_id"] for one in all_jobs(server)}
        expect(there in (then, known | more), f"jobs differ by {sorted(there ^ known)[:5]}")
        known = there
        status, answer = server.post(f"{QUEUE}/claim", {"max": 1, "job_types": ["none"]}, unix=True)
        expect(status == 200, f"{answer}")
        granted = server.request(cost_units=1, start="now", unix=True)
        expect(granted["fencing_token"] > token, f"token {granted['fencing_token']} after {token}")
        token = granted["fencing_token"]
    return KILLS


def _killed_migrations(product: Product, chance: random.Random) -> int:
    kills = 0
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            [product.python, "-c", OLD_STORES, folder], check=True, capture_output=True, text=True
        )
        for version in range(1, int(made.stdout)):
            with tempfile.TemporaryDirectory(prefix="leasehold-accept-") as scratch:
                data = Path(scratch) / "data"
                data.mkdir(mode=0o700)
                (data / STORE).write_bytes(Path(f"{folder}/{version}.sqlite3").read_bytes())
                server = Server(product, data, product.port(), Path(scratch) / "run", {}, "")
                for _ in range(KILLS // 2):
                    kills += _killed_start(server, chance)
                server.start(60)
                server.stop()
                with contextlib.closing(sqlite3.connect(data / STORE)) as connection:
                    for table in ("live", "finished"):
                        query = f"SELECT count(*) FROM {table} WHERE key LIKE '/old/%'"
                        count = connection.execute(query).fetchone()[0]
                        expect(count == 20_000, f"schema {version}: {count} rows of {table}")
    return kills


def _killed_start(server: Server, chance: random.Random) -> int:
    process = subprocess.Popen(
        [server.product.leasehold, "up", "--foreground"],
        env=server.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    copy = server.data / f"{STORE}.migrating"
    until(lambda: copy.exists() or process.poll() is not None or ready(server), 20, 0.002)
    time.sleep(chance.uniform(0, 0.6))
    process.kill()
    process.wait()
    return 1


@check(
    "storage.room",
    "Room is given back in slices that hold nobody up, after a fresh proven backup",
    command="leasehold store compact",
    budget_s=120,
)
def room(product: Product) -> str:
    """A file that is mostly nothing shrinks while leases are granted and released."""
    with product.server() as server:
        server.stop()
        with contextlib.closing(sqlite3.connect(server.data / STORE)) as connection:
            connection.execute("CREATE TABLE ballast (value BLOB)")
            connection.executemany("INSERT INTO ballast VALUES (?)", [(bytes(4_000),) for _ in range(15_000)])
            connection.commit()
            connection.execute("DROP TABLE ballast")
            connection.commit()
        server.start()
        before = server.get(STORAGE)[1]
        compacting = server.spawn("store", "compact")
        calls: list[float] = []
        while compacting.poll() is None:
            began = time.monotonic()
            lease = server.request(cost_units=1, start="now")
            own = {"fencing_token": lease["fencing_token"]}
            server.post(f"/api/scheduler/lease/{lease['lease_id']}/release", own)
            calls.append(time.monotonic() - began)
        expect(compacting.returncode == 0, f"it ended with {compacting.returncode}")
        after = server.get(STORAGE)[1]
        cares = [one["care"] for one in after["runs"]]
        expect(cares == ["compaction", "backup"], f"{cares}")
        expect(after["file_bytes"] < before["file_bytes"] / 4, f"{before} became {after}")
        expect(max(calls) < 2, f"somebody waited {max(calls):.2f} s")
    return (
        f"{before['file_bytes'] >> 20} MiB became {after['file_bytes'] >> 20}; {len(calls)} leases meanwhile, "
        f"granted and released in {sorted(calls)[len(calls) // 2] * 1000:.0f} ms (median), "
        f"{max(calls) * 1000:.0f} ms at most"
    )


@check(
    "storage.full",
    "A backup disk that is full: refused in words, reported, nothing of it left, and no other call is held up",
    command="leasehold backup now",
    kind="quiet",
    budget_s=60,
)
def full(product: Product) -> str:
    """A file system of a few MiB for the backups."""
    with small_disk(2) as disk, product.server(LEASEHOLD_BACKUP__DIR=str(disk)) as server:
        done = typed(server, "leasehold backup now")
        expect(done.returncode != 0 and "MiB are needed" in done.stderr, f"{done.stdout}{done.stderr}")
        failure = server.get(STORAGE)[1]["last_failure"]
        expect("BackupFailed" in kinds(server), "no event tells of it")
        expect({one.name for one in disk.iterdir()} <= {".lock"}, "something is left")
        expect(server.request(cost_units=1, start="now")["approved"], "a lease was refused for it")
    return f"refused: {failure['why'][:110]}"
