"""No acknowledgement before the flush that covers it, by system calls and by the recording library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leasehold.testing import flush_order, power_loss
from leasehold.testing.flush_order import Kind, Step

STORED = re.compile(rb"(?:store|events)-(\d+)[- ]")
TOLD = re.compile(rb"ack (\d+)\n")
BATCHES = 80


def _load(data: Path, *, synchronous: str = "FULL") -> list[str]:
    module = [sys.executable, "-m", "leasehold.testing.store_load", str(data)]
    return [*module, "--batches", str(BATCHES), "--frames", "150", "--synchronous", synchronous]


def _traced(tmp_path: Path, synchronous: str) -> flush_order.Verdict:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    done = subprocess.run(
        [*flush_order.STRACE, "-o", str(trace), *_load(tmp_path / "data", synchronous=synchronous)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "PTRACE" in done.stderr:
        pytest.skip(f"this machine lets nothing be traced: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    with trace.open() as lines:
        return flush_order.judge(flush_order.from_strace(lines, tmp_path / "data"), STORED, TOLD)


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
@pytest.mark.requirement("INV-4")
def test_system_calls_show_no_acknowledgement_before_its_flush(tmp_path: Path) -> None:
    """Each batch's first page in the journal is flushed before its number is told."""
    verdict = _traced(tmp_path, "FULL")
    assert verdict.judged >= BATCHES * 0.9
    assert verdict.early == []


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
def test_system_calls_show_a_store_that_does_not_flush(tmp_path: Path) -> None:
    """A store that flushes only when it moves its journal is caught by the same look."""
    assert len(_traced(tmp_path, "NORMAL").early) > BATCHES * 0.5


@pytest.mark.slow
def test_a_record_shows_the_same(tmp_path: Path) -> None:
    """The recording library tells careful from careless as well, where nothing may be traced."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the recording library can't be built")
    library = power_loss.build(tmp_path)
    early = {}
    for synchronous in ("FULL", "NORMAL"):
        folder = tmp_path / synchronous
        folder.mkdir()
        environment = os.environ | power_loss.environment(library, folder, tmp_path / f"{synchronous}.log")
        output = subprocess.run(
            _load(folder, synchronous=synchronous), env=environment, capture_output=True, check=True
        ).stdout
        assert output.endswith(b"ack %d\n" % BATCHES)
        steps = flush_order.from_record(power_loss.recorded(tmp_path / f"{synchronous}.log"))
        verdict = flush_order.judge(steps, STORED, TOLD)
        assert verdict.judged >= BATCHES * 0.9
        early[synchronous] = len(verdict.early)
    assert early["FULL"] == 0
    assert early["NORMAL"] > BATCHES * 0.5


def test_a_flush_covers_only_what_was_written_before_it_began() -> None:
    """A write that a flush in progress may have missed is not durable when that flush ends."""
    steps = [
        Step(Kind.WRITE, "f", b"store-1-"),
        Step(Kind.FLUSH_BEGIN, "f", flush=1),
        Step(Kind.WRITE, "f", b"store-2-"),
        Step(Kind.FLUSH_END, flush=1),
        Step(Kind.MESSAGE, data=b"ack 1\nack 2\nack 3\n"),
        Step(Kind.FLUSH_BEGIN, "g", flush=2),
        Step(Kind.FLUSH_END, flush=2),
        Step(Kind.MESSAGE, data=b"ack 2\n"),
    ]
    verdict = flush_order.judge(steps, STORED, TOLD)
    assert verdict.judged == 2
    assert [sentence.split(" ")[0] for sentence in verdict.early] == ["2"]


def test_interleaved_calls_are_put_together(tmp_path: Path) -> None:
    """A call that another thread interrupts is cut in two; begin and end still come in their order."""
    wal = "".join(f"\\x{byte:02x}" for byte in str(tmp_path.resolve() / "x-wal").encode())
    one = "".join(f"\\x{byte:02x}" for byte in b"store-1-")
    ack = "".join(f"\\x{byte:02x}" for byte in b"ack 1\n")
    lines = [
        f'11 pwrite64(5<{wal}>, "{one}", 8, 0) = 8\n',
        f"11 fdatasync(5<{wal}> <unfinished ...>\n",
        f'12 write(1<pipe:[7]>, "{ack}", 6 <unfinished ...>\n',
        "11 <... fdatasync resumed>)               = 0\n",
        "12 <... write resumed>)                   = 6\n",
        f"11 fsync(5<{wal}>)                        = -1 EIO (Input/output error)\n",
        "11 +++ exited with 0 +++\n",
    ]
    steps = list(flush_order.from_strace(lines, tmp_path))
    assert [step.kind for step in steps] == [
        Kind.WRITE, Kind.FLUSH_BEGIN, Kind.MESSAGE, Kind.FLUSH_END, Kind.FLUSH_BEGIN,
    ]  # fmt: skip
    assert len(flush_order.judge(steps, STORED, TOLD).early) == 1
