"""Tokens: nobody gives more than they have, and what is revoked stays revoked (OPS-5, OPS-6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from leasehold.adapters.stores.memory import Disk, Fate, Faults, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.api.roles import ROLES, Rights
from leasehold.control import codec
from leasehold.control.ledger import Ledger
from leasehold.control.token import LIFE_MS, WRITE_USED_MS, TokenService
from leasehold.core import token as decisions
from leasehold.core.state import State
from leasehold.model.errors import Invalid, NotFound, NotPermitted, NotReady, Overloaded, StoreUnavailable
from leasehold.model.principal import Principal
from leasehold.ports.store import Batch
from leasehold.runtime.ids import RandomIds, new_token, token_hash
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.token import TokenIn, TokenMade

ADMIN = Principal("user:root", "admin", ROLES["admin"])
DAY_MS = 86_400_000


class Full(Faults):
    """A disk that can be full for a while."""

    def __init__(self) -> None:
        self.fate_now = Fate.COMMITTED

    def fate(self, batch: Batch) -> Fate:
        return self.fate_now


class Here:
    """The service over one disk, on a clock that moves when told."""

    def __init__(self, disk: Disk, clock: ManualClock) -> None:
        self.clock = clock
        self.rights = Rights({"maker": ["token:create", "lease:request"]})
        self.faults = Full()
        self.ledger = Ledger(
            MemoryStore(disk, faults=self.faults), clock, RandomIds(), lambda: State("node-1")
        )
        self.archive = MemoryArchive(disk)
        self.tokens = TokenService(self.ledger, lambda: self.rights.roles, new_token)
        self.was_cut: list[tuple[set[str], bool]] = []
        self.tokens.cut = lambda token_ids, now: self.was_cut.append((set(token_ids), now))

    async def make(self, principal: Principal = ADMIN, **asked: object) -> TokenMade:
        given = {"name": "ci", "role": "submitter", **asked}
        return await self.tokens.create(principal, TokenIn(**given))  # type: ignore[arg-type]

    def who(self, secret: str) -> Principal | None:
        return self.tokens.find(token_hash(secret))

    async def events(self) -> list[str]:
        records = await self.archive.events(after=0, limit=1000)
        return [event.kind for record in records for event in codec.decode_events(record)]


@asynccontextmanager
async def here(disk: Disk | None = None, clock: ManualClock | None = None) -> AsyncIterator[Here]:
    found = Here(disk or Disk(), clock or ManualClock())
    await found.ledger.start()
    try:
        yield found
    finally:
        await found.ledger.stop()


@pytest.mark.requirement("OPS-5")
async def test_a_token_stands_for_its_role_and_name_and_its_secret_is_kept_nowhere() -> None:
    """It is found by its hash alone; nothing that is stored, or told later, has the secret in it."""
    disk = Disk()
    async with here(disk) as now:
        made = await now.make()
        me = now.who(made.token)
        assert me is not None
        assert (me.role, me.verbs, me.acts_as) == ("submitter", ROLES["submitter"], "ci")
        assert me.name == f"token:ci/{made.about.token_id}"
        assert now.who(made.token + "x") is None
        listed = await now.tokens.tokens(ADMIN)
        assert made.token not in repr(listed)
        assert await now.events() == ["TokenCreated"]
        assert made.token.encode() not in b"".join(
            [*disk.live.values(), *(row.record for row in disk.events)]
        )
    async with here(disk) as later:
        found = later.who(made.token)
        assert found is not None
        assert found.name == me.name


@pytest.mark.requirement("OPS-5")
async def test_two_tokens_of_one_name_are_two() -> None:
    """Each has its own principal, so neither touches the other's leases; one goes without the other."""
    async with here() as now:
        first, second = await now.make(), await now.make()
        one, other = now.who(first.token), now.who(second.token)
        assert one is not None
        assert other is not None
        assert one.name != other.name
        assert one.acts_as == other.acts_as == "ci"
        await now.tokens.revoke(ADMIN, first.about.token_id)
        assert now.who(first.token) is None
        assert now.who(second.token) == other


