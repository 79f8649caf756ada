"""Messages of `/api/addons`, and an add-on's part of `/api/system-stats` (SENSE-5, 21, 22)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.model.addon import RequestFigures
from leasehold.wire.lease import Input, Name, Text

AddonId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]*$",
        description="The name under which it asks for leases (`addon_id`); not `errors`",
    ),
]
Shown = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
Leaf = float | int | bool | Text | None
Leaves = Annotated[list[Leaf], Meta(max_length=256)]
Named = Annotated[dict[Name, Leaf], Meta(max_length=256)]
Custom = Annotated[dict[Name, Leaf | Leaves | Named], Meta(max_length=256)]
Lifecycle = Literal["installed", "enabled", "loaded", "error"]
HealthStatus = Literal["unknown", "ok", "error"]


class AddonIn(Input, frozen=True):
    """`POST /api/addons`: register an add-on, or say what has changed of it.

    `base_url` is where it answers `GET /health` and, if it likes, `GET /api/addons/{id}/stats`; only where
    `addons.allowed_hosts` lets it be. `runtime_dir` is the folder that it works in, which must be there.
    """

    id: AddonId
    name: Shown = ""
    version: Shown = ""
    base_url: Annotated[str, Meta(max_length=512)] | None = None
    runtime_dir: Annotated[str, Meta(max_length=4096)] | None = None


class RequestsIn(Input, frozen=True):
    """What an application says of its own requests: of the last minute, `in_flight` of now."""

    rps: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    in_flight: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    error_pct: Annotated[float, Meta(ge=0, le=100)] | None = None
    p95_ms: Annotated[float, Meta(ge=0, le=3_600_000)] | None = None


class AddonStatsIn(Input, frozen=True):
    """`POST /api/addons/{id}/stats`: its figures as of now; they count for 30 s.

    `requests` feed quietness. `custom` is whatever else is to be seen, at most 64 KiB of it; history keeps
    its numbers.
    """

    requests: RequestsIn | None = None
    custom: Custom = msgspec.field(default_factory=dict)


class AddonHealthOut(msgspec.Struct):
    """The last probe. `unknown` before the first, and where disabled; a code stays until one succeeds."""

    status: HealthStatus
    last_checked: str | None = None
    last_ok: str | None = None
    error_code: str | None = None
    error: str | None = None
    latency_ms: int | None = None


class AddonFolderOut(msgspec.Struct):
    """The last walk of the runtime folder. `note` says where it ended early, or could not read everything."""

    bytes: int
    entries: int
    complete: bool
    measured_at: str
    note: str = ""


class AddonStatsSnapshot(msgspec.Struct):
    """What is seen of one add-on (SENSE-5).

    `requests_count`: whether `requests` are fresh, so that they feed quietness. `errors` goes by what failed:
    health, stats, folder.
    """

    id: str
    name: str
    version: str
    lifecycle: Lifecycle
    health: AddonHealthOut
    runtime_dir_bytes: int | None = None
    folder: AddonFolderOut | None = None
    requests: RequestFigures | None = None
    requests_count: bool = False
    told_at: str | None = None
    custom: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    errors: dict[str, str] = {}


class AddonOut(msgspec.Struct):
    """A registered add-on. `stats` is null in lists."""

    id: str
    name: str
    version: str
    enabled: bool
    lifecycle: Lifecycle
    registered_at: str
    by: str
    base_url: str | None = None
    runtime_dir: str | None = None
    error: str | None = None
    stats: AddonStatsSnapshot | None = None


class AddonList(msgspec.Struct):
    """`GET /api/addons`, by id."""

    addons: list[AddonOut]


class AddonErrorOut(msgspec.Struct):
    """One thing that is wrong with an add-on. `source` is health, stats or folder; `since` when it began."""

    id: str
    source: Literal["health", "stats", "folder"]
    code: str
    sentence: str
    since: str


class AddonErrors(msgspec.Struct):
    """`GET /api/addons/errors`, by id and source; empty where all is well."""

    errors: list[AddonErrorOut]
