"""Keeping a lease while its work runs: renewals, what they tell, and what follows a loss (LEASE-10, 28).

`Upkeep` makes one call a turn and waits for nothing: the thread of `leasehold run` turns one, that of a
program with leases of its own turns many.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from leasehold.client import paths
from leasehold.client.asking import Held
from leasehold.client.lean import Answer, Connection, Unreachable
from leasehold.runtime.lean import elapsed_s

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

RENEW_S_MAX = 5.0
"""Renewed at least this often, though a lease lives longer: a revocation has to be seen well within its
grace of 10 s."""
LATE_S = 2.0
"""What is left of a grace that had passed before the revocation was seen."""
GRACE_S = 10.0
"""The grace of a revocation whose answer does not say how much of it is left."""
ANSWER_S = 5.0
RETRY_S = 1.0
GONE = frozenset({404, 409, 410})
"""The definite answers that a lease is lost. Anything else (no answer, 5xx, a rejected token) is not loss."""


class News:
    """Something that whoever works under the lease must know: `lost`, `replaced`, `stop`, `silence`,
    `heard`, `paused`, `resumed`.
    """

    __slots__ = ("deadline_s", "kind", "sentence")

    def __init__(self, kind: str, sentence: str, deadline_s: float = 0.0) -> None:
        self.kind = kind
        self.sentence = sentence
        self.deadline_s = deadline_s


def heartbeat(connection: Connection, held: Held, pids: tuple[int, ...] = ()) -> Answer:
    """Renew once, binding `pids`. Raises Unreachable.

    On success the lease's trust is moved to when this call was sent.
    """
    sent_s = elapsed_s()
    document: dict[str, Any] = {"fencing_token": held.token}
    if pids:
        document["bind"] = {"pids": list(pids)}
    answer = connection.call(*held.path(paths.HEARTBEAT), json.dumps(document).encode(), timeout_s=ANSWER_S)
    if answer.status == 200:
        limits = answer.document().get("limits") or {}
        held.sent_s = sent_s
        held.ttl_s = float(limits.get("ttl_sec", held.ttl_s))
        held.refresh_s = float(limits.get("refresh_after_sec", held.refresh_s))
    return answer


class Upkeep:
    """Renews one lease, turn by turn. What is to be acted on is told to `tell`.

    A lost lease is replaced by one that is charged without admission, and where the server does not know the
    lost one (any more) by asking for `ask_again`, if given. `pids` are bound to the one that takes its place.
    """

    def __init__(
        self,
        held: Held,
        tell: Callable[[News], None],
        *,
        pids: tuple[int, ...] = (),
        ask_again: dict[str, Any] | None = None,
        hold_s: int = 0,
    ) -> None:
        """`hold_s` is for how long a request for a new lease may be held by the server."""
        self.held = held
        self.silent = False
        self.paused = False
        self.lost = False
        self._first = held
        self._tell = tell
        self._pids = pids
        self._ask_again = ask_again
        self._hold_s = hold_s
        self._stopping = False
        self._overtime_refused = False
        self._ticket = ""

    def bind(self, pids: tuple[int, ...]) -> None:
        """What takes the place of this lease is bound to these processes as well."""
        self._pids += pids

    def delay_s(self) -> float:
        """How long until the next renewal is due."""
        return max(0.2, min(self.held.refresh_s, RENEW_S_MAX))

    def turn(self, connection: Connection) -> float | None:
        """Make the next call. How long until the turn after it; None: the lease is gone for good."""
        if self.lost:
            return self._replace(connection)
        try:
            # A lease that replaces a lost one has to be bound; the first one is before the work starts.
            answer = heartbeat(connection, self.held, () if self.held is self._first else self._pids)
        except Unreachable as error:
            return self._unheard(error.message)
        if answer.status in GONE:
            return self._gone(answer)
        if answer.status != 200:
            return self._unheard(
                str(answer.document().get("detail") or f"the server answered {answer.status}")
            )
        self._heard(answer.document())
        return self.delay_s()

    def _heard(self, document: dict[str, Any]) -> None:
        if self.silent:
            self.silent = False
            self._tell(News("heard", "the server answers again; the lease goes on"))
        pauses = document.get("action") == "pause"
        if pauses is not self.paused:
            self.paused = pauses
            why = str(document.get("reason") or "")
            sentence = f"the work stands still ({why})" if pauses else "the work goes on"
            self._tell(News("paused" if pauses else "resumed", sentence))
        if document.get("action") == "stop" and not self._stopping:
            self._stopping = True
            left_s = document.get("deadline_sec")
            sentence = str(document.get("reason") or "revoked")
            self._tell(News("stop", sentence, GRACE_S if left_s is None else float(left_s)))

    def _unheard(self, sentence: str) -> float:
        if not self.silent:
            self.silent = True
            self._tell(News("silence", sentence))
        return RETRY_S

    def _gone(self, answer: Answer) -> float | None:
        document = answer.document()
        details = document.get("details") or {}
        self.lost = True
        if details.get("state") == "REVOKED":
            if not self._stopping:
                self._tell(News("stop", str(details.get("end_reason") or "revoked"), LATE_S))
            return None
        self._tell(News("lost", str(document.get("detail") or f"the server answered {answer.status}")))
        return None if self._ask_again is None else 0.0

    # -- the work goes on

    def _replace(self, connection: Connection) -> float | None:
        """One try to have a new lease for the work that goes on."""
        if self._ask_again is None:
            return None
        if not self._overtime_refused:
            return self._overtime(connection)
        document = dict(self._ask_again)
        if self._hold_s:
            document["wait_sec"] = self._hold_s
        if self._ticket:
            document["ticket"] = self._ticket
        sent_s = elapsed_s()
        try:
            answer = connection.call(
                *paths.REQUEST, json.dumps(document).encode(), timeout_s=self._hold_s + ANSWER_S
            )
        except Unreachable:
            return RETRY_S
        found = answer.document()
        if found.get("approved"):
            self._take(found, sent_s, "the work has a new lease, {}")
            return 0.0
        self._ticket = str(found.get("ticket") or "")
        return RETRY_S if self._ticket else max(RETRY_S, float(found.get("retry_after_sec") or 0))

    def _overtime(self, connection: Connection) -> float:
        """Go on under a lease in place of the lost one."""
        document: dict[str, Any] = {"fencing_token": self.held.token}
        if self._pids:
            document["bind"] = {"pids": list(self._pids)}
        sent_s = elapsed_s()
        try:
            answer = connection.call(
                *self.held.path(paths.OVERTIME), json.dumps(document).encode(), timeout_s=ANSWER_S
            )
        except Unreachable:
            return RETRY_S
        if answer.status >= 500 or answer.status == 429:
            return RETRY_S
        found = answer.document()
        if answer.status != 200 or not found.get("approved"):
            self._overtime_refused = True
        else:
            self._take(found, sent_s, "the work goes on overtime, under {}")
        return 0.0

    def _take(self, granted: dict[str, Any], sent_s: float, sentence: str) -> None:
        self.held = Held(granted, sent_s)
        self.lost = self._overtime_refused = False
        self._ticket = ""
        but = f" ({granted['notice']})" if granted.get("notice") else ""
        self._tell(News("replaced", f"{sentence.format(self.held.lease_id)}{but}"))
