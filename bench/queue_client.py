"""Submit and work off jobs over HTTP/1.1, in a process of its own: whole cycles, idle starts, or submits.

Usage: python -m bench.queue_client KEYS cycles|idle|fill --port N --jobs N [--batch N] [--own-leases] …

KEYS is a file with `{"submit": [TOKEN, …], "work": [TOKEN, …]}`. Each submitter's token holds `--submits`
connections, which take batch after batch from what all have to submit. Each worker's token takes one
session's lease and holds `--claims` connections, which repeat: claim up to a batch, run each job, complete
them together. The job is to note the number in its payload. One line of JSON comes out; a job that was
refused, came twice, or whose end was not taken, ends the process with 1. A 429 is counted and obeyed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec

QUEUE = b"/api/scheduler/queue/"
LEASE = b"/api/scheduler/lease/"
PAYLOAD_BYTES = 1_024
CLAIM_WAIT_S = 20
RENEW_S = 8.0
PAUSES_S = (0.031, 0.047, 0.023, 0.041, 0.037)
"""Between two jobs for an idle queue; uneven, so that nothing falls into step with them."""
END_TIMEOUT_S = 300.0
JOB = b'{"job_type":"bench","cost_units":1,"start":"now","payload":"%08d%b"}'
SESSION = b',"session":{"lease_id":"%b","fencing_token":%d,"concurrency":%d}}'
FILL = b"x" * (PAYLOAD_BYTES - 8)


class Keys(msgspec.Struct):
    submit: list[str]
    work: list[str]


class Granted(msgspec.Struct):
    approved: bool
    lease_id: str = ""
    fencing_token: int = 0
    reason: str = ""


class Submitted(msgspec.Struct):
    taken: int
    refused: int


class Claimed(msgspec.Struct):
    job_id: str
    generation: int
    payload: str
    fencing_token: int = 0


class ClaimOut(msgspec.Struct):
    jobs: list[Claimed]
    fencing_token: int = 0
    retry_after_sec: int | None = None


class CompleteOut(msgspec.Struct):
    done: int
    refused: int


class Result(msgspec.Struct):
    """What this process prints. Both spans begin at a first submit, until all are in, until all are done."""

    submitted_s: float = 0.0
    seconds: float = 0.0
    starts_ms: list[float] = []
    claims_ms: list[float] = []
    empty_claims: int = 0
    held_off: int = 0


class UnexpectedAnswer(Exception):
    """The server said something that no cycle can go on from."""


class Connection(asyncio.Protocol):
    """One keep-alive connection of one credential, with one call at a time."""

    def __init__(self, token: str, result: Result) -> None:
        self._head = b"Host: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer %b\r\n" % (
            token.encode()
        )
        self._result = result
        self._buffer = bytearray()
        self._body_at = self._end = 0
        self._answered: asyncio.Future[tuple[int, bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(UnexpectedAnswer(f"the server closed a connection ({exc})"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            self._body_at = self._buffer.find(b"\r\n\r\n") + 4
            if self._body_at < 4:
                return
            self._end = self._body_at + int(_header(bytes(self._buffer[: self._body_at]), b"content-length"))
        if len(self._buffer) < self._end or self._answered is None or self._answered.done():
            return
        head, body = bytes(self._buffer[: self._body_at]), bytes(self._buffer[self._body_at : self._end])
        self._buffer.clear()
        self._end = 0
        self._answered.set_result((int(head[9:12]), head, body))

    async def call(self, path: bytes, body: bytes) -> bytes:
        """The body of the answer 200; told to come back later (429), it does."""
        while True:
            self._answered = asyncio.get_running_loop().create_future()
            self.transport.write(
                b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, self._head, len(body), body)
            )
            status, head, answer = await self._answered
            if status == 200:
                return answer
            if status != 429:
                raise UnexpectedAnswer(f"{path!r} was answered {status}: {answer[:500]!r}")
            self._result.held_off += 1
            await asyncio.sleep(float(_header(head, b"retry-after")))


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    raise UnexpectedAnswer(f"an answer without {name.decode()}: {head[:200]!r}")


class Driver:
    """The jobs, who has run, and what is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.result = Result()
        self.ran: list[tuple[int, float]] = []
        self.ended = 0
        self.connections: list[Connection] = []
        self.all_submitted = asyncio.Event()
        self.all_ended = asyncio.Event()
        self._batches = batches(options.jobs, options.batch)

    async def connect(self, token: str) -> Connection:
        made = await asyncio.get_running_loop().create_connection(
            lambda: Connection(token, self.result), "127.0.0.1", self.options.port
        )
        self.connections.append(made[1])
        return made[1]

    async def submitter(self, connection: Connection) -> None:
        """Hand over batch after batch; each must be taken whole."""
        for numbers in self._batches:
            await submit(connection, numbers)

    async def worker(self, connection: Connection, claim: bytes) -> None:
        """Claim, run, complete, until it is ended from outside."""
        if self.options.after:
            await self.all_submitted.wait()
        while True:
            asked_at = time.perf_counter()
            answer = msgspec.json.decode(await connection.call(QUEUE + b"claim", claim), type=ClaimOut)
            now = time.perf_counter()
            if not answer.jobs:
                self.result.empty_claims += 1
                await asyncio.sleep(answer.retry_after_sec or 0)
                continue
            self.result.claims_ms.append((now - asked_at) * 1e3)
            self.ran += [(int(job.payload[:8]), now) for job in answer.jobs]
            await self._complete(connection, answer)

    async def _complete(self, connection: Connection, claimed: ClaimOut) -> None:
        items = b",".join(
            b'{"job_id":"%b","generation":%d,"fencing_token":%d}'
            % (job.job_id.encode(), job.generation, job.fencing_token or claimed.fencing_token)
            for job in claimed.jobs
        )
        body = b'{"items":[%b]}' % items
        done = msgspec.json.decode(await connection.call(QUEUE + b"complete", body), type=CompleteOut)
        if done.refused or done.done != len(claimed.jobs):
            raise UnexpectedAnswer(f"{done.done} of {len(claimed.jobs)} ends were taken")
        self.ended += done.done
        if self.ended >= self.options.jobs:
            self.all_ended.set()

    def check(self) -> None:
        """Each job ran exactly once."""
        runs = Counter(number for number, _ in self.ran)
        if len(runs) != self.options.jobs or max(runs.values()) != 1:
            raise UnexpectedAnswer(f"{len(self.ran)} runs of {len(runs)} of {self.options.jobs} jobs")


