"""The service of schedules: keeps them, and submits their jobs when their times come (QUEUE-17).

A run and its job are one commit: a crash between the two neither loses a run nor doubles it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from msgspec.structs import replace

from leasehold.control import schedule_views as views
from leasehold.control.ledger import Ledger
from leasehold.control.schedule_input import checked
from leasehold.control.schedule_runs import ScheduleRuns, Submits, body_of
from leasehold.control.timers import Timers
from leasehold.core import recurrence
from leasehold.core import schedule as decisions
from leasehold.core.recurrence import Instant
from leasehold.core.state import Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, LeaseholdError, NotFound, NotPermitted
from leasehold.model.principal import Principal
from leasehold.model.schedule import Run, RunOutcome, Runs, Schedule
from leasehold.wire import schedule as wire

log = structlog.get_logger(__name__)

TRY_AGAIN_MS = 2_000
"""When a run that could not be submitted now (the store is full, the queue is) is tried again."""

BUG_MS = 60_000
"""When a schedule is looked at again that nobody could decide on: an error of ours must not stop others."""

AT_ONCE_MAX = 32
"""Runs of one tick: others of the same minute follow with the next one."""

ROWS_IN_A_TURN = 50
"""Rows of the list that are made before others have their turn: each takes a tenth of a millisecond."""

NEVER_MS = 1 << 60

SET_BACK_MS = 1_000
"""The wall clock went back by more than the slewing of a time service."""


class ScheduleService:
    """One per server. `zone` is the server's own. `rights` are the verbs of a role by name, where known.

    `tick` is called a few times a second.
    """

    def __init__(
        self, ledger: Ledger, jobs: Submits, zone: str, rights: Callable[[], Mapping[str, frozenset[str]]]
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._jobs = jobs
        self._zone = zone
        self._runs = ScheduleRuns(jobs, rights)
        self._timers = Timers()
        self._looked_wall_ms = NEVER_MS

    # -- what people say

    async def create(self, principal: Principal, body: wire.ScheduleIn) -> wire.ScheduleOut:
        """A new schedule. Raises Invalid, NotPermitted, NotFound, NeverFits, Conflict, Overloaded."""
        schedule = self._as_schedule(principal, body)
        if body.dry_run:
            return self._preview(schedule)
        made: Schedule = await self._ledger.execute(
            lambda state, stamp: decisions.create(state, schedule, stamp)
        )
        self._arm(made.schedule_id)
        return await self.get(principal, made.schedule_id)

    async def replace(
        self, principal: Principal, schedule_id: str, body: wire.ScheduleIn
    ) -> wire.ScheduleOut:
        """Another one in its place: it is its maker's from now on. Raises like `create`."""
        old = self._own(principal, schedule_id)
        new = replace(
            self._as_schedule(principal, body),
            schedule_id=schedule_id,
            created_wall_ms=old.created_wall_ms,
        )
        if body.dry_run:
            return self._preview(new)

        def decide(state: State, stamp: Stamp) -> Outcome:
            return decisions.change(state, _known(state, schedule_id), new, stamp, principal.name)

        await self._changed(schedule_id, decide)
        return await self.get(principal, schedule_id)

    async def pause(self, principal: Principal, schedule_id: str) -> wire.ScheduleOut:
        """It submits nothing until it is resumed. Idempotent. Raises NotFound, NotPermitted."""
        self._own(principal, schedule_id)
        await self._changed(
            schedule_id,
            lambda state, stamp: decisions.pause(_known(state, schedule_id), stamp, principal.name),
        )
        return await self.get(principal, schedule_id)

    async def resume(self, principal: Principal, schedule_id: str) -> wire.ScheduleOut:
        """It goes on with its next run. Idempotent. Raises NotFound, NotPermitted."""
        schedule = self._own(principal, schedule_id)
        if gone := self._runs.owner_gone(self._ledger.state, schedule, self._clock.wall_ms()):
            raise Conflict(f"{gone}; make it anew, or change it, to have it run in your name")
        await self._changed(
            schedule_id,
            lambda state, stamp: decisions.resume(state, _known(state, schedule_id), stamp, principal.name),
        )
        return await self.get(principal, schedule_id)

    async def run(self, principal: Principal, schedule_id: str) -> wire.ScheduleOut:
        """Submit its job now, out of turn. Raises NotFound, NotPermitted, Conflict, and like a submission."""
        self._own(principal, schedule_id)

        def decide(state: State, stamp: Stamp) -> Outcome:
            schedule = _known(state, schedule_id)
            if gone := self._runs.owner_gone(state, schedule, stamp.wall_ms):
                raise Conflict(gone)
            runs = state.schedule_runs[schedule_id]
            live = decisions.live_of(state, runs)
            way = decisions.way(schedule, live)
            if way.left_out:
                raise Conflict(f"{way.left_out}; cancel it, or let the schedule have another --overlap")
            outcome = Outcome()
            outcome.answer = outcome.changes
            number = self._runs.submit(state, stamp, schedule, Instant(stamp.wall_ms), way, outcome)
            run = Run(stamp.wall_ms, stamp.wall_ms, RunOutcome.SUBMITTED, number, by_hand=True)
            decisions.ran_by_hand(schedule, replace(runs, live=live), run, outcome, stamp, principal.name)
            return outcome

        changes, durable = self._ledger.submit(decide)
        self._jobs.decided(changes)
        if durable is not None:
            await durable
        return await self.get(principal, schedule_id)

    async def remove(self, principal: Principal, schedule_id: str) -> None:
        """Forget it; its jobs go on. Raises NotFound, NotPermitted."""
        self._own(principal, schedule_id)
        await self._changed(
            schedule_id,
            lambda state, stamp: decisions.remove(_known(state, schedule_id), stamp, principal.name),
        )

    async def _changed(self, schedule_id: str, decide: Callable[[State, Stamp], Outcome]) -> None:
        try:
            await self._ledger.execute(decide)
        finally:
            self._arm(schedule_id)

    def _as_schedule(self, principal: Principal, body: wire.ScheduleIn) -> Schedule:
        schedule = checked(principal, body, self._zone, self._clock.wall_ms())
        self._jobs.check(principal, body_of(schedule))
        return schedule

    def _own(self, principal: Principal, schedule_id: str) -> Schedule:
        schedule = _known(self._ledger.state, schedule_id)
        if schedule.principal != principal.name and not principal.may("schedule:manage"):
            raise NotPermitted(f"{schedule.name} is {schedule.principal}'s schedule (schedule:manage)")
        return schedule

    # -- looking

    async def schedules(self, principal: Principal) -> wire.Schedules:
        """All, by name; of others' without what their jobs are given."""

        def build(state: State) -> list[tuple[Schedule, Runs, tuple[int, ...]]]:
            ordered = sorted(state.schedules.values(), key=lambda one: (one.name, one.holder))
            return [_looked_up(state, one) for one in ordered]

        found = await self._ledger.read(build)
        told = await self._jobs.told([one.job for _, runs, _ in found for one in runs.last[-1:] if one.job])
        wall_ms, rows = self._clock.wall_ms(), list[wire.ScheduleOut]()
        for schedule, runs, live in found:
            row = views.shown(schedule, runs, live, told, wall_ms, count=1)
            if not _may_see(schedule, principal):
                views.hide(row)
            rows.append(row)
            if len(rows) % ROWS_IN_A_TURN == 0:
                await asyncio.sleep(0)
        return wire.Schedules(rows)

    async def get(self, principal: Principal, schedule_id: str) -> wire.ScheduleOut:
        """One, with its next and last runs. Raises NotFound."""
        found = await self._ledger.read(lambda state: _looked_up(state, _known(state, schedule_id)))
        told = await self._jobs.told([one.job for one in found[1].last if one.job])
        out = views.shown(*found, told, self._clock.wall_ms(), count=recurrence.LAST_MAX)
        if not _may_see(found[0], principal):
            views.hide(out)
        return out

    def _preview(self, schedule: Schedule) -> wire.ScheduleOut:
        wall_ms = self._clock.wall_ms()
        return views.shown(
            replace(schedule, enabled=True), Runs("", wall_ms), (), {}, wall_ms, views.NEXT_SHOWN
        )

    # -- what time brings

    def reloaded(self) -> None:
        """The state was read anew: with the next tick everything is looked at anew."""
        self._looked_wall_ms = NEVER_MS

    def _arm(self, schedule_id: str) -> None:
        """Look at it when its next run is due; a look that comes too early decides nothing."""
        state = self._ledger.state
        schedule, runs = state.schedules.get(schedule_id), state.schedule_runs.get(schedule_id)
        if schedule is None or runs is None:
            return
        wall_ms = self._clock.wall_ms()
        try:
            due_ms = recurrence.next_ms(schedule, runs, wall_ms)
        except (ValueError, OverflowError):  # A zone that this machine has no more, a clock beyond all years.
            log.exception("schedule", schedule_id=schedule_id)
            due_ms = wall_ms + BUG_MS
        if due_ms is not None:
            self._timers.set(schedule_id, due_ms)

    def tick(self) -> None:
        """Submit what is due by the wall clock."""
        wall_ms = self._clock.wall_ms()
        if wall_ms < self._looked_wall_ms - SET_BACK_MS and not self._turn_back(wall_ms):
            return
        self._looked_wall_ms = wall_ms
        left, changes = AT_ONCE_MAX, list[Change]()
        while left > 0 and (due := self._timers.pop_due(wall_ms)):
            for schedule_id in due[:left]:
                decided = self._try(schedule_id, partial(self._runs.decide, schedule_id), wall_ms)
                if decided is not None:
                    changes += decided
                    self._arm(schedule_id)
            for schedule_id in due[left:]:
                self._timers.set(schedule_id, wall_ms)
            left -= len(due)
        if changes:
            self._jobs.decided(changes)

    def _turn_back(self, wall_ms: int) -> bool:
        """The clock was set back, maybe while nobody looked: times behind it come again. False: not yet."""
        self._timers = Timers()
        state = self._ledger.state
        for schedule_id, runs in list(state.schedule_runs.items()):
            turned = recurrence.set_back(runs, wall_ms)
            if turned is runs:
                continue
            if self._try(schedule_id, partial(_turned_back, turned), wall_ms) is None:
                return False
        for schedule_id in state.schedules:
            self._timers.set(schedule_id, wall_ms)
        return True

    def _try(
        self, schedule_id: str, decide: Callable[[State, Stamp], Outcome], wall_ms: int
    ) -> Sequence[Change] | None:
        """Submit a decision: its changes. None where it can't be now; the schedule is looked at again then,
        and where it is taken back.
        """
        try:
            changes, durable = self._ledger.submit(decide)
        except LeaseholdError as error:
            log.info("schedule_put_off", schedule_id=schedule_id, why=error.message)
            self._timers.set(schedule_id, wall_ms + TRY_AGAIN_MS)
            return None
        except Exception:
            log.exception("schedule", schedule_id=schedule_id)
            self._timers.set(schedule_id, wall_ms + BUG_MS)
            return None
        if durable is not None:
            durable.add_done_callback(partial(self._settled, schedule_id))
        return changes or ()

    def _settled(self, schedule_id: str, durable: asyncio.Future[None]) -> None:
        if not durable.cancelled() and durable.exception() is not None:
            self._timers.set(schedule_id, self._clock.wall_ms() + TRY_AGAIN_MS)


def _looked_up(state: State, schedule: Schedule) -> tuple[Schedule, Runs, tuple[int, ...]]:
    runs = state.schedule_runs[schedule.schedule_id]
    return schedule, runs, decisions.live_of(state, runs)


def _may_see(schedule: Schedule, principal: Principal) -> bool:
    """Whether what its jobs are given is for this caller's eyes (QUEUE-4)."""
    is_own = schedule.principal == principal.name or schedule.holder == principal.acts_as
    return is_own or principal.may("schedule:manage")


def _known(state: State, schedule_id: str) -> Schedule:
    schedule = state.schedules.get(schedule_id)
    if schedule is None:
        raise NotFound(
            f"there is no schedule {schedule_id}; see `leasehold schedule list`", schedule_id=schedule_id
        )
    return schedule


def _turned_back(runs: Runs, state: State, stamp: Stamp) -> Outcome:
    return decisions.turned_back(runs) if runs.schedule_id in state.schedules else Outcome()
