"""Declarations of routes: the router and the OpenAPI document both stand on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from leasehold.api.services import Lane, Services
from leasehold.model.errors import LeaseholdError
from leasehold.model.principal import Principal, Shown

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")
PathT = TypeVar("PathT")

NO_HEADERS: Mapping[bytes, bytes] = {}

SHOWN = "leasehold.shown"
IDS = "leasehold.ids"
"""Where a handler leaves in the scope what the audit should know beyond headers and path."""

Header = tuple[bytes, bytes]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters, no path parameters, no body."""


class Call(Generic[BodyT, QueryT, PathT]):
    """One authenticated, decoded call, as a handler sees it."""

    __slots__ = (
        "_scope",
        "_services",
        "body",
        "body_hash",
        "headers",
        "idempotency_key",
        "path",
        "principal",
        "query",
    )

    def __init__(
        self,
        services: Services | None,
        principal: Principal,
        body: BodyT,
        query: QueryT,
        path: PathT,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
        headers: Mapping[bytes, bytes] = NO_HEADERS,
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        self._services = services
        self.principal = principal
        self.body = body
        self.query = query
        self.path = path
        self.idempotency_key = idempotency_key
        self.body_hash = body_hash
        self.headers = headers
        self._scope = scope

    @property
    def services(self) -> Services:
        """What handlers call; missing before recovery is done, when only those are called that need none."""
        assert self._services is not None, "a route that answers during recovery calls no service"
        return self._services

    @property
    def scheme(self) -> str:
        """Http or https."""
        scheme: str = "http" if self._scope is None else self._scope.get("scheme", "http")
        return scheme

    def shows(self, shown: Shown) -> None:
        """Tell the audit of a credential that is in no header."""
        if self._scope is not None:
            self._scope[SHOWN] = shown

    def names(self, **ids: str) -> None:
        """Tell the audit which things were made. Never a secret."""
        if self._scope is not None:
            self._scope.setdefault(IDS, {}).update(ids)


class Plain(msgspec.Struct, frozen=True):
    """An answer that is not JSON."""

    media_type: str
    body: bytes
    status: int = 200
    headers: tuple[Header, ...] = ()


class Headed(msgspec.Struct, frozen=True):
    """An answer (None: 204) with headers of its own."""

    answer: Any
    headers: tuple[Header, ...]


class Chunks(Protocol):
    """What a streamed answer is made of."""

    async def next(self) -> bytes | None:
        """The next piece, as soon as there is one; None: the answer is over."""
        ...

    def close(self) -> None:
        """The caller is gone, or has everything. Called exactly once, also where nothing was asked for."""
        ...


class Stream(msgspec.Struct, frozen=True):
    """An answer that goes on as things happen. Its route is `hot`: the framework sends whole answers only."""

    media_type: str
    chunks: Any


Handler = Callable[[Any], Awaitable[Any]]


class Endpoint(msgspec.Struct, frozen=True):
    """One route.

    `verb` is the right that it needs; None is open to everybody (OPS-27). `body`, `query` and `path_params`
    are the structs that the parts of the request must fit; `answer` is the struct of a 200, None a 204, and
    `media_type` what it is sent as. `errors` are those of the service; what authentication, decoding and
    back-pressure may raise follows from the rest. `lane` is that of back-pressure, None for what never
    reaches the ledger. `hot` routes go past the framework's router. `holds` tells from the body, or from the
    query of what has none, whether the call may wait, so that a caller who goes away is noticed.
    `during_recovery` routes answer before the ledger is there. `idempotent` routes take an Idempotency-Key.
    `quiet` is for what is no GET and yet changes nothing, or only figures: no record of the audit is made of
    it (OPS-7). `body_bytes` is the most that its body may have. `verbatim` is for bodies that are kept as
    they came, secrets among them (a job's payload, a command's environment): nothing of them goes to logs or
    errors.
    """

    method: str
    path: str
    tag: str
    name: str
    summary: str
    handler: Handler
    verb: str | None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    path_params: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    errors: tuple[type[LeaseholdError], ...] = ()
    lane: Lane | None = None
    hot: bool = False
    idempotent: bool = False
    during_recovery: bool = False
    holds: Callable[[Any], bool] | None = None
    quiet: bool = False
    body_bytes: int = 1 << 20
    verbatim: bool = False

    @property
    def audited(self) -> bool:
        """Whether each call of it is kept in the audit. Of hot ones the ledger's own events tell."""
        return self.method != "GET" and not self.hot and not self.quiet

    @property
    def what(self) -> str:
        """Method and template, as the audit and the documentation have them."""
        return f"{self.method} {self.path.replace(':path}', '}')}"


class Table:
    """The routes of one file, in the order of their declaration."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def endpoint(
        self,
        method: str,
        path: str,
        *,
        verb: str | None,
        **declared: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare a function as a route; its docstring is the summary, `declared` are fields of Endpoint."""

        def declare(handler: Handler) -> Handler:
            assert handler.__doc__, f"{handler.__name__} needs a docstring: it is the summary of the route"
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    tag=self.tag,
                    name=handler.__name__,
                    summary=" ".join(handler.__doc__.split()),
                    handler=handler,
                    verb=verb,
                    **declared,
                )
            )
            return handler

        return declare
