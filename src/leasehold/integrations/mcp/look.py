"""Looking without changing anything: why, and who holds what."""

from __future__ import annotations

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.integrations.mcp.answers import HolderAnswer, ReasonAnswer, StatusAnswer, WhyAnswer
from leasehold.integrations.mcp.arguments import Ask
from leasehold.integrations.mcp.session import Session
from leasehold.wire.job import JobOut
from leasehold.wire.lease import LeaseOut, ReasonOut, WaiterOut

SHOWN_MAX = 20
"""Holders and waiters told one by one; a model needs no longer list."""


async def why(session: Session, subject: str, ask: Ask) -> WhyAnswer:
    """The reason for a lease, a ticket, or work that was described. Raises ToolError, or as the link."""
    if subject.startswith("lease-"):
        return _of_lease(await session.link.send(calls.LEASE, path={"lease_id": subject}))
    if subject.startswith("job-"):
        return _of_job(await session.link.send(calls.JOB, path={"job_id": subject}))
    if subject.startswith("tkt-"):
        waiting = (await session.link.send(calls.STATUS)).waiting
        waiter = next((one for one in waiting if one.ticket == subject), None)
        if waiter is None:
            raise ToolError(f"{subject} waits no more: it was given up, or has its lease; see `status`")
        return _of_ticket(waiter)
    if subject:
        raise ToolError("subject: expected a lease_id (lease-…), a ticket (tkt-…) or a job_id (job-…)")
    found = await session.link.send(calls.EXPLAIN, ask.request())
    line = found.line
    return WhyAnswer(
        may_start=found.approved,
        sentence="It would start now." if found.approved else f"It would not start now: {found.reason}",
        reasons=[_reason(one) for one in found.reasons],
        cost_units=found.charge.units or None,
        place=line.position if line else None,
        expected_start_sec=_whole(line.expected_start_sec) if line else None,
    )


def _of_lease(found: LeaseOut) -> WhyAnswer:
    flags = f" ({', '.join(found.flags)})" if found.flags else ""
    sentence = (
        f"{found.lease_id} ended as {found.state}: {found.end_reason}"
        if found.ended_at
        else f"{found.lease_id} is {found.state}{flags}: {found.job_type}, for {round(found.running_sec)} s"
    )
    return WhyAnswer(sentence=sentence, state=found.state, cost_units=found.cost_units)


def _of_ticket(found: WaiterOut) -> WhyAnswer:
    return WhyAnswer(
        may_start=False,
        sentence=f"{found.ticket} waits at place {found.position}: {found.reason}",
        state="WAITING",
        reasons=[ReasonAnswer(code=found.code, sentence=found.reason)] if found.code else [],
        cost_units=found.cost_units,
        place=found.position,
        expected_start_sec=_whole(found.expected_start_sec),
    )


def _of_job(found: JobOut) -> WhyAnswer:
    why = found.error or found.reason
    return WhyAnswer(
        sentence=f"{found.job_id} is {found.state}{f': {why}' if why else ''}",
        state=found.state,
        reasons=[_reason(one) for one in found.reasons],
        place=found.position,
    )


def _reason(one: ReasonOut) -> ReasonAnswer:
    return ReasonAnswer(
        code=one.code, sentence=one.sentence, cure=one.cure or None, retry_after_sec=one.retry_after_sec
    )


async def status(session: Session) -> StatusAnswer:
    """What the server says of the machine, with what is the session's own marked."""
    found = await session.link.send(calls.STATUS)
    units = found.capacity.get("units")
    mine = session.leases.ids | session.runs.lease_ids
    hidden = max(0, len(found.active) - SHOWN_MAX) + max(0, len(found.waiting) - SHOWN_MAX)
    return StatusAnswer(
        headline=found.headline,
        quiet_state=found.quiet_state,
        quiet_score=found.quiet_score,
        reasons=[*found.notices, *found.reasons],
        units_usable=units.usable if units else 0,
        units_free=units.free if units else 0,
        active=[_holder(one, mine) for one in found.active[:SHOWN_MAX]],
        waiting=[_waiter(one) for one in found.waiting[:SHOWN_MAX]],
        not_shown=hidden,
        runs=session.runs.answers(),
    )


def _holder(one: LeaseOut, mine: frozenset[str]) -> HolderAnswer:
    return HolderAnswer(
        job_type=one.job_type,
        holder=one.addon_id,
        cost_units=one.cost_units,
        id=one.lease_id,
        state=one.state,
        label=one.label or None,
        seconds=round(one.running_sec),
        expected_left_sec=_whole(one.expected_left_sec),
        yours=one.lease_id in mine,
    )


def _waiter(one: WaiterOut) -> HolderAnswer:
    return HolderAnswer(
        job_type=one.job_type,
        holder=one.holder,
        cost_units=one.cost_units,
        id=one.ticket,
        label=one.label or None,
        place=one.position,
        seconds=round(one.waiting_sec),
    )


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
