"""Policy settings: frozen versions, made by `config` and handed in. Units stand in the names."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.model.priority import Priority


class CapacitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LEASE-6. `curve` lists (score, share in basis points), rising; between its points it is linear."""

    headroom_pct: int = 5
    reserve_units: int = 5
    curve: tuple[tuple[int, int], ...] = ((0, 0), (50, 5_000), (80, 10_000), (100, 10_000))
    memory_reserve_bytes: int = 256 << 20
    disk_reserve_bytes: int = 1 << 30
    max_per_node: int = 256
    max_per_holder_per_node: int = 64
    class_units: dict[str, int] = msgspec.field(default_factory=lambda: {"LOW": 10, "NORMAL": 30, "HIGH": 60})
    cpu_heavy_at_once: int = 0  # 0: half the cores and at least 2
    network_heavy_at_once: int = 2
    disk_write_heavy_at_once: int = 1


class LeaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LEASE-7, 10, 13, 23. `enforce`: what becomes of a wish that the charge be a limit.

    `allow`: it is one where that is asked for; `off`: never; `always`: for everything that is bound.
    """

    ttl_ms: int = 30_000
    offer_ms: int = 5_000
    offer_refresh_ms: int = 2_000
    grace_ms: int = 10_000
    grace_max_ms: int = 600_000
    ended_shown: int = 200
    enforce: Literal["allow", "off", "always"] = "allow"


class LineRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the configuration says of the line (QUEUE-6, 7 and LEASE-7).

    Lane weights and offsets go by priority, URGENT first.
    """

    weights: tuple[int, int, int, int, int] = (16, 8, 4, 2, 1)
    offsets_ms: tuple[int, int, int, int, int] = (300_000, 3_600_000, 21_600_000, 86_400_000, 259_200_000)
    strict: tuple[Priority, ...] = ()
    holder_weights: dict[str, int] = {}
    looked_at: int = 256
    waiters_max: int = 10_000
    waiters_per_holder_max: int = 1_000
    ticket_ms: int = 600_000
    reserve_slack_ms: int = 2_000


class LineSettings(LineRules, frozen=True, forbid_unknown_fields=True):
    """The rules of the line with the weights of tenants, which stand in the store alone (OPS-7)."""

    tenant_weights: dict[str, int] = {}


class QueueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """QUEUE-3, 4, 10, 14. `bytes_max` is over the payloads of live jobs; `demand_ms` is how long a poll tells
    that its worker is there; `runner_at_once` 0: as many commands at a time as have room.
    """

    jobs_max: int = 2_000_000
    bytes_max: int = 8 << 30
    offer_ms: int = 30_000
    demand_ms: int = 60_000
    kept_days: int = 30
    runner_at_once: int = 0


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LEASE-4, LEASE-8, LEASE-27, OPS-31."""

    request_burst: int = 10
    request_per_minute: int = 60
    bulk_burst: int = 50
    bulk_per_minute: int = 3_000
    idempotency_ms: int = 86_400_000
    idempotency_per_principal: int = 10_000
    commands_waiting: int = 10_000
    bytes_waiting: int = 64 << 20
    semaphores_max: int = 10_000


class AddonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SENSE-21. `allowed_hosts`: where add-ons may answer, as addresses, networks, or `localhost`.

    Names are looked up, and every address of them has to be in one of these.
    """

    allowed_hosts: tuple[str, ...] = ("127.0.0.0/8", "::1")


class HistorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SENSE-14…16: how often the figures are written, and how long they are kept: as they were sampled,
    rolled up to minutes, rolled up to hours; and quiet streaks.
    """

    sample_sec: int = 10
    raw_days: int = 7
    minute_days: int = 30
    hour_days: int = 730
    streak_days: int = 730


class ForecastSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SENSE-18, 19. `half_life_days`: after so long a week counts for half. `quiet_from_pct`: from this
    probability on a time is a forecast window, if it lasts `window_min_sec` at least.
    """

    half_life_days: int = 28
    quiet_from_pct: int = 80
    window_min_sec: int = 1_800


class BackupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OPS-15. `dir` "": `backups` in the data folder. `at`: when each day, on this machine's clocks.

    `enabled` is for those by schedule alone. `samples`: the history of measurements goes along, which may be
    some hundred megabytes each time.
    """

    dir: str = ""
    enabled: bool = True
    at: str = "03:00"
    keep: int = 7
    samples: bool = False


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OPS-13. `check_ms`: how often rules are looked at; nothing fires for `start_delay_ms` after a start.

    What each rule fires at is set through the API, and stands in the store.
    """

    check_ms: Annotated[int, Meta(ge=200, le=600_000)] = 10_000
    start_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 30_000


class NotificationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OPS-14. `allowed_hosts`: addresses, networks or `localhost` that notifications may go to although they
    are not public, and over plain http. `page_url`: where people reach the page, for links in e-mail and
    chats. `contact`: whom a push service may write to, `mailto:` or `https:`.
    """

    allowed_hosts: tuple[str, ...] = ()
    page_url: str = ""
    contact: str = ""


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the decisions of the ledger read. One frozen version at a time."""

    capacity: CapacitySettings = CapacitySettings()
    lease: LeaseSettings = LeaseSettings()
    line: LineSettings = LineSettings()
    limits: LimitSettings = LimitSettings()
    queue: QueueSettings = QueueSettings()
