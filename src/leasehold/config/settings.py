"""The record of all settings. The defaults suit a small NUC and a workstation alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.model.quiet import QuietSettings
from leasehold.model.settings import (
    AddonSettings,
    AlertSettings,
    BackupSettings,
    CapacitySettings,
    ForecastSettings,
    HistorySettings,
    LeaseSettings,
    LimitSettings,
    LineRules,
    LineSettings,
    NotificationSettings,
    PolicySettings,
    QueueSettings,
)

Level = Literal["debug", "info", "warning", "error", "critical"]
Preset = Literal["auto", "desktop", "server", "always"]


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`<data>/log/leasehold.log`, and stderr. `levels` are those of single loggers and what is below them."""

    level: Level = "info"
    levels: dict[str, Level] = msgspec.field(default_factory=dict)
    format: Literal["auto", "json", "pretty"] = "auto"
    stderr: bool = True
    file_bytes_max: Annotated[int, Meta(ge=64 << 10, le=1 << 30)] = 10 << 20
    files_kept: Annotated[int, Meta(ge=1, le=100)] = 5


HostName = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9:._-]+$")]


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS on the address `host` where that is not loopback. `names`: what else the machine is called."""

    enabled: bool = True
    port: Annotated[int, Meta(ge=0, le=65535)] = 7118
    names: Annotated[tuple[HostName, ...], Meta(max_length=32)] = ()


class GuardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`container_sockets`: where Docker or Podman listens; none: `DOCKER_HOST`, else the usual places."""

    container_sockets: Annotated[
        tuple[Annotated[str, Meta(max_length=107, pattern=r"^/")], ...], Meta(max_length=8)
    ] = ()


class RoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role beside the built-in ones: what it may do."""

    verbs: Annotated[tuple[str, ...], Meta(max_length=128)]


class IdentitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of local users of the Unix socket. `groups`: the role of those who are in a group of the system.

    `tenants`: whose their work is: by a user's name, or by a group's with `@` before it; a user's own comes
    first, then groups by name. Everybody else is of tenant `default`.
    """

    groups: dict[str, str] = msgspec.field(default_factory=dict)
    tenants: Annotated[dict[str, str], Meta(max_length=1_000)] = msgspec.field(default_factory=dict)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of everything that can be set.

    `host`: the address to listen on. Where it is not loopback, `port` is on loopback all the same, and TLS on
    `tls.port` of that address. `port`: 0 takes any free one. `data`: the folder of everything that the server
    keeps. `run_dir`: where the socket for all users of the machine stands, made
    when run as root. `preset`: `auto` takes `desktop` where a graphical session or a battery is found, else
    `server`; `always` turns the quiet gate off.
    """

    host: Annotated[str, Meta(min_length=1, max_length=64)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 7117
    data: Annotated[str, Meta(pattern=r"^[/~]")] = "~/.local/share/leasehold"
    run_dir: Annotated[str, Meta(pattern=r"^/")] = "/run/leasehold"
    preset: Preset = "auto"
    tls: TlsSettings = msgspec.field(default_factory=TlsSettings)
    roles: dict[str, RoleSettings] = msgspec.field(default_factory=dict)
    identity: IdentitySettings = msgspec.field(default_factory=IdentitySettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)
    capacity: CapacitySettings = msgspec.field(default_factory=CapacitySettings)
    lease: LeaseSettings = msgspec.field(default_factory=LeaseSettings)
    line: LineRules = msgspec.field(default_factory=LineRules)
    queue: QueueSettings = msgspec.field(default_factory=QueueSettings)
    limits: LimitSettings = msgspec.field(default_factory=LimitSettings)
    addons: AddonSettings = msgspec.field(default_factory=AddonSettings)
    alerts: AlertSettings = msgspec.field(default_factory=AlertSettings)
    guard: GuardSettings = msgspec.field(default_factory=GuardSettings)
    backup: BackupSettings = msgspec.field(default_factory=BackupSettings)
    notifications: NotificationSettings = msgspec.field(default_factory=NotificationSettings)
    quiet: QuietSettings = msgspec.field(default_factory=QuietSettings)
    history: HistorySettings = msgspec.field(default_factory=HistorySettings)
    forecast: ForecastSettings = msgspec.field(default_factory=ForecastSettings)

    @property
    def data_path(self) -> Path:
        """The data folder."""
        return Path(self.data).expanduser()

    @property
    def backup_path(self) -> Path:
        """The folder of backups."""
        return Path(self.backup.dir).expanduser() if self.backup.dir else self.data_path / "backups"

    @property
    def policy(self) -> PolicySettings:
        """The part that the decisions of the ledger read."""
        line = LineSettings(**msgspec.structs.asdict(self.line))
        return PolicySettings(self.capacity, self.lease, line, self.limits, self.queue)


FIXED = (
    "host",
    "port",
    "data",
    "run_dir",
    "tls.enabled",
    "tls.port",
    "log.format",
    "log.stderr",
    "log.file_bytes_max",
    "log.files_kept",
    "lease.ended_shown",
    "guard.container_sockets",
    "history.sample_sec",
    "forecast.half_life_days",
)
"""Settings that take a restart; all others are taken up on SIGHUP."""
