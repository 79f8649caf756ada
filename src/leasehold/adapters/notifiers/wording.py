"""What receivers get to see of a parcel: JSON for webhooks and browsers, text for e-mail and chats."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import msgspec

from leasehold.core.notification import clipped
from leasehold.model.notification import Message, Parcel

PUSH_TEXT_MAX = 900
"""A push has room for 4 KiB with its encryption, and a letter may take six bytes of JSON."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - what such keys begin with


def webhook(parcel: Parcel, node_id: str, now_s: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a webhook, signed by the rules of Standard Webhooks (standardwebhooks.com).

    The body is the same at each attempt. `webhook-id` is the same at each attempt, `webhook-timestamp` that
    of this one; the signature is HMAC-SHA256 over `id.timestamp.body`, in base64.
    """
    delivery = parcel.delivery
    body = msgspec.json.encode(
        {
            "type": "leasehold.notification",
            "timestamp": _at(delivery.created_wall_ms),
            "data": {"node": node_id, "messages": [_shown(one) for one in parcel.messages]},
        }
    )
    signed = f"{delivery.delivery_id}.{now_s}.".encode() + body
    found = hmac.new(key_of(parcel.target.secret), signed, hashlib.sha256).digest()
    return body, {
        "content-type": "application/json",
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{base64.b64encode(found).decode()}",
    }


def key_of(secret: str) -> bytes:
    """The bytes of a key as it is written: base64 behind `whsec_`, else the text itself."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


def _shown(message: Message) -> dict[str, Any]:
    return {
        "id": message.message_id,
        "kind": message.kind,
        "severity": str(message.severity),
        "title": message.title,
        "text": message.text,
        "link": message.link,
        "at": _at(message.created_wall_ms),
    }


def _at(wall_ms: int) -> str:
    shown = datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")


def push(parcel: Parcel) -> bytes:
    """What the page's service worker makes a notification of. `link` is a path of the page."""
    title, text = title_of(parcel), _listed(parcel)
    one = parcel.messages[0] if len(parcel.messages) == 1 else None
    return msgspec.json.encode(
        {
            "id": parcel.delivery.delivery_id,
            "severity": str(parcel.delivery.severity),
            "title": title,
            "text": clipped(text, PUSH_TEXT_MAX),
            "link": one.link if one is not None else "/alerts",
        }
    )


def title_of(parcel: Parcel) -> str:
    """One line for all of it."""
    messages = parcel.messages
    if len(messages) == 1:
        return messages[0].title
    return f"{len(messages)} notifications, the worst {parcel.delivery.severity}"


def text_of(parcel: Parcel, node_id: str, page_url: str) -> str:
    """For people, as plain text; with the page's address where that is set."""
    links = [page_url.rstrip("/") + one.link for one in parcel.messages if page_url and one.link]
    parts = [_listed(parcel), *dict.fromkeys(links), f"Leasehold on {node_id}"]
    return "\n\n".join(part for part in parts if part)


def _listed(parcel: Parcel) -> str:
    if len(parcel.messages) == 1:
        return parcel.messages[0].text
    return "\n".join(f"- {one.title}{f': {one.text}' if one.text else ''}" for one in parcel.messages)
