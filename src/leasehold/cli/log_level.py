"""`leasehold log-level`: what the running server logs, until it is restarted (OPS-11)."""

from __future__ import annotations

from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

LEVELS = ("debug", "info", "warning", "error", "critical")


def register(app: typer.Typer) -> None:
    @app.command("log-level")
    @verb
    def log_level(
        session: Session,
        level: Annotated[str, typer.Argument(metavar="|".join(LEVELS))],
        logger: Annotated[
            str, typer.Option("--logger", metavar="NAME", help="that logger and those below it")
        ] = "leasehold",
    ) -> int:
        """Change what the server logs, until it is restarted."""
        import msgspec

        from leasehold.client import calls
        from leasehold.wire.server import LogLevel

        if level.lower() not in LEVELS:
            raise Failed(exits.USAGE, f"{level} is no level: expected one of {', '.join(LEVELS)}")
        body = msgspec.convert({"level": level.lower(), "logger": logger}, LogLevel)
        found = session.client.send(calls.LOG_LEVEL, body)
        if session.out.as_json:
            session.out.document(found)
        else:
            session.out.pairs(sorted(found.levels.items()))
        return exits.DONE
