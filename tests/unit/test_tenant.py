"""Tenants over the real queue: whose work it is, what they may have, their shares, restarts (OPS-7)."""

from __future__ import annotations

import grp
from collections import Counter

import msgspec
import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.api.credentials import rights
from leasehold.control.job import JobService
from leasehold.control.tenant import TenantService
from leasehold.core.attempt import job_id
from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted, QuotaReached, RateLimited
from leasehold.model.principal import Principal
from leasehold.wire.claim import Claim, Claimed, Complete, CompletionItem
from leasehold.wire.job import Cancel, JobIn, Note, Submit
from leasehold.wire.lease import HeavyLeaseRequest
from leasehold.wire.tenant import TenantIn
from tests.unit.schedule_server import NOON_MS, WallClock
from tests.unit.test_schedule_queue import Server, server

VERBS = frozenset({"job:submit", "lease:request", "lease:now", "limits:exempt"})
LAB = Principal("token:lab/tok-lab", "submitter", VERBS, tenant="lab")
ANN = Principal("token:ann/tok-ann", "submitter", VERBS)
OPERATOR = Principal("token:op/tok-op", "operator", VERBS | {"tenant:set", "job:cancel"})
WORKER = Principal("token:worker/tok-w", "worker", frozenset({"job:work", "limits:exempt"}))
POLLER = Principal("token:poller/tok-p", "worker", frozenset({"job:work", "job:submit"}))


def service(here: Server) -> TenantService:
    return TenantService(here.ledger, here.jobs.eligible)


async def submit(jobs: JobService, who: Principal, count: int = 1, **said: object) -> list[str]:
    each = [JobIn(job_type="t", expected_duration_sec=10, **{"cost_units": 10, **said}) for _ in range(count)]  # type: ignore[arg-type]
    return [row.job_id for row in (await jobs.submit(who, Submit(jobs=each))).jobs]


async def claim(here: Server, most: int = 1) -> list[Claimed]:
    here.observe()
    return (await here.jobs.claim(WORKER, Claim(max=most))).jobs


async def done(here: Server, jobs: list[Claimed]) -> None:
    await here.jobs.complete_many(WORKER, Complete([ended(job) for job in jobs]))


def ended(job: Claimed) -> CompletionItem:
    return CompletionItem(job_id=job.job_id, generation=job.generation, fencing_token=job.fencing_token)


@pytest.mark.requirement("OPS-7")
async def test_a_tenant_is_set_shown_changed_and_removed() -> None:
    """What is left out stays; null lifts a quota; the same again is no event; `default` is always there."""
    async with server() as here:
        tenants = service(here)
        assert [one.name for one in (await tenants.tenants()).tenants] == ["default"]
        made = await tenants.set_tenant(
            OPERATOR, "lab", TenantIn(weight=3, units=50, jobs=10, note="the lab")
        )
        assert (made.weight, made.units.quota, made.jobs.quota, made.leases.quota) == (3, 50, 10, None)
        assert (made.changed_by, made.note) == (OPERATOR.name, "the lab")
        commits = here.ledger.commits
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(weight=3))
        assert here.ledger.commits == commits
        changed = await tenants.set_tenant(OPERATOR, "lab", TenantIn(units=None, leases=0))
        assert (changed.weight, changed.units.quota, changed.leases.quota) == (3, None, 0)
        await tenants.remove(OPERATOR, "lab")
        with pytest.raises(NotFound):
            await tenants.tenant("lab")
        await tenants.set_tenant(OPERATOR, "default", TenantIn(weight=2))
        await tenants.remove(OPERATOR, "default")
        assert (await tenants.tenant("default")).weight == 1


@pytest.mark.requirement("OPS-7")
async def test_work_counts_for_the_tenant_of_its_caller() -> None:
    """Jobs and leases carry it; another may be named by who may, where it is known."""
    async with server() as here:
        tenants = service(here)
        (first,) = await submit(here.jobs, LAB)
        assert (await here.jobs.get(LAB, first)).tenant == "lab"
        with pytest.raises(NotPermitted, match="tenant:set"):
            await here.jobs.submit(ANN, Submit(cost_units=1, tenant="lab"))
        with pytest.raises(Invalid, match="tenant set shop"):
            await here.jobs.submit(OPERATOR, Submit(cost_units=1, tenant="shop"))
        await tenants.set_tenant(OPERATOR, "shop", TenantIn())
        await here.jobs.submit(OPERATOR, Submit(cost_units=1, tenant="shop"))
        granted = await here.leases.request(LAB, HeavyLeaseRequest(cost_units=20, start="now"))
        assert granted.lease_id is not None
        assert (await here.leases.get(LAB, granted.lease_id)).tenant == "lab"
        shown = {one.name: one for one in (await tenants.tenants()).tenants}
        assert sorted(shown) == ["default", "lab", "shop"]
        assert (shown["lab"].units.used, shown["lab"].leases.used, shown["lab"].jobs.used) == (20, 1, 1)
        assert shown["lab"].waiting == 1


