"""`leasehold get NOUN` and `leasehold describe ID`: look at one kind of thing, or at one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.lease import LeaseOut, SchedulerStatus

NOUNS = ("leases", "jobs", "waiting", "locks", "events", "nodes")


def register(app: typer.Typer) -> None:
    @app.command("get")
    @verb
    def get(
        session: Session,
        noun: Annotated[str, typer.Argument(metavar="|".join(NOUNS))],
        filter: Annotated[  # noqa: A002
            str, typer.Option("--filter", metavar="TEXT", help="only rows with this text anywhere in them")
        ] = "",
        limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="at most so many rows")] = 100,
        everything: Annotated[
            bool, typer.Option("--all", help="leases and jobs: also those that have ended")
        ] = False,
    ) -> int:
        """List one kind of thing."""
        name = noun if noun.endswith("s") or noun == "waiting" else f"{noun}s"
        if name not in NOUNS:
            raise Failed(exits.USAGE, f"there is no noun {noun}: expected one of {', '.join(NOUNS)}")
        if name == "locks":
            from leasehold.cli.lock import show_locks

            return show_locks(session, filter, limit)
        if name == "jobs":
            from leasehold.cli.queue import list_jobs

            return list_jobs(session, text=filter, limit=limit, everything=everything)
        if name == "events":
            from leasehold.cli.event import show_events

            return show_events(session, filter=filter, limit=limit, after=0, watch=False)
        return _from_status(session, name, filter, limit, everything=everything)

    @app.command("describe")
    @verb
    def describe(session: Session, id: Annotated[str, typer.Argument(metavar="ID")]) -> int:  # noqa: A002
        """Show all that is known of one thing: lease-…, job-…, tkt-…, or the name of a lock."""
        if id.startswith("lease-"):
            return _lease(session, id)
        if id.startswith("job-"):
            from leasehold.cli.describe_job import describe_job

            return describe_job(session, id)
        if id.startswith("tkt-"):
            from leasehold.cli.why import _ticket

            return _ticket(session, id)
        from leasehold.cli.lock import show_locks

        return show_locks(session, "", 1000, only=id)


def _from_status(session: Session, noun: str, text: str, limit: int, *, everything: bool) -> int:
    from leasehold.cli import words
    from leasehold.client import calls

    status = session.client.send(calls.STATUS)
    if noun == "nodes":
        return _node(session, status)
    head: tuple[str, ...] = words.LEASE_HEAD
    rows: list[tuple[str, object, tuple[object, ...]]]
    if noun == "waiting":
        head, rows = words.WAITER_HEAD, [(w.ticket, w, words.waiter_row(w)) for w in status.waiting]
    else:
        leases = [*status.active, *(status.ended if everything else [])]
        rows = [(one.lease_id, one, words.lease_row(one)) for one in leases]
    kept = [row for row in rows if not text or text in " ".join(map(str, (row[0], *row[2])))][:limit]
    if session.out.as_json:
        session.out.document([record for _, record, _ in kept])
    elif session.out.quiet:
        session.out.ids([found for found, _, _ in kept])
    else:
        nothing = "no one waits" if noun == "waiting" else "no leases"
        session.out.table(head, [row for _, _, row in kept], nothing=nothing)
    return exits.DONE


def _node(session: Session, status: SchedulerStatus) -> int:
    if session.out.as_json:
        node = {"node_id": status.node_id, "state": status.quiet_state, "score": status.quiet_score}
        session.out.document([node])
    elif session.out.quiet:
        session.out.ids([status.node_id])
    else:
        units = status.capacity.get("units")
        used = f"{units.used} of {units.usable} units" if units else "-"
        counts = len(status.active), len(status.waiting)
        row = (status.node_id, status.quiet_state, status.quiet_score, used, *counts)
        session.out.table(("NODE", "STATE", "SCORE", "USED", "LEASES", "WAITING"), [row])
    return exits.DONE


def _lease(session: Session, typed: str) -> int:
    from leasehold.cli.ids import lease_id
    from leasehold.client import calls

    found = session.client.send(calls.LEASE, path={"lease_id": lease_id(session, typed)})
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([found.lease_id])
    else:
        session.out.pairs(pairs(found))
    return exits.DONE


def pairs(found: LeaseOut) -> list[tuple[str, object]]:
    """All that is known of a lease, by name."""
    from leasehold.cli import words
    from leasehold.cli.amounts import spell

    return [
        ("id", found.lease_id),
        ("holder", found.addon_id),
        ("job type", found.job_type),
        ("label", found.label),
        ("state", found.state),
        ("flags", found.flags),
        ("node", found.node_id),
        ("holds", words.charge(found.charge)),
        ("priority", found.priority),
        ("constraints", found.constraints),
        ("on busy", found.on_busy),
        ("on lost", found.on_lost),
        ("granted", found.granted_at),
        ("last heartbeat", found.last_heartbeat_at),
        ("expires", found.expires_at),
        ("ended", found.ended_at),
        ("end reason", found.end_reason),
        ("runs for", spell(found.running_sec)),
        (
            "expected left",
            None if found.expected_left_sec is None else spell(max(0.0, found.expected_left_sec)),
        ),
        ("progress", None if found.progress is None else f"{found.progress:.0%} {found.message}".strip()),
        ("processes", [f"{process.pid} ({process.role})" for process in found.bound]),
        ("cgroup", found.cgroup),
        ("limits", words.limits(found.enforced) if found.enforced is not None else None),
        ("notice", found.notice),
        *[(f"used {name.replace('_', ' ')}", value) for name, value in found.usage.items()],
        *[(name.replace("_", " "), value) for name, value in found.asked_vs_used.items()],
    ]
