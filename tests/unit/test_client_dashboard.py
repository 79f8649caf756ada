"""The dashboard's stream as its readers follow it: events out of pieces, patches, losses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.client import dashboard
from leasehold.client.dashboard import BadStream, EventReader, Lost, Mirror, patched, watch
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Unreachable
from leasehold.control.dashboard import DECISIONS_SHOWN, difference
from leasehold.wire.dashboard import DashboardState, DecisionRow, LeaseRow, Usage
from tests.unit.dashboard_states import state

STREAM = 'retry: 2000\nevent: state\nid: 1\ndata: {"a": 1}\n\n: still here\n\nevent: bye\ndata: {}\n\n'


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_come_out_of_any_pieces(cuts: list[int]) -> None:
    """However the text is cut, the same events come out, and comments do not."""
    reader, edges = EventReader(), sorted({0, len(STREAM), *cuts})
    found = [event for a, b in pairwise(edges) for event in reader.feed(STREAM[a:b])]
    assert found == [("state", '{"a": 1}'), ("bye", "{}")]


def test_an_event_without_end_is_refused() -> None:
    """What sends for ever without an end of an event can't fill the memory."""
    reader = EventReader()
    with pytest.raises(BadStream, match="4 MiB"):
        for _ in range(6):
            reader.feed("x" * (1 << 20))


def leases(numbers: set[int], units: int) -> list[LeaseRow]:
    return [LeaseRow(f"lease-{n}", "ann", "sh", "ACTIVE", units, n, "NORMAL") for n in sorted(numbers)]


@given(
    before=st.sets(st.integers(0, 8)),
    after=st.sets(st.integers(0, 8)),
    units=st.integers(1, 2),
    events=st.integers(0, 3),
    score=st.integers(0, 100),
)
def test_a_patch_makes_of_one_state_the_other(
    before: set[int], after: set[int], units: int, events: int, score: int
) -> None:
    """What the server tells as the difference of two states turns the one into the other."""
    one, other = state(seq=1), state(seq=2, score=score)
    one.leases, other.leases = leases(before, 1), leases(after, units)
    one.decisions = [DecisionRow(n, "LeaseGranted", n, f"lease-{n}") for n in range(1, 3)]
    other.decisions = one.decisions + [DecisionRow(n, "JobHeld", n, "job-1") for n in range(3, 3 + events)]
    other.usage = {"lease-1": Usage(10, 20, None)}
    told = difference(one, other)
    assert told is not None
    mirror = Mirror()
    assert mirror.take("state", msgspec.json.encode(one).decode())
    assert mirror.take("patch", msgspec.json.encode(told).decode())
    assert mirror.state == other


def test_decisions_are_bounded_and_never_twice() -> None:
    """A stream that goes on for days keeps the newest decisions only, each once."""
    now = state(seq=1)
    for n in range(300):
        other = msgspec.structs.replace(now, seq=n + 2, decisions=[DecisionRow(n + 1, "X", n, "s")])
        told = difference(now, other)
        assert told is not None
        now = patched(patched(now, told), told)
    assert DECISIONS_SHOWN < len(now.decisions) == dashboard.DECISIONS_KEPT
    assert [row.seq for row in now.decisions] == list(range(201, 301))


def test_what_can_not_be_read_is_said() -> None:
    """Garbage in an event is a broken stream, not a crash; a patch before any state changes nothing."""
    mirror = Mirror()
    assert not mirror.take("patch", '{"seq": 1, "at": 1}')
    with pytest.raises(BadStream, match="a state that can't be read"):
        mirror.take("state", "{")


async def test_a_loss_is_told_and_the_next_place_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loss is told with its reason, and where the server is by then is asked for anew."""
    asked = []

    def places() -> list[Endpoint]:
        asked.append(1)
        return []

    async def find(where: object) -> Endpoint:
        places()
        if len(asked) == 2:
            raise Unreachable("nobody is there")
        return Endpoint(host="127.0.0.1", port=len(asked))

    async def follow(endpoint: Endpoint) -> AsyncIterator[DashboardState]:
        yield state(seq=endpoint.port)

    monkeypatch.setattr(dashboard, "first_that_answers", find)
    monkeypatch.setattr(dashboard, "follow", follow)
    monkeypatch.setattr(dashboard, "AGAIN_S", (0.0,))
    told: list[object] = []
    async with asyncio.timeout(20):
        async for one in watch(places):
            told.append(one.why if isinstance(one, Lost) else one.seq)
            if len(told) == 4:
                break
    assert told == [1, "the server has ended the stream", "nobody is there", 3]
