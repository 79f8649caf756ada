"""The page as a person has it: a real browser at the installed program, and what every look at it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accept.harness import Skipped, expect
from accept.product import ROOT, Server
from leasehold.testing import browser as real

WEB = ROOT / "web"
SHOTS = ROOT / ".accept" / "screenshots"


def link(server: Server, role: str = "admin") -> str:
    """A fresh sign-in link, as a person gets one."""
    printed = server.run("open", "--role", role)
    expect(printed.returncode == 0, f"`leasehold open` ended with {printed.returncode}: {printed.stderr}")
    return printed.stdout.strip()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, or the reason why there is none."""
    lacking = real.missing(WEB)
    if lacking:
        raise Skipped(lacking)
    with real.browser() as started:
        yield started


def go(visit: real.Visit, server: Server, path: str) -> Any:
    """Open a path of the page, and wait until it lives."""
    visit.page.goto(f"http://127.0.0.1:{server.port}{path}")
    visit.page.wait_for_selector(real.LIVE)
    return visit.page


def holds(visit: real.Visit, where: str) -> None:
    """What is shown is accessible, obeys the strict policy, asks no other host, and fits its window."""
    found = visit.violations(WEB)
    expect(not found, f"{where}: axe: {found[:3]}")
    expect(not visit.complaints, f"{where}: the browser complains: {visit.complaints[:3]}")
    expect(not visit.foreign(), f"{where}: asked of another host: {visit.foreign()[:3]}")
    expect(visit.overflow() == 0, f"{where}: wider than its window by {visit.overflow()} px")
