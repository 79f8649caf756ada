"""`leasehold replay`: what a day would have been under another policy, or on another machine (QUEUE-18)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.core.replay_figures import Figures
    from leasehold.model.charge import Totals
    from leasehold.model.replay import History
    from leasehold.model.settings import PolicySettings

POLICIES_MAX = 8
PROGRESS_STEPS = 500
RANKS = ("mean", "p50", "p95", "max")


def register(app: typer.Typer) -> None:
    @app.command("replay")
    @verb
    def replay(
        session: Session,
        trace: Annotated[
            str,
            typer.Argument(metavar="[TRACE]", help="a trace file; without one what this server remembers"),
        ] = "",
        policy: Annotated[
            list[str] | None,
            typer.Option("--policy", metavar="FILE", help="a configuration file to compare; several times"),
        ] = None,
        cpu: Annotated[str, typer.Option("--cpu", metavar="N", help="on a node with so many cores")] = "",
        mem: Annotated[str, typer.Option("--mem", metavar="SIZE", help="... and so much memory")] = "",
        estimates: Annotated[
            str,
            typer.Option(
                "--estimates",
                metavar="asked|exact|learned|xN",
                help="what is known of how long jobs take; xN: up to N times too long",
            ),
        ] = "asked",
        spacing: Annotated[
            float, typer.Option("--spacing", metavar="FACTOR", help="times between arrivals × this")
        ] = 1.0,
        as_one: Annotated[
            bool, typer.Option("--as-one", help="as if all jobs were one holder's: nothing to be fair about")
        ] = False,
        jobs: Annotated[int, typer.Option("--jobs", min=1, help="only the first so many")] = 1_000_000,
        range: Annotated[  # noqa: A002
            str, typer.Option("--range", metavar="TIME", help="without a trace: how far back: 24h, 7d, 30d")
        ] = "7d",
        data: Annotated[
            str, typer.Option("--data", metavar="FOLDER", help="without a trace: another data folder")
        ] = "",
        seed: Annotated[int, typer.Option("--seed", help="of what --estimates xN draws")] = 1,
    ) -> int:
        """Run recorded work again under another policy or on another machine, and compare."""
        history = _changed(
            _history(session, trace, data, range),
            estimates,
            seed=seed,
            spacing=spacing,
            as_one=as_one,
            jobs=jobs,
        )
        chosen = _policies(session, policy or [])
        totals = _totals(history, cpu, mem)
        if session.dry_run:
            _say_what(session, history, [name for name, _ in chosen])
            return exits.DONE
        found = _figures(session, history, chosen, totals, learning=estimates == "learned")
        if session.out.as_json:
            session.out.document(_document(history, totals or history.totals, found))
        else:
            _show(session, history, totals or history.totals, found)
        return exits.DONE


def _history(session: Session, trace: str, data: str, back: str) -> History:
    from leasehold.adapters.traces.lines import BadTrace
    from leasehold.bootstrap import replay
    from leasehold.ports.store import StoreError

    try:
        if trace:
            if not Path(trace).is_file():
                raise Failed(exits.BAD_FILE, f"there is no file {trace}")
            return replay.trace(Path(trace))
        found = replay.recorded(_data_folder(session, data), _since_ms(back))
    except BadTrace as error:
        raise Failed(exits.BAD_FILE, str(error)) from None
    except StoreError as error:
        raise Failed(exits.BAD_FILE, f"{error}; --data names another folder") from None
    if not found.jobs:
        raise Failed(
            exits.NOT_FOUND,
            f"nothing has ended in the last {back} in {found.source}; --range 30d looks further",
        )
    return found


def _data_folder(session: Session, data: str) -> Path:
    from leasehold.config import load

    return Path(data).expanduser() if data else load({}, session.env).settings.data_path


def _since_ms(back: str) -> int:
    from leasehold.cli.amounts import duration
    from leasehold.runtime.clock import RealClock

    try:
        return RealClock().wall_ms() - round(duration(back) * 1000)
    except ValueError as error:
        raise Failed(exits.USAGE, f"--range: {error}") from None


def _changed(
    history: History, estimates: str, *, seed: int, spacing: float, as_one: bool, jobs: int
) -> History:
    from leasehold.core import replay_history as change

    if not 0.001 <= spacing <= 1000:
        raise Failed(exits.USAGE, "--spacing: expected a factor from 0.001 to 1000")
    if jobs < len(history.jobs):
        history = change.first(history, jobs)
    if spacing != 1:
        history = change.spaced(history, spacing)
    if estimates == "exact":
        history = change.exact(history)
    elif estimates.startswith("x"):
        history = change.overestimated(history, _factor(estimates[1:]), seed)
    elif estimates not in ("asked", "learned"):
        raise Failed(exits.USAGE, "--estimates: expected asked, exact, learned, or a factor like x5")
    return change.as_one(history) if as_one else history


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1000:
        raise Failed(exits.USAGE, "--estimates xN: expected a factor from 1 to 1000")
    return factor


def _policies(session: Session, files: list[str]) -> list[tuple[str, PolicySettings]]:
    """The policy that is set here, and those of the files, each upon the defaults."""
    from leasehold.config import load

    if len(files) > POLICIES_MAX:
        raise Failed(exits.USAGE, f"at most {POLICIES_MAX} policies can be compared at once")
    chosen = [("as set here", load({}, session.env).settings.policy)]
    for file in files:
        if not Path(file).is_file():
            raise Failed(exits.BAD_FILE, f"there is no file {file}")
        env = {"HOME": session.env.get("HOME", "/"), "LEASEHOLD_CONFIG": file}
        chosen.append((Path(file).name, load({}, env).settings.policy))
    return chosen


def _totals(history: History, cpu: str, mem: str) -> Totals | None:
    """Another node than the history's; None where none was asked for."""
    import msgspec

    from leasehold.cli.amounts import millicores, size

    if not (cpu or mem):
        return None
    try:
        changes = {
            name: read(text)
            for name, read, text in (("cpu_millicores", millicores, cpu), ("memory_bytes", size, mem))
            if text
        }
    except ValueError as error:
        raise Failed(exits.USAGE, f"--cpu, --mem: {error}") from None
    return msgspec.structs.replace(history.totals, **changes)


