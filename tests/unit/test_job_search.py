"""The list of jobs as the page asks for it: by text, folded, and its figures at a glance (QUEUE-3, 5)."""

from __future__ import annotations

import random

import pytest

from leasehold.control import job_list, job_search, job_stats
from leasehold.control.job import ARGUMENT_SHOWN, ARGUMENTS_SHOWN
from leasehold.control.job_list import Wanted
from leasehold.model.job import AT_WORK, JobState
from leasehold.wire.claim import Claim
from leasehold.wire.job import Cancel, ExecIn, JobIn, Note, Submit
from tests.unit.test_schedule_queue import ANN, WORKER, Server, server


async def submitted(here: Server, *jobs: JobIn) -> list[str]:
    """Submit these at once; their ids."""
    out = await here.jobs.submit(ANN, Submit(jobs=list(jobs)))
    assert out.taken == len(jobs), out
    return [one.job_id for one in out.jobs]


async def found(here: Server, **wanted: object) -> list[str]:
    """The titles of all that match, page by page; no page shows one twice."""
    titles: list[str] = []
    cursor: str | None = None
    while True:
        page = await here.jobs.page(ANN, Wanted(**wanted), 3, cursor)  # type: ignore[arg-type]
        titles += [row.title for row in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return titles


@pytest.mark.requirement("QUEUE-3", "QUEUE-21")
async def test_a_text_is_found_wherever_people_see_it() -> None:
    """In title, command, type, group, label, holder and id, in any case; never in payload or environment."""
    async with server() as here:
        command = ExecIn(argv=["restic", "backup"], cwd="/", env={"PASSWORD": "swordfish"})
        ids = await submitted(
            here,
            JobIn(job_type="exec-like", exec=command, title="nightly"),
            JobIn(job_type="train", title="Straße", payload=b'"salmon"'),  # type: ignore[arg-type]
            JobIn(job_type="mail", title="letters", group="film", labels={"project": "home"}),
        )
        for text, titles in {
            "NIGHT": ["nightly"],
            "restic backup": ["nightly"],
            "STRASSE": ["Straße"],
            "train": ["Straße"],
            "project=home": ["letters"],
            "Film": ["letters"],
            ids[1]: ["Straße"],
            "ann": ["letters", "Straße", "nightly"],
            "swordfish": [],
            "salmon": [],
        }.items():
            assert await found(here, text=text) == titles, text


@pytest.mark.requirement("QUEUE-3", "INV-8")
@pytest.mark.parametrize(("piece", "pieces"), [(2, 1), (3, 2), (200, 25)])
async def test_a_search_reads_a_bounded_part_and_misses_nothing(
    monkeypatch: pytest.MonkeyPatch, piece: int, pieces: int
) -> None:
    """However small its pieces are, going on by its cursor finds each match once, live or ended."""
    monkeypatch.setattr(job_search, "PIECE", piece)
    monkeypatch.setattr(job_search, "PIECES", pieces)
    async with server() as here:
        titles = [f"{'red' if n % 3 else 'blue'} {n}" for n in range(20)]
        ids = await submitted(here, *(JobIn(job_type="mail", title=title) for title in titles))
        for ident in ids[:8]:
            await here.jobs.cancel(ANN, ident, Cancel())
        reds = [title for title in titles if title.startswith("red")]
        assert sorted(await found(here, text="red ")) == sorted(reds)
        assert await found(here, text="green") == []
        if piece * pieces < 12:
            page = await here.jobs.page(ANN, Wanted(text="green"), 3, None)
            assert (page.jobs, page.cursor is None) == ([], False), "an empty page that is not the last"


@pytest.mark.requirement("QUEUE-3", "OPS-21")
async def test_a_folded_group_is_its_newest_with_counts() -> None:
    """One row for a group, with its live members by state; also where it was searched for, or has ended."""
    async with server() as here:
        frames = [JobIn(job_type="mail", title=f"frame {n}", group="film", index=n) for n in range(1, 6)]
        ids = await submitted(
            here, JobIn(title="alone"), *frames, JobIn(title="held", hold=True, group="film")
        )
        await here.jobs.hold(ANN, ids[2], Note())
        for wanted in (Wanted(fold=True), Wanted(fold=True, text="film")):
            page = await here.jobs.page(ANN, wanted, 10, None)
            row = page.jobs[0]
            assert (row.title, row.members) == ("held", {"QUEUED": 4, "HELD": 2})
            assert [one.title for one in page.jobs[1:]] == ([] if wanted.text else ["alone"])
            assert not any(one.members for one in page.jobs[1:])
        for ident in ids:
            await here.jobs.cancel(ANN, ident, Cancel())
        rows = (await here.jobs.page(ANN, Wanted(fold=True), 10, None)).jobs
        assert sorted(row.group for row in rows) == ["", "film"]
        assert not any(row.members for row in rows)


@pytest.mark.requirement("QUEUE-3", "QUEUE-14", "INV-8")
@pytest.mark.parametrize("seed", range(5))
async def test_live_jobs_are_listed_once_newest_first(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever was submitted, ended and retried: by pages, however little each looks at, all that live."""
    chance = random.Random(seed)
    monkeypatch.setattr(job_list, "LOOKED_AT", chance.choice((3, 40, 10_000)))
    async with server() as here:
        for _ in range(6):
            jobs = [JobIn(job_type="mail", title=f"{n}") for n in range(chance.randint(1, 900))]
            ids = await submitted(here, *jobs)
            gone = chance.sample(ids, chance.randint(0, len(ids)))
            for ident in gone:
                await here.jobs.cancel(ANN, ident, Cancel())
            for ident in chance.sample(gone, len(gone) // 10):
                await here.jobs.retry(ANN, ident, Note())
        live = sorted(here.ledger.state.jobs, reverse=True)
        listed: list[int] = []
        cursor: str | None = None
        wanted = Wanted(states=frozenset({JobState.QUEUED}))
        while True:
            page, cursor = await here.jobs.listed.page(wanted, 500, cursor)
            listed += [job.number for job in page]
            if cursor is None:
                break
        assert listed == live
        assert await here.jobs.listed.matching(wanted) == live


@pytest.mark.requirement("QUEUE-3", "INV-8")
async def test_what_runs_is_found_behind_any_number_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of those at work has them, though a page looks at three jobs and more than that wait."""
    monkeypatch.setattr(job_list, "LOOKED_AT", 3)
    async with server() as here:
        ids = await submitted(here, *(JobIn(job_type="mail", title=f"{n}") for n in range(50)))
        here.observe()
        claimed = await here.jobs.claim(WORKER, Claim(max=2))
        assert [one.job_id for one in claimed.jobs] == ids[:2]
        page = await here.jobs.page(ANN, Wanted(states=AT_WORK), 10, None)
        assert ([row.title for row in page.jobs], page.cursor) == (["1", "0"], None)
        first = await here.jobs.page(ANN, Wanted(states=AT_WORK), 1, None)
        second = await here.jobs.page(ANN, Wanted(states=AT_WORK), 1, first.cursor)
        assert [row.title for row in first.jobs + second.jobs] == ["1", "0"]


@pytest.mark.requirement("QUEUE-3", "INV-8")
async def test_a_list_has_the_beginning_of_a_command_and_a_job_all_of_it() -> None:
    """A page of a thousand jobs stays small, however long their commands are."""
    async with server() as here:
        argv = ["x" * 1_000] * 100
        [ident] = await submitted(here, JobIn(exec=ExecIn(argv=argv, cwd="/")))
        row = (await here.jobs.page(ANN, Wanted(), 1, None)).jobs[0]
        assert row.command == ["x" * ARGUMENT_SHOWN] * ARGUMENTS_SHOWN
        assert (await here.jobs.get(ANN, ident)).command == argv


@pytest.mark.requirement("QUEUE-5", "OPS-3")
async def test_a_glance_agrees_with_the_figures_and_looks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counts are those of `stats` at once; for reasons it looks no oftener than once a second."""
    looks = 0
    reasons = job_stats.JobStats._reasons

    def counted(self: job_stats.JobStats, *args: object) -> dict[str, int]:
        nonlocal looks
        looks += 1
        return reasons(self, *args)  # type: ignore[arg-type]

    async with server() as here:
        monkeypatch.setattr(job_stats.JobStats, "_reasons", counted)
        state, counts = here.ledger.state, here.jobs.counts
        before = counts.glance(state)
        await submitted(here, *(JobIn(job_type="mail") for _ in range(5)), JobIn(hold=True))
        await here.jobs.claim(WORKER, Claim())
        after = counts.glance(state)
        assert after.changes > before.changes
        assert after.states == counts.stats(state).states == {"HELD": 1, "QUEUED": 4, "RUNNING": 1}
        assert looks == 2, "once by the glance, once by `stats`"
        await here.clock.advance(job_stats.GLANCE_MS)
        assert counts.glance(state).reasons == counts.stats(state).reasons
        assert counts.glance(state).rates.submitted_per_min > 0
