"""`leasehold config`: what is set, where it comes from, and what can be set (OPS-10)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What is set, and what can be.", no_args_is_help=True, rich_markup_mode=None)

    @group.command("check")
    @verb
    def check(
        session: Session,
        file: Annotated[str, typer.Argument(metavar="[FILE]", help="instead of the file in use")] = "",
    ) -> int:
        """Say whether the configuration can be used."""
        from leasehold.config import load

        if file and not Path(file).is_file():
            raise Failed(exits.BAD_FILE, f"there is no file {file}")
        env = dict(session.env) | ({"LEASEHOLD_CONFIG": file} if file else {})
        loaded = load({}, env)
        where = str(loaded.file) if loaded.file else "no file; defaults and the environment"
        if session.out.as_json:
            session.out.document({"ok": True, "file": str(loaded.file) if loaded.file else None})
        else:
            session.say(f"the configuration is good ({where})")
        return exits.DONE

    @group.command("show")
    @verb
    def show(
        session: Session,
        origin: Annotated[bool, typer.Option("--origin", help="say where each value comes from")] = False,
        changed: Annotated[bool, typer.Option("--changed", help="only what is not the default")] = False,
    ) -> int:
        """Show every setting as it would be used by a start now."""
        from leasehold.config import load
        from leasehold.config.pages import rows, toml

        found = [row for row in rows(load({}, session.env)) if not changed or row.origin != "default"]
        if session.out.as_json:
            session.out.document(found if origin else {row.key: row.value for row in found})
            return exits.DONE
        for row in found:
            from_ = f"  # {row.origin}{'; takes a restart' if row.restart else ''}" if origin else ""
            session.out.text(f"{row.key} = {toml(row.value)}{from_}")
        return exits.DONE

    @group.command("example")
    @verb
    def example(session: Session) -> int:
        """Print a configuration file that shows every default."""
        from leasehold.config.pages import example

        session.out.text(example().rstrip())
        return exits.DONE

    @group.command("schema")
    @verb
    def schema(session: Session) -> int:
        """Print the JSON Schema of the configuration file."""
        from leasehold.config.pages import schema

        session.out.document(schema())
        return exits.DONE

    app.add_typer(group, name="config")
