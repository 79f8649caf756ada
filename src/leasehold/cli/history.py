"""`leasehold history` and `leasehold streaks`: how the machine was."""

from __future__ import annotations

from datetime import datetime
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
        list_groups: Annotated[
            bool, typer.Option("--list", help="which groups and figures there are")
        ] = False,
    ) -> int:
        """A measured figure over time."""
        from leasehold.client import calls

        if list_groups:
            return _list(session)
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


def _list(session: Session) -> int:
    from leasehold.client import calls

    found = session.client.send(calls.HISTORY_GROUPS)
    if session.out.as_json:
        session.out.document(found)
        return exits.DONE
    rows = [
        (one.group, name, "shown without --metric" if name == one.headline else "")
        for one in found.groups
        for name in one.metrics
    ]
    session.out.table(("GROUP", "METRIC", ""), rows, nothing="nothing was measured yet")
    session.say(
        f"each {found.sample_sec} s for {found.raw_days} d, by minutes for {found.minute_days} d, "
        f"by hours for {found.hour_days} d"
    )
    return exits.DONE


def _show(session: Session, found: HistoryOut) -> None:
    from leasehold.cli.amounts import spell

    known = [value for value in found.values if value is not None]
    session.out.text(f"{found.group} {found.metric}, {found.agg} per {spell(found.step_sec)}")
    session.out.text(f"{_clock(found.start)} … {_clock(found.end)}")
    if not known:
        session.out.text("nothing was measured in this time")
        return
    session.out.text(_drawn(found.values))
    lowest, highest, last = (_figure(value, found) for value in (min(known), max(known), known[-1]))
    session.out.text(
        f"lowest {lowest}, highest {highest}, last {last}; {len(known)} of {len(found.values)} known"
    )


def _clock(text: str) -> str:
    """An instant on the clocks here."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"


def _figure(value: float, found: HistoryOut) -> str:
    """Bytes as people read them, shares in percent, the rest as it is."""
    from leasehold.cli.amounts import bytes_text

    name = found.metric.partition(":")[0]
    if found.agg == "count":
        return f"{value:g}"
    if "bytes" in name:
        return bytes_text(round(value)) + ("/s" if name.endswith(("_s", "_per_sec")) else "")
    return f"{value:g} %" if name.endswith("_pct") else f"{value:g}"


def _drawn(values: list[float | None]) -> str:
    """A line of bars, the highest value at full height; `·` where nothing was measured."""
    per = -(-len(values) // WIDTH)
    groups = [[v for v in values[i : i + per] if v is not None] for i in range(0, len(values), per)]
    top = max((max(group) for group in groups if group), default=0.0) or 1.0
    return "".join(
        BARS[round(max(0.0, sum(group) / len(group)) / top * (len(BARS) - 1))] if group else "·"
        for group in groups
    )
