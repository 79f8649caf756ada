"""One request from scope to answer: authenticate, admit, read, decode, call, encode."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Coroutine, Mapping, MutableMapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from leasehold.api import validation
from leasehold.api.audit import CODE, Audit
from leasehold.api.auth import Gate
from leasehold.api.body import (
    BodyReader,
    ClientGone,
    Receive,
    check_json,
    declared_length,
    require_json,
    too_large,
)
from leasehold.api.endpoint import Call, Chunks, Endpoint, Headed, Nothing, Plain, Stream
from leasehold.api.errors import problem
from leasehold.api.services import Services
from leasehold.model.audit import DENIED
from leasehold.model.errors import (
    Invalid,
    LeaseholdError,
    Malformed,
    NotPermitted,
    NotReady,
    StoreUnavailable,
)
from leasehold.model.principal import Principal
from leasehold.ports.store import StoreError
from leasehold.runtime import context
from leasehold.runtime.logging import get_logger
from leasehold.runtime.redaction import Redactor
from leasehold.runtime.request_stats import HOLD
from leasehold.wire.problem import MEDIA_TYPE

log = get_logger(__name__)
log_level = logging.getLogger(__name__)

Headers = Mapping[bytes, bytes]
Scope = MutableMapping[str, Any]

NOBODY = Principal(name="anonymous", role="none", verbs=frozenset())
NOTHING = Nothing()

KNOWN = "leasehold.principal"
"""Where the scope has the principal of a header block that this connection has sent before."""

EXCHANGE = "leasehold.exchange"
"""Where the server leaves its shorter way of reading and answering; see `connection.Exchange`."""

REQUEST_ID = "leasehold.request_id"
"""Where the application leaves the request's id for its framework."""

LOGGED = ("lease_id", "job_id", "node_id", "addon_id", "schedule_id", "rule")
"""Names in a path that every line of the log has which comes of the request (OPS-11)."""

IDEMPOTENCY_KEY = re.compile(rb"^[\x21-\x7e]{1,255}$")

_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")


