"""What stands over the screen for a moment: a question, and all about one thing."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from leasehold.cli.render import printable
from leasehold.cli.screen.feed import Pairs


class Question(ModalScreen[bool]):
    """Asks before what can't be undone. Whatever is not `y` means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,enter,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            yield Static(Text("y: yes    n: no", "bold"), classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Details(ModalScreen[None]):
    """All about one thing, to be scrolled through."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "close", "Close")]

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self._pairs = pairs

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            with VerticalScroll():
                yield Static(pairs_text(self._pairs))
            yield Static(Text("Esc: close", "bold"), classes="keys")

    def action_close(self) -> None:
        self.dismiss(None)


def pairs_text(pairs: Pairs) -> Text:
    """Names and values as lines, those without a value left out."""
    text = Text()
    shown = [(name, value) for name, value in pairs if value not in (None, "", [], {}, ())]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        said = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        text.append(f"{name:<{width}}  ", "bold")
        text.append(f"{printable(said)}\n")
    text.rstrip()
    return text
