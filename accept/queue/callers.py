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
