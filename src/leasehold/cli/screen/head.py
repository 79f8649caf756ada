"""The top of the screen as rich text: may heavy work run now and why, the score over time, room by holder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from leasehold.cli.amounts import bytes_text
from leasehold.cli.render import printable
from leasehold.cli.screen.sight import person

if TYPE_CHECKING:
    from leasehold.cli.screen.sight import Sight
    from leasehold.wire.dashboard import DashboardState, LeaseRow
    from leasehold.wire.lease import Dimension

VERDICTS = {"yes": ("✔", "bold green"), "urgent": ("!", "bold yellow"), "no": ("✘", "bold red")}
STATES = {"QUIET": "green", "NORMAL": "cyan", "BUSY": "yellow", "PANIC": "red", "UNKNOWN": "magenta"}
LEVELS = "▁▂▃▄▅▆▇█"
FILLS = (("█", "blue"), ("▓", "magenta"), ("▒", "cyan"), ("▞", "green"), ("▚", "yellow"))
"""What tells holders apart, by shape and by colour; the last one is for all others."""
FREE, TAKEN = "·", "╱"
GAP = "·"
BAR_SHARE = 0.4
SPARK_MINUTES = 30


def head(sight: Sight, width: int, clock: str) -> list[Text]:
    """The first lines, each cut to the width: the answer, the state with its score, what is to be noticed."""
    state = sight.state
    if state is None:
        return [_cut(Text(f"… {sight.lost or 'connecting'}", "bold"), width)]
    said = state.head
    sign, style = VERDICTS[said.verdict]
    lines = [Text(f"{sign} {printable(said.headline)}", style), _score(sight, state, clock)]
    if sight.lost:
        lost = f"✗ no connection since {sight.lost_at}, trying again: {printable(sight.lost)}"
        lines.append(Text(lost, "bold red"))
    if said.made_up:
        lines.insert(0, Text(f" {printable(said.made_up)} ", "bold reverse"))
    if said.read_only:
        lines.append(Text("✗ the store can't be written: nothing new is decided", "bold red"))
    lines += [Text(f"! {printable(notice)}", "yellow") for notice in said.notices[:2]]
    return [_cut(line, width) for line in lines]


def _score(sight: Sight, state: DashboardState, clock: str) -> Text:
    said = state.head
    score = "unknown" if said.score is None else f"{said.score} of 100"
    line = Text.assemble(
        (said.state, f"bold {STATES.get(said.state, '')}"),
        f"  quiet {score}  ",
        (spark(sight.scores), "cyan"),
        f"  {SPARK_MINUTES} min  {clock}  preset {said.preset}  {printable(said.node_id)}",
    )
    for reason in said.reasons[:1]:
        line.append(f"  {printable(reason)}", "dim")
    return line


def spark(scores: Sequence[float | None]) -> str:
    """A line of bars, 0 to 100; a gap where nothing was measured."""
    top = len(LEVELS) - 1
    return "".join(
        GAP if score is None else LEVELS[min(top, max(0, round(score / 100 * top)))] for score in scores
    )


def bars(state: DashboardState, width: int, most: int) -> list[Text]:
    """One line for each dimension: who has how much of it, and what is left."""
    order = holders(state.leases)
    lines = []
    for name, size in state.capacity.items():
        if name == "disk_bytes" and not size.used:
            continue  # Room on the disk is asked for by few, and the page has it.
        lines.append(_cut(_bar(name, size, _shares(name, state.leases), order, width), width))
    return lines[:most]


def holders(leases: Sequence[LeaseRow]) -> list[str]:
    """Who holds something, who has most first."""
    units: dict[str, int] = {}
    for row in leases:
        units[row.holder] = units.get(row.holder, 0) + row.units
    return sorted(units, key=lambda holder: (-units[holder], holder))


def _shares(name: str, leases: Sequence[LeaseRow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in leases:
        amount = {
            "units": row.units,
            "cpu_millicores": row.cpu_millicores,
            "memory_bytes": row.memory_bytes,
        }.get(name, int(name in row.devices))
        if amount:
            found[row.holder] = found.get(row.holder, 0) + amount
    return found


def _bar(name: str, size: Dimension, shares: dict[str, int], order: list[str], width: int) -> Text:
    noun = name.removesuffix("_bytes").replace("cpu_millicores", "cores")
    cells = max(8, round(width * BAR_SHARE))
    line = Text(f"{printable(noun):<8.8} ")
    parts = [(*_fill(order, holder), shares[holder]) for holder in order if holder in shares]
    parts.append((*FILLS[-1], max(0, size.used - sum(shares.values()))))
    whole, drawn, before = max(1, size.total), 0, 0
    for sign, color, amount in parts:
        before += amount
        until = min(cells, round(before / whole * cells))
        line.append(sign * (until - drawn), color)
        drawn = max(drawn, until)
    usable = min(cells, max(drawn, round(size.usable / whole * cells)))
    line.append(FREE * (usable - drawn) + TAKEN * (cells - usable), "dim")
    line.append(f" {_amount(name, size.used)} of {_amount(name, size.usable)} ")
    for holder in order:
        if holder in shares:
            sign, color = _fill(order, holder)
            line.append(f" {sign}", color)
            line.append(f"{person(holder)} {_amount(name, shares[holder])}")
    return line


def _fill(order: list[str], holder: str) -> tuple[str, str]:
    return FILLS[min(order.index(holder), len(FILLS) - 1)]


def _amount(name: str, amount: int) -> str:
    if name.endswith("_bytes"):
        return bytes_text(amount)
    return f"{amount / 1000:g}" if name.endswith("_millicores") else str(amount)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
