"""Asking Leasehold before heavy work, over plain HTTP: a ticket while waiting, renewals, a release."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

log = logging.getLogger(__name__)

LEASE = "/api/scheduler/lease"
WAIT_S = 20  # how long one call is held; the answer comes the moment that there is room


class Refused(Exception):
    """No waiting mends it: it never fits, or nobody may ask so."""


class Held:
    """A lease that is held. The work looks at `stop` between two steps, and ends early where it is set."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.lease_id: str = answer["lease_id"]
        self.fencing_token: int = answer["fencing_token"]
        self.ttl_s: float = answer["limits"]["ttl_sec"]
        self.refresh_s: float = answer["limits"]["refresh_after_sec"]
        self.stop = asyncio.Event()


@asynccontextmanager
async def lease(leasehold: httpx.AsyncClient, **asked: Any) -> AsyncIterator[Held]:
    """Wait until the work may start; renew while it runs; give the lease back. Raises Refused."""
    held = Held(await granted(leasehold, asked))
    renewals = asyncio.create_task(keep(leasehold, held))
    outcome = "failed"
    try:
        yield held
        outcome = "stopped" if held.stop.is_set() else "done"
    finally:
        renewals.cancel()
        done = {"fencing_token": held.fencing_token, "outcome": outcome}
        try:
            await leasehold.post(f"{LEASE}/{held.lease_id}/release", json=done)
        except httpx.HTTPError as error:
            log.warning("%s was not given back, it will expire: %s", held.lease_id, error)


async def granted(leasehold: httpx.AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask until the answer is yes. The ticket keeps the place in line from one call to the next."""
    ticket: str | None = None
    while True:
        body = {**asked, "wait_sec": WAIT_S, **({"ticket": ticket} if ticket else {})}
        try:
            response = await leasehold.post(f"{LEASE}/request", json=body, timeout=WAIT_S + 10)
        except httpx.HTTPError as error:
            log.warning("Leasehold does not answer, asking again: %s", error)
            await asyncio.sleep(2)
            continue
        answer: dict[str, Any] = response.json()
        if response.status_code == 200 and answer["approved"]:
            return answer
        ticket = answer.get("ticket") if response.status_code == 200 else None
        pause_s = answer.get("retry_after_sec")
        if pause_s is None:
            raise Refused(answer.get("reason") or answer.get("detail"))
        log.info("waiting: %s", answer.get("reason") or answer.get("detail"))
        await asyncio.sleep(min(pause_s, 5))


async def keep(leasehold: httpx.AsyncClient, held: Held) -> None:
    """Renew until told to stop, or until the lease is lost. The first renewal takes the offer up."""
    loop = asyncio.get_running_loop()
    renewed_at = loop.time()
    while not held.stop.is_set():
        try:
            token = {"fencing_token": held.fencing_token}
            response = await leasehold.post(f"{LEASE}/{held.lease_id}/heartbeat", json=token)
            if response.status_code == 200:
                renewed_at = loop.time()
                if response.json()["action"] == "stop":
                    held.stop.set()
            elif response.status_code < 500:  # Ended, or somebody else's by now.
                held.stop.set()
        except httpx.HTTPError as error:
            log.warning("a renewal of %s was not answered: %s", held.lease_id, error)
        if loop.time() - renewed_at > held.ttl_s:
            held.stop.set()
        await asyncio.sleep(held.refresh_s)