def batches(jobs: int, size: int) -> Iterator[range]:
    return (range(at, min(at + size, jobs)) for at in range(0, jobs, size))


async def submit(connection: Connection, numbers: Sequence[int]) -> None:
    jobs = b",".join(JOB % (number, FILL) for number in numbers)
    answer = await connection.call(QUEUE + b"jobs/submit", b'{"jobs":[%b]}' % jobs)
    submitted = msgspec.json.decode(answer, type=Submitted)
    if submitted.refused or submitted.taken != len(numbers):
        raise UnexpectedAnswer(f"{submitted.taken} of {len(numbers)} jobs were taken: {answer[:500]!r}")


async def session(connection: Connection, units: int) -> Granted:
    """A lease that a worker's jobs run under; taken up at once."""
    body = b'{"job_type":"bench","cost_units":%d,"start":"now","wait_sec":20}' % units
    granted = msgspec.json.decode(await connection.call(LEASE + b"request", body), type=Granted)
    if not granted.approved:
        raise UnexpectedAnswer(f"no session: {granted.reason}")
    await renew(connection, granted)
    return granted


async def renew(connection: Connection, lease: Granted) -> None:
    path = LEASE + b"%b/heartbeat" % lease.lease_id.encode()
    await connection.call(path, b'{"fencing_token":%d}' % lease.fencing_token)


