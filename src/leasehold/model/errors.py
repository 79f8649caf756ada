"""The one tree of domain errors. `api/errors.py` maps each class to every transport, once.

A denial is not an error (model/refusal.py); these are answers to calls that could not be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LeaseholdError(Exception):
    """An error with a stable code and a sentence that says what to do."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, retry_after_s: int | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.details: Mapping[str, Any] = details


class Malformed(LeaseholdError):
    """The body is not JSON at all, or nested too deeply."""

    code = "MALFORMED"


class Invalid(LeaseholdError):
    """A well-formed request that does not fit its schema. `field` and `expected`, never the value."""

    code = "INVALID"


class TooLarge(LeaseholdError):
    """A body above its limit."""

    code = "TOO_LARGE"


class Unauthenticated(LeaseholdError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class NotPermitted(LeaseholdError):
    """The credential lacks the verb, or the object is somebody else's."""

    code = "NOT_PERMITTED"


class NotFound(LeaseholdError):
    """No such object."""

    code = "NOT_FOUND"


class Conflict(LeaseholdError):
    """The object is not in the state that the call needs."""

    code = "CONFLICT"


class StaleToken(Conflict):
    """A fencing token other than the lease's own (INV-3)."""

    code = "STALE_TOKEN"


class IdempotencyBusy(Conflict):
    """The first call with this Idempotency-Key is still in flight."""

    code = "IDEMPOTENCY_BUSY"


class IdempotencyMismatch(Invalid):
    """This Idempotency-Key was used with another body."""

    code = "IDEMPOTENCY_MISMATCH"


class NeverFits(Invalid):
    """No known node could ever hold it."""

    code = "NEVER_FITS"


class LeaseEnded(LeaseholdError):
    """The lease has ended; details say how and when (LEASE-12)."""

    code = "LEASE_ENDED"


class RateLimited(LeaseholdError):
    """The principal's token bucket is empty (LEASE-4)."""

    code = "RATE_LIMITED"


class QueueFull(LeaseholdError):
    """As many jobs are live as are taken (QUEUE-3)."""

    code = "QUEUE_FULL"


class QuotaReached(QueueFull):
    """The tenant has as many live jobs, or bytes of payloads, as it may have (OPS-7)."""

    code = "QUOTA"


class Unavailable(LeaseholdError):
    """Nothing was done; the same call may work later."""

    code = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The store refuses writes: read-only mode (OPS-17)."""

    code = "STORE_UNAVAILABLE"


class OutcomeUnknown(Unavailable):
    """A commit whose outcome could not be learned; ask again what the state is."""

    code = "OUTCOME_UNKNOWN"


class NotLeader(Unavailable):
    """Another server owns the decisions."""

    code = "NOT_LEADER"


class Overloaded(Unavailable):
    """Back-pressure at the ledger (OPS-31)."""

    code = "OVERLOADED"


class NotReady(Unavailable):
    """Recovery is not done, or the server is stopping."""

    code = "NOT_READY"


class InvariantBroken(LeaseholdError):
    """A decision that would break an invariant: refused, grants stop, reads go on (INV-9)."""

    code = "INVARIANT_BROKEN"
