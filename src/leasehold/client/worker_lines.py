"""What a worker says to the server, each in a thread of its own: claims and results (QUEUE-4, LEASE-27).

A server that is away stops none of them for good: jobs go on, results are kept and sent when it is back.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from leasehold.client import paths
from leasehold.client.asking import BACK_OFF_S, Held
from leasehold.client.board import Board
from leasehold.client.handler import End
from leasehold.client.job_call import PASSING, Caller, refusal
from leasehold.client.lean import Answer, Unreachable
from leasehold.client.upkeep import GONE
from leasehold.client.work import Holding, Work
from leasehold.runtime.lean import elapsed_s

log = logging.getLogger("leasehold.worker")

POLL_S = 2
"""A claim is held by the server for so long: as late as that a worker that is to end knows what it got."""
EMPTY_S = 1
"""A queue that brings nothing for so long is empty."""
ANSWER_S = 30.0
KNOWN_MAX = 1_000


class Backoff:
    """How long to wait for a server that does not answer, and saying so once."""

    def __init__(self, board: Board, what: str) -> None:
        self._board = board
        self._what = what
        self._tries = 0

    def well(self) -> None:
        if self._tries > 2:
            log.info("the server answers again; %s goes on", self._what)
        self._tries = 0

    def wait(self, why: str, least_s: float = 0.0) -> None:
        """Wait until the next try, or until something has changed in the worker's life."""
        delay_s = max(least_s, BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)])
        self._tries += 1
        if self._tries == 3:
            log.warning("%s waits: %s", self._what, why)
        end_s, board = elapsed_s() + delay_s, self._board
        with board.news:
            phase = board.phase
            while (left_s := end_s - elapsed_s()) > 0 and board.phase == phase:
                board.news.wait(left_s)


class Claimer:
    """Claims jobs while there is room for them."""

    def __init__(
        self,
        board: Board,
        caller: Caller,
        *,
        worker_id: str,
        job_types: Sequence[str],
        capabilities: Sequence[str],
        batch: int,
        concurrency: int,
        session: Callable[[], Holding | None] | None,
        max_jobs: int | None,
        until_empty: bool,
    ) -> None:
        """`session` has a session's lease asked for; None while there is none to be had."""
        self._board = board
        self._caller = caller
        self._base = {
            "worker_id": worker_id,
            "job_types": list(job_types),
            "capabilities": list(capabilities),
            "wait_sec": EMPTY_S if until_empty else POLL_S,
        }
        self._batch = batch
        self._concurrency = concurrency
        self._session = session
        self._left = math.inf if max_jobs is None else max_jobs
        self._until_empty = until_empty
        self._missed = True
        self._backoff = Backoff(board, "claiming")

    def run(self) -> None:
        """Until the worker drains."""
        board = self._board
        while board.phase == "run":
            if self._left <= 0 and board.is_idle:
                board.drain()
                return
            room = min(board.room(self._batch if self._session else 0), self._left)
            if room <= 0:
                with board.news:
                    board.news.wait(0.5)
                continue
            holding = self._session() if self._session else None
            if self._session and holding is None:
                continue
            self._claim(int(room), holding)

    def _claim(self, room: int, holding: Holding | None) -> None:
        document: dict[str, Any] = {**self._base, "max": min(room, 1_000)}
        if holding is not None:
            lease_id, token = holding.ident
            document["session"] = {
                "lease_id": lease_id,
                "fencing_token": token,
                "concurrency": self._concurrency,
            }
        was_idle = self._board.is_idle
        if self._missed:  # An answer may have been lost: what it brought comes again.
            document["known"] = [work.job_id for work in self._board.live()][:KNOWN_MAX]
        try:
            body = json.dumps(document).encode()
            answer = self._caller.once(paths.CLAIM_JOBS, body, timeout_s=POLL_S + ANSWER_S, again=False)
        except Unreachable as error:
            self._missed = True
            self._backoff.wait(error.message)
            return
        if answer.status == 200:
            self._missed = False
            self._backoff.well()
            self._take(answer.document(), holding)
            if self._until_empty and was_idle and self._board.is_idle:
                self._board.drain()
            return
        self._not_taken(answer, holding)

    def _take(self, found: dict[str, Any], holding: Holding | None) -> None:
        endpoint = self._caller.endpoint
        assert endpoint is not None
        ttl = {"ttl_sec": found.get("ttl_sec", 30.0)}
        works = []
        for one in found.get("jobs") or ():
            under = holding
            if one.get("lease_id"):
                under = Holding(Held({**one, "limits": ttl}, elapsed_s()), is_session=False)
            assert under is not None
            works.append(Work(one, under, endpoint))
        self._left -= len(works)
        self._board.take(works)

    def _not_taken(self, answer: Answer, holding: Holding | None) -> None:
        document = answer.document()
        why = str(document.get("detail") or f"the server answered {answer.status}")
        if answer.status in PASSING or answer.status >= 500:
            self._missed = self._missed or answer.status >= 500
            self._backoff.wait(why, float(document.get("retry_after_sec") or 0))
        elif holding is not None and answer.status in GONE:
            lose_session(self._board, holding, why)
        else:
            self._board.fail(refusal(answer, document))


