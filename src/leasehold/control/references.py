"""Jobs of one call that come after each other, by `@key` (QUEUE-1, 3): who is meant, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from leasehold.core.attempt import with_
from leasehold.core.job import Draft, Filed
from leasehold.model.errors import Invalid
from leasehold.wire.job import JobIn

MARK = "@"
SHOWN = 8
"""Keys of a cycle that its error names."""


def ids_of(item: JobIn) -> list[str]:
    """Those of `after` that are ids of jobs."""
    return [each for each in item.after if not each.startswith(MARK)]


def places_of(items: Sequence[JobIn]) -> list[tuple[int, ...]]:
    """For each job the places in the call of those that it comes after by key.

    Raises Invalid where two have one key, or a key is nobody's: then nothing of the call is taken, since half
    of a graph is not what anybody meant.
    """
    if not any(each.startswith(MARK) for item in items for each in item.after):
        return [()] * len(items)
    keys: dict[str, int] = {}
    for place, item in enumerate(items):
        if item.key and keys.setdefault(item.key, place) != place:
            raise Invalid(
                f"jobs[{place}].key: {item.key[:64]} is the key of jobs[{keys[item.key]}] too",
                field=f"$.jobs[{place}].key",
                expected="a key of its own",
            )
    return [_places(place, item, keys) for place, item in enumerate(items)]


def _places(place: int, item: JobIn, keys: dict[str, int]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for each in item.after:
        if not each.startswith(MARK):
            continue
        other = keys.get(each[len(MARK) :])
        if other is None:
            raise Invalid(
                f"jobs[{place}].after: no job of this call has the key {each[len(MARK) :][:64]}",
                field=f"$.jobs[{place}].after",
                expected="the `key` of another job of the same call, or the id of a known job",
            )
        found[other] = None
    return tuple(found)


def in_order(items: Sequence[JobIn], after: Sequence[tuple[int, ...]]) -> list[int]:
    """The places in an order in which each comes behind those that it comes after, else as they were.

    Raises Invalid where some of them wait for each other in a circle.
    """
    if all(other < place for place, others in enumerate(after) for other in others):
        return list(range(len(items)))
    sorter = TopologicalSorter(dict(enumerate(after)))
    try:
        sorter.prepare()
    except CycleError as error:
        raise _circle(items, error.args[1]) from None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _circle(items: Sequence[JobIn], found: Sequence[int]) -> Invalid:
    """`found` leads from each to one that comes after it, and ends where it began."""
    circle = [MARK + items[place].key[:64] for place in reversed(found)]
    shown = circle if len(circle) <= SHOWN else [*circle[: SHOWN - 2], "…", circle[-1]]
    return Invalid(
        f"after: {' comes after '.join(shown)}; none of these {len(circle) - 1} could ever start",
        field=f"$.jobs[{found[0]}].after",
        expected="jobs that don't wait for each other in a circle",
    )


class Linked:
    """A call's jobs as they are filed, in one commit or several: places become numbers."""

    def __init__(self, after: Sequence[tuple[int, ...]]) -> None:
        self._after = after
        self._numbers: dict[int, int] = {}
        self._commit: dict[int, int] = {}

    def draft(self, place: int, draft: Draft) -> Draft:
        """The draft with what it comes after: what is on file, and what its own commit files before it."""
        others = self._after[place]
        self._commit[place] = len(self._commit)
        if not others:
            return draft
        numbers = tuple(self._numbers[other] for other in others if other in self._numbers)
        earlier = tuple(self._commit[other] for other in others if other not in self._numbers)
        return with_(draft, after=draft.after + numbers, waits_for=draft.waits_for + numbers, earlier=earlier)

    def filed(self, places: Sequence[int], filed: Sequence[Filed]) -> None:
        """One commit's are on file."""
        self._numbers.update((place, one.number) for place, one in zip(places, filed, strict=True))
        self._commit.clear()
