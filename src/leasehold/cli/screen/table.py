"""Columns that fit a width: narrowed, and where that is not enough left out. Cells as rich text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leasehold.cli.screen.sight import Column, Row

GAP = 2
NOTHING = ("", "-")


def fitted(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[tuple[int, int]]:
    """The columns that there is room for, as (index, width). The last one of them gets what is left.

    A column that may be left out is, where it has nothing to say.
    """
    kept = [
        i
        for i, one in enumerate(columns)
        if not one.drop or any(row.cells[i][0] not in NOTHING for row in rows)
    ]
    while len(kept) > 1 and _sum([columns[i].least for i in kept]) > width:
        droppable = [i for i in kept if columns[i].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda i: columns[i].drop))
    wanted = {i: _natural(columns[i], i, rows) for i in kept}
    *first, last = kept
    while (over := _sum([wanted[i] for i in first] + [columns[last].least]) - width) > 0:
        wide = [i for i in first if wanted[i] > columns[i].least]
        if not wide:
            break
        widest = max(wide, key=lambda i: wanted[i] - columns[i].least)
        wanted[widest] -= min(over, wanted[widest] - columns[widest].least, 4)
    wanted[last] = max(1, width - _sum([wanted[i] for i in first]) - GAP * bool(first))
    return [(i, wanted[i]) for i in kept]


def _natural(column: Column, index: int, rows: Sequence[Row]) -> int:
    longest = max((len(row.cells[index][0]) for row in rows), default=0)
    return min(column.most, max(column.least, len(column.name), longest))


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def cell(text: str, color: str, width: int) -> Text:
    """A cell, cut to its width with a sign that something is missing."""
    found = Text(text, color, no_wrap=True, overflow="ellipsis", end="")
    found.truncate(width, overflow="ellipsis", pad=True)
    return found


def lines(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Text]:
    """A whole table as lines, its head first; nothing where there are no rows."""
    if not rows:
        return []
    fit = fitted(columns, rows, width)
    gap = Text(" " * GAP, end="")
    found = [gap.join(cell(columns[i].name, "bold", size) for i, size in fit)]
    found += [gap.join(cell(*row.cells[i], size) for i, size in fit) for row in rows]
    for line in found:
        line.rstrip()
    return found
