"""The options of `leasehold submit`: a table like that of `run`, with what both have spelled the same."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from leasehold.cli.amounts import duration, millicores, size
from leasehold.cli.run import options as run
from leasehold.cli.run.options import Option, Usage, choice, read, whole

ARRAY_MAX = 100_000
"""Jobs of one array: a slip of the fingers is not to fill the queue."""

WIDTH = 110
INDEX_MAX = 1_000_000
LIMITS = {"cpu": millicores, "mem": size, "pids": whole(1, 1 << 22), "log": size}


def array(text: str) -> range:
    """`1-500`, `1-500:2`, `7`. Raises ValueError."""
    span, _, step = text.partition(":")
    first, dash, last = span.partition("-")
    parts = [first, last if dash else first, step or "1"]
    if not all(part.isdecimal() for part in parts):
        raise ValueError("expected FIRST-LAST or FIRST-LAST:STEP, like 1-500 or 0-990:10")
    low, high, by = (int(part) for part in parts)
    if by < 1 or high < low or high > INDEX_MAX:
        raise ValueError(f"expected FIRST up to LAST, at most {INDEX_MAX}, and a STEP from 1")
    found = range(low, high + 1, by)
    if len(found) > ARRAY_MAX:
        raise ValueError(f"that are {len(found):,} jobs; at most {ARRAY_MAX:,} go into one array")
    return found


def limits(text: str) -> dict[str, int]:
    """`cpu=2,mem=4G,pids=200,log=10M` as the API has it. Raises ValueError."""
    wire = {"cpu": "cpu_millicores", "mem": "memory_bytes", "pids": "pids", "log": "log_bytes"}
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in LIMITS or not value:
            raise ValueError("expected cpu=CORES, mem=SIZE, pids=N, log=SIZE, with commas between")
        try:
            found[wire[name]] = int(LIMITS[name](value))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def label(text: str) -> tuple[str, str]:
    """`name=value`, or a name alone. Raises ValueError."""
    name, _, value = text.partition("=")
    if not name:
        raise ValueError("expected NAME=VALUE, like project=thesis")
    return name, value


def seconds(text: str) -> int:
    return max(1, round(duration(text)))


SAME = ("--cost", "--class", "--cpu", "--mem", "--disk", "--gpu", "--enforce", "--priority")
MORE = ("--lock", "--slots", "--constraint", "--job-type", "--on-busy", "--on-lost", "--server")
EXPECT = run.BY_NAME["--expect"]

OPTIONS: tuple[Option, ...] = (
    Option("--by", "TIME", "to be finished by: 06:00, tomorrow 18:00, fri 07:00, 2026-12-01 06:00, +3h", str),
    Option("--at", "TIME", "not to start before", str),
    Option(
        "--start",
        "WHEN",
        "quiet (default): when nobody needs the machine; now; or window: allowed, or quiet is forecast",
        choice("quiet", "now", "window"),
    ),
    Option(
        "--anyway-by", "TIME", "start from then on although it is not quiet; never; by default in 24 h", str
    ),
    Option("--after", "ID", "only once it is done; may be repeated, or IDs with commas", str, many=True),
    Option("--after-any", "", "with --after: once they have ended, however that was"),
    Option("--array", "A-B[:STEP]", "one job for each number, in LEASEHOLD_ARRAY_INDEX: 1-500", array),
    Option("--parallel", "N", "at most N jobs of the array, or of the --group, at a time", whole(1, 100_000)),
    Option("--group", "NAME", "a name for what belongs together: see, wait for, cancel it as one", str),
    Option(
        "--label", "NAME=VALUE", "a label to find it by; may be repeated", label, many=True, field="labels"
    ),
    Option(
        "--title",
        "TEXT",
        "what everybody reads in the list; by default the command, of which others see its first words",
        str,
    ),
    Option("--retries", "N", "further attempts when it fails", whole(0, 999)),
    Option(
        "--retry-base",
        "TIME",
        "the first pause between attempts: 10s; later ones are longer",
        duration,
    ),
    Option("--max-runtime", "TIME", "stop it after this long", seconds),
    EXPECT,
    Option("--grace", "TIME", "between being told to stop and being killed: 10s", duration),
    Option("--limit", "WHAT=N,…", "what the kernel holds it to: cpu=2,mem=4G,pids=200,log=10M", limits),
    Option("--env", "NAME[=VALUE]", "a variable that it gets beside PATH, HOME and LANG", str, many=True),
    Option("--cwd", "FOLDER", "where it runs; by default here", str),
    Option("--terminal", "", "give it a terminal"),
    Option("--user", "NAME", "run it as another user (the right job:run-as)", str),
    Option("--needs", "WHAT", "only where a worker can do this; may be repeated", str, many=True),
    Option("--gang", "N", "start N of it at once, or none", whole(1, 32)),
    Option("--unique", "KEY", "while a job of this key is queued or runs, this is that one", str),
    Option("--hold", "", "keep it back until `leasehold resume`"),
    Option("--allow-unfit", "", "keep it although no machine here could ever hold it"),
    Option("--force", "", "submit it although the command is not found here"),
    Option("--wait", "", "show its output, and end as it ends", field="follow"),
    *(run.BY_NAME[name] for name in (*SAME, *MORE)),
    Option("--json", "", "print JSON, for programs"),
    Option("--quiet", "", "print ids only, and no messages (-q)"),
    Option("--yes", "", "do not ask (-y)"),
    Option("--dry-run", "", "say what would be submitted, and do nothing"),
    Option("--no-color", "", "no colour"),
    Option("--help", "", "show this and exit"),
)
BY_NAME = {option.name: option for option in OPTIONS}
BY_NAME |= {
    "-h": BY_NAME["--help"],
    "-q": BY_NAME["--quiet"],
    "-y": BY_NAME["--yes"],
    "--expected": EXPECT,
}


class Wanted(run.Wanted):
    """What one `submit` was asked for, with the fields that it shares with `run`."""

    def __init__(self) -> None:
        super().__init__()
        self.start = "quiet"
        self.by: str | None = None
        self.at: str | None = None
        self.anyway_by: str | None = None
        self.after: list[str] = []
        self.after_any = False
        self.array: range | None = None
        self.parallel: int | None = None
        self.group: str | None = None
        self.labels: list[tuple[str, str]] = []
        self.title: str | None = None
        self.retries: int | None = None
        self.retry_base: float | None = None
        self.max_runtime: int | None = None
        self.grace: float | None = None
        self.limit: dict[str, int] | None = None
        self.env: list[str] = []
        self.cwd: str | None = None
        self.terminal = False
        self.user: str | None = None
        self.needs: list[str] = []
        self.gang: int | None = None
        self.unique: str | None = None
        self.hold = False
        self.allow_unfit = False
        self.force = False
        self.follow = False
        self.yes = False
        self.dry_run = False


def parse(arguments: Sequence[str]) -> Wanted:
    """Read everything after `submit`. Raises Usage."""
    wanted = Wanted()
    read(wanted, arguments, BY_NAME, "submit")
    if wanted.help:
        return wanted
    if not wanted.command:
        raise Usage("no command: leasehold submit [OPTIONS] -- COMMAND [ARGUMENT…]")
    if wanted.cost is not None and wanted.cost_class is not None:
        raise Usage("--cost and --class say the same thing twice; give one")
    if wanted.parallel is not None and wanted.array is None and wanted.group is None:
        raise Usage("--parallel goes with --array or --group: at most N of those at a time")
    if wanted.after_any and not wanted.after:
        raise Usage("--after-any goes with --after ID")
    return wanted


def help_text() -> str:
    """What `leasehold submit --help` prints."""
    lines = [
        "Usage: leasehold submit [OPTIONS] -- COMMAND [ARGUMENT…]",
        "",
        "Have a command run later, when nobody is disturbed. It is kept until it has been done.",
        "",
    ]
    for option in OPTIONS:
        head = f"  {option.name} {option.metavar}".rstrip()
        lines += textwrap.wrap(
            option.explained, WIDTH, initial_indent=f"{head:<26}", subsequent_indent=" " * 26
        )
    lines += [
        "",
        "Without a cost the one learned from earlier jobs of this kind is taken.",
        "Times are those of the clocks here; one that has passed today is tomorrow's.",
        "Exit code: 0 submitted (with --wait: the command's own); 127 no such command here.",
    ]
    return "\n".join(lines)
