"""One table of the screen: a title, the heads of its columns, and rows that keep their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from leasehold.cli.screen.sight import Column, Row
from leasehold.cli.screen.table import lines

SCROLL_BAR = 1


class Rows(OptionList):
    """The rows; its keys are shown at the foot of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Details", key_display="Enter"),
        Binding("tab", "app.focus_next", "Next pane", key_display="Tab"),
    ]


class Words(Static):
    """A text that is drawn anew only when it has changed: a terminal may be at the end of a slow line."""

    _said: Text | None = None

    def say(self, text: Text) -> None:
        """Show this."""
        if self._said is None or not _same(self._said, text):
            self._said = text
            self.update(text)


def _same(one: Text, other: Text) -> bool:
    return one.plain == other.plain and one.spans == other.spans and one.style == other.style


class Pane(Vertical):
    """A table; `chosen` is the row that the cursor is on."""

    def __init__(self, name: str, columns: Sequence[Column], nothing: str) -> None:
        super().__init__(id=name, classes="pane")
        self._columns = columns
        self._nothing = nothing
        self._rows: list[Row] = []
        self._drawn: list[Text] = []

    def compose(self) -> ComposeResult:
        yield Words(classes="columns")
        yield Rows(classes="rows", compact=True, markup=False)

    @property
    def rows(self) -> Rows:
        """The rows as a widget, for the focus."""
        return self.query_one(Rows)

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor; None where there are no rows."""
        at = self.rows.highlighted
        return self._rows[at] if at is not None and at < len(self._rows) else None

    def show(self, title: str, rows: list[Row], filtered: str) -> None:
        """Show these rows. The cursor stays with the row that it is on, as long as that is there."""
        self.border_title = f"{title}, with “{filtered}”: {len(rows)}" if filtered else title
        head, *drawn = lines(self._columns, rows, self.size.width - SCROLL_BAR) or [Text(self._nothing)]
        self.query_one(Words).say(head)
        was, self._drawn = self._drawn, drawn
        before = [row.key for row in self._rows]
        at = self.rows.highlighted
        key = before[at] if at is not None and at < len(before) else ""
        self._rows = rows
        if before == [row.key for row in rows]:
            for index, (old, new) in enumerate(zip(was, drawn, strict=True)):
                if not _same(old, new):
                    self.rows.replace_option_prompt_at_index(index, new)
            return
        self.rows.set_options([Option(line) for line in drawn])
        found = next((index for index, row in enumerate(rows) if row.key == key), None)
        if rows:
            self.rows.highlighted = found if found is not None else min(at or 0, len(rows) - 1)
