"""The way between simulated callers and the simulated server: messages that are lost, late or doubled.

Each call runs in the server's own context, is held against the validators in the turn in which it answers,
and only then travels back.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from leasehold.model.errors import InvariantBroken, LeaseEnded, LeaseholdError, NotFound, Unavailable
from leasehold.model.lease import LeaseState
from leasehold.model.principal import Principal
from leasehold.ports.store import StoreError
from leasehold.testing.faults import Kind
from leasehold.testing.simulated_ground import Ground
from leasehold.testing.simulated_server import SimulatedServer
from leasehold.testing.virtual_loop import Life
from leasehold.wire import lease as wire

PATIENCE_S = 10.0
"""How long a caller waits for an answer, beyond what it asked to be held."""

LATE_MS_MAX = 8_000


class Lost(Exception):
    """No answer came: the message, the answer, or the server is gone. What was done is not known."""


Work = Callable[[SimulatedServer], Coroutine[Any, Any, Any]]


class Network:
    """Between all callers and whichever server runs."""

    def __init__(
        self, ground: Ground, server: Callable[[], SimulatedServer | None], chance: random.Random
    ) -> None:
        self._server = server
        self._model = ground.model
        self._loop = ground.loop
        self._chance = chance
        self._outside = contextvars.copy_context()
        self._met: Counter[Kind] = ground.met
        self._open: dict[asyncio.Future[Any], SimulatedServer] = {}
        self.cut_off: set[str] = set()
        self.calm = False

    async def call(self, caller: str, work: Work, patience_s: float = PATIENCE_S) -> Any:
        """Have the server do `work`; its answer or error, or Lost."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        started: list[asyncio.Task[Any]] = []
        self._send(caller, work, reply, started)
        if not self.calm and self._chance.randrange(50) == 0:
            self._met[Kind.MESSAGE_TWICE] += 1
            self._send(caller, work, self._loop.create_future(), [])
        try:
            async with asyncio.timeout(patience_s):
                return await reply
        except TimeoutError:
            raise Lost(caller) from None
        finally:
            if not reply.done() or reply.cancelled():
                self._hang_up(started)

    def _hang_up(self, started: list[asyncio.Task[Any]]) -> None:
        """The caller is gone: sometimes the server notices, and gives the call up."""
        if started and self._chance.randrange(2):
            server_task = started[0]
            self._loop.call_later(self._delay_s(), server_task.cancel, context=self._outside)

    def _delay_s(self) -> float:
        if not self.calm and self._chance.randrange(40) == 0:
            self._met[Kind.MESSAGE_LATE] += 1
            return self._chance.randrange(LATE_MS_MAX) / 1000
        return self._chance.choice((0.0, 0.0, 0.001, 0.002, 0.005, 0.02))

    def _lost(self, caller: str) -> bool:
        if caller in self.cut_off:
            return True
        if not self.calm and self._chance.randrange(40) == 0:
            self._met[Kind.MESSAGE_LOST] += 1
            return True
        return False

    def _send(
        self, caller: str, work: Work, reply: asyncio.Future[Any], started: list[asyncio.Task[Any]]
    ) -> None:
        if not self._lost(caller):
            self._loop.call_later(self._delay_s(), self._arrive, caller, work, reply, started)

    def _arrive(
        self, caller: str, work: Work, reply: asyncio.Future[Any], started: list[asyncio.Task[Any]]
    ) -> None:
        server = self._server()
        if server is None or server.program.life is Life.DEAD:
            self._fail(reply)
            return
        task = self._loop.start(server.program, work(server))
        started.append(task)
        self._open[reply] = server
        task.add_done_callback(lambda done: self._answer(caller, done, reply), context=server.program.context)

    def _answer(self, caller: str, done: asyncio.Task[Any], reply: asyncio.Future[Any]) -> None:
        self._open.pop(reply, None)
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, LeaseholdError | StoreError):
            self._model.fail("INV-9", f"a call raised {error!r}")
        if done.cancelled() or self._lost(caller):
            return
        self._loop.call_later(self._delay_s(), _settle, reply, done, context=self._outside)

    @staticmethod
    def _fail(reply: asyncio.Future[Any]) -> None:
        if not reply.done():
            reply.set_exception(Lost("refused"))
            reply.exception()

    def server_gone(self, server: SimulatedServer) -> None:
        """Its connections break."""
        for reply in [reply for reply, at in self._open.items() if at is server]:
            del self._open[reply]
            self._loop.call_later(self._delay_s(), self._fail, reply, context=self._outside)


