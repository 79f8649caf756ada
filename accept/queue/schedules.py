"""Schedules on the real program: both changes of the clocks, days off, kill -9 at the moment of a run."""

from __future__ import annotations

import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from accept.ask_first.pauses import moved_clock
from accept.harness import check, expect
from accept.product import Product, Server, until

SCHEDULES = "/api/schedules"

NIGHTLY, HOURLY, QUIET = {"cron": "30 2 * * *"}, {"cron": "0 * * * *"}, {"nightly": {"by": "06:00"}}

CHANGES = (
    # Zone, evening before, morning after; the runs of 02:30, of an evening until 06:00, and of every hour.
    (
        "Europe/Berlin",
        "2027-03-27T21:30+01:00",
        "2027-03-28T07:30+02:00",
        ["2027-03-28T01:00:00Z"],
        ("2027-03-27T21:00:00Z", "2027-03-28T04:00:00Z"),
    ),
    (
        "Europe/Berlin",
        "2027-10-30T21:30+02:00",
        "2027-10-31T07:30+01:00",
        ["2027-10-31T00:30:00Z"],
        ("2027-10-30T20:00:00Z", "2027-10-31T05:00:00Z"),
    ),
    (
        "America/New_York",
        "2028-03-11T21:30-05:00",
        "2028-03-12T07:30-04:00",
        ["2028-03-12T07:00:00Z"],
        ("2028-03-12T03:00:00Z", "2028-03-12T10:00:00Z"),
    ),
    (
        "America/New_York",
        "2028-11-04T21:30-04:00",
        "2028-11-05T07:30-05:00",
        ["2028-11-05T07:30:00Z"],
        ("2028-11-05T02:00:00Z", "2028-11-05T11:00:00Z"),
    ),
)


class Wall:
    """The wall clock of the program, moved by a file that its preloaded library reads."""

    def __init__(self, folder: Path) -> None:
        self.offset, self.library = moved_clock(folder)

    def to(self, then: datetime) -> None:
        away = then - datetime.now(UTC)
        self._off_by(round(away / timedelta(seconds=1)))

    def astray(self) -> None:
        """For a moment the program sees the machine's own time: months or years away."""
        before = int(self.offset.read_text())
        self._off_by(0)
        time.sleep(1.2)
        self._off_by(before)

    def _off_by(self, seconds: int) -> None:
        """At once: a file that is half written would be another time."""
        draft = self.offset.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.replace(self.offset)

    def server(self, product: Product, **env: str) -> Any:
        """A server that sees this clock; `env` adds to its environment."""
        return product.server(preload=self.library, WALL_CLOCK_OFFSET_FILE=str(self.offset), **env)


def add(server: Server, name: str, when: dict[str, Any], **fields: Any) -> str:
    """A schedule of jobs that nobody takes: what counts is which were submitted."""
    body = {"name": name, "job": {"job_type": "probe"}, "overlap": "allow", **when, **fields}
    status, made = server.post(SCHEDULES, body)
    expect(status == 200, f"{body}: {status} {made}")
    return str(made["schedule_id"])


def runs(server: Server, schedule_id: str) -> list[str]:
    """The nominal times of its last runs, oldest first."""
    status, found = server.get(f"{SCHEDULES}/{schedule_id}")
    expect(status == 200, f"{schedule_id}: {status} {found}")
    ran = [one for one in found.get("last_runs", []) if one["outcome"] == "submitted"]
    return [one["nominal_at"].replace(".000Z", "Z") for one in reversed(ran)]


def jobs(server: Server, name: str) -> list[dict[str, Any]]:
    """The jobs that a schedule has submitted."""
    status, found = server.get(f"/api/scheduler/queue/jobs?limit=200&label=schedule%3D{name}")
    expect(status == 200, f"jobs of {name}: {status} {found}")
    return list(found["jobs"])


