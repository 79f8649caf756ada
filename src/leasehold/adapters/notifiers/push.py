"""Web push, within the process for notifications: pywebpush encrypts (RFC 8291) and signs (RFC 8292)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from leasehold.adapters.notifiers import webhook
from leasehold.adapters.notifiers.child import CALL_S, Failed

KEPT_S = 86_400
"""How long a push service keeps a message for a browser that is switched off."""

HOPELESS = (400, 401, 403, 413)


def check(asked: dict[str, Any]) -> None:
    """Whether the push service is known and allowed, and the keys are keys. Raises Failed."""
    from pywebpush import WebPusher

    try:
        WebPusher(asked["subscription"]).encode(b"a test")
    except Exception as error:
        raise Failed("INVALID", "the keys are not those of a browser's subscription") from error
    webhook.check({"url": asked["subscription"]["endpoint"]})


def send(asked: dict[str, Any]) -> None:
    """One message to one browser. Raises Failed; `gone` where it has unsubscribed."""
    import requests
    from py_vapid import Vapid02
    from pywebpush import WebPushException, webpush

    endpoint = asked["subscription"]["endpoint"]
    host = urlsplit(endpoint).hostname or ""
    session = requests.Session()
    session.max_redirects = 0
    try:
        webpush(
            asked["subscription"],
            asked["payload"],
            vapid_private_key=Vapid02.from_pem(asked["key"].encode()),
            vapid_claims={"sub": asked["contact"]},
            timeout=CALL_S,
            ttl=KEPT_S,
            headers={"Urgency": asked["urgency"], "Topic": asked["topic"]},
            requests_session=session,
        )
    except WebPushException as error:
        _judge(error, host)
    except requests.TooManyRedirects as error:
        raise Failed("REDIRECT", f"{host} answered with a redirect, and none is followed") from error
    except requests.Timeout as error:
        raise Failed("TIMEOUT", f"{host} did not answer within {CALL_S:g} s") from error
    except requests.RequestException as error:
        raise Failed("UNREACHABLE", f"nobody answers at {host} ({type(error).__name__})") from error


def _judge(error: Any, host: str) -> None:
    status = error.response.status_code if error.response is not None else 0
    if status in (404, 410):
        raise Failed(f"HTTP_{status}", "the browser has unsubscribed", permanent=True, gone=True) from error
    if status in HOPELESS:
        sentence = f"{host} does not take it ({status}); subscribe that browser anew"
        raise Failed(f"HTTP_{status}", sentence, permanent=True) from error
    if not status:
        raise Failed("INVALID", "the message could not be encrypted for this browser", permanent=True)
    webhook.judge(status, error.response.headers.get("retry-after", ""), host)
