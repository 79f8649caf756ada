"""The options of `leasehold run`: one table, from which they are parsed, explained, and documented.

Parsed by hand because a parser from a library costs more time than `run` may add to a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from leasehold.cli.amounts import duration, millicores, size

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any


class Usage(Exception):
    """The command line can't be understood. The sentence says what was expected."""


class Option:
    """One option. `metavar` is empty for a switch; `many` may be given more than once."""

    __slots__ = ("explained", "field", "many", "metavar", "name", "read")

    def __init__(
        self,
        name: str,
        metavar: str,
        explained: str,
        read: Callable[[str], Any] | None = None,
        many: bool = False,
        field: str = "",
    ) -> None:
        self.name = name
        self.field = field or name.lstrip("-").replace("-", "_")
        self.metavar = metavar
        self.explained = explained
        self.read = read
        self.many = many


def choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return read


def cost_class(text: str) -> str:
    return choice("LOW", "NORMAL", "HIGH")(text.upper())


def priority(text: str) -> str:
    return choice("URGENT", "HIGH", "NORMAL", "LOW", "BACKGROUND", "INTERACTIVE", "BATCH")(text.upper())


def constraint(text: str) -> str:
    return choice("cpu_heavy", "disk_write_heavy", "network_heavy", "gpu")(text.replace("-", "_"))


def slot(text: str) -> tuple[str, int | None]:
    name, separator, count = text.partition("=")
    if not name or (separator and not (count.isdecimal() and int(count) >= 1)):
        raise ValueError("expected NAME=SIZE with a size from 1, like scanner=3")
    return name, int(count) if separator else None


def _descriptor(text: str) -> int:
    """A descriptor above standard error that is open, made ours alone: the command does not get it."""
    try:
        fd = whole(3, 1_048_576)(text)
        os.set_inheritable(fd, False)
    except (OSError, ValueError):
        raise ValueError("expected the number of an open file descriptor from 3") from None
    return fd


def expected(text: str) -> int:
    return max(1, round(duration(text)))


OPTIONS: tuple[Option, ...] = (
    Option("--cost", "UNITS", "abstract cost, 1 to 100 (a quiet machine has 90 to give)", whole(1, 100)),
    Option("--class", "CLASS", "cost class instead: LOW, NORMAL or HIGH", cost_class, field="cost_class"),
    Option("--cpu", "CORES", "cores instead of units: 4, 0.5 or 500m", millicores),
    Option("--mem", "SIZE", "memory: 8G, 512M", size),
    Option("--disk", "SIZE", "disk space: 20G", size),
    Option("--gpu", "N", "whole GPUs", whole(1, 64)),
    Option("--enforce", "", "have the kernel hold it to its cores and memory (where the machine allows it)"),
    Option("--priority", "NAME", "urgent, high, normal (default), low or background", priority),
    Option(
        "--start",
        "WHEN",
        "now (default), or quiet: wait for the machine to be quiet",
        choice("now", "quiet"),
    ),
    Option("--wait", "TIME", "give up with code 75 after this long; for ever without it", duration),
    Option("--lock", "NAME", "also take this lock; may be repeated", str, many=True),
    Option(
        "--slots",
        "NAME=SIZE",
        "also take one slot of a semaphore of that size; may be repeated",
        slot,
        many=True,
    ),
    Option(
        "--constraint",
        "WHAT",
        "cpu-heavy, disk-write-heavy, network-heavy or gpu; may be repeated",
        constraint,
        many=True,
    ),
    Option("--expect", "TIME", "how long it will take, for everybody's estimates", expected),
    Option(
        "--job-type", "NAME", "what kind of work it is; by default the command's name and first word", str
    ),
    Option("--label", "TEXT", "shown to others beside the job type", str),
    Option(
        "--on-busy",
        "WHAT",
        "how it gives way to the owner: keep (default), throttle, pause, stop",
        choice("keep", "throttle", "pause", "stop"),
    ),
    Option(
        "--on-lost",
        "WHAT",
        "when the lease is lost: continue, or stop (default with --lock)",
        choice("continue", "stop"),
    ),
    Option(
        "--when-down",
        "WHAT",
        "when the server can't be reached: run, wait or fail",
        choice("run", "wait", "fail"),
    ),
    Option("--ticket", "TICKET", "take up a place in the line that was left", str),
    Option(
        "--status-file", "PATH", "write how it ended, as JSON: tells the command's own code from ours", str
    ),
    Option(
        "--messages-fd",
        "FD",
        "messages, and how it ended, as one JSON object a line on this open descriptor",
        _descriptor,
    ),
    Option(
        "--server", "ADDRESS", "http://HOST:PORT, unix:/PATH; by default the one of this user or machine", str
    ),
    Option("--json", "", "messages as one JSON object a line, on standard error"),
    Option("--quiet", "", "say nothing but errors"),
    Option("--no-color", "", "no colour; `run` uses none"),
    Option("--help", "", "show this and exit"),
)
BY_NAME = {option.name: option for option in OPTIONS} | {"-h": OPTIONS[-1], "-q": OPTIONS[-3]}


