"""Typed ids, which may be shortened as long as one object answers (OPS-18)."""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session

SHOWN_MAX = 8

JOB_PAGES = 10
"""Pages of a thousand jobs that are looked through for a shortened id."""


def pick(typed: str, ids: Iterable[str]) -> str:
    """The one id that begins with what was typed. Raises Failed where there is none, or more than one."""
    found = sorted({one for one in ids if one == typed or one.startswith(typed)})
    if typed in found:
        return typed
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failed(exits.NOT_FOUND, f"nothing is known by the id {typed}; see `leasehold get leases --all`")
    more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    raise Failed(exits.USAGE, f"{typed} could be {', '.join(found[:SHOWN_MAX])}{more}; type more of it")


def lease_id(session: Session, typed: str) -> str:
    """The full id of a lease, live or ended; a shortened one among those live or ended lately."""
    from leasehold.client import calls
    from leasehold.model.errors import NotFound

    if not typed.startswith("lease-"):
        raise Failed(exits.USAGE, f"{typed} is no lease's id: expected lease-… (see `leasehold get leases`)")
    try:
        return session.client.send(calls.LEASE, path={"lease_id": typed}).lease_id
    except NotFound:
        status = session.client.send(calls.STATUS)
    return pick(typed, [lease.lease_id for lease in [*status.active, *status.ended]])


def job_id(session: Session, typed: str) -> str:
    """The full id of a job, live or ended; a shortened one among the newest of them."""
    from leasehold.client import calls
    from leasehold.model.ids import to_number

    typed = typed if typed.startswith("job-") else f"job-{typed}"
    if to_number("job", typed) is not None:
        return typed
    found: list[str] = []
    cursor: str | None = None
    for _ in range(JOB_PAGES):
        page = session.client.send(calls.JOBS, query={"limit": 1000, "cursor": cursor}, timeout_s=30.0)
        found += [job.job_id for job in page.jobs if job.job_id.startswith(typed)]
        cursor = page.cursor
        if cursor is None:
            break
    if not found:
        among = f" among the newest {JOB_PAGES * 1000:,}" if cursor is not None else ""
        raise Failed(exits.NOT_FOUND, f"no job {typed} is known{among}; see `leasehold queue --all`")
    return pick(typed, found)


def job_ids(session: Session, typed: Iterable[str]) -> list[str]:
    """The full ids of several, each once."""
    return list(dict.fromkeys(job_id(session, one) for one in typed))
