"""`leasehold run`: what it holds back, when it lets go, and that a terminal notices nothing of it."""

from __future__ import annotations

import re
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accept.ask_first.pauses import live, span
from accept.harness import Broken, check, expect
from accept.product import Product, Server, until
from tests.e2e.terminal import CTRL_C, CTRL_D, CTRL_Z, Terminal, terminal

ROUNDS = 3
AT_ONCE = 6
GAP_S_MAX = 0.1

BURN = (
    "import time; now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME); began = now()\n"
    "import sys; path, rounds = sys.argv[1], int(sys.argv[2]); open(path, 'w').write(f'{began} -')\n"
    "import hashlib; hashlib.pbkdf2_hmac('sha256', b'heavy', b'work', rounds)\n"
    "open(path, 'w').write(f'{began} {now()}')"
)
"""Derives a key, which keeps one core busy, and writes its own beginning and end by the boot clock."""
BURN_ROUNDS = 3_000_000
"""About 1.5 s of one core here: long enough for four to wait, short enough for three rounds."""

WAITING = re.compile(
    r"^leasehold: waiting, (\d)(?:st|nd|rd|th): \d+ of \d+ units used by (.+)$", re.MULTILINE
)


# -- six at once -------------------------------------------------------------------------------------------


def six(server: Server, folder: Path, number: int) -> tuple[list[tuple[float, float]], list[str]]:
    """Six at once: when each ran, by its own clock, and what each said."""
    paths = [folder / f"{number}-{each}" for each in range(AT_ONCE)]
    command = [server.product.python, "-I", "-S", "-c", BURN]
    processes = [
        server.spawn(
            "run", "--cost", "40", "--job-type", f"burn-{each}", "--", *command, str(path), str(BURN_ROUNDS)
        )
        for each, path in enumerate(paths)
    ]
    said = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        expect(
            process.returncode == 0, f"a command ended with {process.returncode}: {err[-300:]}{out[-100:]}"
        )
        said.append(err)
    return [span(path) for path in paths], said


def most_together(spans: list[tuple[float, float]]) -> int:
    """The greatest number that ran at one instant."""
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def gaps_s(spans: list[tuple[float, float]], fit: int) -> list[float]:
    """From each end that made room to the start of the one that took it."""
    starts, ends = sorted(start for start, _ in spans), sorted(end for _, end in spans)
    return [start - end for start, end in zip(starts[fit:], ends, strict=False)]


def places_told(said: list[str]) -> int:
    """How many said that they wait, where, and for whom. Raises where one of them names nobody."""
    waited = [err for err in said if "leasehold: waiting" in err]
    places: set[int] = set()
    for err in waited:
        first = WAITING.search(err)
        if first is None:
            raise Broken(f"one waits and does not say its place and who holds what: {err}")
        expect('"burn-' in first[2], f"the holders are not named: {err}")
        expect("leasehold: running (waited " in err, f"one does not say that it runs: {err}")
        places.update(int(found[0]) for found in WAITING.findall(err))
    expect(places == set(range(1, len(waited) + 1)), f"{len(waited)} wait, in the places {sorted(places)}")
    return len(waited)


@check(
    "run.six",
    "Six `leasehold run --cost 40` of a CPU-bound command at once: never more than two together, the others "
    "say their place and who holds what, and start within 100 ms of room",
    command="for i in 1 2 3 4 5 6; do leasehold run --cost 40 -- xz -9k big & done",
    budget_s=120,
)
def six_at_once(product: Product) -> str:
    """Three rounds, measured from what the commands themselves wrote."""
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder, product.server() as server:
        for number in range(ROUNDS):
            server.until_quiet()
            spans, said = six(server, Path(folder), number)
            together = most_together(spans)
            expect(together == 2, f"{together} ran together, two were to: {sorted(spans)}")
            waited = places_told(said)
            expect(waited == AT_ONCE - 2, f"{waited} of {AT_ONCE} said that they wait: {said}")
            gaps += gaps_s(spans, 2)
    shown = f"{statistics.median(gaps) * 1000:.0f} ms in the median, {max(gaps) * 1000:.0f} ms at most"
    shown = f"from one's end to the next one's first instruction {shown}"
    expect(min(gaps) >= 0, f"one began {-min(gaps) * 1000:.1f} ms before the end that made its room")
    expect(max(gaps) <= GAP_S_MAX, shown)
    return f"{ROUNDS} × {AT_ONCE}: two together at most; {shown}"


