"""`leasehold status`: the headline, what runs, what waits; `--check` for scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.wire.lease import SchedulerStatus


def register(app: typer.Typer) -> None:
    @app.command("status")
    @verb
    def status(
        session: Session,
        check: Annotated[
            bool, typer.Option("--check", help="say nothing; exit 0 if heavy work may start now, else 1")
        ] = False,
        ended: Annotated[bool, typer.Option("--ended", help="also list what ended lately")] = False,
    ) -> int:
        """May heavy work run now? Who holds what, and who waits."""
        from leasehold.client import calls

        if check:
            return _check(session)
        found = session.client.send(calls.STATUS)
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([lease.lease_id for lease in found.active])
        else:
            _show(session, found, ended=ended)
        return exits.DONE


def _check(session: Session) -> int:
    """Whether a request of ordinary cost that waits for quiet would be granted now."""
    from leasehold.client import calls
    from leasehold.wire.lease import HeavyLeaseRequest

    answer = session.client.send(calls.EXPLAIN, HeavyLeaseRequest(cost_class="NORMAL"))
    if session.out.as_json:
        session.out.document(answer)
    return exits.DONE if answer.approved else exits.NO


def _show(session: Session, found: SchedulerStatus, *, ended: bool) -> None:
    from leasehold.cli import words
    from leasehold.cli.amounts import bytes_text

    out = session.out
    out.text(found.headline)
    for notice in found.notices:
        out.text(f"! {notice}")
    _alerts(session)
    score = "unknown" if found.quiet_score is None else f"{found.quiet_score} of 100"
    out.text(f"{out.state(found.quiet_state)}, score {score}, preset {found.preset}, node {found.node_id}")
    for reason in found.reasons:
        out.text(f"  {reason}")
    rows = []
    for name, size in found.capacity.items():
        text = bytes_text if name.endswith("_bytes") else _plain(name)
        noun = name.removesuffix("_bytes").removesuffix("_millicores")
        rows.append((noun, text(size.used), text(size.free), text(size.usable), text(size.total)))
    out.text("")
    out.table(("CAPACITY", "USED", "FREE", "USABLE", "TOTAL"), rows)
    if found.active:
        out.text("")
        out.table(words.LEASE_HEAD, [words.lease_row(lease) for lease in found.active])
    if found.waiting:
        out.text("")
        out.table(words.WAITER_HEAD, [words.waiter_row(waiter) for waiter in found.waiting])
    _queue(session)
    if ended and found.ended:
        out.text("")
        out.table(words.LEASE_HEAD, [words.lease_row(lease) for lease in found.ended])


def _alerts(session: Session) -> None:
    """What is wrong, in a line, where the caller may see it."""
    from leasehold.cli.alert_words import line
    from leasehold.client import calls
    from leasehold.model.errors import LeaseholdError

    try:
        said = line(session.client.send(calls.ALERTS))
    except LeaseholdError:
        return
    if said:
        session.out.text(f"! {said}")


def _queue(session: Session) -> None:
    """The queue in a line, where there are jobs and the caller may see them."""
    from leasehold.client import calls
    from leasehold.model.errors import LeaseholdError

    try:
        stats = session.client.send(calls.QUEUE_STATS)
    except LeaseholdError:
        return
    if stats.states:
        counts = ", ".join(f"{count:,} {state}" for state, count in stats.states.items())
        session.out.text("")
        session.out.text(f"queue: {counts} (`leasehold queue` lists them)")


def _plain(name: str) -> Callable[[int], str]:
    return (lambda count: f"{count / 1000:g} cores") if name.endswith("_millicores") else str