def _settle(reply: asyncio.Future[Any], done: asyncio.Task[Any]) -> None:
    if reply.done():
        return
    error = done.exception()
    if error is not None:
        reply.set_exception(error)
        reply.exception()  # whoever hung up does not look at it
    else:
        reply.set_result(done.result())


# -- what the server does for a call, with each answer held against what is durable


async def request(
    server: SimulatedServer, me: Principal, body: wire.HeavyLeaseRequest, key: str | None
) -> wire.HeavyLeaseResponse:
    histories, since_ms = server.histories, server.boot_ms()
    shared = server.waiting[body.ticket] if body.ticket else 0
    if body.ticket:
        server.waiting[body.ticket] += 1
    try:
        answer = await server.leases.request(
            me, body, idempotency_key=key, body_hash=repr(body).encode() if key else b""
        )
    except Unavailable:
        histories.excuse(me.name)
        raise
    except asyncio.CancelledError:
        histories.excuse(me.name)
        raise
    finally:
        if body.ticket:
            server.waiting[body.ticket] -= 1
    server.note(f"request {me.name} {answer.approved} {answer.lease_id or answer.ticket}")
    if not answer.approved:
        histories.denied(answer.ticket, bool(shared) or key is not None)
    elif answer.lease_id is not None and answer.fencing_token is not None:
        histories.approved(me.name, answer.lease_id, answer.fencing_token, key)
        histories.shown("an approval", answer.lease_id, str(answer.state), since_ms)
    return answer


async def heartbeat(
    server: SimulatedServer, me: Principal, lease_id: str, body: wire.Heartbeat
) -> wire.HeartbeatAnswer:
    since_ms = server.boot_ms()
    server.histories.may_be_renewed(lease_id, server.ttl_ms)
    answer: wire.HeartbeatAnswer = await _about(
        server, "a heartbeat", lease_id, server.leases.heartbeat(me, lease_id, body)
    )
    _renewed(server, me, lease_id, body.fencing_token, answer, since_ms)
    return answer


def _renewed(
    server: SimulatedServer,
    me: Principal,
    lease_id: str,
    token: int,
    answer: wire.HeartbeatAnswer,
    since_ms: int,
) -> None:
    server.note(f"heartbeat {me.name} {lease_id} {answer.state} {answer.action}")
    _fenced(server, "a heartbeat", me, lease_id, token)
    server.histories.shown("a heartbeat", lease_id, answer.state, since_ms)
    server.histories.may_be_renewed(lease_id, server.ttl_ms)


def _fenced(server: SimulatedServer, what: str, me: Principal, lease_id: str, token: int) -> None:
    """Only its holder changes a lease, and only with its own token (INV-3)."""
    known = server.model.leases.get(lease_id)
    if known is not None and (known.record.token != token or known.record.ask.principal != me.name):
        server.model.fail("INV-3", f"{what} by {me.name} with token {token} was taken for {lease_id}")


async def heartbeats(
    server: SimulatedServer, me: Principal, body: wire.BulkHeartbeat
) -> wire.BulkHeartbeatAnswer:
    since_ms = server.boot_ms()
    for lease_id in body.ids:
        server.histories.may_be_renewed(lease_id, server.ttl_ms)
    answer = await server.leases.heartbeat_many(me, body)
    for item in answer.leases:
        if item.answer is not None:
            _renewed(server, me, item.lease_id, body.ids[item.lease_id], item.answer, since_ms)
        elif item.code == LeaseEnded.code:
            server.histories.said_ended("a bulk heartbeat", item.lease_id)
    return answer


