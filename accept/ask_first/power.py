"""Power loss under the installed program, and the order of its flushes and answers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from accept.ask_first.faults import Load
from accept.harness import Skipped, check, expect
from accept.product import Product, Server
from leasehold.testing import flush_order, power_loss
from leasehold.testing.told import GRANTED, STORED, Told, power_failures

POINTS = 240
CLIENTS = 6
LOADED_S = 1.5


def loaded(server: Server, seed: int) -> None:
    """Clients ask, renew and release for a while."""
    loads = [Load(server, seed * CLIENTS + number) for number in range(CLIENTS)]
    for load in loads:
        load.start()
    time.sleep(LOADED_S)
    for load in loads:
        load.going = False
    for load in loads:
        load.join(10)
        expect(not load.errors, f"undocumented answers under load: {load.errors[:2]}")


@check(
    "fault.power_loss",
    "Power loss at 200 points under load: no acknowledged grant lost or doubled, tokens only grow, no answer "
    "before its flush",
    command="LD_PRELOAD=lost_writes.so leasehold up --foreground",
    budget_s=120,
)
def power_loss_under_load(product: Product) -> str:
    """One record over a load, a kill, a recovery and a load; the disk rebuilt at each point, two ways."""
    if shutil.which("cc") is None:
        raise Skipped("no C compiler: the recording library can't be built")
    with tempfile.TemporaryDirectory(prefix="leasehold-power-") as name:
        folder = Path(name).resolve()
        data, log = folder / "data", folder / "log"
        data.mkdir(mode=0o700)
        recording = power_loss.environment(power_loss.build(folder), data, log)
        preload = recording.pop("LD_PRELOAD")
        with product.server(preload=preload, data=data, **recording) as server:
            loaded(server, 1)
            server.kill()
            server.start()
            loaded(server, 2)
        ops = list(power_loss.recorded(log))
        wrong, told = power_failures(ops, data, folder / "images", Told(), points=POINTS, seed=3)
        expect(not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")
        verdict = flush_order.judge(flush_order.from_record(ops), STORED, GRANTED)
        expect(not verdict.early, f"{len(verdict.early)} times: {'; '.join(verdict.early[:3])}")
        expect(len(told.granted) > 50, f"only {len(told.granted)} grants were acknowledged")
        return (
            f"{POINTS} points: none of {len(told.granted)} grants and {len(told.released)} releases lost or "
            f"doubled; {verdict.judged} grants told after their flush"
        )


@check(
    "fault.flush_order",
    "A trace of system calls shows no answer before its flush",
    command="strace -f leasehold up --foreground",
    budget_s=60,
)
def flush_before_answer(product: Product) -> str:
    """The same look through strace's eyes."""
    if shutil.which("strace") is None:
        raise Skipped("strace is not installed")
    with tempfile.TemporaryDirectory(prefix="leasehold-trace-") as name:
        folder = Path(name).resolve()
        data, trace = folder / "data", folder / "trace"
        with product.server(data=data) as server:
            attached = [
                flush_order.STRACE[0],
                "-p",
                str(server.pid),
                "-o",
                str(trace),
                *flush_order.STRACE[1:],
            ]
            with subprocess.Popen(attached, stderr=subprocess.PIPE, text=True) as tracer:
                assert tracer.stderr is not None
                said = tracer.stderr.readline()
                if "attached" not in said:
                    raise Skipped(f"this machine lets nothing be traced: {said.strip()}")
                loaded(server, 1)
                tracer.terminate()
        with trace.open() as lines:
            verdict = flush_order.judge(flush_order.from_strace(lines, data), STORED, GRANTED)
        expect(not verdict.early, f"{len(verdict.early)} times: {'; '.join(verdict.early[:3])}")
        expect(verdict.judged > 20, f"only {verdict.judged} grants were seen")
        return f"{verdict.judged} grants, each written and flushed before it was told"
