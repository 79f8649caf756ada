"""Renewing the lease from a thread of its own while the work runs (LEASE-10, 28)."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque

from leasehold.cli.run.ask import Held
from leasehold.client import paths
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Answer, Connection, Unreachable
from leasehold.runtime.lean import elapsed_s

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

WAKE = signal.SIGALRM
"""How this thread tells the one that waits for signals that there is news."""
RENEW_S_MAX = 5.0
"""Renewed at least this often, though a lease lives longer: a revocation has to be seen well within its
grace of 10 s."""
LATE_S = 2.0
"""What is left of a grace that had passed before the revocation was seen."""
ANSWER_S = 5.0
REPLACE_HOLD_S = 10
RETRY_S = 1.0
RESUME_S = 3.0
"""A server that freezes and thaws a whole tree first."""
GONE = frozenset({404, 409, 410})
"""The definite answers that a lease is lost. Anything else (no answer, 5xx, a rejected token) is not loss."""


class News:
    """Something the main thread must act on: `lost`, `replaced`, `stop`, `silence`, `heard`, `paused`,
    `resumed`.
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


class Renewal:
    """Renews one lease until `end`.

    What is to be acted on stands in `news`, oldest first, announced by `WAKE`.
    """

    def __init__(self, endpoint: Endpoint, held: Held, pid: int, ask_again: dict[str, Any] | None) -> None:
        """Renew `held`, to which process `pid` is bound.

        A lost lease is replaced by asking for `ask_again`, if given.
        """
        self.news: deque[News] = deque()
        self.held = held
        self._first = held
        self._pid = pid
        self._ask_again = ask_again
        self._connection = Connection(endpoint)
        self._end = threading.Event()
        self._silent = False
        self._paused = False
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="renewal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Send no more renewals. Does not wait for one that is under way."""
        self._end.set()

    def _loop(self) -> None:
        delay_s = self._delay_s()
        while not self._end.wait(delay_s):
            try:
                answer = heartbeat(self._connection, self.held, self._bind())
            except Unreachable as error:
                self._unheard(error.message)
                delay_s = RETRY_S
                continue
            if answer.status in GONE:
                if not self._lost(answer):
                    return
                delay_s = 0.0
                continue
            if answer.status != 200:
                self._unheard(str(answer.document().get("detail") or f"the server answered {answer.status}"))
                delay_s = RETRY_S
                continue
            self._heard(answer.document())
            delay_s = self._delay_s()

    def _bind(self) -> tuple[int, ...]:
        """A lease that replaces a lost one has to be bound; the first one is before the work starts."""
        if self._first is self.held:
            return ()
        return (self._pid,) if self._connection.endpoint.socket_path else ()

    def _delay_s(self) -> float:
        return max(0.2, min(self.held.refresh_s, RENEW_S_MAX))

    def _heard(self, document: dict[str, Any]) -> None:
        if self._silent:
            self._silent = False
            self._tell(News("heard", "the server answers again; the lease goes on"))
        pauses = document.get("action") == "pause"
        if pauses is not self._paused:
            self._paused = pauses
            why = str(document.get("reason") or "")
            sentence = f"the work stands still ({why})" if pauses else "the work goes on"
            self._tell(News("paused" if pauses else "resumed", sentence))
        if document.get("action") == "stop" and not self._stopping:
            self._stopping = True
            left_s = document.get("deadline_sec")
            self._tell(
                News(
                    "stop",
                    str(document.get("reason") or "revoked"),
                    10.0 if left_s is None else float(left_s),
                )
            )

    def _unheard(self, sentence: str) -> None:
        if not self._silent:
            self._silent = True
            self._tell(News("silence", sentence))

    def _lost(self, answer: Answer) -> bool:
        """The lease is gone. Returns whether a new one was got."""
        document = answer.document()
        details = document.get("details") or {}
        if details.get("state") == "REVOKED":
            self._tell(News("stop", str(details.get("end_reason") or "revoked"), LATE_S))
            return False
        self._tell(News("lost", str(document.get("detail") or f"the server answered {answer.status}")))
        return self._ask_again is not None and self._replace(self._ask_again)

    def _replace(self, ask: dict[str, Any]) -> bool:
        """Ask for a new lease for the work that goes on, until there is one or `end`.

        One that is charged without admission; where the server does not know the lost one (any more), one
        like any other.
        """
        while not self._end.is_set():
            refused = self._overtime()
            if refused is None:
                self._end.wait(RETRY_S)
            elif not refused:
                return True
            else:
                break
        ticket = ""
        while not self._end.is_set():
            document = ask | {"wait_sec": REPLACE_HOLD_S} | ({"ticket": ticket} if ticket else {})
            sent_s = elapsed_s()
            try:
                answer = self._connection.call(
                    *paths.REQUEST, json.dumps(document).encode(), timeout_s=REPLACE_HOLD_S + ANSWER_S
                )
            except Unreachable:
                self._end.wait(RETRY_S)
                continue
            found = answer.document()
            if found.get("approved"):
                self.held = Held(found, sent_s)
                self._tell(News("replaced", f"the work has a new lease, {self.held.lease_id}{_but(found)}"))
                return True
            ticket = str(found.get("ticket") or "")
            self._end.wait(RETRY_S if ticket else max(RETRY_S, float(found.get("retry_after_sec") or 0)))
        return False

    def _overtime(self) -> bool | None:
        """Go on under a lease in place of the lost one. True: refused for good; None: to be tried again."""
        document: dict[str, Any] = {"fencing_token": self.held.token}
        if self._connection.endpoint.socket_path:
            document["bind"] = {"pids": [self._pid]}
        sent_s = elapsed_s()
        try:
            answer = self._connection.call(
                *self.held.path(paths.OVERTIME), json.dumps(document).encode(), timeout_s=ANSWER_S
            )
        except Unreachable:
            return None
        if answer.status >= 500 or answer.status == 429:
            return None
        found = answer.document()
        if answer.status != 200 or not found.get("approved"):
            return True
        self.held = Held(found, sent_s)
        self._tell(News("replaced", f"the work goes on overtime, under {self.held.lease_id}{_but(found)}"))
        return False

    @property
    def paused(self) -> bool:
        """Whether the work stands still, as far as was heard."""
        return self._paused

    def resume(self) -> bool:
        """Have the work go on, so that it can take a signal. False where the server did not do it."""
        connection = Connection(self._connection.endpoint)
        try:
            answer = connection.call(*self.held.path(paths.RESUME), b"{}", timeout_s=RESUME_S)
        except Unreachable:
            return False
        finally:
            connection.close()
        return answer.status == 200

    @property
    def silent(self) -> bool:
        """Whether the last renewal was not answered."""
        return self._silent

    def _tell(self, news: News) -> None:
        if self._end.is_set():
            return
        self.news.append(news)
        os.kill(os.getpid(), WAKE)


def _but(granted: dict[str, Any]) -> str:
    """What of the request could not be done, to follow the sentence about its lease."""
    return f" ({granted['notice']})" if granted.get("notice") else ""
