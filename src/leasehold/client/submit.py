"""Submitting jobs from a program: one, thousands, commands (QUEUE-3, LEASE-19)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Unpack

from leasehold.client import job_ask, paths
from leasehold.client.asked import Time
from leasehold.client.job import Job
from leasehold.client.job_ask import OF_THE_CALL, JobOptions
from leasehold.client.job_call import Caller, JobRefused, caller, new_key

JOBS_AT_ONCE = 1_000
CALL_BYTES = 8 << 20
"""A call of many jobs is no longer than this: half of what the server takes."""


class SomeRefused(JobRefused):
    """Of many jobs some were not taken. `jobs` has what was, and None where `refusals` by place say why."""

    def __init__(self, jobs: Sequence[Job | None], refusals: Mapping[int, JobRefused]) -> None:
        place, first = next(iter(refusals.items()))
        super().__init__(
            f"{len(refusals):,} of {len(jobs):,} jobs were not taken; number {place}: {first}",
            code=first.code,
            field=first.field,
        )
        self.jobs = list(jobs)
        self.refusals = dict(refusals)


def submit(job_type: str, payload: Any = None, /, **options: Unpack[JobOptions]) -> Job:
    """Submit one job; it is kept until it has been done. `payload` is any JSON, for its worker.

    What it takes besides: `JobOptions`. A lost answer is asked for again, and nothing is submitted twice.
    Raises TypeError and ValueError before anything is sent, then JobRefused, NoServer.
    """
    text = job_ask.payload_text({} if payload is None else payload)
    return _send_one({**job_ask.body(job_type, options), "payload": _Ready(text)}, options)


def submit_command(
    argv: Sequence[str | os.PathLike[str]],
    /,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Iterable[str] | Mapping[str, str] = (),
    grace: Time | None = None,
    user: str | None = None,
    limits: Mapping[str, Any] | None = None,
    job_type: str = "",
    **options: Unpack[JobOptions],
) -> Job:
    """Submit a command for the built-in runner: arguments, no shell string. It runs in `cwd`, else here.

    `env` names what it gets of this program's environment besides PATH, HOME and LANG, or is a dictionary.
    `grace` is what it has between SIGTERM and SIGKILL. `limits`: `cpu`, `mem`, `pids`, `log`.
    """
    made = job_ask.command(argv, cwd=cwd, env=env, grace=grace, user=user, limits=limits)
    return _send_one({**job_ask.body(job_type or _name(made["argv"][0]), options), "exec": made}, options)


def submit_many(jobs: Iterable[Mapping[str, Any]], /, **options: Unpack[JobOptions]) -> list[Job]:
    """Submit any number of jobs: each a dictionary of `job_type`, `payload` and options of its own.

    `options` are for all of them. They go out in calls of up to 1,000, all checked first. Raises SomeRefused
    where some were not taken; what was sent before a NoServer is submitted.
    """
    given = list(jobs)
    drafts = [_draft(place, one, options) for place, one in enumerate(given)]
    return _send_drafts(drafts, [str(one["job_type"]) for one in given], options)


async def submit_async(job_type: str, payload: Any = None, /, **options: Unpack[JobOptions]) -> Job:
    """`submit` for an event loop."""
    return await asyncio.to_thread(submit, job_type, payload, **options)


async def submit_many_async(jobs: Iterable[Mapping[str, Any]], /, **options: Unpack[JobOptions]) -> list[Job]:
    """`submit_many` for an event loop."""
    return await asyncio.to_thread(submit_many, jobs, **options)


async def submit_command_async(argv: Sequence[str | os.PathLike[str]], /, **options: Any) -> Job:
    """`submit_command` for an event loop."""
    return await asyncio.to_thread(submit_command, argv, **options)


def find(job_id: str, *, server: str = "") -> Job:
    """The job of an id, live or ended. Raises JobRefused where there is none."""
    calls = caller(server)
    return Job(calls, calls.call(paths.JOB, job_id=job_id))


# -- drafts


class _Ready(str):
    """JSON that is made already."""

    __slots__ = ()


def _text(body: Mapping[str, Any]) -> str:
    """JSON of a job whose payload is JSON already: it is checked and encoded once."""
    ready = body.get("payload")
    if not isinstance(ready, _Ready):
        return json.dumps(body, allow_nan=False)
    rest = json.dumps({name: value for name, value in body.items() if name != "payload"}, allow_nan=False)
    return f'{rest[:-1]},"payload":{ready}}}'


def _draft(place: int, given: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    own = dict(given)
    try:
        job_type, payload = own.pop("job_type"), own.pop("payload", {})
    except KeyError:
        raise TypeError(f"job {place} has no job_type") from None
    for name in OF_THE_CALL:
        if name in own:
            raise TypeError(f"job {place}: {name} is for the whole call; give it to submit_many")
    text = job_ask.payload_text({} if payload is None else payload, what=f"payload of job {place}")
    return _text({**job_ask.body(job_type, {**options, **own}), "payload": _Ready(text)})


def _name(program: str) -> str:
    return os.path.basename(program)[:128] or "command"


# -- sending


def _send_one(body: Mapping[str, Any], options: Mapping[str, Any]) -> Job:
    calls = caller(options.get("server", ""))
    document = {**body, "allow_unfit": True} if options.get("allow_unfit") else body
    answer = calls.call(paths.SUBMIT_JOBS, _text(document).encode(), key=options.get("once") or new_key())
    return _taken(calls, answer["jobs"][0], str(body["job_type"]))


def _send_drafts(drafts: Sequence[str], types: Sequence[str], options: Mapping[str, Any]) -> list[Job]:
    calls = caller(options.get("server", ""))
    found: list[Job | None] = []
    refusals: dict[int, JobRefused] = {}
    key = options.get("once") or new_key()
    more = ',"allow_unfit":true' if options.get("allow_unfit") else ""
    for number, piece in enumerate(_pieces(drafts)):
        body = f'{{"jobs":[{",".join(piece)}]{more}}}'
        answer = calls.call(paths.SUBMIT_JOBS, body.encode(), key=f"{key}-{number}")
        for row in answer["jobs"]:
            if row.get("job_id"):
                found.append(_taken(calls, row, types[len(found)]))
            else:
                field = str(row.get("field", ""))
                refusals[len(found)] = JobRefused(
                    row.get("detail", ""), code=row.get("code", ""), field=field
                )
                found.append(None)
    if refusals:
        raise SomeRefused(found, refusals)
    return [one for one in found if one is not None]


def _pieces(drafts: Sequence[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    size = 0
    for draft in drafts:
        if piece and (len(piece) == JOBS_AT_ONCE or size + len(draft) > CALL_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(draft)
        size += len(draft) + 1
    if piece:
        yield piece


def _taken(calls: Caller, row: Mapping[str, Any], job_type: str) -> Job:
    return Job(calls, {"job_type": job_type, **row})
