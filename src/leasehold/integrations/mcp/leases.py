"""Leases held for an agent: renewed in the background for as long as it was told, and ended with its session.

Agents do not send heartbeats reliably, and a lease that is renewed for ever by a process that nobody minds
would hold room for nothing. So a lease is kept for a *hold*: three times the expected duration (at least 5
minutes, at most 4 hours), or half an hour where none was given. `heartbeat` starts the hold anew. After it
the lease is renewed no more, and expires.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TypeVar

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.client.lean import Unreachable
from leasehold.integrations.mcp.answers import HeartbeatAnswer, LeaseAnswer, ReleaseAnswer
from leasehold.integrations.mcp.arguments import Ask
from leasehold.integrations.mcp.link import Link
from leasehold.model.errors import LeaseholdError
from leasehold.runtime.ids import RandomIds
from leasehold.runtime.lean import elapsed_s
from leasehold.wire.lease import (
    BulkHeartbeat,
    Heartbeat,
    HeavyLeaseResponse,
    Release,
    Report,
)
from leasehold.wire.lease import (
    HeartbeatAnswer as Renewed,
)

ValueT = TypeVar("ValueT")

HOLD_S = 1_800
HOLD_S_MIN = 300
HOLD_S_MAX = 14_400
HOLD_FACTOR = 3
RENEW_S = 5.0
"""Renewed this often, though a lease lives longer: a revocation is seen well within its grace of 10 s."""
HELD_MAX = 16
"""Leases at a time per session: more are a loop that has gone wrong."""
REMEMBERED_MAX = 64
"""Tickets and ended leases that are remembered."""
GONE = frozenset({"LEASE_ENDED", "NOT_FOUND", "STALE_TOKEN", "CONFLICT"})
"""The definite answers that a lease is lost. Anything else (no answer, 5xx, a rejected token) is not loss."""


def hold_of(expected_s: int | None) -> int:
    """For how many seconds a lease is kept without a heartbeat of the agent."""
    if expected_s is None:
        return HOLD_S
    return max(HOLD_S_MIN, min(HOLD_S_MAX, HOLD_FACTOR * expected_s))


@dataclass
class Held:
    """A lease that is held for the agent. `until_s` is when its hold ends, by the elapsed clock."""

    lease_id: str
    token: int
    cost_units: int
    hold_s: int
    until_s: float
    refresh_s: float = 2.0
    action: str = "continue"
    told: set[str] = field(default_factory=set)

    def left_s(self) -> int:
        return max(0, round(self.until_s - elapsed_s()))


class Leases:
    """All leases of one session. `news` is where it tells what happened by itself."""

    def __init__(self, link: Link, news: deque[str]) -> None:
        self._link = link
        self._news = news
        self._ids = RandomIds()
        self._held: dict[str, Held] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._asks: OrderedDict[str, Ask] = OrderedDict()
        self._granted: OrderedDict[str, str] = OrderedDict()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def ids(self) -> frozenset[str]:
        """The ids of what is held."""
        return frozenset(self._held)

    # -- asking -------------------------------------------------------------------------------------------

    async def request(self, ask: Ask, ticket: str, wait_s: int) -> LeaseAnswer:
        """Ask, and wait up to `wait_s`. Raises ToolError, and what `Link.send` raises.

        A ticket stands for what was asked with it. One whose lease has been granted answers with that lease:
        the answer before may have been lost on its way.
        """
        if ticket in self._granted and self._granted[ticket] in self._held:
            return self._granted_answer(self._held[self._granted[ticket]])
        if len(self._held) >= HELD_MAX:
            raise ToolError(f"{HELD_MAX} leases are held for you already: release what you need no more")
        ask = self._asks.get(ticket, ask)
        response = await self._link.send(
            calls.REQUEST,
            ask.request(wait_s=wait_s, ticket=ticket),
            hold_s=wait_s,
            idempotency_key=self._ids.new("mcp"),
        )
        if response.approved:
            answer = self._granted_answer(await self._take(response, ask, ticket))
        else:
            answer = self._waiting_answer(response, ask)
        answer.notice = response.notice or None
        return answer

    async def _take(self, response: HeavyLeaseResponse, ask: Ask, ticket: str) -> Held:
        """Take an offer up: it lives 5 s without. A call that was cancelled meanwhile gives it back."""
        assert response.lease_id is not None
        assert response.fencing_token is not None
        hold_s = hold_of(ask.expected_s)
        held = Held(
            response.lease_id,
            response.fencing_token,
            response.cost_units or 0,
            hold_s,
            elapsed_s() + hold_s,
        )
        self._held[held.lease_id] = held
        try:
            await self._renew_one(held)
            await asyncio.sleep(0)  # a call that was given up meanwhile ends here
        except BaseException:
            self._held.pop(held.lease_id, None)
            with contextlib.suppress(Exception):
                await asyncio.shield(asyncio.ensure_future(self._give_back(held, "nobody waits for it")))
            raise
        if ticket:
            _remember(self._granted, ticket, held.lease_id)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return held

    def _granted_answer(self, held: Held) -> LeaseAnswer:
        left_s = held.left_s()
        return LeaseAnswer(
            granted=True,
            lease_id=held.lease_id,
            cost_units=held.cost_units,
            hold_sec=left_s,
            next=f"Do the work now, then call release with lease_id {held.lease_id}. It is renewed for you "
            f"for {left_s} s; call heartbeat before that if the work takes longer.",
        )

    def _waiting_answer(self, response: HeavyLeaseResponse, ask: Ask) -> LeaseAnswer:
        if response.ticket is None:
            cure = next((one.cure for one in response.reasons if one.cure), "")
            return LeaseAnswer(
                granted=False,
                reason=response.reason,
                retry_after_sec=response.retry_after_sec,
                next=f"Do not start the work. {cure or 'Ask again later'}.",
            )
        _remember(self._asks, response.ticket, ask)
        line = response.line
        expected = line.expected_start_sec if line else None
        return LeaseAnswer(
            granted=False,
            ticket=response.ticket,
            reason=response.reason,
            place=line.position if line else None,
            expected_start_sec=None if expected is None else round(expected),
            retry_after_sec=response.retry_after_sec,
            next="Do not start the work yet. Do something light meanwhile, and call request again with "
            f"ticket {response.ticket} in {response.retry_after_sec or 2} s or later, within 10 min: "
            "your place is kept.",
        )

    # -- holding ------------------------------------------------------------------------------------------

    async def heartbeat(self, lease_id: str) -> HeartbeatAnswer:
        """Renew, and start the hold anew. A lease that has ended is an answer: stop."""
        held = self._of(lease_id)
        if held is None:
            return HeartbeatAnswer(
                lease_id=lease_id, action="stop", state="ENDED", reason=self._ended[lease_id]
            )
        try:
            renewed = await self._renew_one(held)
        except LeaseholdError as error:
            if error.code not in GONE:
                raise
            self._end(held, error.message)
            state = str(error.details.get("state") or "ENDED")
            return HeartbeatAnswer(lease_id=lease_id, action="stop", state=state, reason=error.message)
        held.until_s = elapsed_s() + held.hold_s
        return HeartbeatAnswer(
            lease_id=lease_id,
            action=renewed.action,
            state=renewed.state,
            reason=renewed.reason or None,
            deadline_sec=renewed.deadline_sec,
            hold_sec=held.hold_s,
        )

    async def report(self, lease_id: str, progress: float | None, message: str) -> HeartbeatAnswer:
        """Say how far the work is; it shows to whoever looks, and extends nothing."""
        held = self._of(lease_id)
        if held is None:
            raise ToolError(f"{lease_id} has ended: {self._ended[lease_id]}")
        body = Report(fencing_token=held.token, progress=progress, message=message or None)
        found = await self._link.send(calls.REPORT, body, path={"lease_id": lease_id})
        return HeartbeatAnswer(
            lease_id=lease_id,
            action="stop" if found.state == "REVOKING" else "continue",
            state=found.state,
            hold_sec=held.left_s(),
        )

    async def release(self, lease_id: str, outcome: str) -> ReleaseAnswer:
        """Give a lease back. One that has ended before says how."""
        held = self._of(lease_id)
        if held is None:
            return ReleaseAnswer(lease_id=lease_id, state="ENDED", reason=self._ended[lease_id])
        try:
            found = await self._link.send(
                calls.RELEASE,
                Release(fencing_token=held.token, outcome=outcome or None),
                path={"lease_id": lease_id},
            )
        except LeaseholdError as error:
            if error.code not in GONE:
                raise
            self._end(held, error.message)
            return ReleaseAnswer(lease_id=lease_id, state="ENDED", reason=error.message)
        self._end(held, "you released it")
        return ReleaseAnswer(lease_id=lease_id, state=found.state, reason=found.end_reason or None)

    def _of(self, lease_id: str) -> Held | None:
        """The session's lease; None where it has ended. Raises ToolError for one that is not its own."""
        if lease_id in self._held:
            return self._held[lease_id]
        if lease_id in self._ended:
            return None
        raise ToolError(
            f"no lease {lease_id[:64]!r} is held for you; `status` lists what you hold, `request` asks anew"
        )

    def _end(self, held: Held, why: str) -> None:
        self._held.pop(held.lease_id, None)
        _remember(self._ended, held.lease_id, why)

    # -- renewing -----------------------------------------------------------------------------------------

    async def _renew_one(self, held: Held) -> Renewed:
        renewed = await self._link.send(
            calls.HEARTBEAT, Heartbeat(fencing_token=held.token), path={"lease_id": held.lease_id}
        )
        held.action, held.refresh_s = renewed.action, renewed.limits.refresh_after_sec
        return renewed

    async def _renew(self) -> None:
        """Renew all that is held with one call each `RENEW_S`, or as often as is asked, until nothing is."""
        while self._held:
            await asyncio.sleep(min(RENEW_S, *(one.refresh_s for one in self._held.values())))
            self._let_go()
            if not self._held:
                return
            body = BulkHeartbeat(ids={one.lease_id: one.token for one in self._held.values()})
            try:
                answer = await self._link.send(calls.HEARTBEATS, body)
            except (Unreachable, LeaseholdError) as error:
                # That the server is away is no loss: its recovery gives each lease a full TTL.
                self._tell_once("away", f"the server does not renew your leases now: {error}")
                continue
            self._back()
            for item in answer.leases:
                held = self._held.get(item.lease_id)
                if held is not None:
                    self._heard(held, item.answer, item.code, item.detail)

    def _heard(self, held: Held, renewed: Renewed | None, code: str, detail: str) -> None:
        if renewed is None:
            if code in GONE:
                self._end(held, detail)
                self._news.append(f"{held.lease_id} is lost ({detail}): end the work that runs under it")
            return
        held.action, held.refresh_s = renewed.action, renewed.limits.refresh_after_sec
        if renewed.action == "continue" or renewed.action in held.told:
            return
        held.told.add(renewed.action)
        within = "" if renewed.deadline_sec is None else f" within {renewed.deadline_sec:g} s"
        what = "end the work that runs under it" if renewed.action == "stop" else "pause the work under it"
        self._news.append(f"{held.lease_id}: {what}{within} ({renewed.reason or renewed.state})")

    def _let_go(self) -> None:
        """Renew no more what was held for as long as was told."""
        for held in [one for one in self._held.values() if one.left_s() <= 0]:
            self._end(held, f"no heartbeat came within {held.hold_s} s, so it was renewed no more")
            self._news.append(
                f"{held.lease_id} was not extended by heartbeat within {held.hold_s} s and now expires: "
                "ask again if the work still runs"
            )

    def _tell_once(self, what: str, sentence: str) -> None:
        if not any(what in held.told for held in self._held.values()):
            self._news.append(sentence)
        for held in self._held.values():
            held.told.add(what)

    def _back(self) -> None:
        for held in self._held.values():
            held.told.discard("away")

    # -- the end ------------------------------------------------------------------------------------------

    async def _give_back(self, held: Held, why: str) -> None:
        await self._link.send(
            calls.RELEASE,
            Release(fencing_token=held.token, outcome=why),
            path={"lease_id": held.lease_id},
        )

    async def close(self) -> None:
        """Give back all that is held, at once. What can't be given back expires by itself."""
        if self._renewing is not None:
            self._renewing.cancel()
        held, self._held = list(self._held.values()), {}
        await asyncio.gather(
            *(self._give_back(one, "the agent's session ended") for one in held), return_exceptions=True
        )


def _remember(where: OrderedDict[str, ValueT], key: str, value: ValueT) -> None:
    where[key] = value
    while len(where) > REMEMBERED_MAX:
        where.popitem(last=False)
