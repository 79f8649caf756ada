"""A process that loads the real SQLite store and says what was acknowledged: what crash and power tests run.

    python -m leasehold.testing.store_load DATA [--seed N] [--batches N] [--frames N] [--synchronous OFF]

It goes on with the history of its seed where the store stands, and writes `ack <seq>` to its output when a
batch is durable and before the next begins. Beside the batches it folds, prunes and reads, as a server does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from leasehold.adapters.stores import sqlite_journal
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.ports.archive import Fold
from leasehold.testing.history import History


def careless(synchronous: str) -> type[sqlite3.Connection]:
    """Planted bugs: OFF never waits for the disk, NORMAL only where the journal is moved."""

    class Careless(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(
                statement.replace("synchronous = FULL", f"synchronous = {synchronous}"), *parameters
            )

    return Careless


async def load(
    data: Path, *, seed: int, batches: int = 0, synchronous: str = "FULL", output: int = 1
) -> None:
    """Commit `batches` batches (0: for ever), acknowledging each on the descriptor `output`."""
    factory = sqlite3.Connection if synchronous == "FULL" else careless(synchronous)
    store = SqliteStore(data, wall_ms=lambda: 0, factory=factory)
    await store.open()
    archive = SqliteArchive(store)
    history = History(seed)
    history.advance(await store.batch_seq())
    last = history.seq + batches
    acknowledge(output, history.seq)
    while not batches or history.seq < last:
        batch = history.next()
        await store.commit(batch)
        acknowledge(output, batch.seq)
        history.apply(batch)
        if batch.seq % 7 == 0:
            await archive.fold([Fold("holder", "BUSY", batch.seq, batch.seq, 1)])
        if batch.seq % 50 == 0:
            reading = archive.finished("/leases/", limit=50)
            await asyncio.gather(reading, archive.prune(before_wall_ms=0, bytes_max=1 << 40))
    await archive.close()
    await store.close()


def acknowledge(output: int, seq: int) -> None:
    os.write(output, b"ack %d\n" % seq)


def acknowledged(output: bytes) -> int:
    """The newest batch that `output` acknowledges; -1: not even the opening. A cut line is none."""
    lines = output[: output.rfind(b"\n") + 1].split(b"\n")
    return max((int(line[4:]) for line in lines if line.startswith(b"ack ")), default=-1)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--frames", type=int, default=sqlite_journal.CHECKPOINT_FRAMES)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL", "OFF"), default="FULL")
    options = parser.parse_args(arguments)
    sqlite_journal.CHECKPOINT_FRAMES = options.frames
    asyncio.run(
        load(options.data, seed=options.seed, batches=options.batches, synchronous=options.synchronous)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
