"""Workers that load the queue while it is killed: with leases of their own, or under a session's."""

from __future__ import annotations

import time
from typing import Any

from accept.product import Server
from accept.queue.callers import LEASE, QUEUE, Books, Caller, Lost

BEAT_S = 3.0
SESSION_CONCURRENCY = 5
HELD_MOST = 6


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
