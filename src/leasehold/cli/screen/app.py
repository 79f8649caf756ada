"""The live screen of `leasehold top` (OPS-19), by Textual. It draws what a feed tells.

One stream brings every change of the node; the jobs that wait are asked for when the stream says that jobs
have changed, at most once in `JOBS_PACE_S`, and the score's past once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.css.query import NoMatches
from textual.widgets import Footer, Input, OptionList

from leasehold.cli.screen import sight as seen
from leasehold.cli.screen.dialogs import Details, Question
from leasehold.cli.screen.feed import Feed, Pairs
from leasehold.cli.screen.head import bars, head
from leasehold.cli.screen.pane import Pane, Words
from leasehold.cli.screen.sight import Row, Sight, picked
from leasehold.cli.screen.style import CSS
from leasehold.client.dashboard import Lost
from leasehold.client.lean import Unreachable
from leasehold.model.errors import LeaseholdError
from leasehold.ports.clock import Clock
from leasehold.runtime.clock import local_now
from leasehold.wire.dashboard import DashboardState

A = TypeVar("A")

BARS_MAX = 4
JOBS_PACE_S = 1.0
SCORES_PACE_S = 60.0
SKEW_MS_MIN = 2_000
"""A smaller difference of two wall clocks is the time that the message took."""


class Top(App[None]):
    """The screen. `feed` is where all comes from, `clock` the wall clock here."""

    CSS = CSS
    TITLE = "leasehold top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - declared so by Textual
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("c", "cancel", "Cancel"),
        Binding("p", "pause", "Pause/go on"),
        Binding("escape", "unfilter", "Show all", show=False),
    ]

    def __init__(self, feed: Feed, clock: Clock) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.sight = Sight()
        self._feed = feed
        self._clock = clock
        self._text = ""
        self._jobs_changed = asyncio.Event()
        self._changes = -1

    def compose(self) -> ComposeResult:
        yield Words(id="head")
        yield Words(id="bars")
        with Container(id="panes"):
            with Vertical(id="work"):
                yield Pane("leases", seen.LEASES, "nothing is held")
                yield Pane("queue", seen.QUEUE, "nobody waits")
            yield Pane("events", seen.EVENTS, "nothing has happened yet")
        yield Input(placeholder="only rows with this text; Esc shows all", id="filter", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow."""
        self.query_one("#filter").display = False
        self.query_one("#leases", Pane).rows.focus()
        self.follow_states()
        self.follow_jobs()
        self.follow_scores()
        self.set_interval(1.0, self.draw)

    # -- what comes

    @work(exclusive=True, group="states")
    async def follow_states(self) -> None:
        """Take each state, and each loss, as it comes."""
        async for told in self._feed.states():
            if isinstance(told, Lost):
                self.sight.lost = told.why
                self.sight.lost_at = self.sight.lost_at or f"{local_now():%H:%M:%S}"
            else:
                self._take(told)
            self.draw()

    def _take(self, state: DashboardState) -> None:
        self.sight.state, self.sight.lost, self.sight.lost_at = state, "", ""
        skew_ms = state.at - self._clock.wall_ms()
        self.sight.skew_ms = skew_ms if abs(skew_ms) >= SKEW_MS_MIN else 0
        if state.head.score is not None and self.sight.scores:
            self.sight.scores[-1] = float(state.head.score)
        if state.queue.changes != self._changes:
            self._changes = state.queue.changes
            self._jobs_changed.set()

    @work(exclusive=True, group="jobs")
    async def follow_jobs(self) -> None:
        """Ask for the jobs that wait, whenever jobs have changed."""
        while True:
            await self._jobs_changed.wait()
            self._jobs_changed.clear()
            try:
                self.sight.jobs = await self._feed.jobs()
            except (LeaseholdError, Unreachable, ValueError):
                self._changes = -1  # The next state has it asked for again.
            self.draw()
            await asyncio.sleep(JOBS_PACE_S)

    @work(exclusive=True, group="scores")
    async def follow_scores(self) -> None:
        """Ask for the score of the last half hour, once a minute."""
        while True:
            try:
                self.sight.scores = await self._feed.scores()
                self.draw()
            except (LeaseholdError, Unreachable, ValueError):
                pass
            await asyncio.sleep(SCORES_PACE_S if self.sight.scores else JOBS_PACE_S)

    # -- drawing

    def on_resize(self) -> None:
        """Fit everything to the new size, once it is known everywhere."""
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Show what is known."""
        try:
            self._draw()
        except NoMatches:
            return  # It is just being taken down.

    def _draw(self) -> None:
        width, now_ms, state = self.size.width, self._clock.wall_ms(), self.sight.state
        base = self.screen_stack[0]
        top = head(self.sight, width, f"{local_now():%H:%M:%S}")
        base.query_one("#head", Words).say(_joined(top))
        if state is not None:
            base.query_one("#bars", Words).say(_joined(bars(state, width, BARS_MAX)))
        rows = (
            seen.lease_rows(self.sight, now_ms),
            seen.queue_rows(self.sight, now_ms),
            seen.event_rows(self.sight),
        )
        for name, title, found in zip(
            ("leases", "queue", "events"), seen.titles(self.sight), rows, strict=True
        ):
            base.query_one(f"#{name}", Pane).show(title, picked(found, self._text), self._text)

    # -- keys

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor of the pane that has the focus."""
        pane = next((pane for pane in self.query(Pane) if pane.rows.has_focus), None)
        return pane.chosen if pane is not None else None

    def action_filter(self) -> None:
        """Let a text be typed that rows have to have."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        """Show everything again."""
        field = self.query_one("#filter", Input)
        field.value = self._text = ""
        self._leave(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as it is typed."""
        self._text = event.value
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the rows, which stay filtered."""
        self._leave(event.input)

    def _leave(self, field: Input) -> None:
        field.display = bool(self._text)
        if field.has_focus or self.focused is None:
            self.query_one("#leases", Pane).rows.focus()
        self.draw()

    def on_option_list_option_selected(self, _: OptionList.OptionSelected) -> None:
        """Enter, or a click on the row under the cursor."""
        self.action_details()

    @work(exclusive=True, group="acts")
    async def action_details(self) -> None:
        """All about the row under the cursor."""
        row = self.chosen
        if row is None:
            return
        pairs = await self._asked(self._feed.details(row.subject)) if row.subject else self._event(row)
        if pairs is not None:
            await self.push_screen_wait(Details(pairs))

    def _event(self, row: Row) -> Pairs:
        import msgspec

        events = self.sight.state.decisions if self.sight.state is not None else []
        found = next((event for event in events if str(event.seq) == row.key), None)
        return list(msgspec.to_builtins(found).items()) if found is not None else []

    @work(exclusive=True, group="acts")
    async def action_cancel(self) -> None:
        """Cancel the job, revoke the lease, or leave the line; after a question."""
        row = self.chosen
        if row is None or not row.subject:
            self.notify("nothing here can be cancelled: choose a lease or what waits")
            return
        verb = "Revoke" if row.subject.startswith("lease-") else "Cancel"
        question = f"{verb} {self._named(row)}?\n{row.subject}"
        if await self.push_screen_wait(Question(question)):
            await self._act(self._feed.cancel(row.subject))

    def _named(self, row: Row) -> str:
        what = row.cells[0][0] if self.query_one("#leases", Pane).rows.has_focus else row.cells[1][0]
        return f"“{what.strip()}”"

    @work(exclusive=True, group="acts")
    async def action_pause(self) -> None:
        """Pause or hold what is under the cursor; let it go on where it is."""
        row = self.chosen
        if row is None or not row.subject or row.subject.startswith("tkt-"):
            self.notify("nothing here can be paused: choose a lease or a job")
            return
        await self._act(self._feed.pause(row.subject))

    async def _act(self, call: Awaitable[str]) -> None:
        said = await self._asked(call)
        if said is not None:
            self.notify(said)
            self._jobs_changed.set()

    async def _asked(self, call: Awaitable[A]) -> A | None:
        """What a call answers; where it fails, the reason is shown and None returned."""
        try:
            return await call
        except (LeaseholdError, Unreachable, ValueError) as error:
            self.notify(str(error), title="not done", severity="error", timeout=10)
            return None


def _joined(lines: list[Text]) -> Text:
    return Text("\n", end="").join(lines)
