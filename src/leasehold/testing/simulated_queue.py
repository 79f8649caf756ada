"""A simulated server with a queue and a runner, over a machine whose commands outlive it (PROVE-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from leasehold.control.demand import Taker, Wants
from leasehold.control.drafts import Users
from leasehold.control.job import JobService
from leasehold.control.line import plan_now
from leasehold.control.runner import AT_ONCE_MAX, RunnerService
from leasehold.control.supervisor import Supervisor
from leasehold.core.state import Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.lease import Process
from leasehold.model.line import Waiter
from leasehold.model.principal import Principal
from leasehold.model.run import Command, Fault, RunKey, Started
from leasehold.ports.runner import OnEnded, RunFailed
from leasehold.ports.store import Batch
from leasehold.testing.fake_runner import FakeMachine, FakeRunner, Run
from leasehold.testing.model_of_jobs import JobModel
from leasehold.testing.simulated_server import SimulatedServer
from leasehold.testing.simulated_world import World
from leasehold.testing.virtual_loop import Life, Program, VirtualLoop
from leasehold.wire import claim as claim_wire

UID = 1000
WAKES_MS = 2_500
"""A call that is held open for jobs gets one that fits within this (QUEUE-8): what only time brings is found
with the next measurement.
"""

INDEXES_S = 2.0


class HeldClaim(msgspec.Struct, frozen=True):
    """A call under a session that is held open for jobs."""

    principal: Principal
    body: claim_wire.Claim


class Machine(FakeMachine):
    """The runs of a simulated machine: their processes are its processes, and no job runs twice at once."""

    def __init__(self, world: QueueWorld) -> None:
        super().__init__(world.machine.wall_ms)
        self._world = world
        self.runs_begun = 0
        self.filed: dict[RunKey, Command] = {}
        """Ordered, and not begun yet: a server that dies here leaves them so."""

    def processes(self, command: Command) -> tuple[Process, Process]:
        living = self._world.processes
        return living.start(UID), living.start(UID)

    def begin(self, command: Command) -> Run:
        for key, other in self.runs.items():
            same = key.number == command.key.number and key.member == command.key.member
            if same and other.started.ended is None:
                self._world.model.fail("QUEUE-13", f"{command.key.name} was started while {key.name} runs")
        self.filed.pop(command.key, None)
        self.runs_begun += 1
        self._world.note(f"run {command.key.name}")
        return super().begin(command)

    def write_off(self) -> None:
        """Nothing will begin these any more: who ordered them has died."""
        for key, command in list(self.filed.items()):
            del self.filed[key]
            run = self.runs[key] = Run(command, *self.processes(command), self.wall_ms())
            self.over(run, None, "", Fault.NOT_STARTED, "nothing had taken it up when the server ended")

    def over(self, run: Run, code: int | None, signal: str, fault: Fault | None, error: str) -> None:
        if run.started.ended is not None:
            return
        super().over(run, code, signal, fault, error)
        self._world.note(f"run {run.command.key.name} ended {code} {signal}")
        for process in (run.started.process, run.started.shim):
            if process is not None:
                self._world.processes.end(process)


class SimulatedRunner(FakeRunner):
    """The port over that machine, as one server has it: it takes time, and what it tells is told there."""

    def __init__(self, world: QueueWorld, program: Program) -> None:
        super().__init__(world.runs)
        self._world = world
        self._program = program
        self._chance = world.chance(f"runner {program.name}")

    async def attach(self, on_ended: OnEnded) -> Sequence[Started]:
        loop, context = self._world.loop, self._program.context

        def tell(key: RunKey, ended: object) -> None:
            loop.call_soon(on_ended, key, ended, context=context)

        self._world.runs.write_off()
        await self._while()
        return await super().attach(tell)

    async def start(self, command: Command) -> Started:
        await self._while()
        if not self._world.calm and self._chance.randrange(40) == 0:
            raise RunFailed("NOT_STARTED", "no processes are left; try again")
        if command.key not in self._world.runs.runs:
            self._world.runs.filed[command.key] = command
            await self._while()
        started = await super().start(command)
        await self._while()
        return started

    async def stop(self, key: RunKey, grace_ms: int | None = None) -> None:
        await self._while()
        await super().stop(key, grace_ms)

    async def forget(self, key: RunKey, *, keep_log: bool) -> bool:
        await self._while()
        return await super().forget(key, keep_log=keep_log)

    async def _while(self) -> None:
        await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.01, 0.1)))


class QueueServer(SimulatedServer):
    """With jobs, and a runner for those that are commands."""

    ground: QueueWorld

    def _supervised(self) -> Supervisor:
        world = self.ground
        self.port = SimulatedRunner(world, self.program)
        users = Users(UID, lambda name: None)
        self.jobs = JobService(self.leases, self.leases.calls, lambda path: "vda", users)
        self.runner = RunnerService(self.leases, self.jobs.demand, self.jobs.cold, self.port, self.jobs.ended)
        self.jobs.runner = self.port
        self._waits: dict[str, int] = {}
        self.held_claims: dict[str, HeldClaim] = {}
        supervisor = Supervisor(self.leases, ladder=self.ladder, jobs=self.jobs, runner=self.runner)
        reloaded = self.ledger.on_reload

        def watched(state: State) -> None:
            world.jobs.recovered(state)
            reloaded(state)

        self.ledger.on_reload = watched
        return supervisor

    def check_wakes(self) -> None:
        """No held call, and not the runner, waits for long beside a job that it could have (QUEUE-8)."""
        now_ms, state = self.ground.loop.now_ms, self.ledger.state  # Nobody wakes while the machine sleeps.
        if self.ledger._writing is not None or not self.ledger._open.is_empty:
            self._waits.clear()  # Who seems to wait may have been given something just now.
            return
        could = {}
        round_ = self.jobs.claims.round(self.clock.now_ms())
        plan = plan_now(state, self.ground.settings, self.clock.now_ms(), round_)
        for entry in plan.grants if plan is not None else ():
            if not isinstance(entry, Waiter):
                could[f"job {entry.number} in line"] = now_ms
        for name, claim in self.held_claims.items():
            if self._would_get(claim):
                could[f"a job in line, under the session of {name},"] = now_ms
        for what in list(self._waits):
            if what not in could:
                del self._waits[what]
        for what in could:
            since_ms = self._waits.setdefault(what, now_ms)
            if now_ms - since_ms > WAKES_MS:
                self.model.fail("QUEUE-8", f"{what} fits somebody who waits, for {now_ms - since_ms} ms")

    def _would_get(self, claim: HeldClaim) -> bool:
        """Whether this call under a session would be given something, were it to come now."""
        stamp = Stamp(self.clock.now_ms(), self.clock.wall_ms(), 0, 0)
        wants = Wants(claim.body.job_types, ())
        session = claim.body.session
        assert session is not None
        try:
            outcome = self.jobs.claims._decide_under(
                claim.principal, session, wants, "looks", 1, self.ledger.state, stamp
            )
        except LeaseholdError:
            return False
        return bool(outcome.answer)

    def left(self) -> dict[str, object]:
        """What has leaked, when all is over (INV-8)."""
        state = self.ledger.state
        takers: list[Taker] = list(self.jobs.demand.takers.values())
        queue = state.queue
        return {
            "jobs": sorted(state.jobs),
            "indexes": [queue.by_lease, queue.dependants, queue.depth, queue.unique, queue.later]
            if any((queue.by_lease, queue.dependants, queue.depth, queue.unique, queue.later, queue.bytes))
            else [],
            "commands": sorted(self.runner._running),
            "places of the runner": [
                AT_ONCE_MAX - taker.room for taker in takers if taker.room != AT_ONCE_MAX
            ],
            "held claims": list(self.jobs.claims._sessions) or takers[1:],
            "ends to tell": sorted(self.runner._to_tell),
        }


class QueueWorld(World):
    """A world whose server has a queue, and whose machine has runs."""

    server: QueueServer | None

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        super().__init__(loop, seed)
        self.jobs = JobModel(self.model.fail)
        self.runs = Machine(self)

    def new_server(self, number: int) -> QueueServer:
        return QueueServer(self, number)

    def kill_server(self) -> None:
        server = self.server
        super().kill_server()
        if server is not None:
            server.port.close()

    def committed(self, batch: Batch) -> None:
        super().committed(batch)
        self.jobs.committed(
            batch,
            {key: known.record for key, known in self.model.leases.items() if not known.record.ended_ms},
        )

    async def audit(self) -> None:
        """Look again and again: indexes that differ from the records, wake-ups that were lost."""
        well_since_ms = 0
        looked_s = 0.0
        while not self.model.broken:
            await asyncio.sleep(0.2)
            server = self.server
            if server is None or server.program.life is not Life.RUNNING or not server.is_well:
                well_since_ms = self.machine.boot_ms()
                continue
            if self.machine.boot_ms() - well_since_ms > 2_000:
                server.check_wakes()
            if self.loop.time() - looked_s > INDEXES_S:
                looked_s = self.loop.time()
                self.jobs.indexes(server.ledger.state)
