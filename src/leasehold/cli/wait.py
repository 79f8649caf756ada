"""`leasehold wait`: until jobs have ended; the exit code says how (QUEUE-16)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits, patience
from leasehold.cli.job_words import ENDED
from leasehold.cli.queue import GROUP
from leasehold.cli.session import Failed, Session, verb
from leasehold.runtime.lean import elapsed_s, pause

if TYPE_CHECKING:
    from leasehold.wire.job import JobOut

POLL_S = (0.05, 1.0)


def register(app: typer.Typer) -> None:
    @app.command("wait")
    @verb
    def wait(
        session: Session,
        jobs: Annotated[list[str] | None, typer.Argument(metavar="ID…")] = None,
        group: GROUP = "",
        timeout: Annotated[
            str, typer.Option("--timeout", metavar="TIME", help="give up with code 75 after this long")
        ] = "",
        any_one: Annotated[bool, typer.Option("--any", help="until the first of them has ended")] = False,
    ) -> int:
        """Wait until jobs have ended. Exit code: the job's own; of several 0 if all are done, else 1."""
        from leasehold.cli.amounts import duration
        from leasehold.cli.ids import job_ids

        try:
            end_s = elapsed_s() + duration(timeout) if timeout else None
        except ValueError as error:
            raise Failed(exits.USAGE, f"--timeout {timeout}: {error}") from None
        if bool(jobs) == bool(group):
            raise Failed(exits.USAGE, "wait for which jobs? Give ids or --group (see `leasehold queue`)")
        ids = job_ids(session, jobs) if jobs else members(session, group)
        return until_over(session, ids, end_s, any_one=any_one, group=group)


def members(session: Session, group: str) -> list[str]:
    """The jobs of a group. Raises Failed where there are none."""
    from leasehold.cli.queue import fetch

    found, _ = fetch(session, {"group": group}, "", 100_000, everything=True)
    if not found:
        raise Failed(exits.NOT_FOUND, f"there is no job of a group {group}; see `leasehold queue --all`")
    return [job.job_id for job in reversed(found)]


def until_over(
    session: Session, ids: list[str], end_s: float | None, *, any_one: bool = False, group: str = ""
) -> int:
    """Wait for them, tell how each ended, and return the exit code."""
    over: dict[str, JobOut] = {}
    try:
        _poll(session, ids, over, end_s, any_one)
    except KeyboardInterrupt:
        session.progress("")
        left = f"--group {group}" if group else " ".join(one for one in ids if one not in over)
        session.say(
            f"they go on; `leasehold wait {left}` goes on waiting, `leasehold cancel {left}` ends them"
        )
        return exits.SIGNAL_BASE + signal.SIGINT
    session.progress("")
    if session.out.as_json:
        session.out.document([over[one] for one in ids if one in over])
    elif session.quiet:
        session.out.ids([one for one in ids if one in over])
    else:
        _tell(session, list(over.values()), len(ids))
    if not over or (len(over) < len(ids) and not any_one):
        if not session.quiet:
            session.say(f"gave up waiting: {len(ids) - len(over):,} of {len(ids):,} have not ended")
        return exits.GAVE_UP
    if len(over) == 1 and (len(ids) == 1 or any_one):
        return code_of(next(iter(over.values())))
    return exits.DONE if all(job.state == "DONE" for job in over.values()) else exits.NO


def _poll(
    session: Session, ids: list[str], over: dict[str, JobOut], end_s: float | None, any_one: bool
) -> None:
    """Look until all have ended, or one, or time is up: the first that has not, or with `any_one` all."""
    from leasehold.client import calls

    pause_s, most_s = POLL_S
    left = list(ids)
    while left:
        for one in left if any_one else left[:1]:
            job = patience.send(session, calls.JOB, path={"job_id": one})
            if job.state in ENDED:
                over[one] = job
        if over and any_one:
            return
        if left[0] in over:
            left.pop(0)
            pause_s = POLL_S[0]
            session.progress(f"{len(over):,} of {len(ids):,} have ended")
            continue
        if end_s is not None and elapsed_s() >= end_s:
            return
        pause(pause_s if end_s is None else max(0.0, min(pause_s, end_s - elapsed_s())))
        pause_s = min(most_s, pause_s * 1.5)


def _tell(session: Session, over: list[JobOut], total: int) -> None:
    from leasehold.cli.job_words import ending

    if total == 1:
        for job in over:
            session.say(f"{job.job_id} is {job.state}{f': {ending(job)}' if ending(job) else ''}")
        return
    bad = [job for job in over if job.state != "DONE"]
    for job in bad[:20]:
        session.say(f"{job.job_id} is {job.state}{f': {ending(job)}' if ending(job) else ''}")
    if len(bad) > 20:
        session.say(f"and {len(bad) - 20:,} more that are not DONE")
    session.say(f"{len(over) - len(bad):,} of {total:,} are DONE")


def code_of(job: JobOut) -> int:
    """The exit code of a job: its command's own, 128 + n by a signal, else 0 for DONE and 1."""
    if job.state == "DONE":
        return job.exit_code or exits.DONE
    if job.signal in signal.Signals.__members__:
        return exits.SIGNAL_BASE + signal.Signals[job.signal]
    return job.exit_code or exits.NO


def follow(session: Session, ids: list[str], group: str) -> int:
    """For `submit --wait`: the output of one job; of many only how they end."""
    from leasehold.cli.logs import Printer, goes_on, show
    from leasehold.client import calls

    if len(ids) > 1:
        return until_over(session, ids, None, group=group)
    try:
        job = session.client.send(calls.JOB, path={"job_id": ids[0]})
        over = show(session, job, Printer(session), follows=True)
    except KeyboardInterrupt:
        goes_on(session, ids[0], "logs -f")
        return exits.SIGNAL_BASE + signal.SIGINT
    code = code_of(over)
    if code:
        _tell(session, [over], 1)
    return code
