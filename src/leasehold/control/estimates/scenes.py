"""From the ledger's state to a scene that is run forward: taken at once, in about a millisecond."""

from __future__ import annotations

from itertools import islice

import msgspec

from leasehold.control.demand import Demand
from leasehold.control.estimates.hands import Crew, Kind
from leasehold.core import order
from leasehold.core.forward import Scene, Standing
from leasehold.core.jobs import Entry
from leasehold.core.state import State
from leasehold.model.job import Job
from leasehold.model.lease import Ask
from leasehold.model.line import Here, Waiter
from leasehold.model.node import NodeView
from leasehold.model.settings import PolicySettings

NOBODY = 1 << 62
"""The number of who would ask now: behind all others."""

LATER_MAX = 256
"""Jobs whose time has to come that are run forward as well."""


def scene(
    state: State,
    settings: PolicySettings,
    demand: Demand,
    now_ms: int,
    wall_ms: int,
    *,
    asked: Job | Ask,
    as_quiet: bool = False,
) -> tuple[Scene, Crew]:
    """What stands now, with `asked` also where its time has to come, or where it is nobody's yet (`NOBODY`).
    `as_quiet`: as if nobody needed the machine from now on.
    """
    crew = Crew(demand, state)
    under_sessions = session_kinds(state)

    def keep(entry: Standing) -> bool:
        if not isinstance(entry, Waiter):
            return kind_of(entry.ask) not in under_sessions
        presence = state.presence.get(entry.ticket)
        return presence is not None and presence.here(now_ms) is not Here.AWAY

    found = Scene(
        state,
        now_ms,
        settings,
        view=quiet(state.view) if as_quiet else state.view,
        keep=keep,
        coming=_coming(state, settings, now_ms, wall_ms, asked),
    )
    return found, crew


def kind_of(ask: Ask) -> Kind:
    """What a worker must be able to do for it."""
    return ask.job_type, ask.needs


def session_kinds(state: State) -> set[Kind]:
    """Kinds of jobs that workers do under leases of their own: they wait for those, not for room."""
    found: set[Kind] = set()
    for lease_id, under in state.queue.by_lease.items():
        lease = state.leases.get(lease_id)
        job = state.jobs.get(next(iter(under)))
        if lease is not None and not lease.job and job is not None:
            found.add(kind_of(job.terms.ask))
    return found


def has_worker(state: State, demand: Demand, ask: Ask) -> bool:
    """Whether anybody does such jobs: is there, was within the last minute, or has one in hand."""
    if demand.exists(ask):
        return True
    kind, jobs = kind_of(ask), state.jobs
    for under in state.queue.by_lease.values():
        job = jobs.get(next(iter(under)))
        if job is not None and kind_of(job.terms.ask) == kind:
            return True
    return False


def quiet(view: NodeView | None) -> NodeView | None:
    """The node when nobody else needs it."""
    if view is None:
        return None
    return msgspec.structs.replace(view, state="QUIET", score=100, cooldown_until_ms=0, pressed={})


def _coming(
    state: State, settings: PolicySettings, now_ms: int, wall_ms: int, asked: Job | Ask
) -> list[tuple[int, int, Standing]]:
    """The jobs that will stand in line by their time alone, and who would ask now."""
    later = state.queue.later
    numbers = dict.fromkeys(islice(later, LATER_MAX))
    found: list[tuple[int, int, Standing]] = []
    if isinstance(asked, Ask):
        due_ms = order.static_due(asked, now_ms, settings.line)
        found.append((now_ms, NOBODY, Waiter("", NOBODY, asked, now_ms, due_ms)))
    elif asked.number in later:
        numbers[asked.number] = None
    for number in numbers:
        job = state.jobs.get(number)
        if job is not None:
            due_ms = max(job.not_before_ms, now_ms + job.earliest_wall_ms - wall_ms, now_ms + 1)
            ask = state.queue.ask_of(job)
            found.append((due_ms, number, Entry(number, ask, job.due_ms)))
    return found
