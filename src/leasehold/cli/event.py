"""`leasehold events`: every transition, in one ordered stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.wire.event import EventOut

PAGE = 500
WATCH_S = 1.0


def register(app: typer.Typer) -> None:
    @app.command("events")
    @verb
    def events(
        session: Session,
        filter: Annotated[  # noqa: A002
            str, typer.Option("--filter", metavar="TEXT", help="only events with this text in them")
        ] = "",
        after: Annotated[int, typer.Option("--after", min=0, help="only those numbered above this")] = 0,
        limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="the last so many")] = 50,
        watch: Annotated[
            bool, typer.Option("--watch", "-f", help="go on as they come, until Ctrl-C")
        ] = False,
    ) -> int:
        """What happened: grants, releases, revocations, losses, with who and why."""
        return show_events(session, filter=filter, limit=limit, after=after, watch=watch)


def show_events(session: Session, *, filter: str, limit: int, after: int, watch: bool) -> int:  # noqa: A002
    """Print the last `limit` events that match; with `watch`, also those that come."""
    from collections import deque

    from leasehold.runtime.lean import pause

    kept: deque[EventOut] = deque(maxlen=limit)
    for event in _new(session, after):
        after = event.seq
        if _matches(event, filter):
            kept.append(event)
    if session.out.as_json and not watch:
        session.out.document(list(kept))
        return exits.DONE
    for event in kept:
        _print(session, event)
    while watch:
        pause(WATCH_S)
        for event in _new(session, after):
            after = event.seq
            if _matches(event, filter):
                _print(session, event)
    return exits.DONE


def _new(session: Session, after: int) -> list[EventOut]:
    """All events after one, page by page."""
    from leasehold.client import calls

    found: list[EventOut] = []
    while True:
        page = session.client.send(calls.EVENTS, query={"after": after, "limit": PAGE})
        found += page.events
        if len(page.events) < PAGE:
            return found
        after = page.events[-1].seq


def _matches(event: EventOut, text: str) -> bool:
    return text in " ".join((event.kind, event.subject, event.actor, event.code, str(event.details)))


def _print(session: Session, event: EventOut) -> None:
    if session.out.as_json:
        session.out.line(event)
    elif session.out.quiet:
        session.out.ids([str(event.seq)])
    else:
        details = " ".join(f"{name}={value}" for name, value in event.details.items())
        actor = f" by {event.actor}" if event.actor else ""
        code = f" {event.code}" if event.code else ""
        session.out.text(
            f"{event.seq}  {event.at}  {event.kind}{code}  {event.subject}{actor}  {details}".rstrip()
        )
