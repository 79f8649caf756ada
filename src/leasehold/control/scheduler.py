"""The service behind `/api/scheduler`: status, explain, decisions, events. It only looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from leasehold.control import answers, codec, cost, dashboard_rows, event, views
from leasehold.control.estimates import views as estimate_views
from leasehold.control.estimates.service import EstimateService
from leasehold.control.event import Wanted
from leasehold.control.lease import LeaseService
from leasehold.core import admission, capacity, enforce, learn
from leasehold.core import guard as guards
from leasehold.core.line import plain_cost
from leasehold.core.state import LEASES, State
from leasehold.model.errors import NotPermitted
from leasehold.model.event import Event
from leasehold.model.lease import Ask, Flag
from leasehold.model.line import Here, Waiter
from leasehold.model.principal import Principal
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.ports.archive import Fold
from leasehold.wire import cost as cost_wire
from leasehold.wire import event as event_wire
from leasehold.wire import lease as wire

WAITERS_SHOWN = 1_000
LEASES_SHOWN = 1_000


class SchedulerService:
    """What stands, what is waited for, why, and what has happened."""

    def __init__(self, leases: LeaseService, preset: Callable[[], str]) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._settings = leases.settings
        self._preset = preset
        self.made_up = ""
        """What says that the figures are made up (`leasehold demo`); "" where they are measured."""
        self.estimates: EstimateService | None = None
        """What tells when something would start; without, nothing is told."""

    async def status(self, principal: Principal) -> wire.SchedulerStatus:
        """May heavy work run now, who holds what, who waits (LEASE-9)."""
        rows = await self._leases.archive.finished(f"/{LEASES}/", limit=self._ledger.state.ended_shown)
        return await self._ledger.read(lambda state: self._status(state, principal, rows))

    def _status(
        self, state: State, principal: Principal, rows: Sequence[tuple[str, bytes]]
    ) -> wire.SchedulerStatus:
        view, settings = state.view, self._settings()
        return wire.SchedulerStatus(
            headline=self.headline(state, settings),
            quiet_state=view.state if view is not None else "UNKNOWN",
            quiet_score=view.score if view is not None else None,
            reasons=list(view.reasons) if view is not None else [],
            capacity=views.dimensions(state, settings),
            active=self._active(state, principal),
            waiting=self._waiting(state),
            ended=self._ended(state, rows),
            node_id=state.node_id,
            preset=self._preset(),
            read_only=bool(self._ledger.read_only),
            notices=[*([self.made_up] if self.made_up else []), *self.notices(state)],
        )

    def _active(self, state: State, principal: Principal) -> list[wire.LeaseOut]:
        shown = sorted(state.leases.values(), key=lambda lease: lease.token)[:LEASES_SHOWN]
        return [
            answers.lease(lease, self._ledger, with_token=lease.ask.principal == principal.name)
            for lease in shown
        ]

    def _waiting(self, state: State) -> list[wire.WaiterOut]:
        now_ms = self._ledger.clock.now_ms()
        return [
            views.waiter(waiter, state, position, stands, now_ms)
            for position, (waiter, stands) in enumerate(self.in_line(state, WAITERS_SHOWN), 1)
        ]

    def in_line(self, state: State, limit: int) -> Iterator[tuple[Waiter, Reason | None]]:
        """The first of those who wait for a lease, in the order of their turns, each with what stands in its
        way. Jobs stand between them, and are listed elsewhere.
        """
        now_ms, settings = self._ledger.clock.now_ms(), self._settings()
        walk = state.line.walk(state.flows, settings.line, now_ms, plain_cost, _asks_for_a_lease)
        for _ in range(limit):
            waiter = walk.next()
            if not isinstance(waiter, Waiter):
                return
            walk.take()
            stands = admission.reasons(state, waiter.ask, now_ms, settings)
            yield waiter, stands[0] if stands else None

    def _ended(self, state: State, rows: Sequence[tuple[str, bytes]]) -> list[wire.LeaseOut]:
        """The last ended leases, newest first: from memory, and after a restart from the archive."""
        shown = list(reversed(state.ended.values()))[: state.ended_shown]
        known = {lease.lease_id for lease in shown} | set(state.leases)
        for key, value in rows:
            name = codec.split_key(key)[1]
            if name not in known and len(shown) < state.ended_shown:
                shown.append(codec.decode(LEASES, name, value))
        return [answers.lease(lease, self._ledger, with_token=False) for lease in shown]

    def headline(self, state: State, settings: PolicySettings) -> str:
        """The one sentence, with what keeps the server itself from granting."""
        if state.broken:
            return f"No: an invariant was broken ({state.broken}); restart the server"
        if self._ledger.lost or self._ledger.read_only:
            return f"No: nothing can be written ({self._ledger.lost or self._ledger.read_only})"
        return views.headline(state, state.view, settings)

    def notices(self, state: State) -> list[str]:
        """What the owner should know beside the headline."""
        notices = []
        if self._ledger.read_only:
            notices.append(
                f"read-only: {self._ledger.read_only}; nothing is granted until it can be written again"
            )
        if self._ledger.lost:
            notices.append(f"not the leader: {self._ledger.lost}")
        notices.extend(
            f"{key} can't be read; settle it with `leasehold revoke {key}` when its work has ended"
            for key in sorted(state.unsettled)
        )
        said = state.owner
        notices.extend(block.sentence for device, block in sorted(said.blocks.items()) if device)
        if said.closed is not None:
            notices.append(said.closed.sentence)
        if said.mood is not None:
            notices.append(said.mood_sentence)
        notices.extend(_held_back(state))
        notices.extend(self._overtime(state))
        notices.extend(guards.complaints(state))
        unbound = [
            lease.lease_id
            for lease in state.leases.values()
            if lease.ask.charge.is_work and not lease.binding.work
        ]
        if unbound:
            notices.append(
                f"{len(unbound)} lease(s) are bound to no process, {min(unbound)} among them: at most their "
                "declared share of cores counts as ours"
            )
        return notices

    def _overtime(self, state: State) -> list[str]:
        """Over-commit is seen: who causes it, and by how much."""
        over = [lease for lease in state.leases.values() if Flag.OVERTIME in lease.flags]
        if not over or state.view is None:
            return []
        usable, used = capacity.usable(state.view, self._settings().capacity).units, state.book.units
        beyond = f"; {used - usable} units more than usable are held" if used > usable else ""
        first = min(lease.lease_id for lease in over)
        return [f"{len(over)} lease(s) run overtime after they were lost, {first} among them{beyond}"]

    async def explain(self, principal: Principal, body: wire.HeavyLeaseRequest) -> wire.Explanation:
        """The decision for a request without making it (LEASE-17)."""
        ask = self._leases.ask_for(principal, body)
        found = await self._ledger.read(lambda state: self._explanation(state, ask))
        if self.estimates is not None and not found.approved and found.reasons[0].code != Code.NEVER_FITS:
            told = await self.estimates.of_ask(ask)
            if told is not None:
                hits = self.estimates.book.hits(self._ledger.state)
                found.estimate = estimate_views.told(told, hits, self._ledger.clock.wall_ms())
        return found

    def _explanation(self, state: State, ask: Ask) -> wire.Explanation:
        settings = self._settings()
        found = admission.reasons(state, ask, self._ledger.clock.now_ms(), settings)
        waiting = len(state.line)
        if waiting and not any(reason.code is Code.NEVER_FITS for reason in found):
            who = "one waiter stands" if waiting == 1 else f"{waiting} waiters stand"
            found.append(
                Reason(Code.IN_LINE, f"{who} in line", "its turn in the fair order", {"waiting": waiting})
            )
        learned = state.learned.get(f"{ask.holder}/{ask.job_type}")
        return wire.Explanation(
            approved=not found,
            reason=found[0].sentence if found else "it would be granted now",
            reasons=[views.reason(one) for one in found],
            charge=answers.charge_of(ask),
            learned=views.learned(learn.suggest(learned, self._leases.totals)) if learned is not None else {},
            notice=enforce.notice(ask, ask.binding),
            notices=guards.complaints(state),
        )

    async def decisions(self, principal: Principal, *, holder: str | None, range_sec: int) -> wire.Decisions:
        """Counts by holder and code in the range, the last reason, what is left of a wait (LEASE-17)."""
        clock = self._ledger.clock
        since_ms = clock.wall_ms() - range_sec * 1000
        folds = list(await self._leases.archive.folds(holder=holder, since_wall_ms=since_ms))
        folds += [fold for fold in self._leases.counters.pending() if holder in (None, fold.holder)]
        by_holder: dict[str, dict[str, Fold]] = {}
        for fold in folds:
            codes = by_holder.setdefault(fold.holder, {})
            codes[fold.code] = merged(codes.get(fold.code), fold)
        return wire.Decisions(
            range_sec, [self._of_holder(name, by_holder[name]) for name in sorted(by_holder)]
        )

    def _of_holder(self, holder: str, codes: dict[str, Fold]) -> wire.HolderDecisions:
        clock = self._ledger.clock
        last = self._leases.counters.last(holder)
        newest = max(codes.values(), key=lambda fold: fold.last_wall_ms)
        view = self._ledger.state.view
        until_ms = max(
            last.retry_until_ms if last is not None else 0, view.cooldown_until_ms if view is not None else 0
        )
        return wire.HolderDecisions(
            holder=holder,
            counts=[
                wire.DecisionCount(
                    fold.code,
                    fold.count,
                    views.rfc3339(fold.first_wall_ms),
                    views.rfc3339(fold.last_wall_ms),
                    fold.sentence,
                )
                for fold in sorted(codes.values(), key=lambda fold: (-fold.count, fold.code))
            ],
            last_reason=last.sentence if last is not None else newest.sentence,
            last_at=views.rfc3339(newest.last_wall_ms),
            cooldown_left_sec=max(0.0, round((until_ms - clock.now_ms()) / 1000, 1)),
            learned=self._learned_of(holder),
        )

    def _learned_of(self, holder: str) -> list[dict[str, object]]:
        shown = []
        for record in self._ledger.state.learned.values():
            if record.holder == holder:
                suggestion = learn.suggest(record, self._leases.totals)
                shown.append({"job_type": record.job_type, **views.learned(suggestion)})
        return sorted(shown, key=lambda row: str(row["job_type"]))[:100]

    async def costs(self, *, holder: str, job_type: str, limit: int) -> cost_wire.Costs:
        """What work asked and used, and what to ask next time (LEASE-15)."""
        totals = self._leases.totals
        return await self._ledger.read(lambda state: cost.costs(state, totals, holder, job_type, limit))

    async def events(self, principal: Principal, wanted: Wanted) -> event_wire.EventPage:
        """Committed events, in order: all of them, for whoever may read events."""
        if not principal.may("events:read"):
            raise NotPermitted(f"{principal.name} may not read events; it needs the verb events:read")
        last = await self._ledger.read(lambda state: self._ledger.events_last)
        found = await event.find(self._leases.archive, last, wanted)
        state = self._ledger.state
        events = [_event(one, dashboard_rows.label_of(one.subject, state)) for one in found.events]
        return event_wire.EventPage(events, None if found.next is None else str(found.next))


def _asks_for_a_lease(entry: object) -> Here:
    return Here.READY if isinstance(entry, Waiter) else Here.AWAY


def _held_back(state: State) -> list[str]:
    """How many stand still or are throttled, and why."""
    found: dict[str, list[str]] = {}
    for lease_id in sorted(state.braked):
        brake = state.leases[lease_id].brake
        if brake is not None:
            found.setdefault(f"{brake.level}: {brake.why}", []).append(lease_id)
    return [f"{len(ids)} lease(s) {why}, {ids[0]} among them" for why, ids in found.items()]


def _event(event: Event, label: str) -> event_wire.EventOut:
    return event_wire.EventOut(
        event.seq,
        event.kind,
        event.subject,
        views.rfc3339(event.at_ms),
        event.actor,
        event.code,
        event.details,
        label,
    )


def merged(one: Fold | None, other: Fold) -> Fold:
    """Two counts of the same holder and code as one."""
    if one is None:
        return other
    newest = one if one.last_wall_ms >= other.last_wall_ms else other
    return Fold(
        other.holder,
        other.code,
        min(one.first_wall_ms, other.first_wall_ms),
        newest.last_wall_ms,
        one.count + other.count,
        newest.sentence,
    )
