"""Trace files: what is read of them, and how bad ones are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from leasehold.adapters.traces import lines, rows, swf
from leasehold.adapters.traces.lines import BadTrace
from leasehold.bootstrap.replay import trace
from leasehold.model.priority import Priority
from leasehold.testing.swf import made_up

pytestmark = pytest.mark.requirement("QUEUE-18")

SWF = """; Version: 2.2
; MaxNodes: 16
; MaxProcs: 32
  1   0  5  10  4 -1 -1  8  60 -1 1  3 1 7 -1 -1 -1 -1
  2   7 -1   0 -1 -1 -1  8  -1 -1 1 -1 1 -1 -1 -1 -1 -1
  3   9 -1  -1 -1 -1 -1  8  -1 -1 5  3 1 7 -1 -1 -1 -1
  4   9 -1  -1 -1 -1 -1  8  -1 -1 0  3 1 7 -1 -1 -1 -1
  5   9 -1   5 -1 -1 -1 -1  -1 -1 1  3 1 7 -1 -1 -1 -1
"""


def written(folder: Path, text: str | bytes, name: str = "trace") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_standard_workload_format(tmp_path: Path) -> None:
    """Processors become cores, requested times bounds, users holders; what did not run is counted."""
    found = trace(written(tmp_path, SWF))
    assert found.totals.cpu_millicores == 32_000
    one, two = found.jobs
    assert (one.number, one.at_ms, one.runs_ms, one.started_ms) == (1, 0, 10_000, 5_000)
    assert (one.ask.holder, one.ask.job_type) == ("user-3", "program-7")
    assert one.ask.charge.cpu_millicores == 4_000
    assert (one.ask.bound_ms, one.ask.expected_ms, one.ask.charge.units) == (60_000, 60_000, 0)
    assert (two.runs_ms, two.ask.charge.cpu_millicores, two.ask.holder) == (0, 8_000, "unknown")
    assert (two.started_ms, two.ask.bound_ms) == (None, 0)
    assert found.left_out == {"cancelled before it ran": 1, "no run time": 1, "no number of processors": 1}


def test_a_zipped_trace_without_a_head(tmp_path: Path) -> None:
    """It is told by its fields; the machine is taken to be as wide as its widest job."""
    bare = "\n".join(SWF.splitlines()[3:5])
    found = trace(written(tmp_path, gzip.compress(bare.encode())))
    assert (len(found.jobs), found.totals.cpu_millicores) == (2, 8_000)
    assert "does not say how many processors" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("; MaxProcs: 4\n1 2 3\n", "line 2: expected 18 numbers, found 3"),
        ("; x\n1 2 x 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", "line 2: expected 18 numbers"),
        ("; x\n1 2 inf 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", "line 2: expected 18 numbers"),
        ("; x\n1 2 nan 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", "line 2: expected 18 numbers"),
        (f"; x\n1 2 {10**17} 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", "line 2: expected 18 numbers"),
        ("; only comments\n", "has no job that ran"),
        ("; x\n" + 2 * "1 0 -1 10 4 -1 -1 4 -1 -1 1 1 1 1 1 1 -1 -1\n", "line 3: job 1 stands there twice"),
        (b"; x\n\xff\xfe\n", "no text in UTF-8"),
        (b"\x1f\x8bnot really", "can't be read"),
        (gzip.compress(SWF.encode())[:-20], "can't be read"),
        ("; " + "x" * 20_000, "line 1: longer than"),
        ("", "has no jobs"),
        ("at,runs,cpu\n", "has no jobs"),
        ("at,cpu\n1,2\n", "the columns `at` and `runs` are needed"),
        ("at,runs,colour\n1,2,3\n", "no column is called 'colour'"),
        ("at,runs,cpu\n1,2\n", "line 2: expected 3 cells, found 2"),
        ("at,runs,cpu\n1,x,2\n", "line 2: "),
        ("at,runs,cpu\n1,-5,2\n", "line 2: "),
        ("at,runs,priority,cpu\n1,5,SOON,1\n", "expected one of URGENT"),
        ("at,runs\n1,5\n", "expected one of cpu, units, memory, devices or lock"),
        ('{"at": 1, "runs": 1, "cpu": 1}\n{"at": 1,\n', "line 2: not JSON"),
        ('{"at": 1, "runs": 1, "cpu": 1}\n[1]\n', "line 2: expected one JSON object"),
        ('{"at": 1, "runs": 1, "cpus": 1}\n', "line 1: "),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """Garbage of each kind: one sentence that names the file and the line, never a traceback."""
    path = written(tmp_path, text)
    with pytest.raises(BadTrace) as told:
        trace(path)
    assert sentence in str(told.value)
    assert str(path) in str(told.value)


def test_a_trace_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job more than are allowed."""
    monkeypatch.setattr(lines, "JOBS_MAX", 1)
    with pytest.raises(BadTrace, match="more than 1 jobs"):
        trace(written(tmp_path, SWF))


def test_a_table_of_our_own(tmp_path: Path) -> None:
    """CSV: empty cells are left out, cores may be fractions, the node is as large as its greatest job."""
    head = "at,runs,cpu,memory,holder,priority,start,expect,by,started"
    text = f"{head}\n0,60,0.5,,ann,low,quiet,90,600,3\n5.5,1,4,1024,,,,,,\n"
    found = rows.read(written(tmp_path, text))
    one, two = found.jobs
    assert (one.ask.charge.cpu_millicores, one.ask.holder, one.ask.priority) == (500, "ann", Priority.LOW)
    assert (one.ask.quiet_gate, one.ask.bound_ms) == (True, 90_000)
    assert (one.deadline_ms, one.started_ms) == (600_000, 3_000)
    assert (two.at_ms, two.ask.holder, two.ask.quiet_gate, two.ask.bound_ms) == (5_500, "somebody", False, 0)
    assert (found.totals.cpu_millicores, found.totals.memory_bytes) == (4_000, 1_024)


def test_json_lines(tmp_path: Path) -> None:
    """One object a line, with devices and a lock; empty lines do not matter."""
    text = (
        '{"at":0,"runs":1,"devices":{"gpu:0":1}}\n\n'
        '{"at":1,"runs":1,"units":30,"lock":"db","tenant":"team"}\n'
    )
    found = trace(written(tmp_path, text))
    assert [job.ask.charge.named for job in found.jobs] == [(("device:gpu:0", 1),), (("lock:db", 1),)]
    assert found.totals.devices == (("gpu:0", 1),)
    assert found.jobs[1].ask.tenant == "team"


def test_made_up_traces_are_read_and_follow_their_seed(tmp_path: Path) -> None:
    """What the tests make up is in the format, and the same for the same seed."""
    assert made_up(1, 50) == made_up(1, 50) != made_up(2, 50)
    found = swf.read(written(tmp_path, made_up(3, 200, processors=64)))
    assert (len(found.jobs), found.totals.cpu_millicores, found.left_out) == (200, 64_000, {})
