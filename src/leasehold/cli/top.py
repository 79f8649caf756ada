"""`leasehold top`: a live terminal screen of the node (OPS-19). Textual is imported only to draw."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.cli.screen.feed import ServerFeed

WIDTH_WITHOUT_TERMINAL = 120


def register(app: typer.Typer) -> None:
    @app.command("top")
    @verb
    def top(
        session: Session,
        once: Annotated[bool, typer.Option("--once", help="print one frame as text, and end")] = False,
    ) -> int:
        """Watch the machine live: may heavy work run, who holds what, what waits and why. `q` quits."""
        from leasehold.cli.screen.feed import ServerFeed
        from leasehold.client.endpoint import candidates

        feed = ServerFeed(lambda: candidates(session.env, session.server))
        if once or session.out.as_json:
            return _once(session, feed)
        _check_terminal()
        return _watch(session, feed)


def _once(session: Session, feed: ServerFeed) -> int:
    from leasehold.cli.screen.once import look, show

    sight = asyncio.run(look(feed))
    if session.out.as_json:
        session.out.document({"state": sight.state, "jobs": sight.jobs, "scores": sight.scores})
        return exits.DONE
    width = shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns
    show(sight, width, color=session.out.color)
    return exits.DONE


def _check_terminal() -> None:
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return
    raise Failed(
        exits.USAGE,
        "top draws on a terminal, and there is none here; --once prints one frame, --json one document",
    )


def _watch(session: Session, feed: ServerFeed) -> int:
    session.client.close()  # Whether anybody is there is said before the screen is taken.
    if not session.out.color:
        os.environ["NO_COLOR"] = "1"  # The one way to tell Textual.
    for name in ("COLUMNS", "LINES"):  # Textual believes them, and they stay as they were in a new size.
        os.environ.pop(name, None)
    from leasehold.cli.screen.app import Top
    from leasehold.runtime.clock import RealClock

    screen = Top(feed, RealClock())
    screen.run()
    return screen.return_code or exits.DONE
