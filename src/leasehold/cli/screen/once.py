"""One frame of the screen as text, for pipes and logs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from leasehold.cli.screen import sight as seen
from leasehold.cli.screen.feed import ServerFeed
from leasehold.cli.screen.head import bars, head
from leasehold.cli.screen.sight import Sight
from leasehold.cli.screen.table import lines
from leasehold.model.errors import LeaseholdError
from leasehold.runtime.clock import RealClock, local_now

A = TypeVar("A")

BARS_MAX = 20
EVENTS_SHOWN = 10


async def look(feed: ServerFeed) -> Sight:
    """Ask for everything once; what this caller may not see is left out.

    Raises the errors of `model.errors` and Unreachable where not even the state can be had.
    """
    state, jobs, scores = await asyncio.gather(feed.state(), _seen(feed.jobs()), _seen(feed.scores()))
    return Sight(state, jobs, scores)


async def _seen(asked: Awaitable[list[A]]) -> list[A]:
    try:
        return await asked
    except LeaseholdError:
        return []


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
