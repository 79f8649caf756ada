"""The thread of a program that keeps its leases: one for each server, for as long as there is a lease.

It renews, tells progress, and gives back, so that neither a loop that blocks nor a slow server ever stands
between the work and its lease. Calls go out one after the other on one connection.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
from concurrent.futures import Future
from typing import Any, Protocol

from leasehold.client import paths
from leasehold.client.asking import Held
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Connection, Unreachable
from leasehold.client.upkeep import ANSWER_S, GONE, RETRY_S, News, Upkeep, heartbeat
from leasehold.runtime.lean import elapsed_s

log = logging.getLogger("leasehold")

IDLE_S = 5.0
"""A keeper without leases waits this long for the next one, then its thread ends."""
CONFIRM_S = 2.0
"""How long a server that granted and then fell silent is tried before the lease is asked for anew."""
REPORT_S = 0.5
"""Progress is told at most this often; what comes in between replaces what was not told yet."""
WATCH_S = 3.0
RELEASE_S_MAX = 600.0
"""A lease that can't be given back for so long has expired, or its server is gone for good."""
CLOCK_GRACE_S = 10.0


class Standing:
    """How it stands with one lease: written by the keeper, read by the work.

    `stop` is why the work should end, "" while it may go on; `ended` is how the lease was lost, definitely.
    """

    def __init__(self, held: Held, *, by_clock: bool = False) -> None:
        self.held = held
        self.stop = ""
        self.revoked = False
        self.stop_by_s = math.inf
        self.ended = ""
        self.paused = False
        self.changed = threading.Condition()
        self._by_clock = by_clock

    def why_stop(self) -> str:
        """Why the work should end. With on_lost=stop also before the lease can end by its own clock."""
        if not self.stop and self._by_clock:
            grace_s = min(CLOCK_GRACE_S, self.held.ttl_s / 3)
            end_s = self.held.sent_s + self.held.ttl_s
            if elapsed_s() >= end_s - grace_s:
                self.stop_by_s = end_s
                self.stop = f"{self.held.lease_id} could not be renewed and is about to end"
        return self.stop

    def tell(self, **changes: Any) -> None:
        """Change what is known, and wake who stands still."""
        with self.changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self.changed.notify_all()


class Actor(Protocol):
    """What a keeper turns: each turn makes at most one call, and says when the next one is due.

    `turn` returns the delay in seconds; None: it needs no more turns.
    """

    @property
    def standing(self) -> Standing: ...

    def turn(self, connection: Connection) -> float | None: ...
    def report(self, document: dict[str, Any]) -> None: ...
    def due_s(self) -> float: ...


class _Reporter:
    """Tells progress, at most each `REPORT_S`."""

    standing: Standing  # A place in line has none, and is asked for none.

    def __init__(self) -> None:
        self._report: dict[str, Any] = {}
        self._report_due_s = 0.0

    def report(self, document: dict[str, Any]) -> None:
        """Have this told soon, with what has not been told yet."""
        self._report = self._report | document

    def due_s(self) -> float:
        """When the next report is due, by the elapsed clock."""
        return self._report_due_s if self._report else math.inf

    def _tell_report(self, connection: Connection) -> None:
        document, self._report = self._report, {}
        self._report_due_s = elapsed_s() + REPORT_S
        held = self.standing.held
        body = json.dumps({"fencing_token": held.token} | document).encode()
        try:
            connection.call(*held.path(paths.REPORT), body, timeout_s=ANSWER_S)
        except Unreachable:
            self._report = document | self._report


