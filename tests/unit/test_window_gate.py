"""Work that waits for a window: which is open, when the next one is, and what the owner says beside it."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest

from leasehold.core import admission, window_gate
from leasehold.core import owner as words
from leasehold.core.state import WINDOWS, WORDS, Change, State
from leasehold.model.owner import Effect, Foreseen, Rule, Window, Word
from leasehold.model.refusal import Code
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import ask, quiet

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


@pytest.mark.requirement("SENSE-19", "SENSE-20")
def test_when_the_owner_blocks_is_known_ahead() -> None:
    """Windows of the days to come and a block of now, less what an `allow` lifts; devices don't count."""
    state = State("node-1")
    known = [window("w", 14, 16, effect=Effect.BLOCK), window("d", 1, 2, effect=Effect.BLOCK, device="gpu:0")]
    for one in [*known, window("a", 3, 4), window("e", 5, 6, effect=Effect.BLOCK, until=NOON)]:
        state.windows[one.wid] = one
    day_ms = 24 * HOUR_MS
    spans = [(NOON + 2 * HOUR_MS + n * day_ms, NOON + 4 * HOUR_MS + n * day_ms) for n in range(2)]
    assert words.blocked(state, NOON, NOON + 2 * day_ms) == spans
    for effect, expected in (
        (Effect.BLOCK, [(NOON, NOON + 3 * HOUR_MS), *spans]),
        (Effect.ALLOW, [(NOON + 3 * HOUR_MS, NOON + 4 * HOUR_MS), spans[1]]),
    ):
        state.words["node"] = Word("", effect, NOON + 3 * HOUR_MS, NOON, "ann")
        assert words.blocked(state, NOON, NOON + 2 * day_ms) == expected


FORECAST = Foreseen(((NOON + 2 * HOUR_MS, NOON + 5 * HOUR_MS, 9_150),), "Europe/Berlin")


@pytest.mark.requirement("QUEUE-19")
def test_a_forecast_window_is_a_window() -> None:
    """It says when it comes and how likely quiet is; in it nothing stands before the job."""
    found = window_gate.reason(window_gate.closed([], [], NOON, NOW_MS, FORECAST), NOW_MS)
    assert found is not None
    assert found.code is Code.NO_WINDOW
    assert found.sentence == "It waits for a window: quiet is forecast from 14:00 CET (likely to 91 %)"
    assert found.retry_after_s == 2 * 3600
    for wall_ms, is_open in (
        (NOON + 2 * HOUR_MS - 1, False),
        (NOON + 2 * HOUR_MS, True),
        (NOON + 5 * HOUR_MS - 1, True),
        (NOON + 5 * HOUR_MS, False),
    ):
        assert (window_gate.closed([], [], wall_ms, NOW_MS, FORECAST) is None) is is_open


@pytest.mark.requirement("QUEUE-19")
def test_of_an_allowed_and_a_forecast_window_the_earlier_is_waited_for() -> None:
    """Either will do."""
    early, late = window("early", 13, 14), window("late", 22, 6)
    assert "early opens at 13:00" in str(window_gate.closed([early], [], NOON, NOW_MS, FORECAST))
    assert "forecast from 14:00" in str(window_gate.closed([late], [], NOON, NOW_MS, FORECAST))
    assert window_gate.closed([early], [], NOON + HOUR_MS, NOW_MS, FORECAST) is None


@pytest.mark.requirement("QUEUE-19")
def test_a_forecast_that_is_not_sure_says_so() -> None:
    """There is no time to promise, and the cure is a window of one's own."""
    doubt = Foreseen(why_none="2.0 days are known, and a week has to be seen first")
    found = window_gate.reason(window_gate.closed([], [], NOON, NOW_MS, doubt), NOW_MS)
    assert found is not None
    assert "none is forecast: 2.0 days are known" in found.sentence
    assert "leasehold window add allow" in found.cure
    assert found.retry_after_s is None


@pytest.mark.requirement("QUEUE-19")
def test_what_is_in_force_changes_with_the_forecast() -> None:
    """It holds until the window's next edge, whatever else is said."""
    state = State("node-1")
    before = words.in_force(state, NOON, NOW_MS, FORECAST)
    assert (before.foreseen, before.until_wall_ms) == (False, NOON + 2 * HOUR_MS)
    inside = words.in_force(state, NOON + 3 * HOUR_MS, NOW_MS, FORECAST)
    assert (inside.foreseen, inside.no_window, inside.until_wall_ms) == (True, None, NOON + 5 * HOUR_MS)
    assert not inside.lenient


@pytest.mark.requirement("QUEUE-19")
@pytest.mark.parametrize(
    ("state", "waits", "codes"),
    [
        ("QUIET", True, []),
        ("NORMAL", True, []),
        ("NORMAL", False, [Code.NOT_QUIET]),
        ("BUSY", True, [Code.NOT_QUIET]),
        ("PANIC", True, [Code.PANIC]),
    ],
)
def test_in_a_forecast_window_normal_is_quiet_enough_for_who_waited_for_it(
    state: str, waits: bool, codes: list[Code]
) -> None:
    """For others the forecast lowers no bar: it is a guess, and the owner's `allow` is a word."""
    held = State("node-1")
    held.view = msgspec.structs.replace(quiet(60), state=state)
    held.owner = words.in_force(held, NOON + 3 * HOUR_MS, 0, FORECAST)
    asked = msgspec.structs.replace(ask(10), window=waits)
    found = [reason.code for reason in admission.reasons(held, asked, 0, PolicySettings())]
    assert found == codes
