"""`leasehold audit`: who changed or tried what, from where, and what came of it (OPS-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import duration
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.audit import AuditPage, CalledOut

PAGE = 1_000
HEAD = ("WHEN", "TIMES", "OUTCOME", "WHO", "BY", "FROM", "WHAT")


def register(app: typer.Typer) -> None:
    @app.command("audit")
    @verb
    def audit(
        session: Session,
        who: Annotated[
            str,
            typer.Option("--who", metavar="NAME", help="only this user, token or session"),
        ] = "",
        denied: Annotated[bool, typer.Option("--denied", help="only what was refused")] = False,
        since: Annotated[
            str, typer.Option("--since", metavar="TIME", help="how far back: 15m, 24h, 7d")
        ] = "",
        after: Annotated[int, typer.Option("--after", min=-1, help="all that is numbered above this")] = -1,
        limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="the last so many")] = 50,
    ) -> int:
        """Who changed or tried what, from where, by which credential, and what came of it.

        What was refused is counted per hour; changes have a line each.
        """
        asked = {"who": who or None, "outcome": "denied" if denied else None, "range": _range(since)}
        found = _after(session, asked, after, limit) if after >= 0 else _newest(session, asked, limit)
        return _show(session, found)


def _range(since: str) -> str | None:
    if not since:
        return None
    try:
        return f"{max(1, round(duration(since)))}s"
    except ValueError as error:
        raise Failed(exits.USAGE, f"--since: {error}") from None


def _newest(session: Session, asked: dict[str, str | None], limit: int) -> list[CalledOut]:
    found: list[CalledOut] = []
    before = None
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = _page(session, asked, limit=size, before=before)
        found = page.calls + found
        if len(page.calls) < size:
            break
        before = found[0].seq
    return found


def _after(session: Session, asked: dict[str, str | None], after: int, limit: int) -> list[CalledOut]:
    found: list[CalledOut] = []
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = _page(session, asked, limit=size, after=after)
        found += page.calls
        if page.next is None:
            break
        after = int(page.next)
    return found


def _page(session: Session, asked: dict[str, str | None], **numbers: int | None) -> AuditPage:
    from leasehold.client import calls

    page = session.client.send(calls.AUDIT, query={**asked, **numbers})
    if page.notice and not numbers.get("before"):
        session.say(page.notice)
    return page


def _show(session: Session, found: list[CalledOut]) -> int:
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([str(one.seq) for one in found])
    else:
        session.out.table(HEAD, [_row(one) for one in sorted(found, key=_at)], nothing="nothing of that kind")
    return exits.DONE


def _at(one: CalledOut) -> str:
    return one.at


def _row(one: CalledOut) -> tuple[object, ...]:
    outcome = one.outcome if one.outcome in ("done", "lost") else f"{one.outcome} {one.status}"
    note = f"({one.note})" if one.note else ""
    by = " ".join(filter(None, (one.credential, one.credential_id, note)))
    origin = " over ".join(dict.fromkeys(filter(None, (one.origin, one.listener))))
    return f"{one.at[:19]}Z", one.count, outcome, one.who, by, origin, _what(one)


def _what(one: CalledOut) -> str:
    """The route with the ids in their places, and what was made behind it."""
    what, rest = one.what, []
    for name, value in one.ids.items():
        place = f"{{{name}}}"
        if place in what:
            what = what.replace(place, value)
        else:
            rest.append(f"{name}={value}")
    return " ".join([what, *rest])
