"""Jobs of one call that come after each other by key: who is meant, in which order, and circles."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from leasehold.control.references import Linked, ids_of, in_order, places_of
from leasehold.core.job import Draft, Filed
from leasehold.model.errors import Invalid
from leasehold.model.job import JobState, Terms
from leasehold.testing.waiting import ask
from leasehold.wire.job import JobIn


def item(key: str, *after: str) -> JobIn:
    return JobIn(key=key, after=list(after))


def draft(*after: int) -> Draft:
    return Draft(Terms("t", ask(1)), b"", after=after, waits_for=after)


@pytest.mark.requirement("QUEUE-1", "QUEUE-3")
def test_a_key_means_the_job_that_has_it() -> None:
    """Ids and keys stand side by side; one that is named twice counts once."""
    items = [item("a", "job-1"), item("", "@a", "job-2", "@a"), item("c", "@a")]
    assert places_of(items) == [(), (0,), (0,)]
    assert [ids_of(each) for each in items] == [["job-1"], ["job-2"], []]


@pytest.mark.requirement("QUEUE-3")
def test_keys_that_nobody_is_meant_by_may_be_equal() -> None:
    """`key` alone binds nothing: it is a name of the caller's."""
    assert places_of([item("a"), item("a")]) == [(), ()]


@pytest.mark.requirement("QUEUE-3")
@pytest.mark.parametrize(
    ("items", "field", "named"),
    [
        ([item("a"), item("a"), item("", "@a")], "$.jobs[1].key", "jobs[0]"),
        ([item("a"), item("", "@b")], "$.jobs[1].after", "b"),
        ([item(""), item("", "@")], "$.jobs[1].after", "key"),
    ],
)
def test_a_key_of_two_or_of_nobody_is_refused(items: list[JobIn], field: str, named: str) -> None:
    """The error says where it stands and who is meant."""
    with pytest.raises(Invalid) as refused:
        places_of(items)
    assert refused.value.details["field"] == field
    assert named in refused.value.message


@pytest.mark.requirement("QUEUE-1", "QUEUE-3")
def test_a_circle_is_named() -> None:
    """Those that wait for each other are told in their order, and others are not."""
    items = [item("x"), item("a", "@c"), item("b", "@a", "@x"), item("c", "@b")]
    with pytest.raises(Invalid, match=r"none of these 3 could ever start") as refused:
        in_order(items, places_of(items))
    told = refused.value.message.removeprefix("after: ").partition(";")[0].split(" comes after ")
    assert told[0] == told[-1]
    assert set(told) == {"@a", "@b", "@c"}
    after = {"@a": "@c", "@b": "@a", "@c": "@b"}
    assert all(after[one] == other for one, other in pairwise(told))


@pytest.mark.requirement("QUEUE-3")
def test_one_that_comes_after_itself_is_a_circle() -> None:
    """The smallest one."""
    with pytest.raises(Invalid, match="@a comes after @a; none of these 1"):
        in_order([item("a", "@a")], [(0,)])


@pytest.mark.requirement("QUEUE-3")
def test_a_great_circle_is_told_in_few_words() -> None:
    """A thousand in a circle make no sentence of a thousand names."""
    count = 1_000
    items = [item(f"k{place}", f"@k{(place + 1) % count}") for place in range(count)]
    with pytest.raises(Invalid, match="none of these 1000") as refused:
        in_order(items, places_of(items))
    assert len(refused.value.message) < 300


@pytest.mark.requirement("QUEUE-3")
@given(some.lists(some.lists(some.integers(0, 11), max_size=3), min_size=1, max_size=12), some.randoms())
def test_each_is_filed_behind_what_it_comes_after(edges: list[list[int]], draw: Random) -> None:
    """Any graph without circles, in any order and cut into any commits, refers to the right numbers."""
    count = len(edges)
    places = list(range(count))
    draw.shuffle(places)
    after: list[tuple[int, ...]] = [()] * count
    for rank, place in enumerate(places):
        after[place] = tuple({places[edge % rank] for edge in edges[rank]}) if rank else ()
    order = in_order([item("")] * count, after)
    assert sorted(order) == list(range(count))
    linked = Linked(after)
    numbers = {place: 100 + at for at, place in enumerate(order)}
    at = 0
    while at < count:
        commit = order[at : at + draw.randint(1, 4)]
        drafts = [linked.draft(place, draft(7)) for place in commit]
        for place, one in zip(commit, drafts, strict=True):
            assert all(earlier < commit.index(place) for earlier in one.earlier)
            beside = [numbers[commit[earlier]] for earlier in one.earlier]
            assert sorted([*one.after, *beside]) == sorted([7, *(numbers[other] for other in after[place])])
            assert one.waits_for == one.after
        linked.filed(commit, [Filed(numbers[place], JobState.QUEUED) for place in commit])
        at += len(commit)


@pytest.mark.requirement("QUEUE-3")
def test_without_keys_all_stays_as_it_was() -> None:
    """The order of the call is the order of the numbers."""
    items = [item("", "job-1")] * 3
    assert in_order(items, places_of(items)) == [0, 1, 2]
    assert Linked([()]).draft(0, draft(1)).after == (1,)
