"""`leasehold schedule`: commands that are run again and again (QUEUE-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.schedule_words import HEAD, row, show, show_next
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.schedule import ScheduleIn, ScheduleOut

Which = Annotated[str, typer.Argument(metavar="SCHEDULE", help="its name, its id, or the beginning of one")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Commands that are run again and again: at a time, or once a night when it is quiet.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    _register_add(group)

    @group.command("list")
    @verb
    def list_schedules(session: Session) -> int:
        """All schedules, when each runs next, and what came of its last run."""
        from leasehold.client import calls

        found = session.client.send(calls.SCHEDULES).schedules
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.schedule_id for one in found])
        else:
            nothing = "no schedules; `leasehold schedule add NAME --nightly -- COMMAND` makes one"
            session.out.table(HEAD, [row(one) for one in found], nothing=nothing)
        return exits.DONE

    @group.command("show")
    @verb
    def show_schedule(session: Session, which: Which) -> int:
        """One schedule: when it runs next, and what came of its last runs."""
        from leasehold.client import calls

        schedule_id = _chosen(session, which).schedule_id
        found = session.client.send(calls.SCHEDULE, path={"schedule_id": schedule_id})
        if session.out.as_json:
            session.out.document(found)
        else:
            show(session.out, found)
        return exits.DONE

    _register_changes(group)
    app.add_typer(group, name="schedule")


def _register_add(group: typer.Typer) -> None:
    @group.command("add")
    @verb
    def add(
        session: Session,
        name: Annotated[str, typer.Argument(metavar="NAME", help="like backup")],
        command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", show_default=False)] = [],  # noqa: B006
        cron: Annotated[
            str,
            typer.Option(
                "--cron", metavar="EXPRESSION", help="'30 2 * * *': minute hour day month weekday; or @daily"
            ),
        ] = "",
        nightly: Annotated[
            bool, typer.Option("--nightly", help="once a night, when it is quiet; done by --by")
        ] = False,
        by: Annotated[
            str, typer.Option("--by", metavar="HH:MM", help="with --nightly; 06:00 by default")
        ] = "",
        start: Annotated[
            str, typer.Option("--from", metavar="HH:MM", help="with --nightly: not before; 22:00 by default")
        ] = "",
        days: Annotated[
            str,
            typer.Option("--days", metavar="DAYS", help="with --nightly: mon-fri, sat,sun; all by default"),
        ] = "",
        zone: Annotated[
            str, typer.Option("--zone", metavar="NAME", help="Europe/Berlin; by default the server's own")
        ] = "",
        missed: Annotated[
            str,
            typer.Option("--missed", metavar="skip|last|all", help="runs whose time passed while it was off"),
        ] = "last",
        overlap: Annotated[
            str,
            typer.Option(
                "--overlap",
                metavar="skip|queue|replace|allow",
                help="a run whose time comes while an earlier one has not ended",
            ),
        ] = "skip",
        within: Annotated[
            str, typer.Option("--within", metavar="TIME", help="leave out a run that is later than this: 2h")
        ] = "",
        when: Annotated[
            str, typer.Option("--start", metavar="quiet|now|window", help="what each run waits for")
        ] = "quiet",
        cost: Annotated[
            int, typer.Option("--cost", metavar="UNITS", help="of 100; learned without it", min=0, max=100)
        ] = 0,
        max_runtime: Annotated[
            str, typer.Option("--max-runtime", metavar="TIME", help="how long a run may take: 3h")
        ] = "",
        env: Annotated[
            list[str], typer.Option("--env", metavar="NAME", help="a variable of yours that it gets too")
        ] = [],  # noqa: B006
        cwd: Annotated[str, typer.Option("--cwd", metavar="FOLDER", help="by default this one")] = "",
        job: Annotated[
            str, typer.Option("--job", metavar="FILE", help="a job as JSON instead of a command; - reads it")
        ] = "",
        note: Annotated[str, typer.Option("--note", metavar="TEXT", help="what it is for")] = "",
        replace: Annotated[
            bool, typer.Option("--replace", help="put it in the place of your schedule of this name")
        ] = False,
    ) -> int:
        """Run a command again and again: by --cron, or --nightly when it is quiet. --dry-run tells when."""
        from leasehold.cli.schedule_body import body_of

        body = body_of(
            name=name,
            command=command,
            cron=cron,
            nightly=nightly,
            by=by,
            start=start,
            days=days,
            zone=zone,
            missed=missed,
            overlap=overlap,
            within=within,
            when=when,
            cost=cost,
            max_runtime=max_runtime,
            env=env,
            cwd=cwd,
            job=job,
            note=note,
            dry_run=session.dry_run,
        )
        return _add(session, body, replace)


def _add(session: Session, body: ScheduleIn, replace: bool) -> int:
    from leasehold.client import calls

    known = _mine(session, body.name) if replace else None
    if known is None:
        found = session.client.send(calls.ADD_SCHEDULE, body)
    else:
        found = session.client.send(calls.SET_SCHEDULE, body, path={"schedule_id": known.schedule_id})
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([found.schedule_id] if found.schedule_id else [])
    else:
        done = "would be added" if session.dry_run else "is changed" if known else "is added"
        session.out.text(f"{found.name} {done}: {found.explained} ({found.zone})")
        show_next(session.out, found)
    return exits.DONE


def _register_changes(group: typer.Typer) -> None:
    @group.command("pause")
    @verb
    def pause(session: Session, which: Which) -> int:
        """Submit nothing until it is resumed. Jobs that it has submitted go on."""
        return _do(session, which, "PAUSE_SCHEDULE", "pause", "paused")

    @group.command("resume")
    @verb
    def resume(session: Session, which: Which) -> int:
        """Go on with the next run. For those of the pause nothing is made up."""
        return _do(session, which, "RESUME_SCHEDULE", "resume", "resumed")

    @group.command("run")
    @verb
    def run(session: Session, which: Which) -> int:
        """Submit its job now, out of turn."""
        return _do(session, which, "RUN_SCHEDULE", "run", "run")

    @group.command("remove")
    @verb
    def remove(session: Session, which: Which) -> int:
        """Submit nothing any more, and forget it. Jobs that it has submitted go on."""
        from leasehold.client import calls

        known = _chosen(session, which)
        if session.dry_run:
            session.out.text(f"would remove {known.name} ({known.schedule_id})")
            return exits.DONE
        session.client.send(calls.REMOVE_SCHEDULE, path={"schedule_id": known.schedule_id})
        session.say(f"{known.name} is removed")
        return exits.DONE


def _do(session: Session, which: str, call: str, word: str, done: str) -> int:
    from leasehold.client import calls

    known = _chosen(session, which)
    if session.dry_run:
        session.out.text(f"would {word} {known.name} ({known.schedule_id})")
        return exits.DONE
    found: ScheduleOut = session.client.send(getattr(calls, call), path={"schedule_id": known.schedule_id})
    if session.out.as_json:
        session.out.document(found)
    elif word == "run":
        job_id = found.last_runs[0].job_id if found.last_runs else ""
        session.out.ids([job_id]) if session.out.quiet else session.out.text(
            f"{found.name}: {job_id} is submitted"
        )
    elif session.out.quiet:
        session.out.ids([found.schedule_id])
    else:
        session.out.text(f"{found.name} is {done}")
        show_next(session.out, found)
    return exits.DONE


def _mine(session: Session, name: str) -> ScheduleOut | None:
    """The caller's own schedule of this name."""
    from leasehold.client import calls

    me = session.client.send(calls.WHOAMI).name
    known = session.client.send(calls.SCHEDULES).schedules
    return next((one for one in known if one.name == name and one.by == me), None)


def _chosen(session: Session, typed: str) -> ScheduleOut:
    """The schedule of a name that only one has, of an id, or of the beginning of one. Raises Failed."""
    from leasehold.cli.ids import pick
    from leasehold.client import calls

    known = session.client.send(calls.SCHEDULES).schedules
    named = [one for one in known if one.name == typed]
    if len(named) > 1:
        raise Failed(exits.USAGE, _which_of(typed, named))
    if named:
        return named[0]
    try:
        schedule_id = pick(typed, (one.schedule_id for one in known))
    except Failed as error:
        if error.code != exits.NOT_FOUND:
            raise
        raise Failed(
            exits.NOT_FOUND, f"there is no schedule {typed}; see `leasehold schedule list`"
        ) from None
    return next(one for one in known if one.schedule_id == schedule_id)


def _which_of(name: str, named: list[ScheduleOut]) -> str:
    ids = ", ".join(f"{one.schedule_id} ({one.holder})" for one in named)
    return f"{len(named)} schedules are named {name}: {ids}; say which by its id"
