"""`leasehold backup`: make, list, check, restore backups, of a running server or a stopped one (OPS-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import bytes_text, spell
from leasehold.cli.session import Failed, Session, verb
from leasehold.cli.storage_care import Care, care_of

if TYPE_CHECKING:
    from leasehold.wire.storage import BackupOut, Loss

HEAD = ("BACKUP", "HOLDS THE STATE OF", "AGE", "SIZE", "RECORDS", "BY", "STATE")
KINDS_SHOWN = 5

Id = Annotated[str, typer.Argument(metavar="BACKUP")]
MaybeId = Annotated[str, typer.Argument(metavar="[BACKUP]")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Backups of what is stored: made daily, proven, restored.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @group.command("list")
    @verb
    def list_backups(session: Session) -> int:
        """The backups that are there, newest first."""
        care = care_of(session)
        found = care.backups()
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.backup_id for one in found.backups if not one.problem])
        else:
            session.out.table(HEAD, [_row(one) for one in found.backups], nothing="no backup is there yet")
            for one in found.backups:
                if one.problem:
                    session.say(one.problem)
            session.say(f"kept in {found.folder}, {found.keep} of them")
        return exits.DONE

    @group.command("now")
    @verb
    def make_backup(session: Session) -> int:
        """Make a backup now: it is done once it has been restored on trial."""
        care = care_of(session)
        if session.dry_run:
            session.out.text(f"would make a backup in {care.backups().folder}")
            return exits.DONE
        _tell(session, care.make())
        return exits.DONE

    @group.command("check")
    @verb
    def check_backup(session: Session, backup: MaybeId = "") -> int:
        """Restore a backup on trial, the newest by default: every byte, every live record."""
        care = care_of(session)
        wanted = _by_id(care, backup) if backup else _newest(care)
        _tell(session, care.check(wanted.backup_id))
        session.say(f"{wanted.backup_id} is sound")
        return exits.DONE

    _register_restore(group)
    app.add_typer(group, name="backup")


def _register_restore(group: typer.Typer) -> None:
    @group.command("restore")
    @verb
    def restore_backup(
        session: Session,
        backup: MaybeId = "",
        to: Annotated[
            str,
            typer.Option(
                "--to", metavar="TIME", help="the newest one of then or before: yesterday, 2026-11-25, 3h ago"
            ),
        ] = "",
    ) -> int:
        """Put a backup in the place of what is stored now, which is kept beside it."""
        if bool(backup) == bool(to):
            raise Failed(exits.USAGE, "say which: a BACKUP of `leasehold backup list`, or --to yesterday")
        care = care_of(session)
        wanted = _by_id(care, backup) if backup else _of_then(care, to)
        if wanted.problem:
            raise Failed(exits.CONFLICT, wanted.problem)
        loss = care.loss(wanted.backup_id)
        lines = _about(wanted, loss)
        if session.dry_run:
            if session.out.as_json:
                session.out.document({"backup": wanted, "loss": loss})
            else:
                session.out.text(f"would restore {lines}")
            return exits.DONE
        session.confirm(f"Restore {lines}?")
        kept = care.restore(wanted.backup_id)
        if session.out.as_json:
            session.out.document({"backup": wanted, "loss": loss, "kept": kept})
            return exits.DONE
        session.out.text(wanted.backup_id)
        session.say(
            f"restored the state of {_when(wanted)}; what was there before is kept as {kept or 'nothing'}"
        )
        session.say(care.afterwards)
        return exits.DONE


def _by_id(care: Care, backup: str) -> BackupOut:
    """One by its id, or by enough of it to be the only one."""
    found = [
        one for one in care.backups().backups if one.backup_id.endswith(backup) or backup in one.backup_id
    ]
    exact = [one for one in found if one.backup_id == backup]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise Failed(exits.NOT_FOUND, f"there is no backup {backup}; `leasehold backup list` shows all")
    raise Failed(
        exits.USAGE, f"{backup} may be {', '.join(one.backup_id for one in found[:5])}; say more of it"
    )


def _usable(care: Care) -> list[BackupOut]:
    found = [one for one in care.backups().backups if not one.problem]
    if not found:
        raise Failed(
            exits.NOT_FOUND, "there is no backup that can be used; `leasehold backup list` shows all"
        )
    return found


def _newest(care: Care) -> BackupOut:
    return _usable(care)[0]


def _of_then(care: Care, to: str) -> BackupOut:
    from leasehold.cli.past import latest_of
    from leasehold.runtime.clock import local_now

    try:
        then = latest_of(to, local_now())
    except ValueError as error:
        raise Failed(exits.USAGE, f"--to: {error}") from None
    limit = then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = _usable(care)
    before = [one for one in found if (one.made_at or "") <= limit]
    if not before:
        oldest = min(found, key=lambda one: one.made_at or "")
        raise Failed(
            exits.NOT_FOUND,
            f"--to: no backup is that old; the oldest is {oldest.backup_id} of {_when(oldest)}",
        )
    return max(before, key=lambda one: one.made_at or "")


def _when(one: BackupOut) -> str:
    from datetime import datetime

    if one.made_at is None:
        return "-"
    return f"{datetime.fromisoformat(one.made_at).astimezone():%Y-%m-%d %H:%M}"


def _age(one: BackupOut) -> str:
    from datetime import datetime

    from leasehold.runtime.clock import local_now

    if one.made_at is None:
        return "-"
    return spell(max(0.0, (local_now() - datetime.fromisoformat(one.made_at)).total_seconds()))


def _row(one: BackupOut) -> tuple[object, ...]:
    if one.problem:
        return one.backup_id, "-", "-", "-", "-", "-", "bad"
    state = "ok" if not one.unreadable else f"{one.unreadable} unreadable"
    return one.backup_id, _when(one), _age(one), bytes_text(one.bytes), one.records, one.reason, state


def _about(one: BackupOut, loss: Loss | None) -> str:
    """What a restore brings back, and what it takes."""
    told = f"{one.backup_id}, the state of {_when(one)} ({_age(one)} ago)"
    if loss is None:
        return f"{told}; what was written since can't be told"
    if not loss.events:
        return f"{told}; nothing was written since"
    kinds = ", ".join(f"{kind} {count}" for kind, count in list(loss.by_kind.items())[:KINDS_SHOWN])
    told += f"; {loss.events} event(s) since then are taken back ({kinds})"
    if loss.runs_again:
        told += f"; {loss.runs_again} job(s) that wait in it have ended since, and would run again"
    return told


def _tell(session: Session, one: BackupOut) -> None:
    if session.out.as_json:
        session.out.document(one)
    elif session.out.quiet:
        session.out.ids([one.backup_id])
    else:
        session.out.pairs(
            [
                ("backup", one.backup_id),
                ("holds the state of", _when(one)),
                ("size", bytes_text(one.bytes)),
                ("records", one.records),
                ("proven", one.proven_at),
                ("unreadable", one.unreadable or ""),
            ]
        )