class Kept(_Reporter):
    """A lease of this process: confirmed, renewed, and given back at its end."""

    def __init__(self, held: Held, *, stops: bool, pids: tuple[int, ...], ask_again: dict[str, Any]) -> None:
        """`stops` is on_lost=stop: a lost lease is not replaced. `pids` are what is bound to it."""
        super().__init__()
        self.standing = Standing(held, by_clock=stops and not pids)
        self.confirmed: Future[bool] = Future()
        self.released: Future[None] = Future()
        self._stops = stops
        self._pids = pids
        self._upkeep = Upkeep(held, self._hear, pids=pids, ask_again=None if stops else ask_again)
        self._confirm_until_s = elapsed_s() + CONFIRM_S
        self._renew_due_s = 0.0
        self._to_bind: tuple[int, ...] = ()
        self._release: dict[str, Any] | None = None
        self._release_until_s = math.inf

    def bind(self, pids: tuple[int, ...]) -> None:
        """Have these processes bound to it too, at its next turn."""
        self._to_bind += pids
        self._renew_due_s = 0.0

    def give_back(self, document: dict[str, Any]) -> None:
        """Have it released; `released` is done when the server has said so, or that it had ended."""
        self._release_until_s = elapsed_s() + RELEASE_S_MAX
        self._release = document

    def turn(self, connection: Connection) -> float | None:
        now_s = elapsed_s()
        if not self.confirmed.done():
            return self._confirm(connection, now_s)
        if self._release is not None:
            return self._give_back(connection, self._release)
        if self._to_bind:
            self._bind(connection)
        if now_s >= self._renew_due_s:
            delay_s = self._upkeep.turn(connection)
            self.standing.held = self._upkeep.held
            self._renew_due_s = math.inf if delay_s is None else elapsed_s() + delay_s
        elif now_s >= self.due_s():
            self._tell_report(connection)
        return max(0.0, min(self._renew_due_s, self.due_s()) - elapsed_s())

    def _confirm(self, connection: Connection, now_s: float) -> float | None:
        """Take the offer up, and bind what is to be bound. What can't be confirmed is asked for anew."""
        try:
            answer = heartbeat(connection, self._upkeep.held, self._pids)
        except Unreachable:
            status = 0
        else:
            status = answer.status
            document = answer.document()
            notice = document.get("notice") if status == 200 else document.get("detail")
            if notice and self._pids:
                log.warning("%s: %s", self._upkeep.held.lease_id, notice)
            if status != 200:
                self._pids = ()
        if status == 200:
            self._renew_due_s = elapsed_s() + self._upkeep.delay_s()
            self.confirmed.set_result(True)
            return 0.0 if self._release is not None else self._upkeep.delay_s()
        if status in GONE:
            self.confirmed.set_result(False)
            return None
        if now_s >= self._confirm_until_s:  # It may be held all the same: nobody is to wait for it to expire.
            if self._release is None:
                self.give_back({"outcome": "the server fell silent before the work began"})
            self.confirmed.set_result(False)
            return RETRY_S
        return 0.1

    def _bind(self, connection: Connection) -> None:
        pids, self._to_bind = self._to_bind, ()
        self._upkeep.bind(pids)
        with contextlib.suppress(Unreachable):
            answer = heartbeat(connection, self._upkeep.held, pids)
            if answer.status != 200:  # One that has ended already, for example: nothing to hold it for.
                log.info("%s: %s", self._upkeep.held.lease_id, answer.document().get("detail"))

    def _hear(self, news: News) -> None:
        lease_id = self._upkeep.held.lease_id
        if news.kind == "stop":
            log.warning("%s is being taken back (%s)", lease_id, news.sentence)
            stop_by_s = elapsed_s() + news.deadline_s
            self.standing.tell(stop=f"{lease_id}: {news.sentence}", revoked=True, stop_by_s=stop_by_s)
        elif news.kind == "lost":
            log.warning("%s is lost (%s)", lease_id, news.sentence)
            stop = {"stop": news.sentence, "stop_by_s": elapsed_s()} if self._stops else {}
            self.standing.tell(ended=news.sentence, **stop)
        elif news.kind in ("paused", "resumed"):
            log.info("%s: %s", lease_id, news.sentence)
            self.standing.tell(paused=news.kind == "paused")
        else:
            log.info("%s: %s", lease_id, news.sentence)
            if news.kind == "replaced":
                self.standing.tell(ended="", held=self._upkeep.held)

    def _give_back(self, connection: Connection, document: dict[str, Any]) -> float | None:
        held = self._upkeep.held
        report = {"metrics": self._report["metrics"]} if self._report.get("metrics") else {}
        body = json.dumps({"fencing_token": held.token} | report | document).encode()
        try:
            answer = connection.call(*held.path(paths.RELEASE), body, timeout_s=ANSWER_S)
        except Unreachable:
            status = 0
        else:
            status = answer.status
            if status in GONE and not self.standing.ended:
                self.standing.ended = str(answer.document().get("detail") or "the lease has ended")
        if status not in (0, 429) and status < 500:
            self.released.set_result(None)
            return None
        if elapsed_s() >= self._release_until_s:
            log.warning("%s could not be given back; it expires", held.lease_id)
            self.released.set_result(None)
            return None
        return RETRY_S


