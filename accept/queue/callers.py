"""Who loads the queue while it is killed: submitters, and workers with leases of their own or a session's.

They outlive the server, repeat what was not answered, and write down what they were told and what they did.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from accept.product import Server

QUEUE = "/api/scheduler/queue"
LEASE = "/api/scheduler/lease"
ANSWERED_WITHIN_S = 60
BEAT_S = 3.0
SESSION_CONCURRENCY = 5
HELD_MOST = 6
WAITING_MOST = 300
"""Jobs that no caller has heard the end of: more are not handed over, so that what runs is not only backlog."""


@dataclass
class Run:
    """One worker at one generation of a job, from when it heard of it to when it stopped working."""

    worker: str
    began_s: float
    ended_s: float | None = None


@dataclass
class Books:
    """What callers were told, and what they did. `wrong` are sentences about promises that did not hold."""

    submitted: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, tuple[str, Any]] = field(default_factory=dict)
    canceled: dict[str, str] = field(default_factory=dict)
    """As which state the answer to its cancellation told it."""
    runs: dict[str, dict[int, Run]] = field(default_factory=dict)
    """By job, and which of its generations."""
    commands: dict[str, tuple[float, int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    fenced: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hand(self, job: str, generation: int, worker: str) -> None:
        """A worker was given a job: nobody else is at it, and nobody has had this generation."""
        with self.lock:
            runs = self.runs.setdefault(job, {})
            if generation in runs:
                before = runs[generation].worker
                self.wrong.append(f"{job} generation {generation}: given to {before} and to {worker}")
            for run in runs.values():
                if run.ended_s is None:
                    self.wrong.append(f"{job}: given to {worker} while {run.worker} works on it")
            if job in self.outcomes:
                self.wrong.append(f"{job}: given to {worker} after its end was acknowledged")
            runs[generation] = Run(worker, time.monotonic())

    def stop(self, job: str, generation: int) -> None:
        """Its worker does not work on it any more."""
        with self.lock:
            self.runs[job][generation].ended_s = time.monotonic()


class Lost(Exception):
    """No answer came: what was asked may have happened, or not."""


class Caller(threading.Thread):
    """One connection, made again whenever it breaks. `going` False lets it end; `pace_s` bounds the load."""

    def __init__(self, server: Server, books: Books, name: str, seed: int) -> None:
        super().__init__(daemon=True, name=name)
        self.server, self.books = server, books
        self.chance = random.Random(f"{seed} {name}")
        self.going = True
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        token = (self.server.data / "admin.token").read_text().strip()
        self.head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            while self.going:
                self.once()
            self.finish()
        except Exception as error:  # noqa: BLE001 - whatever it is, a caller that fell over has shown nothing
            self.books.wrong.append(f"{self.name}: {type(error).__name__}: {error}")

    def once(self) -> None:
        """One turn."""
        raise NotImplementedError

    def finish(self) -> None:
        """When nothing more is to be begun."""

    def call(self, path: str, body: Any, **head: str) -> tuple[int, Any]:
        """One try. Raises Lost."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            self._connection.request("POST", path, json.dumps(body), {**self.head, **head})
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            self._connection = None
            self.books.lost += 1
            raise Lost from error

    def answered(self, path: str, body: Any, **head: str) -> tuple[int, Any, bool]:
        """Repeat it until it is answered; whether a first answer may have been lost. 503 and 429 are none."""
        end_s = time.monotonic() + ANSWERED_WITHIN_S
        repeated = False
        while time.monotonic() < end_s:
            try:
                status, found = self.call(path, body, **head)
            except Lost:
                repeated = True
                time.sleep(0.05)
                continue
            if status not in (429, 503):
                return status, found, repeated
            time.sleep(0.05)
        raise TimeoutError(f"{path} was not answered within {ANSWERED_WITHIN_S} s")