@check(
    "schedules.daylight",
    "A nightly schedule over both daylight-saving changes, in two time zones, with the clock set back and astray between",
    command="leasehold schedule add backup --cron '30 2 * * *' --zone Europe/Berlin -- true   # and the wall clock moved",
    kind="quiet",
    budget_s=180,
)
def daylight(product: Product) -> str:
    """Through each night in half hours, an hour of it twice."""
    seen = 0
    with tempfile.TemporaryDirectory() as folder:
        wall = Wall(Path(folder))
        wall.to(datetime.fromisoformat(CHANGES[0][1]))
        with wall.server(product) as server:
            for number, (zone, evening, morning, nightly, (begin, end)) in enumerate(CHANGES):
                start, stop = datetime.fromisoformat(evening), datetime.fromisoformat(morning)
                wall.to(start)
                time.sleep(0.6)
                made = [
                    add(server, f"{name}-{number}", when, zone=zone, missed="all")
                    for name, when in (("night", NIGHTLY), ("hour", HOURLY), ("quiet", QUIET))
                ]
                for position, then in enumerate(_steps(start, stop)):
                    wall.to(then)
                    if position == 4:
                        wall.astray()
                    time.sleep(0.6)  # The next tick takes the clock up; a tick that is missed is made up for.
                first = start.astimezone(UTC).replace(minute=0) + timedelta(hours=1)
                hours = round((stop - first) / timedelta(hours=1))
                hourly = [f"{first + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}" for hour in range(hours + 1)]
                hourly = [one for one in hourly if datetime.fromisoformat(one) <= stop]
                for schedule_id, expected in zip(made, (nightly, hourly, [begin]), strict=True):
                    until(lambda one=schedule_id, all_=expected: len(runs(server, one)) >= len(all_), 10)
                    found = runs(server, schedule_id)
                    expect(found == expected, f"{zone} {evening}: ran {found}, not {expected}")
                    seen += len(found)
                job = jobs(server, f"quiet-{number}")
                deadline = job[0]["deadline_at"].replace(".000Z", "Z")
                expect(len(job) == 1 and deadline == end, f"one job by {end}, and there are {job}")
                expect(len(jobs(server, f"hour-{number}")) == len(hourly), "a job for each hour")
                for schedule_id in made:
                    expect(
                        server.call("DELETE", f"{SCHEDULES}/{schedule_id}")[0] == 204, "it was not removed"
                    )
    return f"{seen} runs around {len(CHANGES)} changes, each once, none lost; in each night the clock was set back an hour, and years away for a moment"


def _steps(start: datetime, stop: datetime) -> list[datetime]:
    """In half hours from start to stop; halfway the clock is set back by an hour."""
    count = round((stop - start) / timedelta(minutes=30))
    forward = [start + timedelta(minutes=30 * number) for number in range(1, count + 1)]
    half = count // 2
    return [*forward[:half], forward[half] - timedelta(hours=1), *forward[half:]]


@check(
    "schedules.off",
    "A server that was off for three days, under each missed-run policy",
    command="leasehold schedule add backup --cron '30 2 * * *' --missed all -- true; leasehold down   # three days; leasehold up",
    kind="quiet",
    budget_s=60,
)
def off(product: Product) -> str:
    """Killed, and started again three days later."""
    noon = datetime(2027, 1, 10, 12, tzinfo=UTC)
    nights = [f"2027-01-{day}T02:30:00Z" for day in (11, 12, 13)]
    expected = {"skip": [], "last": nights[-1:], "all": nights}
    with tempfile.TemporaryDirectory() as folder:
        wall = Wall(Path(folder))
        wall.to(noon)
        with wall.server(product) as server:
            made = {policy: add(server, policy, NIGHTLY, zone="UTC", missed=policy) for policy in expected}
            server.kill()
            wall.to(noon + timedelta(days=3))
            server.start()
            for policy, nominal in expected.items():
                until(lambda p=policy, n=nominal: len(runs(server, made[p])) >= len(n), 10)
            time.sleep(1.2)
            for policy, nominal in expected.items():
                found = runs(server, made[policy])
                expect(found == nominal, f"--missed {policy} ran {found}, not {nominal}")
                expect(
                    len(jobs(server, policy)) == len(nominal), f"--missed {policy}: {jobs(server, policy)}"
                )
            wall.to(noon + timedelta(days=3, hours=14, minutes=30, seconds=20))
            for policy, nominal in expected.items():
                came = until(lambda p=policy, n=nominal: len(runs(server, made[p])) == len(n) + 1, 10)
                expect(came is not None, f"--missed {policy} did not go on with the next night")
    return "none, one and three runs were made up for, and the next night had its run under each"


@check(
    "schedules.killed",
    "kill -9 at the moment of a run: no run is lost, none has two jobs",
    command="leasehold schedule add minute --cron '* * * * *' --missed all -- true; kill -9 SERVER; leasehold up",
    kind="quiet",
    budget_s=120,
)
def killed(product: Product) -> str:
    """Each minute of the moved clock the server dies at a random instant around the run."""
    rounds, draw = 12, random.Random(17)
    start = datetime(2027, 1, 10, 12, 0, 30, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        wall = Wall(Path(folder))
        wall.to(start)
        with wall.server(product) as server:
            made = add(server, "minute", {"cron": "* * * * *"}, zone="UTC", missed="all")
            for number in range(1, rounds + 1):
                wall.to(start + timedelta(minutes=number))
                time.sleep(draw.uniform(0, 0.8))
                server.kill()
                server.start()
            expected = [f"2027-01-10T12:{number:02d}:00Z" for number in range(1, rounds + 1)]
            until(lambda: len(runs(server, made)) >= rounds, 15)
            found, submitted = runs(server, made), jobs(server, "minute")
            late = [one for one in found if one not in expected]  # The clock goes on by itself, too.
            expect(found[:rounds] == expected and len(late) <= 1, f"ran {found}, not {expected}")
            expect(len(submitted) == len(found), f"{len(found)} runs, and {len(submitted)} jobs")
    return f"{rounds} kills around {rounds} runs: {len(found)} runs, {len(submitted)} jobs, none lost, none doubled"
