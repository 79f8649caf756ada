"""The queue under kill -9: of the server, of the shims of running commands, of both; and under power loss."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accept.harness import check, expect
from accept.product import Product, Server, until
from accept.queue.callers import QUEUE, Books, Caller, Commands, Submitter
from accept.queue.workers import SessionWorker, Worker
from leasehold.shim import layout

KILLS = 100
SHIM_ROUNDS = 25
BOTH_ROUNDS = 40
DRAINED_WITHIN_S = 180
SHIM_KILLS_OF_ONE = 2
"""The loss of a run is not its job's fault three times: killed less often, it must end well."""

ENDED = frozenset({"DONE", "FAILED", "CANCELED", "EXPIRED"})


@dataclass
class Seen:
    """What a command's own lines tell of one run of it."""

    run: str
    pid: int
    begins: list[float]
    ends: list[float]


def evidence_of(path: Path) -> dict[str, dict[str, Seen]]:
    """By job, by run. A line that is being written is left out."""
    found: dict[str, dict[str, Seen]] = defaultdict(dict)
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    for line in lines:
        what, job, run, pid, at = line.split(" ")
        seen = found[job].setdefault(run, Seen(run, int(pid), [], []))
        (seen.begins if what == "begin" else seen.ends).append(float(at))
    return found


def lives(pid: int) -> bool:
    """Whether such a process runs: one that has died and is not waited for yet does not."""
    stat = layout.read(f"/proc/{pid}/stat")
    return stat is not None and stat[stat.rindex(b")") + 2 :].split()[0] not in (b"Z", b"X")


