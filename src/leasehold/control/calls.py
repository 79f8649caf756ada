"""Calls by key (LEASE-8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leasehold.core.state import CALLS, Call, Change, Outcome, Stamp, State
from leasehold.model.errors import IdempotencyBusy, IdempotencyMismatch
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings


class Flight:
    """A call with a key that is being answered.

    `ticket` is set once it waits in line: then a repeat takes its place over.
    """

    __slots__ = ("body_hash", "ticket")

    def __init__(self, body_hash: bytes) -> None:
        self.body_hash = body_hash
        self.ticket: str | None = None


class Calls:
    """What has been asked with which key."""

    def __init__(self, settings: Callable[[], PolicySettings]) -> None:
        self._settings = settings
        self._flights: dict[str, Flight] = {}

    def call_of(
        self,
        principal: Principal,
        key: str | None,
        body_hash: bytes,
        now_ms: int,
        route: str = "lease.request",
    ) -> Call | None:
        """The call's identity: (principal, route, key), with its body. None without a key."""
        if key is None:
            return None
        return Call(f"{principal.name}/{route}/{key}", principal.name, body_hash, "", now_ms)

    def known(self, state: State, call: Call) -> Call | None:
        """The remembered call of the same key; its body must be the same. Raises IdempotencyMismatch."""
        before = state.calls.get(call.key)
        if before is None or call.at_ms - before.at_ms > self._settings().limits.idempotency_ms:
            return None
        _same_body(before.body_hash, call)
        return before

    @contextmanager
    def in_flight(self, call: Call) -> Iterator[Flight]:
        """While the first call is being answered a second one is 409, unless the first waits in line."""
        before = self._flights.get(call.key)
        if before is not None:
            _same_body(before.body_hash, call)
            if before.ticket is None:
                raise IdempotencyBusy(
                    "the first call with this Idempotency-Key is still in flight; ask again shortly"
                )
        flight = Flight(call.body_hash)
        flight.ticket = before.ticket if before is not None else None
        self._flights[call.key] = flight
        try:
            yield flight
        finally:
            if self._flights.get(call.key) is flight:
                del self._flights[call.key]

    def waits(self, call: Call, ticket: str) -> None:
        flight = self._flights.get(call.key)
        if flight is not None:
            flight.ticket = ticket

    def stale(self, state: State, stamp: Stamp) -> Outcome:
        """Forget what is older than its time, or over its principal's number.

        Oldest first, a slice per call.
        """
        limits = self._settings().limits
        outcome = Outcome()
        left = dict(state.calls_of)
        for key, call in state.calls.items():
            over = left.get(call.principal, 0) > limits.idempotency_per_principal
            old = stamp.now_ms - call.at_ms > limits.idempotency_ms
            if not old and not over and not any(n > limits.idempotency_per_principal for n in left.values()):
                break
            if old or over:
                left[call.principal] -= 1
                outcome.changes.append(Change(CALLS, key, None))
            if len(outcome.changes) >= 500:
                break
        return outcome


def _same_body(before: bytes, call: Call) -> None:
    if before != call.body_hash:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used with another body; use a new key for a new request",
            field="Idempotency-Key",
            expected="a key of its own for each body",
        )
