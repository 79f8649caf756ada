"""A charge that is a limit: cores and memory, held by the kernel; and a plain word where they are not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accept.harness import Skipped, check, expect
from accept.product import Product, Server, until

LIMIT_MIB, TAKEN_MIB = 200, 400
MORE = 1.1
"""How much more than its limit may be measured: the kernel counts in tenths of a second."""
FEW = 0.3
"""Cores that two burners get on a machine that others load too, so that the limit is seen to hold."""
MEASURED_S = 8.0
CALM_S = 60.0
OFF = "limits are turned off on this machine"

TAKE = f"held = b'x' * ({TAKEN_MIB} << 20); print('had it')"
BURN_TWICE = "import os; os.fork()\nwhile True: pass"


def burners(source: str) -> list[int]:
    """The processes that run just this."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                words = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:3] == [b"-c", source.encode()]:  # And not the wrapper, which has it further back.
                found.append(int(each.name))
    return found


def cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def burning(product: Product, server: Server, *words: str) -> Iterator[list[int]]:
    """Two processes that want a core each, under one lease."""
    source = f"{BURN_TWICE} # {server.port} {len(words)}"
    command = ["--job-type", "burn", *words, "--", product.python, "-c", source]
    process = server.spawn("run", *command)
    try:
        expect(until(lambda: len(burners(source)) == 2, 20) is not None, "the burners never ran")
        yield burners(source)
    finally:
        for pid in burners(source):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=30)


def cores(pids: list[int], seconds: float = MEASURED_S) -> float:
    """How many cores these processes use, over so long a time."""
    before, began = cpu_s(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pids) - before) / (time.monotonic() - began)


def greedy(product: Product, server: Server) -> subprocess.CompletedProcess[str]:
    """A program that takes twice its limit."""
    words = ["--enforce", "--mem", f"{LIMIT_MIB}M", "--job-type", "greedy"]
    return server.run("run", *words, "--", product.python, "-c", TAKE)


def ended(server: Server, job_type: str) -> dict[str, Any]:
    return next(dict(one) for one in server.status()["ended"] if one["job_type"] == job_type)


@check(
    "enforce.limits",
    f"`run --enforce --cpu 1` holds two burners to one core, `--mem {LIMIT_MIB}M` ends what takes {TAKEN_MIB} MiB, and says so; "
    "both hold over kill -9 of the server; turned off, the work runs, and whoever asked is told",
    command=f'leasehold run --enforce --mem {LIMIT_MIB}M -- python3 -c "x = bytearray({TAKEN_MIB} << 20)"',
    budget_s=180,
)
def limits(product: Product) -> str:
    """CPU by the burners' own clocks; what two burners use without a limit is measured beside it."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text("")
        with product.server(LEASEHOLD_PRESET="always", LEASEHOLD_CONFIG=str(config)) as server:
            found = {one["name"]: one for one in json.loads(server.run("doctor", "--json").stdout)}
            if found.get("limits", {}).get("state") != "ok":
                raise Skipped(
                    f"nothing can be limited here: {found.get('limits', found['low weight'])['what']}"
                )
            with burning(product, server, "--cpu", "1") as pids:
                # At low weight beside others' load they get little; a limit is seen where they get more.
                until(lambda: cores(pids, 2) >= 1.5 * FEW, CALM_S)
                free = cores(pids, MEASURED_S / 2)
            with burning(product, server, "--enforce", "--cpu", "1") as pids:
                one = cores(pids)
                expect(one <= MORE, f"two burners that are held to one core used {one:.2f}")
            few = held_to_few(product, server, free)
            why = memory(product, server)
            off = turned_off(product, server, config)
        return f"two burners: {free:.2f} cores freely, {one:.2f} held to one, {few}; {TAKEN_MIB} MiB: “{why}”; turned off: “{off}”"


def held_to_few(product: Product, server: Server, free: float) -> str:
    """Held to less than they get freely: with the server, without it, and under the next one."""
    if free < 1.5 * FEW:
        raise Skipped(f"the machine is too loaded to see a limit: two burners get {free:.2f} cores freely")
    with burning(product, server, "--enforce", "--cpu", f"{round(FEW * 1000)}m") as pids:
        held = cores(pids)
        server.kill()
        killed = cores(pids, MEASURED_S / 2)
        server.start()
        again = cores(pids, MEASURED_S / 2)
    figures = f"{held:.2f} held to {FEW}, {killed:.2f} without a server, {again:.2f} under the next"
    expect(max(held, killed, again) <= FEW * MORE, figures)
    return figures


def memory(product: Product, server: Server) -> str:
    """Killed, and told on standard error and in the lease."""
    done = greedy(product, server)
    expect(done.returncode == 137 and not done.stdout, f"{done.returncode}: {done.stdout}{done.stderr}")
    expect(f"memory limit of {LIMIT_MIB} MiB" in done.stderr, f"run said: {done.stderr}")
    reason = str(ended(server, "greedy")["end_reason"])
    expect(f"memory limit of {LIMIT_MIB} MiB" in reason, f"the lease ended with: {reason}")
    return done.stderr.strip().removeprefix("leasehold: ")


def turned_off(product: Product, server: Server, config: Path) -> str:
    """The owner turns limits off while the server runs: the same program has its memory, and is told."""
    config.write_text('[lease]\nenforce = "off"\n')
    os.kill(server.pid, signal.SIGHUP)
    asked = ["why", "--enforce", "--cpu", "1", "--", "x"]
    expect(until(lambda: OFF in server.run(*asked).stdout, 10, 0.2) is not None, "the setting is not read")
    done = greedy(product, server)
    expect(done.returncode == 0 and done.stdout == "had it\n", f"{done.returncode}: {done.stderr}")
    expect(OFF in done.stderr, f"run said: {done.stderr!r}")
    return done.stderr.strip().removeprefix("leasehold: ")
