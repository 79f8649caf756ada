"""Leases held for an agent: renewed for as long as was told, and never for nobody (LEASE-20)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.client.lean import Unreachable
from leasehold.integrations.mcp import leases as held
from leasehold.integrations.mcp.arguments import Ask
from leasehold.integrations.mcp.leases import HELD_MAX, Leases
from leasehold.wire import lease as wire

pytestmark = pytest.mark.requirement("LEASE-20")

LIMITS = wire.LimitsOut(30.0, 10.0)
RENEWED = wire.HeartbeatAnswer("continue", "ACTIVE", "2026-01-01T00:00:00Z", LIMITS)


class Script:
    """In place of the link: grants every request, renews every lease, and keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.bulk: Callable[[str], wire.BulkItem] = lambda lease_id: wire.BulkItem(lease_id, RENEWED)
        self.confirm: Callable[[], Any] = lambda: None
        self._count = 0

    async def send(self, call: Any, body: Any = None, **_: Any) -> Any:
        """Answer as a server would that has room for everything."""
        if call is calls.REQUEST:
            self._count += 1
            return wire.HeavyLeaseResponse(
                True, "granted", f"lease-{self._count}", self._count, cost_units=10, limits=LIMITS
            )
        if call is calls.HEARTBEAT:
            self.sent.append("heartbeat")
            await asyncio.sleep(0)
            self.confirm()
            return RENEWED
        if call is calls.HEARTBEATS:
            self.sent.append("heartbeats")
            return wire.BulkHeartbeatAnswer([self.bulk(lease_id) for lease_id in body.ids])
        assert call is calls.RELEASE
        self.sent.append(f"release: {body.outcome}")
        return wire.LeaseOut(
            "lease-1", "me", "job", 10, "node", wire.ChargeOut(), "NORMAL", "RELEASED", "2026-01-01T00:00:00Z"
        )


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew at every turn of the loop."""
    monkeypatch.setattr(held, "RENEW_S", 0.0)


def made() -> tuple[Leases, Script, deque[str]]:
    """Leases of a session, its server, its news."""
    script, news = Script(), deque[str]()
    return Leases(script, news), script, news  # type: ignore[arg-type]


async def turns(until: Callable[[], Any]) -> None:
    """Let the loop go round until something holds."""
    for _ in range(1000):
        if until():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to hold")


async def test_a_lease_is_renewed_until_its_hold_is_over_and_no_longer() -> None:
    """Then the agent is told, and what it holds is nothing."""
    leases, script, news = made()
    answer = await leases.request(Ask(cost=10, expected_s=1), "", 0)
    await turns(lambda: script.sent.count("heartbeats") > 3)
    assert answer.lease_id is not None
    assert leases.ids == {answer.lease_id}
    leases._held[answer.lease_id].until_s = 0.0
    await turns(lambda: not leases.ids)
    count = script.sent.count("heartbeats")
    for _ in range(20):
        await asyncio.sleep(0)
    assert script.sent.count("heartbeats") == count
    assert "was not extended by heartbeat" in news[0]
    assert (await leases.heartbeat(answer.lease_id)).action == "stop"


async def test_a_heartbeat_starts_the_hold_anew() -> None:
    """With the time that was told first."""
    leases, _, _ = made()
    answer = await leases.request(Ask(cost=10, expected_s=200), "", 0)
    assert answer.lease_id is not None
    leases._held[answer.lease_id].until_s -= 500
    assert leases._held[answer.lease_id].left_s() <= 100
    assert (await leases.heartbeat(answer.lease_id)).hold_sec == 600
    assert leases._held[answer.lease_id].left_s() >= 599
    await leases.close()


async def test_a_server_that_is_away_loses_no_lease_and_is_told_once() -> None:
    """A renewal that gets no answer is no loss; the next one is tried all the same."""
    leases, script, news = made()

    def away(_lease_id: str) -> wire.BulkItem:
        raise Unreachable("no server answers")

    script.bulk = away
    await leases.request(Ask(cost=10), "", 0)
    await leases.request(Ask(cost=10), "", 0)
    await turns(lambda: script.sent.count("heartbeats") > 5)
    assert len(leases.ids) == 2
    assert len(news) == 1
    assert "no server answers" in news[0]
    await leases.close()


async def test_a_lost_lease_is_told_once_and_held_no_more() -> None:
    """The definite answer that it has ended ends it here too."""
    leases, script, news = made()
    script.bulk = lambda lease_id: wire.BulkItem(lease_id, code="LEASE_ENDED", detail="revoked by ann")
    answer = await leases.request(Ask(cost=10), "", 0)
    await turns(lambda: not leases.ids)
    assert list(news) == [f"{answer.lease_id} is lost (revoked by ann): end the work that runs under it"]


async def test_what_is_granted_to_a_call_that_was_given_up_is_given_back() -> None:
    """The agent will not learn its id."""
    leases, script, _ = made()
    calling = asyncio.create_task(leases.request(Ask(cost=10), "", 0))
    script.confirm = calling.cancel
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert script.sent[-1] == "release: nobody waits for it"
    assert not leases.ids


async def test_too_many_leases_are_refused_and_closing_gives_all_back() -> None:
    """A loop that has gone wrong does not fill the machine."""
    leases, script, _ = made()
    for _ in range(HELD_MAX):
        await leases.request(Ask(cost=1), "", 0)
    with pytest.raises(ToolError, match="release"):
        await leases.request(Ask(cost=1), "", 0)
    await leases.close()
    assert script.sent.count("release: the agent's session ended") == HELD_MAX
    assert not leases.ids
