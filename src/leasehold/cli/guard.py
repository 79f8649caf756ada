"""`leasehold guard`: software that never heard of Leasehold, and gives way (LEASE-26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.guard import GuardOut

HEAD = ("TARGET", "STATE", "ON BUSY", "UNITS", "MEMORY", "NOTE")
WAYS = ("keep", "throttle", "pause", "stop")


def register(app: typer.Typer) -> None:
    @app.command("guard")
    @verb
    def guard(
        session: Session,
        target: Annotated[
            str,
            typer.Argument(metavar="[docker:NAME | unit:NAME | cgroup:/PATH | pid:N]", show_default=False),
        ] = "",
        on_busy: Annotated[
            str,
            typer.Option(
                "--on-busy",
                metavar="|".join(WAYS),
                help="how it gives way; `stop` is for what can be started again: containers and units",
            ),
        ] = "keep",
        cost: Annotated[
            int, typer.Option("--cost", metavar="UNITS", help="above which `why` complains", min=0, max=100)
        ] = 0,
        note: Annotated[str, typer.Option("--note", metavar="TEXT", help="why, for others to read")] = "",
        remove: Annotated[
            bool, typer.Option("--remove", help="guard it no more; it goes on as it was before")
        ] = False,
    ) -> int:
        """Have software that runs by itself give way when the machine is needed. Without a target: what is
        guarded.
        """
        if not target:
            if remove:
                raise Failed(exits.USAGE, "--remove needs a target; `leasehold guard` lists what is guarded")
            return _list(session)
        if remove:
            return _remove(session, target)
        if on_busy not in WAYS:
            raise Failed(exits.USAGE, f"--on-busy: {on_busy} is none of {', '.join(WAYS)}")
        return _guard(session, target, on_busy, cost, note)


def _guard(session: Session, target: str, on_busy: str, cost: int, note: str) -> int:
    import msgspec

    from leasehold.client import calls
    from leasehold.wire.guard import GuardIn

    try:
        document = {"target": target, "on_busy": on_busy, "cost_units": cost or None, "note": note}
        body = msgspec.convert(document, GuardIn)
    except msgspec.ValidationError:
        raise Failed(
            exits.USAGE, f"{target} is no target; expected docker:NAME, unit:NAME, cgroup:/PATH or pid:N"
        ) from None
    if session.dry_run:
        session.out.text(f"would guard {target} (--on-busy {on_busy})")
        return exits.DONE
    found = session.client.send(calls.GUARD, body)
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([found.lease_id])
    else:
        now = "it runs" if found.running else "it does not run now, and is guarded as soon as it does"
        session.out.text(f"{found.target} is guarded (--on-busy {found.on_busy}): {now}")
    return exits.DONE


def _remove(session: Session, target: str) -> int:
    from leasehold.client import calls

    known = session.client.send(calls.GUARDS).guards
    found = [
        each for each in known if target in (each.target, each.lease_id, each.target.removesuffix(".service"))
    ]
    if not found:
        raise Failed(exits.NOT_FOUND, f"{target} is not guarded; `leasehold guard` lists what is")
    if session.dry_run:
        session.out.text(f"would guard {found[0].target} no more")
        return exits.DONE
    session.client.send(calls.REMOVE_GUARD, path={"lease_id": found[0].lease_id})
    session.say(f"{found[0].target} is guarded no more; it goes on as it was before")
    return exits.DONE


def _list(session: Session) -> int:
    from leasehold.client import calls

    found = session.client.send(calls.GUARDS).guards
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids([each.lease_id for each in found])
    else:
        nothing = "nothing is guarded; `leasehold guard docker:NAME --on-busy pause` guards a container"
        session.out.table(HEAD, [_row(each) for each in found], nothing=nothing)
    return exits.DONE


def _row(found: GuardOut) -> tuple[object, ...]:
    state = "held back" if found.held_back else "runs" if found.running else "does not run"
    memory = f"{found.memory_bytes / (1 << 20):.0f} MiB" if found.running else ""
    units = f"{found.used_units} of {found.cost_units}" if found.cost_units else str(found.used_units)
    said = "; ".join(filter(None, (found.problem, found.complaint, found.held_back, found.note)))
    return found.target, state, found.on_busy, units, memory, said
