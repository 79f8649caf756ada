"""The lean HTTP client of the benchmark: it must count whole cycles only, and stop at anything unexpected."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from bench.http_client import UnexpectedAnswer, drive, post, split_answer

Answer = Callable[[str, dict[str, object]], tuple[int, dict[str, object]]]


def test_an_answer_is_taken_only_when_it_is_whole() -> None:
    """Cut at every byte, an answer is incomplete until its last one, whatever the case of its header."""
    whole = b"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-LENGTH: 4\r\n\r\nbody"
    for cut in range(len(whole)):
        assert split_answer(whole[:cut]) is None
    assert split_answer(whole) == (200, b"body")


def test_an_answer_that_could_be_misread_is_refused() -> None:
    """Without a length, or with bytes after it, the next answer would be taken for this one."""
    with pytest.raises(UnexpectedAnswer, match="without Content-Length"):
        split_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    with pytest.raises(UnexpectedAnswer, match="bytes after the answer"):
        split_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab")


def test_a_request_says_its_length() -> None:
    """The bytes on the wire are one well-formed POST."""
    assert post(b"/p", b"{}", b"Host: h\r\n") == b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


async def serve_and_drive(path: Path, answer: Answer, clients: int) -> tuple[list[str], dict[str, object]]:
    """Drive against a small server on a Unix socket; (the calls that it saw, the result)."""
    calls: list[str] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            serving.add(task)
        while head := await _head(reader):
            lines = head.decode().split("\r\n")
            length = next(int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length"))
            call = lines[0].split()[1]
            calls.append(call)
            status, body = answer(call, json.loads(await reader.readexactly(length)))
            payload = json.dumps(body).encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(payload), payload))
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, path):
        options = argparse.Namespace(
            unix=str(path), tcp=None, token_file=None, clients=clients, warm=0.0, wait=0
        )
        options.measure = 0.2
        try:
            result = await drive(options)
        finally:
            await asyncio.gather(*serving)
    return calls, {"cycles": len(result.cycles_us), "denials": result.denials, "steps": result.steps_us}


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""


def test_every_lease_that_was_granted_is_renewed_and_released(tmp_path: Path) -> None:
    """With its own token, in that order, and also after the window has closed: nothing stays charged."""
    tokens: dict[str, int] = {}

    def answer(call: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        if call.endswith("/request"):
            lease_id = f"lease-{len(tokens)}"
            tokens[lease_id] = 1_000 + len(tokens)
            return 200, {"approved": True, "lease_id": lease_id, "fencing_token": tokens[lease_id]}
        assert body["fencing_token"] == tokens[call.split("/")[4]]
        return 200, {}

    calls, result = uvloop.run(serve_and_drive(tmp_path / "s", answer, clients=3))
    for step in ("request", "heartbeat", "release"):
        assert sum(call.endswith("/" + step) for call in calls) == len(tokens)
    assert 0 < int(str(result["cycles"])) <= len(tokens)


def test_a_denial_is_counted_and_is_no_cycle(tmp_path: Path) -> None:
    """A refused request takes no time that would look like a fast cycle."""

    def answer(call: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        return 200, {"approved": False, "retry_after_sec": 1}

    calls, result = uvloop.run(serve_and_drive(tmp_path / "s", answer, clients=1))
    assert result["cycles"] == 0
    assert result["denials"] == len(calls) > 0


def test_an_error_ends_the_measurement(tmp_path: Path) -> None:
    """A server that sheds load with 503 must not be measured as a fast one."""
    with pytest.raises(UnexpectedAnswer, match="request was answered 503"):
        uvloop.run(
            serve_and_drive(tmp_path / "s", lambda call, body: (503, {"code": "OVERLOADED"}), clients=2)
        )
