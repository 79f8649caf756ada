"""The built page: its files, ready to be sent, and the headers that keep a browser to them (OPS-9).

`web/` is its source; `tools/page.py` builds it into `static/` beside this file, each file also compressed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from leasehold.api.endpoint import Header, Plain

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
WORKER = "service-worker.js"

NAME = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$")

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types leasehold-worker",
    )
)
"""Nothing inline, nothing from elsewhere, in nobody's frame, and no text ever becomes a script: the one
policy by which one could takes the path of the service worker alone (`web/src/services/push.ts`).
"""

SECURITY: tuple[Header, ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

ASK_EACH_TIME: Header = (b"cache-control", b"no-cache")
FOR_EVER: Header = (b"cache-control", b"public, max-age=31536000, immutable")
"""For files whose name holds a hash of what is in them."""

NOT_BUILT = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Leasehold</title>
<h1>The page is not built</h1>
<p>The server works: <code>leasehold status</code> and the HTTP API answer. Only this page is missing, for it
was not built when Leasehold was set up here.</p>
<p>With Node 18 or newer (and npm) at hand, type in the checkout:</p>
<pre>make page</pre>
<p>then load this page again. A wheel that was built by <code>pip wheel .</code> has it inside.</p>
</html>
"""


class Asset(msgspec.Struct, frozen=True):
    """One file as it is, and compressed where that was worth it. `stamp` tells whether it has changed."""

    stamp: int
    media_type: str
    raw: bytes
    encoded: dict[str, bytes]


class Assets:
    """The files of the page, read when first asked for: they are few, and a hundred kilobytes in all."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._known: dict[str, Asset] = {}

    async def page(self, headers: Mapping[bytes, bytes]) -> Plain:
        """The page itself; where it was not built, one that says how."""
        found = await self._find(self._folder / INDEX)
        if found is None:
            return Plain(MEDIA_TYPES[".html"], NOT_BUILT, 200, (*SECURITY, ASK_EACH_TIME))
        return _answer(found, headers, ASK_EACH_TIME)

    async def worker(self, headers: Mapping[bytes, bytes]) -> Plain | None:
        """The service worker that shows notifications; None where the page was not built."""
        found = await self._find(self._folder / WORKER)
        return None if found is None else _answer(found, headers, ASK_EACH_TIME)

    async def file(self, name: str, headers: Mapping[bytes, bytes]) -> Plain | None:
        """One file that the page asks for; None where there is no such one."""
        if not NAME.match(name):
            return None
        found = await self._find(self._folder / "assets" / name)
        return None if found is None else _answer(found, headers, FOR_EVER)

    async def _find(self, path: Path) -> Asset | None:
        known = self._known.get(path.name)
        found = await asyncio.to_thread(_load, path, known)
        if found is not None:
            self._known[path.name] = found
        return found


def _load(path: Path, known: Asset | None) -> Asset | None:
    try:
        stamp = path.stat().st_mtime_ns
        if known is not None and known.stamp == stamp:
            return known
        encoded = {
            coding: packed.read_bytes()
            for coding, end in (("br", ".br"), ("gzip", ".gz"))
            if (packed := path.with_name(path.name + end)).exists()
        }
        media_type = MEDIA_TYPES.get(path.suffix)
        return None if media_type is None else Asset(stamp, media_type, path.read_bytes(), encoded)
    except OSError:
        return None


def _answer(asset: Asset, headers: Mapping[bytes, bytes], caching: Header) -> Plain:
    common = (*SECURITY, caching, (b"vary", b"accept-encoding"))
    accepted = accepted_codings(headers.get(b"accept-encoding", b""))
    for coding, packed in asset.encoded.items():
        if coding in accepted:
            return Plain(asset.media_type, packed, 200, (*common, (b"content-encoding", coding.encode())))
    return Plain(asset.media_type, asset.raw, 200, common)


def accepted_codings(header: bytes) -> frozenset[str]:
    """The codings that a client takes, by RFC 9110: those named, but for a weight of zero."""
    found = set()
    for part in header.decode("latin-1").lower().split(","):
        name, _, weight = part.strip().partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            found.add(name.strip())
    return frozenset(found)
