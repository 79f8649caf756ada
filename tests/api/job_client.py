"""A person and a worker at the queue of a real server, in few words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.api.real_server import RealServer, Reply

QUEUE = "/api/scheduler/queue"


class Queue:
    """What a test does with jobs. Each test has a job type of its own, so that they don't meet."""

    def __init__(self, server: RealServer, job_type: str, token: str = "") -> None:
        self.server, self.job_type = server, job_type
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def worker(self, name: str) -> Queue:
        """Another principal: a token with the role of a worker."""
        made = self.server.post("/api/tokens", {"name": name, "role": "worker"})
        assert made.status == 200, made
        return Queue(self.server, self.job_type, made.json["token"])

    def post(self, path: str, body: Any) -> Reply:
        return self.server.call("POST", f"{QUEUE}{path}", body, headers=self.headers)

    # -- as a person

    def submit(self, **fields: Any) -> str:
        """One job that is taken; its id."""
        reply = self.submitted(**fields)
        assert reply.status == 200, reply
        ident: str = reply.json["jobs"][0]["job_id"]
        return ident

    def submitted(self, **fields: Any) -> Reply:
        return self.post(
            "/jobs/submit", {"job_type": self.job_type, "cost_units": 1, "start": "now", **fields}
        )

    def submit_many(self, *jobs: dict[str, Any], **more: Any) -> Any:
        """Several jobs in one call; what became of each."""
        plain = {"job_type": self.job_type, "cost_units": 1, "start": "now"}
        reply = self.post("/jobs/submit", {"jobs": [{**plain, **each} for each in jobs], **more})
        assert reply.status == 200, reply
        return reply.json["jobs"]

    def get(self, ident: str) -> Any:
        reply = self.server.get(f"{QUEUE}/jobs/{ident}")
        assert reply.status == 200, reply
        return reply.json

    def state(self, ident: str) -> str:
        found: str = self.get(ident)["state"]
        return found

    def page(self, query: str = "") -> Any:
        reply = self.server.get(f"{QUEUE}/jobs?job_type={self.job_type}{query}")
        assert reply.status == 200, reply
        return reply.json

    def change(self, ident: str, action: str, **body: Any) -> Any:
        """An action that is allowed; the job after it."""
        reply = self.post(f"/jobs/{ident}/{action}", body)
        assert reply.status == 200, reply
        return reply.json

    def until(self, ident: str, *states: str, timeout_s: float = 40) -> Any:
        """Wait until it is in one of these states."""
        found: Any = None

        def there() -> bool:
            nonlocal found
            found = self.get(ident)
            return found["state"] in states

        try:
            until(there, timeout_s)
        except AssertionError:
            raise AssertionError(f"not {states} within {timeout_s} s: {found}") from None
        return found

    # -- as a worker

    def claim(self, **body: Any) -> list[Any]:
        """Claim jobs of this type."""
        reply = self.post("/claim", {"job_types": [self.job_type], "wait_sec": 10, **body})
        assert reply.status == 200, reply
        found: list[Any] = reply.json["jobs"]
        return found

    def claim_one(self, **body: Any) -> Any:
        """Claim the one job that is there."""
        found = self.claim(**body)
        assert len(found) == 1, found
        return found[0]

    def session(self) -> dict[str, Any]:
        """A lease to claim under."""
        asked = {"cost_units": 10, "job_type": self.job_type, "start": "now", "wait_sec": 20}
        reply = self.server.call("POST", "/api/scheduler/lease/request", asked, headers=self.headers)
        assert (reply.status, reply.json.get("approved")) == (200, True), reply
        return {key: reply.json[key] for key in ("lease_id", "fencing_token")} | {"concurrency": 10}

    def beat(self, lease: Any) -> Reply:
        path = f"/api/scheduler/lease/{lease['lease_id']}/heartbeat"
        return self.server.call("POST", path, {"fencing_token": lease["fencing_token"]}, headers=self.headers)

    def complete(self, claimed: Any, **more: Any) -> Reply:
        """Say how it ended, with what the claim said."""
        body = {key: claimed[key] for key in ("generation", "fencing_token")} | more
        return self.post(f"/jobs/{claimed['job_id']}/complete", body)

    def done(self, claimed: Any, **more: Any) -> str:
        """A completion that is taken; the job's state."""
        reply = self.complete(claimed, **more)
        assert reply.status == 200, reply
        state: str = reply.json["state"]
        return state


def until(what: Callable[[], Any], timeout_s: float = 40) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s; the last was {json.dumps(what(), default=str)}")


def refused(reply: Reply, status: int, code: str) -> Any:
    """The answer is this problem, whole."""
    assert (reply.status, reply.json.get("code")) == (status, code), reply
    assert reply.json["detail"], reply
    return reply.json
