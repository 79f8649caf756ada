"""Foreign load, figure by figure.

Host less ours (SENSE-6), and what a constraint finds pressed (LEASE-25).
"""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import foreign, means, measured
from leasehold.core.stats import derive, pressed_link
from leasehold.model.quiet import PRESETS, QuietAssessment, QuietState, Reading
from leasehold.model.snapshot import Gpu, GpuUser, LinkStats, Pressure, Stall, Surroundings
from leasehold.model.work import OursCounters, Stalls, WorkUse
from leasehold.testing.hosts import GIB, FakeMachine

NOTHING = Surroundings()
OURS = OursCounters(at_ms=0, cpu_ms=0, memory_bytes=0, runnable=0)


def pair(others_pct: float = 0.0, ours_pct: float = 0.0, some_us: int = 0):  # type: ignore[no-untyped-def]
    """Two readings of a host two seconds apart, with so much load and so much stall for cpu and io."""
    machine = FakeMachine()
    before = machine.host.counters(0)
    machine.others_pct, machine.ours_pct = others_pct, ours_pct
    stall = Stall(0, 0, 0, 0, some_us, some_us)
    return before, msgspec.structs.replace(
        machine.host.counters(2_000), pressure=Pressure(stall, stall, stall)
    )


def changed(**fields: object) -> OursCounters:
    return msgspec.structs.replace(OURS, **fields)  # type: ignore[arg-type]


@pytest.mark.requirement("SENSE-6")
def test_cpu_of_others_is_the_host_less_ours() -> None:
    """Of 80 % in use 50 % are ours: 30 % are foreign, and so is that share of the host's stall."""
    before, now = pair(others_pct=30, ours_pct=50, some_us=1_000_000)
    found = foreign.reading(before, now, OURS, changed(cpu_ms=4_000), NOTHING)
    assert (found.cpu_total_ms, found.cpu_busy_ms, found.cpu_foreign_ms) == (8_000, 6_400, 2_400)
    assert found.psi_cpu_bp == 5_000 * 2_400 // 6_400


@pytest.mark.requirement("SENSE-6")
@pytest.mark.parametrize(
    ("busy_ms", "declared", "foreign_ms"), [(4_000, 1_000, 2_000), (1_500, 1_000, 0), (0, 4_000, 0)]
)
def test_an_unbound_lease_accounts_only_for_load_that_is_there(
    busy_ms: int, declared: int, foreign_ms: int
) -> None:
    """At most its declared cores, and never more than what runs."""
    assert foreign.foreign_cpu_ms(busy_ms, 0, declared, 2_000) == foreign_ms


@pytest.mark.requirement("SENSE-6")
def test_the_greatest_stall_among_the_other_groups_counts_alone() -> None:
    """Where groups beside the leased ones can be read, the host's own figure is not used.

    A new group has no baseline.
    """
    before, now = pair(others_pct=10, ours_pct=80, some_us=1_900_000)
    old = (Stalls("user", 0, 0), Stalls("system", 0, 0))
    new = (
        Stalls("user", 400_000, 0),
        Stalls("system", 100_000, 600_000),
        Stalls("fresh", 9_000_000, 9_000_000),
    )
    found = foreign.reading(before, now, changed(outside=old), changed(outside=new), NOTHING)
    assert (found.psi_cpu_bp, found.psi_io_bp) == (2_000, 3_000)
    assert found.io_all_bytes is None


@pytest.mark.requirement("SENSE-6")
def test_bytes_of_a_leased_process_that_ended_are_not_somebody_elses() -> None:
    """Who waits for a process inherits its total: a drop of ours is taken from the others' growth."""
    before, now = pair()
    one = changed(io_ours_bytes=10_000, io_others_bytes=5_000)
    two = changed(io_ours_bytes=0, io_others_bytes=15_700)
    found = foreign.reading(before, now, one, two, NOTHING)
    assert (found.io_foreign_bytes, found.io_all_bytes) == (700, 700)
    assert foreign.reading(before, now, OURS, two, NOTHING).io_all_bytes is None


@pytest.mark.requirement("SENSE-6")
def test_memory_pressure_counts_in_full_whoever_causes_it() -> None:
    """All of the load is ours, and still memory stands as the host has it; the note names the lease."""
    before, now = pair(ours_pct=100, some_us=1_000_000)
    use = WorkUse("lease-a", 8_000, 2 * GIB)
    found = foreign.reading(
        before, now, OURS, changed(cpu_ms=8_000, memory_bytes=2 * GIB, uses=(use,)), NOTHING
    )
    assert found.psi_memory_bp == 5_000
    assert found.memory_bp == 1_250
    assert found.memory_foreign_bp == 0
    assert found.memory_note == "lease-a holds 2.0 GiB of it"