@pytest.mark.requirement("OPS-5")
async def test_a_revoked_token_is_refused_at_once_and_after_a_restart() -> None:
    """It is gone before its end is durable, and stays gone; whoever keeps connections is told."""
    disk = Disk()
    async with here(disk) as now:
        made = await now.make()
        await now.tokens.revoke(ADMIN, made.about.token_id)
        assert now.was_cut == [({made.about.token_id}, True)]
        assert now.who(made.token) is None
        with pytest.raises(NotFound):
            await now.tokens.revoke(ADMIN, made.about.token_id)
        assert await now.events() == ["TokenCreated", "TokenRevoked"]
    async with here(disk) as later:
        assert later.who(made.token) is None


@pytest.mark.requirement("OPS-7")
async def test_a_token_that_is_no_more_is_still_known_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked or expired, after a restart too, the newest so many and for so long; a stranger's never was."""
    monkeypatch.setattr(decisions, "REVOKED_MAX", 2)
    disk, clock = Disk(), ManualClock()
    async with here(disk, clock) as now:
        secrets = []
        for _ in range(3):
            made = await now.make()
            secrets.append((made.about.token_id, token_hash(made.token)))
            await now.clock.advance(1_000)
            await now.tokens.revoke(ADMIN, made.about.token_id)
        short = await now.make(ttl_sec=5)
        digest = token_hash(short.token)
    async with here(disk, clock) as later:
        assert [later.tokens.known(one) for _, one in secrets] == [
            ("", ""),
            *((token_id, "revoked") for token_id, _ in secrets[1:]),
        ]
        await clock.advance(6_000)
        assert later.tokens.known(digest) == (short.about.token_id, "expired")
        assert later.tokens.known(token_hash("lsh_no")) == ("", "")
        await clock.advance(decisions.REVOKED_KEPT_MS)
        await later.tokens.care()
        assert later.tokens.known(secrets[2][1]) == ("", "")
        assert not later.ledger.state.revoked
        assert not later.ledger.state.revoked_ids


@pytest.mark.requirement("OPS-5")
async def test_who_revokes_their_own_token_still_gets_the_answer() -> None:
    """Its connections are cut a little later; the token itself is refused at once."""
    async with here() as now:
        made = await now.make(role="admin")
        me = now.who(made.token)
        assert me is not None
        await now.tokens.revoke(me, made.about.token_id)
        assert now.was_cut == [({made.about.token_id}, False)]
        assert now.who(made.token) is None


@pytest.mark.requirement("OPS-5", "OPS-17")
async def test_a_full_disk_keeps_no_revoked_token_alive() -> None:
    """The caller is told 503; the token is refused all the same, and its end is written when that can be."""
    disk = Disk()
    async with here(disk) as now:
        made = await now.make()
        now.faults.fate_now = Fate.FAILED
        with pytest.raises(StoreUnavailable):
            await now.tokens.revoke(ADMIN, made.about.token_id)
        assert now.tokens.known(token_hash(made.token)) == (made.about.token_id, "revoked")
        assert now.who(made.token) is None
        assert now.was_cut == [({made.about.token_id}, True)]
        with pytest.raises(StoreUnavailable, match="refused from now on"):
            await now.tokens.revoke(ADMIN, made.about.token_id)
        now.faults.fate_now = Fate.COMMITTED
        await now.clock.advance(5_000)
        assert made.about.token_id not in now.ledger.state.tokens
        await now.tokens.care()
        assert now.who(made.token) is None
    async with here(disk) as later:
        assert later.who(made.token) is None


