"""Puts the server together: the only folder that names concrete classes."""

from leasehold.bootstrap.machine import containment, detect, let_go
from leasehold.bootstrap.program import Program, StartError, serve

__all__ = ["Program", "StartError", "containment", "detect", "let_go", "serve"]
