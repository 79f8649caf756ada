"""Waiting for a lease: calls held until there is room or patience ends (LEASE-7, 18, 19).

`Asking` decides what to send next and what an answer means, and sends nothing itself: `Asker` below sends
blocking calls for it (`leasehold run`, `with lease()`), `asking_aio` asynchronous ones. The standard
library's lightest parts alone.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping

from leasehold.client import endpoint as where
from leasehold.client import paths
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Answer, Connection, Unreachable
from leasehold.runtime.lean import elapsed_s, pause

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

HOLD_S = 10
"""A held call ends at least this often, so that the waiting line shown is no older."""
ANSWER_S = 5.0
"""A server that takes longer than this to answer, on top of the time that it was asked to hold a call,
hangs."""
LEAVE_S = 0.5
"""Giving up a place in line is a courtesy (the server forgets it anyway), so it may not hold anybody up."""
RESTART_S = 10.0
"""With `when_down` run: how long a server that did answer is given to come back before the work runs without
it."""
BACK_OFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between looks for a server that is down; the last one is repeated."""

_COUNT = itertools.count()
"""Tells two requests of one process apart that were begun in the same instant."""


class Held:
    """A granted lease.

    `sent_s` is when the call that last renewed it was sent: trust starts there (LEASE-28).
    """

    __slots__ = ("lease_id", "refresh_s", "sent_s", "token", "ttl_s")

    def __init__(self, document: dict[str, Any], sent_s: float) -> None:
        limits = document.get("limits") or {}
        self.lease_id = str(document["lease_id"])
        self.token = int(document["fencing_token"])
        self.ttl_s = float(limits.get("ttl_sec", 30))
        self.refresh_s = float(limits.get("refresh_after_sec", 2))
        self.sent_s = sent_s

    def path(self, call: tuple[str, str]) -> tuple[str, str]:
        return call[0], call[1].format(lease_id=self.lease_id)


class NotGranted(Exception):
    """There is no lease, and the work was not started. The sentence says why.

    `kind` is `gave_up` (the waiting time was over), `never_fits` (no machine here can hold it),
    `unreachable` (no server, and `when_down` says fail) or `refused` (the server took the request for wrong
    or forbidden; `status` and `code` are those of its answer). `reasons` are those of the last denial, the
    decisive one first, each with `code`, `sentence` and, where known, `cure` and `figures`. `ticket` is the
    place in line, where it was kept.
    """

    def __init__(
        self,
        sentence: str,
        kind: str = "refused",
        denial: Mapping[str, Any] = {},
        status: int = 0,
        ticket: str = "",
    ) -> None:
        super().__init__(sentence)  # The rest is kept beside it, so that it survives pickling.
        self.sentence = sentence
        self.kind = kind
        self.reasons: list[dict[str, Any]] = list(denial.get("reasons") or [])
        self.retry_after_s: float | None = denial.get("retry_after_sec")
        self.status = status
        self.code = str(denial.get("code", ""))
        self.ticket = ticket


class RunBare(Exception):
    """There is no server to ask, and the work is to run all the same."""


class Message:
    """A request as it is sent: its body, the key under which it counts once, and for how long it is held."""

    __slots__ = ("body", "headers", "held_s")

    def __init__(self, body: bytes, key: str, held_s: int) -> None:
        self.body = body
        self.headers = {"Idempotency-Key": key}
        self.held_s = held_s

    @property
    def timeout_s(self) -> float:
        return self.held_s + ANSWER_S


