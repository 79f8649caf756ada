"""How a program calls the queue: from any thread, and again where an answer was lost (QUEUE-3)."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from leasehold.client import endpoint as where
from leasehold.client.asking import BACK_OFF_S, complaint, nobody
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Answer, Connection, Unreachable
from leasehold.runtime.ids import new_code
from leasehold.runtime.lean import elapsed_s, pause

ANSWER_S = 30.0
PATIENCE_S = 30.0
"""For how long a server that is away, or too busy, is tried before the program is told."""
IDLE_MAX = 8
"""Connections that are kept between calls."""
PLACES = ("LEASEHOLD_URL", "LEASEHOLD_TOKEN", "LEASEHOLD_TOKEN_FILE", "LEASEHOLD_DATA", "HOME")
PASSING = frozenset({429, 502, 503, 504})
BUSY = frozenset({"IDEMPOTENCY_BUSY"})
"""Answers other than those that pass by themselves."""


class JobError(Exception):
    """Something about a job could not be done. The sentence says what, and what to do."""


class JobRefused(JobError):
    """The server took the request for wrong or forbidden; `code`, `status` and `field` are its words."""

    def __init__(self, sentence: str, *, code: str = "", status: int = 0, field: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status
        self.field = field


class NoServer(JobError):
    """No server answered for `PATIENCE_S`. What was sent may have been taken up all the same."""


class Caller:
    """Calls to one server from any thread: connections are kept for the next call, also after a fork."""

    def __init__(self, server: str = "", *, patience_s: float = PATIENCE_S) -> None:
        self.server = server
        self.endpoint: Endpoint | None = None
        """Where the last call went."""
        self._patience_s = patience_s
        self._idle: list[Connection] = []
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one call. Raises Unreachable, BadAddress; after such a thing it is not kept."""
        if self._pid != os.getpid():  # What is idle here is the parent's.
            self._pid = os.getpid()
            _close_all(self._idle)
        try:
            found = self._idle.pop()
        except IndexError:
            found = self._connected()
        try:
            yield found
        except BaseException:
            found.close()
            raise
        self.endpoint = found.endpoint
        if len(self._idle) < IDLE_MAX:
            self._idle.append(found)
        else:
            found.close()

    def _connected(self) -> Connection:
        problem: Unreachable | None = None
        for candidate in where.candidates(os.environ, self.server):
            connection = Connection(candidate)
            try:
                connection.open(5.0)
            except Unreachable as error:
                problem = problem or error
                continue
            return connection
        raise problem or nobody()

    def close(self) -> None:
        """Keep no connection."""
        _close_all(self._idle)

    def once(
        self,
        call: tuple[str, str],
        body: bytes | None = None,
        *,
        timeout_s: float = ANSWER_S,
        key: str = "",
        again: bool = True,
    ) -> Answer:
        """One try: the answer, whatever its status. Raises Unreachable; without `again` for any lost one."""
        headers = {"Idempotency-Key": key} if key else {}
        with self.connection() as connection:
            return connection.call(*call, body, timeout_s=timeout_s, headers=headers, again=again)

    def call(
        self,
        call: tuple[str, str],
        document: Mapping[str, Any] | bytes | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str = "",
        timeout_s: float = ANSWER_S,
        wait: Callable[[float], None] = pause,
        **path: str,
    ) -> dict[str, Any]:
        """Call until there is an answer that is one. Raises JobRefused, NoServer, BadAddress."""
        end_s = elapsed_s() + self._patience_s
        target = (call[0], url(call[1], query, path))
        body = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
        for attempt in range(1_000_000):
            delay_s = BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]
            try:
                answer = self.once(target, body, key=key, timeout_s=timeout_s)
            except Unreachable as error:
                if elapsed_s() + delay_s >= end_s:
                    raise NoServer(f"{error.message}; tried for {self._patience_s:g} s") from None
                wait(delay_s)
                continue
            found = answer.document()
            if answer.status < 400:
                return found
            passes = answer.status in PASSING or found.get("code") in BUSY
            delay_s = max(delay_s, float(found.get("retry_after_sec") or 0))
            if not passes or elapsed_s() + delay_s >= end_s:
                raise refusal(answer, found)
            wait(delay_s)
        raise AssertionError("unreachable")


def refusal(answer: Answer, document: Mapping[str, Any]) -> JobRefused:
    """What an error answer says, as an error."""
    details = document.get("details") or {}
    fields = document.get("fields") or [{}]
    field = str(details.get("field") or fields[0].get("field") or "")
    code = str(document.get("code") or "")
    return JobRefused(complaint(answer, dict(document)), code=code, status=answer.status, field=field)


def url(template: str, query: Mapping[str, Any] | None, path: Mapping[str, str]) -> str:
    """A path with its names filled in and the query behind it."""
    filled = template.format(**{name: quote(value, safe="") for name, value in path.items()})
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{filled}?{urlencode(given)}" if given else filled


def new_key() -> str:
    """A key under which a call counts once."""
    return f"py-{new_code()}"


_callers: dict[tuple[str, ...], Caller] = {}


def caller(server: str = "") -> Caller:
    """The caller of this process for a server; without a name for that of the environment as it is now."""
    key = (server, *(os.environ.get(name, "") for name in PLACES))
    found = _callers.get(key)
    return found if found is not None else _callers.setdefault(key, Caller(server))


def _close_all(idle: list[Connection]) -> None:
    while idle:
        idle.pop().close()
