"""Jobs on a running server, over its Unix socket: submitted, watched, read."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Any

from accept.harness import Broken, expect
from accept.product import Server, until

QUEUE = "/api/scheduler/queue"
ENDED = frozenset({"DONE", "FAILED", "CANCELED", "EXPIRED"})

Job = dict[str, Any]


def submit(server: Server, jobs: Sequence[Job], **more: Any) -> list[str]:
    """Submit them in one call; their ids, in its order. Raises Broken where one is not taken."""
    status, answer = server.post(f"{QUEUE}/jobs/submit", {"jobs": jobs, **more}, unix=True)
    expect(status == 200, f"submit answers {status}: {str(answer)[:400]}")
    refused = [one for one in answer["jobs"] if one.get("code")]
    expect(not refused, f"not taken: {refused[:3]}")
    return [one["job_id"] for one in answer["jobs"]]


def job(server: Server, job_id: str) -> Job:
    """The job as it is now."""
    status, found = server.get(f"{QUEUE}/jobs/{job_id}", unix=True)
    expect(status == 200, f"{job_id}: {status} {found}")
    return dict(found)


def all_jobs(server: Server, query: str = "") -> Iterator[Job]:
    """Every job that matches, by pages."""
    cursor = ""
    while True:
        status, page = server.get(f"{QUEUE}/jobs?limit=200{query}{cursor}", unix=True)
        expect(status == 200, f"jobs?{query}{cursor}: {status} {page}")
        yield from page["jobs"]
        if not page.get("cursor"):
            return
        cursor = f"&cursor={page['cursor']}"


def until_state(server: Server, job_id: str, *states: str, timeout_s: float = 60) -> Job:
    """Wait until it is in one of these states."""
    found: Job = {}

    def there() -> bool:
        found.update(job(server, job_id))
        return found["state"] in states

    if until(there, timeout_s, 0.05) is None:
        raise Broken(
            f"{found.get('title') or job_id} is {found['state']}, not {states}: {found.get('reasons')}"
        )
    return job(server, job_id)


def until_all_ended(server: Server, timeout_s: float) -> None:
    """Wait until nothing lives. Raises Broken with what does, and why it waits."""
    end = time.monotonic() + timeout_s
    while live := [one for one in all_jobs(server) if one["state"] not in ENDED]:
        if time.monotonic() > end:
            told = [(one["title"], one["state"], one.get("reason", "")) for one in live]
            raise Broken(f"after {timeout_s:.0f} s {len(live)} jobs live: {told[:5]}")
        time.sleep(0.25)


class Log:
    """All that is kept of what a command printed. `dropped` bytes of it are not."""

    def __init__(self, server: Server, job_id: str) -> None:
        self.out, self.err, self.note, self.dropped = b"", b"", b"", 0
        streams: dict[str, list[bytes]] = {"out": [], "err": [], "note": []}
        offset, over = 0, False
        while not over:
            path = f"{QUEUE}/jobs/{job_id}/log?offset={offset}&limit={4 << 20}"
            status, page = server.get(path, unix=True)
            expect(status == 200, f"the log of {job_id} answers {status}: {page}")
            for chunk in page["chunks"]:
                streams[chunk["stream"]].append(base64.b64decode(chunk["data"]))
            self.dropped += page.get("dropped_bytes", 0)
            over = page["over"] or (offset == page["next"] and not page["chunks"])
            offset = page["next"]
        self.out, self.err, self.note = (b"".join(streams[name]) for name in ("out", "err", "note"))
