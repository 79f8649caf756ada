"""`leasehold logs`: what a command has printed, also while it runs (QUEUE-15, 16)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits, patience
from leasehold.cli.job_words import AT_WORK, ENDED
from leasehold.cli.session import Failed, Session, tell, verb
from leasehold.runtime.lean import pause

if TYPE_CHECKING:
    from leasehold.wire.job import JobOut, LogChunkOut, LogPage

PIECE = 1 << 20
WAIT_S = 20
POLL_S = (0.05, 1.0)
"""Between looks at a job that has not started: from, up to."""

SAID_AFTER_S = 0.3
"""What starts sooner needs no word on why it has not."""

TAIL_BYTES_MIN, TAIL_BYTES_MAX = 256 << 10, 64 << 20
"""How much of the end is looked at for lines. A piece, which comes as a whole, is smaller than the first."""


def register(app: typer.Typer) -> None:
    @app.command("logs")
    @verb
    def logs(
        session: Session,
        job: Annotated[str, typer.Argument(metavar="ID")],
        follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the job has ended")] = False,
        attempt: Annotated[
            int, typer.Option("--attempt", metavar="N", min=0, help="of this attempt; by default the last")
        ] = 0,
        stderr: Annotated[bool, typer.Option("--stderr", help="only what went to standard error")] = False,
        timestamps: Annotated[
            bool, typer.Option("--timestamps", "-t", help="when, before each line")
        ] = False,
        tail: Annotated[
            int | None,
            typer.Option("--tail", metavar="N", min=0, max=1_000_000, help="only the last N lines"),
        ] = None,
    ) -> int:
        """What a command has printed: its output to standard output, its errors to standard error."""
        from leasehold.cli.ids import job_id
        from leasehold.client import calls

        known = job_id(session, job)
        found = session.client.send(calls.JOB, path={"job_id": known})
        printer = Printer(session, timestamps=timestamps, only_errors=stderr)
        try:
            show(session, found, printer, attempt=attempt, tail=tail, follows=follow)
        except KeyboardInterrupt:
            printer.flush()
            goes_on(session, known, "logs -f")
            return exits.SIGNAL_BASE + 2
        return exits.DONE


def goes_on(session: Session, job_id: str, how: str) -> None:
    """What Ctrl-C did not end."""
    from leasehold.cli.words import short

    shown = short(job_id)
    print(file=sys.stderr)
    session.say(
        f"{job_id} goes on; `leasehold {how} {shown}` goes on watching, `leasehold cancel {shown}` ends it"
    )


class Printer:
    """Puts pieces of output where they belong, as the bytes they are; with times, line by line."""

    def __init__(self, session: Session, *, timestamps: bool = False, only_errors: bool = False) -> None:
        self._session = session
        self._timestamps = timestamps
        self._only_errors = only_errors
        self._in_line = {"out": False, "err": False}

    def put(self, chunk: LogChunkOut) -> None:
        """One piece."""
        if chunk.stream not in ("out", "err"):
            self._session.say(chunk.data.decode("utf-8", "replace").rstrip("\n"))
            return
        if self._only_errors and chunk.stream == "out":
            return
        if self._session.out.as_json:
            self._session.out.line(
                {"at": chunk.at, "stream": chunk.stream, "text": chunk.data.decode("utf-8", "replace")}
            )
            return
        stream = (sys.stderr if chunk.stream == "err" else sys.stdout).buffer
        stream.write(self._timed(chunk) if self._timestamps else chunk.data)

    def flush(self) -> None:
        """Out with it; whoever follows is to see it now."""
        sys.stdout.flush()
        sys.stderr.flush()

    def dropped(self, count: int) -> None:
        from leasehold.cli.amounts import bytes_text

        tell(f"{bytes_text(count)} of output are not kept")

    def _timed(self, chunk: LogChunkOut) -> bytes:
        head = f"{chunk.at} ".encode()
        lines = chunk.data.splitlines(keepends=True)
        first = b"" if self._in_line[chunk.stream] else head
        self._in_line[chunk.stream] = bool(lines) and not lines[-1].endswith(b"\n")
        return first + head.join(lines)


def show(
    session: Session,
    job: JobOut,
    printer: Printer,
    *,
    attempt: int = 0,
    tail: int | None = None,
    follows: bool,
) -> JobOut:
    """Print a job's output; with `follows` until it has ended. Returns it as it then is."""
    last = 0
    if not job.command:
        raise Failed(exits.CONFLICT, f"{job.job_id} is no command: its worker has its output")
    generation, offset = _generation(job, attempt), 0
    if tail is not None and generation:
        offset = _tail(session, job, generation, tail, printer)
    if not follows:
        if not generation:
            session.say(f"{job.job_id} is {job.state}: it has printed nothing yet; -f waits for it")
        else:
            _print(session, job, generation, offset, printer, follows=False)
        return job
    while True:
        if not generation:
            job = _until_it_runs(session, job, last)
            generation, offset = _following(job, last), 0
            if not generation:
                return job
        _print(session, job, generation, offset, printer, follows=True)
        job, last = _after(session, job.job_id, generation), generation
        if attempt or (job.state in ENDED and not _following(job, last)):
            return job
        session.say(f"{_told(job, last)}; there is another attempt")
        generation = 0


