"""Traces that are written by hand or by a script: JSON lines, or CSV with a head (docs/guide/replay.md)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from leasehold.adapters.traces.lines import BadTrace, few_enough, numbered
from leasehold.adapters.traces.swf import EXPECTED_MS, NODE
from leasehold.model.charge import DEVICE, LOCK, Charge, Totals
from leasehold.model.lease import Ask
from leasehold.model.priority import Priority
from leasehold.model.replay import History, Past

YEAR_S = 31_536_000 * 100

Seconds = Annotated[float, Meta(ge=0, le=YEAR_S)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job. Times are seconds from the trace's own zero, `runs` and `expect` are lengths.

    `by` is its deadline; `started` when it really started, where that is known. `lock` names one lock.
    """

    at: Seconds
    runs: Seconds
    cpu: Annotated[float, Meta(ge=0, le=4_096_000)] = 0
    units: Annotated[int, Meta(ge=0, le=100)] = 0
    memory: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    devices: dict[Name, Annotated[int, Meta(ge=1, le=64)]] = {}
    lock: Annotated[str, Meta(max_length=128)] = ""
    holder: Name = "somebody"
    job_type: Name = "generic"
    tenant: Name = "default"
    priority: Annotated[str, Meta(max_length=16)] = "NORMAL"
    start: Literal["quiet", "now"] = "now"
    expect: Seconds = 0
    by: Seconds = 0
    started: Seconds | None = None


def read(path: Path) -> History:
    """The jobs of a trace, on a node as large as its largest job where nothing else is said.

    Raises BadTrace with the line.
    """
    jobs: list[Past] = []
    for line_number, found in _rows(path):
        try:
            jobs.append(_job(len(jobs) + 1, msgspec.convert(found, Row, strict=False)))
        except (msgspec.ValidationError, ValueError) as error:
            raise BadTrace(f"{path}, line {line_number}: {error}") from None
        few_enough(path, len(jobs))
    if not jobs:
        raise BadTrace(f"{path} has no jobs; docs/guide/replay.md says how such a file looks")
    charges = [job.ask.charge for job in jobs]
    named = {
        name: max(dict(each.named).get(name, 0) for each in charges)
        for name in sorted({name for each in charges for name, _ in each.named if name.startswith(DEVICE)})
    }
    totals = Totals(
        max(each.cpu_millicores for each in charges),
        max(each.memory_bytes for each in charges),
        0,
        tuple((name.removeprefix(DEVICE), count) for name, count in named.items()),
    )
    note = "the file does not say how large the machine was: taken as its greatest job; give --cpu and --mem"
    return History(path.name, tuple(jobs), totals, notes=(note,))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = numbered(path)
    first_number, first = next(lines, (0, ""))
    if not first_number:
        return
    if first.lstrip().startswith("{"):
        yield first_number, _object(path, first_number, first)
        for number, line in lines:
            if line.strip():
                yield number, _object(path, number, line)
        return
    head = [name.strip() for name in first.lower().split(",")]
    unknown = [name for name in head if name not in Row.__struct_fields__]
    if unknown or not {"at", "runs"} <= set(head):
        what = f"no column is called {unknown[0]!r}" if unknown else "the columns `at` and `runs` are needed"
        raise BadTrace(f"{path}, line 1: {what}; there are {', '.join(Row.__struct_fields__)}")
    for number, line in lines:
        if line.strip():
            cells = next(csv.reader([line]))
            if len(cells) != len(head):
                raise BadTrace(f"{path}, line {number}: expected {len(head)} cells, found {len(cells)}")
            yield number, {name: cell.strip() for name, cell in zip(head, cells, strict=True) if cell.strip()}


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise BadTrace(f"{path}, line {number}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadTrace(f"{path}, line {number}: expected one JSON object a line")
    return found


def _job(number: int, row: Row) -> Past:
    named = [(DEVICE + name, count) for name, count in row.devices.items()]
    named += [(LOCK + row.lock, 1)] if row.lock else []
    charge = Charge(row.units, round(row.cpu * 1000), row.memory, 0, tuple(sorted(named)))
    if not (charge.is_work or charge.named):
        raise ValueError("expected one of cpu, units, memory, devices or lock")
    expect_ms = round(row.expect * 1000)
    ask = Ask(
        holder=row.holder,
        job_type=row.job_type,
        charge=charge,
        node=NODE,
        tenant=row.tenant,
        priority=Priority.parse(row.priority),
        quiet_gate=row.start == "quiet",
        bound_ms=expect_ms,
        expected_ms=expect_ms or EXPECTED_MS,
    )
    started_ms = None if row.started is None else round(row.started * 1000)
    return Past(number, round(row.at * 1000), ask, round(row.runs * 1000), round(row.by * 1000), started_ms)
