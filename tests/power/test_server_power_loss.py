"""Power loss under the real program: no grant or release that a caller was told of is lost or doubled."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from leasehold.testing import flush_order, power_loss
from leasehold.testing.power_loss import Disk, Loss, Op
from leasehold.testing.told import GRANTED, STORED, Told, power_failures
from tests.power.real_server import running

SEED = 50
POINTS = 240

CARELESS = """
from leasehold.adapters.stores import sqlite
from leasehold.testing.store_load import careless
sqlite.SqliteStore.__init__.__kwdefaults__["factory"] = careless("NORMAL")
"""
"""Run by the interpreter as it starts: the planted bug, flushes only where the journal is moved."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the recording library can't be built")
    return power_loss.build(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def record(library: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Op]]:
    """A server under load, killed, started again, under load again, and ended; and the record of it all."""
    folder = tmp_path_factory.mktemp("server")
    data, log = folder / "data", folder / "log"
    data.mkdir(mode=0o700)
    environment = power_loss.environment(library, data, log)
    with running(data, folder, environment=environment) as server:
        server.load(clients=4, count=15)
        os.kill(server.pid, signal.SIGKILL)
    with running(data, folder, environment=environment) as server:
        server.load(clients=4, count=15)
    return data, list(power_loss.recorded(log))


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
@pytest.mark.requirement("INV-3")
@pytest.mark.requirement("INV-4")
def test_nothing_told_is_lost_or_doubled(record: tuple[Path, list[Op]], scratch: Path) -> None:
    """What answers have told is in what a recovery finds, and every later token is greater."""
    data, ops = record
    wrong, told = power_failures(ops, data, scratch, Told(), points=POINTS, seed=SEED)
    assert wrong == []
    assert len(told.granted) >= 100
    assert len(told.released) >= 80


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
def test_the_server_starts_on_what_is_left(record: tuple[Path, list[Op]], tmp_path: Path) -> None:
    """The real program starts, grants, and gives a greater token than any that was told."""
    data, ops = record
    disk = Disk()
    disk.begin(data)
    told = Told()
    chance = random.Random(SEED)
    points = sorted(chance.sample(range(len(ops) // 2, len(ops)), 3))
    for at, op in enumerate(ops):
        disk.take(op)
        if op.kind == "P":
            told.take(op.data)
        if at not in points:
            continue
        folder = tmp_path / str(at)
        power_loss.lay_out(disk.after(Loss.TORN, chance), folder / "data")
        with running(folder / "data", folder) as server:
            connection = server.connection()
            lease = server.call(connection, "request", {"cost_units": 1, "start": "now", "job_type": "next"})
            connection.close()
            assert lease["fencing_token"] > max(told.granted.values())


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
def test_no_grant_is_told_before_its_flush(record: tuple[Path, list[Op]]) -> None:
    """By the record, each lease that an answer names has its first page flushed by then."""
    verdict = flush_order.judge(flush_order.from_record(record[1]), STORED, GRANTED)
    assert verdict.early == []
    assert verdict.judged >= 100


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
def test_system_calls_show_no_grant_before_its_flush(tmp_path: Path) -> None:
    """By strace, which knows nothing of the library, the same."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    data, trace = tmp_path / "data", tmp_path / "trace"
    data.mkdir(mode=0o700)
    with running(data, tmp_path, before=[*flush_order.STRACE, "-o", str(trace)]) as server:
        server.load(clients=4, count=10)
    with trace.open() as lines:
        verdict = flush_order.judge(flush_order.from_strace(lines, data), STORED, GRANTED)
    assert verdict.early == []
    assert verdict.judged >= 30


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
def test_a_server_that_does_not_flush_is_found_out(library: Path, tmp_path: Path, scratch: Path) -> None:
    """The same program with a careless store fails both looks: grants told too early, and lost."""
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir(mode=0o700)
    (tmp_path / "sitecustomize.py").write_text(CARELESS)
    environment = power_loss.environment(library, data, log) | {"PYTHONPATH": str(tmp_path)}
    with running(data, tmp_path, environment=environment) as server:
        server.load(clients=2, count=10)
    ops = list(power_loss.recorded(log))
    assert len(flush_order.judge(flush_order.from_record(ops), STORED, GRANTED).early) > 10
    wrong, _ = power_failures(ops, data, scratch, Told(), points=20, seed=SEED)
    assert any("was granted, and is gone" in sentence for sentence in wrong)
