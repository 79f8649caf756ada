"""`leasehold completion`: what makes a shell complete verbs and options."""

from __future__ import annotations

from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_LEASEHOLD_COMPLETE"


def register(app: typer.Typer) -> None:
    @app.command("completion")
    @verb
    def completion(session: Session, shell: Annotated[str, typer.Argument(metavar="|".join(SHELLS))]) -> int:
        """Print the completion script of a shell: eval "$(leasehold completion bash)"."""
        from typer.completion import get_completion_script  # type: ignore[attr-defined]

        if shell not in SHELLS:
            raise Failed(exits.USAGE, f"{shell} is not known: expected one of {', '.join(SHELLS)}")
        session.out.text(get_completion_script(prog_name="leasehold", complete_var=VARIABLE, shell=shell))
        return exits.DONE
