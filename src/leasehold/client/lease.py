"""Leases for programs: `with lease(cost=30) as l:` (LEASE-19, 28).

    with lease(cost=30) as l:            async with lease(mem="8G", wait="10m") as l:
        for n, page in enumerate(pages):     ...
            l.report(n / len(pages))
                                         @lease(cost=30, locks=["catalogue"])
                                         def rebuild() -> None: ...

The lease is renewed by a thread of its own. It is given back at the end of the block, whatever happened.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, Unpack, cast

from leasehold.client import asked, begin
from leasehold.client.asked import LeaseOptions, MoreOptions
from leasehold.client.asking import NotGranted
from leasehold.client.held import Lease, LeaseLost, current_lease

__all__ = ["Lease", "LeaseLost", "LeaseOptions", "NotGranted", "current_lease", "lease"]

F = TypeVar("F", bound=Callable[..., Any])


class lease:  # noqa: N801 - it reads as a verb, like contextlib.suppress
    """A lease to be had: by `with`, `async with`, `acquire`, or as a decorator (of coroutine functions too).

    It may be used again and again, and by several threads or tasks at once: each time it asks anew. What it
    takes: `LeaseOptions`. Entering raises NotGranted when there is no lease to be had (within `wait`).
    Inside of another lease, of this program or of what started it, it shares that one, and asks only for
    locks and slots that are not held yet. `LEASEHOLD=off` in the environment: nothing is asked for.
    """

    def __init__(self, cost: int | None = None, **more: Unpack[MoreOptions]) -> None:
        options = cast(LeaseOptions, {**more, "cost": cost})
        asked.check(options)
        self._named = bool(options.get("job_type"))
        if not self._named:
            options["job_type"] = _caller()
        self._options = options
        self._open: list[Lease] = []

    def acquire(self) -> Lease:
        """Wait for the lease. It ends by `release`, or at the end of a `with` on it. Raises NotGranted."""
        return begin.acquire(self._options)

    async def acquire_async(self) -> Lease:
        """Wait for the lease on the event loop. It ends by `release_async`. Raises NotGranted."""
        return await begin.acquire_async(self._options)

    def __enter__(self) -> Lease:
        held = self.acquire()
        self._open.append(held)
        return held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close().__exit__(kind, error, trace)

    async def __aenter__(self) -> Lease:
        held = await self.acquire_async()
        self._open.append(held)
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close().__aexit__(kind, error, trace)

    def _close(self) -> Lease:
        """The lease of the block that ends here: the current one, among those that this object has open."""
        current = current_lease()
        held = current if current is not None and current in self._open else self._open[-1]
        self._open.remove(held)
        return held

    def __call__(self, function: F) -> F:
        """Have each call of `function` ask for a lease of its own first."""
        options = cast(LeaseOptions, dict(self._options))
        if not self._named:
            options["job_type"] = name_of(function)
        again = type(self)(**options)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                async with again:
                    return await function(*args, **kwargs)

            return cast(F, later)

        @functools.wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            with again:
                return function(*args, **kwargs)

        return cast(F, now)


def name_of(function: Callable[..., Any]) -> str:
    """The job type of a function's work: `shop.tasks.rebuild`."""
    return f"{_module(function.__module__)}.{function.__qualname__}".replace(".<locals>", "")[:128]


def _caller() -> str:
    """The job type of a block: the module and function that ask, `train.fit`, or the script, `train`."""
    frame = sys._getframe(2)
    module = _module(str(frame.f_globals.get("__name__", "")))
    function = frame.f_code.co_name
    return (module if function.startswith("<") else f"{module}.{function}")[:128]


def _module(name: str) -> str:
    """A module's name; of the script itself the file's."""
    if name not in ("", "__main__"):
        return name
    found = os.path.basename(sys.argv[0] if sys.argv else "")
    return "python" if found.startswith("-") else found.removesuffix(".py") or "python"