class Wanted:
    """What one `run` was asked for: a field per option, None (or an empty list) where not given."""

    def __init__(self) -> None:
        self.cost: int | None = None
        self.cost_class: str | None = None
        self.cpu: int | None = None
        self.mem: int | None = None
        self.disk: int | None = None
        self.gpu: int | None = None
        self.enforce = False
        self.priority: str | None = None
        self.start = "now"
        self.wait: float | None = None
        self.lock: list[str] = []
        self.slots: list[tuple[str, int | None]] = []
        self.constraint: list[str] = []
        self.expect: int | None = None
        self.job_type: str | None = None
        self.label: str | None = None
        self.on_busy: str | None = None
        self.on_lost: str | None = None
        self.when_down: str | None = None
        self.ticket: str | None = None
        self.status_file: str | None = None
        self.messages_fd: int | None = None
        self.server = ""
        self.json = False
        self.quiet = False
        self.no_color = False
        self.help = False
        self.command: list[str] = []


def parse(arguments: Sequence[str]) -> Wanted:
    """Read everything after `run`. The command begins after `--`, or at the first word that is no option.

    Raises Usage.
    """
    wanted = Wanted()
    read(wanted, arguments, BY_NAME, "run")
    if wanted.help:
        return wanted
    if not wanted.command:
        raise Usage("no command: leasehold run [OPTIONS] -- COMMAND [ARGUMENT…]")
    if wanted.cost is not None and wanted.cost_class is not None:
        raise Usage("--cost and --class say the same thing twice; give one")
    return wanted


def read(wanted: Any, arguments: Sequence[str], by_name: Mapping[str, Option], verb: str) -> None:
    """Fill the fields of `wanted` (with `command` and `help`) as a verb's table of options says.

    What follows `--`, or the first word that is no option, is the command. Raises Usage.
    """
    rest = list(arguments)
    while rest and not wanted.help:
        word = rest.pop(0)
        if word == "--":
            wanted.command = rest
            return
        if not word.startswith("-") or word == "-":
            wanted.command = [word, *rest]
            return
        _take(wanted, word, rest, by_name, verb)


def _take(wanted: Any, word: str, rest: list[str], by_name: Mapping[str, Option], verb: str) -> None:
    name, separator, value = word.partition("=")
    option = by_name.get(name)
    if option is None:
        raise Usage(f"unknown option {name}{_nearest(name, by_name)}; see leasehold {verb} --help")
    if not option.metavar:
        if separator:
            raise Usage(f"{name} takes no value")
        setattr(wanted, option.field, True)
        return
    if not separator:
        if not rest:
            raise Usage(f"{name} needs a value: {option.metavar}")
        value = rest.pop(0)
    assert option.read is not None
    try:
        given = option.read(value)
    except ValueError as error:
        raise Usage(f"{name} {value}: {error}") from None
    if option.many:
        getattr(wanted, option.field).append(given)
    else:
        setattr(wanted, option.field, given)


def _nearest(name: str, by_name: Mapping[str, Option]) -> str:
    import difflib

    close = difflib.get_close_matches(name, by_name, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def help_text() -> str:
    """What `leasehold run --help` prints."""
    lines = [
        "Usage: leasehold run [OPTIONS] -- COMMAND [ARGUMENT…]",
        "",
        "Wait for a lease, then run the command here.",
        "",
    ]
    for option in OPTIONS:
        head = f"  {option.name} {option.metavar}".rstrip()
        lines.append(f"{head:<24}{option.explained}")
    lines += [
        "",
        "Without a cost the one learned from earlier runs of this job type is asked for, else class NORMAL.",
        "Exit code: the command's own; 75 gave up waiting; 76 lease lost and the work was stopped;",
        "126/127 can't be executed/not found; 128+n ended by signal n.",
        "LEASEHOLD=off runs the command at once, without any of this.",
    ]
    return "\n".join(lines)


def job_type(command: Sequence[str]) -> str:
    """The default job type: `make test`, `python pytest`, `ffmpeg`. Never a value that could be private.

    The first word that is no option counts only if it looks like the name of a sub-command.
    """
    name = _clean(os.path.basename(command[0]))
    first = next((word for word in command[1:] if not word.startswith("-")), "")
    plain = len(first) <= 32 and first[:1].isalpha() and all(c.isalnum() or c in "_-:" for c in first)
    return (f"{name} {first}" if plain else name)[:128] or "generic"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def body(wanted: Wanted) -> dict[str, Any]:
    """The request (LEASE-1) as it goes over the wire, without ticket and waiting time."""
    found: dict[str, Any] = {
        "job_type": wanted.job_type or job_type(wanted.command),
        "cost_units": wanted.cost,
        "cost_class": wanted.cost_class,
        "resources": _resources(wanted),
        "locks": wanted.lock,
        "slots": [
            {"name": name} if count is None else {"name": name, "size": count} for name, count in wanted.slots
        ],
        "expected_duration_sec": wanted.expect,
        "priority": wanted.priority,
        "constraints": wanted.constraint,
        "start": wanted.start,
        "on_busy": wanted.on_busy,
        "on_lost": wanted.on_lost,
        "label": (wanted.label or "")[:256],
        "enforce": wanted.enforce or None,
    }
    if wanted.constraint:
        found["path"] = os.getcwd()
    if not any(found[name] for name in ("cost_units", "cost_class", "resources", "locks", "slots")):
        found["cost_class"] = "AUTO"
    return {name: value for name, value in found.items() if value not in (None, [], "", {})}


def _resources(wanted: Wanted) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cpu_millicores": wanted.cpu,
        "memory_bytes": wanted.mem,
        "disk_bytes": wanted.disk,
    }
    if wanted.gpu:
        found["devices"] = {"gpu": wanted.gpu}
    return {name: value for name, value in found.items() if value is not None}
