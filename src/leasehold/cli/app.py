"""The command line without `run`: all verbs, and what their errors mean to a shell."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from importlib import import_module

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from leasehold.cli import exits
from leasehold.cli.completion import VARIABLE
from leasehold.cli.session import Failed, tell
from leasehold.cli.submit import main as submit

MODULES = (
    "up",
    "demo",
    "open",
    "run_help",
    "submit",
    "queue",
    "logs",
    "wait",
    "job",
    "status",
    "top",
    "why",
    "get",
    "cost",
    "lease",
    "lock",
    "owner",
    "schedule",
    "work",
    "guard",
    "alert",
    "addon",
    "tenant",
    "token",
    "event",
    "audit",
    "notify",
    "history",
    "when",
    "replay",
    "backup",
    "store",
    "config",
    "doctor",
    "log_level",
    "mcp",
    "completion",
)
"""Each has `register(app)`; the order is that of `leasehold --help`."""


def build() -> typer.Typer:
    """The application with all its verbs."""
    app = typer.Typer(
        name="leasehold",
        help="Heavy work asks first: may this run here, now?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    for name in MODULES:
        import_module(f"leasehold.cli.{name}").register(app)
    return app


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code; every expected error is one line that says what to do."""
    if VARIABLE in os.environ:
        completion_init()
    try:
        if arguments[:1] == ["submit"]:  # Its own table of options; what is behind -- stays as it is.
            return submit(list(arguments[1:]))
        outcome = typer.main.get_command(build()).main(
            list(arguments), prog_name="leasehold", standalone_mode=False
        )
        return outcome if isinstance(outcome, int) else exits.DONE
    except typer.TyperException as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return exits.SIGNAL_BASE + signal.SIGINT
    except Failed as error:
        tell(error.sentence)
        return error.code
    except _of_the_api() as error:
        return _tell_api(error)


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
    else:
        tell(f"{error.format_message()}{f' (see {context.command_path} --help)' if context else ''}")
    return exits.USAGE


def _of_the_api() -> tuple[type[Exception], ...]:
    """The errors of calls and settings: a function, so that they are imported only by a verb that fails."""
    from leasehold.client.endpoint import BadAddress
    from leasehold.client.lean import Unreachable
    from leasehold.config import ConfigError
    from leasehold.model.errors import LeaseholdError

    return Unreachable, BadAddress, ConfigError, LeaseholdError


def _tell_api(error: Exception) -> int:
    from leasehold.client.lean import Unreachable
    from leasehold.config import ConfigError
    from leasehold.model.errors import LeaseholdError

    match error:
        case Unreachable():
            tell(
                f"{error.message}; `leasehold up` starts a server, `leasehold doctor` finds out what is wrong"
            )
            return exits.UNREACHABLE
        case ConfigError():
            tell(f"{error}; `leasehold config example` shows what can be set")
            return exits.CONFIGURATION
        case LeaseholdError():
            status = int(error.details.get("status", 500))
            tell(_sentence(error, status))
            return exits.of_problem(status, str(error.details.get("code", error.code)))
        case _:
            tell(str(error))
            return exits.USAGE


def _sentence(error: Exception, status: int) -> str:
    details = getattr(error, "details", {})
    told = [one for one in details.get("fields") or [] if one.expected not in str(error)]
    fields = "; ".join(f"{one.field}: {one.expected}" for one in told)
    request_id = (
        f" (request {details.get('request_id')})" if status >= 500 and details.get("request_id") else ""
    )
    return f"{error}{f' ({fields})' if fields else ''}{request_id}"
