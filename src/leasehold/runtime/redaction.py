"""Takes secrets out of what we write: by key, by pattern, and by every known value (OPS-8).

The same redactor stands before logs, and before what callers send as free text: what it knows as a secret
never gets into the ledger, an event, an error or an export.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from leasehold.runtime.ids import TOKEN_PREFIX

REDACTED = "[redacted]"

KNOWN_BYTES_MIN = 8
"""Shorter values would be found in innocent text."""

KNOWN_MAX = 64
"""Secrets that are known by value: those of the configuration and the environment."""

OWNERS_MAX = 32
"""Who has secrets that come and go while the server runs: targets of notifications."""

TEXT_MAX = 8_192
"""Characters kept of one text in a log line."""

DEPTH_MAX = 8

SECRET_KEY = re.compile(
    r"(?i)(?:^|[_\-.])(?:authorization|cookie|password|passwd|passphrase|secret|credentials?|token|"
    r"(?:api|private|access|secret)[_\-]?key)$"
)
"""Names under which a text is a secret. Numbers are left: a fencing token is one."""


def _aligned(text: bytes) -> list[str]:
    """How `text` looks in base64 at each of three alignments, without digits that its surroundings set."""
    starts = []
    for before in range(3):
        encoded = b64encode(bytes(before) + text).decode().rstrip("=")
        first = -(-before * 8 // 6)
        whole = (before + len(text)) * 8 // 6
        starts.append(encoded[first:whole])
    return starts


_TOKEN = TOKEN_PREFIX.encode()
_ENCODED_TOKEN = "|".join(re.escape(start) for start in _aligned(_TOKEN))
_ENCODED_TOKEN_URLSAFE = _ENCODED_TOKEN.replace(r"\+", "-").replace("/", "_")

PATTERNS = (
    re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_\-]{{16,}}"),
    re.compile(rf"(?:{_ENCODED_TOKEN}|{_ENCODED_TOKEN_URLSAFE})[A-Za-z0-9+/_\-]{{20,}}={{0,2}}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/_.~\-]{8,}=*"),
    re.compile(r"(?<=://)[^\s/:@\"'\\]+:[^\s/@\"'\\]+(?=@)"),
    re.compile(
        r"(?i)(?P<keep>(?:--[a-z0-9\-]*(?:password|passwd|passphrase|secret|api-?key|token)(?:=|\s+)"
        r"|[a-z0-9_]*(?:password|passwd|passphrase|secret|api_?key)(?:=|:\s*)))[^\s\"'\\,;&]+"
    ),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END)[\s\S]){0,8192}(?:-----END[^-]*-----)?"),
)
"""What a secret looks like whoever it belongs to."""

HINTS = (
    TOKEN_PREFIX,
    *_aligned(_TOKEN),
    "earer",
    "EARER",
    "asic ",
    "ASIC ",
    "://",
    "-token",
    "assw",
    "ASSW",
    "assphrase",
    "ecret",
    "ECRET",
    "api",
    "API",
    "Api",
    "-----BEGIN",
)
"""Texts without any of these match no pattern: a cheap test that spares the patterns."""


def _encodings(value: str) -> set[str]:
    """How a value may be written down: as is, in JSON, in a URL, in base64."""
    raw = value.encode()
    found = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {quote(value, safe=""), quote(value), quote_plus(value)}
    for start in _aligned(raw):
        found |= {start, start.replace("+", "-").replace("/", "_")}
    return {encoded for encoded in found if len(encoded) >= KNOWN_BYTES_MIN}


def _replaced(match: re.Match[str]) -> str:
    return (match.groupdict().get("keep") or "") + REDACTED


class Redactor:
    """Holds the values that are known to be secret. One per process."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._values: set[str] = set()
        self._kept: dict[str, tuple[str, ...]] = {}
        self._forms: tuple[str, ...] = ()
        for value in known:
            self.add(value)

    def add(self, value: str) -> None:
        """Know a secret by its value, at least 8 bytes long. Raises ValueError beyond `KNOWN_MAX`."""
        if len(value.encode()) < KNOWN_BYTES_MIN:
            return
        if len(self._values) >= KNOWN_MAX:
            raise ValueError(f"more than {KNOWN_MAX} secrets in the configuration")
        self._values.add(value)
        self._know()

    def keep(self, owner: str, values: Sequence[str]) -> None:
        """Know these as the secrets of somebody, in the place of what was said before; none: no more.

        Raises ValueError beyond `OWNERS_MAX`.
        """
        long_enough = tuple(value for value in values if len(value.encode()) >= KNOWN_BYTES_MIN)
        if long_enough == self._kept.get(owner, ()):
            return
        if not long_enough:
            del self._kept[owner]
        elif owner not in self._kept and len(self._kept) >= OWNERS_MAX:
            raise ValueError(f"the secrets of {OWNERS_MAX} are known already")
        else:
            self._kept[owner] = long_enough
        self._know()

    def _know(self) -> None:
        values = self._values.union(*self._kept.values())
        forms = {form for one in values for form in _encodings(one)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        for hint in HINTS:
            if hint in text:
                break
        else:
            return text
        for pattern in PATTERNS:
            text = pattern.sub(_replaced, text)
        return text

    def body(self, raw: bytes) -> bytes:
        """A JSON body with every secret in its texts replaced; well-formed JSON stays so."""
        if raw.count(b'"') <= 2:
            return raw  # One name and no text: most renewals.
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return raw
        cleaned = self.text(text)
        return raw if cleaned is text else cleaned.encode()

    def record(self, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A log record with secrets replaced in its values, and texts cut to `TEXT_MAX`."""
        for key, value in record.items():
            record[key] = self._value(key, value, DEPTH_MAX)
        return record

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return REDACTED if SECRET_KEY.search(key) else self.text(value)[:TEXT_MAX]
        if isinstance(value, bool | int | float | None):
            return value
        if depth == 0:
            return "..."
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): self._value(str(name), inner, depth - 1)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(key, inner, depth - 1) for inner in value]
        return REDACTED if SECRET_KEY.search(key) else self.text(str(value))[:TEXT_MAX]
