"""The Standard Workload Format of the Parallel Workloads Archive, one node of as many cores as processors.

Source: Chapin, Cirne, Feitelson et al., *Benchmarks and Standards for the Evaluation of Parallel Job
Schedulers*, JSSPP 1999; the fields as https://www.cs.huji.ac.il/labs/parallel/workload/swf.html numbers them.

A job of n processors charges n cores and nothing else. Units would distort it: there are 90 of them, and the
quiet curve and the headroom cut from them, where a trace's machine could be filled to its last processor.
Memory, queues, partitions and think times are left aside.
"""

from __future__ import annotations

from pathlib import Path

from leasehold.adapters.traces.lines import BadTrace, few_enough, numbered
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import Ask
from leasehold.model.replay import History, Past

NUMBER, SUBMIT, WAIT, RUN, ALLOCATED = 0, 1, 2, 3, 4
REQUESTED, REQUESTED_TIME, STATUS, USER, PROGRAM = 7, 8, 10, 11, 13
FIELDS = 18
HEADERS = ("MaxProcs", "MaxNodes")
CORE = 1_000
NODE = "replay"
CANCELLED = 5
EXPECTED_MS = 60_000
"""What the order charges where nobody said how long it takes: the default of requests."""


def read(path: Path) -> History:
    """The jobs of a trace. Raises BadTrace with the line.

    Requested times are bounds; where the trace has none the job has none. A trace without a wait time for
    each job does not tell when they really started.
    """
    header: dict[str, int] = {}
    jobs: list[Past] = []
    left_out: dict[str, int] = {}
    numbers: set[int] = set()
    for line_number, line in numbered(path):
        text = line.strip()
        if text.startswith(";"):
            _header(text, header)
        elif text:
            values = _values(path, line_number, text)
            reason = _why_not(values)
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            job = _job(values)
            if job.number in numbers:
                raise BadTrace(f"{path}, line {line_number}: job {job.number} stands there twice")
            numbers.add(job.number)
            jobs.append(job)
            few_enough(path, len(jobs))
    if not jobs:
        raise BadTrace(f"{path} has no job that ran; is it in the Standard Workload Format?")
    return _history(path, jobs, header, left_out)


def _header(text: str, header: dict[str, int]) -> None:
    name, _, value = text.lstrip("; ").partition(":")
    if name in HEADERS and value.strip().isdecimal():
        header[name] = int(value)


def _values(path: Path, line_number: int, text: str) -> list[int]:
    try:
        values = [int(float(part)) for part in text.split()]
    except (ValueError, OverflowError):
        raise BadTrace(f"{path}, line {line_number}: expected {FIELDS} numbers") from None
    if len(values) != FIELDS or max(map(abs, values)) >= 2**53:
        raise BadTrace(f"{path}, line {line_number}: expected {FIELDS} numbers, found {len(values)}")
    return values


def _why_not(values: list[int]) -> str:
    if values[RUN] < 0:
        return "cancelled before it ran" if values[STATUS] == CANCELLED else "no run time"
    if max(values[ALLOCATED], values[REQUESTED]) < 1:
        return "no number of processors"
    return "no submit time" if values[SUBMIT] < 0 else ""


def _job(values: list[int]) -> Past:
    processors = values[ALLOCATED] if values[ALLOCATED] > 0 else values[REQUESTED]
    bound_ms = max(0, values[REQUESTED_TIME]) * 1000
    ask = Ask(
        holder=f"user-{values[USER]}" if values[USER] >= 0 else "unknown",
        job_type=f"program-{values[PROGRAM]}" if values[PROGRAM] >= 0 else "unknown",
        charge=Charge(0, processors * CORE),
        node=NODE,
        quiet_gate=False,
        bound_ms=bound_ms,
        expected_ms=bound_ms or EXPECTED_MS,
    )
    at_ms = values[SUBMIT] * 1000
    started_ms = at_ms + values[WAIT] * 1000 if values[WAIT] >= 0 else None
    return Past(values[NUMBER], at_ms, ask, values[RUN] * 1000, started_ms=started_ms)


def _history(path: Path, jobs: list[Past], header: dict[str, int], left_out: dict[str, int]) -> History:
    widest = max(job.ask.charge.cpu_millicores for job in jobs)
    processors = max((header[name] for name in HEADERS if name in header), default=0)
    notes = []
    if not processors:
        notes.append(
            f"the trace does not say how many processors there were: {widest // CORE}, as its widest job"
        )
    return History(
        source=path.name,
        jobs=tuple(jobs),
        totals=Totals(processors * CORE or widest, 0, 0),
        left_out=left_out,
        notes=tuple(notes),
    )
