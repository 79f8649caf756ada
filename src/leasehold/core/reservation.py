"""Backfill with one reservation per node (QUEUE-7): who can't start yet is promised a time, and it is kept.

The idea is EASY backfill (Lifka, *The ANL/IBM SP Scheduling System*, 1995): from the bounds of what runs
follows the earliest time at which the first waiter would fit; others go before it only if they will have
ended by then, or fit beside it.

Where some lease that must end first has no bound, nothing can be promised. The time is then a guess from what
such leases are expected to take. Leases that were granted after the waiter first stood here are not waited
for in it, so letting others pass does not push the guess on: the waiter starts at the latest when all that
ran before it and all that passed it have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from leasehold.core import quota
from leasehold.core.book import Book
from leasehold.core.brake import ran_ms, stood_ms
from leasehold.core.capacity import (
    Usable,
    constraint_limits,
    fits,
    shortfalls,
    size_of,
    usable,
    within_counts,
)
from leasehold.model.charge import LOCK, Totals
from leasehold.model.lease import Ask, Lease
from leasehold.model.node import NodeView
from leasehold.model.settings import CapacitySettings
from leasehold.model.tenant import Tenant

OVERRUN_MS = 60_000
"""A lease past its bound is assumed to end after this, or after a tenth of its age where that is more."""

STANDS_MS = 60_000
"""Frozen work is guessed to stand for so long yet: no freeze is shorter (LEASE-14)."""


class Running(msgspec.Struct, frozen=True, gc=False):
    """A live lease, when it ends by its bound (None: nobody gave one), and when it is expected to end."""

    lease: Lease
    ends_ms: int | None
    expected_ms: int


class Room(msgspec.Struct, frozen=True, gc=False):
    """What a node has to give at this moment: all that room is judged by, but the book.

    `anyway` is what is usable without the curve, for jobs past their `start_anyway_by` (QUEUE-19). `tenants`
    are those that have quotas, by name (others among them do no harm).
    """

    usable: Usable
    anyway: Usable
    totals: Totals
    semaphores: Mapping[str, int]
    settings: CapacitySettings
    tenants: Mapping[str, Tenant] = quota.NO_TENANTS

    @classmethod
    def of(
        cls,
        view: NodeView,
        semaphores: Mapping[str, int],
        settings: CapacitySettings,
        tenants: Mapping[str, Tenant] = quota.NO_TENANTS,
    ) -> Room:
        """The room of a node as it was last measured."""
        now = usable(view, settings)
        anyway = now if view.always else usable(view, settings, without_curve=True)
        return cls(now, anyway, view.totals, semaphores, settings, tenants)

    def usable_by(self, ask: Ask) -> Usable:
        """What is usable, for this ask."""
        return self.anyway if ask.anyway else self.usable

    def within_counts(self, book: Book, ask: Ask) -> bool:
        """Whether the limits that count leases allow `ask` beside what `book` holds."""
        return within_counts(book, ask, self.totals, self.settings)

    def within_quota(self, book: Book, ask: Ask) -> bool:
        """Whether its tenant may have `ask` beside what `book` says that it holds."""
        return not self.tenants or quota.within(self.tenants, book, ask)

    def has_quota(self, ask: Ask) -> bool:
        """Whether its tenant is held to anything: then others may get what it may not."""
        tenant = self.tenants.get(ask.tenant)
        return tenant is not None and tenant.limits_leases

    def fits(self, book: Book, ask: Ask) -> bool:
        """Whether there is enough for `ask` in every dimension beside what `book` holds."""
        return fits(book, self.usable_by(ask), self.totals, self.semaphores, ask.charge)

    def holds(self, book: Book, ask: Ask) -> bool:
        """Whether `ask` could start beside what `book` holds."""
        return self.within_quota(book, ask) and self.within_counts(book, ask) and self.fits(book, ask)

    def waits_for_locks_alone(self, book: Book, ask: Ask) -> bool:
        """Whether nothing but locks and semaphores is missing."""
        short = shortfalls(book, self.usable_by(ask), self.totals, self.semaphores, ask.charge)
        return all(each.dimension.startswith(LOCK) for each in short)

    def left(self, book: Book, ask: Ask) -> dict[str, int]:
        """What is free beside `book`, in each dimension and count that `ask` needs. May be below zero."""
        charge, there_is = ask.charge, self.usable_by(ask)
        free: dict[str, int] = {}
        for dimension, asked, there, used in (
            ("units", charge.units, there_is.units, book.units),
            ("cpu", charge.cpu_millicores, there_is.cpu_millicores, book.cpu_millicores),
            ("memory", charge.memory_bytes, there_is.memory_bytes, book.memory_bytes),
            ("disk", charge.disk_bytes, there_is.disk_bytes, book.disk_bytes),
        ):
            if asked:
                free[dimension] = there - used
        for name, _ in charge.named:
            free[name] = size_of(name, self.totals, self.semaphores) - book.named.get(name, 0)
        if charge.is_work:
            free["leases"] = self.settings.max_per_node - book.leases
            held = book.per_holder.get(ask.holder, 0)
            free[f"holder {ask.holder}"] = self.settings.max_per_holder_per_node - held
            for key, limit in constraint_limits(ask, self.totals, self.settings):
                free[f"constraint {key}"] = limit - book.constraints.get(key, 0)
            free.update(quota.left(self.tenants, book, ask))
        return free


def needs(ask: Ask) -> dict[str, int]:
    """What `ask` takes of each dimension and count, under the names of `Room.left`."""
    charge = ask.charge
    taken = {
        "units": charge.units,
        "cpu": charge.cpu_millicores,
        "memory": charge.memory_bytes,
        "disk": charge.disk_bytes,
        **dict(charge.named),
    }
    if charge.is_work:
        taken["leases"] = 1
        taken[f"holder {ask.holder}"] = 1
        for key in Book.constraint_keys(ask):
            taken[f"constraint {key}"] = 1
        taken.update(quota.taken(ask))
    return taken


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """The room that is kept for one entry of the line, by its `number`.

    `start_ms` is when it will fit. `firm`: that follows from bounds alone, and is never put off as long as
    bounds are kept and capacity does not shrink; else it is a guess. `since_ms` is when the waiter first
    stood here. `spare` is what is left over beside it at `start_ms`, in the dimensions that it needs (others
    do not matter to it). `usable_units` is what the node had to give then. `note` says why an earlier promise
    was broken, where one was. `behind` are the numbers of pollers whose turn came before it, and whose room
    is kept back.
    """

    number: int
    start_ms: int
    firm: bool
    since_ms: int
    spare: dict[str, int]
    usable_units: int
    note: str = ""
    behind: tuple[int, ...] = ()


def running(lease: Lease, now_ms: int) -> Running:
    """When a live lease ends: by its bound; past that, in max(60 s, 10 % of its age); else by guess."""
    ask = lease.ask
    began_ms = lease.granted_ms + stood_ms(lease, now_ms)
    if lease.is_frozen:  # Nobody can promise when it goes on.
        left_ms = _end(began_ms, ask.bound_ms or ask.expected_ms, now_ms) - now_ms
        return Running(lease, None, now_ms + STANDS_MS + left_ms)
    bound = _end(began_ms, ask.bound_ms, now_ms) if ask.bound_ms else None
    guess = _end(began_ms, ask.expected_ms, now_ms) if bound is None else bound
    return Running(lease, bound, guess)


def _end(granted_ms: int, takes_ms: int, now_ms: int) -> int:
    if granted_ms + takes_ms > now_ms:
        return granted_ms + takes_ms
    return now_ms + max(OVERRUN_MS, (now_ms - granted_ms) // 10)


def earliest(
    number: int,
    ask: Ask,
    book: Book,
    room: Room,
    leases: Sequence[Running],
    now_ms: int,
    *,
    kept: Reservation | None = None,
    behind: tuple[int, ...] = (),
) -> Reservation | None:
    """When `ask` fits if leases end as they should; None when it would not fit even after all of them.

    `leases` are all whose charges stand in `book`. `kept` is the reservation that was there before: if it was
    this waiter's, its time counts from then, and a promise that could not be kept is noted. `behind` is noted
    in the reservation.
    """
    if kept is not None and kept.number != number:
        kept = None
    since_ms = kept.since_ms if kept is not None else now_ms
    firm, trial = True, book.copy()
    ends = [(each.ends_ms, each.lease) for each in leases if each.ends_ms is not None]
    start_ms = _until_it_fits(trial, ends, room, ask, now_ms)
    if start_ms is None:
        firm, trial = False, book.copy()
        later = [each.lease for each in leases if each.ends_ms is None and each.lease.granted_ms > since_ms]
        for lease in later:
            trial.remove(lease)
        passed = {lease.lease_id for lease in later}
        ends = [(each.expected_ms, each.lease) for each in leases if each.lease.lease_id not in passed]
        start_ms = _until_it_fits(trial, ends, room, ask, now_ms)
        for lease in later:
            trial.add(lease)
    if start_ms is None:
        return None
    trial.add_ask(ask)
    units = room.usable_by(ask).units
    note = _why_broken(kept, start_ms, firm, units, leases, now_ms) if kept is not None else ""
    return Reservation(number, start_ms, firm, since_ms, room.left(trial, ask), units, note, behind)


def _until_it_fits(
    trial: Book, ends: Iterable[tuple[int, Lease]], room: Room, ask: Ask, now_ms: int
) -> int | None:
    """End leases in `trial` by time, all of one instant together, until `ask` fits; the time, or None."""
    if room.holds(trial, ask):
        return now_ms
    rising = sorted(ends, key=lambda end: (end[0], end[1].lease_id))
    for at, (ends_ms, lease) in enumerate(rising):
        trial.remove(lease)
        last_of_instant = at + 1 == len(rising) or rising[at + 1][0] > ends_ms
        if last_of_instant and room.holds(trial, ask):
            return max(now_ms, ends_ms)
    return None


def _why_broken(
    kept: Reservation, start_ms: int, firm: bool, units: int, leases: Sequence[Running], now_ms: int
) -> str:
    if not kept.firm or (firm and start_ms <= kept.start_ms):
        return kept.note
    late = [each.lease for each in leases if each.lease.ask.bound_ms and _overran(each.lease, now_ms)]
    if late:
        first = min(late, key=lambda lease: lease.lease_id)
        bound_s = first.ask.bound_ms // 1000
        return f"{first.lease_id} of {first.ask.holder} runs longer than its bound of {bound_s} s"
    frozen = [each.lease for each in leases if each.lease.is_frozen]
    if frozen:
        first = min(frozen, key=lambda lease: lease.lease_id)
        return f"{first.lease_id} of {first.ask.holder} stands still, and its time with it"
    if units < kept.usable_units:
        return f"usable units fell from {kept.usable_units} to {units}"
    return "the node has less to give than when the time was promised"


def _overran(lease: Lease, now_ms: int) -> bool:
    return ran_ms(lease, now_ms) >= lease.ask.bound_ms


def may_start(ask: Ask, reservation: Reservation, now_ms: int) -> bool:
    """Whether starting `ask` now keeps the reservation: it ends in time by its bound, or fits beside it.

    Where the reserved time is a guess, what the ask is expected to take is as good as a bound.
    """
    takes_ms = ask.bound_ms or (0 if reservation.firm else ask.expected_ms)
    if takes_ms and now_ms + takes_ms <= reservation.start_ms:
        return True
    taken = needs(ask)
    return all(taken.get(name, 0) <= max(0, free) for name, free in reservation.spare.items())


def takes_what_is_kept(ask: Ask, reservation: Reservation) -> bool:
    """Whether it asks for more of the machine itself than will be left beside the reservation."""
    charge = ask.charge
    spare = reservation.spare
    return any(
        asked > max(0, spare[name])
        for name, asked in (
            ("units", charge.units),
            ("cpu", charge.cpu_millicores),
            ("memory", charge.memory_bytes),
            ("disk", charge.disk_bytes),
        )
        if name in spare
    )


def after(ask: Ask, reservation: Reservation, now_ms: int) -> Reservation:
    """The reservation once `ask`, which `may_start`, was granted: what it takes is no longer spare."""
    takes_ms = ask.bound_ms or (0 if reservation.firm else ask.expected_ms)
    if takes_ms and now_ms + takes_ms <= reservation.start_ms:
        return reservation
    taken = needs(ask)
    spare = {name: free - taken.get(name, 0) for name, free in reservation.spare.items()}
    return msgspec.structs.replace(reservation, spare=spare)
