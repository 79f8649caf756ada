"""The gate of work that waits for a window: `start: window` (QUEUE-19).

A window is one that the owner allows, or a time for which the forecast is sure enough of quiet (SENSE-18). It
stands beside the quiet gate and does not replace it: in a window the owner lets NORMAL work start in state
NORMAL, and what waits for a window waits for such a state too.
"""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.core import calendar
from leasehold.model.owner import NOTHING_FORESEEN, Block, Effect, Foreseen, Window, Word
from leasehold.model.refusal import Code, Reason

FAR_MS = 1 << 60

NO_WINDOWS = Block(
    "It waits for an `allow` window, and this node has none",
    "`leasehold allow --for 1h`, or `leasehold window add allow --from 22:00 --to 06:00`",
    FAR_MS,
)


def foreseen_open(foreseen: Foreseen, wall_ms: int) -> bool:
    """Whether the forecast has a window open."""
    return any(start_ms <= wall_ms < end_ms for start_ms, end_ms, _ in foreseen.spans)


def closed(
    windows: Iterable[Window],
    words: Iterable[Word],
    wall_ms: int,
    now_ms: int,
    foreseen: Foreseen = NOTHING_FORESEEN,
) -> Block | None:
    """Why work that waits for a window can't start, and until when on the ledger's clock; None: one is open.

    A window is open by its rule, while the owner says `allow` for a while, and while the forecast is sure of
    quiet. A block keeps work out all the same: that is another gate. `now_ms` is the same instant on the
    ledger's clock.
    """
    if any(_says_allow(word, wall_ms) for word in words) or foreseen_open(foreseen, wall_ms):
        return None
    allowing = [
        one
        for one in windows
        if one.effect is Effect.ALLOW and not one.device and not 0 < one.until_wall_ms <= wall_ms
    ]
    if any(calendar.open_until(one.rule, one.zone, wall_ms) is not None for one in allowing):
        return None
    coming = [
        (opens_ms, 1, f"{one.wid} opens at {calendar.shown(opens_ms, one.zone, wall_ms)}{_noted(one)}")
        for one in allowing
        if (opens_ms := calendar.opens_at(one.rule, one.zone, wall_ms)) is not None
        and (not one.until_wall_ms or opens_ms < one.until_wall_ms)
    ]
    coming += [
        (start_ms, 2, f"quiet is forecast from {calendar.shown(start_ms, foreseen.zone, wall_ms)}{_odds(bp)}")
        for start_ms, _, bp in foreseen.spans
        if start_ms > wall_ms
    ]
    if not coming:
        return _none(foreseen)
    opens_ms, _, what = min(coming)
    sentence = f"It waits for a window: {what}"
    return Block(sentence, "the window; or `leasehold allow --for 1h`", now_ms + opens_ms - wall_ms)


def _noted(window: Window) -> str:
    return f" ({window.note})" if window.note else ""


def _odds(quiet_bp: int) -> str:
    return f" (likely to {quiet_bp // 100} %)"


def _none(foreseen: Foreseen) -> Block:
    if not foreseen.why_none:
        return NO_WINDOWS
    sentence = (
        f"It waits for a window: this node has no `allow` window, and none is forecast: {foreseen.why_none}"
    )
    return Block(sentence, NO_WINDOWS.cure, FAR_MS)


def _says_allow(word: Word, wall_ms: int) -> bool:
    return word.effect is Effect.ALLOW and not word.device and word.until_wall_ms > wall_ms


def reason(no_window: Block | None, now_ms: int) -> Reason | None:
    """NO_WINDOW as a reason, with the seconds until the next one; None where one is open."""
    if no_window is None:
        return None
    if no_window.until_ms >= FAR_MS:
        return Reason(Code.NO_WINDOW, no_window.sentence, no_window.cure)
    left_s = max(1, -(-(no_window.until_ms - now_ms) // 1000))
    return Reason(Code.NO_WINDOW, no_window.sentence, no_window.cure, {"opens_sec": left_s}, left_s)