# -- exit codes --------------------------------------------------------------------------------------------

CODES = [
    ("exit 0", 0),
    ("exit 3", 3),
    ("exit 75", 75),
    ("kill -TERM $$", 128 + 15),
    ("kill -KILL $$", 128 + 9),
    ("kill -SEGV $$", 128 + 11),
    ("kill -INT $$", -signal.SIGINT),
]
"""A script and what `run` is seen to end with; a death by SIGINT is passed on as one, as shells expect."""


@check(
    "run.exit_codes",
    "Exit codes: the command's own, 128+n for a signal, 126, 127, 75 when it gave up, 76 after a revoke",
    command="leasehold run -- sh -c 'exit 3'; echo $?",
    budget_s=60,
)
def exit_codes(product: Product) -> str:
    """Each once."""
    with tempfile.TemporaryDirectory() as folder, product.server() as server:
        server.until_quiet()
        for script, code in CODES:
            ended = server.run("run", "--", "sh", "-c", script)
            expect(ended.returncode == code, f"`{script}` ended with {ended.returncode}: {ended.stderr}")
        plain = Path(folder) / "plain"
        plain.write_text("echo not executable\n")
        for command, code in ((str(plain), 126), ("no-such-command-here", 127)):
            ended = server.run("run", "--", command)
            expect(ended.returncode == code, f"{command} ended with {ended.returncode}: {ended.stderr}")
        with held(server, 90) as holder:
            ended = server.run("run", "--cost", "50", "--wait", "1s", "--", "true")
            expect(ended.returncode == 75, f"after --wait 1s: {ended.returncode}, {ended.stderr}")
            expect("gave up after 1 s" in ended.stderr, f"--wait 1s says: {ended.stderr}")
            lease = live(server)[0]["lease_id"]
            expect(server.run("revoke", lease, "--note", "mine now").returncode == 0, "the revoke failed")
            _, err = holder.communicate(timeout=30)
            expect(holder.returncode == 76, f"after a revoke: {holder.returncode}, {err}")
            expect("mine now" in err, f"who took it and why is not said: {err}")
        return f"{len(CODES) + 4} endings, each with its code; the revoked one says who and why"


@contextmanager
def held(server: Server, cost: int) -> Iterator[subprocess.Popen[str]]:
    """A command that holds so many units until the end of the block."""
    holder = server.spawn("run", "--cost", str(cost), "--job-type", "holder", "--", "sleep", "600")
    try:
        active = until(lambda: any(each["state"] == "ACTIVE" for each in live(server)), 20)
        expect(active is not None, f"{cost} units were not granted: {server.status()['headline']}")
        yield holder
    finally:
        if holder.poll() is None:
            holder.terminate()
        holder.communicate(timeout=30)
        expect(until(lambda: not live(server), 10) is not None, f"still live: {live(server)}")


# -- in a terminal -----------------------------------------------------------------------------------------


@contextmanager
def typing(product: Product) -> Iterator[tuple[Server, Terminal, Path]]:
    """An interactive shell on a terminal of its own, with a server; nothing is left when it ends."""
    with tempfile.TemporaryDirectory() as name, product.server() as server:
        server.until_quiet()
        env = {key: value for key, value in server.env.items() if key != "PYTHON_BASIC_REPL"}
        try:
            with terminal(env, Path(name)) as shell:
                yield server, shell, Path(name)
        except AssertionError as error:
            raise Broken(str(error)) from None
        expect(until(lambda: not live(server), 10) is not None, f"a lease is left: {live(server)}")


