"""The `run` tool: a command under a lease, its output and end, seen from the agent (LEASE-20)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.agent import ToolRefused, eventually, over_stdio
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-20")]


async def test_a_command_gives_its_output_and_exit_code(here: Machine) -> None:
    """In the folder that was named, with both streams, without standard input."""
    (here.folder / "sub").mkdir(exist_ok=True)
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        done = await agent("run", command="pwd; echo err >&2; cat; exit 3", cwd="sub", cost=20)
        assert (done["state"], done["outcome"], done["exit_code"]) == ("ended", "exited", 3)
        assert done["output"] == f"{here.folder}/sub\nerr\n"
        assert "exit code 3" in agent.text
        killed = await agent("run", command="kill -KILL $$", cost=20)
        assert (killed["outcome"], killed["exit_code"]) == ("signalled", 137)


@pytest.mark.requirement("SENSE-6")
async def test_it_runs_under_a_lease_of_its_own_at_low_weight(here: Machine) -> None:
    """Named after what is run, charged what was asked, bound, and given back."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        started = await agent(
            "run", command="cd . && X=1 sh -c 'nice; exec sleep 100' tests", cost=30, label="all", wait_sec=1
        )
        assert started["state"] == "running"
        held = await eventually(lambda: here.until_active("sh"), "its lease")
        assert (held["cost_units"], held["label"]) == (30, "all")
        assert any(one["role"] == "work" for one in held["bound"])
        stopped = await agent("run_stop", run_id=started["run_id"])
        assert (stopped["state"], stopped["outcome"]) == ("ended", "stopped")
        assert held.get("cgroup") or stopped["output"].strip() == "10"
        await eventually(lambda: not here.leases(), "the release")


async def test_a_long_one_answers_early_and_is_waited_for_by_its_id(here: Machine) -> None:
    """With what it has written so far, then with its end."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        script = "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; echo done"
        started = await agent("run", command=script, cost=20, wait_sec=1)
        assert (started["state"], started.get("exit_code")) == ("running", None)
        run_id = started["run_id"]
        found = await agent.until("run_status", lambda one: bool(one["output"]), run_id=run_id, wait_sec=0)
        assert found["output"] == "begun\n"
        (here.folder / "go-on").touch()
        ended = await agent("run_status", run_id=run_id)
        (here.folder / "go-on").unlink()
        assert (ended["state"], ended["exit_code"], ended["output"]) == ("ended", 0, "begun\ndone\n")


@pytest.mark.requirement("LEASE-7")
async def test_a_command_waits_for_room_and_then_starts_by_itself(here: Machine) -> None:
    """The early answer says its place and why; nothing has been started by then."""
    with here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100") as holder:
        await eventually(lambda: here.until_active("all"), "the other's lease")
        async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
            started = await agent("run", command="touch started; echo ran", cost=50, wait_sec=2)
            assert (started["state"], started["place"]) == ("waiting", 1)
            assert '"all"' in started["reason"]
            assert not (here.folder / "started").exists()
            holder.terminate()
            ended = await agent("run_status", run_id=started["run_id"])
            assert (ended["exit_code"], ended["output"]) == (0, "ran\n")
            assert ended["waited_sec"] >= 1
            (here.folder / "started").unlink()
            told = await agent("status")
            assert [one["run_id"] for one in told["runs"]] == [started["run_id"]]


async def test_a_wait_can_be_given_up(here: Machine) -> None:
    """Its place in the line goes."""
    with here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100") as holder:
        await eventually(lambda: here.until_active("all"), "the other's lease")
        async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
            started = await agent("run", command="echo never", cost=50, wait_sec=1)
            stopped = await agent("run_stop", run_id=started["run_id"])
            assert (stopped["state"], stopped["output"]) == ("ended", "")
            await eventually(lambda: not here.status()["waiting"], "an empty line")
        holder.terminate()


@pytest.mark.requirement("LEASE-13")
async def test_a_revoked_command_is_stopped_and_told_as_lost(here: Machine) -> None:
    """Exit code 76, with who took the machine back."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        started = await agent("run", command="exec sleep 100", job_type="taken", cost=30, wait_sec=1)
        held = await eventually(lambda: here.until_active("taken"), "its lease")
        await asyncio.to_thread(here.cli, "revoke", held["lease_id"], "--note", "mine now")
        ended = await agent("run_status", run_id=started["run_id"])
        assert (ended["state"], ended["outcome"], ended["exit_code"]) == ("ended", "lost", 76)
        assert "mine now" in ended["reason"]


