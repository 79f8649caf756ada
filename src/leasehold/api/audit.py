"""What the edge tells the audit: who called, by what, from where, and what was answered (OPS-7).

Nothing of it is on the way of a call that is neither denied nor changes something. Bodies, queries and
headers are never kept; ids in paths are redacted (OPS-8), and cut.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, cast

import msgspec

from leasehold.api.auth import Gate
from leasehold.api.endpoint import IDS, SHOWN
from leasehold.model.audit import Called
from leasehold.model.principal import Shown
from leasehold.runtime.redaction import Redactor

ORIGIN = "leasehold.origin"
"""Where the server leaves an `Origin`, in the `extensions` of the ASGI scope."""

CODE = "leasehold.code"
"""Where the pipeline leaves the code of an error in the scope."""

ID_CHARS_MAX = 80
IDS_MAX = 8

Headers = Mapping[bytes, bytes]
Scope = MutableMapping[str, Any]


class Origin(msgspec.Struct, frozen=True):
    """From where a connection is: the listener, an address without port, or `unix uid=…` with its pid."""

    listener: str = ""
    address: str = ""
    pid: int = 0


UNKNOWN = Origin()


class Book(Protocol):
    """What keeps the records: `control.audit`."""

    def denied(self, call: Called) -> None: ...

    async def called(self, call: Called) -> None: ...


class _NoBook:
    def denied(self, call: Called) -> None:
        """Nothing is kept."""

    async def called(self, call: Called) -> None:
        """Nothing is kept."""


class Audit:
    """Makes the records. `book` keeps them; `wall_ms` is the wall clock: the gate's."""

    def __init__(self, gate: Gate, redactor: Redactor) -> None:
        self.book: Book = _NoBook()
        self._gate = gate
        self._redactor = redactor

    def shown(self, scope: Scope, headers: Headers) -> Shown:
        """Whose call this is, before it is made: afterwards its own credential may be gone."""
        return self._gate.shown(scope, headers)

    def denied(
        self,
        what: str,
        scope: Scope,
        headers: Headers,
        path: Mapping[str, str],
        status: int,
        request_id: str,
    ) -> None:
        """A call is answered 401, 403 or 421. `what` is its method and the template of its route."""
        shown = scope.get(SHOWN) or self._gate.shown(scope, headers)
        self.book.denied(self._record(what, scope, shown, path, status, request_id))

    async def called(
        self, what: str, scope: Scope, shown: Shown, path: Mapping[str, str], status: int, request_id: str
    ) -> None:
        """A call that changes something is answered, with whatever other status."""
        shown = cast(Shown, scope.get(SHOWN, shown))
        await self.book.called(self._record(what, scope, shown, path, status, request_id))

    def _record(
        self,
        what: str,
        scope: Scope,
        shown: Shown,
        path: Mapping[str, str],
        status: int,
        request_id: str,
    ) -> Called:
        origin: Origin = (scope.get("extensions") or {}).get(ORIGIN, UNKNOWN)
        now_ms = self._gate.wall_ms()
        return Called(
            who=shown.who,
            what=what,
            status=status,
            first_wall_ms=now_ms,
            last_wall_ms=now_ms,
            credential=shown.kind,
            credential_id=shown.ident,
            note=shown.note,
            listener=origin.listener,
            address=origin.address,
            pid=origin.pid,
            ids=self._ids({**path, **scope.get(IDS, {})}),
            code=scope.get(CODE, ""),
            request_id=request_id,
        )

    def _ids(self, ids: Mapping[str, str]) -> dict[str, str]:
        return {name: self._clean(value) for name, value in list(ids.items())[:IDS_MAX]}

    def _clean(self, text: str) -> str:
        """A part of a path as it may be kept: strangers choose what stands there."""
        shown = "".join(
            letter if letter.isprintable() else "?" for letter in self._redactor.text(text[:1_024])
        )
        return shown if len(shown) <= ID_CHARS_MAX else f"{shown[: ID_CHARS_MAX - 1]}…"
