"""Numbers that look like chance and follow from a seed: for what has to be the same on every machine.

SplitMix64: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
"""

from __future__ import annotations

MASK = (1 << 64) - 1


class Dice:
    """A source of numbers for one purpose, begun from a seed and the keys that name the purpose."""

    def __init__(self, *keys: int) -> None:
        self._state = 0
        for key in keys:
            self._state = _mixed((self._state ^ (key & MASK)) + 0x9E3779B97F4A7C15 & MASK)

    def unit(self) -> float:
        """Evenly from 0 to below 1."""
        self._state = self._state + 0x9E3779B97F4A7C15 & MASK
        return (_mixed(self._state) >> 11) / (1 << 53)

    def between(self, low: float, high: float) -> float:
        """Evenly between two figures."""
        return low + (high - low) * self.unit()

    def near(self, middle: float, spread: float) -> float:
        """Around a middle, seldom as far away as `spread`: the mean of three."""
        return middle + spread * (2 * (self.unit() + self.unit() + self.unit()) / 3 - 1)

    def chance(self, share: float) -> bool:
        """Whether something of this probability happens."""
        return self.unit() < share


def _mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)
