"""What a data folder remembers, as a history: leases, jobs, samples, and the files they stand in."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from leasehold.adapters.stores.past import PastRows
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.adapters.stores.sqlite_schema import migrate
from leasehold.bootstrap import replay as sources
from leasehold.control import replay
from leasehold.control.codec import encode, store_key
from leasehold.core.replay import Replay
from leasehold.core.state import JOBS, LEASES, SEMAPHORES
from leasehold.model.charge import Charge
from leasehold.model.job import Attempt, Job, JobState, Start, Terms
from leasehold.model.lease import Guard, Lease, LeaseState
from leasehold.model.line import Semaphore
from leasehold.model.replay import Past, Weather
from leasehold.model.settings import PolicySettings
from leasehold.ports.samples import Sample
from leasehold.ports.store import StoreError
from leasehold.testing.waiting import TOTALS, ask

pytestmark = pytest.mark.requirement("QUEUE-18")

NOON = 1_700_000_000_000
ENDED = Lease(
    "lease-1", 7, ask(30, holder="ann"), LeaseState.RELEASED, 5_000, NOON + 4_000,
    ended_ms=65_000, ended_wall_ms=NOON + 64_000, stood_ms=10_000, waited_ms=4_000,
)  # fmt: skip
DONE = Job(
    9,
    Terms("t", ask(20, holder="bob"), start=Start.NOW, gang=2),
    JobState.DONE,
    NOON,
    0,
    deadline_wall_ms=NOON + 90_000,
    anyway_wall_ms=NOON + 80_000,
    started_wall_ms=NOON + 30_000,
    ended_wall_ms=NOON + 50_000,
    past=(Attempt(1, "w", NOON + 1_000, NOON + 10_000, "FAILED"),),
)


def row(lease: Lease) -> tuple[str, bytes]:
    return store_key(LEASES, lease.lease_id), encode(LEASES, lease)


def row_of_job(job: Job) -> tuple[str, bytes]:
    return store_key(JOBS, job.number), encode(JOBS, job, ended=True)


def test_a_lease_came_when_it_began_to_wait_and_ran_while_it_did_not_stand_still() -> None:
    """Arrival is the grant less the waiting; time in a freeze is none that it needs."""
    assert replay.of_lease(ENDED) == Past(7, NOON, ENDED.ask, 50_000, started_ms=NOON + 4_000)


def test_a_job_came_when_it_could_have_started() -> None:
    """After its attempt before had ended; a gang is charged for all of its members."""
    past = replay.of_job(DONE)
    assert isinstance(past, Past)
    assert (past.number, past.at_ms, past.runs_ms) == (9, NOON + 10_000, 20_000)
    assert (past.started_ms, past.deadline_ms, past.anyway_ms) == (
        NOON + 30_000,
        NOON + 90_000,
        NOON + 80_000,
    )
    assert past.ask.charge.units == 40
    assert not past.ask.quiet_gate, "it was to start now"
    windowed = msgspec.structs.replace(DONE, terms=Terms("t", msgspec.structs.replace(DONE.ask, window=True)))
    kept = replay.of_job(windowed)
    assert isinstance(kept, Past)
    assert not kept.ask.window, "windows are not recorded, and it would wait for one for ever"


def test_what_did_not_run_or_did_not_ask_is_left_out_by_reason() -> None:
    """Guards, charges of nothing, leases of jobs, jobs that never ran."""
    guard = msgspec.structs.replace(ENDED, ask=msgspec.structs.replace(ENDED.ask, guard=Guard("pid:1")))
    nothing = msgspec.structs.replace(ENDED, ask=msgspec.structs.replace(ENDED.ask, charge=Charge()))
    assert replay.of_lease(guard) == "guarded software"
    assert replay.of_lease(nothing) == "charged nothing"
    assert replay.of_lease(msgspec.structs.replace(ENDED, job=9)) == "", "the job stands for it"
    never = msgspec.structs.replace(DONE, started_wall_ms=0)
    assert replay.of_job(msgspec.structs.replace(never, state=JobState.CANCELED)) == "never ran"
    assert (
        replay.of_job(msgspec.structs.replace(never, state=JobState.EXPIRED)) == "expired before it started"
    )


def test_records_become_a_history_that_begins_at_nothing() -> None:
    """Damaged ones are counted; of a retried job the last end counts; sizes and devices are known."""
    gpu = msgspec.structs.replace(ENDED.ask, charge=Charge(10, named=(("device:gpu:7", 1),)))
    rows = [
        row(ENDED),
        row(msgspec.structs.replace(ENDED, lease_id="lease-2", token=8, ask=gpu)),
        row_of_job(msgspec.structs.replace(DONE, state=JobState.FAILED)),
        row_of_job(DONE),
        (store_key(LEASES, "lease-3"), b"garbage"),
        ("/tokens/x", b"other nouns do not matter"),
    ]
    slots = [(store_key(SEMAPHORES, "lock:net"), encode(SEMAPHORES, Semaphore("lock:net", 3)))]
    found = replay.history("here", rows, slots, [], TOTALS)
    assert [(job.number, job.at_ms, job.started_ms) for job in found.jobs] == [
        (7, 0, 4_000),
        (8, 0, 4_000),
        (9, 10_000, 30_000),
    ]
    assert (found.jobs[2].deadline_ms, found.jobs[2].anyway_ms) == (90_000, 80_000)
    assert found.left_out == {"an unreadable record": 1}
    assert found.slots == {"lock:net": 3}
    assert ("gpu:7", 1) in found.totals.devices
    assert "nothing was measured" in found.notes[0]
    since = replay.history("here", rows, [], [], TOTALS, since_wall_ms=NOON + 1)
    assert [job.number for job in since.jobs] == [9]
    assert replay.history("here", [], [], [], TOTALS).jobs == ()


def sample(at_s: int, state: int, score: int | None) -> tuple[int, str]:
    fields = {"state": state} | ({} if score is None else {"quiet_score": score})
    return NOON + at_s * 1000, json.dumps(fields)


def test_samples_become_weather_and_a_gap_is_unknown() -> None:
    """Only changes are kept, what was before the first arrival counts from there on."""
    told = [
        sample(-20, 2, 40),
        sample(-10, 0, 95),
        sample(0, 0, 95),
        sample(10, 1, 60),
        (NOON + 15_000, "no json"),
        sample(100, 4, None),
        sample(110, 0, 100),
    ]
    assert replay.weather_of(told, NOON) == (
        Weather(0, "QUIET", 95),
        Weather(10_000, "NORMAL", 60),
        Weather(40_000, "UNKNOWN", None),
        Weather(110_000, "QUIET", 100),
    )
    assert replay.weather_of([], NOON) == ()


async def test_a_data_folder_is_read_beside_its_server(tmp_path: Path) -> None:
    """Finished rows, sizes and samples by the files themselves; nothing is locked, and nothing is written."""
    writer = sqlite3.connect(tmp_path / "leasehold.sqlite3", isolation_level=None)
    migrate(writer)
    for noun, (key, value) in (("/leases/", row(ENDED)), ("/jobs/", row_of_job(DONE))):
        writer.execute(
            "INSERT INTO finished (noun, key, value, wall_ms) VALUES (?, ?, ?, ?)",
            (noun, key, value, NOON + 64_000),
        )
    samples = SqliteSamples(str(tmp_path))
    await samples.open()
    await samples.write(
        [Sample(NOON + 1_000, "quiet", {"state": 2, "quiet_score": 40})], [], None, NOON + 2_000
    )
    writer.execute("BEGIN IMMEDIATE")  # A server in the middle of a commit.
    found = sources.recorded(tmp_path, NOON - 1)
    writer.execute("ROLLBACK")
    await samples.close()
    writer.close()
    assert [job.number for job in found.jobs] == [7, 9]
    assert found.weather == (Weather(1_000, "BUSY", 40),)
    assert sources.recorded(tmp_path, NOON + 65_000).jobs == ()
    replayed = Replay(found, PolicySettings())
    for _ in replayed.steps():
        pass
    assert all(run.past.number in (7, 9) for run in replayed.runs())


def test_what_is_no_data_folder_is_said(tmp_path: Path) -> None:
    """An empty folder, and a file that is no database."""
    with pytest.raises(StoreError, match="is no data folder of leasehold"):
        PastRows(tmp_path)
    (tmp_path / "leasehold.sqlite3").write_text("no database, but long enough to look like one " * 50)
    with pytest.raises(StoreError, match="can't be read"):
        list(PastRows(tmp_path).finished("leases", 0))
