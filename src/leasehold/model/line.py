"""The waiting line: one record per waiter, one per flow (LEASE-7, QUEUE-6)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from leasehold.model.lease import Ask


class Waiter(msgspec.Struct, frozen=True, gc=False):
    """A request that waits, held or polling. Durable: its ticket was told to somebody.

    `number` orders submissions. `due_ms` is QUEUE-6's static key on the ledger's clock: min(deadline,
    submission + the lane's offset). Whether somebody is connected, and until when room is reserved, is
    volatile: see `Presence`. `call_key` and `call_hash` are those of the Idempotency-Key it was asked with
    last, so that its grant and the memory of the call are one commit (LEASE-8). `resumes` is the paused lease
    that waits here for the room that it gave back; its `ask` is for that room alone (LEASE-14).
    """

    ticket: str
    number: int
    ask: Ask
    since_ms: int
    due_ms: int
    call_key: str = ""
    call_hash: bytes = b""
    resumes: str = ""

    @property
    def kind(self) -> tuple[str, ...]:
        """None: whoever asked for the lease does the work himself."""
        return ()


class Here(IntEnum):
    """Whether whoever stands in the line could be told now that its turn has come."""

    AWAY = 0
    """Passed over, at no loss of place."""
    KEEPS = 1
    """Not granted now, but its room is kept back."""
    READY = 2


class Presence(msgspec.Struct):
    """Whether a waiter's caller is there: mutable and volatile.

    `held` while a call is open for it: it can be granted at any moment. Otherwise it may claim room until
    `reserves_until_ms` (the retry time that it was told + 2 s), and its place is kept until `forget_ms`.
    """

    held: bool
    reserves_until_ms: int
    forget_ms: int

    def here(self, now_ms: int) -> Here:
        """What that means for the line at this moment."""
        if self.held:
            return Here.READY
        return Here.KEEPS if now_ms < self.reserves_until_ms else Here.AWAY


class Flow(msgspec.Struct, frozen=True, gc=False):
    """Start-time fair queuing's memory for one flow, at one level of the tree (QUEUE-6).

    `key` is `tenant`, `tenant/holder` or `tenant/holder/LANE`; the root is "". `finish` is the last finish
    tag in integer unit-milliseconds; `virtual` is V for the children of this flow: the start tag last
    dispatched below it.
    """

    key: str
    finish: int = 0
    virtual: int = 0


class Semaphore(msgspec.Struct, frozen=True, gc=False):
    """A lock (size 1) or counted semaphore of the ledger (LEASE-21)."""

    name: str
    size: int
    set_by: str = ""
    set_wall_ms: int = 0
