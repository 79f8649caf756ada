"""Real jobs for the tests of the page: commands that the built-in runner runs."""

from __future__ import annotations

from typing import Any

from leasehold.testing import browser as real
from tests.api.real_server import RealServer

QUEUE = "/api/scheduler/queue/jobs"
HOSTILE = "<b>bold</b> <script>document.title='x'</script> \x1b[31mred\x1b[0m \u202egnp.exe"


def command(*argv: str, **more: Any) -> dict[str, Any]:
    """A job that is a command, and starts as soon as there is room."""
    return {"exec": {"argv": list(argv), "cwd": "/tmp"}, "start": "now", "cost_units": 1, **more}


def submitted(machine: RealServer, **job: Any) -> str:
    """Submit it; its id."""
    reply = machine.post(f"{QUEUE}/submit", job)
    assert reply.status == 200, reply
    assert reply.json["taken"] == 1, reply.json
    ident: str = reply.json["jobs"][0]["job_id"]
    return ident


def job(machine: RealServer, ident: str) -> Any:
    """A job as the server tells it."""
    return machine.get(f"{QUEUE}/{ident}").json


def reaches(machine: RealServer, ident: str, state: str) -> bool:
    """Wait until it is in this state."""
    return real.until(lambda: job(machine, ident)["state"] == state, 60)


def many_kinds(machine: RealServer) -> dict[str, str]:
    """One that runs, one that failed, one held, one that comes after another, a group; their ids."""
    writes = "i=0; while :; do i=$((i+1)); echo line $i; echo careful $i >&2; sleep 0.5; done"
    ids = {
        "runs": submitted(machine, **command("sh", "-c", writes, title="compile the kernel", cost_units=60)),
        "fails": submitted(machine, **command("sh", "-c", "echo oh no >&2; exit 3", title="a failing one")),
        "hostile": submitted(machine, **command("echo", "hello", title=HOSTILE, labels={"project": "home"})),
    }
    assert reaches(machine, ids["runs"], "RUNNING")
    assert reaches(machine, ids["fails"], "FAILED")
    assert reaches(machine, ids["hostile"], "DONE")
    ids["held"] = submitted(machine, **command("true", title="held by hand", hold=True))
    ids["after"] = submitted(machine, **command("true", title="and then that", after=[ids["held"]]))
    frames = [
        command("sleep", "600", title=f"frame {n}", group="film", index=n, cost_units=60)
        for n in range(1, 31)
    ]
    assert machine.post(f"{QUEUE}/submit", {"jobs": frames}).json["taken"] == 30
    ids["data"] = submitted(
        machine, job_type="train", payload={"model": "small", "layers": [1, 2]}, title="train a model"
    )
    return ids
