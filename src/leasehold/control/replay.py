"""What a data folder remembers, as a history that can be replayed (QUEUE-18).

Leases and jobs that have ended, with what they asked and how long they took; the measured state of the
machine; the sizes of semaphores. Left aside are: guarded software, leases of jobs (the jobs stand for them),
calls that gave up waiting, and what the owner had blocked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from leasehold.control.codec import Unreadable, decode, split_key
from leasehold.core.samples import STATES
from leasehold.core.state import JOBS, LEASES, SEMAPHORES
from leasehold.model.charge import DEVICE, Charge, Totals
from leasehold.model.job import Job, JobState, Start
from leasehold.model.lease import UNBOUND, Ask, Lease
from leasehold.model.node import STALE_AFTER_MS, State
from leasehold.model.replay import History, Past, Weather

Rows = Iterable[tuple[str, bytes]]
STATE_OF: dict[int, State] = {number: name for name, number in STATES.items()}  # type: ignore[misc]


class Sampled(msgspec.Struct, frozen=True):
    """What is read of one sample of the group `quiet`."""

    state: float
    quiet_score: float | None = None


def history(
    source: str,
    finished: Rows,
    semaphores: Rows,
    samples: Iterable[tuple[int, str]],
    totals: Totals,
    *,
    since_wall_ms: int = 0,
) -> History:
    """The history of what ended; `samples` are (wall ms, JSON) of the group `quiet`, in order.

    Only what came at `since_wall_ms` or later.
    """
    left_out: dict[str, int] = {}
    newest = dict(finished)  # A job that somebody retried has ended more than once.
    every = (_past(key, value, left_out) for key, value in newest.items())
    found = [past for past in every if past is not None and past.at_ms >= since_wall_ms]
    zero_ms = min((past.at_ms for past in found), default=0)
    jobs = sorted((_moved(past, zero_ms) for past in found), key=lambda past: (past.at_ms, past.number))
    weather = weather_of(samples, zero_ms)
    return History(
        source=source,
        jobs=tuple(jobs),
        totals=_with_devices(totals, jobs),
        weather=weather,
        slots=_sizes(semaphores),
        left_out=left_out,
        notes=_notes(jobs, weather),
    )


def _past(key: str, value: bytes, left_out: dict[str, int]) -> Past | None:
    """One finished record as a job of the history, at wall time; None, counted, where it can't be one."""
    table, name = split_key(key)
    if table not in (LEASES, JOBS):
        return None
    try:
        record = decode(table, name, value)
        past = of_job(record) if isinstance(record, Job) else of_lease(record)
    except Unreadable:
        past = "an unreadable record"
    if isinstance(past, Past):
        return past
    if past:
        left_out[past] = left_out.get(past, 0) + 1
    return None


def of_lease(lease: Lease) -> Past | str:
    """A lease that has ended, or the reason why it is none of a history; no reason: a job stands for it."""
    if lease.job:
        return ""
    if lease.ask.guard is not None:
        return "guarded software"
    if not (lease.ask.charge.is_work or lease.ask.charge.named):
        return "charged nothing"
    runs_ms = max(0, lease.ended_ms - lease.granted_ms - lease.stood_ms)
    at_ms = lease.granted_wall_ms - lease.waited_ms
    return Past(lease.token, at_ms, _plain(lease.ask), runs_ms, started_ms=lease.granted_wall_ms)


def of_job(job: Job) -> Past | str:
    """A job that has ended, by its last attempt, or the reason why it is none of a history."""
    if not job.started_wall_ms or job.ended_wall_ms < job.started_wall_ms:
        return "expired before it started" if job.state is JobState.EXPIRED else "never ran"
    gated = job.ask.quiet_gate and job.terms.start is not Start.NOW
    ask = msgspec.structs.replace(job.ask, quiet_gate=gated)
    if job.terms.gang > 1:
        ask = msgspec.structs.replace(ask, charge=_times(ask.charge, job.terms.gang))
    # It could not have started before its time had come, nor before its attempt before had ended.
    tried_ms = max((attempt.ended_wall_ms for attempt in job.past), default=0)
    at_ms = min(job.started_wall_ms, max(job.since_wall_ms, job.earliest_wall_ms, tried_ms))
    return Past(
        job.number,
        at_ms,
        _plain(ask),
        job.ended_wall_ms - job.started_wall_ms,
        job.deadline_wall_ms,
        job.started_wall_ms,
        job.anyway_wall_ms,
    )


