"""A disk whose flushes fail: no outcome is called certain that a power failure could still turn round."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.testing import power_loss
from leasehold.testing.power_loss import Disk, Loss

PROGRAM = """
import asyncio, os, pathlib, sys
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.ports.store import Batch, CommitUnknown, StoreError

async def main(data, broken):
    store = SqliteStore(data, wall_ms=lambda: 0)
    await store.open()
    for seq in range(1, 6):
        await store.commit(Batch(seq, puts=[(f"/kept/{seq}", b"x" * 300)]))
    broken.touch()
    try:
        await store.commit(Batch(6, puts=[("/doubtful", b"y" * 300)]))
    except CommitUnknown:
        os.write(1, b"unknown\\n")
    try:
        await store.batch_seq()
    except StoreError:
        os.write(1, b"unreadable\\n")
    broken.unlink()
    seq = await store.batch_seq()
    os.write(1, b"settled %d\\n" % seq)
    await store.load()
    await store.commit(Batch(seq + 1, puts=[(f"/after", b"z")]))
    os.write(1, b"committed\\n")
    await store.close()

asyncio.run(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.requirement("INV-4")
@pytest.mark.requirement("PROVE-4")
def test_what_is_said_after_a_failed_flush_stays_so(tmp_path: Path) -> None:
    """Unknown while the disk fails; what `batch_seq` then tells holds through any later power failure."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the recording library can't be built")
    data, log, broken = tmp_path / "data", tmp_path / "log", tmp_path / "broken"
    data.mkdir()
    environment = power_loss.environment(power_loss.build(tmp_path), data, log)
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), str(broken)],
        env=os.environ | environment | {"LOST_WRITES_BROKEN": str(broken)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.splitlines()
    assert told[:2] == [b"unknown", b"unreadable"]
    assert told[2] in (b"settled 5", b"settled 6")
    assert told[3] == b"committed"

    ops = list(power_loss.recorded(log))
    settled = next(at for at, op in enumerate(ops) if op.data.startswith(b"settled"))
    disk = Disk()
    disk.begin(data)
    for at, op in enumerate(ops):
        disk.take(op)
        if at < settled:
            continue
        for seed in range(8):
            folder = tmp_path / f"{at}-{seed}"
            loss = Loss.DROPPED if seed == 0 else Loss.TORN
            power_loss.lay_out(disk.after(loss, random.Random(seed)), folder)
            keys = asyncio.run(_keys(folder))
            assert {f"/kept/{seq}" for seq in range(1, 6)} <= keys
            assert ("/doubtful" in keys) == (told[2] == b"settled 6"), f"turned round at step {at}"
            shutil.rmtree(folder)


async def _keys(folder: Path) -> set[str]:
    store = SqliteStore(folder, wall_ms=lambda: 0)
    await store.open()
    try:
        return {key for key, _ in (await store.load()).records}
    finally:
        await store.close()
