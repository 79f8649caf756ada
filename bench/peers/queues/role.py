"""What all programs of this folder share: the roles, the handshake, the payload and the tally of runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

PAYLOAD_BYTES = 1_024
BULK = 1_000
"""Jobs in one call where a peer takes many at once; more were not faster."""
PAUSES_S = (0.031, 0.047, 0.023, 0.041, 0.037)
"""Between two jobs handed over to an idle queue; uneven, so that no poll falls into step with them."""
WAIT_S_MAX = 300.0


def payload(number: int) -> str:
    """1 KiB that names its job."""
    return f"{number:08d}".ljust(PAYLOAD_BYTES, "x")


class Tally:
    """The effect of each job: its number and when it began. Threads may share it: appends are atomic."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []
        self.is_full = threading.Event()
        self.full = 1 << 62

    def ran(self, text: str) -> None:
        """The job itself, everywhere."""
        self.runs.append((int(text[:8]), time.perf_counter_ns()))
        if len(self.runs) >= self.full:
            self.is_full.set()

    def wait(self) -> None:
        if not self.is_full.wait(WAIT_S_MAX):
            raise SystemExit(f"only {len(self.runs)} of {self.full} jobs ran within {WAIT_S_MAX:.0f} s")


TALLY = Tally()

Submit = Callable[[Sequence[int]], None]


class Peer(Protocol):
    """What a program has to say; `where` is a folder, a socket or a DSN, as the peer needs it."""

    def prepare(self, where: str) -> dict[str, str]:
        """Make what it stores in; the settings of durability, read back."""

    def submitter(self, where: str, clients: int, is_bulk: bool) -> Submit:
        """Connect; the call hands over these jobs by `clients` callers, and returns when all are durable."""

    def worker(self, where: str, count: int, is_drained: bool) -> Callable[[], float]:
        """Connect; the call runs `count` jobs, and returns when the last one's end was durable.

        `is_drained` tells that all jobs wait already; else they come while it works.
        """


def main(peer: Peer) -> None:
    """Play the role of the command line."""
    options = _parser().parse_args()
    if options.role == "prepare":
        print(json.dumps(peer.prepare(options.where)), flush=True)
        return
    play = {"submit": _submit, "beat": _beat, "work": _work}[options.role](peer, options)
    print("READY", flush=True)
    input()
    print(json.dumps(play()), flush=True)


def _submit(peer: Peer, options: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    numbers = range(options.first, options.first + options.count)
    submit = peer.submitter(options.where, options.clients, options.bulk)

    def play() -> dict[str, Any]:
        began_at = time.perf_counter()
        submit(numbers)
        return {"began_at": began_at, "ended_at": time.perf_counter()}

    return play


def _beat(peer: Peer, options: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    submit = peer.submitter(options.where, 1, False)

    def play() -> dict[str, Any]:
        submitted: list[tuple[int, int]] = []
        for number in range(options.first, options.first + options.count):
            time.sleep(PAUSES_S[number % len(PAUSES_S)])
            submitted.append((number, time.perf_counter_ns()))
            submit((number,))
        return {"submitted": submitted}

    return play


def _work(peer: Peer, options: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    TALLY.full = options.count
    work = peer.worker(options.where, options.count, options.drain)

    def play() -> dict[str, Any]:
        ended_at = work()
        distinct = {number for number, _ in TALLY.runs}
        answer = {"ended_at": ended_at, "runs": len(TALLY.runs), "distinct": len(distinct)}
        return answer if options.drain else {**answer, "started": TALLY.runs}

    return play


def by_threads(numbers: Sequence[int], clients: int, submit_one: Callable[[int], object]) -> None:
    """`clients` threads take every `clients`-th number each."""
    if clients == 1:
        for number in numbers:
            submit_one(number)
        return

    def caller(own: Sequence[int]) -> None:
        for number in own:
            submit_one(number)

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(caller, numbers[at::clients]) for at in range(clients)]:
            done.result()


async def by_tasks(
    numbers: Sequence[int], clients: int, submit_one: Callable[[int], Coroutine[Any, Any, object]]
) -> None:
    """The same by tasks of one event loop."""

    async def caller(own: Sequence[int]) -> None:
        for number in own:
            await submit_one(number)

    await asyncio.gather(*(caller(numbers[at::clients]) for at in range(clients)))


def in_bulk(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Slices of at most BULK."""
    return [numbers[at : at + BULK] for at in range(0, len(numbers), BULK)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("prepare", "submit", "beat", "work"))
    parser.add_argument("--where", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--drain", action="store_true")
    return parser
