"""Waiting for a lease: calls held until there is room or patience ends (LEASE-7, 18)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from leasehold.cli import exits
from leasehold.cli.run.options import Wanted, body
from leasehold.cli.run.say import Voice
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
"""With `--when-down run`: how long a server that did answer is given to come back before the command runs
without it."""
BACK_OFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between looks for a server that is down; the last one is repeated."""


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


class NotRun(Exception):
    """The command will not be started: the exit code, and the sentence that says why and what to do."""

    def __init__(self, code: int, sentence: str, kind: str = "refused") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.kind = kind


class RunBare(Exception):
    """There is no server to ask, and the command is to run all the same."""


class Asker:
    """Asks one server for leases, and knows what to do while there is none."""

    def __init__(self, wanted: Wanted, env: Mapping[str, str], voice: Voice) -> None:
        self._wanted = wanted
        self._env = env
        self._voice = voice
        self._ask = body(wanted)
        self._began_s = elapsed_s()
        self._told_key: object = None
        self._told_down = False
        self._noticed = ""
        self._me: str | None = None
        self._downs = 0
        self._lost_s: float | None = None
        self._met = False
        self._sent = 0
        self._unanswered: tuple[bytes, str, int] | None = None
        self._last_reason = ""
        self.ticket = wanted.ticket or ""
        self.waited = False
        self.connection: Connection | None = None

    def waited_s(self) -> float:
        return elapsed_s() - self._began_s

    def obtain(self) -> Held:
        """Wait for a lease. Raises NotRun, RunBare, or whatever a signal handler raises."""
        hold_s = 0
        while True:
            try:
                began_s = elapsed_s()
                answer = self._request(hold_s)
            except Unreachable as error:
                self._down(error)
                hold_s = 0
                continue
            found = self._judge(answer, began_s)
            if found is not None:
                self.ticket = ""
                return found
            if answer.status == 200:
                self._breathe(answer, began_s, hold_s)
            hold_s = self._next_hold()

    def _next_hold(self) -> int:
        """Whole seconds for which the next call may be held; raises NotRun when patience has ended."""
        if self._wanted.wait is None:
            return HOLD_S
        left_s = self._wanted.wait - self.waited_s()
        if left_s <= 0:
            raise self._gave_up()
        return min(HOLD_S, max(1, round(left_s)))

    def _gave_up(self) -> NotRun:
        self.leave()
        text = f"gave up after {self._wanted.wait:g} s of waiting" if self._wanted.wait else "no room now"
        why = f": {self._last_reason}" if self._last_reason else ""
        return NotRun(exits.GAVE_UP, f"{text}{why}; a longer --wait, or a smaller cost, may help", "gave_up")

    def _request(self, hold_s: int) -> Answer:
        """Send one request.

        What no answer came to is sent again as it was, under the same key: it can't count twice.
        """
        if self._unanswered is None:
            document = dict(self._ask)
            if hold_s:
                document["wait_sec"] = hold_s
            if self.ticket:
                document["ticket"] = self.ticket
            self._sent += 1
            key = f"run-{os.getpid()}-{round(self._began_s * 1e9)}-{self._sent}"
            self._unanswered = json.dumps(document).encode(), key, hold_s
        message, key, held_s = self._unanswered
        headers = {"Idempotency-Key": key}
        connection = self._connected()
        answer = connection.call(*paths.REQUEST, message, timeout_s=held_s + ANSWER_S, headers=headers)
        if answer.status < 500:
            self._unanswered = None
        return answer

    def _connected(self) -> Connection:
        """The connection in use, else one to the first place where somebody listens."""
        if self.connection is not None:
            return self.connection
        found = where.candidates(self._env, self._wanted.server)
        problem: Unreachable | None = None
        for candidate in found:
            connection = Connection(candidate)
            try:
                connection.open(ANSWER_S)
            except Unreachable as error:
                problem = problem or error
                continue
            self.connection = connection
            return connection
        raise problem or Unreachable("no server is set up here (`leasehold up` starts one)")

    @property
    def endpoint(self) -> Endpoint:
        assert self.connection is not None
        return self.connection.endpoint

    def _judge(self, answer: Answer, began_s: float) -> Held | None:
        """A lease, None to ask again, or NotRun."""
        document = answer.document()
        if answer.status == 200:
            self._recovered()
            if document.get("approved"):
                self._notice(document)
                return Held(document, began_s)
            self._denied(document)
            return None
        if answer.status == 429 or answer.status >= 500 or document.get("code") == "IDEMPOTENCY_BUSY":
            self._unwell(answer, document)
            return None
        if self.ticket and answer.status in (404, 409, 410):
            self._voice.tell("ticket", "the place in line is gone; asking anew")
            self.ticket = ""
            return None
        raise NotRun(
            exits.of_problem(answer.status, str(document.get("code", ""))), _complaint(answer, document)
        )

    def _denied(self, document: dict[str, Any]) -> None:
        reasons = document.get("reasons") or []
        self._last_reason = str(document.get("reason", ""))
        if any(reason.get("code") == "NEVER_FITS" for reason in reasons):
            cure = reasons[0].get("cure")
            raise NotRun(exits.NO, f"{self._last_reason}{f'; {cure}' if cure else ''}", "never_fits")
        self.ticket = document.get("ticket") or self.ticket
        self.waited = True
        if self._wanted.wait is not None and self._wanted.wait <= 0:
            raise self._gave_up()
        self._notice(document)
        from leasehold.cli.run import line

        sentence, key = line.waiting(document, self._own_name())
        changed = key != self._told_key
        self._told_key = key
        self._voice.fleeting("waiting", sentence, changed=changed, ticket=self.ticket, **_figures(document))

    def _notice(self, document: dict[str, Any]) -> None:
        notice = str(document.get("notice") or "")
        if notice and notice != self._noticed:
            self._noticed = notice
            self._voice.tell("notice", notice)

    def _unwell(self, answer: Answer, document: dict[str, Any]) -> None:
        """The server is there but can't decide now: wait as it says, or as for one that is down."""
        detail = str(document.get("detail") or f"the server answered {answer.status}")
        if answer.status < 500:
            self._last_reason = detail
            self._next_hold()
            pause(self._bounded(float(document.get("retry_after_sec") or 1)))
            return
        self._met = True
        self._down(Unreachable(detail))

    def _breathe(self, answer: Answer, began_s: float, hold_s: int) -> None:
        """A server that does not hold a call (its line is full) is not asked in a tight loop."""
        if hold_s and elapsed_s() - began_s < 0.5:
            pause(self._bounded(float(answer.document().get("retry_after_sec") or 2)))

    def _bounded(self, delay_s: float) -> float:
        if self._wanted.wait is None:
            return delay_s
        return max(0.0, min(delay_s, self._wanted.wait - self.waited_s()))

    def _down(self, error: Unreachable) -> None:
        """No answer: what `--when-down` says, said plainly. Returns when it is time to look again."""
        self.drop()
        policy = self._wanted.when_down or self._default_policy()
        if policy == "fail":
            raise NotRun(
                exits.UNREACHABLE, f"{error.message}; `leasehold doctor` finds out why", "unreachable"
            )
        now_s = elapsed_s()
        self._lost_s = now_s if self._lost_s is None else self._lost_s
        restarts = self._met and now_s - self._lost_s < RESTART_S
        if policy == "run" and not restarts:
            raise RunBare(f"{error.message}; running without a lease")
        self.waited = True
        if not self._told_down:
            self._told_down = True
            self._voice.tell("down", f"{error.message}; waiting for it (LEASEHOLD=off runs at once)")
        if self._wanted.wait is not None and self.waited_s() >= self._wanted.wait:
            self._last_reason = error.message
            raise self._gave_up()
        pause(self._bounded(BACK_OFF_S[min(self._downs, len(BACK_OFF_S) - 1)]))
        self._downs += 1

    def _default_policy(self) -> str:
        in_ci = self._env.get("CI", "").lower() not in ("", "0", "false", "no")
        return "run" if in_ci or not where.ever_set_up(self._env, self._wanted.server) else "wait"

    def _recovered(self) -> None:
        self._downs = 0
        self._met = True
        self._lost_s = None
        if self._told_down:
            self._told_down = False
            self._voice.tell("up", "the server answers again")

    def _own_name(self) -> str:
        """The caller's name as a holder, asked for once and only by who has to wait."""
        if self._me is None:
            try:
                assert self.connection is not None
                answer = self.connection.call(*paths.WHOAMI, timeout_s=1.0)
                self._me = str(answer.document().get("name", ""))
            except Unreachable:
                self._me = ""
        return self._me

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
        method, path = paths.LEAVE_LINE
        connection = Connection(endpoint)
        try:
            connection.call(method, path.format(ticket=self.ticket), timeout_s=LEAVE_S)
        except Unreachable:
            pass
        finally:
            connection.close()
        self.ticket = ""


def _complaint(answer: Answer, document: dict[str, Any]) -> str:
    detail = str(document.get("detail") or f"the server answered {answer.status}")
    fields = "; ".join(
        f"{field.get('field')}: {field.get('expected')}" for field in document.get("fields") or []
    )
    request_id = (
        f" (request {document['request_id']})" if answer.status >= 500 and document.get("request_id") else ""
    )
    return f"{detail}{f' ({fields})' if fields else ''}{request_id}"


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    found = {
        "reason": document.get("reason"),
        "line": document.get("line"),
        "retry_after_sec": document.get("retry_after_sec"),
    }
    return {name: value for name, value in found.items() if value is not None}
