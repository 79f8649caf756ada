"""What says that a data folder holds made-up figures (`leasehold demo`)."""

from __future__ import annotations

import msgspec


class MadeUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which seed the history of a folder is made up, over how many weeks, in which zone."""

    seed: int
    weeks: int
    zone: str
    begun_wall_ms: int

    @property
    def sentence(self) -> str:
        """What has to stand wherever the figures are shown."""
        return f"MADE-UP DATA: a demo from seed {self.seed}; no figure here is of a real machine"
