"""`leasehold tenant`: who shares the machine, by which weight, and how much of it at most (OPS-7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import bytes_text, millicores, size
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.tenant import TenantOut, Use

HEAD = ("TENANT", "WEIGHT", "UNITS", "CORES", "MEMORY", "LEASES", "JOBS", "PAYLOADS", "WAITING")
NONE = "none"

Name = Annotated[str, typer.Argument(metavar="TENANT")]


def _quota(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=f"{what}; `{NONE}` lifts it")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Who shares the machine: weights and quotas.", no_args_is_help=True, rich_markup_mode=None
    )

    @group.command("list")
    @verb
    def list_tenants(session: Session) -> int:
        """All tenants: what each uses, of how much it may have."""
        from leasehold.client import calls

        found = session.client.send(calls.TENANTS).tenants
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.name for one in found])
        else:
            session.out.table(HEAD, [_row(one) for one in found])
        return exits.DONE

    @group.command("show")
    @verb
    def show_tenant(session: Session, name: Name) -> int:
        """One tenant: its weight, and each quota beside what is used of it."""
        from leasehold.client import calls

        _tell(session, session.client.send(calls.TENANT, path={"name": name}))
        return exits.DONE

    _register_set(group)

    @group.command("remove")
    @verb
    def remove_tenant(session: Session, name: Name) -> int:
        """Forget a tenant that nothing belongs to; of `default`, its weight and quotas."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would remove tenant {name}")
            return exits.DONE
        session.client.send(calls.REMOVE_TENANT, path={"name": name})
        session.say(f"tenant {name} is removed")
        return exits.DONE

    app.add_typer(group, name="tenant")


def _register_set(group: typer.Typer) -> None:
    @group.command("set")
    @verb
    def set_tenant(
        session: Session,
        name: Name,
        weight: Annotated[
            int, typer.Option("--weight", min=0, max=1_000, help="its share: 2 gets twice what 1 gets")
        ] = 0,
        units: Annotated[str, _quota("--units", "N", "most units that its leases may hold at once")] = "",
        cpu: Annotated[str, _quota("--cpu", "CORES", "most cores, like 4 or 2500m")] = "",
        memory: Annotated[str, _quota("--memory", "SIZE", "most memory, like 8G")] = "",
        leases: Annotated[str, _quota("--leases", "N", "most leases at once")] = "",
        jobs: Annotated[str, _quota("--jobs", "N", "most jobs in the queue, running ones counted")] = "",
        payload: Annotated[str, _quota("--payload", "SIZE", "most bytes of their payloads")] = "",
        note: Annotated[str, typer.Option("--note", metavar="TEXT", help="what it is")] = "",
    ) -> int:
        """Make a tenant, or change what is named; the rest stays, and so does what runs."""
        from leasehold.client import calls
        from leasehold.wire.tenant import TenantIn

        said: dict[str, Any] = {"weight": weight} if weight else {}
        said |= {"note": note} if note else {}
        for field, flag, typed, read in (
            ("units", "--units", units, int),
            ("cpu_millicores", "--cpu", cpu, millicores),
            ("memory_bytes", "--memory", memory, size),
            ("leases", "--leases", leases, int),
            ("jobs", "--jobs", jobs, int),
            ("payload_bytes", "--payload", payload, size),
        ):
            if typed:
                said[field] = _amount(flag, typed, read)
        if session.dry_run:
            words = ", ".join(f"{field} {NONE if value is None else value}" for field, value in said.items())
            session.out.text(f"would set tenant {name}: {words or 'nothing'}")
            return exits.DONE
        _tell(session, session.client.send(calls.SET_TENANT, TenantIn(**said), path={"name": name}))
        return exits.DONE


def _amount(flag: str, typed: str, read: Callable[[str], int]) -> int | None:
    if typed == NONE:
        return None
    if typed == "0":
        return 0
    try:
        value = read(typed)
    except ValueError as error:
        told = str(error) if read is not int else f"expected a whole number, or {NONE}, got {typed}"
        raise Failed(exits.USAGE, f"{flag}: {told}") from None
    if value < 0:
        raise Failed(exits.USAGE, f"{flag}: expected 0 or more, or {NONE}")
    return value


def _plain(value: int) -> str:
    return str(value)


def _cores(value: int) -> str:
    return f"{value / 1000:g}"


def _of(use: Use, shown: Callable[[int], str] = _plain) -> str:
    """`40/50`, or what is used alone where there is no quota."""
    used = shown(use.used) if use.used else "0"
    return used if use.quota is None else f"{used}/{shown(use.quota) if use.quota else '0'}"


def _row(one: TenantOut) -> tuple[object, ...]:
    return (
        one.name,
        one.weight,
        _of(one.units),
        _of(one.cpu_millicores, _cores),
        _of(one.memory_bytes, bytes_text),
        _of(one.leases),
        _of(one.jobs),
        _of(one.payload_bytes, bytes_text),
        one.waiting,
    )


def _tell(session: Session, one: TenantOut) -> None:
    if session.out.as_json:
        session.out.document(one)
        return
    if session.out.quiet:
        session.out.ids([one.name])
        return
    rows: list[tuple[str, object]] = [
        (head.lower(), value) for head, value in zip(HEAD, _row(one), strict=True)
    ]
    changed = f"{one.changed_at[:16]}Z by {one.changed_by}" if one.changed_at else ""
    session.out.pairs(
        [*rows, ("tokens", one.tokens), ("note", one.note), ("set", changed), ("problem", one.problem)]
    )
