"""Whole cycles, or single ones beside many waiting jobs, through the service of jobs in this very process.

Usage: python -m bench.queue_service cycles|depth --folder FOLDER --jobs N [--batch N] [--depth N]

The product's own services, ledger and SQLite store (WAL, synchronous=FULL) on uvloop, without HTTP: what an
add-on inside the server would call. One line of JSON comes out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.ledger import LOCAL_USER, Assembly, assembled
from bench.queue_client import FILL, batches
from leasehold.wire.claim import Claim, Complete, CompletionItem, SessionIn
from leasehold.wire.job import JobIn, Submit
from leasehold.wire.lease import Heartbeat, HeavyLeaseRequest, Release

SUBMITTERS, WORKERS = 2, 3
OBSERVE_S = 1.0
LAG_S = 0.002
CALLERS = 8
WARM_SHARE = 0.1


class Result(msgspec.Struct):
    """Of `cycles`: seconds from the first submit to the last end. Of `depth`: what one decision took."""

    seconds: float = 0.0
    submitted_s: float = 0.0
    fill_s: float = 0.0
    cpu_s: float = 0.0
    decide_us: dict[str, list[float]] = {}
    pause_ms: dict[str, float] = {}
    rss_bytes: int = 0


class Bench:
    """The service, a session's lease, and who has run."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.ran: list[int] = []
        self.ended = 0
        self.worst_s = 0.0

    async def begin(self) -> None:
        self.assembly.observe()
        self._tasks = [asyncio.create_task(self._observe()), asyncio.create_task(self._lag())]
        ask = HeavyLeaseRequest(job_type="bench", cost_units=WORKERS, start="now")
        lease = await self.assembly.leases.request(LOCAL_USER, ask)
        assert lease.lease_id is not None
        assert lease.fencing_token is not None
        self.lease_id, self.token = lease.lease_id, lease.fencing_token
        await self._renew()
        self.session = SessionIn(self.lease_id, self.token, WORKERS)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.assembly.leases.release(LOCAL_USER, self.lease_id, Release(fencing_token=self.token))

    async def _observe(self) -> None:
        """Measurements and renewals keep coming, as in a server."""
        while True:
            await asyncio.sleep(OBSERVE_S)
            self.assembly.observe()
            await self.assembly.leases.heartbeat(
                LOCAL_USER, self.lease_id, Heartbeat(fencing_token=self.token)
            )

    async def _renew(self) -> None:
        body = Heartbeat(fencing_token=self.token)
        await self.assembly.leases.heartbeat(LOCAL_USER, self.lease_id, body)

    async def _lag(self) -> None:
        while True:
            due_at = time.perf_counter() + LAG_S
            await asyncio.sleep(LAG_S)
            self.worst_s = max(self.worst_s, time.perf_counter() - due_at)

    def pause_ms(self) -> float:
        """The longest that the loop was away since the last call."""
        worst_s, self.worst_s = self.worst_s, 0.0
        return worst_s * 1e3

    async def submit(self, numbers: Sequence[int]) -> None:
        body = Submit(
            jobs=[
                JobIn(
                    job_type="bench",
                    cost_units=1,
                    start="now",
                    payload=msgspec.Raw(b'"%08d%b"' % (number, FILL)),
                )
                for number in numbers
            ]
        )
        answer = await self.assembly.jobs.submit(LOCAL_USER, body)
        assert answer.taken == len(numbers), answer.jobs[0]

    async def work(self, batch: int, wait_s: int) -> int:
        """Claim, run, complete; how many."""
        claimed = await self.assembly.jobs.claim(
            LOCAL_USER, Claim(max=batch, wait_sec=wait_s, session=self.session)
        )
        if not claimed.jobs:
            return 0
        self.ran += [int(bytes(job.payload)[1:9]) for job in claimed.jobs]
        items = [CompletionItem(job_id=job.job_id, generation=job.generation) for job in claimed.jobs]
        done = await self.assembly.jobs.complete_many(
            LOCAL_USER, Complete(items=items, fencing_token=claimed.fencing_token)
        )
        assert done.done == len(items), done.items[0]
        self.ended += done.done
        return done.done


