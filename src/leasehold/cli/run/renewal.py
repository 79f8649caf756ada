"""Renewing the lease from a thread of its own while the work runs (LEASE-10, 28)."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque

from leasehold.client import paths
from leasehold.client.asking import Held
from leasehold.client.endpoint import Endpoint
from leasehold.client.lean import Connection, Unreachable
from leasehold.client.upkeep import GONE, News, Upkeep, heartbeat

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

__all__ = ["GONE", "WAKE", "News", "Renewal", "heartbeat"]

WAKE = signal.SIGALRM
"""How this thread tells the one that waits for signals that there is news."""
REPLACE_HOLD_S = 10
RESUME_S = 3.0
"""A server that freezes and thaws a whole tree first."""


class Renewal:
    """Renews one lease until `end`.

    What is to be acted on stands in `news`, oldest first, announced by `WAKE`.
    """

    def __init__(self, endpoint: Endpoint, held: Held, pid: int, ask_again: dict[str, Any] | None) -> None:
        """Renew `held`, to which process `pid` is bound.

        A lost lease is replaced by asking for `ask_again`, if given.
        """
        self.news: deque[News] = deque()
        self._endpoint = endpoint
        self._upkeep = Upkeep(
            held,
            self._tell,
            pids=(pid,) if endpoint.socket_path else (),
            ask_again=ask_again,
            hold_s=REPLACE_HOLD_S,
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="renewal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Send no more renewals. Does not wait for one that is under way."""
        self._end.set()

    def _loop(self) -> None:
        connection = Connection(self._endpoint)
        delay_s: float | None = self._upkeep.delay_s()
        while delay_s is not None and not self._end.wait(delay_s):
            delay_s = self._upkeep.turn(connection)

    @property
    def held(self) -> Held:
        """The lease as it is now: another one, where the first was lost."""
        return self._upkeep.held

    @property
    def paused(self) -> bool:
        """Whether the work stands still, as far as was heard."""
        return self._upkeep.paused

    def resume(self) -> bool:
        """Have the work go on, so that it can take a signal. False where the server did not do it."""
        connection = Connection(self._endpoint)
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
        return self._upkeep.silent

    def _tell(self, news: News) -> None:
        if self._end.is_set():
            return
        self.news.append(news)
        os.kill(os.getpid(), WAKE)
