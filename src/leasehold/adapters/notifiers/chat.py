"""E-mail and chats, within the process for notifications: apprise knows some hundred services by URL."""

from __future__ import annotations

import logging
import threading
from typing import Any

from leasehold.adapters.notifiers.child import CALL_S, Failed, check_host

SAID_MAX = 400

KINDS = {"info": "info", "warning": "warning", "critical": "failure"}


LOCAL = frozenset({"blink1", "dbus", "deltachat", "glib", "gnome", "macosx", "syslog", "vapid", "windows"})
"""Services of apprise that show something on this machine, start programs or keep keys here."""


class _Said(logging.Handler):
    """What apprise logs while one call is made, in the thread that makes it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread and len(self.lines) < 20:
            self.lines.append(record.getMessage())


def _notifier(url: str) -> Any:
    """The service behind a URL. Raises Failed."""
    import apprise

    scheme = url.partition("://")[0].lower()
    found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if found is None:
        raise Failed(
            "INVALID",
            f"{scheme}://… is no address that apprise knows, or a part of it is missing; its services are "
            "listed at https://appriseit.com/services/",
            permanent=True,
        )
    if not _is_remote(found):
        raise Failed("INVALID", f"{scheme}://… is of this machine, not of the network", permanent=True)
    found.socket_connect_timeout = CALL_S / 2
    found.socket_read_timeout = CALL_S
    return found


def _is_remote(found: Any) -> bool:
    """Whether a service is reached over the network: those of a desktop or a terminal say nothing of it."""
    module = type(found).__module__.removeprefix("apprise.plugins.").partition(".")[0]
    return module not in LOCAL


def check(asked: dict[str, Any]) -> None:
    """Whether apprise knows the service, and a host of one's own is known and allowed. Raises Failed."""
    found = _notifier(asked["url"])
    host = getattr(found, "smtp_host", None) or getattr(found, "host", None)
    if isinstance(host, str) and ("." in host or host == "localhost" or ":" in host):
        check_host(host.rpartition(":")[0] if host.count(":") == 1 else host, 443)


def send(asked: dict[str, Any]) -> None:
    """One text. What apprise says of a failure is part of the sentence; the server takes secrets out of it.

    Raises Failed.
    """
    found = _notifier(asked["url"])
    said = _Said()
    log = logging.getLogger("apprise")
    log.addHandler(said)
    try:
        done = found.notify(
            body=asked["text"], title=asked["title"], notify_type=KINDS.get(asked["severity"], "info")
        )
    finally:
        log.removeHandler(said)
    if not done:
        why = "; ".join(dict.fromkeys(said.lines))[:SAID_MAX]
        raise Failed("REFUSED", why or f"{found.service_name} did not take it")
