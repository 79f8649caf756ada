"""What a node's measurements mean for the ledger.

Its view, and memory used beyond what is charged (LEASE-6, 25).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core.pressures import pressed, score
from leasehold.core.stats import pressed_link
from leasehold.model.charge import Totals
from leasehold.model.node import NodeView
from leasehold.model.quiet import Group, QuietAssessment, QuietSettings, Reading
from leasehold.model.snapshot import HostCounters, HostStats, Surroundings
from leasehold.model.work import OursCounters, WorkQuery

PEAK_MS = 600_000
SLOT_MS = 30_000
"""A peak is kept per half minute, so twenty numbers a lease hold ten minutes."""


class Peak(msgspec.Struct, frozen=True, gc=False):
    """The greatest memory use per slot of `SLOT_MS`, oldest first: (slot number, bytes)."""

    slots: tuple[tuple[int, int], ...] = ()

    @property
    def memory_bytes(self) -> int:
        return max((memory for _, memory in self.slots), default=0)


def seen(peak: Peak, memory_bytes: int, now_ms: int) -> Peak:
    """The peak with one more measurement, without what is older than `PEAK_MS`."""
    slot = now_ms // SLOT_MS
    kept = [each for each in peak.slots if slot - PEAK_MS // SLOT_MS < each[0] < slot]
    current = max([memory_bytes, *(each[1] for each in peak.slots if each[0] == slot)])
    return Peak((*kept, (slot, current)))


def excess_memory_bytes(queries: tuple[WorkQuery, ...], peaks: Mapping[str, Peak]) -> int:
    """By how much bound work uses, or used within ten minutes, more than it is charged."""
    used = ((query, peaks[query.lease_id].memory_bytes) for query in queries if query.lease_id in peaks)
    return sum(max(0, memory - query.memory_bytes) for query, memory in used)


LOOKS_LEFT = 4
"""How often the machine is looked at, at least, until its memory would be gone."""

LOOK_MS_MIN = 250


def look_ms(before: HostCounters | None, now: HostCounters, usual_ms: int) -> int:
    """When to look again: sooner than usual while memory falls so fast that it would soon be gone."""
    if before is None or now.at_ms <= before.at_ms:
        return usual_ms
    fell = before.memory_available_bytes - now.memory_available_bytes
    if fell <= 0:
        return usual_ms
    gone_ms = now.memory_available_bytes * (now.at_ms - before.at_ms) // fell
    return max(LOOK_MS_MIN, min(usual_ms, gone_ms // LOOKS_LEFT))


RATE_MS = 30_000
"""The time over which what guarded software uses is averaged."""


class Rate(msgspec.Struct, frozen=True, gc=False):
    """Cores that one lease's work uses, as an exponential mean over about `RATE_MS`."""

    cpu_ms: int
    at_ms: int
    millicores: int = 0


def rated(rate: Rate | None, cpu_ms: int, now_ms: int) -> Rate:
    """The mean with one more measurement; a counter that shrank was started again."""
    if rate is None or now_ms <= rate.at_ms:
        return Rate(cpu_ms, now_ms)
    span_ms = now_ms - rate.at_ms
    used = 1000 * max(0, cpu_ms - rate.cpu_ms) // span_ms
    return Rate(cpu_ms, now_ms, rate.millicores + (used - rate.millicores) * min(span_ms, RATE_MS) // RATE_MS)


def view(
    node_id: str,
    settings: QuietSettings,
    assessment: QuietAssessment,
    host: HostStats,
    around: Surroundings,
    ours: OursCounters,
    excess_bytes: int,
    last: Reading | None,
    guarded: dict[str, int] | None = None,
) -> NodeView:
    """What the ledger decides on."""
    data = next((mount for mount in around.mounts if mount.path == around.data_path), None)
    return NodeView(
        node_id=node_id,
        measured_ms=assessment.at_ms,
        state=assessment.state.value,
        score=assessment.quiet_score,
        since_ms=assessment.since_ms,
        totals=Totals(
            cpu_millicores=host.cores_logical * 1000,
            memory_bytes=host.memory_total_bytes,
            disk_bytes=data.free_bytes if data is not None else 0,
            devices=tuple((gpu.name, 1) for gpu in around.gpus),
        ),
        cooldown_until_ms=assessment.cooldown_until_ms,
        always=settings.always,
        reasons=assessment.reasons,
        foreign_memory_bytes=max(0, host.memory_used_bytes - ours.memory_bytes),
        excess_memory_bytes=excess_bytes,
        pressed=everything_pressed(settings, assessment, host, around, ours, last),
        short_of_memory_or_disk=score(settings, assessment.pressures, only=(Group.MEMORY, Group.DISK))
        < settings.busy_from,
        short_of_memory=score(settings, assessment.pressures, only=(Group.MEMORY,)) < settings.busy_from,
        guarded=guarded or {},
    )


def everything_pressed(
    settings: QuietSettings,
    assessment: QuietAssessment,
    host: HostStats,
    around: Surroundings,
    ours: OursCounters,
    last: Reading | None,
) -> dict[str, str]:
    """LEASE-25: each pressed resource with the sentence that says so."""
    found = pressed(settings, assessment, last)
    for mount in around.mounts:
        if mount.disk and mount.free_bytes < settings.disk_reserve_bytes:
            free, reserve = mount.free_bytes >> 20, settings.disk_reserve_bytes >> 20
            found[f"disk:{mount.disk}"] = f"{mount.path} has {free} MiB free (reserve {reserve} MiB)"
    link = pressed_link(host.network)
    if link:
        found["network"] = link
    for gpu in around.gpus:
        others = [str(user.pid) for user in gpu.users if user.pid not in ours.pids]
        if others:
            found[gpu.name] = found["gpu"] = (
                f"{gpu.name} is used by others (processes {', '.join(others[:5])})"
            )
    return found
