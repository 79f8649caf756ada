"""What the benchmark of queues makes of its peers: durability is checked, the fastest is to be beaten."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.peers import queue_programs
from bench.peers.flush_count import _sum
from bench.peers.queue_programs import PEERS, Cycle, Driver, NotDurable, Peer
from bench.queue_cycles import JUDGED, Rounds, ratios
from bench.setup import Setup

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 97.20    0.406321        1978       205         1 fdatasync
  2.80    0.011707        3902         3           fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.418028        2009       208         1 total
"""

PROGRAM = """\
import json, sys
role = sys.argv[1]
if role == "prepare":
    print(json.dumps({settings}))
else:
    print("READY", flush=True)
    input()
    print(json.dumps({{"began_at": 1.0, "ended_at": 3.0, "runs": {runs}, "distinct": {distinct}}}))
"""


def test_flushes_are_summed_over_their_calls(tmp_path: Path) -> None:
    """With and without errors in strace's table; its total is not counted again."""
    (tmp_path / "counts").write_text(STRACE)
    assert _sum(tmp_path / "counts") == 208


def test_the_fastest_peer_is_the_one_to_be_beaten() -> None:
    """Ratios are made round by round; only the one over the fastest has a target."""
    rounds = Rounds()
    for per_s in (100.0, 200.0):
        rounds.add(JUDGED, Cycle(per_s, 0, 0))
        rounds.add("huey", Cycle(per_s / 4, 0, 0))
        rounds.add("pgqueuer", Cycle(per_s / 2, 0, 0))
    found = {figure.name: figure for figure in ratios(rounds)}
    assert found[f"{JUDGED}_over_pgqueuer"].value == pytest.approx(2)
    assert found[f"{JUDGED}_over_pgqueuer"].at_least == 1.0
    assert found[f"{JUDGED}_over_huey"].value == pytest.approx(4)
    assert found[f"{JUDGED}_over_huey"].at_least is None


def driver_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, str], runs: int, distinct: int
) -> Driver:
    """A driver whose programs say what they are told to."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(settings=json.dumps(settings), runs=runs, distinct=distinct))
    monkeypatch.setattr(queue_programs.environment, "python", lambda cache, pinned: Path(sys.executable))
    monkeypatch.setattr(Driver, "argv", lambda self, role: [sys.executable, str(program), role])

    @contextmanager
    def server(setup: Setup) -> Iterator[tuple[None, str]]:
        yield None, ""

    setup = Setup(tmp_path, tmp_path, tmp_path, 1, is_quick=True, is_profiled=False, rest_minutes=1)
    return Driver(Peer("one", server, {"fsync": "on"}, 10), "", setup)


def test_a_peer_that_promises_less_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A setting that is read back as something else, or not at all, ends the comparison."""
    with pytest.raises(NotDurable, match="fsync is off, not on"):
        driver_of(monkeypatch, tmp_path, {"fsync": "off"}, 0, 0).prepare()
    with pytest.raises(NotDurable, match="fsync is None"):
        driver_of(monkeypatch, tmp_path, {}, 0, 0).prepare()
    assert driver_of(monkeypatch, tmp_path, {"fsync": "on"}, 0, 0).prepare() == {"fsync": "on"}


def test_a_peers_cycle_counts_each_job_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job that was lost, or that ran twice, is no cycle."""
    whole = driver_of(monkeypatch, tmp_path, {}, 10, 10).cycle(10, overlaps=True)
    assert whole.per_s == pytest.approx(5)
    for runs, distinct in ((9, 9), (11, 10), (10, 9)):
        with pytest.raises(RuntimeError, match=f"10 jobs had {runs} runs of {distinct}"):
            driver_of(monkeypatch, tmp_path, {}, runs, distinct).cycle(10, overlaps=False)


def test_every_peer_has_a_program_and_is_pinned() -> None:
    """A peer without a program would fail only where somebody measures."""
    folder = Path(queue_programs.__file__).parent
    for peer in PEERS:
        assert (folder / "queues" / f"{peer.name}.py").exists()
    pinned = (folder / queue_programs.PINNED).read_text()
    for name in ("pgqueuer", "huey", "persist-queue", "dramatiq", "procrastinate", "rq"):
        assert f"\n{name}==" in pinned