def _print(
    session: Session, job: JobOut, generation: int, offset: int, printer: Printer, *, follows: bool
) -> None:
    """The output of one attempt; with `follows` until it is over."""
    while True:
        page = _page(session, job.job_id, generation, offset, WAIT_S if follows else 0)
        if page.dropped_bytes:
            printer.dropped(page.dropped_bytes)
        for chunk in page.chunks:
            printer.put(chunk)
        printer.flush()
        if not page.chunks and (page.over or not follows):
            return
        offset = page.next


def _page(session: Session, job_id: str, generation: int, offset: int, wait_s: int) -> LogPage:
    from leasehold.client import calls

    return patience.send(
        session,
        calls.JOB_LOG,
        path={"job_id": job_id},
        query={"offset": offset, "limit": PIECE, "wait_sec": wait_s, "attempt": generation},
        timeout_s=wait_s + 30.0,
    )


def _runs(job: JobOut) -> list[int]:
    """The generations of its attempts, the oldest first."""
    known = [one.generation for one in job.history]
    return known if not job.started_at or job.generation in known else [*known, job.generation]


def _generation(job: JobOut, attempt: int) -> int:
    """The generation of an attempt, by default the last; 0: nothing has run yet. Raises Failed."""
    known = _runs(job)
    if not attempt:
        return known[-1] if known else 0
    if attempt > len(known):
        raise Failed(exits.NOT_FOUND, f"{job.job_id} has been tried {len(known)} times, not {attempt}")
    return known[attempt - 1]


def _following(job: JobOut, generation: int) -> int:
    """The generation of the attempt after that one; 0: there is none yet."""
    return next((one for one in _runs(job) if one > generation), 0)


def _tail(session: Session, job: JobOut, generation: int, lines: int, printer: Printer) -> int:
    """Print the last lines that are there; returns where to read on."""
    from leasehold.wire.job import LogChunkOut

    size = max(TAIL_BYTES_MIN, lines * 256)
    while True:
        page = _page(session, job.job_id, generation, -size, 0)
        found = list(page.chunks)
        at = page.next
        while True:
            page = _page(session, job.job_id, generation, at, 0)
            if not page.chunks:
                break
            found += page.chunks
            at = page.next
        text = b"".join(chunk.data for chunk in found if chunk.stream in ("out", "err"))
        if text.count(b"\n") > lines or size >= min(at, TAIL_BYTES_MAX):
            break
        size *= 4
    kept: list[LogChunkOut] = []
    left = lines
    for chunk in reversed(found):
        if left <= 0 and chunk.stream in ("out", "err"):
            break
        parts = chunk.data.splitlines(keepends=True)[-left:] if left else []
        left -= len(parts)
        if parts:
            kept.append(LogChunkOut(chunk.offset, chunk.at, chunk.stream, b"".join(parts)))
    for chunk in reversed(kept):
        printer.put(chunk)
    printer.flush()
    return at


def _until_it_runs(session: Session, job: JobOut, last: int) -> JobOut:
    """Wait until a further attempt runs, or it has ended without one; says why it waits."""
    from leasehold.client import calls

    pause_s, most_s = POLL_S
    said = ""
    while job.state not in ENDED and not _following(job, last):
        if job.reason and job.reason != said and pause_s > SAID_AFTER_S:
            said = job.reason
            session.say(f"{job.job_id} waits: {said}")
        pause(pause_s)
        pause_s = min(most_s, pause_s * 1.5)
        job = patience.send(session, calls.JOB, path={"job_id": job.job_id})
    return job


def _after(session: Session, job_id: str, generation: int) -> JobOut:
    """The job, once the server knows that this attempt is over."""
    from leasehold.client import calls

    pause_s, most_s = POLL_S
    while True:
        job = patience.send(session, calls.JOB, path={"job_id": job_id})
        if job.generation != generation or job.state not in AT_WORK:
            return job
        pause(pause_s)
        pause_s = min(most_s, pause_s * 1.5)


def _told(job: JobOut, generation: int) -> str:
    """How an attempt has ended."""
    for number, one in enumerate(job.history, 1):
        if one.generation == generation:
            return f"attempt {number} has ended ({one.error or one.outcome})"
    return "an attempt has ended"
