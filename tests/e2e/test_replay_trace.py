"""The NASA iPSC trace under default settings, beside first come, first served, and EASY backfill."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests import replay_against_reference as both
from tests.contention import slowdown

pytestmark = [pytest.mark.slow, pytest.mark.requirement("QUEUE-18")]

LEASEHOLD = [sys.executable, "-m", "leasehold"]
TRACE = both.trace()
needs_the_trace = pytest.mark.skipif(
    TRACE is None, reason=f"{both.NAME} is not here: LEASEHOLD_TRACES names the folder that holds it"
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Default settings, whatever this machine's are."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LEASEHOLD", "XDG"))}
    return clean | {"HOME": str(tmp_path)}


@needs_the_trace
def test_with_one_holder_it_is_easy_backfill(env: dict[str, str]) -> None:
    """With nobody to be fair to, waiting and slowdown are those of EASY, within rounding; and it is quick."""
    assert TRACE is not None
    jobs = both.jobs_of(TRACE)
    began = time.monotonic()
    ours = both.ours(LEASEHOLD, TRACE, "--estimates", "exact", "--as-one", env=env)
    assert (time.monotonic() - began) / slowdown() < 30
    assert max(map(abs, ours.above(both.easy(jobs)))) < 0.1


@needs_the_trace
def test_fair_among_users_as_it_was_logged(env: dict[str, str]) -> None:
    """Under default settings slowdown is within 2 % of EASY's, and waiting too, or a second in the mean.

    Six of 18,239 jobs wait at all, for the log's submit times are start times: what fairness decides between
    two of them is more than 2 %.
    """
    assert TRACE is not None
    easy = both.easy(both.jobs_of(TRACE))
    ours = both.ours(LEASEHOLD, TRACE, "--estimates", "exact", env=env)
    assert ours.slowdown <= 1.02 * easy.slowdown
    assert ours.wait <= max(1.02 * easy.wait, easy.wait + 1)


@needs_the_trace
@pytest.mark.timeout(600)
def test_fair_among_users_under_load(env: dict[str, str]) -> None:
    """With much more at once jobs wait far less than with EASY, which in turn beats waiting in order."""
    assert TRACE is not None
    jobs = both.spaced(both.jobs_of(TRACE), 0.6)
    in_order, easy = both.easy(jobs, backfill=False), both.easy(jobs)
    words = ("--estimates", "exact", "--spacing", "0.6")
    ours = both.ours(LEASEHOLD, TRACE, *words, env=env)
    assert ours.wait < 0.7 * easy.wait < 0.7 * in_order.wait
    assert ours.slowdown < 0.7 * easy.slowdown
    alone = both.ours(LEASEHOLD, TRACE, *words, "--as-one", env=env)
    assert alone.wait <= 1.02 * easy.wait, "backfill missed candidates among very many shapes"
