"""What every test shares: how coroutine tests run, how hard hypothesis tries, which signals programs get.

A test may be written as `async def`: it runs on an event loop of its own by `asyncio.run`, which also cancels
what it left behind. Fixtures are plain functions; what needs a loop is an async context manager in the test.
"""

from __future__ import annotations

import asyncio
import inspect
import os

import hypothesis
import pytest

from leasehold.testing.inherited import heed_signals

heed_signals()

# `small` is for `make check`: quick, and the same examples each time. `full` explores.
hypothesis.settings.register_profile("small", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("full", max_examples=200, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "small"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end on a fresh event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True
