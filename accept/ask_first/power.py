"""Power loss under the installed program, and the order of its flushes and answers."""

from __future__ import annotations

import time

from accept.ask_first.faults import Load
from accept.harness import check, expect
from accept.product import Product, Server
from accept.recorded import recorded, traced
from leasehold.testing import flush_order
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


def loaded_and_killed(server: Server) -> None:
    """A load, a kill, a recovery and a load."""
    loaded(server, 1)
    server.kill()
    server.start()
    loaded(server, 2)


@check(
    "fault.power_loss",
    "Power loss at 200 points under load: no acknowledged grant lost or doubled, tokens only grow, no answer "
    "before its flush",
    command="LD_PRELOAD=lost_writes.so leasehold up --foreground",
    budget_s=120,
)
def power_loss_under_load(product: Product) -> str:
    """One record over a load, a kill, a recovery and a load; the disk rebuilt at each point, two ways."""
    with recorded(product, loaded_and_killed) as (ops, data, images):
        wrong, told = power_failures(ops, data, images, Told(), points=POINTS, seed=3)
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
    with traced(product, lambda server: loaded(server, 1)) as steps:
        verdict = flush_order.judge(steps, STORED, GRANTED)
    expect(not verdict.early, f"{len(verdict.early)} times: {'; '.join(verdict.early[:3])}")
    expect(verdict.judged > 20, f"only {verdict.judged} grants were seen")
    return f"{verdict.judged} grants, each written and flushed before it was told"
