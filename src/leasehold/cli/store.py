"""`leasehold store`: what is stored takes, and giving room back (OPS-16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import bytes_text
from leasehold.cli.session import Session, verb
from leasehold.cli.storage_care import care_of

if TYPE_CHECKING:
    from leasehold.wire.storage import CareOut, StorageOut

HEAD = ("WHEN", "WHAT", "OUTCOME", "SIZE", "BY", "DETAIL")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What is stored, and its care.", no_args_is_help=True, rich_markup_mode=None)

    @group.command("show")
    @verb
    def show_store(session: Session) -> int:
        """What the store takes, how fragmented it is, the last backup, and what was done for it."""
        found = care_of(session).report()
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.run_id for one in found.runs])
        else:
            _show(session, found)
        return exits.DONE

    @group.command("compact")
    @verb
    def compact_store(session: Session) -> int:
        """Give back room that nothing uses: in slices on a running server, at once on a stopped one."""
        care = care_of(session)
        if session.dry_run:
            session.out.text("would compact the store, after a backup where a server runs")
            return exits.DONE
        given = care.compact()
        if session.out.as_json:
            session.out.document({"bytes": given})
        else:
            session.say(f"{bytes_text(given) if given else 'nothing'} was given back")
        return exits.DONE

    app.add_typer(group, name="store")


def _show(session: Session, found: StorageOut) -> None:
    good = found.last_good_backup
    session.out.pairs(
        [
            ("store", bytes_text(found.file_bytes)),
            ("holds nothing", f"{found.fragmentation:.0%}"),
            ("journal", bytes_text(found.journal_bytes)),
            ("measurements", bytes_text(found.samples_bytes)),
            ("free on the disk", bytes_text(found.disk_free_bytes)),
            ("read-only", found.read_only),
            ("last good backup", f"{good.backup_id} ({good.made_at})" if good is not None else "none yet"),
            (
                "last failure",
                f"{found.last_failure.care}: {found.last_failure.why}" if found.last_failure else "",
            ),
            ("under way", found.running),
        ]
    )
    if not found.in_slices:
        session.say(
            "made by a version before: `leasehold store compact` on a stopped server makes it one that can "
            f"be compacted while it runs, in about {found.rewrite_sec:.0f} s"
        )
    if found.runs:
        session.out.text("")
        session.out.table(HEAD, [_row(one) for one in found.runs])


def _row(one: CareOut) -> tuple[object, ...]:
    size = bytes_text(one.bytes) if one.bytes else "-"
    detail = one.why or one.backup_id or one.kept
    return f"{one.ended_at[:19]}Z", one.care, one.outcome, size, one.by, detail
