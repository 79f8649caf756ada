"""How the queue's figures are judged: a miss fails, an absent peer is said, nothing passes unmeasured."""

from __future__ import annotations

from typing import Any

import pytest

from accept.harness import Broken, Skipped
from accept.queue.figures import Measured


def measured(*missing: str, **figures: tuple[float, float | None, float | None]) -> Measured:
    """Figures by name: value, at least, at most."""
    rows: dict[str, dict[str, Any]] = {
        name: {"name": name, "value": value, "unit": "jobs/s", "note": "", "at_least": low, "at_most": high}
        for name, (value, low, high) in figures.items()
    }
    return Measured(rows, (), missing)


def test_each_figure_is_held_to_its_own_bound() -> None:
    """One that is missed fails with what was seen; that another one is missed does not matter here."""
    found = measured(fast=(8_000, 7_000, None), slow=(40, None, 30), free=(1, None, None))
    found.judge(["fast", "free"], found.shown())
    with pytest.raises(Broken, match="slow: 30 at most; fast 8,000 jobs/s, slow 40 jobs/s"):
        found.judge(["slow"], found.shown())
    with pytest.raises(Broken, match="fast: 9000 at least"):
        measured(fast=(8_000, 9_000, None)).judge(["fast"], "")


def test_what_was_not_measured_does_not_pass() -> None:
    """A figure that is gone, and a part that broke, are failures and no reason to skip."""
    with pytest.raises(Broken, match="http_1000_cycles was not measured"):
        measured().judge(["http_1000_cycles"], "")
    with pytest.raises(Broken, match="under leasehold run: it fell over"):
        measured("preset server, under leasehold run: it fell over").complete("")
    with pytest.raises(Broken, match="fsync is off"):
        measured("pgqueuer: fsync is off, not on").complete("")


def test_a_peer_that_is_not_here_is_said_beside_the_figures() -> None:
    """The line is skipped with the reason, and with all that could be measured."""
    reason = "pgqueuer: PostgreSQL's initdb is not here; install Debian's package `postgresql`"
    found = measured(reason, fast=(8_000, 7_000, None))
    with pytest.raises(Skipped, match=r"initdb is not here.*Measured without: fast 8,000 jobs/s"):
        found.complete(found.shown())
    assert measured().complete("all of it") == "all of it"


def test_figures_are_shown_by_the_beginning_of_their_names() -> None:
    """Of some sides, or of all but some."""
    found = measured(service_a=(1_234, None, None), http_a=(0.5, None, None))
    assert found.shown("service_") == "service_a 1,234 jobs/s"
    assert found.shown(but="service_") == "http_a 0.5 jobs/s"
    assert found.shown() == "service_a 1,234 jobs/s, http_a 0.5 jobs/s"
