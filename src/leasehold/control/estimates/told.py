"""What is told of one job."""

from __future__ import annotations

from leasehold.core.estimate import Guess


class Told:
    """What is told of one job: `wait…_ms` from now, from the moment that the machine is quiet where
    `after_quiet` is set; None, and a `note`, where it is not known.
    """

    __slots__ = ("after_quiet", "note", "wait50_ms", "wait90_ms")

    def __init__(self, guess: Guess | None, *, after_quiet: bool = False, note: str = "") -> None:
        self.wait50_ms = guess.wait50_ms if guess is not None else None
        self.wait90_ms = guess.wait90_ms if guess is not None else None
        self.after_quiet = after_quiet
        self.note = note
