"""What every log line of a request or task carries: `request_id`, `lease_id` and the like (OPS-11)."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})
_BOUND: ContextVar[Mapping[str, str]] = ContextVar("leasehold_log_context", default=_NONE)


def bound() -> Mapping[str, str]:
    """What is bound in this task."""
    return _BOUND.get()


def begin(**values: str) -> Token[Mapping[str, str]]:
    """Start anew with these values: a request is a task of its own, and inherits nothing."""
    return _BOUND.set(values)


def bind(**values: str) -> Token[Mapping[str, str]]:
    """Add to what is bound, for the rest of this task and those that it starts."""
    return _BOUND.set({**_BOUND.get(), **values})


def unbind(token: Token[Mapping[str, str]]) -> None:
    """Go back to what was bound before."""
    _BOUND.reset(token)
