"""One scene on the real control code: a server, a quiet machine, no faults but those that the scene makes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from leasehold.model.node import NodeView
from leasehold.model.principal import Principal
from leasehold.testing.callers import ADMIN, USER
from leasehold.testing.simulated_server import TOTALS, SimulatedServer
from leasehold.testing.simulated_world import World
from leasehold.testing.virtual_loop import VirtualLoop, close
from leasehold.wire import lease as wire

ANN = Principal("user:ann", "user", USER, local=True, uid=1000)
BOB = Principal("user:bob", "user", USER, local=True, uid=1001)
ROOT = Principal("admin:root", "admin", ADMIN, local=True, uid=0)


class Scene:
    """What a scene has at hand."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def server(self) -> SimulatedServer:
        assert self.world.server is not None
        return self.world.server

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Have the server do something: a task, which is awaited or looked at later."""
        return self.world.loop.start(self.server.program, call)

    async def ask(
        self, me: Principal = ANN, *, key: str | None = None, **what: Any
    ) -> wire.HeavyLeaseResponse:
        body = wire.HeavyLeaseRequest(start="now", **what)
        answer: wire.HeavyLeaseResponse = await self.do(
            self.server.leases.request(me, body, idempotency_key=key, body_hash=b"same")
        )
        return answer

    async def hold(self, me: Principal = ANN, **what: Any) -> wire.HeavyLeaseResponse:
        """Ask, be granted, confirm it, and give the disk the time to have that."""
        answer = await self.ask(me, **what)
        await self.beat(answer, me)
        await self.world.sleep(50)
        return answer

    async def beat(
        self, answer: wire.HeavyLeaseResponse, me: Principal = ANN, bind: wire.Bind | None = None
    ) -> Any:
        assert answer.lease_id is not None
        assert answer.fencing_token is not None
        beat = wire.Heartbeat(answer.fencing_token, bind)
        return await self.do(self.server.leases.heartbeat(me, answer.lease_id, beat))

    async def release(self, answer: wire.HeavyLeaseResponse, me: Principal = ANN) -> Any:
        assert answer.lease_id is not None
        assert answer.fencing_token is not None
        end = wire.Release(answer.fencing_token)
        return await self.do(self.server.leases.release(me, answer.lease_id, end))

    def quiet(self) -> None:
        """A quiet machine has just been measured."""
        now_ms = self.server.clock.now_ms()
        view = NodeView("node", now_ms, "QUIET", 100, now_ms, TOTALS)
        self.server.program.context.run(self.server.supervisor.observed, view)

    async def wait(self, seconds: float) -> None:
        """Let time pass while the machine stays quiet and measured."""
        for _ in range(int(seconds)):
            await self.world.sleep(1_000)
            self.quiet()
        await self.world.sleep(round(seconds % 1 * 1_000))


SceneT = TypeVar("SceneT", bound=Scene)


def play(act: Callable[[Scene], Coroutine[Any, Any, None]]) -> World:
    """Run a scene to its end; its world, for a last look."""
    return played(act, World, Scene)


def played(
    act: Callable[[SceneT], Coroutine[Any, Any, None]],
    of: Callable[[VirtualLoop, int], World],
    kind: Callable[[Any], SceneT],
) -> World:
    """The same in a world of another kind."""
    loop = VirtualLoop(1)
    world = of(loop, 1)
    before = structlog.get_config()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])

    async def whole() -> None:
        await world.start_server()
        scene = kind(world)
        scene.quiet()
        await act(scene)

    try:
        loop.run_until_complete(whole())
    finally:
        structlog.configure(**before)
        close(loop)
    assert not world.model.broken, world.model.broken
    return world
