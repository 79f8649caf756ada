"""`leasehold doctor`: what is wrong here, and how to mend it (OPS-20)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.cli.checks import Finding


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    @verb
    def doctor(session: Session) -> int:
        """Look for what is wrong, and say how to mend it. Exits 1 if anything keeps Leasehold from
        working.
        """
        from leasehold.cli.checks import examine

        found = examine(session.env, session.server)
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.name for one in found if one.state != "ok"])
        else:
            _show(session, found)
        return exits.NO if any(one.state == "bad" for one in found) else exits.DONE


def _show(session: Session, found: list[Finding]) -> None:
    width = max(len(one.name) for one in found)
    for one in found:
        session.out.text(f"{session.out.state(one.state):<4}  {one.name.ljust(width)}  {one.what}")
        if one.cure:
            session.out.text(f"      {' ' * width}  → {one.cure}")
    bad = sum(one.state == "bad" for one in found)
    warned = sum(one.state == "warn" for one in found)
    verdict = f"{bad} to mend" if bad else "nothing keeps it from working"
    session.say(f"{verdict}{f', {warned} worth knowing' if warned else ''}")
