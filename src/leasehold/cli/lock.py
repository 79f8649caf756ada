"""`leasehold lock`: named locks and counted semaphores (LEASE-21)."""

from __future__ import annotations

from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Named locks and counted semaphores.", no_args_is_help=True, rich_markup_mode=None
    )

    @group.command("list")
    @verb
    def list_locks(session: Session) -> int:
        """All locks: their size, who holds them, how many wait."""
        return show_locks(session, "", 1000)

    @group.command("set")
    @verb
    def set_lock(
        session: Session,
        name: str,
        size: Annotated[int, typer.Argument(min=1, max=100_000, help="how many may hold it at once")],
    ) -> int:
        """Set how many may hold a lock at once; 1 makes it exclusive."""
        from leasehold.client import calls
        from leasehold.wire.lock import LockSize

        if session.dry_run:
            session.out.text(f"would set {name} to {size}")
            return exits.DONE
        found = session.client.send(calls.SET_LOCK, LockSize(size=size), path={"name": name})
        if session.out.as_json:
            session.out.document(found)
        else:
            held = f": {found.held} of {found.size} held"
            session.out.text(found.name if session.out.quiet else f"{found.name}{held}")
        return exits.DONE

    @group.command("delete")
    @verb
    def delete_lock(session: Session, name: str) -> int:
        """Forget a lock that nobody holds or waits for."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would delete {name}")
            return exits.DONE
        session.client.send(calls.DELETE_LOCK, path={"name": name})
        session.say(f"{name} is deleted")
        return exits.DONE

    app.add_typer(group, name="lock")


def show_locks(session: Session, text: str, limit: int, only: str = "") -> int:
    """List locks with `text` in their name or holders; `only` is the name of a single one, which must
    exist.
    """
    from leasehold.client import calls

    found = session.client.send(calls.LOCKS).locks
    if only:
        found = [lock for lock in found if lock.name == only]
        if not found:
            raise Failed(
                exits.NOT_FOUND,
                f"there is no lock {only}, and no id begins like that; see `leasehold lock list`",
            )
    rows = []
    for lock in found:
        holders = ", ".join(f"{held.job_type} ({held.holder})" for held in lock.holders)
        if text in f"{lock.name} {holders}":
            rows.append((lock, (lock.name, lock.size, lock.held, lock.waiting, holders)))
    del rows[limit:]
    if session.out.as_json:
        session.out.document([lock for lock, _ in rows])
    elif session.out.quiet:
        session.out.ids([lock.name for lock, _ in rows])
    else:
        session.out.table(
            ("LOCK", "SIZE", "HELD", "WAITING", "HOLDERS"), [row for _, row in rows], nothing="no locks"
        )
    return exits.DONE
