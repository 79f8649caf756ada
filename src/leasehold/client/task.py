"""Functions as jobs: `@leasehold.job(cost=10)` (LEASE-19).

@leasehold.job(cost=10, retries=3)
def thumbnails(folder: str, size: int = 256) -> int: ...

thumbnails("photos")                    # here, now
thumbnails.submit("photos", size=128)   # queued: a worker calls it, when nobody is disturbed
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from leasehold.client import job_ask, submit
from leasehold.client.job import Job
from leasehold.client.job_ask import JobOptions, When
from leasehold.client.lease import name_of

P = ParamSpec("P")
R = TypeVar("R")


class TaskOptions(JobOptions, total=False):
    """What `@job` takes: what every job of the function is submitted with, and its `job_type`."""

    job_type: str


class Task(Generic[P, R]):
    """A function that may be called here, or submitted with its arguments as JSON."""

    def __init__(self, function: Callable[P, R], options: Mapping[str, Any]) -> None:
        functools.update_wrapper(cast(Any, self), function)
        self.function = function
        self.options = {name: value for name, value in options.items() if name != "job_type"}
        self.job_type = options.get("job_type") or name_of(function)
        self._signature = inspect.signature(function)
        job_ask.body(self.job_type, self.options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it here and now, without a queue."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.job_type}>"

    def __reduce__(self) -> str:
        return self.function.__qualname__  # by its name, like a function.

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Queue a call with these arguments. Raises TypeError for those that do not fit or are no JSON."""
        return self._submit(self.options, args, kwargs)

    def submit_at(self, at: When, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """The same, to begin not before `at`."""
        return self._submit({**self.options, "at": at}, args, kwargs)

    async def submit_async(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """`submit` for an event loop."""
        import asyncio

        return await asyncio.to_thread(self._submit, self.options, args, kwargs)

    def options_of(self, **options: Unpack[JobOptions]) -> Task[P, R]:
        """The same function with other options: `f.options_of(priority="HIGH").submit(1)`."""
        return Task(self.function, {**self.options, **options, "job_type": self.job_type})

    def map(self, calls: Iterable[Any], **options: Unpack[JobOptions]) -> list[Job]:
        """Queue a call for each of `calls`: a tuple of arguments, a dictionary of them by name, or the only
        one.
        """
        jobs = [{"job_type": self.job_type, "payload": self._payload(*_arguments(one))} for one in calls]
        return submit.submit_many(jobs, **cast(JobOptions, {**self.options, **options}))

    def _submit(self, options: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Job:
        return submit.submit(self.job_type, self._payload(args, kwargs), **cast(JobOptions, options))

    def _payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.job_type}: {error}") from None
        for name, value in bound.arguments.items():
            job_ask.must_be_json(value, f"{self.job_type}: argument {name}")
        return {"args": list(args), "kwargs": dict(kwargs)}


def _arguments(given: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(given, tuple):
        return given, {}
    if isinstance(given, Mapping):
        return (), given
    return (given,), {}


@overload
def job(what: str, /, *, server: str = "") -> Job: ...
@overload
def job(what: Callable[P, R], /) -> Task[P, R]: ...
@overload
def job(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def job(what: Any = None, /, **options: Any) -> Any:
    """`@job`, `@job(cost=10, retries=3)`: a function that can be queued. `job("job-…")`: the job of an id."""
    if isinstance(what, str):
        return submit.find(what, **options)
    job_ask.check(options, more=("job_type",))
    if what is None:
        return lambda function: Task(function, options)
    if not callable(what):
        raise TypeError(f"job({what!r}): expected a function to be queued, or the id of a job")
    return Task(what, options)
