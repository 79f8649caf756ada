"""The options of `leasehold run`: what is understood, and what is asked of the server for it."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.cli.run import options
from leasehold.cli.run.options import Usage, body, job_type, parse
from leasehold.wire.lease import HeavyLeaseRequest


@pytest.mark.requirement("LEASE-18")
def test_every_option_makes_a_request_that_the_api_accepts() -> None:
    """`run` sends plain JSON for speed; with everything set it fits the schema of the API exactly."""
    words = """
        --cost 40 --cpu 2.5 --mem 8G --disk 1.5GiB --gpu 1 --priority high --start quiet --wait 1h30m
        --lock a --lock b --slots s=3 --slots t --constraint cpu-heavy --constraint gpu --expect 10m
        --job-type x --label y --on-busy pause --on-lost stop --when-down fail --ticket tkt-1
        --status-file f --server http://h -- make test
    """
    wanted = parse(words.split())
    request = msgspec.convert(body(wanted), HeavyLeaseRequest)
    assert request.cost_units == 40
    assert request.resources is not None
    assert request.resources.cpu_millicores == 2500
    assert request.resources.memory_bytes == 8 << 30
    assert request.resources.disk_bytes == 3 << 29
    assert request.resources.devices == {"gpu": 1}
    assert request.priority == "HIGH"
    assert request.start == "quiet"
    assert request.locks == ["a", "b"]
    assert [(slot.name, slot.size) for slot in request.slots] == [("s", 3), ("t", None)]
    assert request.constraints == ["cpu_heavy", "gpu"]
    assert request.path is not None
    assert request.expected_duration_sec == 600
    assert (request.job_type, request.label) == ("x", "y")
    assert (request.on_busy, request.on_lost) == ("pause", "stop")
    assert wanted.wait == 5400


@pytest.mark.requirement("LEASE-18", "LEASE-24")
def test_without_options_the_cost_is_what_was_learned() -> None:
    """Class AUTO: the server takes the learned cost, else that of class NORMAL."""
    asked = {"job_type": "make test", "cost_class": "AUTO", "start": "now"}
    assert body(parse(["--", "make", "test"])) == asked


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["make", "test"], ["make", "test"]),
        (["--cost", "4", "make", "--cost", "5"], ["make", "--cost", "5"]),
        (["--cost=4", "--", "--odd"], ["--odd"]),
        (["--quiet", "-", "x"], ["-", "x"]),
    ],
)
def test_the_command_begins_at_the_first_word_that_is_no_option(words: list[str], command: list[str]) -> None:
    """Options after that belong to the command."""
    assert parse(words).command == command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no command"),
        (["--cost"], "needs a value"),
        (["--cost", "0", "x"], "from 1 to 100"),
        (["--cost", "101", "x"], "from 1 to 100"),
        (["--cpu", "none", "x"], "number of cores"),
        (["--mem", "8X", "x"], "expected a size"),
        (["--wait", "soon", "x"], "expected a duration"),
        (["--wiat", "5m", "x"], "did you mean --wait?"),
        (["--priority", "huge", "x"], "URGENT"),
        (["--slots", "s=0", "x"], "NAME=SIZE"),
        (["--quiet=yes", "x"], "takes no value"),
        (["--cost", "3", "--class", "LOW", "x"], "give one"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_was_expected(words: list[str], told: str) -> None:
    """A sentence names the option and the values that it takes."""
    with pytest.raises(Usage, match=told.replace("?", r"\?")):
        parse(words)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("make test", "make test"),
        ("make -j8 test", "make test"),
        ("/usr/bin/python3 -m pytest tests", "python3 pytest"),
        ("cargo build --release", "cargo build"),
        ("ffmpeg -i film.mp4 out.mkv", "ffmpeg"),
        ("sleep 30", "sleep"),
        ("true", "true"),
        ("mysql --password=hunter2 db.example", "mysql"),
    ],
)
def test_the_job_type_is_the_commands_name_and_its_verb(command: str, expected: str) -> None:
    """Costs are learned per job type, so it holds no file names; nor anything that could be private."""
    assert job_type(command.split()) == expected


def test_a_command_with_control_characters_has_a_printable_job_type() -> None:
    """The name is shown in other users' terminals, and the API refuses control characters."""
    found = job_type(["./a\x1b[2Jb"])
    assert found.isprintable()
    msgspec.convert({"job_type": found}, HeavyLeaseRequest)


def test_help_names_every_option_once() -> None:
    """The help is made from the table that is parsed by."""
    text = options.help_text()
    assert all(text.count(f"  {option.name} ") == 1 for option in options.OPTIONS)
