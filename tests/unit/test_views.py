"""Times as people are shown them."""

from __future__ import annotations

import pytest

from leasehold.control.job_views import brief
from leasehold.control.views import on_wall


@pytest.mark.requirement("INV-7")
@pytest.mark.parametrize("apart_ms", [0, 3_600_000, -86_400_000])
def test_the_same_time_is_told_the_same_way_each_time(apart_ms: int) -> None:
    """Two clocks that are read one after the other waver by a ms; what is told of one time does not."""
    told = {
        on_wall(5_000_123, 5_000_000 + at, 5_000_000 + at + apart_ms + late)
        for at in range(99)
        for late in (-1, 0, 1)
    }
    assert told == {5_000_123 + apart_ms}


@pytest.mark.requirement("INV-7")
def test_a_wall_clock_that_was_set_is_followed() -> None:
    """Within ten milliseconds, whatever it was set to."""
    for by_ms in range(-50, 50):
        assert abs(on_wall(1_000, 500, 500 + by_ms) - (1_000 + by_ms)) <= 10


@pytest.mark.requirement("QUEUE-4")
def test_of_a_command_everybody_reads_its_first_plain_words() -> None:
    """Options, paths, and what comes after them may be secrets."""
    assert brief(["/usr/bin/git", "remote", "add", "x"]) == "git remote add"
    assert brief(["restic", "backup", "/home/ann"]) == "restic backup"
    assert brief(["curl", "-u", "ann:s3cret", "https"]) == "curl"
    assert brief(["sh", "-c", "echo s3cret"]) == "sh"
    assert brief([]) == ""
