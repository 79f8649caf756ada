"""Messages about the server itself: health, readiness, who the caller is, log levels, what is configured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input

Level = Literal["debug", "info", "warning", "error", "critical"]


class Health(msgspec.Struct):
    """`GET /health`: the process answers. It says nothing about whether commands are accepted."""

    status: Literal["ok"]
    version: str


class Ready(msgspec.Struct):
    """`GET /ready`: commands are accepted. Where they are not, the answer is 503 and says why."""

    ready: Literal[True]


class Whoami(msgspec.Struct, omit_defaults=True):
    """`GET /api/whoami`: who the server takes the caller for, and what that one may do.

    `holder`: whom its leases are charged to, where that is another name; `token_id`: by which token.
    `tenant`: whose work its work is.
    """

    name: str
    role: str
    verbs: list[str]
    local: bool = False
    pid: int | None = None
    uid: int | None = None
    holder: str = ""
    token_id: str = ""
    tenant: str = "default"


class LogLevel(Input, frozen=True):
    """`PUT /api/admin/log-level`: the level of one logger and those below it, until restart."""

    level: Level
    logger: Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = "leasehold"


class LogLevelsOut(msgspec.Struct):
    """The level of each logger that has one of its own."""

    levels: dict[str, str]


class SettingOut(msgspec.Struct):
    """One setting: its dotted key, its value, where that comes from, and whether a change takes a restart.

    `origin` is `default`, `file`, or the name of a flag or variable.
    """

    key: str
    value: Any
    origin: str
    restart: bool


class SettingsOut(msgspec.Struct):
    """`GET /api/config`: what is configured, as it is in force; secrets are left out.

    `file` is the path of the configuration file, "" where there is none.
    """

    file: str
    settings: list[SettingOut]
