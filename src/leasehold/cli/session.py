"""What every verb shares: the options that stand everywhere, the client, and how to speak (OPS-18)."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from leasehold.cli import exits
from leasehold.cli.render import Out

if TYPE_CHECKING:
    from leasehold.client.sync import Client

PREFIX = "leasehold: "


class Failed(Exception):
    """A verb that can't do what it was asked: its exit code and the sentence that says what to do."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Session:
    """One call of the command line."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        yes: bool = False,
        dry_run: bool = False,
        server: str = "",
        no_color: bool = False,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self.quiet = quiet
        self.yes = yes
        self.dry_run = dry_run
        self.server = server
        self.env = env
        self.out = Out(as_json=as_json, quiet=quiet, color=not no_color and "NO_COLOR" not in env)
        self._client: Client | None = None
        self._progress = False

    @property
    def client(self) -> Client:
        """A client of the server that this caller means. Raises Unreachable, BadAddress."""
        if self._client is None:
            from leasehold.client.endpoint import candidates
            from leasehold.client.sync import Client

            self._client = Client.first_of(candidates(self.env, self.server))
        return self._client

    def fresh_client(self) -> Client:
        """The same anew: the server may have started again, somewhere else. Raises like `client`."""
        self.close()
        self._client = None
        return self.client

    def close(self) -> None:
        """Give the connection up."""
        if self._client is not None:
            self._client.close()

    def say(self, sentence: str) -> None:
        """A message for people, on standard error."""
        if not self.quiet:
            tell(sentence)

    def progress(self, sentence: str) -> None:
        """How far long work is: a line on a terminal that the next one writes over; "" takes it away."""
        if (self.quiet or not sys.stderr.isatty()) or not (sentence or self._progress):
            return
        text = f"{PREFIX}{sentence}" if sentence else ""
        print(
            f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True
        )
        self._progress = bool(sentence)

    def confirm(self, question: str) -> None:
        """Ask before what can't be undone. Raises Failed unless the answer is yes."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Failed(exits.USAGE, f"{question} Say --yes to do it without being asked")
        print(f"{PREFIX}{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Failed(exits.NO, "not done")


def tell(sentence: str) -> None:
    """Write a message with the prefix to standard error."""
    print(f"{PREFIX}{sentence}", file=sys.stderr)


COMMON: dict[str, Any] = {
    "as_json": Annotated[bool, typer.Option("--json", help="print JSON, for programs")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="print ids only, and no messages")],
    "yes": Annotated[bool, typer.Option("--yes", "-y", help="do not ask")],
    "dry_run": Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")],
    "server": Annotated[
        str, typer.Option("--server", metavar="ADDRESS", help="http://HOST:PORT or unix:/PATH")
    ],
    "no_color": Annotated[bool, typer.Option("--no-color", help="no colour")],
}


def carry_out(session: Session, work: Callable[[], int | None]) -> int | None:
    """Do what a verb does, and leave nothing open. Returns its exit code."""
    try:
        code = work()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return exits.DONE
    finally:
        session.progress("")
        session.close()


def verb(function: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command the options that stand everywhere. It takes a Session first, and may return an exit
    code.
    """
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    own = list(signature.parameters.values())[1:]
    empty = {"server": ""}
    common = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=empty.get(name, False), annotation=kind
        )
        for name, kind in COMMON.items()
    ]

    @functools.wraps(function)
    def wrapper(**given: Any) -> None:
        mine = {name: given.pop(name) for name in COMMON}
        session = Session(**mine)
        code = carry_out(session, lambda: function(session, **given))
        if code:
            raise typer.Exit(code)

    keyword = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in own
    ]
    wrapper.__signature__ = inspect.Signature([*keyword, *common])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: hints[parameter.name] for parameter in own} | COMMON
    return wrapper