def running(server: Server, job_type: str) -> str:
    """The id of the ACTIVE lease of this job type, as soon as there is one."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [
            each["lease_id"]
            for each in live(server)
            if (each["job_type"], each["state"]) == (job_type, "ACTIVE")
        ]
        return bool(found)

    expect(until(look, 20) is not None, f"{job_type} does not run: {live(server)}")
    return found[0]


@check("run.ctrl_c", "Ctrl-C ends the command, the script around it and the lease", budget_s=40)
def ctrl_c(product: Product) -> str:
    """130 for the shell; a loop does not go on; a command that handles it goes on, and gets it once."""
    with typing(product) as (server, shell, _):
        shell.line("leasehold run --job-type c -- sleep 100")
        running(server, "c")
        shell.send(CTRL_C)
        shell.prompt()
        expect("rc=130=" in shell.run("(exit $?)"), f"not 130: {shell.seen[-200:]}")
        freed = until(lambda: not live(server), 5, 0.005)
        expect(freed is not None, "the lease is still held")
        shell.line(
            "bash -c 'for i in 1 2; do leasehold run --job-type l -- sleep 100; echo round-$i-over; done'"
        )
        running(server, "l")
        shell.send(CTRL_C)
        shell.prompt()
        expect("round-1-over" not in shell.seen, "the loop went on after Ctrl-C")
        shell.line(
            "leasehold run -- bash -c 'trap \"echo got-it\" INT; echo armed; read x; exit 5'; echo rc=$?="
        )
        shell.expect("armed")
        shell.send(CTRL_C)
        shell.expect("got-it")
        shell.line("more")
        shell.expect("rc=5=")
        expect(shell.seen.count("got-it") == 1, "the command got Ctrl-C more than once")
        with held(server, 90):
            shell.line("leasehold run --cost 50 -- true")
            shell.expect("leasehold: waiting, 1st")
            shell.send(CTRL_C)
            shell.prompt()
            expect("rc=130=" in shell.run("(exit $?)"), f"while waiting, not 130: {shell.seen[-200:]}")
            expect(until(lambda: not server.status()["waiting"], 5) is not None, "its place in line is kept")
        freed_ms = (freed or 0) * 1000
        return f"130, lease free {freed_ms:.0f} ms later, a loop ends, a trap gets it once; waiting too"


@check("run.ctrl_z", "Ctrl-Z and `fg` stop and continue the command; the lease stays", budget_s=40)
def ctrl_z(product: Product) -> str:
    """The shell sees one stopped job, which has the terminal again after `fg`; also while it waits."""
    with typing(product) as (server, shell, _):
        shell.line("leasehold run --job-type z -- cat")
        lease = running(server, "z")
        for word in ("one", "two"):
            shell.line(word)
            shell.expect(f"{word}\r\n")
            shell.send(CTRL_Z)
            shell.expect(r"\[1\]\+\s+Stopped.*leasehold run")
            shell.prompt()
            expect(running(server, "z") == lease, "the lease was lost")
            shell.line("fg; echo rc=$?=")
            shell.expect("leasehold run")
        shell.send(CTRL_D)
        shell.expect("rc=0=")
        shell.prompt()
        with held(server, 90) as holder:
            shell.line("leasehold run --cost 50 -- echo it-runs")
            shell.expect("waiting")
            shell.send(CTRL_Z)
            shell.expect("Stopped")
            shell.prompt()
            shell.line("fg")
            holder.terminate()
            shell.expect("it-runs")
            shell.prompt()
        return "stopped and continued twice under the same lease, and once while waiting"


@check("run.tee", "`| tee` gets what the command wrote and nothing else", budget_s=30)
def tee(product: Product) -> str:
    """A megabyte byte by byte, standard error apart, the exit code by pipefail."""
    with typing(product) as (server, shell, folder):
        program = "import os, sys; os.write(2, b'err\\n'); sys.stdout.buffer.write(bytes(range(256)) * 4096)"
        program += "; sys.exit(4)"
        (folder / "writes.py").write_text(program)
        python = server.product.python
        told = shell.run(
            f"set -o pipefail; leasehold run -- {python} writes.py 2>err.txt | tee out.bin | wc -c"
        )
        expect("rc=4=" in told, f"the exit code is lost: {told}")
        expect((folder / "out.bin").read_bytes() == bytes(range(256)) * 4096, "the output differs")
        expect((folder / "err.txt").read_text() == "err\n", f"stderr: {(folder / 'err.txt').read_text()}")
        return "1,048,576 bytes unchanged, nothing added to standard error, exit code 4 kept"


@check("run.pdb", "`python -m pdb` in a terminal behaves", budget_s=30)
def pdb(product: Product) -> str:
    """Prompts, answers, its own Ctrl-C, and an end by `q`."""
    with typing(product) as (server, shell, folder):
        (folder / "two.py").write_text("x = 40\nwhile x < 42:\n    pass\nprint('sum', x)\n")
        shell.line(f"leasehold run -- {server.product.python} -m pdb two.py; echo rc=$?=")
        for typed, shown in (("", ""), ("n", r"while x < 42"), ("p x", "40"), ("p x + 2", "42")):
            if typed:
                shell.line(typed)
            shell.expect(shown)
            shell.expect(r"\(Pdb\) ")
        shell.line("c")
        until(lambda: False, 0.5)
        shell.send(CTRL_C)
        shell.expect("Program interrupted")
        shell.expect(r"\(Pdb\) ")
        shell.line("x = 42")
        shell.expect(r"\(Pdb\) ")
        shell.line("c")
        shell.expect("sum 42")
        shell.expect(r"\(Pdb\) ")
        shell.line("q")
        code = shell.expect(r"rc=(\d+)=")[1]
        shell.prompt()
        return f"steps, prints, is interrupted by Ctrl-C, goes on with another value, quits ({code})"


@check("run.window", "The window's size is seen, and its changes while the command runs", budget_s=30)
def window(product: Product) -> str:
    """At the start, and by SIGWINCH."""
    with typing(product) as (_, shell, _):
        shell.resize(33, 77)
        expect("33 77" in shell.run("leasehold run -- stty size"), f"not 33 77: {shell.seen[-100:]}")
        shell.line(
            "leasehold run -- bash -c 'trap \"stty size;exit\" WINCH; echo armed; while sleep .05; do :;done'"
        )
        shell.expect("armed")
        shell.resize(44, 88)
        shell.expect("44 88")
        shell.prompt()
        return "33 × 77 at the start, 44 × 88 by a signal"


# -- nested ------------------------------------------------------------------------------------------------


@check(
    "run.nested",
    "`run` inside `run` never deadlocks",
    command="leasehold run --cost 40 -- leasehold run --cost 80 -- leasehold run --cost 90 -- true",
    budget_s=60,
)
def nested(product: Product) -> str:
    """Three deep, each wanting more than the one around it, on a machine whose last unit is taken.

    Also two at once, and each asking for a lock that its own ancestor holds.
    """
    inner = "leasehold run --cost 80 --lock db -- leasehold run --cost 90 --lock db -- sh -c 'exit 5'"
    with product.server() as server:
        server.until_quiet()
        with held(server, 50):
            alone = server.run("run", "--cost", "40", "--lock", "db", "--", "sh", "-c", inner, timeout=40)
            expect(alone.returncode == 5, f"three deep: {alone.returncode}, {alone.stderr}")
            expect("shares 40" in alone.stderr, f"it does not say that it shares: {alone.stderr}")
        deep = inner.replace(" --lock db", "")
        with held(server, 50):
            both = [server.spawn("run", "--cost", "20", "--", "sh", "-c", deep) for _ in range(2)]
            took = until(lambda: all(process.poll() is not None for process in both), 40)
            ends = [process.poll() for process in both]
            for process in both:
                process.kill()
                process.communicate()
            expect(ends == [5, 5], f"two at once, three deep each, after 40 s: {ends}")
        took_s = f"{took or 0:.1f} s"
        return (
            f"three deep with 90 of 90 units taken shares the outer lease; two such at once end in {took_s}"
        )