@pytest.mark.requirement("OPS-7")
async def test_a_tenant_in_use_is_not_removed() -> None:
    """Its work would be held to nothing any more; the refusal says what is in its name."""
    async with server() as here:
        tenants = service(here)
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(jobs=5))
        (job,) = await submit(here.jobs, LAB)
        with pytest.raises(Conflict, match=r"1 job\(s\)"):
            await tenants.remove(OPERATOR, "lab")
        await here.jobs.cancel(LAB, job, Cancel())
        await tenants.remove(OPERATOR, "lab")


@pytest.mark.requirement("OPS-7", "QUEUE-3")
async def test_a_full_tenant_gets_429_and_others_go_on() -> None:
    """All of a call or nothing; a repeat under its unique key is answered; an end makes room; so retries."""
    async with server() as here:
        await service(here).set_tenant(OPERATOR, "lab", TenantIn(jobs=3))
        await submit(here.jobs, LAB, unique_key="once")
        with pytest.raises(QuotaReached, match=r"jobs: used=1, requested=3, quota=3") as refused:
            await submit(here.jobs, LAB, 3)
        assert refused.value.code == "QUOTA"
        assert refused.value.details["tenant"] == "lab"
        kept = await submit(here.jobs, LAB, 2)
        assert (
            await here.jobs.submit(LAB, Submit(jobs=[JobIn(job_type="t", cost_units=10, unique_key="once")]))
        ).taken
        await submit(here.jobs, ANN, 5)
        await here.jobs.cancel(LAB, kept[0], Cancel())
        await submit(here.jobs, LAB)
        with pytest.raises(QuotaReached):
            await here.jobs.retry(LAB, kept[0], Note())


@pytest.mark.requirement("OPS-7", "QUEUE-3")
async def test_bytes_of_payloads_have_a_quota() -> None:
    """Counted over live jobs, and given back with their end."""
    async with server() as here:
        tenants = service(here)
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(payload_bytes=1 << 20))
        payload = b'"' + b"x" * 100_000 + b'"'
        kept = await submit(here.jobs, LAB, 10, payload=msgspec.Raw(payload))
        with pytest.raises(QuotaReached, match="payload"):
            await submit(here.jobs, LAB, 1, payload=msgspec.Raw(payload))
        await here.jobs.cancel(LAB, kept[0], Cancel())
        assert (await tenants.tenant("lab")).payload_bytes.used == 9 * len(payload)
        await submit(here.jobs, LAB, 1, payload=msgspec.Raw(payload))


@pytest.mark.requirement("OPS-7", "LEASE-4", "QUEUE-6")
async def test_others_start_past_a_tenant_at_its_quota_and_more_lets_it_on_at_once() -> None:
    """One lease of `lab` at a time: `why` says QUOTA; a greater quota is acted on in the same moment."""
    async with server() as here:
        tenants = service(here)
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(leases=1))
        first, second = await submit(here.jobs, LAB, 2)
        (other,) = await submit(here.jobs, ANN)
        running = await claim(here, 3)
        assert {job.job_id for job in running} == {first, other}
        waits = await here.jobs.get(LAB, second)
        assert "QUOTA" in [reason.code for reason in waits.reasons]
        assert not await claim(here)
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(leases=2))
        assert [job.job_id for job in await claim(here)] == [second]
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(leases=0))
        await done(here, running)
        assert (await tenants.tenant("lab")).leases.used == 1