class Asking:
    """The course of one request, as decisions.

    `message` is what to send; `answered` or `unanswered` takes what came of it, and returns a lease or for
    how many seconds to pause before the next message. All three raise NotGranted; `unanswered` also RunBare.
    """

    def __init__(
        self,
        ask: dict[str, Any],
        env: Mapping[str, str],
        *,
        server: str = "",
        wait_s: float | None = None,
        when_down: str | None = None,
        ticket: str = "",
        name: str = "sdk",
    ) -> None:
        """Ask for `ask`, a request without ticket and waiting time. Without `wait_s` it waits for ever."""
        self.env = env
        self.server = server
        self._ask = ask
        self._wait_s = wait_s
        self._when_down = when_down
        self._began_s = elapsed_s()
        self._key = f"{name}-{os.getpid()}-{round(self._began_s * 1e9)}-{next(_COUNT)}"
        self._sent = 0
        self._holds = False
        self._unanswered: Message | None = None
        self._denial: dict[str, Any] = {}
        self._last_reason = ""
        self._told_down = False
        self._noticed = ""
        self._downs = 0
        self._lost_s: float | None = None
        self._met = False
        self.ticket = ticket
        self.waited = False

    # -- what whoever waits may want to hear; nothing by default

    def tell(self, kind: str, sentence: str) -> None:
        """Something happened: `ticket`, `notice`, `down`, `up`."""

    def tell_waiting(self, denial: dict[str, Any]) -> None:
        """A denial came: the place in line, the reasons, who holds what."""

    # -- the course

    def waited_s(self) -> float:
        return elapsed_s() - self._began_s

    def message(self) -> Message:
        """What to send now.

        What no answer came to is sent again as it was, under the same key: it can't count twice.
        """
        hold_s = self._next_hold() if self._holds else 0
        if self._unanswered is None:
            document = dict(self._ask)
            if hold_s:
                document["wait_sec"] = hold_s
            if self.ticket:
                document["ticket"] = self.ticket
            self._sent += 1
            self._unanswered = Message(json.dumps(document).encode(), f"{self._key}-{self._sent}", hold_s)
        return self._unanswered

    def _next_hold(self) -> int:
        """Whole seconds for which the next call may be held; raises NotGranted when patience has ended."""
        if self._wait_s is None:
            return HOLD_S
        left_s = self._wait_s - self.waited_s()
        if left_s <= 0:
            raise self._gave_up()
        return min(HOLD_S, max(1, round(left_s)))

    def _gave_up(self) -> NotGranted:
        text = f"gave up after {self._wait_s:g} s of waiting" if self._wait_s else "no room now"
        why = f": {self._last_reason}" if self._last_reason else ""
        return NotGranted(f"{text}{why}", "gave_up", self._denial, ticket=self.ticket)

    def answered(self, message: Message, answer: Answer, sent_s: float) -> Held | float:
        """The lease, or for how long to pause. `sent_s` is when the message was sent."""
        if answer.status < 500:
            self._unanswered = None
        self._holds = True
        document = answer.document()
        if answer.status == 200:
            self._recovered()
            if document.get("approved"):
                self._notice(document)
                self.ticket = ""
                return Held(document, sent_s)
            self._denied(document)
            return self._breath(document, sent_s, message.held_s)
        if answer.status == 429 or answer.status >= 500 or document.get("code") == "IDEMPOTENCY_BUSY":
            return self._unwell(answer, document)
        if self.ticket and answer.status in (404, 409, 410):
            self.tell("ticket", "the place in line is gone; asking anew")
            self.ticket = ""
            return 0.0
        raise NotGranted(complaint(answer, document), "refused", document, answer.status)

    def _denied(self, document: dict[str, Any]) -> None:
        self._denial = document
        reasons = document.get("reasons") or []
        self._last_reason = str(document.get("reason", ""))
        if any(reason.get("code") == "NEVER_FITS" for reason in reasons):
            cure = reasons[0].get("cure")
            raise NotGranted(f"{self._last_reason}{f'; {cure}' if cure else ''}", "never_fits", document)
        self.ticket = document.get("ticket") or self.ticket
        self.waited = True
        if self._wait_s is not None and self._wait_s <= 0:
            raise self._gave_up()
        self._notice(document)
        self.tell_waiting(document)

    def _notice(self, document: dict[str, Any]) -> None:
        notice = str(document.get("notice") or "")
        if notice and notice != self._noticed:
            self._noticed = notice
            self.tell("notice", notice)

    def _unwell(self, answer: Answer, document: dict[str, Any]) -> float:
        """The server is there but can't decide now: wait as it says, or as for one that is down."""
        detail = str(document.get("detail") or f"the server answered {answer.status}")
        if answer.status < 500:
            self._last_reason = detail
            self._next_hold()
            return self._bounded(float(document.get("retry_after_sec") or 1))
        self._met = True
        return self.unanswered(Unreachable(detail))

    def _breath(self, document: dict[str, Any], sent_s: float, held_s: int) -> float:
        """A server that does not hold a call (its line is full) is not asked in a tight loop."""
        if held_s and elapsed_s() - sent_s < 0.5:
            return self._bounded(float(document.get("retry_after_sec") or 2))
        return 0.0

    def _bounded(self, delay_s: float) -> float:
        if self._wait_s is None:
            return delay_s
        return max(0.0, min(delay_s, self._wait_s - self.waited_s()))

    def unanswered(self, error: Unreachable) -> float:
        """No answer: what `when_down` says. For how long to pause before looking again."""
        self._holds = False
        policy = self._when_down or default_when_down(self.env, self.server)
        if policy == "fail":
            raise NotGranted(error.message, "unreachable")
        now_s = elapsed_s()
        self._lost_s = now_s if self._lost_s is None else self._lost_s
        restarts = self._met and now_s - self._lost_s < RESTART_S
        if policy == "run" and not restarts:
            raise RunBare(f"{error.message}; running without a lease")
        self.waited = True
        if not self._told_down:
            self._told_down = True
            self.tell("down", f"{error.message}; waiting for it (LEASEHOLD=off runs at once)")
        if self._wait_s is not None and self.waited_s() >= self._wait_s:
            self._last_reason = error.message
            raise self._gave_up()
        self._downs += 1
        return self._bounded(BACK_OFF_S[min(self._downs, len(BACK_OFF_S)) - 1])

    def _recovered(self) -> None:
        self._downs = 0
        self._met = True
        self._lost_s = None
        if self._told_down:
            self._told_down = False
            self.tell("up", "the server answers again")


