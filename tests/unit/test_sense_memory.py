"""Small machines, and memory that falls fast: the end is known while some is left (SENSE-9, LEASE-14)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.control.sense import HOST_MS
from leasehold.core import measured
from leasehold.testing.hosts import FakeMachine
from tests.unit.test_sense_service import BOUND, Subject, started

MIB = 1 << 20
MB = 10**6


def small(subject: Subject, left_mb: int) -> None:
    """A machine of 512 MiB whose kernel leaves 455 of it, with so much left; others hold a fifth."""
    subject.machine.memory_bytes = 455 * MIB
    subject.machine.memory_used_bytes = 90 * MIB
    subject.machine.ours_memory_bytes = 365 * MIB - left_mb * MB


@pytest.mark.requirement("SENSE-9", "LEASE-14")
@pytest.mark.parametrize(
    ("left_mb", "state", "is_short"),
    [(200, "QUIET", False), (90, "NORMAL", False), (75, "BUSY", False), (60, "PANIC", True)],
)
async def test_what_is_left_counts_where_a_percentage_says_too_little(
    left_mb: int, state: str, is_short: bool
) -> None:
    """With 60 MB left of 455 MiB, 87 % are used; the programs that run live on little more than that."""
    async with started() as subject:
        subject.leases = [BOUND]
        small(subject, left_mb)
        view = await subject.seconds(20)
        assert (view.state, view.short_of_memory) == (state, is_short)
        if is_short:
            assert view.reasons[0].startswith(f"memory left is {left_mb} MB (lease-a holds")
            assert view.reasons[0].endswith("it counts from 128 MB and fully at 48 MB")


@pytest.mark.requirement("SENSE-7", "LEASE-14")
async def test_memory_that_falls_fast_is_looked_at_sooner() -> None:
    """30 MB a second of 512 MB: the state is told with more left than two seconds' worth; then as before."""
    async with started() as subject:
        subject.leases = [BOUND]
        small(subject, 300)
        await subject.seconds(10)
        left_mb, told = 300, None
        while told is None and left_mb > 0:
            left_mb -= 3
            small(subject, left_mb)
            view = await subject.seconds(0.1)
            told = left_mb if view.state == "PANIC" else None
        assert told is not None
        assert 45 <= told <= 66
        await subject.seconds(10)
        runs = next(each.runs for each in subject.sense.collectors() if each.name == "host")
        await subject.seconds(20)
        after = next(each.runs for each in subject.sense.collectors() if each.name == "host")
        assert after - runs == 10


@pytest.mark.requirement("SENSE-7")
def test_the_next_look_is_a_quarter_of_the_time_that_is_left() -> None:
    """Never later than usual, and never sooner than four times a second."""
    machine = FakeMachine(memory_bytes=512 * MB)

    def look_ms(fell_mb: int, left_mb: int) -> int:
        now = msgspec.structs.replace(machine.host.counters(2_000), memory_available_bytes=left_mb * MB)
        before = msgspec.structs.replace(now, at_ms=0, memory_available_bytes=(left_mb + fell_mb) * MB)
        return measured.look_ms(before, now, HOST_MS)

    assert look_ms(fell_mb=20, left_mb=300) == HOST_MS
    assert look_ms(fell_mb=100, left_mb=100) == 500
    assert look_ms(fell_mb=200, left_mb=10) == measured.LOOK_MS_MIN
    assert look_ms(fell_mb=0, left_mb=10) == HOST_MS
    assert look_ms(fell_mb=-50, left_mb=10) == HOST_MS
    assert measured.look_ms(None, machine.host.counters(4_000), HOST_MS) == HOST_MS