def _plain(ask: Ask) -> Ask:
    """The ask without what ties it to processes that are gone, and to windows that nobody wrote down."""
    return msgspec.structs.replace(ask, binding=UNBOUND, limits=None, label="", notice="", window=False)


def _times(charge: Charge, count: int) -> Charge:
    return Charge(
        charge.units * count,
        charge.cpu_millicores * count,
        charge.memory_bytes * count,
        charge.disk_bytes * count,
        tuple((name, held * count) for name, held in charge.named),
    )


def _moved(past: Past, zero_ms: int) -> Past:
    return Past(
        past.number,
        past.at_ms - zero_ms,
        past.ask,
        past.runs_ms,
        past.deadline_ms and max(1, past.deadline_ms - zero_ms),
        None if past.started_ms is None else past.started_ms - zero_ms,
        past.anyway_ms and max(1, past.anyway_ms - zero_ms),
    )


def weather_of(samples: Iterable[tuple[int, str]], zero_ms: int) -> tuple[Weather, ...]:
    """Changes of the machine's state and score, from `zero_ms` on. A gap in the record is UNKNOWN."""
    decoder: Callable[[str], Sampled] = msgspec.json.Decoder(Sampled, strict=False).decode
    changes: list[Weather] = []
    seen_ms: int | None = None
    for wall_ms, payload in samples:
        try:
            sampled = decoder(payload)
        except msgspec.DecodeError:
            continue
        at_ms = wall_ms - zero_ms
        if seen_ms is not None and at_ms - seen_ms > STALE_AFTER_MS:
            changes.append(Weather(seen_ms + STALE_AFTER_MS, "UNKNOWN", None))
        seen_ms = at_ms
        score = None if sampled.quiet_score is None else int(sampled.quiet_score)
        state = STATE_OF.get(int(sampled.state), "UNKNOWN")
        if not changes or (changes[-1].state, changes[-1].score) != (state, score):
            changes.append(Weather(at_ms, state, score))
    before = [each for each in changes if each.at_ms <= 0][-1:]
    return (
        *(Weather(0, each.state, each.score) for each in before),
        *changes[len(changes) - _after(changes) :],
    )


def _after(changes: Sequence[Weather]) -> int:
    return sum(1 for each in changes if each.at_ms > 0)


def _sizes(semaphores: Rows) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in semaphores:
        table, name = split_key(key)
        if table == SEMAPHORES:
            try:
                record: Any = decode(table, name, value)
            except Unreadable:
                continue
            found[name] = record.size
    return found


def _with_devices(totals: Totals, jobs: Sequence[Past]) -> Totals:
    """The node with each device that a job of it held."""
    counts = dict(totals.devices)
    for past in jobs:
        for name, count in past.ask.charge.named:
            if name.startswith(DEVICE):
                device = name.removeprefix(DEVICE)
                counts[device] = max(counts.get(device, 0), count)
    return msgspec.structs.replace(totals, devices=tuple(sorted(counts.items())))


def _notes(jobs: Sequence[Past], weather: Sequence[Weather]) -> tuple[str, ...]:
    if not jobs:
        return ()
    if not weather:
        return ("nothing was measured in this time: the machine is taken to have been quiet",)
    if weather[0].at_ms > 0:
        hours = weather[0].at_ms / 3_600_000
        return (
            f"measurements begin {hours:.1f} h later; until then the machine is taken to have been quiet",
        )
    return ()
