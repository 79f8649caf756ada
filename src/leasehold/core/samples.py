"""The numeric fields that history keeps of each metric group, by flat names like `core_pct:3` (SENSE-14).

Counters and constants are left out: a day of one node stays under 15 MB.
"""

from __future__ import annotations

from leasehold.model.addon import RequestFigures
from leasehold.model.quiet import QuietAssessment, QuietState
from leasehold.model.snapshot import ApiStats, HostStats, ProcessStats, Stall

MOUNTS_KEPT = 8
LINKS_KEPT = 8
CORES_KEPT = 64


def _known(fields: dict[str, float | None]) -> dict[str, float]:
    """Without what is not known; large figures whole, small ones to a hundredth."""
    return {name: _short(value) for name, value in fields.items() if value is not None}


def _short(value: float) -> float:
    if isinstance(value, int) or abs(value) >= 1000:
        return int(value)
    return round(value, 1 if abs(value) >= 10 else 2)


def host(stats: HostStats) -> dict[str, float]:
    """The host's fields."""
    fields: dict[str, float | None] = {
        "cpu_pct": stats.cpu_pct,
        "load_1m": stats.load_1m,
        "memory_pct": stats.memory_pct,
        "memory_used_bytes": stats.memory_used_bytes,
        "swap_used_bytes": stats.swap_used_bytes if stats.swap_total_bytes else None,
        "swap_in_bytes_per_sec": stats.swap_in_bytes_per_sec if stats.swap_total_bytes else None,
        "disk_read_bytes_per_sec": stats.disk_read_bytes_per_sec,
        "disk_write_bytes_per_sec": stats.disk_write_bytes_per_sec,
        "on_battery": int(stats.battery.on_battery) if stats.battery else None,
    }
    for resource in ("cpu", "memory", "io"):
        stall: Stall | None = getattr(stats.pressure, resource)
        fields[f"psi_{resource}_some_10s"] = stall.some_10s if stall else None
        fields[f"psi_{resource}_full_10s"] = stall.full_10s if stall and resource != "cpu" else None
    for number, share in enumerate((stats.cpu_per_core_pct or ())[:CORES_KEPT]):
        fields[f"core_pct:{number}"] = round(share)
    for mount in stats.disks[:MOUNTS_KEPT]:
        fields[f"disk_free_pct:{mount.path}"] = mount.free_pct
    for link in stats.network[:LINKS_KEPT]:
        fields[f"rx_bytes_s:{link.name}"] = link.rx_bytes_per_sec
        fields[f"tx_bytes_s:{link.name}"] = link.tx_bytes_per_sec
    for name, degrees in sorted((stats.temperatures_c or {}).items())[:LINKS_KEPT]:
        fields[f"temperature_c:{name}"] = degrees
    for gpu in (stats.gpus or ())[:MOUNTS_KEPT]:
        fields[f"gpu_pct:{gpu.name}"] = gpu.utilisation_pct
        fields[f"gpu_memory_used_bytes:{gpu.name}"] = gpu.memory_used_bytes
    return _known(fields)


def process(stats: ProcessStats) -> dict[str, float]:
    """The server's own process."""
    return _known(
        {
            "rss_bytes": stats.rss_bytes,
            "cpu_pct": stats.cpu_pct,
            "threads": stats.threads,
            "open_files": stats.open_files,
        }
    )


def api(stats: ApiStats) -> dict[str, float]:
    """The server's own requests."""
    return _known(
        {
            "requests": stats.requests,
            "in_flight": stats.in_flight,
            "held": stats.held,
            "requests_per_sec": stats.requests_per_sec,
            "error_pct": stats.error_pct,
            "p50_ms": stats.p50_ms,
            "p95_ms": stats.p95_ms,
            "p99_ms": stats.p99_ms,
        }
    )


ADDON_FIELDS = ("up", "latency_ms", "runtime_dir_bytes", "rps", "in_flight", "error_pct", "p95_ms")
"""What may be asked of any add-on, also where its newest sample lacks it."""


def addon(
    *,
    up: bool,
    latency_ms: int | None,
    folder_bytes: int | None,
    figures: RequestFigures,
    custom: dict[str, float],
) -> dict[str, float]:
    """One add-on: whether it is there, and the numbers that it tells (`custom.` before their names)."""
    fields: dict[str, float | None] = {
        "up": int(up),
        "latency_ms": latency_ms,
        "runtime_dir_bytes": folder_bytes,
        "rps": figures.rps,
        "in_flight": figures.in_flight,
        "error_pct": figures.error_pct,
        "p95_ms": figures.p95_ms,
        **custom,
    }
    return _known(fields)


STATES = {"QUIET": 0, "NORMAL": 1, "BUSY": 2, "PANIC": 3, "UNKNOWN": 4}
"""How a state is stored as a number: higher is busier."""


def quiet(assessment: QuietAssessment) -> dict[str, float]:
    """Score, state and inputs. The mean of `quiet` is the share of time that was QUIET."""
    return _known(
        {
            "quiet_score": assessment.quiet_score,
            "score_raw": assessment.score_raw,
            "state": STATES[assessment.state.value],
            "quiet": None if assessment.quiet_score is None else int(assessment.state is QuietState.QUIET),
            **{name: value for name, value in assessment.inputs.items() if name not in ELSEWHERE},
        }
    )


def with_share(fields: dict[str, float]) -> dict[str, float]:
    """The fields of a sample of `quiet` with `quiet` itself, which those of earlier versions lack."""
    state = fields.get("state", STATES["UNKNOWN"])
    if "quiet" in fields or state == STATES["UNKNOWN"]:
        return fields
    return {**fields, "quiet": int(state == STATES["QUIET"])}


ELSEWHERE = frozenset(
    [
        "p95_ms",
        "in_flight",
        "rps",
        "error_pct",
        "mem_pct",
        "psi_memory",
        "disk_free_pct",
        "owner_present",
        "on_battery",
        "temperature_c",
    ]
)
"""Inputs that stand among the fields of their own group already, or are no measurement."""
