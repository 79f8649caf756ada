"""What the owner's word comes to at an instant, and the decisions that change it (SENSE-13, 20)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from leasehold.core import calendar, window_gate
from leasehold.core.state import PRETENDS, WINDOWS, WORDS, Change, Outcome, Stamp, State
from leasehold.model.event import Event
from leasehold.model.node import NodeView
from leasehold.model.owner import (
    NOTHING_FORESEEN,
    Block,
    Effect,
    Foreseen,
    InForce,
    Mood,
    Pretend,
    Window,
    Word,
)

FAR_MS = window_gate.FAR_MS
"""No change is in sight."""

DAY_MS = 86_400_000

PRETENDED_BUSY = 40
"""The score that a node has while a person says that it is busy: the middle of the band BUSY."""

ALLOW = "`leasehold allow` ends it"


def in_force(state: State, wall_ms: int, now_ms: int, foreseen: Foreseen = NOTHING_FORESEEN) -> InForce:
    """What is in force now, and until when that holds. What has expired counts for nothing.

    `now_ms` is the same instant on the ledger's clock.
    """
    words = [word for word in state.words.values() if word.until_wall_ms > wall_ms]
    said = [said for said in state.pretends.values() if said.until_wall_ms > wall_ms]
    looked = [
        _Look(
            window,
            calendar.open_until(window.rule, window.zone, wall_ms),
            calendar.opens_at(window.rule, window.zone, wall_ms),
        )
        for _, window in sorted(state.windows.items())
        if not 0 < window.until_wall_ms <= wall_ms
    ]
    until_ms = min(
        [
            FAR_MS,
            *(word.until_wall_ms for word in words),
            *(one.until_wall_ms for one in said),
            *(look.next_ms for look in looked),
            *(edge for span in foreseen.spans for edge in span[:2] if edge > wall_ms),
        ]
    )
    lifted = {word.device for word in words if word.effect is Effect.ALLOW}
    looked = [look for look in looked if look.window.device not in lifted]
    blocks = {
        look.window.device: _block(*_by_window(look, wall_ms), look.open_ms, wall_ms, now_ms)
        for look in reversed(looked)
        if look.window.effect is Effect.BLOCK and look.open_ms is not None
    }
    for word in words:
        if word.effect is Effect.BLOCK:
            blocks[word.device] = _block(*_by_word(word, wall_ms), word.until_wall_ms, wall_ms, now_ms)
    allowing = [look for look in looked if look.window.effect is Effect.ALLOW]
    lenient = any(look.open_ms is not None for look in allowing)
    only = [look for look in allowing if look.window.only]
    closed = None
    if only and not lenient:
        first = min(only, key=lambda look: (look.opens_ms or FAR_MS, look.window.wid))
        closed = _block(*_closed(first, wall_ms), first.opens_ms or FAR_MS, wall_ms, now_ms)
    return InForce(
        from_wall_ms=wall_ms,
        until_wall_ms=until_ms,
        blocks=blocks,
        lenient=lenient,
        foreseen=window_gate.foreseen_open(foreseen, wall_ms),
        closed=closed,
        no_window=window_gate.closed(state.windows.values(), words, wall_ms, now_ms, foreseen),
        mood=said[0].mood if said else None,
        mood_sentence=_mood(said[0], wall_ms) if said else "",
    )


class _Look(NamedTuple):
    """A window at an instant: until when it is open (None: it is not), and when it opens next."""

    window: Window
    open_ms: int | None
    opens_ms: int | None

    @property
    def next_ms(self) -> int:
        return min(self.open_ms or FAR_MS, self.opens_ms or FAR_MS, self.window.until_wall_ms or FAR_MS)


def blocked(state: State, wall_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """When this node is blocked from now until an instant, as far as is known: spans of wall ms, in order.

    By a word or by windows, less what an `allow` lifts; blocks of devices don't count.
    """
    word = state.words.get("node")
    found: list[tuple[int, int]] = []
    lifted_ms = wall_ms
    if word is not None and word.until_wall_ms > wall_ms:
        if word.effect is Effect.BLOCK:
            found.append((wall_ms, word.until_wall_ms))
        else:
            lifted_ms = word.until_wall_ms
    days = (end_ms - wall_ms) // DAY_MS + 4
    for _, window in sorted(state.windows.items()):
        if window.effect is not Effect.BLOCK or window.device:
            continue
        last_ms = min(end_ms, window.until_wall_ms or end_ms)
        for start_ms, until_ms in calendar.spans(window.rule, window.zone, wall_ms, days):
            span = max(start_ms, lifted_ms), min(until_ms, last_ms)
            if span[0] < span[1]:
                found.append(span)
    return sorted(found)


def _block(sentence: str, cure: str, until_wall_ms: int, wall_ms: int, now_ms: int) -> Block:
    return Block(sentence, cure, now_ms + until_wall_ms - wall_ms)


def _noted(note: str) -> str:
    return f": {note}" if note else ""


def _by_word(word: Word, wall_ms: int) -> tuple[str, str]:
    until = calendar.shown(word.until_wall_ms, word.zone, wall_ms)
    return f"{word.device or 'This node'} is blocked until {until} by {word.by}{_noted(word.note)}", ALLOW


def _by_window(look: _Look, wall_ms: int) -> tuple[str, str]:
    window = look.window
    until = calendar.shown(look.open_ms or 0, window.zone, wall_ms)
    what = window.device or "This node"
    sentence = f"{what} is blocked until {until} by the window {window.wid}{_noted(window.note)}"
    return sentence, "the end of the window; `leasehold allow --for 1h` lifts it"


def _closed(look: _Look, wall_ms: int) -> tuple[str, str]:
    window = look.window
    opens = f", next at {calendar.shown(look.opens_ms, window.zone, wall_ms)}" if look.opens_ms else ""
    sentence = f"Work that waits for quiet starts only in the window {window.wid}{opens}{_noted(window.note)}"
    return sentence, "the window; or start=now"


def _mood(said: Pretend, wall_ms: int) -> str:
    until = calendar.shown(said.until_wall_ms, said.zone, wall_ms)
    return f"{said.by} says that it is {said.mood} until {until}{_noted(said.note)}"


def seen(view: NodeView, word: InForce) -> NodeView:
    """The node as it is to be taken.

    Nobody can pretend a measurement, or memory and disk, that are not there. Busy never makes a PANIC
    milder; quiet does not hide one of memory or disk.
    """
    if word.mood is None or view.state == "UNKNOWN" or view.score is None:
        return view
    reasons = (word.mood_sentence, *view.reasons)
    if word.mood is Mood.QUIET:
        if view.short_of_memory_or_disk:
            return view
        return msgspec.structs.replace(view, state="QUIET", score=100, cooldown_until_ms=0, reasons=reasons)
    if view.state in ("BUSY", "PANIC"):
        return msgspec.structs.replace(view, reasons=reasons)
    return msgspec.structs.replace(
        view, state="BUSY", score=min(view.score, PRETENDED_BUSY), always=False, reasons=reasons
    )


# -- decisions


def say(state: State, word: Word, stamp: Stamp) -> Outcome:
    """Block or allow. Answer: the word."""
    outcome = Outcome(word)
    kind = "NodeBlocked" if word.effect is Effect.BLOCK else "NodeAllowed"
    outcome.changes.append(Change(WORDS, word.device or "node", word))
    outcome.events.append(_event(state, kind, word.device, stamp, word.by, word.until_wall_ms, word.note))
    return outcome


def take_back(state: State, device: str, stamp: Stamp, by: str) -> Outcome:
    """End a word before its time: without one the windows decide. Nothing happens where there is none."""
    outcome = Outcome()
    if (device or "node") in state.words:
        outcome.changes.append(Change(WORDS, device or "node", None))
        outcome.events.append(_event(state, "NodeAllowed", device, stamp, by, 0, ""))
    return outcome


def pretend(state: State, said: Pretend, stamp: Stamp) -> Outcome:
    """Take the node for busy or quiet until a time. Answer: what was said."""
    outcome = Outcome(said)
    outcome.changes.append(Change(PRETENDS, "node", said))
    outcome.events.append(
        _event(state, f"Pretends{said.mood.capitalize()}", "", stamp, said.by, said.until_wall_ms, said.note)
    )
    return outcome


def stop_pretending(state: State, stamp: Stamp, by: str) -> Outcome:
    outcome = Outcome()
    if "node" in state.pretends:
        outcome.changes.append(Change(PRETENDS, "node", None))
        outcome.events.append(_event(state, "PretendEnded", "", stamp, by, 0, ""))
    return outcome


def set_window(state: State, window: Window, stamp: Stamp) -> Outcome:
    """Add a window or put another in its place. Answer: the window."""
    outcome = Outcome(window)
    outcome.changes.append(Change(WINDOWS, window.wid, window))
    details = {"window": window.wid, "effect": str(window.effect), "note": window.note}
    outcome.events.append(Event("WindowSet", window.wid, stamp.wall_ms, window.by, details=details))
    return outcome


def remove_window(state: State, wid: str, stamp: Stamp, by: str) -> Outcome:
    outcome = Outcome()
    outcome.changes.append(Change(WINDOWS, wid, None))
    outcome.events.append(Event("WindowRemoved", wid, stamp.wall_ms, by))
    return outcome


def something_ended(state: State, wall_ms: int) -> bool:
    """Whether there is anything for `ended` to forget."""
    return (
        any(word.until_wall_ms <= wall_ms for word in state.words.values())
        or any(said.until_wall_ms <= wall_ms for said in state.pretends.values())
        or any(0 < window.until_wall_ms <= wall_ms for window in state.windows.values())
    )


def ended(state: State, stamp: Stamp) -> Outcome:
    """Forget what has ended by its time, each with its event."""
    outcome = Outcome()
    for key, word in sorted(state.words.items()):
        if word.until_wall_ms <= stamp.wall_ms:
            kind = "BlockEnded" if word.effect is Effect.BLOCK else "AllowEnded"
            outcome.changes.append(Change(WORDS, key, None))
            outcome.events.append(_event(state, kind, word.device, stamp, "", 0, word.note))
    for key, said in sorted(state.pretends.items()):
        if said.until_wall_ms <= stamp.wall_ms:
            outcome.changes.append(Change(PRETENDS, key, None))
            outcome.events.append(_event(state, "PretendEnded", "", stamp, "", 0, said.note))
    for wid, window in sorted(state.windows.items()):
        if window.until_wall_ms and window.until_wall_ms <= stamp.wall_ms:
            outcome.changes.append(Change(WINDOWS, wid, None))
            outcome.events.append(Event("WindowEnded", wid, stamp.wall_ms))
    return outcome


def _event(state: State, kind: str, device: str, stamp: Stamp, by: str, until_ms: int, note: str) -> Event:
    subject = f"{state.node_id}/{device}" if device else state.node_id
    details: dict[str, object] = {"note": note} if note else {}
    if until_ms:
        details["until_ms"] = until_ms
    return Event(kind, subject, stamp.wall_ms, by, details=details)
