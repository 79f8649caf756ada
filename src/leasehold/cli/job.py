"""`leasehold cancel`, `retry`, `prioritise`: act on jobs, by id or on all that match (QUEUE-16, OPS-18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.queue import GROUP, LABEL, STATE
from leasehold.cli.session import Failed, Session, tell, verb

if TYPE_CHECKING:
    from leasehold.wire.job import BulkOut, JobOut

IDS = Annotated[list[str] | None, typer.Argument(metavar="ID…")]
FILTER = Annotated[
    str, typer.Option("--filter", metavar="TEXT", help="every job with this text in its listing")
]
NOTE = Annotated[str, typer.Option("--note", metavar="TEXT", help="why; it is kept with the job")]

SLICE = 200
"""Jobs of one call: a second or so, then it is told how far it is."""

ONE_BY_ONE = 20
"""So many are told of by name."""

MATCHING = {
    "cancel": "QUEUED,HELD,DISPATCHING,RUNNING,PAUSED",
    "retry": "FAILED,EXPIRED",
    "pause": "QUEUED,DISPATCHING,RUNNING",
    "resume": "HELD,PAUSED",
    "prioritise": "QUEUED,HELD",
}
"""Which jobs a verb means where none are named and no state is."""

CALLS = {
    "cancel": "CANCEL_JOB",
    "retry": "RETRY_JOB",
    "pause": "PAUSE_JOB",
    "resume": "RESUME_JOB",
    "prioritise": "PRIORITISE_JOB",
}


class Which:
    """Which jobs are meant: ids, or what they have in common."""

    def __init__(
        self, ids: list[str] | None, *, text: str = "", state: str = "", group: str = "", label: str = ""
    ) -> None:
        self.ids = ids or []
        self.text = text
        self.state = state
        self.group = group
        self.label = label

    @property
    def by_filter(self) -> bool:
        return bool(self.text or self.state or self.group or self.label)


def register(app: typer.Typer) -> None:
    @app.command("cancel")
    @verb
    def cancel(
        session: Session,
        ids: IDS = None,
        filter: FILTER = "",  # noqa: A002
        state: STATE = "",
        group: GROUP = "",
        label: LABEL = "",
        grace: Annotated[
            str, typer.Option("--grace", metavar="TIME", help="time to end by itself: 10s by default")
        ] = "",
        note: NOTE = "",
    ) -> int:
        """End jobs: what waits at once, what runs as soon as it has stopped. What comes after them too."""
        from leasehold.cli.amounts import duration

        try:
            more = {"grace_sec": round(duration(grace))} if grace else {}
        except ValueError as error:
            raise Failed(exits.USAGE, f"--grace {grace}: {error}") from None
        which = Which(ids, text=filter, state=state, group=group, label=label)
        return act(session, "cancel", which, note=note, more=more)

    @app.command("retry")
    @verb
    def retry(
        session: Session,
        ids: IDS = None,
        filter: FILTER = "",  # noqa: A002
        state: STATE = "",
        group: GROUP = "",
        label: LABEL = "",
        note: NOTE = "",
    ) -> int:
        """Give jobs that failed, expired or were cancelled one more attempt, under their old ids."""
        which = Which(ids, text=filter, state=state, group=group, label=label)
        return act(session, "retry", which, note=note)

    @app.command("prioritise")
    @verb
    def prioritise(
        session: Session,
        ids: IDS = None,
        to: Annotated[
            str, typer.Option("--to", metavar="NAME", help="urgent, high, normal, low or background")
        ] = "HIGH",
        filter: FILTER = "",  # noqa: A002
        state: STATE = "",
        group: GROUP = "",
        label: LABEL = "",
        note: NOTE = "",
    ) -> int:
        """Put waiting jobs into another lane: high without --to."""
        from leasehold.cli.run.options import priority

        try:
            more = {"priority": priority(to)}
        except ValueError as error:
            raise Failed(exits.USAGE, f"--to {to}: {error}") from None
        which = Which(ids, text=filter, state=state, group=group, label=label)
        return act(session, "prioritise", which, note=note, more=more)


def act(
    session: Session, word: str, which: Which, *, note: str = "", more: Mapping[str, object] | None = None
) -> int:
    """Do it to each; what is refused is told, and the exit code says so."""
    chosen = _chosen(session, word, which)
    if session.dry_run:
        _say_dry(session, word, chosen)
        return exits.DONE
    if which.by_filter and len(chosen) > 1 and word == "cancel":
        session.confirm(f"Cancel {len(chosen):,} jobs?")
    if len(chosen) > ONE_BY_ONE:
        return _many(session, word, chosen, note, more or {})
    refused = 0
    for job_id in chosen:
        refused = (
            _one(session, word, job_id, {"note": note, **(more or {})}, alone=len(chosen) == 1) or refused
        )
    return refused


def _chosen(session: Session, word: str, which: Which) -> list[str]:
    from leasehold.cli.ids import job_ids
    from leasehold.cli.queue import fetch, states

    if bool(which.ids) == which.by_filter:
        raise Failed(
            exits.USAGE,
            f"{word} which jobs? Give ids, or --filter, --state, --group or --label (see `leasehold queue`)",
        )
    if which.ids:
        return job_ids(session, which.ids)
    wanted = {
        "state": states(which.state) or MATCHING[word],
        "group": which.group,
        "label": which.label,
    }
    found, _ = fetch(session, wanted, which.text, 2_000_000, everything=True)
    if not found:
        hint = "" if which.state else f" that are {MATCHING[word].replace(',', ', ')}"
        raise Failed(exits.NOT_FOUND, f"no jobs match{hint}; see `leasehold queue --all`")
    return [job.job_id for job in found]


def _say_dry(session: Session, word: str, chosen: list[str]) -> None:
    if session.out.as_json:
        session.out.document({"would": word, "jobs": chosen})
    elif session.quiet:
        session.out.ids(chosen)
    else:
        for job_id in chosen[:ONE_BY_ONE]:
            session.out.text(f"would {word} {job_id}")
        if len(chosen) > ONE_BY_ONE:
            session.out.text(f"and {len(chosen) - ONE_BY_ONE:,} more, {len(chosen):,} in all")


def _one(session: Session, word: str, job_id: str, document: dict[str, object], *, alone: bool) -> int:
    import msgspec

    from leasehold.client import calls
    from leasehold.model.errors import LeaseholdError

    call = getattr(calls, CALLS[word])
    try:
        found: JobOut = session.client.send(
            call, msgspec.convert(document, call.body), path={"job_id": job_id}
        )
    except LeaseholdError as error:
        if alone:
            raise
        tell(str(error))
        return exits.of_problem(int(error.details.get("status", 500)), error.code)
    if session.out.as_json:
        session.out.line(found)
    elif session.quiet:
        session.out.ids([job_id])
    else:
        session.out.text(f"{job_id} {_now(word, found)}")
    return exits.DONE


def _now(word: str, job: JobOut) -> str:
    """What came of it."""
    if word == "prioritise":
        return f"is {job.priority} now" + (f", at place {job.position}" if job.position else "")
    if word == "cancel" and job.cancel_requested and job.state != "CANCELED":
        return f"is {job.state}, and is told to stop"
    if word == "retry":
        return f"has one more attempt; it is {job.state}"
    if word == "pause" and job.state == "HELD":
        return "is held: nothing starts it until `leasehold resume`"
    return f"is {job.state}"


def _many(session: Session, word: str, chosen: list[str], note: str, more: Mapping[str, object]) -> int:
    import msgspec

    from leasehold.client import calls
    from leasehold.wire.job import Bulk

    changed: list[str] = []
    details: list[str] = []
    refused = 0
    action = "priority" if word == "prioritise" else word
    for first in range(0, len(chosen), SLICE):
        session.progress(f"{word}: {first:,} of {len(chosen):,}")
        body = {"action": action, "ids": chosen[first : first + SLICE], "note": note, **more}
        answer: BulkOut = session.client.send(calls.CHANGE_JOBS, msgspec.convert(body, Bulk), timeout_s=120.0)
        changed += answer.ids
        details += answer.details
        refused += answer.refused
    session.progress("")
    if session.out.as_json:
        session.out.document(
            {"matched": len(chosen), "changed": len(changed), "refused": refused, "ids": changed}
        )
    elif session.quiet:
        session.out.ids(changed)
    else:
        session.out.text(f"{word}: {len(changed):,} of {len(chosen):,} jobs")
    for sentence in dict.fromkeys(details[:5]):
        tell(sentence)
    return exits.CONFLICT if refused else exits.DONE
