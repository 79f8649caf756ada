"""What goes on in `leasehold demo`: small jobs that mostly sleep, one for each state that a queue shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasehold.runtime.lean import elapsed_s, pause

if TYPE_CHECKING:
    from leasehold.client.sync import Client

LIVE = ["QUEUED", "HELD", "DISPATCHING", "RUNNING", "PAUSED"]
CLEAR_S = 10.0
POLL_S = 0.1


def _counts(noun: str, total: int, every_s: int = 2) -> list[str]:
    """A command that says how far it is, and does nothing else."""
    loop = f"n=0; while [ $n -lt {total} ]; do n=$((n+1)); echo {noun} $n of {total}; sleep {every_s}; done"
    return ["sh", "-c", loop]


def _job(title: str, argv: list[str], cost: int, **more: Any) -> dict[str, Any]:
    return {"title": title, "exec": {"argv": argv, "cwd": "/"}, "cost_units": cost, **more}


JOBS = (
    _job("thumbnails of the new photos", ["true"], 5, job_type="thumbnails", start="now"),
    _job("fetch podcasts", ["sh", "-c", "echo no route >&2; exit 3"], 5, job_type="fetch", start="now"),
    _job("transcode a holiday film", _counts("frame", 900), 40, key="film", job_type="transcode", start="now",
         expected_duration_sec=1_800),
    _job("index the library", _counts("book", 400, 4), 20, job_type="index", start="now"),
    _job("train the classifier", _counts("epoch", 200, 5), 60, job_type="train", start="now"),
    _job("send the film to the family", ["true"], 5, job_type="send", after=["@film"]),
    _job("check the disks", _counts("block", 100), 30, job_type="check", start="window"),
    _job("update the maps", _counts("tile", 300), 30, job_type="maps"),
    _job("full backup to tape", ["true"], 50, job_type="backup", hold=True),
    *(_job("render the house", _counts("frame", 60), 15, job_type="render", group="house", priority="LOW")
      for _ in range(12)),
)  # fmt: skip

NIGHTLY: dict[str, Any] = {
    "name": "backup",
    "nightly": {"from": "22:00", "by": "06:00"},
    "job": {"exec": {"argv": ["true"], "cwd": "/"}, "title": "nightly backup", "cost_units": 30},
}


def play(client: Client, folder: Path) -> None:
    """Submit the jobs and a schedule. `folder` is where their commands run."""
    import msgspec

    from leasehold.client import calls
    from leasehold.wire.job import Submit
    from leasehold.wire.schedule import ScheduleIn

    jobs = [job | {"exec": job["exec"] | {"cwd": str(folder)}} for job in JOBS]
    client.send(calls.SUBMIT_JOBS, msgspec.convert({"jobs": jobs}, Submit), timeout_s=60.0)
    nightly = NIGHTLY | {"job": NIGHTLY["job"] | {"exec": {"argv": ["true"], "cwd": str(folder)}}}
    client.send(calls.ADD_SCHEDULE, msgspec.convert(nightly, ScheduleIn), timeout_s=60.0)


def clear(client: Client) -> None:
    """End all jobs, and wait until nothing of them runs, a while at most."""
    from leasehold.client import calls
    from leasehold.client.lean import Unreachable
    from leasehold.model.errors import LeaseholdError
    from leasehold.wire.job import Bulk

    end_s = elapsed_s() + CLEAR_S
    try:
        client.send(calls.CHANGE_JOBS, Bulk(action="cancel", state=LIVE, grace_sec=0), timeout_s=30.0)
        while elapsed_s() < end_s and client.send(calls.STATUS).active:
            pause(POLL_S)
    except (LeaseholdError, Unreachable):
        return  # The server is ended all the same.
