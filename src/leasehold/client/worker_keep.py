"""Keeping what a worker holds: leases renewed, cancellations heard, progress told (LEASE-10, 27, 28)."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Mapping
from typing import Any

from leasehold.client import paths
from leasehold.client.asking import Asker, Held, NotGranted
from leasehold.client.board import Board
from leasehold.client.job_call import Caller
from leasehold.client.lean import Unreachable
from leasehold.client.upkeep import ANSWER_S, GONE, GRACE_S, heartbeat
from leasehold.client.work import Holding, Work
from leasehold.client.worker_lines import lose_session
from leasehold.runtime.lean import elapsed_s

log = logging.getLogger("leasehold.worker")

BEAT_S = 2.0
"""Renewed this often, so that a cancellation is seen well within its grace."""
REPORTS_AT_ONCE = 20
ASK_S = 5
"""A request for a session's lease is given up after so long and asked again with its place in line: a worker
that is to end waits no longer than that."""
LOST_CODES = frozenset({"NOT_FOUND", "CONFLICT", "LEASE_ENDED", "STALE_TOKEN", "NOT_PERMITTED"})


class Sessions:
    """Asks for the lease that jobs run under, whenever there is none."""

    def __init__(self, board: Board, ask: dict[str, Any], caller: Caller) -> None:
        self._board = board
        self._caller = caller
        self._ask = ask
        self._ticket = ""
        self._told = ""

    def current(self) -> Holding | None:
        """The session's lease; None where there was none to be had for now. Raises nothing that passes."""
        board = self._board
        with board.news:
            for holding in board.holdings:
                if not holding.closing:
                    return holding
        found = self._asked()
        if found is None:
            return None
        with board.news:
            holding = Holding(found, is_session=True)
            holding.closing = board.phase != "run"
            board.holdings.append(holding)
            board.stats.sessions += 1
        log.info("working under %s", found.lease_id)
        with contextlib.suppress(Unreachable), self._caller.connection() as connection:
            heartbeat(connection, found)  # From now on its life is ours: it ends at once where we do.
        return holding

    def _asked(self) -> Held | None:
        asker = _Quiet(
            self._ask,
            dict(os.environ),
            server=self._caller.server,
            wait_s=ASK_S,
            when_down="wait",
            ticket=self._ticket,
        )
        try:
            return asker.obtain()
        except NotGranted as error:
            if error.kind != "gave_up":
                self._board.fail(error)
            self._ticket = error.ticket
            if str(error) != self._told:
                self._told = str(error)
                log.info("waiting for the session's lease: %s", error)
            return None
        finally:
            asker.drop()


class _Quiet(Asker):
    """Says nothing itself."""

    def tell(self, kind: str, sentence: str) -> None:
        log.debug("%s", sentence)

    def tell_waiting(self, denial: dict[str, Any]) -> None:
        log.debug("waiting: %s", denial.get("reason"))


