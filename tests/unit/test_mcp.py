"""What `leasehold mcp` makes of arguments, and what it says."""

from __future__ import annotations

import json
import os
import shlex

import pytest

from leasehold.cli.run import options
from leasehold.cli.run.say import Voice
from leasehold.integrations.mcp import say
from leasehold.integrations.mcp.agents import AGENTS, environment, lines
from leasehold.integrations.mcp.answers import HeartbeatAnswer, LeaseAnswer, RunAnswer
from leasehold.integrations.mcp.arguments import Ask, job_type_of
from leasehold.integrations.mcp.leases import HOLD_S, HOLD_S_MAX, HOLD_S_MIN, hold_of

pytestmark = pytest.mark.requirement("LEASE-20")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("make test", "make test"),
        ("make -j4 all", "make all"),
        ("cd /home/me/secret && CC=gcc make all", "make all"),
        ("cd x && cd y && ./gradlew build", "gradlew build"),
        ("python -m pytest tests/unit", "python pytest"),
        ("curl -H token=abc https://host/x", "curl"),
        ("A=1 B=2", "shell"),
        ("cd somewhere", "shell"),
        ("echo 'unbalanced", "shell"),
        ("", "shell"),
    ],
)
def test_the_kind_of_work_is_read_from_the_command_line(line: str, kind: str) -> None:
    """So that its cost is learned from run to run; nothing private gets into it."""
    assert job_type_of(line) == kind


@pytest.mark.parametrize(
    ("expected_s", "hold_s"),
    [(None, HOLD_S), (1, HOLD_S_MIN), (200, 600), (100_000, HOLD_S_MAX)],
)
def test_a_lease_is_held_for_a_bounded_time(expected_s: int | None, hold_s: int) -> None:
    """Three times what was expected, within limits."""
    assert hold_of(expected_s) == hold_s


@pytest.mark.parametrize(
    "ask",
    [
        Ask(),
        Ask(cost=40, label="a=b c", job_type="make test", expected_s=90),
        Ask(cpu=2.5, memory_mib=512, gpus=1, start="now"),
        Ask(cpu=0.0001),
    ],
)
def test_run_asks_for_the_same_as_request(ask: Ask) -> None:
    """The options handed to `leasehold run` mean the request that the `request` tool sends."""
    wanted = options.parse([*ask.options(), "--", "sh"])
    ours, theirs = ask.request(), options.body(wanted)
    assert theirs.get("cost_units") == ours.cost_units
    assert theirs.get("cost_class") == ours.cost_class
    assert theirs["start"] == ours.start
    assert theirs.get("label", "") == ours.label
    assert theirs.get("expected_duration_sec") == ours.expected_duration_sec
    resources = ours.resources
    assert theirs.get("resources", {}).get("memory_bytes") == (resources and resources.memory_bytes)
    assert theirs.get("resources", {}).get("cpu_millicores") == (resources and resources.cpu_millicores)


def test_words_say_what_the_fields_say() -> None:
    """A host may show a model only one of them."""
    granted = LeaseAnswer(granted=True, lease_id="lease-1", cost_units=40, hold_sec=300, next="Do it.")
    assert say.lease(granted) == "Granted: lease-1, 40 units. Do it."
    denied = LeaseAnswer(granted=False, place=2, reason="no room", expected_start_sec=30, next="Wait.")
    assert say.lease(denied) == (
        "Not now (place 2 in the line): no room. Expected to start in about 30 s. Wait."
    )
    stopped = HeartbeatAnswer(
        lease_id="lease-1", action="stop", state="REVOKING", reason="why", deadline_sec=9
    )
    assert say.heartbeat(stopped) == "Stop the work within 9 s: lease-1 is REVOKING (why)."
    ended = RunAnswer(
        run_id="run-1",
        state="ended",
        outcome="exited",
        exit_code=3,
        next="Done.",
        ran_sec=1.5,
        output="ä\n",
        output_bytes=900,
        output_cut=True,
    )
    assert say.run(ended) == (
        "run-1: ended (exited), exit code 3; ran 1.5 s.\nOutput, the last 3 of 900 bytes:\nä\n"
    )


@pytest.mark.parametrize("agent", AGENTS)
def test_each_agent_is_told_the_program_and_what_finds_the_server(agent: str) -> None:
    """Commands are quoted for a shell, files are JSON."""
    env = environment({"LEASEHOLD_DATA": "/a b", "LEASEHOLD_TOKEN": "lsh_x", "HOME": "/h"})
    assert env == {"LEASEHOLD_DATA": "/a b"}
    told = lines(agent, ["/opt/x y/leasehold", "mcp"], env)
    if "{" in told:
        document = json.loads(told[told.index("{") :])
        entry = next(iter(document.values()))["leasehold"]
        assert (entry["command"], entry["args"], entry["env"]) == ("/opt/x y/leasehold", ["mcp"], env)
    else:
        words = shlex.split(told)
        assert words[words.index("--") :] == ["--", "/opt/x y/leasehold", "mcp"]
        assert words[words.index("--env") + 1] == "LEASEHOLD_DATA=/a b"


# -- `leasehold run --messages-fd` ---------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-18")
def test_messages_go_to_the_descriptor_that_was_named() -> None:
    """As JSON, whatever else was asked for; the command does not inherit it."""
    read, write = os.pipe()
    try:
        os.set_inheritable(write, True)
        wanted = options.parse([f"--messages-fd={write}", "--quiet", "--", "true"])
        assert not os.get_inheritable(write)
        voice = Voice(quiet=wanted.quiet, fd=wanted.messages_fd)
        voice.tell("running", "running", lease_id="lease-1")
        assert json.loads(os.read(read, 4096)) == {
            "kind": "running",
            "message": "running",
            "lease_id": "lease-1",
        }
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.requirement("LEASE-18")
@pytest.mark.parametrize("number", ["2", "-1", "x", "99999", "1048577"])
def test_a_descriptor_that_is_not_open_is_refused(number: str) -> None:
    """Before anything is asked for."""
    with pytest.raises(options.Usage, match="open file descriptor"):
        options.parse([f"--messages-fd={number}", "--", "true"])
