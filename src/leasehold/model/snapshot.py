"""What the collectors saw of a machine: raw counters, and the figures derived from two readings (SENSE-1…4).

A figure that the platform lacks is None, never zero. Percentages run 0–100; sizes are bytes; `_ms` are
milliseconds.
"""

from __future__ import annotations

import msgspec


class Stall(msgspec.Struct, frozen=True, gc=False):
    """One resource's stall figures: share of time (percent) in which some, or all, work stood still.

    `some_us` and `full_us` are the kernel's running totals, from which a mean over any span can be had.
    """

    some_10s: float
    some_60s: float
    full_10s: float | None = None
    full_60s: float | None = None
    some_us: int = 0
    full_us: int = 0


class Pressure(msgspec.Struct, frozen=True, gc=False):
    """The kernel's pressure-stall information; None where the kernel has none."""

    cpu: Stall | None = None
    memory: Stall | None = None
    io: Stall | None = None


class Mount(msgspec.Struct, frozen=True, gc=False):
    """One file system.

    `free_bytes` is what an ordinary user may still write; `free_pct` is free ÷ (used + free), as df has it.
    """

    path: str
    disk: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    free_pct: float


class Link(msgspec.Struct, frozen=True, gc=False):
    """One network interface's counters since boot.

    `speed_bps` (bits per second) is None where it is not known.
    """

    name: str
    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    speed_bps: int | None = None


class LinkStats(msgspec.Struct, frozen=True, gc=False):
    """One interface with its rates; None until there is a baseline."""

    name: str
    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_bytes_per_sec: float | None = None
    tx_bytes_per_sec: float | None = None
    rx_packets_per_sec: float | None = None
    tx_packets_per_sec: float | None = None
    speed_bps: int | None = None


class Battery(msgspec.Struct, frozen=True, gc=False):
    """`percent` is None where only the mains adapter is visible."""

    on_battery: bool
    percent: float | None = None


class GpuUser(msgspec.Struct, frozen=True, gc=False):
    """One process on a device. `memory_bytes` is None where the driver does not tell."""

    pid: int
    memory_bytes: int | None = None


class Gpu(msgspec.Struct, frozen=True, gc=False):
    """One accelerator. `name` is how a lease asks for it (`gpu:0`)."""

    name: str
    model: str
    utilisation_pct: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    users: tuple[GpuUser, ...] = ()


class Surroundings(msgspec.Struct, frozen=True):
    """What changes slowly, read every half minute. `data_path` is the mount that holds the data folder."""

    mounts: tuple[Mount, ...] = ()
    data_path: str = "/"
    link_speeds_bps: dict[str, int] = {}
    temperatures_c: dict[str, float] = {}
    battery: Battery | None = None
    gpus: tuple[Gpu, ...] = ()
    cores_physical: int | None = None


class HostCounters(msgspec.Struct, frozen=True):
    """One raw reading. Counters grow since boot; `at_ms` is the ledger's clock at the reading.

    `cores` holds (busy, total) milliseconds per logical core. `runnable` counts threads that run or want to,
    without the reader. `memory_available_bytes` counts a ZFS cache as available. Disk counters sum over whole
    disks, not partitions.
    """

    at_ms: int
    cpu_busy_ms: int
    cpu_total_ms: int
    cores: tuple[tuple[int, int], ...]
    runnable: int | None
    load: tuple[float, float, float] | None
    memory_total_bytes: int
    memory_available_bytes: int
    memory_free_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    swapped_in_bytes: int | None
    swapped_out_bytes: int | None
    pressure: Pressure
    disk_read_bytes: int | None
    disk_written_bytes: int | None
    links: tuple[Link, ...]
    boot_wall_ms: int
    uptime_ms: int


class HostStats(msgspec.Struct, frozen=True):
    """SENSE-2: the host as people and programs read it. Rates are None until there are two readings."""

    cpu_pct: float | None
    cpu_per_core_pct: tuple[float, ...] | None
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    cores_logical: int
    cores_physical: int | None
    memory_total_bytes: int
    memory_available_bytes: int
    memory_used_bytes: int
    memory_free_bytes: int
    memory_pct: float
    swap_total_bytes: int
    swap_used_bytes: int
    swap_in_bytes_per_sec: float | None
    swap_out_bytes_per_sec: float | None
    disks: tuple[Mount, ...]
    disk_read_bytes_per_sec: float | None
    disk_write_bytes_per_sec: float | None
    network: tuple[LinkStats, ...]
    boot_time_ms: int
    uptime_sec: int
    pressure: Pressure
    temperatures_c: dict[str, float] | None
    battery: Battery | None
    gpus: tuple[Gpu, ...] | None


class ProcessStats(msgspec.Struct, frozen=True, gc=False):
    """SENSE-3: the server's own process. `cpu_pct` is of one core, None until there is a baseline."""

    rss_bytes: int
    cpu_ms: int
    threads: int
    open_files: int | None
    cpu_pct: float | None = None


class RouteStats(msgspec.Struct, frozen=True, gc=False):
    """One route by its template, since start."""

    route: str
    count: int
    errors: int
    mean_ms: float


class ApiStats(msgspec.Struct, frozen=True):
    """SENSE-4.

    Rates and percentiles are of the last 60 s; the percentiles are upper bounds of log-spaced buckets (± 19
    %).

    `errors` are answers of 5xx, `client_errors` of 4xx. `held` calls wait on purpose; they stand in no
    percentile.
    """

    requests: int
    in_flight: int
    held: int
    requests_per_sec: float
    error_pct: float
    client_error_pct: float
    errors: int
    client_errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    routes: tuple[RouteStats, ...] = ()
