"""Add-ons: who has registered, and what is seen of them (SENSE-5, 21, 22)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Lifecycle(StrEnum):
    """How far an add-on has come: each word holds what the one before it says.

    installed: registered, and disabled. enabled: allowed, and not heard of yet. loaded: its last probe
    answered (one without an address: has told figures lately). error: it did not.
    """

    INSTALLED = "installed"
    ENABLED = "enabled"
    LOADED = "loaded"
    ERROR = "error"


class Addon(msgspec.Struct, frozen=True, gc=False):
    """The durable record. `addon_id` is the holder in whose name it asks for leases.

    `base_url` is where it answers ("" where it does not), without a slash at its end; `runtime_dir` the
    folder that it works in, or "".
    """

    addon_id: str
    name: str
    version: str
    at_wall_ms: int
    by: str
    base_url: str = ""
    runtime_dir: str = ""
    enabled: bool = True


class RequestFigures(msgspec.Struct, frozen=True, gc=False):
    """What an application says of its own requests; None is "not told".

    `rps`, `error_pct` (answers of 5xx) and `p95_ms` are of the last minute, `in_flight` is of now.
    """

    rps: float | None = None
    in_flight: float | None = None
    error_pct: float | None = None
    p95_ms: float | None = None

    @property
    def is_empty(self) -> bool:
        return self.rps is self.in_flight is self.error_pct is self.p95_ms is None


class Worst(msgspec.Struct, frozen=True, gc=False):
    """The greatest of each figure over all applications, as integers; None where nobody told it.

    `notes` names the application behind each, by the input's name.
    """

    p95_ms: int | None = None
    in_flight: int | None = None
    requests_per_1000_s: int | None = None
    errors_bp: int | None = None
    notes: dict[str, str] = {}


NOBODY = Worst()


class FolderSize(msgspec.Struct, frozen=True, gc=False):
    """What a walk found. `stopped` says why it ended early, "" where it saw everything it may read.

    `disk_bytes` is what the files take on their disk. `unread` counts the folders that could not be read.
    """

    disk_bytes: int
    entries: int
    stopped: str = ""
    unread: int = 0
