"""Clock, ids, tokens, log files (INV-7, OPS-5, OPS-11)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from pathlib import Path

import pytest

from leasehold.runtime import context
from leasehold.runtime.clock import RealClock
from leasehold.runtime.ids import RandomIds, RequestIds, new_token
from leasehold.runtime.logging import Logs, get_logger
from leasehold.runtime.redaction import Redactor


@pytest.mark.requirement("INV-7")
async def test_the_clock_starts_at_wall_time_and_never_goes_back() -> None:
    """`now_ms` begins as wall time, and a sleep lasts at least as long as it was asked to."""
    clock = RealClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 1_000
    before_ms = clock.now_ms()
    await clock.sleep(30)
    assert clock.now_ms() - before_ms >= 30
    await clock.sleep(0)
    await clock.sleep(-5)


@pytest.mark.requirement("INV-7")
async def test_a_suspend_ends_a_long_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """When boot time has jumped ahead (the machine slept), a sleeper wakes within one nap."""
    clock = RealClock()
    naps: list[float] = []

    async def nap(delay_s: float) -> None:
        naps.append(delay_s)
        monkeypatch.setattr(clock, "_anchor_ns", clock._anchor_ns + 3_600 * 10**9)

    monkeypatch.setattr(asyncio, "sleep", nap)
    await clock.sleep(3_600_000)
    assert naps == [1.0]


@pytest.mark.requirement("OPS-5", "OPS-11")
def test_ids_and_tokens_have_their_shape_and_do_not_repeat() -> None:
    """Typed ids, request ids of 16 hex digits, tokens of 256 bits that are safe in a URL."""
    ids, requests = RandomIds(), RequestIds()
    assert re.fullmatch(r"lease-[0-9a-hjkmnp-tv-z]{13}", ids.new("lease"))
    assert len({ids.new("x") for _ in range(1_000)}) == 1_000
    assert len({ids.seed() for _ in range(1_000)}) == 1_000
    assert 0 <= ids.seed() < 1 << 63
    assert all(re.fullmatch(r"[0-9a-f]{16}", requests.new()) for _ in range(1_000))
    assert re.fullmatch(r"lsh_[A-Za-z0-9_-]{43}", new_token())


def logged(folder: Path) -> list[dict[str, object]]:
    """The lines of every log file, oldest first."""
    files = sorted(
        folder.iterdir(), key=lambda file: -int(file.suffix[1:]) if file.suffix[1:].isdigit() else 0
    )
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.requirement("OPS-11", "OPS-8")
def test_lines_carry_context_origin_and_no_secret(tmp_path: Path) -> None:
    """What is bound is on every line, lines of libraries have the same shape, and secrets are gone."""
    logs = Logs(Redactor(["hunter2-hunter2"]), folder=tmp_path, to_stderr=False)
    logs.start("info", {"leasehold.quiet": "error"})
    bound = context.begin(request_id="0123456789abcdef")
    get_logger("leasehold.test").info(
        "happened", lease_id="lease-1", note="say hunter2-hunter2", password="x"
    )
    get_logger("leasehold.test").debug("not_shown")
    get_logger("leasehold.quiet").warning("not_shown")
    logging.getLogger("uvicorn.error").warning("strange %s", "hunter2-hunter2")
    try:
        raise ValueError("bad hunter2-hunter2")
    except ValueError:
        get_logger("leasehold.test").exception("failed")
    context.unbind(bound)
    logs.close()
    first, second, third = logged(tmp_path)
    assert first["request_id"] == "0123456789abcdef"
    assert (first["event"], first["level"], first["lease_id"]) == ("happened", "info", "lease-1")
    assert (first["note"], first["password"]) == ("say [redacted]", "[redacted]")
    assert (first["logger"], first["func_name"]) == (
        "leasehold.test",
        "test_lines_carry_context_origin_and_no_secret",
    )
    assert (second["event"], second["logger"]) == ("strange [redacted]", "uvicorn.error")
    assert "ValueError: bad [redacted]" in str(third["exception"])


@pytest.mark.requirement("OPS-11", "INV-8")
def test_log_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    """However much is logged, the files together stay within their limit, and the newest lines are kept."""
    logs = Logs(Redactor(), folder=tmp_path, to_stderr=False, file_bytes_max=64 << 10, files_kept=2)
    logs.start("info", {})
    for number in range(2_000):
        get_logger("leasehold.test").info("line", number=number, filler="x" * 100)
    logs.close()
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 64 << 10 for file in files)
    assert logged(tmp_path)[-1]["number"] == 1_999
    assert logs.dropped == 0


@pytest.mark.requirement("OPS-11", "INV-8")
def test_a_disk_that_hangs_delays_nobody(tmp_path: Path) -> None:
    """While the file can't be written, lines queue up to their limit; the rest are dropped and counted."""
    logs = Logs(Redactor(), folder=tmp_path, to_stderr=False)
    stuck, reached = threading.Event(), threading.Event()
    write = logs._handlers[0].emit

    def hang(record: logging.LogRecord) -> None:
        reached.set()
        stuck.wait()
        write(record)

    logs._handlers[0].emit = hang  # type: ignore[method-assign]
    logs.start("info", {})
    log = logging.getLogger("leasehold.test")
    log.info("first")
    assert reached.wait(5)
    for _ in range(10_005):
        log.info("line")
    assert logs.dropped == 5
    logs._handlers[0].emit = lambda record: None  # type: ignore[method-assign]
    stuck.set()
    logs.close()
    logs._handlers[0].close()
