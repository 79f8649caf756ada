"""One frame of the screen as text, for pipes and logs."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.text import Text

from leasehold.cli.screen import sight as seen
from leasehold.cli.screen.feed import ServerFeed
from leasehold.cli.screen.head import bars, head
from leasehold.cli.screen.sight import Sight
from leasehold.cli.screen.table import lines
from leasehold.runtime.clock import RealClock, local_now

BARS_MAX = 20
EVENTS_SHOWN = 10


async def look(feed: ServerFeed) -> Sight:
    """Ask for everything once. Raises the errors of `model.errors`, and Unreachable."""
    state, jobs, scores = await asyncio.gather(feed.state(), feed.jobs(), feed.scores())
    return Sight(state, jobs, scores)


def frame(sight: Sight, width: int) -> list[Text]:
    """All of the screen, as lines."""
    now_ms = RealClock().wall_ms()
    found = head(sight, width, f"{local_now():%H:%M:%S}")
    if sight.state is not None:
        found += bars(sight.state, width, BARS_MAX)
    tables = (
        (seen.LEASES, seen.lease_rows(sight, now_ms)),
        (seen.QUEUE, seen.queue_rows(sight, now_ms)),
        (seen.EVENTS, seen.event_rows(sight)[:EVENTS_SHOWN]),
    )
    for title, (columns, rows) in zip(seen.titles(sight), tables, strict=True):
        found += [Text(), Text(title, "bold"), *lines(columns, rows, width)]
    return found


def show(sight: Sight, width: int, *, color: bool) -> None:
    """Print the frame; without colour where that is not wanted."""
    console = Console(width=width, no_color=not color, highlight=False, emoji=False, soft_wrap=True)
    for line in frame(sight, width):
        console.print(line if color else line.plain, markup=False)
