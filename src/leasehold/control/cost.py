"""Costs as they were measured, beside what was asked (LEASE-15)."""

from __future__ import annotations

from leasehold.core import learn
from leasehold.core.state import State
from leasehold.model.charge import Totals
from leasehold.model.learned import NOTHING_ASKED, Asked, Learned, Sketch
from leasehold.wire import cost as wire


def costs(state: State, totals: Totals, holder: str, job_type: str, limit: int) -> wire.Costs:
    """Of this holder and job type, "" for any, by name."""
    found = sorted(
        (one.holder, one.job_type)
        for one in state.learned.values()
        if one.count and holder in ("", one.holder) and job_type in ("", one.job_type)
    )
    shown = [state.learned[f"{key[0]}/{key[1]}"] for key in found[:limit]]
    return wire.Costs([_cost(one, totals) for one in shown], len(found) > limit)


def _cost(one: Learned, totals: Totals) -> wire.LearnedCost:
    out = wire.LearnedCost(
        one.holder,
        one.job_type,
        one.count,
        _quantiles(one.cpu_millicores),
        _quantiles(one.memory_bytes),
        _quantiles(one.duration_ms, 1_000),
        _asked(one.asked) if one.asked != NOTHING_ASKED else None,
    )
    suggestion = learn.suggest(one, totals)
    if suggestion is None:
        out.note = f"{one.count} of the {learn.ENOUGH} that have to end before a cost is suggested"
    else:
        out.suggested_cost_units = suggestion.cost_units
    return out


def _asked(asked: Asked) -> wire.AskedOut:
    return wire.AskedOut(asked.units, asked.cpu_millicores, asked.memory_bytes, asked.expected_ms / 1000)


def _quantiles(sketch: Sketch, divisor: int = 1) -> wire.QuantilesOut:
    p50, p95 = learn.quantile(sketch, 50), learn.quantile(sketch, 95)
    return wire.QuantilesOut(p50 / divisor, p95 / divisor, sketch.peak / divisor)
