"""The tools of the queue: commands that an agent leaves to it (LEASE-20)."""

from __future__ import annotations

import pytest

from tests.e2e.agent import ToolRefused, over_stdio
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-20", "QUEUE-16")]


async def test_a_submitted_command_outlives_the_session(here: Machine) -> None:
    """It is named at once, goes on without the agent, and tells its end and output to the next session."""
    mark = here.folder / "go-on"
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        script = f"echo begun; until test -e {mark}; do sleep 0.1; done; echo err >&2; exit 4"
        filed = await agent("submit", command=script, cost=20, within_sec=3600, label="nightly")
        assert filed["job_id"].startswith("job-")
        assert filed["done_by"]
        running = await agent("job_status", job_id=filed["job_id"], wait_sec=1)
        assert running["state"] in ("QUEUED", "DISPATCHING", "RUNNING")
        assert "goes on by itself" in agent.text
    mark.touch()
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        over = await agent("job_status", job_id=filed["job_id"], wait_sec=30)
        assert (over["state"], over["exit_code"]) == ("FAILED", 4)
        assert over["output"] == "begun\nerr\n"
        short = await agent("job_status", job_id=filed["job_id"], wait_sec=0, tail_bytes=4)
        assert short["output"] == "err\n"
        why = await agent("why", subject=filed["job_id"])
        assert "exit code 4" in why["sentence"]


async def test_a_submitted_command_is_cancelled(here: Machine) -> None:
    """Where it waits or runs; what is no job, or unknown, is told."""
    async with over_stdio(LEASEHOLD, here.env, here.folder) as agent:
        filed = await agent("submit", command="sleep 600", cost=20)
        await agent("job_cancel", job_id=filed["job_id"])
        over = await agent("job_status", job_id=filed["job_id"], wait_sec=30)
        assert over["state"] == "CANCELED"
        with pytest.raises(ToolRefused, match="expected the job_id"):
            await agent("job_cancel", job_id="lease-1")
        with pytest.raises(ToolRefused, match="no job job-00000000000 is known"):
            await agent("job_status", job_id="job-00000000000")
