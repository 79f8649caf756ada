"""The machine of `leasehold demo`: its rhythm, with something to be found in it, and its streaks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from leasehold.core.rhythm import Moment, Rhythm
from leasehold.core.streaks import Streak
from leasehold.model.made_up import MadeUp

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
HOUR_MS = 3_600_000


def rhythm_of(made_up: MadeUp) -> Rhythm:
    """What decides every figure of a demo.

    Three weeks before it began all is some hours later, five weeks before a working day is a holiday, and ten
    days before the machine was switched off for some hours.
    """
    today = datetime.fromtimestamp(made_up.begun_wall_ms / 1000, UTC).date()
    monday = date.fromordinal(today.toordinal() - today.weekday())
    off_ms = made_up.begun_wall_ms - 10 * DAY_MS
    return Rhythm(
        seed=made_up.seed,
        zone=made_up.zone,
        shifted=(date.fromordinal(monday.toordinal() - 21),),
        holidays=(date.fromordinal(monday.toordinal() - 34),),
        off=((off_ms, off_ms + 7 * HOUR_MS),),
    )


def streaks(moments: Iterable[Moment], step_ms: int) -> Iterator[Streak]:
    """The unbroken spans of quiet among moments `step_ms` apart, without the one that still lasts."""
    found: Streak | None = None
    for moment in moments:
        if found is not None and (not moment.is_quiet or moment.wall_ms - found.end_ms > step_ms):
            yield found
            found = None
        if moment.is_quiet:
            found = _longer(found, moment)


def _longer(streak: Streak | None, moment: Moment) -> Streak:
    if streak is None:
        return Streak(moment.wall_ms, moment.wall_ms, moment.score, moment.score, 1)
    return Streak(
        streak.start_ms,
        moment.wall_ms,
        streak.score_sum + moment.score,
        min(streak.score_min, moment.score),
        streak.seen + 1,
    )
