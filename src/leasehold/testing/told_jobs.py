"""What callers were told of jobs, against what a power failure would have left (QUEUE-13, INV-3, INV-4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.control import codec, recovery
from leasehold.core.state import COLD_JOBS, JOBS, State
from leasehold.model.ids import to_number
from leasehold.model.job import ENDED, Job, JobState
from leasehold.ports.store import READ_MAX, StoreError

_ID = rb"(job-[0-9a-z]{11})"
_BETWEEN = rb".{1,24}?"

FLUSHED: dict[str, tuple[re.Pattern[bytes], re.Pattern[bytes]]] = {
    "submitted": (
        re.compile(rb"JobSubmitted" + _BETWEEN + _ID, re.DOTALL),
        re.compile(rb'"job_id":"' + _ID + rb'","state":"QUEUED"'),
    ),
    "claimed": (
        re.compile(rb"JobStarted" + _BETWEEN + _ID, re.DOTALL),
        re.compile(rb'"job_id":"' + _ID + rb'","generation"'),
    ),
    "completed": (
        re.compile(rb"JobDone" + _BETWEEN + _ID, re.DOTALL),
        re.compile(rb'"job_id":"' + _ID + rb'","state":"DONE"'),
    ),
}
"""By step of a job: ids in what the server writes, and in what it tells (for `flush_order.judge`)."""


class ToldOfJobs:
    """What answers have said: jobs that are there, the generations handed out, and those that were done."""

    def __init__(self) -> None:
        self.submitted: set[str] = set()
        self.handed: dict[str, int] = {}
        self.done: set[str] = set()

    def take(self, message: bytes) -> None:
        """One message of a server: an HTTP answer, or a part of one that holds its whole body."""
        for line in message.split(b"\r\n"):
            if not line.startswith(b"{"):
                continue
            try:
                body = json.loads(line)
            except ValueError:
                continue
            self._take(body)

    def _take(self, body: dict[str, Any]) -> None:
        if "taken" in body:
            self.submitted.update(each["job_id"] for each in body["jobs"] if each.get("job_id"))
        elif "items" in body:
            self.done.update(each["job_id"] for each in body["items"] if each.get("state") == "DONE")
        elif "jobs" in body:
            for each in body["jobs"]:
                if "generation" in each and "payload" in each:
                    known = self.handed.get(each["job_id"], 0)
                    self.handed[each["job_id"]] = max(known, each["generation"])
        elif body.get("state") == "DONE" and "job_id" in body:
            self.done.add(body["job_id"])

    async def wrong_in(self, folder: Path) -> list[str]:
        """Recover what is in `folder` as the server does; sentences about what was told and is not so."""
        store = SqliteStore(folder, wall_ms=lambda: 0)
        archive = SqliteArchive(store)
        try:
            await store.open()
            state, start = await recovery.load(store, State("node"))
            ended, cold = {}, {}
            for name in self.submitted | self.handed.keys():
                number = to_number("job", name)
                assert number is not None
                value = await archive.find(codec.store_key(JOBS, number))
                if value is not None:
                    ended[name] = codec.decode(JOBS, str(number), value)
                cold[name] = codec.store_key(COLD_JOBS, number)
            keys = list(cold.values())
            rows: dict[str, bytes] = {}
            for at in range(0, len(keys), READ_MAX):
                rows |= await store.read(keys[at : at + READ_MAX])
        except StoreError as error:
            return [str(error)]
        finally:
            await archive.close()
            await store.close()
        names = {to_number("job", name): name for name in cold}
        live = {names[number]: job for number, job in state.jobs.items() if number in names}
        bare = [name for name, key in cold.items() if key not in rows and (name in live or name in ended)]
        late = [number for number in names if number is not None and number >= start.first_number]
        return [
            *self._lost(live, ended),
            *self._forgotten(live, ended),
            *(f"{name} is there, and its payload is not" for name in bare),
            *(f"{number} was given out, and the next one would be {start.first_number}" for number in late),
            *(f"{key} can't be read: {why}" for key, why in state.unreadable.items()),
        ]

    def _lost(self, live: dict[str, Job], ended: dict[str, Job]) -> Iterator[str]:
        for name in sorted(self.submitted):
            if name not in live and name not in ended:
                yield f"{name} was submitted, and is gone"
            elif name in live and (name in ended or live[name].state in ENDED):
                yield f"{name} is live and has ended"
        for name in sorted(self.done):
            if name in live:
                yield f"{name} was done, and is {live[name].state} again"
            elif name not in ended or ended[name].state is not JobState.DONE:
                yield f"{name} was done, and the archive has not heard of it"
            elif (end := ended[name].end) is None or name.encode() not in end.result:
                yield f"{name} was done, and its result is not what was sent"

    def _forgotten(self, live: dict[str, Job], ended: dict[str, Job]) -> Iterator[str]:
        for name, generation in sorted(self.handed.items()):
            job = live.get(name) or ended.get(name)
            if job is not None and job.generation < generation:
                yield f"{name} was handed out as generation {generation}, and stands at {job.generation}"
