"""The sentence about waiting: the place in line, who holds what, when it is expected to start."""

from __future__ import annotations

from leasehold.cli.amounts import ordinal, roughly

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    from typing import Any

ABOUT_ROOM = frozenset({"CAPACITY", "IN_LINE", "MAX_PER_NODE", "MAX_PER_HOLDER"})
NAMED_MAX = 4
"""Holders spelled out; a longer list is summed up."""


def waiting(answer: dict[str, Any], me: str) -> tuple[str, object]:
    """The sentence for a denial (LEASE-2, 18), and a key that changes only when it says something new.

    `me` is the caller's own holder name, for "(you)".
    """
    line: dict[str, Any] = answer.get("line") or {}
    reasons: list[dict[str, Any]] = answer.get("reasons") or []
    held_by: list[dict[str, Any]] = line.get("held_by") or []
    position = line.get("position")
    place = f"waiting, {ordinal(position)}" if position else "waiting"
    code = reasons[0].get("code", "") if reasons else ""
    cause = _cause(reasons, answer.get("reason", ""), held_by, me)
    expected = line.get("expected_start_sec")
    when = f"; expected to start in {roughly(expected)}" if expected else ""
    names = tuple(sorted((str(h.get("holder")), str(h.get("job_type"))) for h in held_by))
    stable = (position, code, names if code in ABOUT_ROOM else cause)
    return f"{place}: {cause}{when}" if cause else place + when, stable


def _cause(reasons: list[dict[str, Any]], reason: str, held_by: list[dict[str, Any]], me: str) -> str:
    first = reasons[0] if reasons else {}
    if first.get("code") not in ABOUT_ROOM or not held_by:
        cure = first.get("cure")
        sentence = first.get("sentence") or reason
        return f"{sentence} ({cure})" if cure else sentence
    return f"{_used(reasons, reason)} by {_named(held_by, me)}"


def _used(reasons: list[dict[str, Any]], reason: str) -> str:
    """`80 of 90 units used`, or the sentence about another dimension, followed by `; held`."""
    for found in reasons:
        figures = found.get("figures") or {}
        if (
            found.get("code") == "CAPACITY"
            and figures.get("dimension", "units") == "units"
            and "used" in figures
        ):
            return f"{figures['used']} of {figures.get('capacity')} units used"
        if found.get("code") == "CAPACITY":
            break
    return f"{reasons[0].get('sentence') or reason}; held"


def _named(held_by: list[dict[str, Any]], me: str) -> str:
    parts = [_holder(held, me) for held in held_by[:NAMED_MAX]]
    more = len(held_by) - len(parts)
    if more > 0:
        parts.append(f"{more} more")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _holder(held: dict[str, Any], me: str) -> str:
    who = "you" if held.get("holder") == me else str(held.get("holder", "")).removeprefix("user:")
    left = held.get("expected_left_sec")
    if left is not None:
        who += f", {roughly(left)} left" if left > 0 else ", longer than expected"
    return f'"{_printable(str(held.get("job_type", "?")))}" ({_printable(who)})'


def _printable(text: str) -> str:
    """Names come from other users: nothing in them may steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
