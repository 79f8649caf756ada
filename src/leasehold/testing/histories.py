"""What callers were told, and what they relied on, held against what was durable (INV-4, LEASE-7…13).

Times are true ones (`boot_ms`). A holder's trust in its lease starts when its renewal was sent; it lasts as
long as the answer said.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from leasehold.model.charge import LOCK
from leasehold.model.lease import Flag, Lease, LeaseState
from leasehold.testing.model_of_leases import LeaseModel

EXPIRY_SLACK_MS = 1_000
"""Expiry happens within this of the time due (LEASE-10)."""

EXCUSED_MS = 30_000
"""A call that ended this long before its grant was durable may be why nobody was told: disks are slow."""

RENEWALS = frozenset({"a heartbeat", "a report"})


class Trust(msgspec.Struct):
    """One unbroken time in which a holder relied on its lease."""

    lease_id: str
    from_ms: int
    until_ms: int


class Life(msgspec.Struct):
    """When a lease may, and must, have expired: `least_ms` by what was promised, `most_ms` by what could
    have moved its deadline.
    """

    least_ms: int
    most_ms: int


class Histories:
    """Validators over the answers of one run."""

    def __init__(self, model: LeaseModel) -> None:
        self.model = model
        self.trusts: dict[str, list[Trust]] = {}
        self.lives: dict[str, Life] = {}
        self.answered: set[str] = set()
        self.by_key: dict[str, str] = {}
        self.excused: dict[str, int] = {}
        self.resets_ms: list[int] = []
        self.anchor_ms = 0
        self.late_allowed_until_ms = 0
        model.on_end.append(self._ended)
        model.on_thaw.append(self.thawed)

    # -- what was answered

    def approved(self, principal: str, lease_id: str, token: int, key: str | None) -> None:
        known = self.model.leases.get(lease_id)
        if known is None:
            return self.model.fail("INV-4", f"{lease_id} was answered before it was durable")
        if known.record.token != token:
            self.model.fail("INV-3", f"{lease_id} was answered with token {token}")
        if known.record.ask.principal != principal:
            self.model.fail("LEASE-8", f"{principal} was answered with another's {lease_id}")
        self.answered.add(lease_id)
        if key is not None and self.by_key.setdefault(key, lease_id) != lease_id:
            self.model.fail("LEASE-8", f"{key} gave {self.by_key[key]} and {lease_id}")
        return None

    def denied(self, ticket: str | None, shared: bool) -> None:
        """A denial with a place in line: that place is durable, unless another call has it too."""
        if ticket is not None and not shared and ticket not in self.model.waiters:
            self.model.fail("LEASE-7", f"a denial named {ticket}, and nobody waits with it")

    def shown(self, what: str, lease_id: str, state: str, since_ms: int) -> None:
        """An answer showed a lease in a state: the disk had it so at some time since the call came in."""
        known = self.model.leases.get(lease_id)
        if known is None:
            return self.model.fail("INV-4", f"{what} showed {lease_id}, which is not durable")
        durable = sorted(known.states_since(since_ms))
        if what in RENEWALS and state == LeaseState.ACTIVE and LeaseState.OFFERED in durable:
            return None  # That an offer was taken up is volatile, as a renewal is.
        if LeaseState(state) not in durable:
            self.model.fail("INV-4", f"{what} showed {lease_id} as {state}; durable were {durable}")
        return None

    def said_ended(self, what: str, lease_id: str) -> None:
        known = self.model.leases.get(lease_id)
        if known is not None and known.record.is_live:
            self.model.fail(
                "INV-4", f"{what} said that {lease_id} has ended; durable is {known.record.state}"
            )

    def said_unknown(self, what: str, lease_id: str) -> None:
        if lease_id in self.model.leases:
            self.model.fail("INV-4", f"{what} does not know {lease_id}, which is durable")

    def excuse(self, principal: str) -> None:
        """A call of it ended without an answer that counts: a grant of this moment may reach nobody."""
        self.excused[principal] = self.model.boot_ms()

    # -- what was relied on

    def renewed(self, lease_id: str, sent_ms: int, trusted_until_ms: int, ttl_ms: int) -> None:
        """The server has answered a renewal that was sent then."""
        now_ms = self.model.boot_ms()
        life = self.lives.setdefault(lease_id, Life(0, 0))
        life.least_ms = max(life.least_ms, sent_ms + ttl_ms)
        life.most_ms = max(life.most_ms, now_ms + ttl_ms)
        trusts = self.trusts.setdefault(lease_id, [])
        if trusts and trusts[-1].until_ms >= sent_ms:
            trusts[-1].until_ms = max(trusts[-1].until_ms, trusted_until_ms)
        else:
            trusts.append(Trust(lease_id, sent_ms, trusted_until_ms))

    def may_be_renewed(self, lease_id: str, ttl_ms: int) -> None:
        """A renewal has arrived, whatever becomes of its answer: the deadline may have moved."""
        life = self.lives.setdefault(lease_id, Life(0, 0))
        life.most_ms = max(life.most_ms, self.model.boot_ms() + ttl_ms)

    def thawed(self, lease_id: str) -> None:
        """What stood still has its full time again."""
        self.may_be_renewed(lease_id, self.model.settings.lease.ttl_ms)

    def gave_up(self, lease_id: str) -> None:
        """Its holder stops relying on it: it sends a release, or is dead."""
        for trust in self.trusts.get(lease_id, []):
            trust.until_ms = min(trust.until_ms, self.model.boot_ms())

    def everyone_afresh(self, held: Container[str], *, promised: bool) -> None:
        """Every lease that is held gets one full time: after a stall, a start, a time without a store."""
        now_ms = self.model.boot_ms()
        ttl_ms = self.model.settings.lease.ttl_ms
        self.resets_ms.append(now_ms)
        for lease_id, known in self.model.leases.items():
            if known.record.ended_ms or lease_id not in held:
                continue
            life = self.lives.setdefault(lease_id, Life(0, 0))
            life.most_ms = max(life.most_ms, now_ms + ttl_ms)
            if promised and known.record.state is not LeaseState.REVOKING:
                life.least_ms = max(life.least_ms, now_ms + ttl_ms)

    # -- what came to its end

    def _ended(self, lease: Lease, was: LeaseState) -> None:
        if lease.state is LeaseState.EXPIRED and lease.end_reason.startswith("no heartbeat"):
            self._expired(lease, was)
        if lease.state is not LeaseState.EXPIRED or not lease.end_reason.startswith("no heartbeat"):
            for trust in self.trusts.get(lease.lease_id, []):
                trust.until_ms = min(trust.until_ms, lease.ended_ms - self.anchor_ms)

    def _expired(self, lease: Lease, was: LeaseState) -> None:
        ended_ms = lease.ended_ms - self.anchor_ms
        life = self.lives.get(lease.lease_id, Life(0, 0))
        offered_ms = lease.granted_ms - self.anchor_ms + self.model.settings.lease.offer_ms
        if ended_ms < life.least_ms:
            self.model.fail(
                "LEASE-10", f"{lease.lease_id} expired at {ended_ms}, was promised {life.least_ms}"
            )
        for trust in self.trusts.get(lease.lease_id, []):
            if trust.until_ms > ended_ms:
                self.model.fail(
                    "LEASE-10", f"{lease.lease_id} was lost at {ended_ms}, trusted to {trust.until_ms}"
                )
        if was is LeaseState.OFFERED and lease.lease_id not in self.answered:
            self._to_nobody(lease)
        if not life.least_ms and ended_ms < offered_ms and not self.resets_ms:
            self.model.fail(
                "LEASE-7", f"{lease.lease_id} was offered for {ended_ms - offered_ms} ms too short"
            )

    def _to_nobody(self, lease: Lease) -> None:
        """A grant whose caller was told something else, without a fault that explains it."""
        since_ms = self.model.leases[lease.lease_id].states[0][0] - EXCUSED_MS
        excused_ms = self.excused.get(lease.ask.principal, -1)
        if excused_ms < since_ms and not any(reset_ms >= since_ms for reset_ms in self.resets_ms):
            who = lease.ask.principal
            self.model.fail("LEASE-7", f"{lease.lease_id} was granted to {who}, who was not told")

    def overdue(self, held: Container[str], work_lives: Container[str]) -> None:
        """Whatever nobody renewed is gone within a second of its time (LEASE-10). Call while all is well.

        `held` are the leases that the server holds; that an end is durable may take as long as the disk does.
        """
        now_ms = self.model.boot_ms()
        for lease_id, known in self.model.leases.items():
            record = known.record
            if (
                record.ended_ms
                or lease_id not in held
                or lease_id in work_lives
                or Flag.SILENT in record.flags
                or record.is_frozen
            ):
                continue
            if record.state in (LeaseState.REVOKING, LeaseState.REVOKED):
                continue
            life = self.lives.get(lease_id)
            durable_ms = known.states[0][0] + self.model.settings.lease.offer_ms
            due_ms = max(durable_ms, life.most_ms if life is not None else 0)
            if now_ms > due_ms + EXPIRY_SLACK_MS + 100:
                self.model.fail("LEASE-10", f"{lease_id} is live at {now_ms}, and was due at {due_ms}")

    def exclusive(self) -> None:
        """No more holders relied on a lock or semaphore at once than it has places (LEASE-21)."""
        spans: dict[str, list[tuple[int, int, str]]] = {}
        for lease_id, trusts in self.trusts.items():
            for name, _ in self.model.leases[lease_id].record.ask.charge.named:
                if name.startswith(LOCK):
                    spans.setdefault(name, []).extend(
                        (each.from_ms, each.until_ms, lease_id)
                        for each in trusts
                        if each.until_ms > each.from_ms
                    )
        for name, held in sorted(spans.items()):
            self._at_once(name, sorted(held), self.model.sizes.get(name, 1))

    def _at_once(self, name: str, held: list[tuple[int, int, str]], size: int) -> None:
        edges = sorted((at, step) for start, end, _ in held for at, step in ((start, 1), (end, -1)))
        count = 0
        for at, step in edges:
            count += step
            if count > size:
                owners = [lease_id for start, end, lease_id in held if start <= at < end]
                return self.model.fail("LEASE-21", f"{name}: {owners} relied on it at {at}, it has {size}")
        return None
