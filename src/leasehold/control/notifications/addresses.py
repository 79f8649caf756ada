"""Addresses of targets are secrets: what is shown of them, and what is kept out of all else (OPS-8)."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from leasehold.model.notification import Target, TargetKind

SECRET_MIN = 8
"""Shorter texts would be found in innocent ones."""

TOKEN_MIN = 16
"""A part of a webhook's path or query that is as long as this may be a secret."""

_HIDDEN = "…"


def split(url: str) -> SplitResult | None:
    """The parts of an address; None where it has none that are known here."""
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def shown(target: Target) -> str:
    """What anybody may see of its address: enough to tell targets apart, and no way to use one."""
    scheme, parts = target.url.partition("://")[0], split(target.url)
    host = (parts.hostname or "") if parts is not None else ""
    if target.kind is TargetKind.CHAT or parts is None:
        return f"{scheme}://{host if '.' in host else ''}{_HIDDEN}"
    port = f":{parts.port}" if parts.port is not None else ""
    has_more = parts.path.strip("/") or parts.query
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{port}/{_HIDDEN if has_more else ''}"


def secrets(target: Target) -> tuple[str, ...]:
    """The texts that give it away: its address, its key, and what within the address looks like a secret.

    Those of a browser are worth nothing without this server's own key, and are written nowhere.
    """
    if target.kind is TargetKind.PUSH:
        return ()
    found = [target.url, target.secret]
    behind = target.url.partition("://")[2]
    parts = split(target.url)
    if parts is not None:
        found += [parts.password or "", unquote(parts.password or "")]
        found += [value for _, value in parse_qsl(parts.query) if _is_token(value, TOKEN_MIN)]
        if target.kind is TargetKind.WEBHOOK:
            found += [one for one in parts.path.split("/") if _is_token(one, TOKEN_MIN)]
    if target.kind is TargetKind.CHAT:
        found += [one for one in re.split(r"[:@/?]", behind) if _is_token(one, SECRET_MIN)]
    return tuple(dict.fromkeys(one for one in found if len(one.encode()) >= SECRET_MIN))


def _is_token(text: str, letters_min: int) -> bool:
    """Whether a part of an address looks drawn by chance: it has letters and digits, and is no host's name.

    A word of people's language must not become a secret: it would be taken out of everything.
    """
    is_mixed = re.search(r"[A-Za-z]", text) and re.search(r"\d", text)
    return bool(is_mixed) and len(text) >= letters_min and not re.search(r"[.@=]", text)
