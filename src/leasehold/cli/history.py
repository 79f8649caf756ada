"""`leasehold history` and `leasehold streaks`: how the machine was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.wire.stats import HistoryOut

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 72


def register(app: typer.Typer) -> None:
    @app.command("history")
    @verb
    def history(
        session: Session,
        group: Annotated[str, typer.Argument(help="host, process, api or quiet")] = "quiet",
        metric: Annotated[
            str,
            typer.Option("--metric", metavar="NAME", help="a figure of the group; by default its headline"),
        ] = "",
        range: Annotated[  # noqa: A002
            str, typer.Option("--range", metavar="TIME", help="how far back: 15m, 24h, 7d")
        ] = "1h",
        step: Annotated[str, typer.Option("--step", metavar="TIME", help="one value per 10s, 5m, 1h")] = "",
        aggregate: Annotated[
            str, typer.Option("--agg", metavar="mean|min|max|last|count", help="of what each value is made")
        ] = "mean",
    ) -> int:
        """A measured figure over time."""
        from leasehold.client import calls

        query = {
            "group": group,
            "metric": metric or None,
            "range": range,
            "step": step or None,
            "agg": aggregate,
        }
        found = session.client.send(calls.HISTORY, query=query)
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids(["" if value is None else f"{value:g}" for value in found.values])
        else:
            _show(session, found)
        return exits.DONE

    @app.command("streaks")
    @verb
    def streaks(
        session: Session,
        range: Annotated[str, typer.Option("--range", metavar="TIME", help="how far back: 24h, 7d")] = "24h",  # noqa: A002
    ) -> int:
        """When the machine was quiet, and for how long."""
        from leasehold.cli.amounts import spell
        from leasehold.client import calls

        found = session.client.send(calls.STREAKS, query={"range": range})
        if session.out.as_json:
            session.out.document(found)
            return exits.DONE
        rows = [
            (
                one.start_time,
                "now" if one.open else one.end_time,
                spell(one.duration_sec),
                f"{one.avg_score:.0f}",
                one.min_score,
            )
            for one in found.streaks
        ]
        session.out.table(
            ("FROM", "TO", "FOR", "SCORE", "LOWEST"), rows, nothing=f"not quiet once in {range}"
        )
        session.say(f"quiet for {spell(found.quiet_sec)} of the last {spell(found.range_sec)}")
        return exits.DONE


def _show(session: Session, found: HistoryOut) -> None:
    from leasehold.cli.amounts import spell

    known = [value for value in found.values if value is not None]
    session.out.text(f"{found.group} {found.metric}, {found.agg} per {spell(found.step_sec)}")
    session.out.text(f"{found.start} … {found.end}")
    if not known:
        session.out.text("nothing was measured in this time")
        return
    session.out.text(_drawn(found.values))
    session.out.text(
        f"lowest {min(known):g}, highest {max(known):g}, last {known[-1]:g}; "
        f"{len(known)} of {len(found.values)} known"
    )


def _drawn(values: list[float | None]) -> str:
    """A line of bars, the highest value at full height; `·` where nothing was measured."""
    per = -(-len(values) // WIDTH)
    groups = [[v for v in values[i : i + per] if v is not None] for i in range(0, len(values), per)]
    top = max((max(group) for group in groups if group), default=0.0) or 1.0
    return "".join(
        BARS[round(max(0.0, sum(group) / len(group)) / top * (len(BARS) - 1))] if group else "·"
        for group in groups
    )