async def cycles(options: argparse.Namespace, bench: Bench) -> Result:
    """All jobs once, submitted and claimed side by side."""
    result = Result()
    pending = batches(options.jobs, options.batch)

    async def submitter() -> None:
        for numbers in pending:
            await bench.submit(numbers)

    async def worker() -> None:
        while bench.ended < options.jobs:
            await bench.work(options.batch, wait_s=1)

    workers = [asyncio.create_task(worker()) for _ in range(WORKERS)]
    await asyncio.sleep(0)
    began_at = time.perf_counter()
    submits = [asyncio.create_task(submitter()) for _ in range(SUBMITTERS)]
    await asyncio.gather(*submits)
    result.submitted_s = time.perf_counter() - began_at
    while bench.ended < options.jobs:
        await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
    result.seconds = time.perf_counter() - began_at
    await asyncio.gather(*workers)
    runs = Counter(bench.ran)
    assert len(runs) == options.jobs, f"{len(runs)} jobs ran"
    assert max(runs.values()) == 1, "a job ran twice"
    counts = bench.assembly.supervisor.counts
    told = {kind: counts.get(kind, 0) for kind in ("JobSubmitted", "JobStarted", "JobDone")}
    assert set(told.values()) == {options.jobs}, told
    return result


async def depth(options: argparse.Namespace, bench: Bench) -> Result:
    """Fill up to `--depth`, then submit, claim and complete one by one, each decision timed."""
    result = Result()
    began_at = time.perf_counter()
    pending = batches(options.depth, 1_000)

    async def filler() -> None:
        for numbers in pending:
            await bench.submit(numbers)

    await asyncio.gather(*(filler() for _ in range(SUBMITTERS)))
    result.fill_s = time.perf_counter() - began_at
    result.pause_ms["fill"] = bench.pause_ms()
    timed = Timed(bench.assembly)
    remaining = iter(range(options.jobs))

    async def caller() -> None:
        for number in remaining:
            await bench.submit((options.depth + number,))
            await bench.work(1, wait_s=0)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    result.pause_ms["single"] = bench.pause_ms()
    result.decide_us = timed.figures()
    for _ in range(10):
        await bench.submit(range(1_000))
        await bench.work(1_000, wait_s=0)
    result.pause_ms["batches"] = bench.pause_ms()
    result.rss_bytes = rss_bytes()
    return result


class Timed:
    """What `Ledger.submit` takes, which decides and applies, by the decision's own name."""

    def __init__(self, assembly: Assembly) -> None:
        self._us: dict[str, list[float]] = {}
        self._submit = assembly.ledger.submit
        assembly.ledger.submit = self._timed  # type: ignore[method-assign]

    def _timed(self, decide: Any) -> Any:
        began_ns = time.perf_counter_ns()
        answer = self._submit(decide)
        name = decide.func if isinstance(decide, partial) else decide
        took_us = (time.perf_counter_ns() - began_ns) / 1e3
        self._us.setdefault(getattr(name, "__qualname__", "?"), []).append(took_us)
        return answer

    def figures(self) -> dict[str, list[float]]:
        """Without the first tenth, in which caches and the interpreter still warm up."""
        return {name: values[round(len(values) * WARM_SHARE) :] for name, values in self._us.items()}


def rss_bytes() -> int:
    """Resident memory of this process: proc(5), statm's second field, in pages."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def play(options: argparse.Namespace) -> Result:
    async with assembled(options.folder) as assembly:
        bench = Bench(assembly)
        await bench.begin()
        try:
            return await {"cycles": cycles, "depth": depth}[options.mode](options, bench)
        finally:
            await bench.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_service")
    parser.add_argument("mode", choices=("cycles", "depth"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--depth", type=int, default=0)
    result = uvloop.run(play(parser.parse_args()))
    result.cpu_s = time.process_time()
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
