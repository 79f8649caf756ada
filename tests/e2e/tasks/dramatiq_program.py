"""A Dramatiq program whose heavy actors ask for a lease."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from leasehold.integrations.dramatiq import Leasehold
from tests.e2e.tasks.work import KINDS, work

broker = RedisBroker(url=os.environ["REDIS"])
broker.add_middleware(Leasehold())
dramatiq.set_broker(broker)


def _actor(kind: str, options: dict[str, Any] | None) -> Any:
    def run(name: str) -> None:
        work(kind, name)

    return dramatiq.actor(run, actor_name=kind, max_retries=0, leasehold=options)


TASKS = {kind: _actor(kind, options) for kind, options in {**KINDS, "light": None}.items()}