class Scene:
    """A server, those who load it, and what they were told."""

    def __init__(self, server: Server, folder: Path, seed: int, *, workers: bool = True) -> None:
        self.server, self.seed = server, seed
        self.chance = random.Random(f"scene {seed}")
        self.books = Books()
        self.evidence = folder / "evidence"
        commands = Commands(str(self.evidence), str(folder))
        kinds: list[Caller] = [Submitter(server, self.books, "submits commands", seed, commands)]
        if workers:
            kinds += [Submitter(server, self.books, f"submits {n}", seed, None) for n in range(2)]
            kinds += [Worker(server, self.books, f"own-{n}", seed) for n in range(2)]
            kinds += [SessionWorker(server, self.books, f"session-{n}", seed) for n in range(2)]
        self.callers = kinds
        self.spanned: set[str] = set()
        self.meanwhile: set[str] = set()

    def start(self) -> None:
        for caller in self.callers:
            caller.start()

    def open_runs(self) -> dict[str, Seen]:
        """Runs of commands that have begun and not ended, by job."""
        return {
            job: seen
            for job, runs in evidence_of(self.evidence).items()
            for seen in runs.values()
            if not seen.ends and lives(seen.pid)
        }

    def well(self) -> None:
        """No caller has seen anything that may not be."""
        wrong = self.books.wrong
        expect(not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")

    def crash(self) -> None:
        """Kill the server at this instant and start it again, now and then killing it as it starts too."""
        before = self.open_runs()
        self.server.kill()
        killed_at = time.time()
        while self.chance.random() < 0.2:
            self._killed_early()
        self.server.start()
        ready_at = time.time()
        now = evidence_of(self.evidence)
        for job, seen in before.items():
            after = now[job][seen.run]
            if not after.ends and lives(seen.pid):
                self.spanned.add(job)
            elif after.ends and killed_at < after.ends[0] < ready_at:
                self.meanwhile.add(job)

    def _killed_early(self) -> None:
        """A start that is cut short somewhere."""
        server = self.server
        with open(os.devnull, "wb") as nowhere:
            process = subprocess.Popen(
                [server.product.leasehold, "up", "--foreground"],
                env=server.env,
                stdin=subprocess.DEVNULL,
                stdout=nowhere,
                stderr=nowhere,
            )
        time.sleep(self.chance.random() * 1.5)
        process.kill()
        process.wait()

    # -- the end

    def drain(self) -> None:
        """Let no more be submitted, wait until all has ended, and let the workers go."""
        submitters = [caller for caller in self.callers if isinstance(caller, Submitter)]
        for caller in submitters:
            caller.going = False
        for caller in submitters:
            caller.join(90)
            expect(not caller.is_alive(), f"{caller.name} did not end")
        drained = until(lambda: self.books.wrong or not self.live(), DRAINED_WITHIN_S, 0.5)
        self.well()
        expect(drained is not None, f"not drained after {DRAINED_WITHIN_S} s: {str(self.live())[:600]}")
        for caller in self.callers:
            caller.going = False
        for caller in self.callers:
            caller.join(90)
            expect(not caller.is_alive(), f"{caller.name} did not end")
        self.well()

    def live(self) -> list[dict[str, Any]]:
        """Jobs that have not ended."""
        status, page = self.server.get(
            f"{QUEUE}/jobs?state=QUEUED,HELD,DISPATCHING,RUNNING,PAUSED&limit=1000"
        )
        expect(status == 200, f"the list of jobs answered {status}: {page}")
        return list(page["jobs"])

    def all_jobs(self) -> dict[str, dict[str, Any]]:
        """Every job that the server knows, by id; none is listed twice."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            status, page = self.server.get(f"{QUEUE}/jobs?limit=1000{cursor}")
            expect(status == 200, f"the list of jobs answered {status}: {page}")
            for job in page["jobs"]:
                expect(job["job_id"] not in found, f"{job['job_id']} is listed twice")
                found[job["job_id"]] = job
            if not page.get("cursor"):
                return found
            cursor = f"&cursor={page['cursor']}"

    def judge(self) -> None:
        """What callers were told, held against what the server says, now that all has ended."""
        jobs, books = self.all_jobs(), self.books
        gone = [job for job in books.submitted if job not in jobs]
        expect(not gone, f"{len(gone)} acknowledged jobs are gone, like {gone[:3]}")
        titles = [job["title"] for job in jobs.values()]
        expect(len(titles) == len(set(titles)), "a job was submitted once and is there twice")
        for job_id, title in books.submitted.items():
            found = jobs[job_id]
            expect(found["title"] == title, f"{job_id} came back as another job")
            expect(found["state"] in ENDED, f"{job_id} is {found['state']} at the end")
        self._judge_outcomes(jobs)
        self._judge_runs(jobs)
        self.consistent()

    def _judge_outcomes(self, jobs: dict[str, dict[str, Any]]) -> None:
        books = self.books
        for job_id, (state, result) in books.outcomes.items():
            expect(
                jobs[job_id]["state"] == state, f"{job_id} was told {state} and is {jobs[job_id]['state']}"
            )
            if result is not None and self.chance.random() < 0.2:
                kept = self.server.get(f"{QUEUE}/jobs/{job_id}")[1].get("result")
                expect(kept == result, f"{job_id} was completed with {result} and has {kept}")
        for job_id, told in books.canceled.items():
            state = jobs[job_id]["state"]
            expect(state == "CANCELED" or told != "CANCELED", f"{job_id} was cancelled and is {state}")
        for job_id in books.submitted.keys() - books.commands.keys() - books.outcomes.keys():
            state = jobs[job_id]["state"]
            expect(state == "CANCELED", f"{job_id} is {state}, and nobody was told so")

    def _judge_runs(self, jobs: dict[str, dict[str, Any]]) -> None:
        """No two runs of a job at one time, by what its workers did."""
        for job_id, runs in self.books.runs.items():
            in_order = [runs[generation] for generation in sorted(runs)]
            for one, other in itertools.pairwise(in_order):
                ended = one.ended_s is not None and one.ended_s <= other.began_s
                expect(ended, f"{job_id} ran at {one.worker} and {other.worker} at one time")
            expect(max(runs) <= jobs[job_id].get("generation", 0), f"{job_id} has forgotten a generation")

    def consistent(self) -> None:
        """Nothing is held, charged or counted that is not there."""
        stats = self.server.get(f"{QUEUE}/stats")[1]
        expect(not any(stats["states"].values()), f"nothing is live, and the depth says {stats['states']}")
        expect(stats["payload_bytes"] == 0, f"{stats['payload_bytes']} bytes are counted of no job")
        expect(not stats.get("unreadable"), f"records can't be read: {stats.get('unreadable')}")
        free = until(lambda: self.server.status()["capacity"]["units"]["used"] == 0, 45)
        expect(free is not None, f"still charged: {self.server.status()['capacity']}")

    def judge_commands(self, *, once: bool) -> int:
        """Exit codes and logs of all commands, and that no two runs of one overlapped; `once`: each ran once."""
        seen = evidence_of(self.evidence)
        judged = 0
        for job_id, (_, code) in self.books.commands.items():
            runs = sorted(seen.get(job_id, {}).values(), key=lambda run: run.begins[0])
            for run in runs:
                expect(len(run.begins) == 1 and len(run.ends) <= 1, f"{run.run} was started twice")
            job = self.server.get(f"{QUEUE}/jobs/{job_id}")[1]
            if job["state"] == "CANCELED":
                expect(job_id in self.books.canceled, f"{job_id} is CANCELED, and nobody wanted that")
                continue
            whole = bool(runs) and bool(runs[-1].ends)
            said = {name: job.get(name) for name in ("state", "error", "generation", "exit_code", "history")}
            expect(whole, f"{job_id} was not run to its end: {said}, {runs}")
            expect(not once or len(runs) == 1, f"{job_id} was run {len(runs)} times: {runs}")
            wanted = "DONE" if code == 0 else "FAILED"
            expect(job["state"] == wanted, f"{job_id} is {job['state']} ({job.get('error')}), not {wanted}")
            expect(job.get("exit_code") == code, f"{job_id} ended with {code}, not {job.get('exit_code')}")
            self._judge_log(job_id)
            judged += 1
        unknown = seen.keys() - self.all_jobs().keys()
        expect(not unknown, f"commands ran that no job knows: {sorted(unknown)[:3]}")
        return judged

    def _judge_log(self, job_id: str) -> None:
        text, offset, over = b"", 0, False
        while not over:
            status, log = self.server.get(f"{QUEUE}/jobs/{job_id}/log?offset={offset}")
            expect(status == 200, f"the log of {job_id} was answered {status}: {str(log)[:300]}")
            text += b"".join(base64.b64decode(chunk["data"]) for chunk in log["chunks"])
            expect(log["over"] or log["next"] > offset, f"the log of {job_id} has no end")
            offset, over = log["next"], log["over"]
        said = f"said {self.books.submitted[job_id]}\n"
        expect(text.decode() == said, f"the log of {job_id} is {text[:200]!r}, not {said!r}")


def shims_of(data: Path, running: Iterable[Seen]) -> dict[str, int]:
    """The shim of each of these runs, by its name, where it lives."""
    found = {}
    for seen in running:
        taken = (layout.slots(str(data / "runs" / seen.run))[0] or {}).get("shim", "")
        if taken and layout.identity(int(taken.split()[0])) == taken:
            found[seen.run] = int(taken.split()[0])
    return found


@check(
    "jobs.kill9",
    "kill -9 of the server 100 times at random instants under load of jobs: no acknowledged job or result lost, none run "
    "twice at the same time, running commands found again, those that ended meanwhile have their result",
    command="kill -9 SERVER   # 100 times, with submitters, workers and commands",
    budget_s=600,
)
def kill9(product: Product) -> str:
    """Callers outlive the server and repeat what was not answered; at the end all they were told must be so."""
    with tempfile.TemporaryDirectory(prefix="leasehold-jobs-") as name, product.server() as server:
        scene = Scene(server, Path(name), 1)
        scene.start()
        for _ in range(KILLS):
            time.sleep(0.1 + scene.chance.random() * 0.7)
            scene.crash()
            scene.well()
        scene.drain()
        scene.judge()
        judged = scene.judge_commands(once=True)
        books = scene.books
        expect(len(books.submitted) > KILLS * 5, f"only {len(books.submitted)} jobs: the load was no load")
        expect(books.lost > KILLS, f"only {books.lost} calls lost their answer")
        expect(books.fenced > 5, f"only {books.fenced} results of old generations were sent")
        expect(len(scene.spanned) > 10, f"only {len(scene.spanned)} commands outlived a server")
        expect(len(scene.meanwhile) > 5, f"only {len(scene.meanwhile)} ended while there was no server")
        return (
            f"{KILLS} kills, {books.lost} lost answers: {len(books.submitted)} acknowledged jobs and "
            f"{len(books.outcomes)} results are there, {judged} commands ran once, {len(scene.spanned)} went on "
            f"over a restart, {len(scene.meanwhile)} ended while there was no server, {books.fenced} old results "
            "refused"
        )


class Reaper:
    """Kills shims, none of one job so often that it counts as its own failure."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.killed: dict[str, int] = defaultdict(int)
        self.deaths: dict[str, float] = {}

    def strike(self, share: float) -> None:
        """Kill the shims of this share of all that runs."""
        running = self.scene.open_runs()
        shims = shims_of(self.scene.server.data, running.values())
        for job, seen in running.items():
            few = self.killed[job] < SHIM_KILLS_OF_ONE
            if few and seen.run in shims and self.scene.chance.random() < share:
                self.killed[job] += 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(shims[seen.run], signal.SIGKILL)

    def judge(self) -> int:
        """No run of a command began before the one before it was over or killed. How many were killed."""
        for job, runs in evidence_of(self.scene.evidence).items():
            in_order = sorted(runs.values(), key=lambda run: run.begins[0])
            for one, other in itertools.pairwise(in_order):
                late = bool(one.ends) and one.ends[0] > other.begins[0]
                expect(not late, f"{job}: {other.run} began before {one.run} had ended")
        return sum(self.killed.values())


def overlapping(scene: Scene) -> None:
    """Of no command do two runs live now."""
    for job, runs in evidence_of(scene.evidence).items():
        alive = [run.run for run in runs.values() if not run.ends and lives(run.pid)]
        expect(len(alive) <= 1, f"{job} runs twice at the same time: {alive}")


@check(
    "jobs.shim_killed",
    "kill -9 of the shims of running commands: what they ran is over before it runs again, and each job ends well",
    command="kill -9 SHIM",
    budget_s=180,
)
def shim_killed(product: Product) -> str:
    """Their runs are lost, all of each is killed, and the job runs again with the next generation."""
    with tempfile.TemporaryDirectory(prefix="leasehold-jobs-") as name, product.server() as server:
        scene = Scene(server, Path(name), 2, workers=False)
        reaper = Reaper(scene)
        scene.start()
        for _ in range(SHIM_ROUNDS):
            time.sleep(0.2 + scene.chance.random() * 0.6)
            reaper.strike(0.5)
            for _ in range(5):
                overlapping(scene)
                time.sleep(0.02)
            scene.well()
        return ended_well(scene, reaper, f"{SHIM_ROUNDS} rounds")


@check(
    "jobs.both_killed",
    "kill -9 of server and shims together, in either order: no command runs twice at the same time, each job ends well",
    command="kill -9 SERVER SHIM",
    budget_s=300,
)
def both_killed(product: Product) -> str:
    """A server that comes back finds runs without a shim and without a result."""
    with tempfile.TemporaryDirectory(prefix="leasehold-jobs-") as name, product.server() as server:
        scene = Scene(server, Path(name), 3)
        reaper = Reaper(scene)
        scene.start()
        for number in range(BOTH_ROUNDS):
            time.sleep(0.2 + scene.chance.random() * 0.6)
            if number % 2:
                reaper.strike(0.5)
                scene.crash()
            else:
                server.kill()
                reaper.strike(0.5)
                server.start()
            overlapping(scene)
            scene.well()
        return ended_well(scene, reaper, f"{BOTH_ROUNDS} kills of the server")


def ended_well(scene: Scene, reaper: Reaper, rounds: str) -> str:
    """Drain, and judge all of it."""
    scene.drain()
    scene.judge()
    judged = scene.judge_commands(once=False)
    killed = reaper.judge()
    expect(killed > 10, f"only {killed} shims were killed")
    return f"{rounds}, {killed} shims killed: {judged} commands ended with their exit code and log, none ran twice at once"