def _figures(
    session: Session,
    history: History,
    chosen: list[tuple[str, PolicySettings]],
    totals: Totals | None,
    *,
    learning: bool,
) -> list[tuple[str, Figures]]:
    """Each variant by its name: as recorded, on the recorded node, on another one."""
    from leasehold.core import replay_figures
    from leasehold.core.replay import Replay, Run

    found = []
    really = replay_figures.recorded([Run(job, job.started_ms) for job in history.jobs])
    if really is not None:
        capacity = chosen[0][1].capacity
        found.append(("recorded", replay_figures.figures(really, history.totals, capacity, history.weather)))
    nodes = [("", history.totals)] + ([(" on the other node", totals)] if totals is not None else [])
    variants = [(name + suffix, node, settings) for name, settings in chosen for suffix, node in nodes]
    for at, (name, node, settings) in enumerate(variants):
        replay = Replay(history, settings, node, learning=learning)
        for step, ended in enumerate(replay.steps()):
            if step % PROGRESS_STEPS == 0:
                _progress(session, f"{name} ({at + 1} of {len(variants)})", ended, len(history.jobs))
        _progress(session, "", 0, 0)
        result = replay_figures.figures(replay.runs(), node, settings.capacity, history.weather)
        found.append((name, result))
    return found


def _progress(session: Session, name: str, done: int, of: int) -> None:
    """One line that is written over, where a person watches."""
    if session.quiet or session.out.as_json or not sys.stderr.isatty():
        return
    line = f"leasehold: {name}: {done:,} of {of:,} jobs" if of else ""
    print(f"\r{line:<79}{'' if of else chr(13)}", end="", file=sys.stderr, flush=True)


# -- telling


def _node(totals: Totals) -> str:
    from leasehold.cli.amounts import bytes_text

    memory = f", {bytes_text(totals.memory_bytes)}" if totals.memory_bytes else ""
    return f"{totals.cpu_millicores / 1000:g} cores{memory}"


def _say_what(session: Session, history: History, names: list[str]) -> None:
    session.say(f"would replay {len(history.jobs):,} jobs of {history.source} on {_node(history.totals)}")
    session.say(f"under: {', '.join(names)}")
    _say_notes(session, history)


def _say_notes(session: Session, history: History) -> None:
    for note in history.notes:
        session.say(note)
    if not any(job.ask.bound_ms for job in history.jobs):
        session.say("no job says how long it takes, so nobody is promised a time: see --estimates")
    for reason, count in sorted(history.left_out.items()):
        session.say(f"{count:,} left out: {reason}")


def _document(history: History, totals: Totals, found: list[tuple[str, Figures]]) -> dict[str, Any]:
    return {
        "source": history.source,
        "jobs": len(history.jobs),
        "left_out": history.left_out,
        "notes": history.notes,
        "node": {
            "cpu_millicores": history.totals.cpu_millicores,
            "memory_bytes": history.totals.memory_bytes,
        },
        "other_node": {"cpu_millicores": totals.cpu_millicores, "memory_bytes": totals.memory_bytes},
        "variants": [{"name": name, "figures": figures} for name, figures in found],
    }


def _show(session: Session, history: History, totals: Totals, found: list[tuple[str, Figures]]) -> None:
    session.out.text(f"{history.source}: {len(history.jobs):,} jobs on {_node(history.totals)}")
    if totals != history.totals:
        session.out.text(f"the other node: {_node(totals)}")
    session.out.table(("", *[name for name, _ in found]), _rows([figures for _, figures in found]))
    _say_notes(session, history)


def _rows(found: list[Figures]) -> list[tuple[str, ...]]:
    from leasehold.cli.amounts import spell

    def line(name: str, cell: Any) -> tuple[str, ...]:
        return (name, *[cell(figures) for figures in found])

    rows = [
        line("had to wait", lambda each: f"{each.waited:,}"),
        *[line(f"waiting, {one}", lambda f, one=one: spell(getattr(f.waiting_sec, one))) for one in RANKS],
        *[line(f"slowdown, {one}", lambda f, one=one: f"{getattr(f.slowdown, one):,.2f}") for one in RANKS],
        *[
            line(f"use of {name}", lambda f, name=name: f"{f.use_pct.get(name, 0):.1f} %")
            for name in ("cpu", "memory", "units")
            if any(name in each.use_pct for each in found)
        ],
        line("from first to last", lambda each: spell(each.span_sec)),
    ]
    if any(each.never_started for each in found):
        rows.append(line("never started", lambda each: f"{each.never_started:,}"))
    if any(each.deadlines for each in found):
        rows.append(line("deadlines missed", lambda each: f"{each.deadlines_missed:,} of {each.deadlines:,}"))
    if any(each.disturbed_sec is not None for each in found):
        rows.append(
            line(
                "work while others pressed",
                lambda each: f"{spell(each.disturbed_sec or 0)} ({each.disturbed_pct or 0:.1f} %)",
            )
        )
    return rows
