"""`leasehold why`: the reason, and what would change it, for a lease, a ticket, a command, or the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from leasehold.cli import exits
from leasehold.cli.reasons import show_reasons
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.lease import Explanation, HeavyLeaseRequest


def register(app: typer.Typer) -> None:
    @app.command("why", context_settings={"ignore_unknown_options": True})
    @verb
    def why(
        session: Session,
        subject: list[str] = typer.Argument(None, metavar="[ID | [RUN OPTIONS] -- COMMAND]"),
    ) -> int:
        """Say why: ID of a lease, job or ticket; or -- COMMAND, which is not run; or nothing: the machine."""
        words = list(subject or [])
        if not words:
            return _explain(session, {"cost_class": "NORMAL", "start": "quiet"})
        if len(words) == 1 and words[0].startswith("lease-"):
            return _lease(session, words[0])
        if len(words) == 1 and words[0].startswith("tkt-"):
            return _ticket(session, words[0])
        if len(words) == 1 and words[0].startswith("job-"):
            from leasehold.cli.describe_job import why_job

            return why_job(session, words[0])
        return _command(session, words)


def _command(session: Session, words: list[str]) -> int:
    from leasehold.cli.run import options

    try:
        wanted = options.parse(words)
    except options.Usage as error:
        raise Failed(exits.USAGE, str(error)) from None
    return _explain(session, options.body(wanted))


def _explain(session: Session, document: dict[str, object]) -> int:
    import msgspec

    from leasehold.client import calls
    from leasehold.wire.lease import HeavyLeaseRequest

    request: HeavyLeaseRequest = msgspec.convert(document, HeavyLeaseRequest)
    answer = session.client.send(calls.EXPLAIN, request)
    if session.out.as_json:
        session.out.document(answer)
    else:
        _show(session, answer)
    return exits.DONE


def _show(session: Session, answer: Explanation) -> None:
    from leasehold.cli import words
    from leasehold.cli.amounts import ordinal, roughly

    out = session.out
    out.text(
        f"yes: it would start now, charged {words.charge(answer.charge)}"
        if answer.approved
        else f"no: {answer.reason}"
    )
    for notice in (answer.notice, *answer.notices):
        if notice:
            out.text(notice)
    show_reasons(session, answer.reasons)
    if answer.line is not None:
        out.text(f"its place in line would be {ordinal(answer.line.position)} of {answer.line.waiting + 1}")
        for held in answer.line.held_by:
            left = f", {roughly(held.expected_left_sec)} left" if held.expected_left_sec else ""
            out.text(f'  {held.cost_units} units: "{held.job_type}" ({held.holder}{left})')
        if answer.line.expected_start_sec:
            out.text(f"expected to start in {roughly(answer.line.expected_start_sec)}")
    if answer.estimate is not None:
        from leasehold.cli import estimate_words

        out.text(estimate_words.sentence(answer.estimate))


def _lease(session: Session, typed: str) -> int:
    from leasehold.cli import words
    from leasehold.cli.amounts import spell
    from leasehold.cli.ids import lease_id
    from leasehold.client import calls

    found = session.client.send(calls.LEASE, path={"lease_id": lease_id(session, typed)})
    if session.out.as_json:
        session.out.document(found)
        return exits.DONE
    out = session.out
    if found.ended_at:
        out.text(f"{found.lease_id} ended as {found.state}: {found.end_reason}")
    else:
        out.text(f"{found.lease_id} is {found.state}; it holds {words.charge(found.charge)}")
    if found.enforced is not None and not found.ended_at:
        out.text(f"  {words.limits(found.enforced)}: the kernel sees to it")
    if found.notice:
        out.text(f"  {found.notice}")
    meanings = {
        "silent": "its heartbeats stopped, but its processes live: the charge stays until they end",
        "unattended": "what started it has ended, the work goes on: the charge stays until that ends",
        "overtime": "it goes on without room having been found for it",
        "frozen": f"its work stands still: {found.held_back}; `leasehold resume` lets it go on at once",
        "throttled": f"its work may use a tenth of its charge: {found.held_back}",
        "paused": "a person paused it, so it goes on by `leasehold resume` alone",
        "resumed": "a person let it go on although the machine is busy; it gives way again after a calm",
    }
    for flag in found.flags:
        out.text(f"  {flag}: {meanings.get(flag, '')}".rstrip(" :"))
    if found.stood_sec:
        out.text(f"  stood still for {spell(found.stood_sec)} so far; that is no part of what it ran")
    _asked_and_used(session, found.asked_vs_used)
    return exits.DONE


def _asked_and_used(session: Session, figures: dict[str, object]) -> None:
    for name, value in figures.items():
        session.out.text(f"  {name.replace('_', ' ')}: {value}")


def _ticket(session: Session, typed: str) -> int:
    from leasehold.cli.ids import pick
    from leasehold.client import calls

    status = session.client.send(calls.STATUS)
    ticket = pick(typed, [waiter.ticket for waiter in status.waiting])
    found = next(waiter for waiter in status.waiting if waiter.ticket == ticket)
    if session.out.as_json:
        session.out.document(found)
    else:
        session.out.text(f"{found.ticket} waits at place {found.position}: {found.reason}")
    return exits.DONE