class Submitter(Caller):
    """Hands jobs over, single and in batches, each call with a key of its own, until it is answered."""

    def __init__(self, server: Server, books: Books, name: str, seed: int, commands: Commands | None) -> None:
        super().__init__(server, books, name, seed)
        self.commands = commands

    def once(self) -> None:
        time.sleep(self.chance.random() * 0.06)
        open_ones = len(self.books.submitted) - len(self.books.commands) - len(self.books.outcomes)
        if self.commands is None and open_ones > WAITING_MOST:
            return
        if self.commands is not None:
            time.sleep(0.1)
            jobs = [self.commands.order(self.chance) for _ in range(self.chance.choice((1, 1, 2)))]
        else:
            count = self.chance.choice((1, 1, 1, 5, 20))
            jobs = [self._job(self.chance.choice(("own", "session"))) for _ in range(count)]
        body = jobs[0] if len(jobs) == 1 and self.chance.random() < 0.5 else {"jobs": jobs}
        key = uuid.uuid4().hex
        status, found, _ = self.answered(f"{QUEUE}/jobs/submit", body, **{"Idempotency-Key": key})
        if status != 200 or found["taken"] != len(jobs):
            self.books.wrong.append(f"a submission was answered {status}: {str(found)[:300]}")
            return
        with self.books.lock:
            for job, taken in zip(jobs, found["jobs"], strict=True):
                self.books.submitted[taken["job_id"]] = job["title"]
                if "exec" in job:
                    seconds, code = job["exec"]["argv"][-2:]
                    self.books.commands[taken["job_id"]] = (float(seconds), int(code))
        if self.chance.random() < 0.03:
            self._cancel(found["jobs"][0]["job_id"])

    def _job(self, kind: str) -> dict[str, Any]:
        nonce = uuid.uuid4().hex
        return {
            "job_type": kind,
            "title": nonce,
            "payload": {"n": nonce, "fill": "x" * self.chance.choice((0, 100, 1_000))},
            "cost_units": 1,
            "start": "now",
            "max_attempts": 1,
            "priority": self.chance.choice(("NORMAL", "NORMAL", "LOW", "HIGH")),
        }

    def _cancel(self, job: str) -> None:
        status, found, _ = self.answered(f"{QUEUE}/jobs/{job}/cancel", {})
        if status == 200 and (found["state"] == "CANCELED" or found.get("cancel_requested")):
            with self.books.lock:
                self.books.canceled[job] = found["state"]
        elif status not in (200, 409):
            self.books.wrong.append(f"a cancellation was answered {status}: {str(found)[:300]}")


@dataclass
class Commands:
    """Commands that leave a line when they begin and one when they end, in `evidence`."""

    evidence: str
    cwd: str
    seconds: tuple[float, ...] = (0.0, 0.0, 0.05, 0.2, 1.0, 3.0)

    SCRIPT = (
        'printf "begin $LEASEHOLD_JOB $LEASEHOLD_RUN $$ $EPOCHREALTIME\\n" >>"$0"; sleep "$2"; '
        'printf "end $LEASEHOLD_JOB $LEASEHOLD_RUN $$ $EPOCHREALTIME\\n" >>"$0"; echo "said $1"; exit "$3"'
    )

    def order(self, chance: random.Random) -> dict[str, Any]:
        nonce = uuid.uuid4().hex
        seconds, code = chance.choice(self.seconds), chance.choice((0, 0, 0, 3))
        argv = ["bash", "-c", self.SCRIPT, self.evidence, nonce, str(seconds), str(code)]
        return {
            "title": nonce,
            "exec": {"argv": argv, "cwd": self.cwd},
            "cost_units": 1,
            "start": "now",
            "max_attempts": 1,
            "priority": "HIGH",
        }


