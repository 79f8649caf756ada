"""The file in a data folder that says that its figures are made up. Only `leasehold demo` writes it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from leasehold.model.made_up import MadeUp

FILE = "made-up.json"


def write(folder: Path, made_up: MadeUp) -> None:
    """Mark the folder, before anything made up is put into it."""
    draft = folder / f"{FILE}.new"
    with open(draft, "wb") as file:
        file.write(msgspec.json.encode(made_up))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / FILE)


def read(folder: Path) -> MadeUp | None:
    """What the folder says of itself; None where its figures are measured.

    A mark that can't be read still marks: of two errors, taking real figures for made up is the smaller one.
    """
    try:
        data = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return MadeUp(0, 0, "UTC", 0)
    try:
        return msgspec.json.decode(data, type=MadeUp)
    except msgspec.MsgspecError:
        return MadeUp(0, 0, "UTC", 0)
