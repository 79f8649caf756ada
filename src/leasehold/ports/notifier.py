"""The port of notifiers: one call that tells a target something (OPS-14, CLUSTER-27)."""

from __future__ import annotations

from typing import Protocol

from leasehold.model.notification import Parcel, Target


class NotifyFailed(Exception):
    """A target that could not be told.

    `code` is stable: UNREACHABLE, UNRESOLVED, NOT_ALLOWED, TIMEOUT, TLS, REDIRECT, HTTP_503 (any status),
    INVALID, REFUSED, INTERRUPTED. `permanent`: trying again is no use. `gone`: there is no such receiver any
    more, so that its target can be forgotten. `retry_after_s`: when it wants to be asked again, 0 where it
    did not say. The sentence never holds the target's address or key.
    """

    def __init__(
        self,
        code: str,
        sentence: str,
        *,
        permanent: bool = False,
        gone: bool = False,
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.permanent = permanent
        self.gone = gone
        self.retry_after_s = retry_after_s


class Notifier(Protocol):
    """Tells targets of any kind. A call holds up no other, and is over when it is cancelled.

    Every address is checked where it is connected to: public ones, and those that the setting
    `notifications.allowed_hosts` names. No redirect leads anywhere else.
    """

    async def check(self, target: Target) -> None:
        """Whether this can be a target: its address is well-formed and allowed. Raises NotifyFailed."""
        ...

    async def send(self, parcel: Parcel) -> None:
        """Tell it. A receiver may get the same parcel twice, with the same id. Raises NotifyFailed."""
        ...

    async def push_key(self) -> str:
        """The public half of the key that browsers subscribe with, base64url; made once, kept for ever.

        Raises OSError where it can be neither read nor made.
        """
        ...

    async def close(self) -> None:
        """Give up what is open. Within a second."""
        ...