class Worker(Caller):
    """Claims, works, and says how it went, until it is answered; sometimes lies about an old generation.

    With its own leases it now and then drops a job without a word.
    """

    kind = "own"

    def __init__(self, server: Server, books: Books, name: str, seed: int) -> None:
        super().__init__(server, books, name, seed)
        self.held: dict[str, dict[str, Any]] = {}
        self.returned: list[dict[str, Any]] = []
        self.dropped: set[str] = set()
        self._lost_one = False

    def once(self) -> None:
        time.sleep(self.chance.random() * 0.02)
        if len(self.held) < HELD_MOST:
            self.claim()
        due = [job for job in self.held.values() if job["due_s"] <= time.monotonic()]
        if due:
            self.complete(due)
        if self.returned and self.chance.random() < 0.3:
            self.lie(self.chance.choice(self.returned))

    def finish(self) -> None:
        while self.held:
            self.complete(list(self.held.values()))

    def with_it(self) -> dict[str, Any]:
        """What else a claim says."""
        return {}

    def claim(self) -> None:
        body = {
            "max": self.chance.choice((1, 5, 20)),
            "job_types": [self.kind],
            "worker_id": self.name,
            **self.with_it(),
        }
        if self._lost_one:
            body["known"] = [*self.held, *self.dropped]
        try:
            status, found = self.call(f"{QUEUE}/claim", body)
        except Lost:
            self._lost_one = True
            time.sleep(0.05)
            return
        if status in (429, 503):
            time.sleep(0.05)
            return
        if status != 200:
            self.refused(status, found)
            return
        self._lost_one = False
        for job in found["jobs"]:
            job["fencing_token"] = job.get("fencing_token") or found["fencing_token"]
            job["due_s"] = time.monotonic() + self.chance.choice((0, 0, 0, 0, 0.02, 0.3, 2.0))
            self.books.hand(job["job_id"], job["generation"], self.name)
            self.held[job["job_id"]] = job
            self.dropped.discard(job["job_id"])

    def refused(self, status: int, found: Any) -> None:
        self.books.wrong.append(f"a claim of {self.name} was answered {status}: {str(found)[:300]}")

    def complete(self, jobs: list[dict[str, Any]]) -> None:
        items = []
        for job in jobs:
            how = self.chance.choices(("DONE", "FAILED", "RETURNED", ""), (90, 4, 5, self.drops))[0]
            self.books.stop(job["job_id"], job["generation"])
            if how:
                items.append(self.item(job, how))
            else:
                self.dropped.add(job["job_id"])
                del self.held[job["job_id"]]
        if len(items) == 1 and self.chance.random() < 0.5:
            item = dict(items[0])
            path = f"{QUEUE}/jobs/{item.pop('job_id')}/complete"
            status, found, repeated = self.answered(path, item)
            self._told(items[0], found, repeated)
        elif items:
            status, found, repeated = self.answered(f"{QUEUE}/complete", {"items": items})
            if status != 200:
                self.books.wrong.append(f"completions were answered {status}: {str(found)[:300]}")
                found = {"items": [{} for _ in items]}
            for item, one in zip(items, found["items"], strict=True):
                self._told(item, one, repeated)

    drops = 1

    def item(self, job: dict[str, Any], how: str) -> dict[str, Any]:
        item = {
            "job_id": job["job_id"],
            "generation": job["generation"],
            "fencing_token": job["fencing_token"],
            "outcome": how,
        }
        if how == "DONE":
            item["result"] = {"n": job["payload"]["n"], "by": self.name, "generation": job["generation"]}
        elif how == "FAILED":
            item["error"] = f"{self.name} could not"
        return item

    def _told(self, item: dict[str, Any], answer: dict[str, Any], repeated: bool) -> None:
        job = self.held.pop(item["job_id"])
        outcome, state = item["outcome"], answer.get("state", "")
        with self.books.lock:
            was_canceled = item["job_id"] in self.books.canceled
        if answer.get("code"):
            # Who repeats that it gives a job back may find it given to another one already; and a cancelled
            # job has ended without its worker.
            if not (repeated and outcome == "RETURNED") and not self._may_be_canceled(item["job_id"]):
                self.books.wrong.append(f"{item} was refused: {answer}")
            return
        if outcome == "RETURNED":
            self.returned.append(job)
        elif state == outcome:
            with self.books.lock:
                self.books.outcomes[item["job_id"]] = (outcome, item.get("result"))
        elif state != "CANCELED" and not was_canceled:
            self.books.wrong.append(f"{item} was answered {answer}")

    def _may_be_canceled(self, job: str) -> bool:
        """Whether somebody cancelled it, perhaps without having heard so yet."""
        status, found = self.server.get(f"{QUEUE}/jobs/{job}")
        return status == 200 and (found["state"] == "CANCELED" or bool(found.get("cancel_requested")))

    def lie(self, job: dict[str, Any]) -> None:
        """A result of a generation that is over must change nothing."""
        item = self.item(job, "DONE")
        item["result"] = {"stale": True}
        status, found, _ = self.answered(f"{QUEUE}/complete", {"items": [item]})
        if status == 200 and not found["items"][0].get("code"):
            self.books.wrong.append(f"the result of an old generation was taken: {item}")
        self.books.fenced += 1


class SessionWorker(Worker):
    """The same under one lease for all, which it renews."""

    kind = "session"
    drops = 0

    def __init__(self, server: Server, books: Books, name: str, seed: int) -> None:
        super().__init__(server, books, name, seed)
        self.lease: dict[str, Any] | None = None
        self._beat_s = 0.0

    def once(self) -> None:
        if self.lease is None:
            self._open()
        elif time.monotonic() - self._beat_s > BEAT_S:
            self._beat()
        else:
            super().once()

    def _open(self) -> None:
        """Its answer may be lost: that offer lapses, and another one is asked for."""
        body = {"cost_units": SESSION_CONCURRENCY, "start": "now", "job_type": "session", "wait_sec": 5}
        status, found, _ = self.answered(f"{LEASE}/request", body)
        if status == 200 and found["approved"]:
            self.lease = found
            self._beat_s = 0.0
        else:
            time.sleep(0.2)

    def _beat(self) -> None:
        assert self.lease is not None
        path = f"{LEASE}/{self.lease['lease_id']}/heartbeat"
        status, found, _ = self.answered(path, {"fencing_token": self.lease["fencing_token"]})
        if status != 200:
            self.refused(status, found)
        self._beat_s = time.monotonic()

    def refused(self, status: int, found: Any) -> None:
        """A session that was never taken up may have lapsed; one that was renewed in time may not."""
        if self._beat_s:
            super().refused(status, found)
        self.lease = None

    def with_it(self) -> dict[str, Any]:
        assert self.lease is not None
        session = {"lease_id": self.lease["lease_id"], "fencing_token": self.lease["fencing_token"]}
        return {"session": {**session, "concurrency": SESSION_CONCURRENCY}}

    def finish(self) -> None:
        super().finish()
        if self.lease is not None:
            body = {"fencing_token": self.lease["fencing_token"]}
            self.answered(f"{LEASE}/{self.lease['lease_id']}/release", body)
