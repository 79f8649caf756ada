"""The service of named locks and counted semaphores (LEASE-21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from leasehold.control import views
from leasehold.control.ledger import Ledger
from leasehold.core.state import SEMAPHORES, Change, Outcome, Stamp, State
from leasehold.model.charge import LOCK
from leasehold.model.errors import Conflict, NotFound, Overloaded
from leasehold.model.event import Event
from leasehold.model.job import JobState
from leasehold.model.line import Semaphore
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.wire import lock as lock_wire
from leasehold.wire.lease import SlotAsk

GROUP = "group/"
"""What `submit --parallel` names the slots of a group by: their sizes go with its last job."""

FORGOTTEN_MAX = 500


def sized(
    state: State,
    slots: Sequence[SlotAsk],
    principal: str,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
) -> None:
    """Check the sizes that a request names, and set those of new semaphores.

    Raises Conflict where another is set.
    """
    fresh: dict[str, int] = {}
    check_sizes(state, slots, settings, fresh)
    set_sizes(state, fresh, principal, stamp, outcome)


def check_sizes(
    state: State, slots: Sequence[SlotAsk], settings: PolicySettings, fresh: dict[str, int]
) -> None:
    """Check the sizes that are named against those set, and against `fresh`: those of new semaphores that
    others of the same call have named. New ones are added to it. Raises Conflict where another is set.
    """
    found: dict[str, int] = {}
    for slot in slots:
        if slot.size is None:
            continue
        key = LOCK + slot.name
        known = state.semaphores.get(key)
        size = known.size if known is not None else fresh.get(key, found.get(key))
        if size is None:
            check_room(state, settings, len(fresh) + len(found))
            found[key] = slot.size
        elif size != slot.size:
            raise Conflict(
                f"{slot.name} has {size} slots, not {slot.size}; leave the size out, or change it by "
                "`leasehold lock set`",
                name=slot.name,
                size=size,
            )
    fresh.update(found)


def set_sizes(state: State, fresh: Mapping[str, int], principal: str, stamp: Stamp, outcome: Outcome) -> None:
    """Set the sizes of semaphores that are still new."""
    for key, size in fresh.items():
        if key not in state.semaphores:
            outcome.changes.append(Change(SEMAPHORES, key, Semaphore(key, size, principal, stamp.wall_ms)))


def forget_groups(state: State, _: Stamp) -> Outcome:
    """Drop the sizes of groups that no live job or lease names: at most 500 a round."""
    outcome = Outcome()
    idle = [key for key in state.semaphores if key.startswith(LOCK + GROUP)]
    if idle:
        named = {name for terms in state.terms.values() for name, _ in terms.ask.charge.named}
        named |= {name for waiter in state.waiters.values() for name, _ in waiter.ask.charge.named}
        idle = [key for key in idle if key not in named and not state.book.named.get(key)]
    outcome.changes.extend(Change(SEMAPHORES, key, None) for key in idle[:FORGOTTEN_MAX])
    return outcome


def check_room(state: State, settings: PolicySettings, more: int = 0) -> None:
    if len(state.semaphores) + more >= settings.limits.semaphores_max:
        raise Overloaded(f"{settings.limits.semaphores_max} semaphores have a size set; delete some first")


class LockService:
    """Sizes of semaphores, and who holds and waits. A name without a set size is a lock: size 1."""

    def __init__(
        self, ledger: Ledger, settings: Callable[[], PolicySettings], room: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._room = room

    async def locks(self, principal: Principal) -> lock_wire.Locks:
        """Every name that is held, waited for or sized, sorted."""
        return await self._ledger.read(self._locks)

    def _locks(self, state: State) -> lock_wire.Locks:
        names = {name for name in state.book.named if name.startswith(LOCK)} | set(state.semaphores)
        names |= {
            name
            for waiter in state.waiters.values()
            for name, _ in waiter.ask.charge.named
            if name.startswith(LOCK)
        }
        names |= {
            name
            for terms in state.terms.values()
            for name, _ in terms.ask.charge.named
            if name.startswith(LOCK) and state.queue.depth.get((terms.key, JobState.QUEUED))
        }
        return lock_wire.Locks([self._shown(state, name) for name in sorted(names)])

    async def set_lock(self, principal: Principal, name: str, body: lock_wire.LockSize) -> lock_wire.LockOut:
        """Set a size. Smaller than what is held: those who hold keep it, nobody new gets in until it fits."""
        key = LOCK + name

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome()
            if key not in state.semaphores:
                check_room(state, self._settings())
            record = Semaphore(key, body.size, principal.name, stamp.wall_ms)
            outcome.changes.append(Change(SEMAPHORES, key, record))
            outcome.events.append(
                Event("LockSized", name, stamp.wall_ms, principal.name, details={"size": body.size})
            )
            return outcome

        await self._ledger.execute(decide)
        self._room()
        return self._shown(self._ledger.state, key)

    async def delete_lock(self, principal: Principal, name: str) -> None:
        """Forget a size: the name is a lock of size 1 again. Refused while it is held."""
        key = LOCK + name

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome()
            if key not in state.semaphores:
                raise NotFound(f"no size is set for {name}; see `leasehold lock list`", name=name)
            held = state.book.named.get(key, 0)
            if held:
                raise Conflict(
                    f"{name} is held {held} times; wait for its holders or revoke them", name=name, held=held
                )
            outcome.changes.append(Change(SEMAPHORES, key, None))
            outcome.events.append(Event("LockForgotten", name, stamp.wall_ms, principal.name))
            return outcome

        await self._ledger.execute(decide)

    def _shown(self, state: State, key: str) -> lock_wire.LockOut:
        now_ms = self._ledger.clock.now_ms()
        holders = [
            lease for lease in state.leases.values() if any(name == key for name, _ in lease.ask.charge.named)
        ]
        waiting = sum(any(name == key for name, _ in one.ask.charge.named) for one in state.waiters.values())
        waiting += sum(
            state.queue.depth.get((terms.key, JobState.QUEUED), 0)
            for terms in state.terms.values()
            if any(name == key for name, _ in terms.ask.charge.named)
        )
        return lock_wire.LockOut(
            name=key.removeprefix(LOCK),
            size=state.sizes.get(key, 1),
            held=state.book.named.get(key, 0),
            waiting=waiting,
            holders=[
                views.holder_ahead(lease, now_ms) for lease in sorted(holders, key=lambda one: one.token)
            ][:100],
        )
