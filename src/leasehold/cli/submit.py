"""`leasehold submit`: have a command run later, kept until it has been done (QUEUE-16)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, carry_out, tell
from leasehold.runtime.ids import new_code
from leasehold.runtime.lean import pause

if TYPE_CHECKING:
    from leasehold.cli.submit_options import Wanted
    from leasehold.wire.job import JobIn, Submit, Submitted, Taken

TRIES = 5
"""A call whose answer was lost is sent again, under the same key: nothing is submitted twice."""

AGAIN = ("QUEUE_FULL", "RATE_LIMITED", "OVERLOADED", "NOT_READY", "IDEMPOTENCY_BUSY")
"""What passes by itself, if the server says when."""

REFUSALS_SHOWN = 5
SHOWN = ("user", "limits", "terminal")


def register(app: typer.Typer) -> None:
    @app.command(
        "submit",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )
    def submit(arguments: list[str] = typer.Argument(None)) -> None:
        """Have a command run later, when nobody is disturbed: submit [OPTIONS] -- COMMAND."""
        code = main(list(arguments or []))
        if code:
            raise typer.Exit(code)


def main(arguments: list[str]) -> int:
    """Submit what was typed. Returns the exit code."""
    from leasehold.cli import submit_options
    from leasehold.cli.run.options import Usage

    try:
        wanted = submit_options.parse(arguments)
    except Usage as error:
        raise Failed(exits.USAGE, str(error)) from None
    session = Session(
        as_json=wanted.json,
        quiet=wanted.quiet,
        yes=wanted.yes,
        dry_run=wanted.dry_run,
        server=wanted.server,
        no_color=wanted.no_color,
    )
    if wanted.help:
        return carry_out(session, lambda: session.out.text(submit_options.help_text())) or exits.DONE
    return carry_out(session, lambda: _submit(session, wanted)) or exits.DONE


def _submit(session: Session, wanted: Wanted) -> int:
    from leasehold.cli.ids import job_ids
    from leasehold.cli.submit_body import batches, job_of

    after = job_ids(session, [one for typed in wanted.after for one in typed.split(",") if one])
    job = job_of(wanted, after)
    if session.dry_run:
        return _dry(session, wanted, job)
    taken = list(_sent(session, wanted, batches(job, wanted)))
    refused = [one for one in taken if one.code]
    ids = [one.job_id for one in taken if one.job_id]
    if refused:
        _tell_refused(session, refused, len(taken))
    if not ids:
        return exits.NO
    if session.out.as_json:
        session.out.document(_answer(session, taken, job))
    elif session.quiet:
        session.out.ids(ids)
    elif not wanted.follow or len(ids) > 1:
        _tell(session, job, taken, ids)
    if wanted.follow:
        from leasehold.cli.wait import follow

        return follow(session, ids, job.group)
    return exits.NO if refused else exits.DONE


def _sent(session: Session, wanted: Wanted, calls: Iterator[Submit]) -> Iterator[Taken]:
    total = len(wanted.array) if wanted.array is not None else 1
    done = 0
    for body in calls:
        if done:
            session.progress(f"{done:,} of {total:,} are submitted")
        try:
            answer = _send(session, body)
        except Exception:
            if done:
                session.progress("")
                session.say(f"{done:,} of {total:,} are submitted, in the group {wanted.group}; then:")
            raise
        yield from answer.jobs
        done += len(answer.jobs)
    session.progress("")


def _send(session: Session, body: Submit) -> Submitted:
    """One call, again where its answer was lost or the server asks for a moment."""
    from leasehold.client import calls
    from leasehold.client.lean import Unreachable
    from leasehold.model.errors import LeaseholdError

    key = str(new_code())
    client = session.client
    for left in range(TRIES - 1, -1, -1):
        try:
            return client.send(calls.SUBMIT_JOBS, body, idempotency_key=key, timeout_s=60.0)
        except Unreachable:
            if not left:
                raise
            pause_s = 0.5
        except LeaseholdError as error:
            if error.code == "NEVER_FITS":
                raise Failed(exits.NO, str(error).replace("allow_unfit", "--allow-unfit")) from None
            pause_s = float(error.retry_after_s or 0)
            if not left or not 0 < pause_s <= 30 or error.code not in AGAIN:
                raise
            session.progress(f"the server asks for {pause_s:g} s: {error}")
        pause(pause_s)
    raise AssertionError


def _tell_refused(session: Session, refused: list[Taken], total: int) -> None:
    for sentence in list(dict.fromkeys(one.detail for one in refused))[:REFUSALS_SHOWN]:
        tell(sentence)
    if total > 1:
        tell(f"{len(refused):,} of {total:,} jobs are not submitted")


def _answer(session: Session, taken: list[Taken], job: JobIn) -> object:
    if len(taken) == 1:
        return {"job_id": taken[0].job_id, "state": taken[0].state, "existing": taken[0].existing}
    return {"group": job.group, "jobs": taken}


def _tell(session: Session, job: JobIn, taken: list[Taken], ids: list[str]) -> None:
    from leasehold.cli import words
    from leasehold.cli.job_words import when_it_starts
    from leasehold.client import calls

    out = session.out
    first = session.client.send(calls.JOB, path={"job_id": ids[0]})
    shown = words.short(ids[0])
    if len(taken) > 1:
        out.text(f"{len(ids):,} jobs are submitted, as the group {job.group}: {when_it_starts(first)}")
        out.text(f"see them: leasehold queue --group {job.group}")
        out.text(f"wait for them: leasehold wait --group {job.group}")
        return
    known = " already" if taken[0].existing else ""
    out.text(f"{ids[0]} is{known} submitted: {when_it_starts(first)}")
    out.text(f"follow it: leasehold logs -f {shown} · why it waits: leasehold why {shown}")


def _dry(session: Session, wanted: Wanted, job: JobIn) -> int:
    """What would be submitted. Of the environment the names alone: values may be secrets."""
    import shlex

    import msgspec

    from leasehold.cli.job_words import local

    assert job.exec is not None
    document = msgspec.json.decode(msgspec.json.encode(job))
    document["exec"]["env"] = dict.fromkeys(job.exec.env, "…")
    count = len(wanted.array) if wanted.array is not None else 1
    if session.out.as_json:
        session.out.document(document | ({"array": list(wanted.array)} if wanted.array is not None else {}))
        return exits.DONE
    command = document.pop("exec")
    session.out.text("would submit " + (f"{count:,} jobs:" if count > 1 else "a job:"))
    for name in ("deadline_at", "earliest_start_at", "start_anyway_by"):
        if document.get(name) not in (None, "never"):
            document[name] = local(document[name])
    rows = [(name.replace("_", " "), str(value)) for name, value in document.items() if name != "payload"]
    session.out.pairs(
        [
            ("command", shlex.join(command["argv"])),
            ("folder", command["cwd"]),
            ("variables", sorted(command["env"])),
            *[
                (name, str(value))
                for name, value in command.items()
                if name in ("user", "limits", "terminal")
            ],
            *rows,
        ]
    )
    return exits.DONE
