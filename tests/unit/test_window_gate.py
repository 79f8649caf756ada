"""Work that waits for a window: which is open, when the next one is, and what the owner says beside it."""

from __future__ import annotations

from datetime import datetime

import pytest

from leasehold.core import owner as words
from leasehold.core import window_gate
from leasehold.core.state import WINDOWS, WORDS, Change, State
from leasehold.model.owner import Effect, Rule, Window, Word
from leasehold.model.refusal import Code

HOUR_MS = 3_600_000
NOON = round(datetime.fromisoformat("2026-11-23T12:00+01:00").timestamp() * 1000)  # A Monday.
NOW_MS = 5_000
ALL = tuple(range(7))


def window(wid: str, start: int, end: int, **given: object) -> Window:
    fields: dict[str, object] = {"device": "", "effect": Effect.ALLOW, "days": ALL, **given}
    return Window(
        wid,
        str(fields["device"]),
        Effect(str(fields["effect"])),
        Rule(fields["days"], start * 60, end * 60),  # type: ignore[arg-type]
        "Europe/Berlin",
        0,
        "ann",
        note=str(fields.get("note", "")),
        until_wall_ms=int(str(fields.get("until", 0))),
    )


@pytest.mark.requirement("QUEUE-19")
def test_without_a_window_it_says_how_to_make_one() -> None:
    """A block's window, or one that has ended for good, is none; there is no time to promise."""
    for known in ([], [window("w", 8, 18, effect=Effect.BLOCK)], [window("w", 8, 18, until=NOON)]):
        found = window_gate.reason(window_gate.closed(known, [], NOON, NOW_MS), NOW_MS)
        assert found is not None
        assert found.code is Code.NO_WINDOW
        assert "leasehold window add allow" in found.cure
        assert found.retry_after_s is None


@pytest.mark.requirement("QUEUE-19")
def test_it_says_when_the_next_one_opens() -> None:
    """The earliest of several, with its id and note, on the clocks of its zone and in seconds."""
    known = [window("late", 22, 6), window("early", 18, 20, note="dinner"), window("tue", 8, 9, days=(1,))]
    found = window_gate.reason(window_gate.closed(known, [], NOON, NOW_MS), NOW_MS)
    assert found is not None
    assert found.sentence == "It waits for a window: early opens at 18:00 CET (dinner)"
    assert found.retry_after_s == 6 * 3600
    late = NOON + HOUR_MS
    assert window_gate.reason(window_gate.closed(known, [], late, NOW_MS), NOW_MS + HOUR_MS) is not None


@pytest.mark.requirement("QUEUE-19")
def test_an_open_window_lets_it_pass() -> None:
    """At its beginning, and not at its end; also where another one is closed."""
    known = [window("noon", 12, 13), window("night", 22, 6)]
    assert window_gate.closed(known, [], NOON, NOW_MS) is None
    assert window_gate.closed(known, [], NOON + HOUR_MS - 1, NOW_MS) is None
    assert window_gate.closed(known, [], NOON + HOUR_MS, NOW_MS) is not None
    assert window_gate.reason(None, NOW_MS) is None


@pytest.mark.requirement("QUEUE-19")
def test_a_window_that_ends_before_it_opens_again_is_not_promised() -> None:
    """Its last opening is over: nobody is told to wait for the next."""
    known = [window("noon", 12, 13, until=NOON + 20 * HOUR_MS)]
    assert window_gate.closed(known, [], NOON + 2 * HOUR_MS, NOW_MS) is window_gate.NO_WINDOWS


@pytest.mark.requirement("QUEUE-19")
def test_an_allow_for_a_while_is_a_window() -> None:
    """`leasehold allow --for 2h` opens one for the node, not for a device; a block does not."""
    for device, effect, is_open in (
        ("", Effect.ALLOW, True),
        ("gpu:0", Effect.ALLOW, False),
        ("", Effect.BLOCK, False),
    ):
        word = Word(device, effect, NOON + HOUR_MS, NOON, "ann")
        assert (window_gate.closed([], [word], NOON, NOW_MS) is None) is is_open
    over = Word("", Effect.ALLOW, NOON, NOON, "ann")
    assert window_gate.closed([], [over], NOON, NOW_MS) is not None


@pytest.mark.requirement("QUEUE-19")
def test_what_is_in_force_knows_it() -> None:
    """So admission asks one field, and what was found holds until a window opens or closes."""
    state = State("node-1")
    for one in (window("night", 22, 6), window("block", 11, 13, effect=Effect.BLOCK)):
        state.apply(Change(WINDOWS, one.wid, one))
    found = words.in_force(state, NOON, NOW_MS)
    assert found.no_window is not None
    assert found.no_window.until_ms == NOW_MS + 10 * HOUR_MS
    night = words.in_force(state, NOON + 10 * HOUR_MS, NOW_MS)
    assert night.no_window is None
    assert night.until_wall_ms == NOON + 18 * HOUR_MS
    state.apply(Change(WORDS, "node", Word("", Effect.ALLOW, NOON + HOUR_MS, NOON, "ann")))
    assert words.in_force(state, NOON, NOW_MS).no_window is None
