"""`leasehold queue`: what waits, what runs, and why it waits (QUEUE-16)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb
from leasehold.runtime.lean import pause

if TYPE_CHECKING:
    from leasehold.wire.job import JobOut, JobPage, QueueStats

WATCH_S = 2.0
PAGE = 1000
LIVE = "QUEUED,HELD,DISPATCHING,RUNNING,PAUSED"
STATES = ["QUEUED", "HELD", "DISPATCHING", "RUNNING", "PAUSED", "DONE", "FAILED", "CANCELED", "EXPIRED"]

STATE = Annotated[
    str, typer.Option("--state", metavar="STATE,…", help="only these: queued, running, failed, …")
]
LABEL = Annotated[str, typer.Option("--label", metavar="NAME[=VALUE]", help="only with this label")]
GROUP = Annotated[str, typer.Option("--group", metavar="NAME", help="only of this group or array")]


def register(app: typer.Typer) -> None:
    @app.command("queue")
    @verb
    def queue(
        session: Session,
        state: STATE = "",
        filter: Annotated[  # noqa: A002
            str, typer.Option("--filter", metavar="TEXT", help="only rows with this text anywhere in them")
        ] = "",
        label: LABEL = "",
        group: GROUP = "",
        everything: Annotated[
            bool, typer.Option("--all", help="also what has ended; members of groups one by one")
        ] = False,
        watch: Annotated[bool, typer.Option("--watch", "-w", help="again and again, until Ctrl-C")] = False,
        limit: Annotated[
            int, typer.Option("--limit", min=1, max=100_000, help="at most so many jobs")
        ] = 1000,
        stats: Annotated[
            bool, typer.Option("--stats", help="depth, rates and waiting times instead")
        ] = False,
    ) -> int:
        """Jobs that wait or run, and why they wait. A group is a line; --group NAME shows all of it."""
        if stats:
            return show_stats(session)
        wanted = {"state": states(state), "label": label, "group": group}
        whole = everything or bool(state or group)
        while True:
            found, more = fetch(session, wanted, filter, limit, everything=whole)
            if watch and sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")
            _show(session, found, more, folds=not everything, live=not whole)
            if not watch:
                return exits.DONE
            sys.stdout.flush()
            pause(WATCH_S)


def list_jobs(session: Session, *, text: str, limit: int, everything: bool) -> int:
    """`leasehold get jobs`: each by itself."""
    found, more = fetch(session, {}, text, limit, everything=everything)
    _show(session, found, more, folds=False, live=not everything)
    return exits.DONE


def states(text: str) -> str:
    """States as the API names them. Raises Failed."""
    names = [
        name.strip().upper().replace("CANCELLED", "CANCELED") for name in text.split(",") if name.strip()
    ]
    for name in names:
        if name not in STATES:
            raise Failed(exits.USAGE, f"--state {name.lower()}: expected {', '.join(STATES).lower()}")
    return ",".join(names)


def fetch(
    session: Session, wanted: dict[str, str], text: str, limit: int, *, everything: bool
) -> tuple[list[JobOut], bool]:
    """Jobs that match, newest first, and whether there are more."""
    from leasehold.cli.job_words import row
    from leasehold.client import calls

    query = {name: value for name, value in wanted.items() if value}
    if not everything:
        query["state"] = LIVE
    found: list[JobOut] = []
    cursor: str | None = None
    while len(found) < limit:
        size = min(PAGE, limit if not text else PAGE)
        page: JobPage = session.client.send(
            calls.JOBS, query=query | {"limit": size, "cursor": cursor}, timeout_s=30.0
        )
        found += [job for job in page.jobs if not text or text in " ".join(map(str, (job.job_id, *row(job))))]
        cursor = page.cursor
        if cursor is None:
            break
        session.progress(f"{len(found):,} jobs so far")
    session.progress("")
    return found[:limit], cursor is not None or len(found) > limit


def _show(session: Session, found: list[JobOut], more: bool, *, folds: bool, live: bool) -> None:
    from leasehold.cli.job_words import HEAD, folded, row

    out = session.out
    if out.as_json:
        out.document(found)
        return
    if out.quiet:
        out.ids([job.job_id for job in found])
        return
    rows = [cells for _, cells in folded(found)] if folds else [row(job) for job in found]
    nothing = (
        "nothing waits or runs; `leasehold queue --all` shows what has ended" if live else "no such jobs"
    )
    out.table(HEAD, rows, nothing=nothing)
    if found:
        out.text("")
        out.text(summary(found) + (f"; there are more (--limit {len(found) * 10})" if more else ""))


def summary(found: list[JobOut]) -> str:
    """`3 RUNNING, 12 QUEUED`."""
    counts = {state: sum(1 for job in found if job.state == state) for state in STATES}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def show_stats(session: Session) -> int:
    """`GET /stats` for people."""
    from leasehold.cli import estimate_words
    from leasehold.cli.amounts import bytes_text, spell
    from leasehold.client import calls

    found: QueueStats = session.client.send(calls.QUEUE_STATS)
    out = session.out
    if out.as_json:
        out.document(found)
        return exits.DONE
    rates = found.rates
    out.pairs(
        [
            ("jobs", ", ".join(f"{count:,} {state}" for state, count in found.states.items()) or "none"),
            ("oldest waits", None if found.oldest_sec is None else spell(found.oldest_sec)),
            (
                "in, started, ended a minute",
                f"{rates.submitted_per_min:g} / {rates.started_per_min:g} / {rates.ended_per_min:g}",
            ),
            (
                "waiting time",
                None
                if found.wait_p50_sec is None or found.wait_p95_sec is None
                else f"{spell(found.wait_p50_sec)} half of them, {spell(found.wait_p95_sec)} 95 of 100",
            ),
            ("start estimates", estimate_words.kept(found.estimates)),
            ("payloads", bytes_text(found.payload_bytes)),
            ("workers", str(found.workers)),
            *[(f"waits: {code}", f"{count:,}") for code, count in found.reasons.items()],
            ("unreadable", found.unreadable),
        ]
    )
    if found.depth:
        out.text("")
        rows = [
            (one.state, f"{one.count:,}", one.priority, one.job_type, one.holder, one.tenant)
            for one in found.depth
        ]
        out.table(("STATE", "JOBS", "PRIORITY", "JOB", "HOLDER", "TENANT"), rows)
    return exits.DONE
