"""Foreign load: what others use and suffer, host − ours (SENSE-6)."""

from __future__ import annotations

import msgspec

from leasehold.model.addon import Worst
from leasehold.model.quiet import Reading
from leasehold.model.snapshot import Gpu, HostCounters, Stall, Surroundings
from leasehold.model.work import OursCounters

WHOLE_BP = 10_000


def reading(
    before: HostCounters,
    now: HostCounters,
    ours_before: OursCounters,
    ours: OursCounters,
    around: Surroundings,
) -> Reading:
    """One tick's measurement from two readings of the host and of what is ours, each pair taken together."""
    span_ms = now.at_ms - before.at_ms
    total_ms = now.cpu_total_ms - before.cpu_total_ms
    busy_ms = min(max(0, now.cpu_busy_ms - before.cpu_busy_ms), max(0, total_ms))
    foreign_ms = foreign_cpu_ms(busy_ms, ours.cpu_ms - ours_before.cpu_ms, ours.unbound_millicores, span_ms)
    memory_used = now.memory_total_bytes - now.memory_available_bytes
    io_outside_bp = _outside_bp(ours_before, ours, span_ms, io=True)
    io_foreign, io_all = _io_bytes(ours_before, ours) if io_outside_bp is None else (None, None)
    return Reading(
        at_ms=now.at_ms,
        span_ms=span_ms,
        cores=len(now.cores),
        cpu_total_ms=total_ms,
        cpu_busy_ms=busy_ms,
        cpu_foreign_ms=foreign_ms,
        runnable_foreign_milli=_runnable_milli((before, ours_before), (now, ours)),
        psi_cpu_bp=_cpu_stall_bp(
            _some_bp(before.pressure.cpu, now.pressure.cpu, span_ms),
            _outside_bp(ours_before, ours, span_ms, io=False),
            foreign_ms,
            busy_ms,
        ),
        psi_memory_bp=_full_bp(before.pressure.memory, now.pressure.memory, span_ms),
        psi_io_bp=_some_bp(before.pressure.io, now.pressure.io, span_ms)
        if io_outside_bp is None
        else io_outside_bp,
        io_foreign_bytes=io_foreign,
        io_all_bytes=io_all,
        memory_bp=_share_bp(memory_used, now.memory_total_bytes),
        memory_foreign_bp=_share_bp(max(0, memory_used - ours.memory_bytes), now.memory_total_bytes),
        memory_left_bytes=now.memory_available_bytes,
        swap_in_bytes_per_s=_per_second(before.swapped_in_bytes, now.swapped_in_bytes, span_ms),
        disk_free_bp=min((int(mount.free_pct * 100) for mount in around.mounts), default=None),
        on_battery=around.battery.on_battery if around.battery else None,
        temperature_c=max((int(value) for value in around.temperatures_c.values()), default=None),
        gpu_foreign_bp=foreign_gpu_bp(around.gpus, ours.pids),
        memory_note=memory_note(ours),
        disk_note=_fullest(around),
    )


def with_applications(found: Reading, worst: Worst) -> Reading:
    """The measurement with what applications tell of their own requests (SENSE-22)."""
    return msgspec.structs.replace(
        found,
        p95_ms=worst.p95_ms,
        in_flight=worst.in_flight,
        requests_per_1000_s=worst.requests_per_1000_s,
        errors_bp=worst.errors_bp,
        application_notes=worst.notes,
    )