@pytest.mark.requirement("OPS-5")
async def test_a_token_ends_at_its_time_and_what_is_open_by_it_is_cut() -> None:
    """Refused from the very millisecond on; the list shows it as expired for a month."""
    async with here() as now:
        made = await now.make(ttl_sec=60)
        await now.clock.advance(1)
        lasting = await now.make()
        await now.clock.advance(59_998)
        now.tokens.tick()
        assert now.who(made.token) is not None
        assert now.was_cut == []
        await now.clock.advance(1)
        assert now.who(made.token) is None
        now.tokens.tick()
        now.tokens.tick()
        assert now.was_cut == [({made.about.token_id}, True)]
        assert [one.expired for one in (await now.tokens.tokens(ADMIN)).tokens] == [False, True]
        await now.clock.advance(30 * DAY_MS)
        await now.tokens.care()
        assert [one.token_id for one in (await now.tokens.tokens(ADMIN)).tokens] == [lasting.about.token_id]
        assert (await now.make()).about.expires_at > lasting.about.expires_at
        assert now.who(lasting.token) is not None
        await now.clock.advance(LIFE_MS - 30 * DAY_MS)
        assert now.who(lasting.token) is None


@pytest.mark.requirement("OPS-6")
async def test_nobody_gives_more_than_they_have() -> None:
    """Not a verb, not a day, not another's name; an unknown role is told with the nearest one."""
    async with here() as now:
        maker = now.who((await now.make(role="maker", ttl_sec=3_600)).token)
        assert maker is not None
        with pytest.raises(NotPermitted, match=r"lacks .*lease:for-others"):
            await now.make(maker, role="operator")
        with pytest.raises(NotPermitted, match="ends in 3600 s"):
            await now.make(maker, role="maker", ttl_sec=3_601)
        with pytest.raises(NotPermitted, match="may act as ci only"):
            await now.make(maker, role="maker", holder="somebody")
        with pytest.raises(Invalid, match="did you mean viewer"):
            await now.make(role="viewr")
        child = await now.make(maker, role="maker", name="child")
        found = now.who(child.token)
        assert found is not None
        assert found.acts_as == "ci"
        assert found.expires_wall_ms <= maker.expires_wall_ms
        assert child.about.created_by == maker.name


@pytest.mark.requirement("OPS-6")
async def test_a_role_that_was_taken_away_allows_nothing() -> None:
    """The rights of a token are those that its role has now."""
    async with here() as now:
        made = await now.make(role="maker")
        now.rights = Rights()
        found = now.who(made.token)
        assert found is not None
        assert (found.role, found.verbs) == ("maker", frozenset())


@pytest.mark.requirement("OPS-5")
async def test_last_use_is_shown_and_seldom_written() -> None:
    """The list knows it at once, the store after a while, or when the server stops."""
    async with here() as now:
        made = await now.make()
        token_id = made.about.token_id
        assert made.about.last_used_at is None
        written = now.ledger.commits
        for _ in range(100):
            now.tokens.used(token_id)
            now.tokens.tick()
            await now.clock.advance(1_000)
        assert now.ledger.commits == written
        shown = (await now.tokens.tokens(ADMIN)).tokens[0].last_used_at
        assert shown is not None
        await now.tokens.write_used()
        assert now.ledger.state.tokens[token_id].used_wall_ms > 0, "the first use is written by the next care"
        written = now.ledger.commits
        now.tokens.used(token_id)
        await now.tokens.write_used()
        assert now.ledger.commits == written
        await now.clock.advance(WRITE_USED_MS + 1)
        now.tokens.used(token_id)
        await now.tokens.write_used()
        assert now.ledger.commits == written + 1


@pytest.mark.requirement("OPS-5")
async def test_no_token_is_called_unknown_before_the_table_is_read() -> None:
    """A client that comes while the server starts is told to come back, not that it may not."""
    found = Here(Disk(), ManualClock())
    with pytest.raises(NotReady):
        found.who("lsh_anything")


async def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than it may have is refused with what to do."""
    monkeypatch.setattr(decisions, "TOKENS_MAX", 2)
    async with here() as now:
        await now.make()
        await now.make()
        with pytest.raises(Overloaded, match="revoke some"):
            await now.make()
        await settled()
