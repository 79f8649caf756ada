"""Events for those who read them: after a number or before one, by topic, by a text (OPS-3, OPS-22).

The stream is one and ordered. Reading backwards goes by its numbers, which have no holes but at the old end,
where retention takes them away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from leasehold.control import codec
from leasehold.model.errors import Invalid
from leasehold.model.event import Event
from leasehold.ports.archive import Archive

LOOKED_MAX = 20_000
"""How many events one question with a filter looks at; the next page goes on from there."""

PIECE = 1_000

TOPICS: Mapping[str, tuple[str, ...]] = {
    "leases": ("Lease", "Guard"),
    "jobs": ("Job",),
    "schedules": ("Schedule",),
    "nodes": ("Node", "Block", "Allow", "Pretend", "Window"),
    "addons": ("Addon",),
    "locks": ("Lock",),
    "tenants": ("Tenant",),
    "tokens": ("Token",),
    "alerts": ("Alert",),
}
"""What the kinds of a topic begin with."""


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for: those above `after`, or the newest below `before`; of a topic, with a text."""

    after: int | None = None
    before: int | None = None
    limit: int = 100
    topic: str = ""
    text: str = ""


class Found(msgspec.Struct, frozen=True):
    """Events, oldest first. `next` continues in the direction that was asked for; None at its end."""

    events: list[Event]
    next: int | None = None


async def find(archive: Archive, last: int, wanted: Wanted) -> Found:
    """What is asked for, where `last` is the newest number. Raises Invalid for both ways at once."""
    if wanted.after is not None and wanted.before is not None:
        raise Invalid("after and before: only one of them can be given", field="before", expected="no after")
    matches = _matcher(wanted)
    if wanted.before is None:
        return await _forwards(archive, wanted, matches)
    return await _backwards(archive, min(wanted.before, last + 1), wanted, matches)


async def _forwards(archive: Archive, wanted: Wanted, matches: Callable[[Event], bool]) -> Found:
    found: list[Event] = []
    at = wanted.after or 0
    for _ in range(LOOKED_MAX // PIECE):
        size = min(PIECE, wanted.limit) if not (wanted.topic or wanted.text) else PIECE
        piece = await _above(archive, at, size)
        for event in piece:
            at = event.seq
            if matches(event):
                found.append(event)
            if len(found) == wanted.limit:
                return Found(found, at)
        if len(piece) < size:
            return Found(found)
    return Found(found, at)


async def _backwards(
    archive: Archive, before: int, wanted: Wanted, matches: Callable[[Event], bool]
) -> Found:
    found: list[Event] = []  # the newest first
    floor = max(1, before - LOOKED_MAX)
    while before > floor:
        after = max(0, before - 1 - PIECE)
        piece = [event for event in await _above(archive, after, PIECE) if event.seq < before]
        if not piece:
            return Found(found[::-1])  # What was there is pruned.
        for event in reversed(piece):
            if len(found) == wanted.limit:
                return Found(found[::-1], found[-1].seq)
            if matches(event):
                found.append(event)
        before = piece[0].seq
    return Found(found[::-1], before if before > 1 else None)


async def _above(archive: Archive, after: int, limit: int) -> Sequence[Event]:
    records = await archive.events(after=after, limit=limit)
    events = (event for record in records for event in codec.decode_events(record))
    return [event for event in events if event.seq > after][:limit]


def _matcher(wanted: Wanted) -> Callable[[Event], bool]:
    begins = TOPICS.get(wanted.topic, ())
    text = wanted.text.lower()

    def matches(event: Event) -> bool:
        if begins and not event.kind.startswith(begins):
            return False
        return not text or text in _said(event)

    return matches


def _said(event: Event) -> str:
    return f"{event.kind} {event.subject} {event.actor} {event.code} {event.details}".lower()
