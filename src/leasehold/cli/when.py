"""`leasehold when`: the best times to come, how sure that is, and how good the forecast was."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from datetime import tzinfo

    from leasehold.wire.forecast import ForecastOut, ForecastScore, ForecastWindow


def register(app: typer.Typer) -> None:
    @app.command("when")
    @verb
    def when(
        session: Session,
        duration: Annotated[
            str, typer.Option("--for", metavar="TIME", help="how long it has to be quiet: 30m, 2h")
        ] = "2h",
        within: Annotated[
            str, typer.Option("--within", metavar="TIME", help="how far ahead to look: 24h, 7d; at most 14d")
        ] = "24h",
    ) -> int:
        """When this machine will probably be quiet."""
        from leasehold.client import calls

        found = session.client.send(calls.FORECAST, query={"duration": duration, "within": within})
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.start for one in found.windows])
        else:
            _show(session, found)
        return exits.DONE


def _show(session: Session, found: ForecastOut) -> None:
    from leasehold.cli.amounts import spell
    from leasehold.core.calendar import zone_of

    zone = zone_of(found.zone)
    rows = [
        (
            _clock(one.start, zone),
            _clock(one.end, zone),
            _percent(one.probability),
            _percent(one.lowest),
            one.confidence,
        )
        for one in found.windows
    ]
    session.out.table(
        ("FROM", "TO", "QUIET", "WORST", "CONFIDENCE"),
        rows,
        nothing=f"no {spell(found.duration_sec)} within that",
    )
    session.say(f"{_coming(found, zone)} (clocks of {found.zone})")
    if found.note:
        session.say(f"unsure: {found.note}")
    session.say(_told(found.score))


def _coming(found: ForecastOut, zone: tzinfo) -> str:
    """The next span that work which waits for a window would take."""
    if not found.quiet:
        return "no forecast window in this time"
    first: ForecastWindow = found.quiet[0]
    span = f"{_clock(first.start, zone)} to {_clock(first.end, zone)}"
    return f"forecast window: {span}, {_percent(first.probability)} quiet"


def _told(score: ForecastScore | None) -> str:
    if score is None:
        return "not scored yet: the forecast of a day is held against it when the day is over"
    brier = score.brier
    days = f"{score.days} {'day' if score.days == 1 else 'days'}"
    hindsight = f" ({score.hindsight_days} in hindsight)" if score.hindsight_days else ""
    return (
        f"score over {days}{hindsight}: Brier {brier.forecast:.3f} (0 is perfect); mean of all time "
        f"{brier.overall_mean:.3f}, hour of the day {brier.hour_of_day:.3f}, last week {brier.last_week:.3f}"
    )


def _clock(text: str, zone: tzinfo) -> str:
    return f"{datetime.fromisoformat(text).astimezone(zone):%a %d %b %H:%M}"


def _percent(share: float) -> str:
    """Nothing to come is certain."""
    return "> 99 %" if share >= 0.995 else f"{100 * share:.0f} %"
