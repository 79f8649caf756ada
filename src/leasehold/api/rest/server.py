"""The server about itself: health, readiness, metrics, who the caller is, log levels."""

from __future__ import annotations

from leasehold import __version__
from leasehold.api.endpoint import Call, Nothing, Plain, Table
from leasehold.model.errors import NotReady
from leasehold.wire.server import Health, LogLevel, LogLevelsOut, Ready, SettingsOut, Whoami

table = Table("server")

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@table.endpoint("GET", "/health", verb=None, answer=Health, during_recovery=True, hot=True)
async def get_health(call: Call[None, Nothing, Nothing]) -> Health:
    """The process is there."""
    return Health(status="ok", version=__version__)


@table.endpoint("GET", "/ready", verb=None, answer=Ready, errors=(NotReady,), hot=True)
async def get_ready(call: Call[None, Nothing, Nothing]) -> Ready:
    """Commands are accepted; else 503 with the reason."""
    ready, why_not = call.services.ready()
    if not ready:
        raise NotReady(why_not)
    return Ready(ready=True)


@table.endpoint("GET", "/metrics", verb="stats:read", answer=Plain, media_type=PROMETHEUS)
async def get_metrics(call: Call[None, Nothing, Nothing]) -> Plain:
    """All metrics, in the text format of Prometheus."""
    return Plain(PROMETHEUS, call.services.metrics())


@table.endpoint("GET", "/api/whoami", verb="lease:read", answer=Whoami)
async def whoami(call: Call[None, Nothing, Nothing]) -> Whoami:
    """Who the server takes the caller for."""
    me = call.principal
    return Whoami(
        name=me.name,
        role=me.role,
        verbs=sorted(me.verbs),
        local=me.local,
        pid=me.pid,
        uid=me.uid,
        holder=me.holder,
        token_id=me.token_id,
        tenant=me.tenant,
    )


@table.endpoint("GET", "/api/admin/log-level", verb="admin:log-level", answer=LogLevelsOut)
async def get_log_levels(call: Call[None, Nothing, Nothing]) -> LogLevelsOut:
    """The levels of the loggers."""
    return LogLevelsOut(levels=call.services.logs.levels())


@table.endpoint("PUT", "/api/admin/log-level", verb="admin:log-level", body=LogLevel, answer=LogLevelsOut)
async def set_log_level(call: Call[LogLevel, Nothing, Nothing]) -> LogLevelsOut:
    """Change the level of a logger and those below it, until restart."""
    call.services.logs.set_level(call.body.logger, call.body.level)
    return LogLevelsOut(levels=call.services.logs.levels())


@table.endpoint("GET", "/api/config", verb="config:read", answer=SettingsOut)
async def get_config(call: Call[None, Nothing, Nothing]) -> SettingsOut:
    """What is configured and where each value comes from; what owners set through the API is elsewhere."""
    return call.services.settings()
