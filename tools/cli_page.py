"""The page of the command line, from the program's own tables of verbs, options and exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from leasehold.cli import exits, submit_options
from leasehold.cli.app import build
from leasehold.cli.run import options as run_options
from leasehold.cli.session import COMMON

TABLES = {"run": run_options.OPTIONS, "submit": submit_options.OPTIONS}
"""Verbs that have a table of options of their own."""

WRITTEN = "Written by `make reference` from the program itself."


def page() -> str:
    """All verbs, the options that stand everywhere, those of `run` and `submit`, and the exit codes."""
    top = typer.main.get_command(build())
    return "\n".join(
        [
            "# The command line",
            "",
            WRITTEN,
            "Results go to standard output, messages with the prefix `leasehold: ` to standard error. Ids",
            "may be shortened as long as one object answers. A server is looked for at `--server`, then",
            "`LEASEHOLD_URL` (with `LEASEHOLD_TOKEN`), then in the caller's data folder, then in",
            "`/run/leasehold`.",
            "",
            "## Everywhere",
            "",
            "option | means",
            "---|---",
            *everywhere(top.commands["status"]),
            "",
            *(line for name, command in verbs(top) for line in section(name, command)),
            "## Exit codes",
            "",
            "code | means",
            "---|---",
            *codes(),
            "",
            "A child's own code is told from one of `run`'s by `--status-file`.",
            "",
        ]
    )


def everywhere(command: Any) -> Iterator[str]:
    """The options that every verb takes; `run` has those that make sense for it in its own list."""
    for one in command.params:
        if one.name in COMMON:
            yield option(one)


def option(one: Any) -> str:
    """One option of a verb."""
    metavar = "" if one.is_flag else f" {one.metavar or 'N'}"
    return f"{', '.join(f'`{word}{metavar}`' for word in one.opts)} | {cell(one.help or '')}"


def codes() -> Iterator[str]:
    """The exit codes."""
    for code, means in exits.MEANINGS.items():
        yield f"{code} | {cell(means)}" if code != exits.SIGNAL_BASE else f"128 + n | {cell(means)}"


def verbs(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups opened."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def section(name: str, command: Any) -> Iterator[str]:
    """One verb: what it does, how it is called, and its own options."""
    yield from (f"## leasehold {name}", "", " ".join(command.help.split()), "")
    if name in TABLES:
        yield from (f"    leasehold {name} [OPTIONS] -- COMMAND [ARGUMENT…]", "", "option | means", "---|---")
        yield from (
            f"`{f'{option.name} {option.metavar}'.strip()}` | {cell(option.explained)}"
            for option in TABLES[name]
        )
        yield ""
        return
    common = set(COMMON)
    arguments = [shown(one) for one in command.params if one.param_type_name == "argument"]
    yield from (f"    {' '.join(['leasehold', name, '[OPTIONS]', *arguments])}", "")
    own = [
        one for one in command.params if one.param_type_name == "option" and one.name not in common | {"help"}
    ]
    if own:
        yield from ("option | means", "---|---")
        yield from map(option, own)
        yield ""


def shown(argument: Any) -> str:
    """An argument as it stands in a usage line."""
    text = argument.metavar or argument.name.upper()
    return text if argument.required or text.startswith("[") else f"[{text}]"


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|")