def foreign_cpu_ms(busy_ms: int, ours_ms: int, unbound_millicores: int, span_ms: int) -> int:
    """CPU time that is not ours.

    A lease bound to nothing accounts for at most its declared cores, while the load is there.
    """
    rest = max(0, busy_ms - max(0, ours_ms))
    return max(0, rest - unbound_millicores * span_ms // 1000)


def _runnable_milli(*samples: tuple[HostCounters, OursCounters]) -> int | None:
    """Thousandths of a runnable task: the mean of both ends of the tick, since each is only an instant.

    Negative where ours, looked at a millisecond after the host, wanted a CPU only then: over some ticks that
    evens out, and cut off at nothing in each of them it would read as others' load. Kernel threads are
    nobody's: what they do for others shows in others' stalls, what they do for ours (writing to a disk) is
    not foreign.
    """
    seen = [
        _allowed(runnable - ours.runnable - ours.kernel_runnable, ours.unbound_millicores)
        for host, ours in samples
        for runnable in (host.runnable, ours.host_runnable)
        if runnable is not None
    ]
    return sum(seen) * 1000 // len(seen) if seen else None


def _allowed(tasks: int, unbound_millicores: int) -> int:
    """Without what leases that are bound to nothing account for, as far as there is anything."""
    return min(tasks, max(0, tasks - -(-unbound_millicores // 1000)))


def _share_bp(part: int, whole: int) -> int | None:
    return None if whole <= 0 else min(WHOLE_BP, max(0, part * WHOLE_BP // whole))


def _per_second(before: int | None, now: int | None, span_ms: int) -> int | None:
    if before is None or now is None or span_ms <= 0:
        return None
    return max(0, now - before) * 1000 // span_ms


def _some_bp(before: Stall | None, now: Stall | None, span_ms: int) -> int | None:
    if before is None or now is None or span_ms <= 0:
        return None
    return _stalled_bp(now.some_us - before.some_us, span_ms)


def _full_bp(before: Stall | None, now: Stall | None, span_ms: int) -> int | None:
    if before is None or now is None or span_ms <= 0:
        return None
    return _stalled_bp(now.full_us - before.full_us, span_ms)


def _stalled_bp(stalled_us: int, span_ms: int) -> int:
    return min(WHOLE_BP, max(0, stalled_us) * 10 // span_ms)


def _outside_bp(before: OursCounters, now: OursCounters, span_ms: int, *, io: bool) -> int | None:
    """The greatest stall among the cgroups that hold no leased work; None where there are none to compare."""
    if before.outside is None or now.outside is None or span_ms <= 0:
        return None
    known = {group.name: group for group in before.outside}
    pairs = [(known[group.name], group) for group in now.outside if group.name in known]
    stalled = [(new.io_us - old.io_us) if io else (new.cpu_us - old.cpu_us) for old, new in pairs]
    return max((_stalled_bp(us, span_ms) for us in stalled), default=None)


def _cpu_stall_bp(host_bp: int | None, outside_bp: int | None, foreign_ms: int, busy_ms: int) -> int | None:
    """The stall of others: as their own cgroups tell it, else the host's by their share of the CPU time."""
    if outside_bp is not None:
        return outside_bp
    if host_bp is None or busy_ms <= 0:
        return host_bp
    return host_bp * min(foreign_ms, busy_ms) // busy_ms


def _io_bytes(before: OursCounters, now: OursCounters) -> tuple[int | None, int | None]:
    """(foreign, all) bytes of the tick, unknown unless both readings have them.

    A process that ends hands its bytes to the one that waited for it. When ours shrink they went to
    somebody else's total, and nobody moved them in this tick.
    """
    was_ours, was_others = before.io_ours_bytes, before.io_others_bytes
    if now.io_ours_bytes is None or now.io_others_bytes is None or was_ours is None or was_others is None:
        return None, None
    ours = now.io_ours_bytes - was_ours
    others = max(0, now.io_others_bytes - was_others + min(0, ours))
    return others, others + max(0, ours)


def foreign_gpu_bp(gpus: tuple[Gpu, ...], ours: frozenset[int]) -> int | None:
    """The greatest utilisation among devices that somebody else's process is on."""
    used = [
        int(gpu.utilisation_pct * 100) if any(user.pid not in ours for user in gpu.users) else 0
        for gpu in gpus
        if gpu.utilisation_pct is not None
    ]
    return max(used, default=None)


def memory_note(ours: OursCounters) -> str:
    """Names the lease with the most memory, for a sentence about memory that counts whoever causes it."""
    largest = max(ours.uses, key=lambda use: (use.memory_bytes, use.lease_id), default=None)
    if largest is None or largest.memory_bytes < ours.memory_bytes // 2 or largest.memory_bytes < 64 << 20:
        return ""
    return f"{largest.lease_id} holds {largest.memory_bytes / (1 << 30):.1f} GiB of it"


def _fullest(around: Surroundings) -> str:
    fullest = min(around.mounts, key=lambda mount: (mount.free_pct, mount.path), default=None)
    return f"on {fullest.path}" if fullest else ""
