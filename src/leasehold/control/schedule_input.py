"""From a schedule on the wire to a record: checked, with defaults filled in (QUEUE-17)."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from leasehold.core import calendar, cron
from leasehold.core.schedule import BODY_BYTES_MAX
from leasehold.model.errors import Invalid
from leasehold.model.owner import Rule
from leasehold.model.principal import Principal
from leasehold.model.schedule import Missed, Overlap, Schedule
from leasehold.wire import schedule as wire
from leasehold.wire.job import JobIn

LABELS_MAX = 15
"""One less than a job may have: the schedule's name is the last."""

LABEL = "schedule"


def checked(principal: Principal, body: wire.ScheduleIn, zone: str, wall_ms: int) -> Schedule:
    """The record, without its id. `zone` is the server's own. Raises Invalid."""
    zone = body.zone or zone
    try:
        calendar.zone_of(zone)
    except ValueError as error:
        raise _invalid("zone", str(error)) from error
    expression, nightly = _when(body)
    return Schedule(
        schedule_id="",
        name=body.name,
        zone=zone,
        body=_encoded(_template(body)),
        holder=principal.acts_as,
        principal=principal.name,
        verbs=tuple(sorted(principal.verbs)),
        created_wall_ms=wall_ms,
        cron=expression,
        nightly=nightly,
        tenant=body.job.tenant or principal.tenant,
        role=principal.role,
        uid=-1 if principal.uid is None else principal.uid,
        missed=Missed(body.missed),
        overlap=Overlap(body.overlap),
        start_within_ms=(body.start_within_sec or 0) * 1000,
        enabled=body.enabled,
        note=body.note,
        changed_wall_ms=wall_ms,
    )


def _when(body: wire.ScheduleIn) -> tuple[str, Rule | None]:
    if (body.cron is None) == (body.nightly is None):
        raise _invalid("cron", f"either cron, {cron.EXAMPLE}, or nightly, like {{'by': '06:00'}}")
    if body.cron is not None:
        try:
            return cron.parse(body.cron).text, None
        except ValueError as error:
            raise _invalid("cron", str(error)) from error
    assert body.nightly is not None
    days = tuple(sorted({calendar.DAYS.index(day) for day in body.nightly.days}))
    return "", Rule(days, _minutes(body.nightly.start), _minutes(body.nightly.by))


def _template(body: wire.ScheduleIn) -> JobIn:
    """The job as it is submitted, but for its times. Raises Invalid for what one run alone can mean."""
    job = body.job
    for field in ("earliest_start_at", "deadline_at"):
        if getattr(job, field) is not None:
            raise _invalid(
                f"job.{field}", "nothing: each run has its own; say `nightly` with `from` and `by`"
            )
    if job.start_anyway_by not in (None, "never"):
        raise _invalid("job.start_anyway_by", "`never`, or nothing: each run has its own")
    if job.after:
        raise _invalid("job.after", "nothing: `overlap` says how runs follow each other")
    if job.key:
        raise _invalid("job.key", "nothing: it is for jobs of one submission")
    if body.nightly is not None and job.start == "now":
        raise _invalid("job.start", "`quiet` or `window`: that is what a nightly run waits for; or use cron")
    if len(job.labels) > LABELS_MAX:
        raise _invalid("job.labels", f"at most {LABELS_MAX}: the schedule's name is added")
    return replace(job, labels={LABEL: body.name, **job.labels})


def _encoded(job: JobIn) -> bytes:
    body = msgspec.json.encode(job)
    if len(body) > BODY_BYTES_MAX:
        raise _invalid(
            "job",
            f"at most {BODY_BYTES_MAX:,} bytes, not {len(body):,}; keep data and long environments in files",
        )
    return body


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _invalid(field: str, expected: str) -> Invalid:
    return Invalid(f"{field}: expected {expected}", field=f"$.{field}", expected=expected)