async def test_output_is_bounded_and_its_end_is_kept(here: Machine) -> None:
    """A megabyte of it: the answer has the last of it, cut between letters, and says how much there was."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        program = "i=0; while [ $i -lt 20000 ]; do echo ääääääääääääääääääääääää; i=$((i+1)); done; echo end"
        done = await agent("run", command=program, cost=20, tail_bytes=1000, wait_sec=40)
        assert done["output_bytes"] == 20_000 * 49 + 4
        assert done["output_cut"] is True
        assert len(done["output"].encode()) <= 1000
        assert done["output"].endswith("ä\nend\n")
        assert "�" not in done["output"]


async def test_a_time_limit_ends_it(here: Machine) -> None:
    """Counted from its start, not from the asking."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        done = await agent("run", command="exec sleep 100", cost=20, timeout_sec=1)
        assert (done["state"], done["outcome"], done["exit_code"]) == ("ended", "timeout", 143)


async def test_closing_the_session_ends_the_command_and_frees_its_lease(here: Machine) -> None:
    """Also one that heeds no SIGTERM."""
    pid_file = here.folder / "stubborn"
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        script = f"trap '' TERM; echo $$ > {pid_file}; while :; do sleep 0.05; done"
        await agent("run", command=script, cost=30, wait_sec=1)
        pid = int(await eventually(lambda: pid_file.exists() and pid_file.read_text(), "its pid"))
    await eventually(lambda: not lives(pid), "its end", 5)
    await eventually(lambda: not here.leases(), "the release", 5)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_host_that_is_killed_leaves_nothing_and_no_complaint(here: Machine) -> None:
    """Both pipes break at once, with a command running whose end is then told to nobody."""
    process = here.start([LEASEHOLD, "mcp"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    hello = (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        '"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n'
        '{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"run",'
        '"arguments":{"command":"exec sleep 100","cost":40,"job_type":"orphan","wait_sec":1}}}\n'
    )
    process.stdin.write(hello)
    process.stdin.flush()
    await eventually(lambda: here.until_active("orphan"), "its lease")
    process.stdout.close()
    process.stdin.close()
    assert await asyncio.to_thread(process.wait, 30) == 0
    said = process.stderr.read()
    process.stderr.close()
    assert said == ""
    await eventually(lambda: not here.leases(), "the release", 5)


async def test_a_cancelled_call_ends_its_command(here: Machine) -> None:
    """Nobody has been told the id, so nobody could wait for it."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        calling = asyncio.create_task(
            agent("run", command="exec sleep 100", job_type="cancelled", wait_sec=50)
        )
        await eventually(lambda: here.until_active("cancelled"), "its lease")
        calling.cancel()
        await eventually(lambda: not here.leases(), "the release")


async def test_too_many_at_once_are_refused_with_what_to_do(here: Machine) -> None:
    """Eight wait or run; the ninth is told to wait for one of them."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        for _ in range(8):
            await agent("run", command="exec sleep 100", cost=5, wait_sec=0)
        with pytest.raises(ToolRefused, match="run_status"):
            await agent("run", command="true", cost=5)


async def test_modules_in_the_folder_do_not_shadow_ours(here: Machine) -> None:
    """A project may have a `json.py` or a `leasehold/` of its own."""
    shadow = here.folder / "shadow"
    (shadow / "leasehold").mkdir(parents=True)
    for name in ("json.py", "leasehold/__init__.py"):
        (shadow / name).write_text("raise SystemExit('not this one')\n")
    async with over_stdio(LEASEHOLD, here.env, shadow) as agent:
        done = await agent("run", command="echo fine", cost=20, cwd=os.fspath(shadow))
        assert (done["exit_code"], done["output"]) == (0, "fine\n")
