"""Puts the server together: the only folder that names concrete classes."""

from leasehold.bootstrap.machine import containment, detect
from leasehold.bootstrap.program import Program, StartError, serve

__all__ = ["Program", "StartError", "containment", "detect", "serve"]
