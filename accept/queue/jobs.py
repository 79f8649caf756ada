"""Sixty real jobs on the real program: each ends as it has to, is measured, and has its output."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accept.ask_first.purity import pytest
from accept.harness import check, expect
from accept.product import Product, Server, until
from accept.queue import work
from accept.queue.client import QUEUE, Log, all_jobs, job, submit, until_all_ended, until_state
from accept.queue.work import MIB, Task, Work

ENDS_S = 420

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}

Span = tuple[float, float]
Found = dict[str, Any]


class Sixty:
    """What came of them: jobs and logs by the names of their tasks."""

    def __init__(self, server: Server, made: Work, ids: Sequence[str]) -> None:
        self.server, self.work = server, made
        self.ids = {task.name: ident for task, ident in zip(made.tasks, ids, strict=True)}
        self.jobs: dict[str, Found] = {}
        self.logs: dict[str, Log] = {}

    def intervene(self) -> None:
        """What a person does meanwhile: cancels one that heeds nothing, and two that are held."""
        stubborn = self.ids["heeds no SIGTERM"]
        until_state(self.server, stubborn, "RUNNING", timeout_s=ENDS_S)
        ready = until(lambda: printed_so_far(self.server, stubborn) == b"ready\n", 30, 0.1)
        expect(ready is not None, "the one that heeds nothing does not run")
        for name in ("heeds no SIGTERM", "held, then cancelled"):
            body = {"grace_sec": 1, "note": "enough"}
            status, found = self.server.post(f"{QUEUE}/jobs/{self.ids[name]}/cancel", body, unix=True)
            expect(status == 200, f"cancel of {name}: {status} {found}")
        status, found = self.server.post(
            f"{QUEUE}/jobs/{self.ids['held, then resumed']}/resume", {}, unix=True
        )
        expect(status == 200 and found["state"] != "HELD", f"resume: {status} {found}")

    def collect(self) -> None:
        """Read every job and its output."""
        for task in self.work.tasks:
            self.jobs[task.name] = job(self.server, self.ids[task.name])
            if task.started:
                self.logs[task.name] = Log(self.server, self.ids[task.name])

    def spans(self, prefix: str) -> list[Span]:
        """When those of this name ran, by their own clocks."""
        found = []
        for name, log in self.logs.items():
            if name.startswith(prefix):
                lines = log.out.split()
                found.append((float(lines[0]), float(lines[-1])))
        return found

    # -- what is looked at

    def ends(self, task: Task) -> None:
        """State, exit code or signal, and that it was measured."""
        found = self.jobs[task.name]
        seen = (found["state"], found.get("exit_code"))
        expect(seen == (task.state, task.exit_code), f"{task.name} ended {seen}: {found.get('error')}")
        if task.signal:
            expect(found.get("signal") == task.signal, f"{task.name}: signal {found.get('signal')}")
        if not task.started:
            expect(not found.get("attempts") and not found.get("started_at"), f"{task.name} ran: {found}")
            return
        never_ran = task.exit_code in (126, 127)
        usage = found.get("usage", {})
        measured = usage.get("cpu_seconds", 0) > 0 and usage.get("memory_peak_bytes", 0) > 0
        expect(measured or never_ran, f"{task.name} was not measured: {usage}")
        expect(found["started_at"] <= found["ended_at"], f"{task.name} ended before it started")

    def measured(self) -> str:
        """CPU time and peak memory beside what the kernel told the command itself.

        That counts pages of programs too which others have in memory already, and we don't.
        """
        worst, count = 1.0, 0
        for name, log in self.logs.items():
            if b'"peak"' not in log.err:
                continue
            told, usage = json.loads(log.err.splitlines()[-1]), self.jobs[name]["usage"]
            cpu_s, peak = usage["cpu_seconds"], usage["memory_peak_bytes"]
            expect(
                told["cpu"] * 0.9 - 0.05 <= cpu_s <= told["cpu"] * 1.2 + 0.5,
                f"{name}: {cpu_s} CPU s, and the kernel says {told}",
            )
            expect(
                told["peak"] * 0.9 - 24 * MIB <= peak <= told["peak"] + 64 * MIB,
                f"{name}: peak {peak}, kernel: {told}",
            )
            count += 1
            worst = max(worst, cpu_s / told["cpu"] if told["cpu"] > 0.5 else 1.0)
        for name in ("burns", "burns in children"):
            usage, times = self.jobs[name]["usage"], 2 if name.endswith("children") else 1
            wanted_s = work.BURN_S * times
            expect(wanted_s * 0.95 <= usage["cpu_seconds"] <= wanted_s * 3 + 1, f"{name}: {usage}")
            low = work.TAKES_MIB * MIB
            expect(low <= usage["memory_peak_bytes"] <= times * low + 64 * MIB, f"{name}: {usage}")
        return f"CPU time of {count + 2} beside the kernel's own count within {(worst - 1) * 100:.0f} % and 0.5 s"

    def contents(self) -> None:
        """Their output, byte for byte, and what they made."""
        corpus = self.work.corpus.read_bytes()
        for name in self.jobs:
            packed = self.work.folder / f"packed {name}"
            if packed.exists():
                expect(UNPACK[name.split()[0]](packed.read_bytes()) == corpus, f"{name} lost something")
        self.says("run what was built", f"{self.work.computed()}\n")
        expect(b"undeclared" in self.logs["compile error"].err, "the compiler's words are not in the log")
        for code in (1, 3, 255):
            expect(self.logs[f"exit {code}"].err == f"fails with {code}\n".encode(), f"log of exit {code}")
        self.says("environment", f"a\nb 'c' $d||{self.work.folder}|over\n")
        self.says("held, then resumed", "resumed\n")
        self.says("third time", "attempt 3\n")
        odd = self.logs["bytes"]
        expect((odd.out, odd.err) == (b"a\xff\x00b\r\n", b"e\xfe"), f"bytes: {odd.out!r} {odd.err!r}")
        digest = hashlib.sha256(corpus).hexdigest()
        expect(self.logs["checksums"].out.startswith(digest.encode()), "the checksum is another")

    def says(self, name: str, wanted: str) -> None:
        found = self.logs[name].out
        expect(found == wanted.encode(), f"{name} said {found!r}, not {wanted!r}")

    def odd_ones(self) -> str:
        """Those that make trouble: what is left of each."""
        far = int(self.logs["forks away"].out)
        expect(not Path(f"/proc/{far}").exists(), f"the one that forked away lives on as {far}")
        expect("outlived" in self.jobs["forks away"].get("error", ""), f"{self.jobs['forks away']}")
        eats = self.jobs["eats memory"]
        expect(eats["error_class"] == "out_of_memory", f"eats memory: {eats}")
        peak = eats["usage"]["memory_peak_bytes"]
        expect(peak <= (work.EATS_MIB + 1) * MIB, f"it had {peak} bytes")
        terminal = self.logs["needs a terminal"].out.replace(b"\r", b"")
        expect(terminal == b"/dev/pts\n24 80\ntyped", f"terminal: {terminal!r}")
        user = self.logs["another user"]
        if self.work.is_root:
            expect(user.out == b"nobody\n" and b"denied" in user.err, f"{user.out!r} {user.err!r}")
        tries = self.jobs["third time"]
        outcomes = [one["outcome"] for one in tries["history"]]
        expect(tries["attempts"] == 3 and outcomes == ["FAILED"] * 2, f"third time: {tries}")
        expect(self.jobs["not found"]["attempts"] == 1, "what is not found was tried again")
        expect("limit of 2 s" in self.jobs["runs too long"]["error"], f"{self.jobs['runs too long']}")
        expect("enough" in self.jobs["heeds no SIGTERM"]["error"], f"{self.jobs['heeds no SIGTERM']}")
        return self.long_log()

    def long_log(self) -> str:
        """Of 100 MB the first and the newest, at most 50; what is left out is counted."""
        log = self.logs["prints 100 MB"]
        expect(log.err == b"end\n", f"its last word: {log.err!r}")
        first, last = b"0" * 18 + b"1\n", f"{work.LINES:019d}\n".encode()
        expect(log.out.startswith(first) and log.out.endswith(last), "the first or the newest is missing")
        kept, all_of_it = len(log.out), work.PRINTED_BYTES
        expect(40_000_000 < kept <= 50_000_000, f"{kept} bytes of {all_of_it} are kept")
        expect(
            all_of_it - kept <= log.dropped <= (all_of_it - kept) * 1.1, f"{log.dropped} are told as dropped"
        )
        return f"of 100 MB {kept / 1e6:.0f} are kept"

    def order(self) -> str:
        """Arrays, locks, dependencies and the gang, by the clocks of the commands themselves."""
        together = most_together(self.spans("array "))
        expect(together == work.ARRAY_AT_ONCE, f"{together} of the array ran at once")
        expect(most_together(self.spans("alone ")) == 1, "two had the same lock")
        (_, top), (left, left_end), (right, right_end), (bottom, _) = (
            self.spans(f"diamond {each}")[0] for each in ("top", "left", "right", "bottom")
        )
        expect(top <= min(left, right), "a side of the diamond began before its top had ended")
        expect(max(left_end, right_end) <= bottom, "its bottom began before both sides had ended")
        failed_end = self.spans("fails")[0][1]
        expect(failed_end <= self.spans("after any end")[0][0], "it began before what it comes after")
        folder = self.work.folder / "gang"
        gang = [tuple(map(float, each.read_text().split())) for each in folder.iterdir()]
        expect(len(gang) == work.GANG, f"{len(gang)} members of the gang ran")
        expect(most_together(gang) == work.GANG, f"the gang did not run together: {gang}")
        began = float(self.logs["later"].out)
        expect(began >= self.work.later.timestamp(), "it began before its time")
        return f"{together} of {work.ARRAY} in the array at once at most, {work.GANG} in the gang"


def printed_so_far(server: Server, ident: str) -> bytes:
    return Log(server, ident).out


def most_together(spans: Sequence[Any]) -> int:
    """The greatest number that ran at one instant."""
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


@check(
    "jobs.sixty",
    "60 real jobs: each ends in the right state with exit code or signal, peak memory, CPU time and its log; "
    "arrays, dependencies and parallel groups obey",
    command="leasehold submit --start now -- xz -6 -k big   # and 59 others",
    budget_s=240,
)
def sixty(product: Product) -> str:
    """All of them in one submission, on a server with default settings."""
    with tempfile.TemporaryDirectory() as scratch, product.server() as server:
        made = Work(Path(scratch), "/usr/bin/python3")
        expect(len(made.tasks) == 60, f"{len(made.tasks)} jobs")
        run = Sixty(server, made, submit(server, [task.body for task in made.tasks]))
        try:
            run.intervene()
            until_all_ended(server, ENDS_S)
        finally:
            left = [one for one in all_jobs(server) if one["state"] in ("RUNNING", "DISPATCHING")]
            for one in left:
                server.post(f"{QUEUE}/jobs/{one['job_id']}/cancel", {"grace_sec": 0}, unix=True)
        run.collect()
        for task in made.tasks:
            run.ends(task)
        run.contents()
        figures = [run.measured(), run.odd_ones(), run.order()]
        leases = server.status()["active"]
        expect(not leases, f"leases live on: {leases}")
    return f"60 of 60 as they should; {'; '.join(figures)}"


@check(
    "jobs.bad_input",
    "Bad input: for every job endpoint; a job that can never fit; a cycle of dependencies; a payload at, and over, its "
    "limit; a worker that completes another's job, with an old generation, twice, after cancellation",
    command="python -m pytest tests/api/test_jobs_refused.py tests/api/test_fuzz_jobs.py; "
    "python -m pytest tests/api/test_fuzz.py -k queue",
    budget_s=240,
)
def bad_input(product: Product) -> str:
    """Each by its documented answer, on the installed program; then whatever the contract lets in, or nearly."""
    program = {"LEASEHOLD_TEST_PROGRAM": product.leasehold}
    told = pytest("tests/api/test_jobs_refused.py", **program)
    there = pytest("tests/api/test_fuzz_jobs.py", **program, LEASEHOLD_TEST_FUZZ="60")
    routes = pytest("tests/api/test_fuzz.py", "-k", "queue", timeout_s=600, **program)
    return f"bad input: {told}; fuzzed jobs that are there: {there}; every route: {routes}"
