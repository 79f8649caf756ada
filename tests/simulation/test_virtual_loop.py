"""The loop on virtual time: what it permutes, what it keeps, and that it does so on each supported Python."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import leasehold
from leasehold.testing.virtual_loop import Deadlock, Program, VirtualLoop, run

SOURCE = Path(leasehold.__file__).parents[1]


def current() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def sleepers() -> str:
    """Four who wake at one instant, three times."""
    woken: list[str] = []

    async def sleeper(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(10)
            woken.append(name)

    await asyncio.gather(*(sleeper(name) for name in "abcd"))
    return "".join(woken)


@pytest.mark.requirement("PROVE-22")
def test_what_is_due_at_one_instant_changes_places() -> None:
    """Seeds give many orders of timers that are due together, and the same seed always the same order."""
    orders = {seed: run(sleepers, seed) for seed in range(40)}
    assert len(set(orders.values())) > 30
    assert all(run(sleepers, seed) == order for seed, order in orders.items())


@pytest.mark.requirement("PROVE-22")
def test_the_order_of_call_soon_is_kept() -> None:
    """What was scheduled first by `call_soon` runs first, whatever the seed: asyncio promises it."""

    async def scheduled() -> list[int]:
        ran: list[int] = []
        for number in range(20):
            current().call_soon(ran.append, number)
        await asyncio.sleep(1)
        return ran

    assert all(run(scheduled, seed) == list(range(20)) for seed in range(20))


def test_time_costs_nothing_and_adds_up() -> None:
    """A thousand sleeps of 0.1 s are 100 virtual seconds to the microsecond."""

    async def naps() -> float:
        for _ in range(1000):
            await asyncio.sleep(0.1)
        return current().time()

    assert run(naps, 1) == pytest.approx(100.0, abs=1e-9)


def test_a_deadlock_is_told() -> None:
    """Waiting for what nobody will ever do ends the run instead of hanging it."""

    async def waits() -> None:
        await current().create_future()

    with pytest.raises(Deadlock):
        run(waits, 1)


def test_a_program_can_stand_still_and_be_killed() -> None:
    """What was due while it stood still comes at once when it goes on; once killed it never runs again."""

    async def drama() -> list[float]:
        loop, ticks = current(), []

        async def ticking() -> None:
            try:
                while True:
                    await asyncio.sleep(1)
                    ticks.append(loop.time())
            finally:
                ticks.append(-1.0)

        program = Program("ticking")
        loop.start(program, ticking())
        await asyncio.sleep(2.5)
        loop.stop_program(program)
        await asyncio.sleep(3)
        loop.resume(program)
        await asyncio.sleep(1.2)
        loop.kill(program)
        await asyncio.sleep(5)
        return list(ticks)

    assert run(drama, 1) == [1.0, 2.0, 5.5, 6.5]


def test_a_timer_cancelled_while_its_program_stood_still_does_not_fire() -> None:
    """A timeout that ran out during the stop loses to what arrived before it, as with a real SIGSTOP."""

    async def drama() -> str:
        loop, program = current(), Program("waiting")
        answer = loop.create_future()

        async def waiting() -> str:
            async with asyncio.timeout(5):
                got: str = await answer
                return got

        task = loop.start(program, waiting())
        await asyncio.sleep(1)
        loop.stop_program(program)
        await asyncio.sleep(1)
        answer.set_result("in time")
        await asyncio.sleep(10)
        loop.resume(program)
        return await task

    assert run(drama, 1) == "in time"


ORDERS = """
import asyncio
from leasehold.testing.virtual_loop import run
async def sleepers():
    woken = []
    async def sleeper(name):
        for _ in range(3):
            await asyncio.sleep(10)
            woken.append(name)
    await asyncio.gather(*(sleeper(name) for name in "abcd"))
    return "".join(woken)
print([run(sleepers, seed) for seed in range(40)])
"""


def interpreters() -> list[str]:
    """Pythons that lie beside the one that runs, of the versions that are supported."""
    beside = Path(sys.base_prefix).parent
    return [
        str(program)
        for minor in (11, 12, 13)
        for program in sorted(beside.glob(f"3.{minor}*/bin/python3.{minor}"))[:1]
    ]


@pytest.mark.parametrize(
    "program", interpreters() or [sys.executable], ids=lambda program: Path(program).name
)
def test_each_python_gives_the_same_orders(program: str) -> None:
    """What the loop uses of asyncio's insides is there, and means the same, on every version found here."""
    found = subprocess.run(
        [program, "-c", ORDERS], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == str([run(sleepers, seed) for seed in range(40)])
