"""`leasehold backup` and `leasehold store`, typed: on a running server, and on a stopped one (OPS-15)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, machine

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "backup.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-15", "OPS-18")]


@pytest.fixture
def here() -> Iterator[Machine]:
    """A machine of each test's own: its server is stopped and its store replaced."""
    with machine() as found:
        yield found


def test_a_running_server_is_backed_up_and_restored(here: Machine) -> None:
    """Made, listed, checked, restored by a part of its id; what was submitted since is gone."""
    here.cli("submit", "--hold", "--", "true")
    made = here.cli("backup", "now", "--quiet").stdout.strip()
    assert re.fullmatch(r"backup-\d{8}-\d{6}(-\d+)?", made)
    listed = json.loads(here.cli("backup", "list", "--json").stdout)
    assert [one["backup_id"] for one in listed["backups"]] == [made]
    checked = here.cli("backup", "check")
    assert (checked.returncode, f"{made} is sound" in checked.stderr) == (0, True)
    here.cli("submit", "--hold", "--", "false")
    before = json.loads(here.cli("queue", "--json").stdout)
    refused = here.cli("backup", "restore", made)
    assert (refused.returncode, "Say --yes" in refused.stderr) == (64, True)
    dry = here.cli("backup", "restore", made[-6:], "--dry-run")
    assert "JobSubmitted 1" in dry.stdout
    assert json.loads(here.cli("queue", "--json").stdout) == before
    done = here.cli("backup", "restore", made[-6:], "--yes")
    assert (done.returncode, done.stdout.strip()) == (0, made), done.stderr
    shown = here.cli("store", "show")
    assert re.search(r"restore +done", shown.stdout), shown.stdout
    assert len(here.cli("queue", "--quiet").stdout.split()) == 1


def test_a_stopped_server_is_backed_up_and_restored(here: Machine) -> None:
    """The same verbs on its data folder; a damaged backup and a held folder are refused in one sentence."""
    here.cli("submit", "--hold", "--", "true")
    here.down()
    made = here.cli("backup", "now", "--quiet")
    assert made.returncode == 0, made.stderr
    name = made.stdout.strip()
    assert "\n" not in name
    path = here.data / "backups" / name / "leasehold.sqlite3"
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    for words in (("backup", "check"), ("backup", "restore", "--to", "now", "--yes")):
        damaged = here.cli(*words)
        assert (damaged.returncode, "is damaged" in damaged.stderr) == (73, True)
        assert len(damaged.stderr.splitlines()) == 1
    path.write_bytes(sound)
    compacted = here.cli("store", "compact")
    assert (compacted.returncode, "given back" in compacted.stderr) == (0, True)
    done = here.cli("backup", "restore", "--to", "now", "--yes")
    assert done.returncode == 0, done.stderr
    assert len(list(here.data.glob("*.replaced-*"))) == 1
    here.up()
    assert len(here.cli("queue", "--quiet").stdout.split()) == 1
    assert "StoreRestored" in here.cli("events").stdout


def test_what_is_not_there_is_said(here: Machine) -> None:
    """Which ones there are, what a time looks like, that one of the two has to be named."""
    for words, code, told in (
        (("backup", "restore", "backup-20200101-000000", "--yes"), 66, "there is no backup"),
        (("backup", "restore", "--to", "yesterday", "--yes"), 66, "no backup that can be used"),
        (("backup", "restore"), 64, "say which"),
        (("backup", "check", "nothing"), 66, "there is no backup nothing"),
    ):
        refused = here.cli(*words)
        assert (refused.returncode, told in refused.stderr) == (code, True), f"{words}: {refused.stderr}"
    here.cli("backup", "now")
    bad = here.cli("backup", "restore", "--to", "teatime", "--yes")
    assert (bad.returncode, "expected a time, like yesterday" in bad.stderr) == (64, True)
    early = here.cli("backup", "restore", "--to", "2020-01-01", "--yes")
    assert (early.returncode, "no backup is that old" in early.stderr) == (66, True)


@pytest.mark.requirement("OPS-24")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(BLOCKS.index(block)))
def test_an_example_of_the_guide_works_as_typed(here: Machine, block: str) -> None:
    """Typed into a shell, each line succeeds; `yesterday` stands for what there is of it: now."""
    here.cli("backup", "now")
    shell = here.start(["bash", "-euc", block.replace("yesterday", "now")])
    out, err = shell.communicate(timeout=240)
    assert shell.returncode == 0, f"{block}\n---\n{out}\n{err}"
    assert "Traceback" not in err
