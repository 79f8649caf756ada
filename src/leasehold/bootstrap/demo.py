"""The history of `leasehold demo`: weeks of a made-up machine, put into the store as minutes and hours.

Fine where charts look closely, coarser before: in the last `FINE_DAYS` each minute, before them one in
`COARSE_MIN`, which stands for the others. So weeks take seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from leasehold.adapters.stores import made_up as mark
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.core.made_up import DAY_MS, WEEK_MS, rhythm_of, streaks
from leasehold.core.rhythm import MINUTE_MS, Moment, minutes
from leasehold.model.made_up import MadeUp
from leasehold.ports.samples import Sample

FINE_DAYS = 10
COARSE_MIN = 5
PER_MINUTE = 6
"""How often a minute is sampled in truth."""


def make(folder: Path, made_up: MadeUp, progress: Callable[[int], None]) -> None:
    """Mark an empty folder as made up, and fill its history. `progress` hears how many days are done."""
    mark.write(folder, made_up)
    asyncio.run(_fill(folder, made_up, progress))


def marked(folder: Path) -> MadeUp | None:
    """What a folder says of itself; None where its figures are measured."""
    return mark.read(folder)


async def _fill(folder: Path, made_up: MadeUp, progress: Callable[[int], None]) -> None:
    store, rhythm = SqliteSamples(str(folder)), rhythm_of(made_up)
    await store.open()
    try:
        end_ms = made_up.begun_wall_ms // MINUTE_MS * MINUTE_MS
        fine_ms = end_ms - FINE_DAYS * DAY_MS
        at_ms = end_ms - made_up.weeks * WEEK_MS
        done = 0
        while at_ms < end_ms:
            until_ms = min(at_ms + DAY_MS, end_ms)
            step = 1 if at_ms >= fine_ms else COARSE_MIN
            found = list(minutes(rhythm, at_ms, until_ms, step * MINUTE_MS))
            ended = list(streaks(found, step * MINUTE_MS))
            await store.fill(_samples(found), ended, PER_MINUTE * step)
            at_ms, done = until_ms, done + 1
            progress(done)
    finally:
        await store.close()


def _samples(moments: Sequence[Moment]) -> list[Sample]:
    return [
        Sample(moment.wall_ms, group, fields)
        for moment in moments
        for group, fields in moment.groups().items()
    ]
