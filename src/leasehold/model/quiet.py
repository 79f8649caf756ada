"""The quiet assessment: its states, its settings, what it reads and what it says (SENSE-9…13)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class QuietState(StrEnum):
    QUIET = "QUIET"
    NORMAL = "NORMAL"
    BUSY = "BUSY"
    PANIC = "PANIC"
    UNKNOWN = "UNKNOWN"


class Group(StrEnum):
    """Inputs of one group stand for one resource: the greatest of them is the group's pressure."""

    CPU = "cpu"
    MEMORY = "memory"
    IO = "io"
    DISK = "disk"
    API = "api"
    DESKTOP = "desktop"


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input presses 0 at `zero` and fully at `one`; with `one` below `zero` less is worse (free disk)."""

    group: Group
    zero: float
    one: float
    unit: str = "%"
    label: str = ""
    enabled: bool = True


INPUTS: dict[str, Endpoints] = {
    "foreign_cpu_avg_10s": Endpoints(Group.CPU, 10, 90, "%", "CPU used by others over 10 s"),
    "foreign_cpu_avg_2m": Endpoints(Group.CPU, 10, 90, "%", "CPU used by others over 2 min"),
    "foreign_runnable_per_core": Endpoints(Group.CPU, 0.2, 1.2, "", "runnable tasks of others per core"),
    "psi_cpu": Endpoints(Group.CPU, 10, 60, "%", "time that others wait for a CPU"),
    "foreign_mem_pct": Endpoints(Group.MEMORY, 70, 95, "%", "memory used by others"),
    "mem_pct": Endpoints(Group.MEMORY, 92, 98, "%", "memory used"),
    "mem_left_mb": Endpoints(Group.MEMORY, 128, 48, " MB", "memory left"),
    "swap_in_mb_s": Endpoints(Group.MEMORY, 1, 20, " MB/s", "swap-in"),
    "psi_memory": Endpoints(Group.MEMORY, 5, 40, "%", "time that everything waits for memory"),
    "psi_io": Endpoints(Group.IO, 10, 75, "%", "time that others wait for a disk"),
    "disk_free_pct": Endpoints(Group.DISK, 15, 3, "%", "free disk space"),
    "p95_ms": Endpoints(Group.API, 50, 800, " ms", "p95 of the busiest application"),
    "in_flight": Endpoints(Group.API, 1, 20, "", "requests in flight at the busiest application"),
    "rps": Endpoints(Group.API, 0.5, 25, "/s", "requests at the busiest application"),
    "error_pct": Endpoints(Group.API, 1, 20, "%", "failed requests of the worst application"),
    "owner_present": Endpoints(Group.DESKTOP, 0, 1, "", "owner at the console", enabled=False),
    "on_battery": Endpoints(Group.DESKTOP, 0, 1, "", "running on battery", enabled=False),
    "temperature_c": Endpoints(Group.DESKTOP, 80, 95, " °C", "temperature", enabled=False),
    "foreign_gpu_pct": Endpoints(Group.DESKTOP, 20, 80, "%", "GPU used by others", enabled=False),
}
"""SENSE-9's inputs, by the name under which each is configured and shown. Why these: docs/adr/0010."""

WEIGHTS_PCT: dict[Group, int] = {
    Group.CPU: 65,
    Group.MEMORY: 90,
    Group.IO: 65,
    Group.DISK: 90,
    Group.API: 50,
    Group.DESKTOP: 30,
}


class QuietSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the assessment depends on.

    Construct through `checked`, which refuses what makes no sense.

    `quiet_from`, `normal_from`, `busy_from` are the least scores of those states; below `busy_from` is PANIC.
    """

    preset: str = "server"
    inputs: dict[str, Endpoints] = msgspec.field(default_factory=INPUTS.copy)
    weights_pct: dict[Group, int] = msgspec.field(default_factory=WEIGHTS_PCT.copy)
    quiet_from: int = 80
    normal_from: int = 50
    busy_from: int = 30
    margin: int = 5
    busier_after_ms: int = 4_000
    quieter_after_ms: int = 10_000
    panic_long_ms: int = 15_000
    cooldown_ms: int = 60_000
    stale_after_ms: int = 30_000
    short_mean_ms: int = 10_000
    long_mean_ms: int = 120_000
    disk_reserve_bytes: int = 1 << 30

    @property
    def always(self) -> bool:
        """Whether the quiet gate and the curve are off (preset `always`)."""
        return self.preset == "always"


def checked(settings: QuietSettings) -> QuietSettings:
    """The settings themselves, or ValueError with the field and what it must be."""
    if not 0 < settings.busy_from < settings.normal_from < settings.quiet_from <= 100:
        raise ValueError(
            "busy_from, normal_from, quiet_from: expected 0 < busy_from < normal_from < quiet_from ≤ 100, "
            f"got {settings.busy_from}, {settings.normal_from}, {settings.quiet_from}"
        )
    if not 0 <= settings.margin <= 100 - settings.quiet_from:
        raise ValueError(f"margin: expected 0 to {100 - settings.quiet_from} (quiet_from + margin ≤ 100)")
    for name, ends in settings.inputs.items():
        if name not in INPUTS:
            raise ValueError(f"inputs.{name}: expected one of {', '.join(sorted(INPUTS))}")
        if ends.zero == ends.one:
            raise ValueError(f"inputs.{name}: zero and one must differ, both are {ends.zero}")
    for group, weight in settings.weights_pct.items():
        if not 0 <= weight <= 100:
            raise ValueError(f"weights_pct.{group}: expected 0 to 100, got {weight}")
    if settings.long_mean_ms < settings.short_mean_ms:
        raise ValueError("long_mean_ms: expected at least short_mean_ms")
    return settings


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one tick measured. Deltas are since the tick before; None is "not known".

    CPU times are milliseconds summed over all cores, so `cpu_total_ms` is about cores × interval. Percentages
    are basis points. `span_ms` is how long the tick was; the stalls are shares of it. Where the bytes are
    known, only the foreign share of them counts of the io stall (taken over the window: bytes and stalls of
    one write fall into different ticks). `runnable_foreign_milli` may be below nothing in one tick, its mean
    may not. `*_note` name the lease behind a figure that counts whoever causes it, `application_notes` the
    application behind each input of the group `api`, by the input's name.
    """

    at_ms: int
    span_ms: int
    cores: int
    cpu_total_ms: int
    cpu_busy_ms: int
    cpu_foreign_ms: int
    runnable_foreign_milli: int | None = None
    psi_cpu_bp: int | None = None
    psi_memory_bp: int | None = None
    psi_io_bp: int | None = None
    io_foreign_bytes: int | None = None
    io_all_bytes: int | None = None
    memory_bp: int | None = None
    memory_foreign_bp: int | None = None
    memory_left_bytes: int | None = None
    swap_in_bytes_per_s: int | None = None
    disk_free_bp: int | None = None
    p95_ms: int | None = None
    in_flight: int | None = None
    requests_per_1000_s: int | None = None
    errors_bp: int | None = None
    owner_present: bool | None = None
    on_battery: bool | None = None
    temperature_c: int | None = None
    gpu_foreign_bp: int | None = None
    memory_note: str = ""
    disk_note: str = ""
    application_notes: dict[str, str] = {}


class QuietAssessment(msgspec.Struct, frozen=True):
    """SENSE-12. `quiet_score` is None when UNKNOWN; `since_ms` and `at_ms` are on the ledger's clock.

    `score_raw` is the score of this instant before hysteresis and preset. `pressures` maps each input to
    0–10,000.
    """

    at_ms: int
    state: QuietState
    quiet_score: int | None
    score_raw: int | None
    reasons: tuple[str, ...]
    inputs: dict[str, float | None]
    pressures: dict[str, int]
    since_ms: int
    cooldown_until_ms: int
    preset: str


def _with(**changes: dict[str, float | bool]) -> dict[str, Endpoints]:
    """The default inputs with some fields of some of them changed."""
    return INPUTS | {
        name: msgspec.structs.replace(INPUTS[name], **fields) for name, fields in changes.items()
    }


DESKTOP = QuietSettings(
    preset="desktop",
    inputs=_with(
        foreign_cpu_avg_10s={"zero": 30, "one": 95},
        foreign_cpu_avg_2m={"zero": 20, "one": 90},
        foreign_runnable_per_core={"zero": 0.5, "one": 1.3},
        psi_cpu={"zero": 15, "one": 65},
        psi_io={"zero": 20, "one": 70},
        on_battery={"enabled": True},
        temperature_c={"enabled": True},
        foreign_gpu_pct={"enabled": True},
    ),
)
"""For programs that people use: bursts of seconds don't count. Tuned on tests/fixtures/loads."""

PRESETS: dict[str, QuietSettings] = {
    "server": QuietSettings(),
    "desktop": DESKTOP,
    "always": QuietSettings(preset="always"),
}
"""SENSE-13. `always` measures and shows everything, and calls the machine quiet whatever it sees."""
