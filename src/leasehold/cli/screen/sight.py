"""What the screen shows: all that it knows at one moment, as rows of tables. No drawing here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from leasehold.cli.amounts import spell
from leasehold.cli.render import printable
from leasehold.cli.screen.told import told

if TYPE_CHECKING:
    from leasehold.wire.dashboard import DashboardState, LeaseRow, WaiterRow
    from leasehold.wire.job import JobOut


class Column(NamedTuple):
    """A column between its least and most width; where room is short those of the highest `drop` go first."""

    name: str
    least: int
    most: int
    drop: int = 0


LEASES = (
    Column("WHAT", 18, 40),
    Column("HOLDER", 8, 20),
    Column("HOLDS", 9, 30),
    Column("STATE", 6, 8, 2),
    Column("RUNS", 6, 12),
    Column("CPU", 5, 12, 3),
    Column("MEMORY", 6, 9, 4),
    Column("NOTES", 12, 200, 1),
)
QUEUE = (
    Column("PLACE", 5, 6),
    Column("WHAT", 14, 40),
    Column("HOLDER", 8, 20, 2),
    Column("UNITS", 5, 6, 1),
    Column("WAITS", 6, 12),
    Column("WHY", 30, 200),
)
EVENTS = (Column("TIME", 8, 8), Column("", 1, 1), Column("WHAT", 30, 90), Column("WHY", 10, 200, 1))

JOBS_SHOWN = 100

LAST = 1 << 40
"""Behind every place in a line."""

Cell = tuple[str, str]
"""A text and its colour, "" for none."""


class Row(msgspec.Struct, frozen=True):
    """One line of a table, by the id of a lease, ticket or job, or the number of an event.

    `subject` is what can be acted on: where a job runs under a lease, the job.
    """

    key: str
    cells: tuple[Cell, ...]
    subject: str = ""

    def has(self, text: str) -> bool:
        """Whether the text, in lower case, is anywhere in it."""
        return text in self.key.lower() or any(text in cell.lower() for cell, _ in self.cells)


class Sight(msgspec.Struct):
    """`state` and what is asked for beside it.

    `lost` says why there is no connection, "" while there is; `lost_at` since when.
    `skew_ms` is the server's wall clock less the one here.
    """

    state: DashboardState | None = None
    jobs: list[JobOut] = []
    scores: list[float | None] = []
    lost: str = ""
    lost_at: str = ""
    skew_ms: int = 0


def lease_rows(sight: Sight, now_ms: int) -> list[Row]:
    """What is held, the oldest first."""
    if sight.state is None:
        return []
    return [_lease(row, sight.state, now_ms + sight.skew_ms) for row in sight.state.leases]


def _lease(row: LeaseRow, state: DashboardState, now_ms: int) -> Row:
    from leasehold.cli.amounts import bytes_text

    used = state.usage.get(row.id)
    notes = [
        *row.flags,
        *([f"{used.progress:.0%}"] if used is not None and used.progress is not None else []),
    ]
    if row.expected_ms:
        notes.append(f"bound to {spell(row.expected_ms / 1000)}")
    held = [f"{row.units} units"] if row.units else []
    held += [f"{row.cpu_millicores / 1000:g} cores"] if row.cpu_millicores else []
    held += [bytes_text(row.memory_bytes)] if row.memory_bytes else []
    held += [*row.devices, *row.locks]
    color = "green" if row.state == "ACTIVE" and not row.flags else "yellow"
    return Row(
        row.id,
        (
            (printable(row.label or row.job_type), ""),
            (person(row.holder), ""),
            (printable(", ".join(held)) or "nothing", ""),
            (row.state, color),
            (_for(now_ms - row.granted_ms), ""),
            (spell(used.cpu_ms / 1000) if used is not None and used.cpu_ms else "-", ""),
            (bytes_text(used.memory_bytes) if used is not None and used.memory_bytes else "-", ""),
            ("; ".join(notes), ""),
        ),
        row.job or row.id,
    )


def queue_rows(sight: Sight, now_ms: int) -> list[Row]:
    """Who waits and why: those in line for a lease, then jobs by their place."""
    if sight.state is None:
        return []
    waiting = sight.state.waiting
    now_ms += sight.skew_ms
    line = [_waiter(place, row, waiting.whys, now_ms) for place, row in enumerate(waiting.rows, 1)]
    jobs = sorted(sight.jobs, key=lambda job: (job.state == "HELD", job.position or LAST, job.submitted_at))
    return line + [_job(job, now_ms) for job in jobs]


def _waiter(place: int, row: WaiterRow, whys: list[str], now_ms: int) -> Row:
    why = whys[row.why] if 0 <= row.why < len(whys) else ""
    return Row(
        row.ticket,
        (
            (str(place), ""),
            (printable(row.label or row.job_type), ""),
            (person(row.holder), ""),
            (str(row.units) if row.units else "-", ""),
            (_for(now_ms - row.since_ms), ""),
            (printable(why), "yellow"),
        ),
        row.ticket,
    )


def _job(job: JobOut, now_ms: int) -> Row:
    from leasehold.cli.job_words import time_of, title

    units = job.charge.get("units")
    since_ms = time_of(job.submitted_at).timestamp() * 1000
    members = sum(job.members.values())
    name = f"{members} × {job.group}" if members > 1 else title(job)
    reason = "held: `p` lets it wait for its turn" if job.state == "HELD" else job.reason
    return Row(
        job.job_id,
        (
            ("-" if job.position is None else str(job.position), ""),
            (printable(name), ""),
            (person(job.holder), ""),
            (str(units) if units else "-", ""),
            (_for(now_ms - since_ms), ""),
            (printable(reason or "about to start"), "yellow"),
        ),
        job.job_id,
    )


def event_rows(sight: Sight) -> list[Row]:
    """What happened, the newest first."""
    from datetime import datetime

    if sight.state is None:
        return []
    rows = []
    for event in reversed(sight.state.decisions):
        said = told(event)
        if said is None:
            continue
        at = datetime.fromtimestamp(event.at_ms / 1000).astimezone()
        cells = (
            (f"{at:%H:%M:%S}", ""),
            (said.sign, said.color),
            (printable(said.sentence), said.color),
            (printable(said.detail), ""),
        )
        rows.append(Row(str(event.seq), cells))
    return rows


def _for(span_ms: float) -> str:
    """A span without its smaller unit: `5 min`."""
    return " ".join(spell(max(0.0, span_ms) / 1000).split()[:2])


def person(holder: str) -> str:
    """A holder as people call it."""
    return printable(holder.removeprefix("user:"))


def picked(rows: list[Row], text: str) -> list[Row]:
    """Those with the text anywhere in them, whatever its case."""
    wanted = text.strip().lower()
    return [row for row in rows if row.has(wanted)] if wanted else rows


def titles(sight: Sight) -> tuple[str, str, str]:
    """What stands above the three tables: what each is, and how many there are beside those shown."""
    state = sight.state
    if state is None:
        return "Leases", "Queue", "Events"
    counts = state.queue.states
    queued, held = counts.get("QUEUED", 0), counts.get("HELD", 0)
    parts = [f"{state.waiting.total} in line"] if state.waiting.total else []
    parts += [f"{queued:,} {'job waits' if queued == 1 else 'jobs wait'}"] if queued else []
    parts += [f"{held:,} held"] if held else []
    if queued + held > len(sight.jobs) >= JOBS_SHOWN:
        parts.append(f"the newest {len(sight.jobs)} shown")
    leases = f"Leases: {state.leases_total} held" if state.leases_total else "Leases: none"
    return leases, f"Queue: {', '.join(parts) or 'empty'}", "Events"
