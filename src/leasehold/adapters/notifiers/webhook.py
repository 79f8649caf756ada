"""Webhooks, within the process for notifications: one POST with httpx."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from leasehold.adapters.notifiers.child import CALL_S, Failed, check_host

RETRY_AFTER_MAX_S = 86_400


def check(asked: dict[str, Any]) -> None:
    """Whether its host is known and allowed. Raises Failed."""
    parts = urlsplit(asked["url"])
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    check_host(parts.hostname or "", port)


def send(asked: dict[str, Any]) -> None:
    """One POST; no redirect is followed, and nothing of the answer's body is read. Raises Failed."""
    import httpx

    host = urlsplit(asked["url"]).hostname
    timeout = httpx.Timeout(CALL_S, connect=CALL_S / 2)
    try:
        with (
            httpx.Client(verify=_tls(), timeout=timeout, follow_redirects=False) as client,
            client.stream("POST", asked["url"], content=asked["body"], headers=asked["headers"]) as found,
        ):
            status, retry_after = found.status_code, found.headers.get("retry-after", "")
    except httpx.TimeoutException as error:
        raise Failed("TIMEOUT", f"{host} did not answer within {CALL_S:g} s") from error
    except httpx.HTTPError as error:
        raise _unreachable(host, error) from error
    judge(status, retry_after, host or "")


def judge(status: int, retry_after: str, host: str) -> None:
    """What an answer's status means. Raises Failed for all but 2xx."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Failed("REDIRECT", f"{host} answered with a redirect ({status}), and none is followed")
    asked_s = min(int(retry_after), RETRY_AFTER_MAX_S) if retry_after.isdecimal() else 0
    raise Failed(
        f"HTTP_{status}", f"{host} answered {status}", permanent=status == 410, retry_after_s=asked_s
    )


def _unreachable(host: str | None, error: Exception) -> Failed:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Failed("TLS", f"{host} has no certificate to trust ({cause.reason})")
        if isinstance(cause, OSError) and cause.strerror:
            return Failed("UNREACHABLE", f"nobody answers at {host} ({cause.strerror})")
        cause = cause.__cause__ or cause.__context__
    return Failed("UNREACHABLE", f"{host} broke the call off ({type(error).__name__})")


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The machine's own authorities, and those of the web."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
