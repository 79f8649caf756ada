"""A day of one node with 8 cores, 4 mounts and 4 interfaces, as the server writes it: how large it is."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import msgspec

from leasehold.adapters.stores.samples import FILE, SqliteSamples
from leasehold.core import samples
from leasehold.core.stats import derive
from leasehold.model.quiet import INPUTS, QuietAssessment, QuietState
from leasehold.model.snapshot import ApiStats, HostStats, LinkStats, Mount, ProcessStats
from leasehold.ports.samples import Sample
from leasehold.testing.hosts import FakeMachine

START_MS = 1_800_000_000_000


def busy_host(dice: random.Random) -> HostStats:
    """Eight cores, four mounts, four interfaces, and figures with as many digits as real ones."""
    machine = FakeMachine(cores=8)
    before = machine.host.counters(0)
    machine.others_pct = dice.uniform(5, 90)
    host = derive(before, machine.host.counters(2_000), machine.host.surroundings())
    paths = ("/", "/home", "/srv/media", "/var/lib/docker")
    return msgspec.structs.replace(
        host,
        cpu_per_core_pct=tuple(dice.uniform(0, 100) for _ in range(8)),
        disk_read_bytes_per_sec=dice.uniform(0, 1e9),
        disk_write_bytes_per_sec=dice.uniform(0, 1e9),
        disks=tuple(
            Mount(path, "sda", 10**12, dice.randrange(10**12), 10**11, dice.uniform(0, 99)) for path in paths
        ),
        network=tuple(
            LinkStats(name, 0, 0, 0, 0, dice.uniform(0, 1e8), dice.uniform(0, 1e8), dice.uniform(0, 1e5), 1.0)
            for name in ("enp3s0", "enp4s0", "wlp5s0", "wg0")
        ),
        temperatures_c={"x86_pkg_temp": dice.uniform(30, 90), "nvme": dice.uniform(30, 60)},
    )


async def sizes_of_a_day(folder: Path) -> tuple[int, int]:
    """8,640 samples of four groups: the bytes on disk of what was sampled, and of its minutes and hours."""
    dice = random.Random(7)
    api = ApiStats(10**6, 3, 1, 12.34, 0.12, 1.23, 10, 20, 1.234, 23.456, 123.456)
    names = [*INPUTS, "cpu_avg_10s", "cpu_avg_2m"]
    store = SqliteSamples(str(folder))
    await store.open()
    for tick in range(8_640):
        at_ms = START_MS + 10_000 * tick
        inputs: dict[str, float | None] = {name: dice.uniform(0, 100) for name in names}
        quiet = QuietAssessment(0, QuietState.QUIET, 93, 93, ("calm",), inputs, {}, 0, 0, "server")
        rows = {
            "host": samples.host(busy_host(dice)),
            "process": samples.process(ProcessStats(88_000_000 + tick, tick, 9, 61, dice.uniform(0, 2))),
            "api": samples.api(api),
            "quiet": samples.quiet(quiet),
        }
        await store.write([Sample(at_ms, group, fields) for group, fields in rows.items()], [], None, at_ms)
    whole = sum(entry.stat().st_size for entry in os.scandir(folder))
    rolled = rollups_bytes(folder)
    await store.close()
    return whole - rolled, rolled


def rollups_bytes(folder: Path) -> int:
    """The pages that are free when the minutes and hours are gone, in a copy of the file."""
    source, copy = sqlite3.connect(folder / FILE), sqlite3.connect(":memory:")
    source.backup(copy)
    source.close()
    copy.execute("DELETE FROM stats_rollups")
    copy.commit()
    pages, size = (copy.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    copy.close()
    return int(pages * size)
