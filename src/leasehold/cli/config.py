"""`leasehold config`: what is set, where it comes from, and what can be set (OPS-10)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        import msgspec

        from leasehold.config import load

        loaded = load({}, session.env)
        rows = [
            (key, value, loaded.origin(key))
            for key, value in _leaves(msgspec.to_builtins(loaded.settings))
            if not changed or loaded.origin(key) != "default"
        ]
        if session.out.as_json:
            shown = {key: {"value": value, "origin": from_} for key, value, from_ in rows}
            session.out.document(shown if origin else {key: value for key, value, _ in rows})
            return exits.DONE
        for key, value, from_ in rows:
            session.out.text(f"{key} = {_toml(value)}{f'  # {from_}' if origin else ''}")
        return exits.DONE

    @group.command("example")
    @verb
    def example(session: Session) -> int:
        """Print a configuration file with every setting at its default."""
        import msgspec

        from leasehold.config import Settings
        from leasehold.config.load import default_config_file, default_data

        session.out.text(
            f"# {default_config_file(session.env)}\n# These are the defaults; keep what you change.\n"
        )
        settings = msgspec.to_builtins(Settings(data=str(default_data(session.env))))
        session.out.text("\n".join(_file(settings)))
        return exits.DONE

    @group.command("schema")
    @verb
    def schema(session: Session) -> int:
        """Print the JSON Schema of the configuration file."""
        import msgspec

        from leasehold.config import Settings

        session.out.document(msgspec.json.schema(Settings))
        return exits.DONE

    app.add_typer(group, name="config")


def _leaves(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _file(table: dict[str, Any], above: str = "") -> Iterator[str]:
    """The lines of a TOML file: plain values first, then a section for each table."""
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"# {_key(key)} = {_toml(value)}" if value is None else f"{_key(key)} = {_toml(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"\n[{above}{_key(key)}]"
            yield from _file(value, f"{above}{_key(key)}.")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else _toml(name)


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return '""'
    if isinstance(value, str):
        import json

        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return str(value)
