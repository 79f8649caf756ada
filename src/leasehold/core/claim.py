"""Which jobs a worker takes under its session's lease: a dispatch to that worker (QUEUE-4, LEASE-27).

No capacity is judged and nothing is charged to the node: the session's lease was, and stands. The order is
that of all dispatches, and its tags are charged as they charge them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from leasehold.core.branch import Row, Standing
from leasehold.core.dispatch import OF_THE_NODE, Gate
from leasehold.core.line import Line
from leasehold.core.order import Flows
from leasehold.core.walk import Walk
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask
from leasehold.model.line import Flow
from leasehold.model.settings import LineSettings

Entry = TypeVar("Entry", bound=Standing)


PASSED_MAX = 4_096
"""How many entries that the session's lease does not hold are passed over in one claim, within their rows."""


def under_session(
    line: Line[Entry],
    flows: Flows,
    settings: LineSettings,
    now_ms: int,
    cost: Callable[[Charge], int],
    suits: Callable[[Entry], bool],
    gate: Gate[Entry],
    limit: int,
    *,
    holds: Callable[[Ask], bool] | None = None,
    bytes_of: Callable[[Entry], int] | None = None,
    bytes_max: int = 0,
) -> tuple[list[Entry], list[Flow]]:
    """Up to `limit` entries in the order of their turns, and the flows that they change.

    `cost` is what a charge counts for in the order. `suits` and `gate` are asked once for each row, by its
    first entry: `suits` whether the worker does this kind for this holder at all (never where there is no
    kind, so that no request for a lease is claimed), `gate` what keeps such entries from starting. `holds`
    tells, once for each ask, whether the session's lease is enough for it: who asks for more is passed over
    alone. Where `bytes_of` is given, what is taken has at most `bytes_max` together, or is one. A claim that
    takes nothing changes nothing.
    """
    walk = line.walk(flows, settings, now_ms, cost)
    taken: list[Entry] = []
    judged: set[Row] = set()
    held: dict[Ask, bool] = {}
    passed = size = 0
    while len(taken) < limit:
        entry = walk.next()
        if entry is None:
            break
        row = walk.row
        if row not in judged:
            if not _may_be_taken(walk, entry, suits, gate):
                continue
            judged.add(row)
        if holds is None or _is_enough(holds, entry.ask, held):
            size += bytes_of(entry) if bytes_of is not None else 0
            if size > bytes_max and bytes_of is not None and taken:
                break
            walk.take()
            taken.append(entry)
            continue
        passed += 1
        if passed > PASSED_MAX:
            walk.skip_row()
        else:
            walk.pass_over()
    return taken, walk.flows()


def _may_be_taken(walk: Walk[Entry], entry: Entry, suits: Callable[[Entry], bool], gate: Gate[Entry]) -> bool:
    """Whether entries of the row that is shown may be taken; where not, the walk is told."""
    if not entry.kind or not suits(entry):
        walk.skip_row()
        return False
    reason = gate(entry)
    if reason is None:
        return True
    if reason.code in OF_THE_NODE:
        walk.drop_shape()
    else:
        walk.skip_row()
    return False


def _is_enough(holds: Callable[[Ask], bool], ask: Ask, held: dict[Ask, bool]) -> bool:
    known = held.get(ask)
    if known is None:
        known = held[ask] = holds(ask)
    return known


class Share:
    """Whether a job may run under a session that is charged so, beside as many of its like."""

    def __init__(self, charge: Charge, concurrency: int) -> None:
        self._charge = charge
        self._concurrency = concurrency
        self._known: dict[Charge, bool] = {}

    def __call__(self, ask: Ask) -> bool:
        charge = ask.charge
        known = self._known.get(charge)
        if known is None:
            all_of, times = self._charge, self._concurrency
            known = self._known[charge] = (
                charge.units * times <= all_of.units
                and charge.cpu_millicores * times <= (all_of.cpu_millicores or charge.cpu_millicores * times)
                and charge.memory_bytes * times <= all_of.memory_bytes
                and charge.disk_bytes * times <= all_of.disk_bytes
                and not charge.named
            )
        return known