class Answer(NamedTuple):
    """What is sent: status, headers but for content-length, body; or `chunks` as they come."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunks: Chunks | None = None


class Prepared:
    """An endpoint with what can be made ready once."""

    __slots__ = ("decode", "endpoint", "has_required")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.decode = msgspec.json.Decoder(endpoint.body).decode if endpoint.body is not None else None
        self.has_required = endpoint.body is not None and any(
            field.required for field in msgspec.structs.fields(endpoint.body)
        )


class Pipeline:
    """Answers calls. `services` is None until recovery is done; until then only some routes answer."""

    def __init__(self, gate: Gate, redactor: Redactor) -> None:
        self.services: Services | None = None
        self.not_ready = "recovery is not done yet"
        self.stopping = False
        self.gate = gate
        self.audit = Audit(gate, redactor)
        self._redactor = redactor
        self._bodies = BodyReader()

    def identify(self, scope: Scope, headers: Headers) -> Principal:
        """Who sends these headers on this connection. Raises Unauthenticated."""
        return self.gate.identify(scope, headers)

    async def answer(
        self,
        prepared: Prepared,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        path: dict[str, str],
        request_id: str,
    ) -> Answer:
        """Never raises but ClientGone and CancelledError: every error is an answer."""
        if path:
            context.bind(**{name: path[name] for name in LOGGED if name in path})
        try:
            result = await self._call(prepared, scope, headers, receive, path)
        except LeaseholdError as error:
            if type(error) is LeaseholdError:
                log.exception("call_failed", route=prepared.endpoint.path)
            answer = self._refusal(error, scope, request_id)
            if answer.status in DENIED:
                self.audit.denied(prepared.endpoint.what, scope, headers, path, answer.status, request_id)
        except ClientGone:
            raise
        except StoreError as error:
            answer = self._refusal(StoreUnavailable(str(error)), scope, request_id)
        except Exception:  # The last resort: nobody gets a stack trace for an answer.
            log.exception("call_failed", route=prepared.endpoint.path)
            answer = self._refusal(internal(), scope, request_id)
        else:
            answer = success(result, request_id)
        if log_level.isEnabledFor(logging.DEBUG):
            log.debug(
                "answered",
                method=prepared.endpoint.method,
                route=prepared.endpoint.path,
                status=answer.status,
            )
        return answer

    async def change(
        self,
        prepared: Prepared,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        path: dict[str, str],
        request_id: str,
    ) -> Answer:
        """`answer`, for a call that changes something: the audit has it before its caller hears of it."""
        shown = self.audit.shown(scope, headers)
        answer = await self.answer(prepared, scope, headers, receive, path, request_id)
        if answer.status not in DENIED:  # Those are there already.
            await self.audit.called(prepared.endpoint.what, scope, shown, path, answer.status, request_id)
        return answer

    def _refusal(self, error: LeaseholdError, scope: Scope, request_id: str) -> Answer:
        """An error may name what it was asked about: no secret goes out that way either (OPS-8)."""
        scope[CODE] = error.code
        answer = refusal(error, request_id)
        return answer._replace(body=self._redactor.body(answer.body))

    async def _call(
        self, prepared: Prepared, scope: Scope, headers: Headers, receive: Receive, path: dict[str, str]
    ) -> Any:
        endpoint = prepared.endpoint
        principal = NOBODY
        if endpoint.verb is not None:
            principal = scope.get(KNOWN) or self.gate.identify(scope, headers)
            context.bind(tenant=principal.tenant)
            if endpoint.verb not in principal.verbs:
                raise NotPermitted(
                    f"{principal.name} has the role {principal.role}, which lacks {endpoint.verb}; "
                    "ask somebody who has it"
                )
        services = self.services
        if endpoint.during_recovery:
            return await endpoint.handler(
                Call(
                    services,
                    principal,
                    None,
                    NOTHING,
                    _params(endpoint, path, self._redactor),
                    headers=headers,
                )
            )
        if services is None or self.stopping:
            raise NotReady("the server is stopping" if self.stopping else self.not_ready)
        if endpoint.lane is None:
            return await self._work(prepared, services, principal, scope, headers, receive, path)
        declared = declared_length(headers) or 0
        if declared > endpoint.body_bytes:  # To come back shortly would not help it.
            raise too_large(endpoint.body_bytes)
        answered = services.leases.admit(principal, declared, endpoint.lane)
        try:
            return await self._work(prepared, services, principal, scope, headers, receive, path)
        finally:
            answered()

    async def _work(
        self,
        prepared: Prepared,
        services: Services,
        principal: Principal,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        path: dict[str, str],
    ) -> Any:
        endpoint = prepared.endpoint
        params = _params(endpoint, path, self._redactor)
        question = _query(endpoint, scope["query_string"], self._redactor)
        call: Call[Any, Any, Any] = Call(
            services, principal, None, question, params, headers=headers, scope=scope
        )
        if prepared.decode is not None:
            exchange = scope.get(EXCHANGE)
            whole = exchange.body() if exchange is not None else None
            raw = await self._bodies.read(receive, declared_length(headers), whole, endpoint.body_bytes)
            _take_idempotency_key(endpoint, headers, raw, call)
            call.body = self._decoded(prepared, headers, raw)
            if endpoint.holds is not None and endpoint.holds(call.body):
                scope.get(HOLD, _nothing)()
                return await while_connected(receive, endpoint.handler(call))  # type: ignore[arg-type]
        elif endpoint.holds is not None and endpoint.holds(question):
            scope.get(HOLD, _nothing)()
            return await while_connected(receive, endpoint.handler(call))  # type: ignore[arg-type]
        return await endpoint.handler(call)

    def _decoded(self, prepared: Prepared, headers: Headers, raw: bytes) -> Any:
        assert prepared.decode is not None
        if not raw and not prepared.has_required:
            raw = b"{}"
        else:
            require_json(headers)
        try:
            return prepared.decode(raw if prepared.endpoint.verbatim else self._redactor.body(raw))
        except msgspec.ValidationError as error:
            check_json(raw)
            schema = prepared.endpoint.body
            assert schema is not None
            raise validation.invalid(error, schema, "body") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            check_json(raw)
            raise Malformed("the body is not JSON in UTF-8") from None


def _params(endpoint: Endpoint, path: dict[str, str], redactor: Redactor) -> Any:
    if endpoint.path_params is None:
        return NOTHING
    if not endpoint.hot:  # Hot ones only look their ids up.
        path = {name: redactor.text(value) for name, value in path.items()}
    return validation.converted(path, endpoint.path_params, "path")


def _query(endpoint: Endpoint, raw: bytes, redactor: Redactor) -> Any:
    if not raw and endpoint.query is None:
        return NOTHING
    cleaned = redactor.text(raw.decode("latin-1")).encode("latin-1")
    return validation.query(cleaned, endpoint.query or Nothing)


def _take_idempotency_key(
    endpoint: Endpoint, headers: Headers, raw: bytes, call: Call[Any, Any, Any]
) -> None:
    key = headers.get(b"idempotency-key")
    if key is None or not endpoint.idempotent:
        return
    if not IDEMPOTENCY_KEY.match(key):
        expected = "1 to 255 visible ASCII characters"
        raise Invalid(f"Idempotency-Key: expected {expected}", field="Idempotency-Key", expected=expected)
    call.idempotency_key = key.decode("ascii")
    call.body_hash = hashlib.blake2b(raw, digest_size=16).digest()


def _nothing() -> None:
    """Where nobody measures, nobody is told that a call waits on purpose."""


ResultT = TypeVar("ResultT")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await `work`, and cancel it when the caller goes away. Raises ClientGone then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def success(result: Any, request_id: str) -> Answer:
    """Encode what a handler returned: 204 for nothing, else 200; with Retry-After where it has one."""
    correlation = (b"x-request-id", request_id.encode())
    if result is None:
        return Answer(204, [correlation], b"")
    if isinstance(result, Plain):
        kind = (b"content-type", result.media_type.encode())
        return Answer(result.status, [kind, correlation, *result.headers], result.body)
    if isinstance(result, Headed):
        answer = success(result.answer, request_id)
        answer.headers.extend(result.headers)
        return answer
    if isinstance(result, Stream):
        kind = (b"content-type", result.media_type.encode())
        return Answer(200, [kind, correlation, _NO_STORE], b"", result.chunks)
    headers = [_JSON, correlation, _NO_STORE]
    retry_after_s = getattr(result, "retry_after_sec", None)
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return Answer(200, headers, _encode(result))


def refusal(error: LeaseholdError, request_id: str) -> Answer:
    """Encode an error as a problem document."""
    document = problem(error, request_id)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"x-request-id", request_id.encode()),
        _NO_STORE,
    ]
    if document.retry_after_sec is not None:
        headers.append((b"retry-after", b"%d" % document.retry_after_sec))
    if document.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="leasehold"'))
    return Answer(document.status, headers, _encode(document))


def internal() -> LeaseholdError:
    """The error that stands for a bug of ours."""
    return LeaseholdError("an error of the server; its log has the details under this request_id")
