"""Channels to the members of an etcd: one call at one of them, a deadline for each, the next where one fails.

Each member has a channel of its own, so its certificate is checked against its own name, and one that hangs
is left for another by a deadline and not by chance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from leasehold.adapters.stores.etcd.errors import Closed, Refused, Unreachable, Unsure, is_definite, said
from leasehold.adapters.stores.etcd.messages import Method
from leasehold.adapters.stores.etcd.settings import EtcdSettings, EtcdTls
from leasehold.ports.store import StoreError

MESSAGE_BYTES_MAX = 32 << 20
"""The largest answer that is taken. Pages are made smaller where one would be larger."""

OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),  # etcd hangs up on who asks more often than each 5 s.
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),  # By default a minute, and one ping keeps others waiting.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # What one attempt to connect may take, too.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # A proxy of the web is no way to a member.
    ("grpc.use_local_subchannel_pool", 1),
)

LOOK_S = 0.02
"""How often it is looked whether some member is connected, while none is."""

PAUSE_S = 0.1
"""Between two attempts at an idempotent call."""

WHY_S = 0.5
"""What asking why nobody can be reached may take."""

HEAD_START_S = 0.25
"""How long a member may take to connect before the next one is tried beside it."""

READY = grpc.ChannelConnectivity.READY
FAILING = grpc.ChannelConnectivity.TRANSIENT_FAILURE


def credentials(tls: EtcdTls) -> Any:
    """The channel credentials of these files. StoreError names the one that can't be read."""
    contents = []
    for path in (tls.ca, tls.key, tls.certificate):
        try:
            contents.append(path.read_bytes())
        except OSError as exc:
            raise StoreError(f"{path}, for the TLS to etcd, can't be read: {exc.strerror}") from exc
    return grpc.ssl_channel_credentials(*contents)


class Link:
    """Calls to whichever member answers. For one event loop."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.endpoints = settings.endpoints
        self.named = ", ".join(settings.endpoints)
        self._attempt_s = settings.attempt_s
        held = credentials(settings.tls) if settings.tls is not None else None
        self._channels: list[Any] = [
            grpc.aio.insecure_channel(endpoint, options=OPTIONS)
            if held is None
            else grpc.aio.secure_channel(endpoint, held, options=OPTIONS)
            for endpoint in settings.endpoints
        ]
        self._callables: dict[tuple[int, str], Any] = {}
        self._at = 0
        self._closed = False

    async def call(self, method: Method, request: Any, within_s: float) -> Any:
        """One attempt at a member that is connected. Raises Unreachable, Refused, Unsure or Closed."""
        at = await self._connected(within_s)
        try:
            with self.closing():
                return await self._callable(at, method)(request, timeout=within_s)
        except grpc.aio.AioRpcError as exc:
            if is_definite(exc):
                raise Refused(said(self.endpoints[at], exc), exc.details() or "") from exc
            self.leave(at)
            raise Unsure(said(self.endpoints[at], exc)) from exc

    async def ask(self, method: Method, request: Any, within_s: float) -> Any:
        """An idempotent call, tried at one member after the other until one answers or the time is over."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        while True:
            left_s = ends_at - loop.time()
            try:
                return await self.call(method, request, max(0.05, min(self._attempt_s, left_s)))
            except (Unsure, Unreachable):
                if loop.time() + PAUSE_S >= ends_at:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def stream(self, method: Method, within_s: float) -> tuple[Any, int]:
        """An open stream to a member that is connected, and which one that is."""
        at = await self._connected(within_s)
        streams = self._channels[at].stream_stream(
            method.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=method.answer.FromString,
        )
        # A member without the others cancels the stream instead of staying silent.
        return streams(metadata=(("hasleader", "true"),)), at

    def leave(self, at: int) -> None:
        """Turn to the next member: this one did not answer."""
        if self._at == at:
            self._at = (at + 1) % len(self._channels)

    async def close(self) -> None:
        """End every call and all channels."""
        self._closed = True
        await asyncio.gather(*(channel.close() for channel in self._channels))

    @property
    def is_closed(self) -> bool:
        return self._closed

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Who waits on a channel that is closed is cancelled by gRPC; that is no cancellation of the task."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise Closed("the store was closed meanwhile") from None
        except grpc.aio.UsageError as exc:
            raise Closed("the store was closed meanwhile") from exc

    async def _connected(self, within_s: float) -> int:
        """A member whose channel stands, the one that answered last if it can be. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while True:
            waited_s = loop.time() - began_at
            for step in range(len(self._channels)):
                at = (self._at + step) % len(self._channels)
                if self._closed:
                    raise Closed("the store was closed meanwhile")
                state = self._channels[at].get_state(try_to_connect=True)
                if state is READY:
                    self._at = at
                    return at
                if state is not FAILING and waited_s < HEAD_START_S * (step + 1):
                    break
            if waited_s >= within_s:
                raise Unreachable(
                    f"no member of etcd can be reached ({self.named}): {await self._why()}; see that it runs"
                )
            await asyncio.sleep(LOOK_S)

    async def _why(self) -> str:
        """What gRPC says of a member that can't be reached. A channel's state alone has no reason in it."""
        call = self._channels[self._at].unary_unary("/etcdserverpb.Maintenance/Status")
        try:
            with self.closing():
                await call(b"", timeout=WHY_S)
        except grpc.aio.AioRpcError as exc:
            details = str(exc.details() or exc.code().name)
            return details.removeprefix("failed to connect to all addresses; ")
        return "it answers again"

    def _callable(self, at: int, method: Method) -> Any:
        made = self._callables.get((at, method.path))
        if made is None:
            made = self._callables[at, method.path] = self._channels[at].unary_unary(
                method.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=method.answer.FromString,
            )
        return made