async def renewals(connection: Connection, lease: Granted) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        await renew(connection, lease)


async def claimers(driver: Driver, keys: Keys, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    """All connections of all workers, each with the session's lease where one is wanted."""
    tasks = []
    for token in keys.work:
        connections = [await driver.connect(token) for _ in range(driver.options.claims)]
        claim = b'{"max":%d,"wait_sec":%d}' % (driver.options.batch, CLAIM_WAIT_S)
        if not driver.options.own_leases:
            renewer = await driver.connect(token)
            lease = await session(renewer, len(connections))
            tasks.append(group.create_task(renewals(renewer, lease)))
            claim = claim[:-1] + SESSION % (lease.lease_id.encode(), lease.fencing_token, len(connections))
        tasks += [group.create_task(driver.worker(connection, claim)) for connection in connections]
    return tasks


async def submitters(driver: Driver, keys: Keys) -> list[Connection]:
    """All connections that submit."""
    return [await driver.connect(token) for token in keys.submit for _ in range(driver.options.submits)]


async def cycles(driver: Driver, keys: Keys) -> None:
    """From the first submit to the answer to the last completion."""
    async with asyncio.timeout(END_TIMEOUT_S), asyncio.TaskGroup() as group:
        tasks = await claimers(driver, keys, group)
        connections = await submitters(driver, keys)
        began_at = time.perf_counter()
        submits = [group.create_task(driver.submitter(connection)) for connection in connections]
        await asyncio.wait(submits)
        driver.result.submitted_s = time.perf_counter() - began_at
        driver.all_submitted.set()
        await driver.all_ended.wait()
        driver.result.seconds = time.perf_counter() - began_at
        for task in tasks:
            task.cancel()


async def idle(driver: Driver, keys: Keys) -> None:
    """One job now and then while a claim is held open: from before its submit until its worker has it."""
    sent_at: list[float] = []
    async with asyncio.timeout(END_TIMEOUT_S), asyncio.TaskGroup() as group:
        tasks = await claimers(driver, keys, group)
        connection = await driver.connect(keys.submit[0])
        for number in range(driver.options.jobs):
            await asyncio.sleep(PAUSES_S[number % len(PAUSES_S)])
            sent_at.append(time.perf_counter())
            await submit(connection, (number,))
        await driver.all_ended.wait()
        for task in tasks:
            task.cancel()
    driver.result.starts_ms = [(at - sent_at[number]) * 1e3 for number, at in driver.ran]


async def fill(driver: Driver, keys: Keys) -> None:
    """Submits alone: jobs that wait."""
    connections = await submitters(driver, keys)
    began_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(driver.submitter(connection))
    driver.result.submitted_s = time.perf_counter() - began_at


async def play(options: argparse.Namespace) -> Result:
    keys = msgspec.json.decode(options.keys.read_bytes(), type=Keys)
    driver = Driver(options)
    try:
        await {"cycles": cycles, "idle": idle, "fill": fill}[options.mode](driver, keys)
    finally:
        for connection in driver.connections:
            connection.transport.close()
    if options.mode != "fill":
        driver.check()
    return driver.result


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_client")
    parser.add_argument("keys", type=Path)
    parser.add_argument("mode", choices=("cycles", "idle", "fill"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--submits", type=int, default=2, help="connections of each submitter")
    parser.add_argument("--claims", type=int, default=3, help="connections of each worker that claim")
    parser.add_argument("--after", action="store_true", help="claim only when all is submitted")
    parser.add_argument("--own-leases", action="store_true", help="a lease for each job, no session's")
    return parser


def main() -> int:
    import uvloop

    try:
        result = uvloop.run(play(parser().parse_args()))
    except (UnexpectedAnswer, msgspec.DecodeError, OSError, ExceptionGroup) as error:
        failures = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        print(f"queue_client: {failures!r}", file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