@pytest.mark.requirement("OPS-7", "QUEUE-6")
async def test_shares_are_by_weight_and_a_change_acts_at_once() -> None:
    """Weights 3 and 1: three to one within one job, wherever it is looked; then turned round."""
    async with server() as here:
        tenants = service(here)
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(weight=3))
        await submit(here.jobs, LAB, 60)
        await submit(here.jobs, ANN, 60)
        whose = {job_id(number): job.terms.ask.tenant for number, job in here.ledger.state.jobs.items()}
        got = await _taken(here, whose, 40)
        for upto in range(1, 41):
            share = Counter(got[:upto])
            assert abs(share["lab"] / 3 - share["default"]) <= 1 + 1 / 3
        await tenants.set_tenant(OPERATOR, "lab", TenantIn(weight=1))
        await tenants.set_tenant(OPERATOR, "default", TenantIn(weight=3))
        share = Counter(await _taken(here, whose, 24))
        assert abs(share["default"] / 3 - share["lab"]) <= 2


async def _taken(here: Server, whose: dict[str, str], count: int) -> list[str]:
    """The tenants of the next jobs, each run to its end before the next is taken."""
    got = []
    for _ in range(count):
        jobs = await claim(here)
        got += [whose[job.job_id] for job in jobs]
        await here.clock.advance(10_000)  # As long as was expected: nothing is corrected.
        await done(here, jobs)
    return got


@pytest.mark.requirement("OPS-7", "OPS-15")
async def test_tenants_survive_a_restart_and_a_damaged_one_lets_nothing_new_in() -> None:
    """A record that can't be read falls back to the stricter side until it is set anew."""
    clock = WallClock(NOON_MS)
    disk = Disk(clock.wall_ms)
    async with server(disk, clock) as here:
        await service(here).set_tenant(OPERATOR, "lab", TenantIn(weight=4, leases=7))
        await service(here).set_tenant(OPERATOR, "shop", TenantIn(leases=7))
    disk.live["/tenants/shop"] = b"\xc1 no msgpack"
    async with server(disk, clock) as here:
        tenants = service(here)
        lab = await tenants.tenant("lab")
        assert (lab.weight, lab.leases.quota) == (4, 7)
        assert here.leases.settings().line.tenant_weights == {"lab": 4}
        shop = await tenants.tenant("shop")
        assert shop.problem
        assert shop.leases.quota == shop.jobs.quota == 0
        of_shop = Principal("token:s/tok-s", "submitter", VERBS, tenant="shop")
        denied = await here.leases.request(of_shop, HeavyLeaseRequest(cost_units=1, start="now"))
        assert {reason.code for reason in denied.reasons} == {"QUOTA"}
        mended = await tenants.set_tenant(OPERATOR, "shop", TenantIn(leases=7))
        assert (mended.problem, mended.jobs.quota) == ("", None)


@pytest.mark.requirement("LEASE-27", "WORKER-10")
async def test_tight_polls_are_refused_and_completions_never() -> None:
    """Empty claims without waiting cost ten: five at once; what was taken can be completed all the same."""
    async with server() as here:
        await submit(here.jobs, LAB, 3)
        here.observe()
        taken = (await here.jobs.claim(POLLER, Claim(max=3))).jobs
        assert len(taken) == 3
        empty = 0
        with pytest.raises(RateLimited, match="wait_sec") as refused:
            while empty < 50:
                assert not (await here.jobs.claim(POLLER, Claim(max=3))).jobs
                empty += 1
        assert empty == 5
        assert refused.value.retry_after_s == 1
        with pytest.raises(RateLimited):
            await here.jobs.submit(POLLER, Submit(cost_units=1))
        assert (await here.jobs.complete_many(POLLER, Complete([ended(job) for job in taken]))).done == 3
        await here.clock.advance(1_000)
        assert not (await here.jobs.claim(POLLER, Claim())).jobs


@pytest.mark.requirement("OPS-7")
def test_local_users_belong_where_the_configuration_says() -> None:
    """A user's own entry first, then groups by name, then `default`; an unknown group gives nothing."""
    one, two = sorted(grp.getgrall(), key=lambda group: group.gr_name)[:2]
    said = {"ann": "lab", f"@{one.gr_name}": "first", f"@{two.gr_name}": "second", "@no-such-group": "x"}
    found, unknown = rights({}, {}, said)
    assert unknown == ["@no-such-group"]
    assert found.tenant_of("user:ann", (one.gr_gid,)) == "lab"
    assert found.tenant_of("user:bob", (two.gr_gid, one.gr_gid)) == "first"
    assert found.tenant_of("user:bob", (two.gr_gid,)) == "second"
    assert found.tenant_of("user:bob", ()) == "default"
