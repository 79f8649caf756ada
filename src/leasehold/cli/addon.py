"""`leasehold addon`: the programs that are registered, and how they are (SENSE-5, 21)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Session, verb

if TYPE_CHECKING:
    from leasehold.wire.addon import AddonOut, AddonStatsSnapshot

Id = Annotated[str, typer.Argument(metavar="ID", help="the name in which it asks for leases")]
HEAD = ("ADDON", "STATE", "VERSION", "ADDRESS", "PROBLEM")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Programs that are registered as add-ons: allowed or not, and how they are.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    _register_looking(group)
    _register_changing(group)
    app.add_typer(group, name="addon")


def _register_looking(group: typer.Typer) -> None:
    @group.command("list")
    @verb
    def list_addons(session: Session) -> int:
        """All add-ons, whether each answers, and what is wrong with it."""
        from leasehold.client import calls

        found = session.client.send(calls.ADDONS).addons
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([addon.id for addon in found])
        else:
            session.out.table(HEAD, [_row(addon) for addon in found], nothing="no add-ons")
        return exits.DONE

    @group.command("show")
    @verb
    def show_addon(session: Session, addon_id: Id) -> int:
        """One add-on with its health, folder and figures."""
        from leasehold.client import calls

        found = session.client.send(calls.ADDON, path={"addon_id": addon_id})
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([found.id])
        else:
            session.out.pairs(_pairs(found))
        return exits.DONE


def _register_changing(group: typer.Typer) -> None:
    @group.command("add")
    @verb
    def add_addon(
        session: Session,
        addon_id: Id,
        name: Annotated[str, typer.Option("--name", metavar="TEXT", help="what people call it")] = "",
        version: Annotated[str, typer.Option("--version", metavar="TEXT", help="its version")] = "",
        base_url: Annotated[
            str, typer.Option("--url", metavar="URL", help="where it answers, like http://127.0.0.1:8000")
        ] = "",
        runtime_dir: Annotated[
            str, typer.Option("--dir", metavar="PATH", help="the folder that it works in; its size is shown")
        ] = "",
    ) -> int:
        """Register an add-on, or change what is known of it; without --url or --dir it has none."""
        from leasehold.client import calls
        from leasehold.wire.addon import AddonIn

        if session.dry_run:
            session.out.text(f"would register {addon_id}")
            return exits.DONE
        body = AddonIn(addon_id, name, version, base_url or None, runtime_dir or None)
        _tell(session, session.client.send(calls.REGISTER_ADDON, body))
        return exits.DONE

    @group.command("enable")
    @verb
    def enable_addon(session: Session, addon_id: Id) -> int:
        """Let an add-on ask for leases again."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would enable {addon_id}")
            return exits.DONE
        _tell(session, session.client.send(calls.ENABLE_ADDON, path={"addon_id": addon_id}))
        return exits.DONE

    @group.command("disable")
    @verb
    def disable_addon(session: Session, addon_id: Id) -> int:
        """Give an add-on no new lease, and take no figures from it. What it holds it keeps."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would disable {addon_id}")
            return exits.DONE
        _tell(session, session.client.send(calls.DISABLE_ADDON, path={"addon_id": addon_id}))
        return exits.DONE

    @group.command("remove")
    @verb
    def remove_addon(session: Session, addon_id: Id) -> int:
        """Forget an add-on; its history stays as long as all history does."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would remove {addon_id}")
            return exits.DONE
        session.client.send(calls.REMOVE_ADDON, path={"addon_id": addon_id})
        session.say(f"{addon_id} is removed")
        return exits.DONE


def _state(addon: AddonOut) -> str:
    """`installed` is the word for programs; people want to read that it was switched off."""
    return addon.lifecycle if addon.enabled else "disabled"


def _row(addon: AddonOut) -> tuple[object, ...]:
    return addon.id, _state(addon), addon.version, addon.base_url or "", addon.error or ""


def _tell(session: Session, found: AddonOut) -> None:
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([found.id])
    else:
        session.out.table(HEAD, [_row(found)])


def _pairs(addon: AddonOut) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("add-on", addon.id if addon.name == addon.id else f"{addon.id} ({addon.name})"),
        ("state", _state(addon)),
        ("version", addon.version),
        ("address", addon.base_url),
        ("folder", addon.runtime_dir),
        ("registered", f"{addon.registered_at} by {addon.by}"),
    ]
    return rows if addon.stats is None else rows + _figures(addon.stats)


def _figures(stats: AddonStatsSnapshot) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if stats.folder is not None:
        folder = stats.folder
        note = f" ({folder.note})" if folder.note else ""
        rows.append(("size", f"{folder.bytes / (1 << 20):.1f} MiB in {folder.entries} entries{note}"))
    health = stats.health
    answered = f"last answered {health.last_ok}" if health.last_ok else "has not answered yet"
    rows.append(("health", f"{health.status}, {answered}"))
    if stats.requests is not None:
        figures = stats.requests
        known = (
            ("rps", figures.rps),
            ("in flight", figures.in_flight),
            ("p95 ms", figures.p95_ms),
            ("failed %", figures.error_pct),
        )
        said = ", ".join(f"{name} {value:g}" for name, value in known if value is not None)
        rows.append(("requests", said + ("" if stats.requests_count else " (too old to count)")))
    if bytes(stats.custom) not in (b"null", b"{}"):
        rows.append(("custom", bytes(stats.custom).decode()))
    rows += [("problem", sentence) for _, sentence in sorted(stats.errors.items())]
    return rows
