"""What a worker calls for a job, and what becomes of what it returns or raises (QUEUE-4, 11)."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from leasehold.client.held import LeaseLost
from leasehold.client.job_ask import RESULT_BYTES, must_be_json
from leasehold.client.task import Task
from leasehold.client.work import JobContext, Permanent, Work

ERROR_MAX = 8_000
"""Letters of an error that are sent; its end says most."""

Handlers = Mapping[str, "Handler"]


class End(NamedTuple):
    """How an attempt ended: DONE, FAILED or RETURNED; `result` is JSON."""

    outcome: str
    result: str = ""
    error: str = ""
    error_class: str = ""


class Handler:
    """A function for one type of jobs: of `@job`, with its arguments, or of a payload (and its context)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.given = function
        self._task = isinstance(function, Task)
        self.function: Callable[..., Any] = function.function if isinstance(function, Task) else function
        called = self.function if inspect.isroutine(self.function) else type(self.function).__call__
        self.is_async = inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(called)
        self._takes_context = not self._task and _takes_two(self.function)

    def call(self, payload: Any, context: JobContext) -> Any:
        """Call it; of an async one the coroutine. Raises Permanent where the payload is not for it."""
        if not self._task:
            return self.function(payload, context) if self._takes_context else self.function(payload)
        args, kwargs = _arguments(payload)
        try:
            inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise Permanent(f"the arguments do not fit {self.given!r}: {error}") from None
        return self.function(*args, **kwargs)


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def _arguments(payload: Any) -> tuple[list[Any], dict[str, Any]]:
    """Of what `submit` of a function sent; a dictionary from elsewhere has arguments by name."""
    if isinstance(payload, dict) and set(payload) <= {"args", "kwargs"}:
        args, kwargs = payload.get("args", []), payload.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    if isinstance(payload, dict):
        return [], payload
    raise Permanent(f"the payload has no arguments: expected args and kwargs, got {type(payload).__name__}")


def handlers_of(given: Any) -> dict[str, Handler]:
    """By job type. Raises TypeError, ValueError for what can't be meant."""
    found: dict[str, Handler] = {}
    for job_type, function in _pairs(given):
        if not callable(function):
            raise TypeError(f"the handler of {job_type} is {function!r}, which can't be called")
        if job_type in found:
            raise ValueError(f"{job_type} has two handlers; give one of them another job_type")
        found[job_type] = Handler(function)
    if not 1 <= len(found) <= 64:
        raise ValueError(f"a worker has 1 to 64 job types; this one has {len(found)}")
    return found


def _pairs(given: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(given, Mapping):
        yield from given.items()
        return
    if isinstance(given, Task):
        given = [given]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(
            f"Worker({given!r}): expected functions of @job, or a dictionary of handlers by job type"
        )
    for one in given:
        if not isinstance(one, Task):
            raise TypeError(f"{one!r} is no function of @job; give its job type: {{'my-type': handler}}")
        yield one.job_type, one


# -- ends


def done(value: Any) -> End:
    """A handler has returned this."""
    try:
        must_be_json(value, "the result")
    except TypeError as error:
        return End("FAILED", error=f"it ran to its end, but {error}", error_class="permanent")
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > RESULT_BYTES:
        why = f"it ran to its end, but the result has {len(text):,} bytes; at most {RESULT_BYTES:,} are kept"
        return End("FAILED", error=f"{why}. Keep it in a file, and return its path", error_class="permanent")
    return End("DONE", result=text)


def failed(error: BaseException, work: Work) -> End:
    """A handler has raised this. What was told to stop and did so goes back, and has lost no attempt."""
    if isinstance(error, LeaseLost) and work.standing.stop and not work.out_of_time:
        return End("RETURNED", error=str(error))
    if isinstance(error, Permanent):
        return End("FAILED", error=_tail(error), error_class="permanent")
    if isinstance(error, MemoryError):
        return End("FAILED", error=_tail(error), error_class="out_of_memory")
    return End("FAILED", error=_tail(error), error_class="retryable")


def _tail(error: BaseException) -> str:
    """The traceback's end: from the handler on."""
    trace = error.__traceback__
    while (
        trace is not None
        and trace.tb_next is not None
        and "leasehold/client/" in trace.tb_frame.f_code.co_filename
    ):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace)).strip()
    return text.encode("utf-8", "replace").decode()[-ERROR_MAX:]
