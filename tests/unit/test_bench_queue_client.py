"""The client of the benchmark of queues: whole cycles only, each job once, an end at anything unexpected."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.queue_client import Result, UnexpectedAnswer, parser, play

Body = dict[str, Any]
Spoil = Callable[[str, Body], Body]


class Queue:
    """A queue in memory that speaks just enough of the API; `spoil` changes its answers."""

    def __init__(self, spoil: Spoil) -> None:
        self.calls: list[str] = []
        self.ended: set[str] = set()
        self.tokens: list[int] = []
        self.held_off = 0
        self._spoil = spoil
        self._waiting: deque[Body] = deque()
        self._count = 0

    def answer(self, call: str, body: Body) -> Body:
        self.calls.append(call)
        take = {"submit": self._submit, "claim": self._claim, "complete": self._complete}.get(call)
        lease = {"approved": True, "lease_id": "lease-1", "fencing_token": 77}
        return self._spoil(call, take(body) if take else lease)

    def _submit(self, body: Body) -> Body:
        for job in body["jobs"]:
            assert len(job["payload"]) == 1_024
            self._count += 1
            self._waiting.append({"job_id": f"job-{self._count}", "generation": 1, "payload": job["payload"]})
        return {"taken": len(body["jobs"]), "refused": 0}

    def _claim(self, body: Body) -> Body:
        assert body["session"] == {"lease_id": "lease-1", "fencing_token": 77, "concurrency": 2}
        count = min(body["max"], len(self._waiting))
        return {"jobs": [self._waiting.popleft() for _ in range(count)], "fencing_token": 77}

    def _complete(self, body: Body) -> Body:
        self.tokens += [item["fencing_token"] for item in body["items"]]
        self.ended |= {item["job_id"] for item in body["items"]}
        return {"done": len(body["items"]), "refused": 0}


async def served(queue: Queue, folder: Path, *options: str) -> Result:
    """Play against `queue` on a port of its own."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            serving.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                call = head.split()[1].rsplit("/", 1)[1]
                answer = queue.answer(call, json.loads(await reader.readexactly(length)))
                status = answer.pop("status", 200)
                content = json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\nRetry-After: 0\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(content), content)
                )
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()

    keys = folder / "keys"
    keys.write_text(json.dumps({"submit": ["s"], "work": ["w"]}))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    try:
        return await play(parser().parse_args([str(keys), *options, "--claims", "2", "--port", port]))
    finally:
        server.close()
        await asyncio.gather(*serving)


def whole(call: str, answer: Body) -> Body:
    """As it is."""
    return answer


@pytest.mark.parametrize("way", [(), ("--after",)])
def test_every_job_is_submitted_run_and_completed_once(tmp_path: Path, way: tuple[str, ...]) -> None:
    """Whichever way round, in batches of which the last is smaller, under the session's token."""
    queue = Queue(whole)
    result = uvloop.run(served(queue, tmp_path, "cycles", "--jobs", "25", "--batch", "10", *way))
    assert len(queue.ended) == 25
    assert queue.tokens == [77] * 25
    assert 0 < result.submitted_s <= result.seconds
    if way:
        last_submit = len(queue.calls) - 1 - queue.calls[::-1].index("submit")
        assert "claim" not in queue.calls[:last_submit]


def test_starts_are_timed_one_by_one(tmp_path: Path) -> None:
    """One figure per job, none below zero."""
    result = uvloop.run(served(Queue(whole), tmp_path, "idle", "--jobs", "3", "--batch", "1"))
    assert len(result.starts_ms) == 3
    assert min(result.starts_ms) > 0


def test_a_limit_is_obeyed_and_counted(tmp_path: Path) -> None:
    """Told 429, the client waits as long as it is told and comes again; nothing is lost or done twice."""
    refused: list[str] = []

    def limited(call: str, answer: Body) -> Body:
        if call == "heartbeat" and not refused:
            refused.append(call)
            return {"status": 429}
        return answer

    queue = Queue(limited)
    result = uvloop.run(served(queue, tmp_path, "cycles", "--jobs", "5", "--batch", "5"))
    assert result.held_off == 1
    assert len(queue.ended) == 5


def test_what_is_not_whole_is_no_result(tmp_path: Path) -> None:
    """A job refused, run twice, an end refused or an error is no cycle to be counted."""

    def twice(call: str, answer: Body) -> Body:
        if call == "claim" and len(answer["jobs"]) > 1:
            answer["jobs"][1]["payload"] = answer["jobs"][0]["payload"]
        return answer

    spoilt: dict[str, Spoil] = {
        "jobs were taken": lambda call, a: {"taken": 4, "refused": 1} if call == "submit" else a,
        "ends were taken": lambda call, a: {"done": 4, "refused": 1} if call == "complete" else a,
        "was answered 503": lambda call, a: {"status": 503} if call == "claim" else a,
        "no session": lambda call, a: {"approved": False} if call == "request" else a,
        "5 runs of 4 of 5 jobs": twice,
    }
    for told, spoil in spoilt.items():
        with pytest.raises((UnexpectedAnswer, ExceptionGroup)) as raised:
            uvloop.run(served(Queue(spoil), tmp_path, "cycles", "--jobs", "5", "--batch", "5"))
        group = raised.value
        said = str(group.exceptions if isinstance(group, ExceptionGroup) else group)
        assert told in said
