"""Amounts, places and the waiting line as people read them."""

from __future__ import annotations

import pytest

from leasehold.cli import amounts
from leasehold.cli.run import line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400), ("0", 0)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A bare number means seconds; units may be combined."""
    assert amounts.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "1..5m", "-5", "5m-"])
def test_other_durations_are_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="expected a duration"):
        amounts.duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (340, "5 min 40 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_spelled(seconds: float, text: str) -> None:
    """Two units at most."""
    assert amounts.spell(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (21, "21st"),
        (113, "113th"),
    ],
)
def test_places_are_ordinals(number: int, text: str) -> None:
    """The place in line reads as English."""
    assert amounts.ordinal(number) == text


@pytest.mark.parametrize(("text", "found"), [("4", 4000), ("0.5", 500), ("500m", 500), ("1.25", 1250)])
def test_cores_are_read(text: str, found: int) -> None:
    """Cores, or thousandths of them."""
    assert amounts.millicores(text) == found


@pytest.mark.parametrize("text", ["", "0", "nan", "inf", "-1", "1e9", "4 cores"])
def test_other_cores_are_refused(text: str) -> None:
    """Not even what a float would take."""
    with pytest.raises(ValueError, match="cores"):
        amounts.millicores(text)


@pytest.mark.parametrize("text", ["", "0", "nan", "inf", "-1G", "9999999T", "8GX"])
def test_other_sizes_are_refused(text: str) -> None:
    """Sizes are positive and below 2^53."""
    with pytest.raises(ValueError, match="size"):
        amounts.size(text)


def denial(**more: object) -> dict[str, object]:
    """A denial for lack of room, held by another user and by the caller."""
    return {
        "reason": "Capacity exceeded: used=80, requested=40, capacity=90",
        "reasons": [
            {
                "code": "CAPACITY",
                "sentence": "Capacity exceeded: used=80, requested=40, capacity=90",
                "figures": {"dimension": "units", "used": 80, "requested": 40, "capacity": 90},
            }
        ],
        "line": {
            "position": 2,
            "waiting": 2,
            "held_by": [
                {
                    "holder": "agent-2",
                    "job_type": "cargo build",
                    "cost_units": 40,
                    "expected_left_sec": 350.0,
                },
                {"holder": "user:me", "job_type": "pytest", "cost_units": 40},
            ],
        },
    } | more


@pytest.mark.requirement("LEASE-18")
def test_the_waiting_line_says_the_place_and_who_holds_what() -> None:
    """Word for word as the README shows it."""
    sentence, _ = line.waiting(denial(), "user:me")
    assert (
        sentence
        == 'waiting, 2nd: 80 of 90 units used by "cargo build" (agent-2, ~6 min left) and "pytest" (you)'
    )


@pytest.mark.requirement("LEASE-18")
def test_a_shorter_estimate_is_no_news_but_a_new_place_is() -> None:
    """Outside a terminal a line is printed per change: it may not be printed for each tick of an estimate."""
    _, key = line.waiting(denial(), "user:me")
    later = denial()
    later["line"]["held_by"][0]["expected_left_sec"] = 200.0  # type: ignore[index]
    assert line.waiting(later, "user:me")[1] == key
    later["line"]["position"] = 1  # type: ignore[index]
    assert line.waiting(later, "user:me")[1] != key


def test_names_of_others_cannot_steer_the_terminal() -> None:
    """A job type is chosen by another user; escape sequences in it are not passed on."""
    sneaky = denial()
    sneaky["line"]["held_by"][0]["job_type"] = "x\x1b]0;owned\x07"  # type: ignore[index]
    assert line.waiting(sneaky, "")[0].isprintable()


def test_a_reason_that_is_not_about_room_is_said_with_its_cure() -> None:
    """Where nobody else holds the room, the reason itself and what would change it."""
    answer = {
        "reasons": [{"code": "PANIC", "sentence": "System is PANIC; nothing starts", "cure": "less load"}]
    }
    assert line.waiting(answer, "")[0] == "waiting: System is PANIC; nothing starts (less load)"
