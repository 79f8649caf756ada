"""What `leasehold why` says would start a waiting job, typed back, starts it (QUEUE-3, OPS-18)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-24")]

COMMAND = re.compile(r"`(leasehold [^`]+)`")


@pytest.fixture(scope="module")
def quiet() -> Iterator[Machine]:
    """A machine that judges how quiet it is, and is taken for quiet whatever runs beside the test."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    found = Machine(folder, LEASEHOLD_PRESET="server")
    found.up()
    try:
        found.until(lambda: found.status()["quiet_state"] != "UNKNOWN", "the first measurement")
        as_before(found)
        yield found
    finally:
        found.down()
        shutil.rmtree(folder, ignore_errors=True)


def submit(here: Machine, *options: str) -> str:
    """A job that would take a moment."""
    done = here.cli("submit", "--quiet", *options, "--", "true")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(here: Machine, job_id: str) -> str:
    return str(json.loads(here.cli("describe", job_id, "--json").stdout)["state"])


def held(here: Machine) -> str:
    return submit(here, "--hold")


def blocked(here: Machine) -> str:
    here.cli("block", "--for", "1h", "--note", "recording")
    return submit(here, "--start", "now")


def in_a_blocking_window(here: Machine) -> str:
    here.cli("window", "add", "block", "--from", "00:00", "--to", "24:00")
    return submit(here, "--start", "now")


def no_window(here: Machine) -> str:
    return submit(here, "--start", "window")


def closed_window(here: Machine) -> str:
    here.cli("window", "add", "allow", "--from", "03:00", "--to", "03:01", "--days", far_day(here))
    return submit(here, "--start", "window")


def outside_of_the_only_window(here: Machine) -> str:
    here.cli("window", "add", "allow", "--only", "--from", "03:00", "--to", "03:01", "--days", far_day(here))
    return submit(here)


def busy(here: Machine) -> str:
    here.cli("pretend", "busy", "--for", "1h")
    return submit(here, "--cost", "5")


def over_quota(here: Machine) -> str:
    here.cli("tenant", "set", "default", "--units", "10")
    return submit(here, "--cost", "30")


def over_memory_quota(here: Machine) -> str:
    here.cli("tenant", "set", "default", "--memory", "1M")
    return submit(here, "--mem", "100M", "--cost", "5")


def over_cpu_quota(here: Machine) -> str:
    here.cli("tenant", "set", "default", "--cpu", "0.1")
    return submit(here, "--cpu", "0.5", "--cost", "5")


def far_day(here: Machine) -> str:
    """A day of the week that is neither today nor near."""
    done = here.start(["date", "-d", "+3 days", "+%a"], env={"LC_ALL": "C"})
    return done.communicate(timeout=20)[0].strip().lower()


SCENES = [
    held, blocked, in_a_blocking_window, no_window, closed_window, outside_of_the_only_window, busy,
    over_quota, over_memory_quota, over_cpu_quota,
]  # fmt: skip


def as_before(here: Machine) -> None:
    """Take everything back that a scene has said."""
    here.cli("allow")
    here.cli("pretend", "quiet", "--for", "1h")
    for window in json.loads(here.cli("window", "list", "--json").stdout):
        here.cli("window", "remove", window["wid"])
    here.cli("tenant", "set", "default", "--units", "none", "--memory", "none", "--cpu", "none")
    here.cli("cancel", "--yes", "--grace", "0", "--state", "queued,held")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_why_suggests_starts_the_job(quiet: Machine, scene: Callable[[Machine], str]) -> None:
    """The job waits; the first command in the answer of `why` is typed as it stands; the job is done."""
    try:
        job_id = scene(quiet)
        said = quiet.cli("why", job_id).stdout
        assert state(quiet, job_id) in ("QUEUED", "HELD"), said
        suggested = COMMAND.findall(said)
        assert suggested, f"nothing to type in:\n{said}"
        done = quiet.start([LEASEHOLD, *shlex.split(suggested[0])[1:]])
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, f"{suggested[0]}: {out}{err}"
        quiet.until(lambda: state(quiet, job_id) == "DONE", f"{job_id} after {suggested[0]}", 60)
    finally:
        as_before(quiet)