async def report(server: SimulatedServer, me: Principal, lease_id: str, body: wire.Report) -> wire.LeaseOut:
    since_ms = server.boot_ms()
    server.histories.may_be_renewed(lease_id, server.ttl_ms)
    answer: wire.LeaseOut = await _about(
        server, "a report", lease_id, server.leases.report(me, lease_id, body)
    )
    _fenced(server, "a report", me, lease_id, body.fencing_token)
    server.histories.shown("a report", lease_id, answer.state, since_ms)
    server.histories.may_be_renewed(lease_id, server.ttl_ms)
    return answer


async def release(server: SimulatedServer, me: Principal, lease_id: str, body: wire.Release) -> wire.LeaseOut:
    answer: wire.LeaseOut = await _about(
        server, "a release", lease_id, server.leases.release(me, lease_id, body)
    )
    server.note(f"release {me.name} {lease_id} {answer.state}")
    _fenced(server, "a release", me, lease_id, body.fencing_token)
    known = server.model.leases.get(lease_id)
    if known is None or known.record.state is not LeaseState.RELEASED:
        server.model.fail("INV-4", f"the release of {lease_id} was answered before it was durable")
    return answer


async def revoke(server: SimulatedServer, me: Principal, lease_id: str, body: wire.Revoke) -> wire.LeaseOut:
    since_ms = server.boot_ms()
    answer: wire.LeaseOut = await _about(
        server, "a revoke", lease_id, server.leases.revoke(me, lease_id, body)
    )
    server.note(f"revoke {lease_id} {answer.state}")
    server.histories.shown("a revoke", lease_id, answer.state, since_ms)
    known = server.model.leases.get(lease_id)
    if known is not None and known.record.state in (LeaseState.OFFERED, LeaseState.ACTIVE):
        server.model.fail("INV-4", f"the revoke of {lease_id} was answered before it was durable")
    return answer


async def pause(server: SimulatedServer, me: Principal, lease_id: str) -> wire.LeaseOut:
    since_ms = server.boot_ms()
    answer: wire.LeaseOut = await _about(
        server, "a pause", lease_id, server.ladder.pause(me, lease_id, wire.Pause())
    )
    server.note(f"pause {lease_id} {answer.flags}")
    server.histories.shown("a pause", lease_id, answer.state, since_ms)
    return answer


async def resume(server: SimulatedServer, me: Principal, lease_id: str) -> wire.LeaseOut:
    since_ms = server.boot_ms()
    answer: wire.LeaseOut = await _about(
        server, "a resume", lease_id, server.ladder.resume(me, lease_id, wire.Resume())
    )
    server.note(f"resume {lease_id} {answer.flags}")
    server.histories.shown("a resume", lease_id, answer.state, since_ms)
    return answer


async def status(server: SimulatedServer, me: Principal) -> wire.SchedulerStatus:
    since_ms = server.boot_ms()
    answer = await server.scheduler.status(me)
    for lease in answer.active:
        server.histories.shown("status", lease.lease_id, lease.state, since_ms)
    for waiter in answer.waiting:
        if waiter.ticket not in server.model.tickets:
            server.model.fail("INV-4", f"status showed {waiter.ticket}, which is not durable")
    return answer


async def _about(server: SimulatedServer, what: str, lease_id: str, call: Awaitable[Any]) -> Any:
    """Await a call about one lease; an error that it gives about the lease must be durably true."""
    try:
        return await call
    except InvariantBroken as error:
        server.model.fail("INV-2", f"{what} broke an invariant: {error}")
        raise
    except LeaseEnded:
        server.note(f"{what} {lease_id} ended")
        server.histories.said_ended(what, lease_id)
        raise
    except NotFound:
        server.histories.said_unknown(what, lease_id)
        raise
