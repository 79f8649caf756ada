"""`/api/schedules`: jobs that are submitted again and again (QUEUE-17)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.schedule import ScheduleId, ScheduleIn, ScheduleOut, Schedules

table = Table("schedules")

ONE = "/api/schedules/{schedule_id}"
CHANGES = (errors.NotPermitted, errors.NotFound, *WRITES)
MAKES = (errors.NotPermitted, errors.NotFound, errors.NeverFits, errors.Conflict, errors.Overloaded, *WRITES)


class SchedulePath(msgspec.Struct, frozen=True):
    schedule_id: ScheduleId


@table.endpoint("GET", "/api/schedules", verb="schedule:read", answer=Schedules)
async def list_schedules(call: Call[None, Nothing, Nothing]) -> Schedules:
    """All schedules by name, each with its next run and what came of its last one."""
    return await call.services.schedules.schedules(call.principal)


@table.endpoint(
    "POST",
    "/api/schedules",
    verb="schedule:set",
    body=ScheduleIn,
    verbatim=True,
    answer=ScheduleOut,
    errors=MAKES,
    lane="normal",
)
async def add_schedule(call: Call[ScheduleIn, Nothing, Nothing]) -> ScheduleOut:
    """Submit a job again and again; with `dry_run` only tell when."""
    made = await call.services.schedules.create(call.principal, call.body)
    call.names(schedule_id=made.schedule_id)
    return made


@table.endpoint(
    "GET",
    ONE,
    verb="schedule:read",
    path_params=SchedulePath,
    answer=ScheduleOut,
    errors=(errors.NotFound,),
)
async def get_schedule(call: Call[None, Nothing, SchedulePath]) -> ScheduleOut:
    """One schedule, with its next runs and what came of its last ones."""
    return await call.services.schedules.get(call.principal, call.path.schedule_id)


@table.endpoint(
    "PUT",
    ONE,
    verb="schedule:set",
    path_params=SchedulePath,
    body=ScheduleIn,
    verbatim=True,
    answer=ScheduleOut,
    errors=MAKES,
    lane="normal",
)
async def set_schedule(call: Call[ScheduleIn, Nothing, SchedulePath]) -> ScheduleOut:
    """Put another schedule in the place of this one; its runs are remembered."""
    return await call.services.schedules.replace(call.principal, call.path.schedule_id, call.body)


@table.endpoint("DELETE", ONE, verb="schedule:set", path_params=SchedulePath, errors=CHANGES, lane="normal")
async def remove_schedule(call: Call[None, Nothing, SchedulePath]) -> None:
    """Submit nothing any more; jobs that it has submitted go on."""
    return await call.services.schedules.remove(call.principal, call.path.schedule_id)


@table.endpoint(
    "POST",
    f"{ONE}/pause",
    verb="schedule:set",
    path_params=SchedulePath,
    answer=ScheduleOut,
    errors=CHANGES,
    lane="normal",
)
async def pause_schedule(call: Call[None, Nothing, SchedulePath]) -> ScheduleOut:
    """Submit nothing until it is resumed."""
    return await call.services.schedules.pause(call.principal, call.path.schedule_id)


@table.endpoint(
    "POST",
    f"{ONE}/resume",
    verb="schedule:set",
    path_params=SchedulePath,
    answer=ScheduleOut,
    errors=(errors.Conflict, *CHANGES),
    lane="normal",
)
async def resume_schedule(call: Call[None, Nothing, SchedulePath]) -> ScheduleOut:
    """Go on with the next run; nothing is made up for."""
    return await call.services.schedules.resume(call.principal, call.path.schedule_id)


@table.endpoint(
    "POST",
    f"{ONE}/run",
    verb="schedule:set",
    path_params=SchedulePath,
    answer=ScheduleOut,
    errors=MAKES,
    lane="normal",
)
async def run_schedule(call: Call[None, Nothing, SchedulePath]) -> ScheduleOut:
    """Submit its job now, out of turn."""
    return await call.services.schedules.run(call.principal, call.path.schedule_id)
