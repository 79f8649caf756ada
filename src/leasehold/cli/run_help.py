"""`leasehold run` as `leasehold --help` lists it. It is carried out by `cli.run`, without any of this being
imported.
"""

from __future__ import annotations

import os

import typer


def register(app: typer.Typer) -> None:
    @app.command(
        "run",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
        rich_help_panel=None,
    )
    def run(arguments: list[str]) -> None:
        """Wait for a lease, then run a command here: run [OPTIONS] -- COMMAND."""
        from leasehold.cli.run.program import main

        raise typer.Exit(main(arguments, os.environ))