class Asker(Asking):
    """Asks by blocking calls."""

    connection: Connection | None = None

    def obtain(self) -> Held:
        """Wait for a lease. Raises NotGranted, RunBare, BadAddress, or whatever a signal handler raises."""
        while True:
            message = self.message()
            try:
                connection = self._connected()
                sent_s = elapsed_s()
                answer = connection.call(
                    *paths.REQUEST, message.body, timeout_s=message.timeout_s, headers=message.headers
                )
            except Unreachable as error:
                self.drop()
                pause(self.unanswered(error))
                continue
            found = self._take(message, answer, sent_s)
            if isinstance(found, Held):
                return found
            pause(found)

    def _take(self, message: Message, answer: Answer, sent_s: float) -> Held | float:
        if answer.status >= 500:
            self.drop()
        return self.answered(message, answer, sent_s)

    def _connected(self) -> Connection:
        """The connection in use, else one to the first place where somebody listens."""
        if self.connection is not None:
            return self.connection
        problem: Unreachable | None = None
        for candidate in where.candidates(self.env, self.server):
            connection = Connection(candidate)
            try:
                connection.open(ANSWER_S)
            except Unreachable as error:
                problem = problem or error
                continue
            self.connection = connection
            return connection
        raise problem or nobody()

    @property
    def endpoint(self) -> Endpoint:
        assert self.connection is not None
        return self.connection.endpoint

    def drop(self) -> None:
        """Forget the connection: the next call looks for a server again."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def leave(self) -> None:
        """Give up the place in line, if there is one. Never raises, never takes long."""
        if not self.ticket or self.connection is None:
            return
        endpoint = self.connection.endpoint
        self.drop()
        leave(endpoint, self.ticket)
        self.ticket = ""


def leave(endpoint: Endpoint, ticket: str) -> None:
    """Give up a place in line. Never raises, never takes long."""
    method, path = paths.LEAVE_LINE
    connection = Connection(endpoint)
    try:
        connection.call(method, path.format(ticket=ticket), timeout_s=LEAVE_S)
    except Unreachable:
        pass
    finally:
        connection.close()


def nobody() -> Unreachable:
    return Unreachable("no server is set up here (`leasehold up` starts one)")


def default_when_down(env: Mapping[str, str], server: str) -> str:
    """`run` where no server was ever set up and in CI, else `wait`."""
    in_ci = env.get("CI", "").lower() not in ("", "0", "false", "no")
    return "run" if in_ci or not where.ever_set_up(env, server) else "wait"


def complaint(answer: Answer, document: dict[str, Any]) -> str:
    """What an error answer says, in a sentence."""
    detail = str(document.get("detail") or f"the server answered {answer.status}")
    fields = "; ".join(
        f"{field.get('field')}: {field.get('expected')}" for field in document.get("fields") or []
    )
    request_id = (
        f" (request {document['request_id']})" if answer.status >= 500 and document.get("request_id") else ""
    )
    return f"{detail}{f' ({fields})' if fields else ''}{request_id}"
