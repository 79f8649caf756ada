"""Quiet streaks: unbroken spans of QUIET (SENSE-16). A fold over assessments; time is wall time in ms."""

from __future__ import annotations

import msgspec

from leasehold.model.quiet import QuietState

GAP_MAX_MS = 30_000
"""Longer without an assessment is downtime, and breaks a streak: what nobody saw was not quiet."""


class Streak(msgspec.Struct, frozen=True, gc=False):
    """One span of QUIET. `seen` counts assessments; `score_sum` their scores."""

    start_ms: int
    end_ms: int
    score_sum: int
    score_min: int
    seen: int

    @property
    def score_mean(self) -> float:
        return round(self.score_sum / self.seen, 1)


def fold(
    open_streak: Streak | None, wall_ms: int, state: QuietState, score: int | None
) -> tuple[Streak | None, Streak | None]:
    """(the streak that is open now, the one that has just ended).

    A streak ends when it was last seen quiet.
    """
    ended = None
    if open_streak is not None and (
        not 0 <= wall_ms - open_streak.end_ms <= GAP_MAX_MS or state is not QuietState.QUIET
    ):
        open_streak, ended = None, open_streak
    if state is not QuietState.QUIET or score is None:
        return None, ended
    if open_streak is None:
        return Streak(wall_ms, wall_ms, score, score, 1), ended
    return (
        Streak(
            start_ms=open_streak.start_ms,
            end_ms=wall_ms,
            score_sum=open_streak.score_sum + score,
            score_min=min(open_streak.score_min, score),
            seen=open_streak.seen + 1,
        ),
        ended,
    )
