"""A real browser at the page, for tests and for `make accept`: what it asked for, what it complained of, axe.

Playwright and its Chromium are no part of the product: they are imported when a browser is started. A machine
without them is told by `missing()`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from leasehold.runtime.lean import elapsed_s, pause

AXE = Path("node_modules") / "axe-core" / "axe.min.js"
"""Below the folder of the page's source."""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
WAIT_MS = 20_000
LIVE = ".live-live"


def chromium() -> str:
    """The browser's program: LEASEHOLD_TEST_CHROMIUM, or the system's; "" where there is none."""
    return os.environ.get("LEASEHOLD_TEST_CHROMIUM") or shutil.which("chromium") or ""


def missing(web: Path) -> str:
    """What a test in a browser lacks here, as a sentence; "" where nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright for Python is not installed"
    if not chromium():
        return "no Chromium on the PATH (Debian: apt-get install chromium)"
    if not (web / AXE).is_file():
        return "web/node_modules is missing: the page was not built here, for there is no Node"
    return ""


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, ended at the end."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Its sandbox refuses root.
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium(), args=flags)
        try:
            yield started
        finally:
            started.close()


class Visit:
    """One page in a context of its own, that is a browser that nobody has used before."""

    def __init__(self, started: Any, *, size: str = "desktop", scheme: str = "light") -> None:
        width, height = SIZES[size]
        self.context = started.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _said(self, message: Any) -> None:
        # That a call was answered 401, or that a cut connection is cut, is no fault of the page.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def sign_in(self, link: str) -> None:
        """Open a sign-in link, and wait until the page lives."""
        self.page.goto(link)
        self.page.wait_for_selector(LIVE)

    def foreign(self) -> list[str]:
        """What it asked of any other host."""
        own = urlsplit(self.page.url).netloc
        return [url for url in self.asked if urlsplit(url).netloc != own]

    def violations(self, web: Path) -> list[str]:
        """What axe finds against WCAG A and AA, each with the elements."""
        self.page.evaluate((web / AXE).read_text(encoding="utf-8"))
        found = self.page.evaluate(
            "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES
        )
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}"
            for one in found["violations"]
        ]

    def overflow(self) -> int:
        """By how many pixels it is wider than its window."""
        wider: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider

    def close(self) -> None:
        self.context.close()


class Cable:
    """A relay on a port of its own between a browser and a server; it can be cut, and put together again.

    Cut, it behaves like a cable that was pulled: what is sent vanishes, and nothing is closed.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut = threading.Event()
        self._over = False
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._cut.set()

    def heal(self, *, hangs: bool = False) -> None:
        """Let everything through again; what was on its way is lost, with its connections.

        With `hangs` those that were made meanwhile stay open, and are never answered.
        """
        self._cut.clear()
        for sock in [] if hangs else list(self._open):
            _close(sock)

    def close(self) -> None:
        self._over = True
        _close(self._listener)
        self.heal()

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(near)
            if not self._cut.is_set():
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
        except OSError:  # The server is down: the browser is told as it would be without a cable.
            _close(near)
            return
        far.settimeout(None)
        self._open.add(far)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if not self._cut.is_set():
                    other.sendall(data)
        except OSError:
            pass
        if not self._cut.is_set():
            for sock in (one, other):
                self._open.discard(sock)
                _close(sock)


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Wait until something holds; False where it never does."""
    end_s = elapsed_s() + timeout_s
    while elapsed_s() < end_s:
        if holds():
            return True
        pause(0.05)
    return False
