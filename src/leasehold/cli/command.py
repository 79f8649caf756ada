"""A command as it goes to the runner: words, folder and environment of whoever types it (QUEUE-21)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from leasehold.cli import exits
from leasehold.cli.session import Failed

ENV = ("PATH", "HOME", "LANG")
"""What a command gets of its submitter's environment beside what --env names (QUEUE-21)."""


def command_of(
    argv: Sequence[str], env: Sequence[str], cwd: str, *, own: Sequence[str] = ENV
) -> dict[str, Any]:
    """The `exec` part of a job. Raises Failed with what to type instead."""
    if not argv:
        raise Failed(exits.USAGE, "what is to be run? Say it behind --, like `-- restic backup /home`")
    folder = os.path.abspath(cwd or _here())
    given = {each: os.environ[each] for each in own if each in os.environ} | _named(env)
    _all_text([*argv, folder, *given, *given.values()])
    return {"argv": list(argv), "cwd": folder, "env": given}


def check_there(command: Mapping[str, Any]) -> None:
    """Refuse what can't be run here: 127 where there is no such command, 126 where it is no program."""
    word, path, folder = command["argv"][0], command["env"].get("PATH", os.defpath), command["cwd"]
    if not os.path.isdir(folder):
        raise Failed(exits.USAGE, f"--cwd: {folder} is no folder here; --force submits it all the same")
    if "/" in word:
        file = os.path.join(folder, word)
        found = file if os.access(file, os.X_OK) and not os.path.isdir(file) else None
        exists = os.path.exists(file)
    else:
        found, exists = shutil.which(word, path=path), False
    if found is not None:
        return
    hint = "write its whole path, or --force to submit it all the same"
    if exists:
        raise Failed(exits.CANNOT_EXECUTE, f"{word} can't be executed here (chmod +x?); {hint}")
    where = f"in {folder}" if "/" in word else "on this PATH"
    raise Failed(exits.NO_SUCH_COMMAND, f"{word}: there is no such command {where}; {hint}")


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise Failed(exits.USAGE, "this folder is gone; say another by --cwd") from None


def _named(env: Sequence[str]) -> dict[str, str]:
    given = {}
    for each in env:
        name, separator, value = each.partition("=")
        if not name:
            raise Failed(exits.USAGE, f"--env {each}: expected NAME or NAME=VALUE")
        if not separator and name not in os.environ:
            raise Failed(exits.USAGE, f"--env: {name} is not set here; --env {name}=VALUE sets it")
        given[name] = value if separator else os.environ[name]
    return given


def _all_text(words: Sequence[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = word.encode("utf-8", "backslashreplace").decode()
            raise Failed(
                exits.USAGE, f"{shown} is not UTF-8, so it can't be sent; put the command in a script"
            ) from None
