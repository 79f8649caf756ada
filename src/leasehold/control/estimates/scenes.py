"""From the ledger's state to a scene that is run forward: taken at once, in about a millisecond."""

from __future__ import annotations

from itertools import islice

import msgspec

from leasehold.control.demand import Demand
from leasehold.control.estimates.hands import Crew
from leasehold.core.forward import Scene, Standing
from leasehold.core.jobs import Entry
from leasehold.core.state import State
from leasehold.model.job import Job
from leasehold.model.line import Here, Waiter
from leasehold.model.node import NodeView
from leasehold.model.settings import PolicySettings

LATER_MAX = 256
"""Jobs whose time has to come that are run forward as well."""


def scene(
    state: State,
    settings: PolicySettings,
    demand: Demand,
    now_ms: int,
    wall_ms: int,
    *,
    asked: Job | None = None,
    as_quiet: bool = False,
) -> tuple[Scene, Crew]:
    """What stands now, with `asked` where its time has to come. `as_quiet`: as if nobody needed the machine
    from now on.
    """
    crew = Crew(demand, state)

    def keep(entry: Standing) -> bool:
        if not isinstance(entry, Waiter):
            return True
        presence = state.presence.get(entry.ticket)
        return presence is not None and presence.here(now_ms) is not Here.AWAY

    found = Scene(
        state,
        now_ms,
        settings,
        view=quiet(state.view) if as_quiet else state.view,
        keep=keep,
        coming=_coming(state, now_ms, wall_ms, asked),
    )
    return found, crew


def quiet(view: NodeView | None) -> NodeView | None:
    """The node when nobody else needs it."""
    if view is None:
        return None
    return msgspec.structs.replace(view, state="QUIET", score=100, cooldown_until_ms=0, pressed={})


def _coming(state: State, now_ms: int, wall_ms: int, asked: Job | None) -> list[tuple[int, int, Standing]]:
    """The jobs that will stand in line by their time alone."""
    later = state.queue.later
    numbers = dict.fromkeys(islice(later, LATER_MAX))
    if asked is not None and asked.number in later:
        numbers[asked.number] = None
    found: list[tuple[int, int, Standing]] = []
    for number in numbers:
        job = state.jobs.get(number)
        if job is not None:
            due_ms = max(job.not_before_ms, now_ms + job.earliest_wall_ms - wall_ms, now_ms + 1)
            ask = state.queue.ask_of(job)
            found.append((due_ms, number, Entry(number, ask, job.due_ms)))
    return found
