"""Reading the one stream of events: forwards, backwards, by topic and text, in pages (OPS-3, OPS-22)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from leasehold.control import codec
from leasehold.control.event import LOOKED_MAX, Found, Wanted, find
from leasehold.model.event import Event
from leasehold.ports.archive import Archive

NEWEST = 2**53 - 1


class Kept:
    """Events from `first` to `last`, three to a record; what is below was pruned."""

    def __init__(self, last: int, first: int = 1) -> None:
        kinds = ("LeaseGranted", "JobSubmitted", "NodeBlocked", "LeaseReleased")
        self.last = last
        self.asked = 0
        events = [
            Event(kinds[n % 4], f"thing-{n}", n, actor="user:ada", seq=n) for n in range(first, last + 1)
        ]
        self.records = [events[at : at + 3] for at in range(0, len(events), 3)]

    async def events(self, *, after: int, limit: int) -> Sequence[bytes]:
        self.asked += 1
        found = [record for record in self.records if record[-1].seq > after]
        return [codec.encode_events(record) for record in found[:limit]]

    async def find(self, **wanted: object) -> Found:
        return await find(cast(Archive, self), self.last, Wanted(**wanted))  # type: ignore[arg-type]


def numbers(found: Found) -> list[int]:
    return [event.seq for event in found.events]


@pytest.mark.requirement("OPS-3")
async def test_forwards_by_pages_each_event_comes_once() -> None:
    """Page after page from the start all are there, in order, and the last page has no next."""
    kept, seen, after = Kept(250), [], 0
    while True:
        page = await kept.find(after=after, limit=100)
        seen += numbers(page)
        if page.next is None:
            break
        after = page.next
    assert seen == list(range(1, 251))


@pytest.mark.requirement("OPS-22")
async def test_backwards_the_newest_come_first() -> None:
    """The newest page ends with the newest event; those before it join without a hole, down to the first."""
    kept, seen, before = Kept(2_345), [], NEWEST
    while True:
        page = await kept.find(before=before, limit=100)
        seen = numbers(page) + seen
        if page.next is None:
            break
        before = page.next
    assert seen == list(range(1, 2_346))


@pytest.mark.requirement("OPS-22")
async def test_what_was_pruned_ends_the_list() -> None:
    """Of events the old part of which is gone the last page ends where they begin."""
    kept = Kept(5_000, first=4_990)
    page = await kept.find(before=NEWEST, limit=100)
    assert numbers(page) == list(range(4_990, 5_001))
    rest = await kept.find(before=page.next or 1, limit=100)
    assert (rest.events, rest.next) == ([], None)


@pytest.mark.requirement("OPS-3", "OPS-22")
async def test_a_topic_and_a_text_are_found_in_both_directions() -> None:
    """Leases alone, one subject by a part of its name in capitals, and nothing for what is nowhere."""
    kept = Kept(400)
    leases = await kept.find(before=NEWEST, topic="leases", limit=10)
    assert {event.kind for event in leases.events} == {"LeaseGranted", "LeaseReleased"}
    assert numbers(leases)[-1] == 400
    assert numbers(await kept.find(text="THING-77")) == [77]
    assert numbers(await kept.find(text="thing-77", before=NEWEST)) == [77]
    assert numbers(await kept.find(topic="tokens")) == []


@pytest.mark.requirement("OPS-22")
async def test_a_question_that_finds_nothing_ends_soon_and_can_go_on() -> None:
    """With a filter that matches nothing so many are looked at, and the next page goes on from there."""
    kept = Kept(LOOKED_MAX + 1_500)
    page = await kept.find(before=NEWEST, text="nowhere")
    assert page.events == []
    assert page.next is not None
    assert page.next <= 1_501
    assert kept.asked <= LOOKED_MAX // 1_000 + 1
    rest = await kept.find(before=page.next, text="nowhere")
    assert (rest.events, rest.next) == ([], None)
    forward = await kept.find(text="nowhere")
    assert forward.next == LOOKED_MAX