@pytest.mark.requirement("SENSE-6")
def test_a_device_is_foreign_only_while_somebody_else_is_on_it() -> None:
    """Utilisation of a device with our process alone is ours."""
    mine = Gpu("gpu:0", "m", 90.0, 0, 0, (GpuUser(42),))
    theirs = Gpu("gpu:1", "m", 60.0, 0, 0, (GpuUser(42), GpuUser(43)))
    assert foreign.foreign_gpu_bp((mine,), frozenset({42})) == 0
    assert foreign.foreign_gpu_bp((mine, theirs), frozenset({42})) == 6_000
    assert foreign.foreign_gpu_bp((), frozenset()) is None


def link(speed_bps: int | None, tx: float) -> LinkStats:
    return LinkStats("eth0", 0, 0, 0, 0, 1_000.0, tx, 1.0, 1.0, speed_bps)


@pytest.mark.requirement("LEASE-25")
def test_a_link_is_pressed_above_80_percent_of_its_known_speed() -> None:
    """Either direction counts; of an unknown speed nothing is claimed."""
    assert pressed_link((link(1_000_000_000, 99e6),)) == ""
    assert pressed_link((link(1_000_000_000, 110e6),)) == "eth0 carries 880 of 1000 Mbit/s (limit 80 %)"
    assert pressed_link((link(None, 110e6),)) == ""


@pytest.mark.requirement("LEASE-25")
def test_a_device_that_others_use_is_pressed_by_its_name() -> None:
    """`gpu:1` and `gpu` in general, with the processes; `gpu:0`, which only ours use, is not."""
    before, now = pair()
    gpus = (Gpu("gpu:0", "m", 1.0, 0, 0, (GpuUser(42),)), Gpu("gpu:1", "m", 1.0, 0, 0, (GpuUser(43),)))
    around = Surroundings(gpus=gpus)
    calm = QuietAssessment(0, QuietState.QUIET, 100, 100, (), {}, {}, 0, 0, "server")
    found = measured.everything_pressed(
        PRESETS["server"], calm, derive(before, now, around), around, changed(pids=frozenset({42})), None
    )
    assert found == {
        "gpu": "gpu:1 is used by others (processes 43)",
        "gpu:1": "gpu:1 is used by others (processes 43)",
    }


@pytest.mark.requirement("SENSE-2")
def test_rates_are_null_until_there_is_a_baseline_and_after_a_reset() -> None:
    """One reading gives no rates; a counter that went back gives none either."""
    before, now = pair(others_pct=50)
    first = derive(None, now, NOTHING)
    assert (first.cpu_pct, first.cpu_per_core_pct, first.disk_read_bytes_per_sec) == (None, None, None)
    second = derive(msgspec.structs.replace(before, disk_read_bytes=9), now, NOTHING)
    assert second.cpu_pct == 50.0
    assert second.disk_read_bytes_per_sec is None
    assert second.disk_write_bytes_per_sec == 0.0


@pytest.mark.requirement("LEASE-6")
def test_a_peak_lasts_ten_minutes_in_a_bounded_number_of_slots() -> None:
    """Twenty slots at most, whatever the number of measurements."""
    peak = measured.Peak()
    for at_s in range(0, 3_600, 2):
        peak = measured.seen(peak, 100 if at_s == 600 else 10, at_s * 1000)
        assert len(peak.slots) <= 20
        assert (peak.memory_bytes == 100) == (600 <= at_s < 600 + 600)


@pytest.mark.requirement("SENSE-6")
def test_a_task_of_ours_that_flickers_is_nobody_elses_load() -> None:
    """Host and ours are two instants: what ours wanted only in one of them evens out, and is not cut off."""
    before, now = pair()

    def tick(host: int, ours: int, unbound: int = 0, kernel: int = 0) -> int | None:
        seen = changed(runnable=ours, unbound_millicores=unbound, kernel_runnable=kernel)
        reading = foreign.reading(
            msgspec.structs.replace(before, runnable=host),
            msgspec.structs.replace(now, runnable=host),
            seen,
            seen,
            NOTHING,
        )
        return reading.runnable_foreign_milli

    assert (tick(1, 0), tick(0, 1)) == (1_000, -1_000)
    assert tick(3, 1, unbound=1_500) == 0
    assert tick(3, 1, kernel=2) == 0
    assert tick(0, 0, unbound=4_000) == 0


@pytest.mark.requirement("SENSE-9")
def test_the_mean_of_runnable_tasks_is_never_below_nothing() -> None:
    """A tick below nothing takes from those above it within the mean; the mean itself ends at nothing."""
    settings = PRESETS["server"]
    reading = Reading(0, 2_000, 2, 4_000, 0, 0)
    shown = []
    for runnable in ((4_000, -4_000), (4_000, 0), (-4_000, -4_000)):
        ticks: tuple[means.Tick, ...] = ()
        for number, milli in enumerate(runnable):
            last = msgspec.structs.replace(reading, at_ms=2_000 * (number + 1), runnable_foreign_milli=milli)
            ticks = means.kept(settings, ticks, last)
        shown.append(means.inputs_milli(settings, ticks, last)["foreign_runnable_per_core"])
    assert shown == [0, 1_000, 0]