class Watched(_Reporter):
    """A lease that somebody else keeps and that this process works under: looked at, never renewed."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.standing = Standing(held)
        self._look_due_s = 0.0
        self._over = False

    def end(self) -> None:
        """Look no more."""
        self._over = True

    def turn(self, connection: Connection) -> float | None:
        now_s = elapsed_s()
        if now_s >= self.due_s():
            self._tell_report(connection)
        elif now_s >= self._look_due_s:
            self._look_due_s = now_s + WATCH_S
            self._look(connection)
        if self._over and not self._report:
            return None
        return max(0.0, min(self._look_due_s, self.due_s()) - elapsed_s())

    def _look(self, connection: Connection) -> None:
        held = self.standing.held
        try:
            answer = connection.call(*held.path(paths.LEASE), timeout_s=ANSWER_S)
        except Unreachable:
            return
        if answer.status != 200:
            return
        found = answer.document()
        state, why = str(found.get("state")), str(found.get("end_reason") or found.get("state"))
        if state in ("REVOKING", "REVOKED"):
            self.standing.tell(stop=f"{held.lease_id}: revoked", revoked=True, stop_by_s=elapsed_s())
        elif state == "EXPIRED" and found.get("on_lost") == "stop":
            self.standing.tell(stop=f"{held.lease_id}: {why}", ended=why, stop_by_s=elapsed_s())
        else:
            self.standing.tell(paused="frozen" in (found.get("flags") or []))


class Left(_Reporter):
    """A place in line that is given up."""

    def __init__(self, ticket: str) -> None:
        super().__init__()
        self._ticket = ticket

    def turn(self, connection: Connection) -> float | None:
        method, path = paths.LEAVE_LINE
        with contextlib.suppress(Unreachable):
            connection.call(method, path.format(ticket=self._ticket), timeout_s=ANSWER_S)
        return None


class Keeper:
    """Turns the actors of one server, each when it is due."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._news = threading.Condition()
        self._due: dict[Actor, float] = {}
        self._runs = False

    def add(self, actor: Actor) -> None:
        """Turn it, from now on."""
        with self._news:
            self._due[actor] = 0.0
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._loop, name="leasehold-keeper", daemon=True).start()
            self._news.notify()

    def wake(self, actor: Actor) -> None:
        """It has something to do now."""
        with self._news:
            if actor in self._due:
                self._due[actor] = 0.0
                self._news.notify()

    def nudge(self, actor: Actor) -> None:
        """It has something to do as soon as its own times allow."""
        with self._news:
            due_s = self._due.get(actor)
            if due_s is not None and due_s > actor.due_s():
                self._due[actor] = actor.due_s()
                self._news.notify()

    def leave(self, ticket: str) -> None:
        """Give up a place in line, soon."""
        self.add(Left(ticket))

    def _loop(self) -> None:
        connection = Connection(self._endpoint)
        while (actor := self._next()) is not None:
            try:
                delay_s = actor.turn(connection)
            except Exception:
                log.exception("a lease could not be kept for a moment")
                delay_s = RETRY_S
            with self._news:
                if delay_s is None:
                    self._due.pop(actor, None)
                else:
                    self._due[actor] = min(self._due[actor], elapsed_s() + delay_s)
        connection.close()

    def _next(self) -> Actor | None:
        """The actor that is due next, once it is; None when there was none for a while."""
        with self._news:
            while True:
                if not self._due and not self._news.wait_for(lambda: self._due, IDLE_S):
                    self._runs = False
                    return None
                actor = min(self._due, key=self._due.__getitem__)
                left_s = self._due[actor] - elapsed_s()
                if left_s <= 0:
                    self._due[actor] = math.inf
                    return actor
                self._news.wait(min(left_s, threading.TIMEOUT_MAX))


_keepers: dict[tuple[str, str], Keeper] = {}
_lock = threading.Lock()


def of(endpoint: Endpoint) -> Keeper:
    """The keeper of this process for a server."""
    with _lock:
        return _keepers.setdefault((str(endpoint), endpoint.token), Keeper(endpoint))


def _forked() -> None:
    """In a forked child no keeper runs, and what its parent holds is its parent's to keep."""
    global _lock
    _lock = threading.Lock()
    _keepers.clear()


os.register_at_fork(after_in_child=_forked)
