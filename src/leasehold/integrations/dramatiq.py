"""Dramatiq actors that ask for a lease before they start (LEASE-19).

    broker.add_middleware(Leasehold())

    @dramatiq.actor(leasehold={"cost": 30})
    def thumbnails(folder): ...

Only actors with `leasehold` options ask; so does a message that was sent with them
(`send_with_options(leasehold=…)`). A message waits in its worker's thread for `wait` (20 s unless it says
otherwise); then it goes back to the queue, with its place in Leasehold's line, and the thread takes another
one meanwhile. That is no failure, and does not count against `max_retries`.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, cast

from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.errors import Retry
from dramatiq.middleware import Retries, SkipMessage
from dramatiq.middleware.middleware import MiddlewareError

from leasehold.client.held import outcome
from leasehold.client.lease import Lease, LeaseOptions, NotGranted, current_lease, lease

__all__ = ["Leasehold", "current_lease"]

log = logging.getLogger("leasehold")

WAIT_S = 20.0
"""How long a message waits in its worker's thread. Its time limit counts this time too."""
AGAIN_S_MAX = 60.0
"""A message that was sent back comes again at least this often: its place is kept for 10 minutes."""
TICKET = "leasehold_ticket"
"""The message's option that carries the place in line."""


class _NotNow(Retry, MiddlewareError):
    """The message is to come again. Of a middleware's errors Dramatiq heeds only those of its own kind."""


class Leasehold(Middleware):
    """Has each message of an actor with `leasehold` options run under a lease of its own.

    `defaults` are options for all of them. Inside, `current_lease()` is the lease; on its `should_stop` the
    actor should end. Where no waiting would mend it the message fails (the dead-letter queue), with the
    reason in the log; LeaseLost, raised by `report` and `checkpoint`, is a failure like any other.
    """

    def __init__(self, **defaults: Any) -> None:
        self._defaults = defaults
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()

    @property
    def actor_options(self) -> set[str]:
        return {"leasehold"}

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Wait for the lease."""
        actor = broker.get_actor(message.actor_name)
        own = {**(actor.options.get("leasehold") or {}), **(message.options.get("leasehold") or {})}
        if not own or message.failed:
            return
        sent_back = any(isinstance(one, Retries) for one in broker.middleware)
        asked = {
            "job_type": message.actor_name[:128],
            "wait": WAIT_S if sent_back else None,
            "keep_place": sent_back,
            "ticket": message.options.get(TICKET, ""),
            **self._defaults,
            **own,
        }
        try:
            held = lease(**cast(LeaseOptions, asked)).acquire()
        except NotGranted as error:
            if error.kind == "gave_up" and sent_back:
                raise self._sent_back(message, error) from None
            log.error("Message %s can't run: %s", message, error)
            message.fail()
            raise SkipMessage(str(error)) from error
        message.options.pop(TICKET, None)
        with self._lock:
            self._held[message.message_id] = held

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Give it back, whatever happened."""
        with self._lock:
            held = self._held.pop(message.message_id, None)
        if held is not None:
            held.release(outcome(exception))

    def _sent_back(self, message: MessageProxy, denied: NotGranted) -> _NotNow:
        """What has the middleware `Retries` send it again later, without counting it."""
        message.options["retries"] = message.options.get("retries", 0) - 1
        message.options[TICKET] = denied.ticket
        again_s = max(1.0, min(denied.retry_after_s or 2.0, AGAIN_S_MAX))
        return _NotNow(denied.sentence, delay=round(again_s * 1000))
