"""Heat map, forecast and its scores over the real server, which finds weeks of history when it starts."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.ports.samples import Sample
from tests.api.real_server import RealServer

STATS = "/api/system-stats"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


async def fill(folder: Path, weeks: int) -> None:
    """Weeks of history that end now: busy from nine to eleven by UTC, quiet else."""
    store = SqliteSamples(str(folder))
    await store.open()
    now_ms = round(time.time() * 1000)
    rows = []
    for at_ms in range(now_ms // HOUR_MS * HOUR_MS - weeks * 7 * DAY_MS, now_ms, 600_000):
        is_quiet = at_ms // HOUR_MS % 24 not in (9, 10)
        fields = {"quiet": float(is_quiet), "quiet_score": 95.0 if is_quiet else 40.0}
        rows.append(Sample(at_ms, "quiet", fields))
    await store.fill(rows, per_minute=60)
    await store.close()


@pytest.fixture(scope="module")
def old() -> Iterator[RealServer]:
    """A server with eight weeks behind it, in a zone without changes of the clocks."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    (folder / "data").mkdir(mode=0o700)
    asyncio.run(fill(folder / "data", 8))
    with RealServer(folder, TZ="UTC") as running:
        learned(running)
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def learned(server: RealServer) -> Any:
    """The forecast, once history has been read."""
    deadline = time.monotonic() + 30
    while (found := server.get(f"{STATS}/forecast?duration=2h&within=48h").json)["note"]:
        assert time.monotonic() < deadline, found["note"]
        time.sleep(0.05)
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.requirement("SENSE-18")
def test_the_heat_map_has_every_hour_of_the_week(old: RealServer) -> None:
    """Seven days of 24 cells, each with its probability, what is known of it, and how sure that is."""
    found = old.get(f"{STATS}/heatmap").json
    assert [day["day"] for day in found["days"]] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    for day in found["days"]:
        assert len(day["hours"]) == 24
        assert day["hours"][9]["probability"] < 0.2 < 0.9 < day["hours"][15]["probability"]
        assert {cell["confidence"] for cell in day["hours"]} == {"sure"}
    assert (found["confidence"], found["note"]) == ("sure", "")
    assert 55 < found["known_days"] < 57


@pytest.mark.requirement("SENSE-19")
def test_the_best_windows_keep_clear_of_what_is_busy(old: RealServer) -> None:
    """Two hours each, never over nine to eleven; with the spans that `start: window` takes."""
    found = learned(old)
    assert found["windows"]
    for window in found["windows"]:
        start, end = moment(window["start"]), moment(window["end"])
        assert end - start == timedelta(hours=2)
        busy = start.replace(hour=9, minute=0, second=0, microsecond=0)
        assert end <= busy or start >= busy + timedelta(hours=2)
        assert window["probability"] > 0.9
    assert all(moment(one["end"]).hour == 9 for one in found["quiet"][:-1])
    assert {hour["probability"] < 0.2 for hour in found["hours"] if moment(hour["start"]).hour == 9} == {True}
    assert 48 <= len(found["hours"]) <= 49
    score = found["score"]
    assert score["hindsight_days"] <= score["days"] <= 28
    assert score["brier"]["forecast"] < score["brier"]["overall_mean"]


@pytest.mark.requirement("SENSE-19")
def test_what_was_said_today_survives_a_kill(old: RealServer) -> None:
    """The forecast of today is made once: after kill -9 it is the one that was made before."""
    before = old.get(f"{STATS}/forecast/scores?range=1d").json["days"]
    assert old.process is not None
    old.process.send_signal(signal.SIGKILL)
    old.process.wait(10)
    old.start()
    learned(old)
    after = old.get(f"{STATS}/forecast/scores?range=1d").json["days"]
    assert [(day["day"], day["made_at"]) for day in after] == [(day["day"], day["made_at"]) for day in before]
    assert not after[-1]["hindsight"]


@pytest.mark.requirement("SENSE-15", "SENSE-19")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("forecast?duration=5m", "15m to 24h"),
        ("forecast?duration=2h&within=30m", "2h (the duration) to 14d"),
        ("forecast?within=99d", "to 14d"),
        ("history?group=quiet&range=9999d", "10s to 730d"),
        ("history?group=quiet&range=60d&step=90s", "in multiples of 3600s"),
    ],
)
def test_what_is_asked_wrongly_is_told_what_is_right(old: RealServer, path: str, expected: str) -> None:
    """422 with the field and what may stand in it."""
    reply = old.get(f"{STATS}/{path}")
    assert (reply.status, reply.json["code"]) == (422, "INVALID")
    assert expected in reply.json["detail"]


@pytest.mark.requirement("SENSE-15")
def test_a_year_of_history_is_told_with_its_gaps(old: RealServer) -> None:
    """Eight weeks of it were measured; the rest is null."""
    found = old.get(f"{STATS}/history?group=quiet&metric=quiet&range=365d").json
    known = [value for value in found["values"] if value is not None]
    assert found["step_sec"] == 86_400
    assert len(found["values"]) in (365, 366)
    assert 56 <= len(known) <= 58
    assert all(value == pytest.approx(22 / 24, abs=0.2) for value in known)


@pytest.mark.requirement("QUEUE-19", "SENSE-19")
def test_work_that_waits_for_a_window_waits_for_a_forecast_one(old: RealServer) -> None:
    """In one it waits for a worker alone; outside it is told when the next one is forecast."""
    first = learned(old)["quiet"][0]
    job = old.post("/api/scheduler/queue/jobs/submit", {"start": "window", "needs": ["nobody"]})
    assert job.status in (200, 201), job
    found = old.get(f"/api/scheduler/queue/jobs/{job.json['jobs'][0]['job_id']}").json
    codes = [reason["code"] for reason in found["reasons"]]
    is_open = moment(first["start"]) <= moment(learned(old)["computed_at"])
    assert ("NO_WINDOW" in codes) is not is_open
