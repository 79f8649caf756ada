"""Power loss under a load of jobs, and the order of flushes and answers."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from accept.harness import check, expect
from accept.product import Product, Server
from accept.queue.callers import QUEUE
from accept.recorded import recorded, traced
from leasehold.testing import flush_order
from leasehold.testing.told import power_failures
from leasehold.testing.told_jobs import FLUSHED, ToldOfJobs

POINTS = 240
LOADED_S = 2.0
AT_ONCE = 4


class Cycles(threading.Thread):
    """Submits, claims and completes, single and in batches, with own leases or under a session's."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.kind = f"{'session' if number % 2 else 'own'}-{number}"
        self.going = True
        self.wrong: list[str] = []
        self.session: dict[str, Any] = {}

    def run(self) -> None:
        try:
            if self.number % 2:
                lease = self.server.request(cost_units=4, start="now", wait_sec=10)
                self.session = {"lease_id": lease["lease_id"], "fencing_token": lease["fencing_token"]}
            turn = 0
            while self.going:
                self._cycle(1 if turn % 3 else 5)
                turn += 1
        except OSError:
            return  # The server was killed: what was not answered was not told.
        except Exception as error:  # noqa: BLE001 - what fell over has shown nothing
            self.wrong.append(f"{type(error).__name__}: {error}")

    def _cycle(self, count: int) -> None:
        job = {"job_type": self.kind, "cost_units": 1, "start": "now", "payload": {"fill": "x" * 300}}
        self._post("jobs/submit", {"jobs": [job] * count})
        body: dict[str, Any] = {"max": count, "job_types": [self.kind]}
        if self.session:
            body["session"] = {**self.session, "concurrency": 4}
        found = self._post("claim", body)
        items = [
            {
                "job_id": each["job_id"],
                "generation": each["generation"],
                "fencing_token": each.get("fencing_token") or found["fencing_token"],
                "result": {"of": each["job_id"]},
            }
            for each in found["jobs"]
        ]
        if len(items) == 1:
            self._post(f"jobs/{items[0].pop('job_id')}/complete", items[0])
        elif items:
            told = self._post("complete", {"items": items})
            expect(not told["refused"], f"completions were refused: {json.dumps(told)[:300]}")

    def _post(self, path: str, body: Any) -> Any:
        status, found = self.server.post(f"{QUEUE}/{path}", body)
        expect(status == 200, f"{path} was answered {status}: {str(found)[:300]}")
        return found


def loaded(server: Server, *, kill: bool) -> None:
    """Load it for a while; `kill`: with kill -9 at the end, in the middle of it all."""
    loads = [Cycles(server, number) for number in range(AT_ONCE)]
    for load in loads:
        load.start()
    time.sleep(LOADED_S)
    if kill:
        server.kill()
    for load in loads:
        load.going = False
    for load in loads:
        load.join(30)
        expect(not load.wrong, f"under load: {load.wrong[:2]}")


def loaded_and_killed(server: Server) -> None:
    """A load, a kill in the middle of it, a recovery and a load."""
    loaded(server, kill=True)
    server.start()
    loaded(server, kill=False)


def flushes(steps: list[flush_order.Step], least: int) -> int:
    """Hold every step of every job against the order of flushes; how many were judged."""
    judged = 0
    for what, (stored, told) in FLUSHED.items():
        verdict = flush_order.judge(steps, stored, told)
        expect(not verdict.early, f"{what}, {len(verdict.early)} times: {'; '.join(verdict.early[:3])}")
        expect(verdict.judged >= least, f"only {verdict.judged} jobs were seen to be {what}")
        judged += verdict.judged
    return judged


@check(
    "jobs.power_loss",
    "Power loss at 200 points under load of jobs: no acknowledged job, generation or result lost; no submit, claim or "
    "completion is answered before its flush",
    command="LD_PRELOAD=lost_writes.so leasehold up --foreground",
    budget_s=180,
)
def power_loss_of_jobs(product: Product) -> str:
    """One record over a load, a kill, a recovery and a load; the disk rebuilt at each point, two ways."""
    with recorded(product, loaded_and_killed) as (ops, data, images):
        wrong, told = power_failures(ops, data, images, ToldOfJobs(), points=POINTS, seed=3)
    expect(not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")
    judged = flushes(list(flush_order.from_record(ops)), 30)
    expect(len(told.done) > 50, f"only {len(told.done)} jobs were done")
    return (
        f"{POINTS} points: none of {len(told.submitted)} jobs, {len(told.handed)} claims and "
        f"{len(told.done)} results lost; {judged} answers after their flush"
    )


@check(
    "jobs.flush_order",
    "A trace of system calls shows no submit, claim or completion answered before its flush",
    command="strace -f leasehold up --foreground",
    budget_s=90,
)
def flush_before_answer(product: Product) -> str:
    """The same look through strace's eyes."""
    with traced(product, lambda server: loaded(server, kill=False)) as steps:
        judged = flushes(list(steps), 10)
    return f"{judged} answers about jobs, each written and flushed before it was told"