class Keeper:
    """Renews all leases of a worker, and tells its jobs what they have to know."""

    def __init__(self, board: Board, caller: Caller) -> None:
        self._board = board
        self._caller = caller

    def run(self) -> None:
        """Until the worker is over."""
        board = self._board
        while board.phase != "over":
            try:
                self.turn()
            except Unreachable as error:
                log.debug("not renewed: %s", error.message)
            except Exception:
                log.exception("leases could not be kept for a moment")
            with board.news:
                if board.phase != "over":
                    board.news.wait_for(lambda: board.phase == "over" or self._closes(), self._delay_s())

    def _closes(self) -> bool:
        """Whether there is a session to give back right now."""
        board = self._board
        return any(one.closing and not self._under(one) for one in board.holdings)

    def _under(self, holding: Holding) -> list[Work]:
        return [work for work in self._board.works.values() if work.holding is holding]

    def _delay_s(self) -> float:
        works = list(self._board.works.values())
        held = [work.holding.held for work in works] + [one.held for one in self._board.holdings]
        least_s = min((one.ttl_s for one in held), default=math.inf) / 4
        reports = any(work.due_s() < math.inf for work in works)
        return max(0.2, min(0.5 if reports else BEAT_S, least_s))

    def turn(self) -> None:
        """One round. Raises Unreachable."""
        works = self._board.live()
        self._limits(works)
        with self._board.news:
            holdings = list(self._board.holdings)
        for holding in holdings:
            self._beat_session(holding, [work for work in works if work.holding is holding])
        own = {lease_id: work for work in works for lease_id in work.leases}
        tokens = {lease_id: token for work in works for lease_id, token in work.leases.items()}
        names = list(tokens)
        for start in range(0, len(names), 1_000):
            piece = names[start : start + 1_000]
            self._beat({name: tokens[name] for name in piece}, own)
        self._tell(works)

    def _limits(self, works: list[Work]) -> None:
        now_s = elapsed_s()
        for work in works:
            limit_s = work.document.get("max_runtime_sec")
            if limit_s and work.begun and not work.out_of_time and now_s - work.begun_s >= limit_s:
                work.out_of_time = True
                self._board.stop(work, f"it ran longer than its limit of {limit_s} s", GRACE_S)

    # -- a session's lease

    def _beat_session(self, holding: Holding, works: list[Work]) -> None:
        if holding.closing and not works:
            self._release(holding)
            return
        with self._caller.connection() as connection:
            answer = heartbeat(connection, holding.held)
        document = answer.document()
        if answer.status in GONE:
            lose_session(self._board, holding, str(document.get("detail") or answer.status))
        elif answer.status == 200:
            self._heard(document, works)
            if document.get("action") == "stop":
                holding.closing = True
            for job_id in document.get("cancel") or ():
                if (work := self._board.works.get(job_id)) is not None:
                    self._board.stop(work, "it was cancelled", GRACE_S)

    def _release(self, holding: Holding) -> None:
        body = json.dumps({"fencing_token": holding.held.token, "outcome": "done"}).encode()
        with contextlib.suppress(Unreachable):
            self._caller.once(holding.held.path(paths.RELEASE), body, timeout_s=ANSWER_S)
        with self._board.news:
            if holding in self._board.holdings:
                self._board.holdings.remove(holding)
            self._board._changed()

    # -- leases of jobs

    def _beat(self, tokens: Mapping[str, int], own: Mapping[str, Work]) -> None:
        body = json.dumps({"ids": tokens}).encode()
        answer = self._caller.once(paths.HEARTBEATS, body, timeout_s=ANSWER_S)
        if answer.status != 200:
            log.debug("not renewed: %s", answer.document().get("detail"))
            return
        for row in answer.document()["leases"]:
            work = own[row["lease_id"]]
            if row.get("answer") is not None:
                self._heard(row["answer"], [work])
                if work.job_id in (row["answer"].get("cancel") or ()):
                    self._board.stop(work, "it was cancelled", GRACE_S)
            elif row.get("code") in LOST_CODES:
                self._board.lose(work, str(row.get("detail") or row["code"]))

    def _heard(self, document: Mapping[str, Any], works: list[Work]) -> None:
        action = document.get("action")
        left_s = document.get("deadline_sec")
        for work in works:
            work.standing.tell(paused=action == "pause")
            if action == "stop":
                why = str(document.get("reason") or "its lease was taken back")
                self._board.stop(work, why, GRACE_S if left_s is None else float(left_s))

    # -- progress

    def _tell(self, works: list[Work]) -> None:
        now_s = elapsed_s()
        due = [work for work in works if work.due_s() <= now_s and not work.holding.is_session]
        for work in due[:REPORTS_AT_ONCE]:
            body = {"fencing_token": work.holding.held.token, **work.take_report()}
            call = work.holding.held.path(paths.REPORT)
            self._caller.once(call, json.dumps(body).encode(), timeout_s=ANSWER_S)
