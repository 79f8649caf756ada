"""Puts the server together: the only folder that names concrete classes."""

from leasehold.bootstrap.assembly import StartError
from leasehold.bootstrap.machine import containment, detect, let_go, runs
from leasehold.bootstrap.program import Program, serve
from leasehold.bootstrap.storage import Stopped

__all__ = ["Program", "StartError", "Stopped", "containment", "detect", "let_go", "runs", "serve"]
