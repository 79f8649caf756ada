"""`leasehold revoke`, `pause`, `resume`: take leases back; have work stand still, and let it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.job import Which, act
from leasehold.cli.queue import GROUP, LABEL, STATE
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.client.calls import Call
    from leasehold.wire.lease import LeaseOut

IDS = Annotated[list[str] | None, typer.Argument(metavar="ID…")]
FILTER = Annotated[
    str, typer.Option("--filter", metavar="TEXT", help="every live lease with this text in its listing")
]
NOTE = Annotated[str, typer.Option("--note", metavar="TEXT", help="why; its holder and the events are told")]


def register(app: typer.Typer) -> None:
    @app.command("revoke")
    @verb
    def revoke(
        session: Session,
        ids: IDS = None,
        filter: FILTER = "",  # noqa: A002
        grace: Annotated[
            str, typer.Option("--grace", metavar="TIME", help="time to end by itself: 10s by default")
        ] = "",
        note: NOTE = "",
    ) -> int:
        """Take leases back: the holder is told to stop, and after its grace period is stopped."""
        from leasehold.cli.amounts import duration, spell
        from leasehold.client import calls
        from leasehold.wire.lease import Revoke

        try:
            grace_s = round(duration(grace)) if grace else None
        except ValueError as error:
            raise Failed(exits.USAGE, f"--grace {grace}: {error}") from None
        chosen = _chosen(session, ids or [], filter)
        if filter and len(chosen) > 1 and not session.dry_run:
            session.confirm(f"Revoke {len(chosen)} leases?")
        for lease_id in chosen:
            if session.dry_run:
                session.out.text(f"would revoke {lease_id}")
                continue
            found = session.client.send(
                calls.REVOKE, Revoke(grace_sec=grace_s, note=note), path={"lease_id": lease_id}
            )
            if session.out.as_json:
                session.out.line(found)
            elif session.out.quiet:
                session.out.ids([lease_id])
            else:
                left = f"; it has {spell(grace_s)}" if grace_s is not None and not found.ended_at else ""
                session.out.text(f"{lease_id} is {found.state}{left}")
        return exits.DONE

    @app.command("pause")
    @verb
    def pause(
        session: Session,
        ids: IDS = None,
        filter: FILTER = "",  # noqa: A002
        state: STATE = "",
        group: GROUP = "",
        label: LABEL = "",
        note: NOTE = "",
    ) -> int:
        """Have leases' or jobs' work stand still until somebody resumes it; a job that waits is held."""
        return _both(
            session, "pause", ids or [], filter, Which(None, state=state, group=group, label=label), note
        )

    @app.command("resume")
    @verb
    def resume(
        session: Session,
        ids: IDS = None,
        filter: FILTER = "",  # noqa: A002
        state: STATE = "",
        group: GROUP = "",
        label: LABEL = "",
        note: NOTE = "",
    ) -> int:
        """Let work go on at once: what a person paused or held, and what gave way to a busy machine."""
        return _both(
            session, "resume", ids or [], filter, Which(None, state=state, group=group, label=label), note
        )


def _both(session: Session, word: str, ids: list[str], text: str, which: Which, note: str) -> int:
    """Leases by id or --filter, jobs by id or by what only jobs have."""
    from leasehold.client import calls
    from leasehold.wire.lease import Pause, Resume

    which.ids = [one for one in ids if one.startswith("job-")]
    leases = [one for one in ids if not one.startswith("job-")]
    if which.by_filter:
        which.ids, which.text = ids, text
        return act(session, word, which, note=note)
    code = exits.DONE
    if leases or not which.ids:
        chosen = _chosen(session, leases, text)
        if word == "pause":
            code = _each(session, chosen, word, calls.PAUSE, Pause(note))
        else:
            code = _each(session, chosen, word, calls.RESUME, Resume(note))
    return (act(session, word, which, note=note) or code) if which.ids else code


def _each(session: Session, chosen: list[str], verb: str, call: Call[Any, LeaseOut], body: object) -> int:
    """Send the same to each lease and say what came of it."""
    for lease_id in chosen:
        if session.dry_run:
            session.out.text(f"would {verb} {lease_id}")
            continue
        found = session.client.send(call, body, path={"lease_id": lease_id})
        if session.out.as_json:
            session.out.line(found)
        elif session.out.quiet:
            session.out.ids([lease_id])
        else:
            now = found.held_back or "it runs"
            session.out.text(
                f"{lease_id}: {'stands still' if 'frozen' in found.flags else 'goes on'} ({now})"
            )
    return exits.DONE


def _chosen(session: Session, ids: list[str], text: str) -> list[str]:
    from leasehold.cli import words
    from leasehold.cli.ids import lease_id
    from leasehold.client import calls

    if bool(ids) == bool(text):
        raise Failed(exits.USAGE, "give either ids or --filter (see `leasehold get leases`)")
    if ids:
        return [lease_id(session, typed) for typed in ids]
    active = session.client.send(calls.STATUS).active
    found = [
        one.lease_id for one in active if text in " ".join(map(str, (one.lease_id, *words.lease_row(one))))
    ]
    if not found:
        raise Failed(exits.NOT_FOUND, f"no live lease has {text!r} in its listing")
    return found
