"""`leasehold costs`: what work asked, what it really used, and what to ask next time (LEASE-15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.wire.cost import AskedOut, LearnedCost, QuantilesOut

HEAD = ("HOLDER", "JOB TYPE", "MEASURED", "ASKED", "CORES", "MEMORY", "TIME", "SUGGESTED")


def register(app: typer.Typer) -> None:
    @app.command("costs")
    @verb
    def costs(
        session: Session,
        holder: Annotated[str, typer.Argument(metavar="[HOLDER]", help="only this holder's work")] = "",
        job_type: Annotated[str, typer.Option("--job-type", metavar="TYPE", help="only this kind")] = "",
        limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="at most so many rows")] = 200,
    ) -> int:
        """Show what each kind of work asked and used: median / 95th percentile / peak, and a better cost."""
        from leasehold.client import calls

        query = {"holder": holder or None, "job_type": job_type or None, "limit": limit}
        found = session.client.send(calls.COSTS, query=query)
        if session.out.as_json:
            session.out.document(found)
            return exits.DONE
        session.out.table(HEAD, [_row(one) for one in found.costs])
        if not found.costs:
            session.say("nothing has been measured to its end yet")
        if found.more:
            session.say("there is more: name a holder, or --job-type")
        return exits.DONE


def _row(one: LearnedCost) -> tuple[object, ...]:
    from leasehold.cli.amounts import bytes_text, spell

    return (
        one.holder,
        one.job_type,
        one.leases,
        _asked(one.asked),
        _three(one.cpu_millicores, lambda value: f"{value / 1000:.2g}"),
        _three(one.memory_bytes, lambda value: bytes_text(int(value)) if value else "-"),
        _three(one.duration_sec, spell),
        "-" if one.suggested_cost_units is None else f"{one.suggested_cost_units} units",
    )


def _asked(asked: AskedOut | None) -> str:
    from leasehold.cli.amounts import bytes_text

    if asked is None:
        return "-"
    parts = [f"{asked.cost_units} units"] if asked.cost_units else []
    if asked.cpu_millicores:
        parts.append(f"{asked.cpu_millicores / 1000:g} cores")
    if asked.memory_bytes:
        parts.append(bytes_text(asked.memory_bytes))
    return ", ".join(parts) or "-"


def _three(found: QuantilesOut, said: Callable[[float], str]) -> str:
    return " / ".join(said(value) for value in (found.p50, found.p95, found.peak))
