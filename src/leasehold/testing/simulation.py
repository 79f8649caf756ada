"""The real control code under virtual time and seeded faults (PROVE-3): one seed, one run, one verdict.

python -m leasehold.testing.simulation --seed 17        # one run, with what was found
python -m leasehold.testing.simulation --seeds 1-500    # many, with how often each fault was met
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
import structlog

from leasehold.runtime import faults as points
from leasehold.testing.callers import Caller, Person
from leasehold.testing.faults import Kind, plan
from leasehold.testing.injection import CALLERS, Injection, Killed
from leasehold.testing.simulated_world import World
from leasehold.testing.virtual_loop import Deadlock, VirtualLoop, close

ROUGH_MS = 120_000
"""How long faults are injected, in virtual ms. After that all is calm, and everyone must be served."""

FAULTS_LEAST = 6
CALM_S_MAX = 1_800
"""Who was not served after this long of calm is starved."""

FORGOTTEN_S = 640
"""After this every ticket that nobody came back with is forgotten (LEASE-7)."""

SPEAKS_OF_A_BUG = frozenset({"ledger_writer", "effects", "loop", "tick", "store_raised"})

JOBS_EACH = 3


class Verdict(msgspec.Struct, frozen=True):
    """What came of one seed. `trace` is a hash over all that happened, in order."""

    seed: int
    broken: tuple[str, ...]
    met: dict[Kind, int]
    trace: str
    figures: dict[str, int]


async def drama(world: World) -> None:
    """The rough part, the calm part, and the end."""
    chance = world.chance("plan")
    await world.start_server()
    callers = [Caller(world, f"c{number}", JOBS_EACH) for number in range(CALLERS)]
    person = Person(world, "p", 20)
    tasks = {asyncio.create_task(each.run(), name=each.name) for each in (*callers, person)}
    beside = [asyncio.create_task(world.measure()), asyncio.create_task(world.audit())]
    faults = plan(chance, ROUGH_MS, FAULTS_LEAST + chance.randrange(8))
    injection = Injection(world)
    injected = [asyncio.create_task(injection.inject(fault)) for fault in faults]
    for fault in injected:
        await fault
    await asyncio.sleep(max(0.0, ROUGH_MS / 1000 - world.loop.time()))
    calm_down(world)
    audit = beside[1]
    left = await until_done(tasks, audit)
    if left and not world.model.broken:
        world.model.fail("QUEUE-7", f"{sorted(task.get_name() for task in left)} were never served")
    if not world.model.broken:
        await asyncio.wait({audit}, timeout=FORGOTTEN_S)
        nothing_left(world)
    world.histories.exclusive()
    for task in (*tasks, *beside):
        task.cancel()
    for task in tasks - left:
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception() or AssertionError


async def until_done(tasks: set[asyncio.Task[None]], audit: asyncio.Task[None]) -> set[asyncio.Task[None]]:
    """Wait for all callers; stop early when something was found broken. Who is left."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + CALM_S_MAX
    left = {task for task in tasks if not task.done()}
    while left and not audit.done() and loop.time() < end_s:
        await asyncio.wait({*left, audit}, timeout=end_s - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        left = {task for task in left if not task.done()}
    return left


def calm_down(world: World) -> None:
    world.note("calm")
    world.calm = world.network.calm = world.measured = True
    world.network.cut_off.clear()
    world.faults.calm()
    points.ARMED.clear()


def nothing_left(world: World) -> None:
    """Long after the last caller has gone nothing is held, nobody waits, and nothing has leaked (INV-8)."""
    server = world.server
    if server is None:
        return world.model.fail("INV-9", "no server runs at the end")
    state, leases = server.ledger.state, server.leases
    left = {
        "leases": sorted(state.leases),
        "waiters": sorted(state.waiters),
        "deadlines": sorted(state.liveness),
        "presences": sorted(state.presence),
        "held calls": sorted(leases.line._held),
        "watched": sorted(leases.bindings._watched),
        "timers": sorted(leases.timers._due),
        "charges": [str(state.book.used)] if state.book.used.is_work or state.book.named else [],
    }
    for what, names in left.items():
        if names:
            world.model.fail("INV-8", f"{what} left at the end: {names[:3]} of {len(names)}")
    return None


def recorder(world: World) -> Callable[..., Any]:
    """A log processor: what speaks of a bug breaks the run, and nothing is printed."""

    def record(_logger: object, _name: str, line: Any) -> Any:
        if line.get("event") in SPEAKS_OF_A_BUG:
            error = sys.exc_info()[1]
            world.model.fail("INV-9", f"the log says {line['event']}: {error!r}")
        raise structlog.DropEvent

    return record


WorldT = TypeVar("WorldT", bound=World)


def simulate(seed: int) -> Verdict:
    """Run one seed. Nothing outside is touched, and nothing of it is left behind."""
    return simulated(
        seed, World, drama, lambda world: {"leases": len(world.model.leases), "starts": world.starts}
    )


def simulated(
    seed: int,
    of: Callable[[VirtualLoop, int], WorldT],
    play: Callable[[WorldT], Coroutine[Any, Any, None]],
    count: Callable[[WorldT], dict[str, int]],
) -> Verdict:
    """Play one seed in a world of that kind; `count` tells how much came of it."""
    loop = VirtualLoop(seed)
    world = of(loop, seed)

    def unhandled(_loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        error = what.get("exception")
        if not isinstance(error, Killed):
            world.model.fail("INV-9", f"{what.get('message')}: {error!r}")

    loop.set_exception_handler(unhandled)
    before = structlog.get_config()
    structlog.configure(processors=[recorder(world)])
    points.ARMED.clear()
    try:
        loop.run_until_complete(play(world))
    except Deadlock as error:
        world.model.fail("INV-9", str(error))
    finally:
        points.ARMED.clear()
        structlog.configure(**before)
        close(loop)
    figures = {**count(world), "virtual_s": int(loop.time())}
    return Verdict(seed, tuple(world.model.broken), dict(world.met), world.trace, figures)


def sentence(verdict: Verdict, program: str = "leasehold.testing.simulation") -> str:
    """A failure in words: the seed, what was found, and how to see it again."""
    again = f"python -m {program} --seed {verdict.seed}"
    return "\n".join((f"seed {verdict.seed} failed; again: {again}", *verdict.broken))


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How often each kind of fault was met."""
    total: Counter[str] = Counter({str(kind): 0 for kind in Kind})
    for verdict in verdicts:
        total.update({str(kind): number for kind, number in verdict.met.items()})
    return dict(total)


def main(arguments: list[str] | None = None) -> int:
    """The program: 0 when every seed held."""
    return run_seeds("leasehold.testing.simulation", __doc__ or "", simulate, arguments)


def run_seeds(
    program: str, about: str, simulate: Callable[[int], Verdict], arguments: list[str] | None
) -> int:
    """Run the seeds that are asked for, and say what came of them."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", default="1-10", help="run a range, like 1-500")
    chosen = parser.parse_args(arguments)
    first, _, last = chosen.seeds.partition("-")
    seeds = [chosen.seed] if chosen.seed is not None else range(int(first), int(last or first) + 1)
    verdicts, failed = [], 0
    for seed in seeds:
        verdict = simulate(seed)
        verdicts.append(verdict)
        if verdict.broken:
            failed += 1
            print(sentence(verdict, program), flush=True)
        elif chosen.seed is not None:
            print(f"seed {seed} held: trace {verdict.trace}, {verdict.figures}")
    for kind, number in counts(verdicts).items():
        print(f"{number:9,} {kind}")
    print(f"{len(verdicts) - failed} of {len(verdicts)} seeds held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