def lose_session(board: Board, holding: Holding, why: str) -> None:
    """A session's lease is gone: its jobs are handed out again."""
    with board.news:
        if holding not in board.holdings:
            return
        board.holdings.remove(holding)
        under = [work for work in board.works.values() if work.holding is holding]
    log.warning("the session's lease %s is lost (%s), with %d jobs", holding.held.lease_id, why, len(under))
    for work in under:
        board.lose(work, why)


class Sender:
    """Sends results, as many at once as there are. None is given up while the worker lives."""

    def __init__(self, board: Board, caller: Caller) -> None:
        self._board = board
        self._caller = caller
        self._backoff = Backoff(board, "sending results")

    def run(self) -> None:
        """Until everything has been sent, or the worker gives up."""
        while (results := self._board.next_results()) is not None:
            self._send(results)

    def _send(self, results: list[tuple[Work, End]]) -> None:
        body = f'{{"items":[{",".join(item(work, end) for work, end in results)}]}}'
        try:
            answer = self._caller.once(paths.COMPLETE_JOBS, body.encode(), timeout_s=ANSWER_S)
        except Unreachable as error:
            self._later(results, error.message)
            return
        document = answer.document()
        if answer.status == 200:
            self._backoff.well()
            for (work, end), row in zip(results, document["items"], strict=True):
                self._settle(work, end, row)
        elif answer.status in (400, 413, 422):
            self._one_by_one(results, refusal(answer, document))
        else:
            why = str(document.get("detail") or f"the server answered {answer.status}")
            self._later(results, why, float(document.get("retry_after_sec") or 0))

    def _later(self, results: list[tuple[Work, End]], why: str, delay_s: float = 0.0) -> None:
        self._board.unsent(results)
        self._backoff.wait(why, delay_s)

    def _settle(self, work: Work, end: End, row: dict[str, Any]) -> None:
        code = str(row.get("code") or "")
        if not code:
            self._board.taken(work, end.outcome)
        elif code in ("INVALID", "TOO_LARGE") and end.outcome != "FAILED":
            self._board.unsent([(work, _unsendable(row.get("detail", code)))])
        else:
            self._board.refused(work, str(row.get("detail") or code))

    def _one_by_one(self, results: list[tuple[Work, End]], error: Exception) -> None:
        """Something among them can't be read: all others are sent without it."""
        if len(results) > 1:
            middle = len(results) // 2
            self._send(results[:middle])
            self._send(results[middle:])
            return
        work, end = results[0]
        if end.outcome == "DONE":
            self._board.unsent([(work, _unsendable(str(error)))])
        else:
            log.error("how %s ended can't be told: %s", work.job_id, error)
            self._board.refused(work, str(error))


def _unsendable(why: str) -> End:
    return End(
        "FAILED", error=f"it ran to its end, but its result was not taken: {why}", error_class="permanent"
    )


def item(work: Work, end: End) -> str:
    """One result as JSON."""
    document = {
        "job_id": work.job_id,
        "generation": work.generation,
        "fencing_token": work.holding.held.token,
        "outcome": end.outcome,
    }
    if end.error and end.outcome != "DONE":
        document["error"] = end.error
    if end.error_class:
        document["error_class"] = end.error_class
    text = json.dumps(document)
    return f'{text[:-1]},"result":{end.result}}}' if end.result else text
