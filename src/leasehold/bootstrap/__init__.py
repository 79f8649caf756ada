"""Puts the server together: the only folder that names concrete classes.

Each name is imported when it is first asked for: the process that proves a backup needs little of all this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasehold.bootstrap.assembly import StartError
    from leasehold.bootstrap.machine import containment, detect, let_go, runs
    from leasehold.bootstrap.program import Program, serve
    from leasehold.bootstrap.storage import Stopped

__all__ = ["Program", "StartError", "Stopped", "containment", "detect", "let_go", "runs", "serve"]

_PLACES = {
    "Program": "program",
    "StartError": "assembly",
    "Stopped": "storage",
    "containment": "machine",
    "detect": "machine",
    "let_go": "machine",
    "runs": "machine",
    "serve": "program",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"leasehold.bootstrap has no {name}")
    return getattr(import_module(f"leasehold.bootstrap.{_PLACES[name]}"), name)
