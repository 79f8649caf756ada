"""`leasehold replay` as it is typed: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leasehold.cli import exits
from leasehold.cli.app import main
from leasehold.testing.swf import made_up

pytestmark = pytest.mark.requirement("QUEUE-18")


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but the defaults, and no data folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LEASEHOLD_DATA", str(tmp_path / "data"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "LEASEHOLD_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "made-up.swf"
    path.write_text(made_up(5, 300, processors=32, load=1.2))
    return str(path)


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, object]]:
    """The figures by variant."""
    assert main(["replay", *words, "--json"]) == exits.DONE
    document = json.loads(capsys.readouterr().out)
    return {each["name"]: each["figures"] for each in document["variants"]}


def test_a_trace_as_a_table(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What people read: the node, the waiting, the slowdown, the use; remarks go to standard error."""
    assert main(["replay", trace]) == exits.DONE
    told = capsys.readouterr()
    assert told.out.startswith("made-up.swf: 300 jobs on 32 cores\n")
    for word in ("as set here", "had to wait", "waiting, p95", "slowdown, mean", "use of cpu"):
        assert word in told.out
    assert "no job says how long it takes" in told.err


def test_policies_and_another_node_stand_side_by_side(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with other weights changes who waits, twice the cores how long; nothing is lost."""
    policy = tmp_path / "other.toml"
    policy.write_text("[line.holder_weights]\nuser-0 = 50\n")
    told = figures(capsys, trace, "--estimates", "exact", "--policy", str(policy), "--cpu", "64")
    assert list(told) == [
        "as set here",
        "as set here on the other node",
        "other.toml",
        "other.toml on the other node",
    ]
    assert all(each["started"] == 300 for each in told.values())
    waits = {name: each["waiting_sec"] for name, each in told.items()}
    assert waits["as set here"] != waits["other.toml"]
    assert waits["as set here on the other node"]["mean"] < waits["as set here"]["mean"]  # type: ignore[index]


def test_what_is_known_of_times_and_how_much_comes_at_once(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Estimates, spacing, one holder, fewer jobs: each gives another day, and the seed the same one again."""
    plain = figures(capsys, trace, "--estimates", "exact")
    for words in (
        ("--estimates", "learned"),
        ("--estimates", "x5"),
        ("--estimates", "exact", "--spacing", "0.5"),
        ("--estimates", "exact", "--as-one"),
        ("--estimates", "exact", "--jobs", "100"),
    ):
        assert figures(capsys, trace, *words) != plain
    once = figures(capsys, trace, "--estimates", "x5", "--seed", "3")
    assert once == figures(capsys, trace, "--estimates", "x5", "--seed", "3")
    assert once != figures(capsys, trace, "--estimates", "x5", "--seed", "4")


def test_a_trace_that_knows_when_jobs_started_has_a_column_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What really happened stands first; deadlines that were missed are counted in both."""
    path = tmp_path / "day.csv"
    path.write_text("at,runs,cpu,by,started\n0,10,4,,0\n1,10,4,40,50\n2,10,4,,60\n")
    assert main(["replay", str(path)]) == exits.DONE
    told = capsys.readouterr().out
    assert "recorded" in told.splitlines()[1]
    missed = next(line for line in told.splitlines() if line.startswith("deadlines missed"))
    assert missed.split("missed")[1].split() == ["1", "of", "1", "0", "of", "1"]


def test_a_dry_run_says_what_would_be_replayed(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on standard output."""
    assert main(["replay", trace, "--dry-run", "--estimates", "exact"]) == exits.DONE
    told = capsys.readouterr()
    assert told.out == ""
    assert "would replay 300 jobs of made-up.swf on 32 cores" in told.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["/no/such/file"], exits.BAD_FILE, "there is no file /no/such/file"),
        ([], exits.BAD_FILE, "is no data folder of leasehold"),
        (["--data", "/proc"], exits.BAD_FILE, "--data names another folder"),
        (["--range", "soon"], exits.USAGE, "--range: expected a duration"),
        (["TRACE", "--policy", "/no/such.toml"], exits.BAD_FILE, "there is no file /no/such.toml"),
        (["TRACE", "--policy", "BAD"], exits.CONFIGURATION, "unknown setting lines"),
        (["TRACE", *["--policy", "BAD"] * 9], exits.USAGE, "at most 8 policies"),
        (["TRACE", "--cpu", "many"], exits.USAGE, "expected a number of cores"),
        (["TRACE", "--mem", "much"], exits.USAGE, "expected a size"),
        (["TRACE", "--spacing", "0"], exits.USAGE, "--spacing: expected a factor"),
        (["TRACE", "--spacing", "nan"], exits.USAGE, "--spacing: expected a factor"),
        (["TRACE", "--estimates", "x0.5"], exits.USAGE, "expected a factor from 1"),
        (["TRACE", "--estimates", "good"], exits.USAGE, "expected asked, exact, learned"),
        (["BAD"], exits.BAD_FILE, "line 1: no column is called"),
    ],
)
def test_what_can_not_be_replayed_is_said_in_one_line(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    """The exit code tells what was wrong: the words, a file, the configuration."""
    bad = tmp_path / "bad.toml"
    bad.write_text("lines.looked_at = 3\n")
    names = {"TRACE": trace, "BAD": str(bad)}
    assert main(["replay", *[names.get(word, word) for word in words]]) == code
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
