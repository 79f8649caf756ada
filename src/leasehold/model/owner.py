"""What the owner of a machine has said: block and allow, windows, pretend (SENSE-13, 20)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Effect(StrEnum):
    BLOCK = "block"
    ALLOW = "allow"


class Mood(StrEnum):
    """What a person may pretend that a machine is."""

    BUSY = "busy"
    QUIET = "quiet"


class Word(msgspec.Struct, frozen=True, gc=False):
    """One toggle. `device` is "" for the whole node, else like `gpu:0`.

    A block keeps everything new out; an allow lifts the windows that would. Both end by themselves at
    `until_wall_ms`. `zone` is the IANA name of the zone in which people are told the time.
    """

    device: str
    effect: Effect
    until_wall_ms: int
    at_wall_ms: int
    by: str
    note: str = ""
    zone: str = "UTC"


class Pretend(msgspec.Struct, frozen=True, gc=False):
    """The node is to be taken for busy or quiet until a time, whatever is measured."""

    mood: Mood
    until_wall_ms: int
    at_wall_ms: int
    by: str
    note: str = ""
    zone: str = "UTC"


class Rule(msgspec.Struct, frozen=True, gc=False):
    """A span of clock time on some days of the week, Monday 0. Minutes since midnight.

    An end that is not after its start is on the next day; the same for both is a whole day. 1440 is midnight
    at the end of the day.
    """

    days: tuple[int, ...]
    start_min: int
    end_min: int


class Window(msgspec.Struct, frozen=True, gc=False):
    """A rule with an effect, on the clocks of `zone`.

    `block` keeps everything new out while it is open. `allow` lets NORMAL work start in state NORMAL while it
    is open; with `only` it starts nowhere else. `until_wall_ms` ends the window for good; 0: never.
    """

    wid: str
    device: str
    effect: Effect
    rule: Rule
    zone: str
    at_wall_ms: int
    by: str
    only: bool = False
    note: str = ""
    until_wall_ms: int = 0


class Block(msgspec.Struct, frozen=True, gc=False):
    """Why nothing new starts, what would change that, and until when on the ledger's clock."""

    sentence: str
    cure: str
    until_ms: int


class Foreseen(msgspec.Struct, frozen=True, gc=False):
    """The forecast's windows as (from, to, basis points) in wall ms, in order, told in `zone`; else why none.

    They open for work that waits for a window (QUEUE-19).
    """

    spans: tuple[tuple[int, int, int], ...] = ()
    zone: str = "UTC"
    why_none: str = ""


NOTHING_FORESEEN = Foreseen()


class InForce(msgspec.Struct, frozen=True, gc=False):
    """What all of it comes to at one instant: right for wall times in [`from_wall_ms`, `until_wall_ms`).

    `blocks` goes by device, "" for the node. `lenient`: a window lets NORMAL work start in state NORMAL.
    `foreseen`: so does the forecast, for work that waits for a window. `closed`: work that waits for quiet
    starts only in windows, and none is open. `no_window`: none is, for work that waits for one itself; None
    where one is open, or nobody has looked. `mood` is what is pretended, with the sentence that says so.
    """

    from_wall_ms: int = 0
    until_wall_ms: int = 0
    blocks: dict[str, Block] = {}
    lenient: bool = False
    foreseen: bool = False
    closed: Block | None = None
    no_window: Block | None = None
    mood: Mood | None = None
    mood_sentence: str = ""


NOTHING_SAID = InForce()
