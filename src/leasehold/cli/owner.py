"""`leasehold block | allow | pretend | window`: the owner's word, for a node or `gpu:0` (SENSE-20)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import duration
from leasehold.cli.session import Failed, Session, verb
from leasehold.runtime.clock import local_now

if TYPE_CHECKING:
    from leasehold.wire.owner import AdmissionOut, WindowOut

For = Annotated[str, typer.Option("--for", metavar="TIME", help="how long: 30m, 2h, 3d")]
Until = Annotated[
    str, typer.Option("--until", metavar="TIME", help="until when: 18:00, or 2026-12-24T18:00 (local time)")
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="why; it is shown to everyone who waits")]
Node = Annotated[str, typer.Option("--node", metavar="NAME", help="by default the server's own")]
Device = Annotated[str, typer.Argument(metavar="[DEVICE]", help="like gpu:0; the whole node without one")]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def register(app: typer.Typer) -> None:
    @app.command("block")
    @verb
    def block(
        session: Session,
        device: Device = "",
        for_: For = "",
        until: Until = "",
        note: Note = "",
        node: Node = "self",
    ) -> int:
        """Let nothing new start, for 8 hours where you don't say how long. What runs goes on."""
        return _say(session, "block", device, for_, until, note, node)

    @app.command("allow")
    @verb
    def allow(
        session: Session,
        device: Device = "",
        for_: For = "",
        until: Until = "",
        note: Note = "",
        node: Node = "self",
    ) -> int:
        """Take a block back; with --for or --until also lift the windows that block."""
        return _say(session, "allow", device, for_, until, note, node)

    @app.command("pretend")
    @verb
    def pretend(
        session: Session,
        state: Annotated[str, typer.Argument(metavar="busy|quiet|off", help="what to take the machine for")],
        for_: For = "",
        until: Until = "",
        note: Note = "",
        node: Node = "self",
    ) -> int:
        """Take the machine for busy or quiet, whatever is measured; for an hour where you don't say."""
        return _pretend(session, state, for_, until, note, node)

    _register_windows(app)


def _register_windows(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Times of the week at which new work is blocked, or more is allowed.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @group.command("list")
    @verb
    def list_windows(session: Session, node: Node = "self") -> int:
        """All windows, and whether each is open."""
        from leasehold.client import calls

        found = session.client.send(calls.WINDOWS, path={"node_id": node}).windows
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([window.wid for window in found])
        else:
            session.out.table(WINDOW_HEAD, [_row(window) for window in found], nothing="no windows")
        return exits.DONE

    @group.command("add")
    @verb
    def add_window(
        session: Session,
        effect: Annotated[str, typer.Argument(metavar="block|allow", help="what it does while it is open")],
        start: Annotated[str, typer.Option("--from", metavar="HH:MM", help="when it opens")],
        end: Annotated[
            str, typer.Option("--to", metavar="HH:MM", help="when it closes; the next day if not later")
        ],
        days: Annotated[
            str, typer.Option("--days", metavar="DAYS", help="mon-fri, sat,sun; every day without it")
        ] = "mon-sun",
        zone: Annotated[
            str, typer.Option("--zone", metavar="NAME", help="Europe/Berlin; by default the server's own")
        ] = "",
        only: Annotated[
            bool, typer.Option("--only", help="with allow: work that waits for quiet starts only then")
        ] = False,
        device: Annotated[str, typer.Option("--device", metavar="NAME", help="with block: gpu:0 alone")] = "",
        until: Until = "",
        note: Note = "",
        node: Node = "self",
    ) -> int:
        """Add a window, on the clocks of a zone, over daylight-saving changes too."""
        from leasehold.client import calls
        from leasehold.wire.owner import WindowIn

        body = WindowIn(
            effect=_one_of(effect, "block", "allow"),  # type: ignore[arg-type]
            start=_clock(start, "--from"),
            end=_clock(end, "--to"),
            days=days_of(days),  # type: ignore[arg-type]
            zone=zone or None,
            only=only,
            device=device or None,
            until=instant(until) if until else None,
            note=note,
        )
        if session.dry_run:
            session.out.text(f"would add a window: {effect} {days} {start} to {end}")
            return exits.DONE
        found = session.client.send(calls.ADD_WINDOW, body, path={"node_id": node})
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([found.wid])
        else:
            session.out.table(WINDOW_HEAD, [_row(found)])
        return exits.DONE

    @group.command("remove")
    @verb
    def remove_window(session: Session, wid: str, node: Node = "self") -> int:
        """Remove a window."""
        from leasehold.client import calls

        if session.dry_run:
            session.out.text(f"would remove {wid}")
            return exits.DONE
        session.client.send(calls.REMOVE_WINDOW, path={"node_id": node, "wid": wid})
        session.say(f"{wid} is removed")
        return exits.DONE

    app.add_typer(group, name="window")


WINDOW_HEAD = ("ID", "EFFECT", "DAYS", "FROM", "TO", "ZONE", "NOW", "CHANGES", "NOTES")


def _row(window: WindowOut) -> tuple[object, ...]:
    effect = window.effect + (" only" if window.only else "") + (f" {window.device}" if window.device else "")
    now = "open" if window.open else "closed"
    changes = local(window.changes_at) if window.changes_at else ""
    notes = "; ".join(
        one for one in (window.note, f"until {local(window.until)}" if window.until else "") if one
    )
    return (
        window.wid,
        effect,
        days_text(window.days),
        window.start,
        window.end,
        window.zone,
        now,
        changes,
        notes,
    )


def _say(
    session: Session,
    effect: Literal["block", "allow"],
    device: str,
    for_: str,
    until: str,
    note: str,
    node: str,
) -> int:
    from leasehold.client import calls
    from leasehold.wire.owner import AdmissionIn

    body = AdmissionIn(
        effect=effect,
        device=device or None,
        until=instant(until) if until else None,
        for_sec=_seconds(for_),
        note=note,
    )
    if session.dry_run:
        session.out.text(f"would {effect} {device or 'the node'}")
        return exits.DONE
    _tell(session, session.client.send(calls.SET_ADMISSION, body, path={"node_id": node}))
    return exits.DONE


def _pretend(session: Session, state: str, for_: str, until: str, note: str, node: str) -> int:
    from leasehold.client import calls
    from leasehold.wire.owner import PretendIn

    mood = _one_of(state, "busy", "quiet", "off")
    if session.dry_run:
        session.out.text(f"would pretend: {mood}")
        return exits.DONE
    if mood == "off":
        session.client.send(calls.STOP_PRETENDING, path={"node_id": node})
        session.say("the machine is taken for what is measured again")
        return exits.DONE
    body = PretendIn(
        state=mood,  # type: ignore[arg-type]
        until=instant(until) if until else None,
        for_sec=_seconds(for_),
        note=note,
    )
    _tell(session, session.client.send(calls.PRETEND, body, path={"node_id": node}))
    return exits.DONE


def _tell(session: Session, found: AdmissionOut) -> None:
    if session.out.as_json:
        session.out.document(found)
        return
    if session.out.quiet:
        return
    for sentence in found.reasons:
        session.out.text(sentence)
    if not found.reasons:
        session.out.text(f"{found.node_id}: new work may start, as far as its owner says")
    for word in found.words:
        if word.effect == "allow":
            session.out.text(
                f"windows that block {word.device or 'the node'} are lifted until {local(word.until)}"
            )
    if found.pretend is not None:
        session.out.text(f"taken for {found.pretend.state} until {local(found.pretend.until)}")


def _one_of(text: str, *known: str) -> str:
    if text not in known:
        raise Failed(exits.USAGE, f"expected {', '.join(known[:-1])} or {known[-1]}")
    return text


def _clock(text: str, option: str) -> str:
    """`8:00` as the API wants it. Raises Failed."""
    hours, _, minutes = text.partition(":")
    padded = f"{hours:0>2}:{minutes:0>2}"
    try:
        if padded != "24:00":
            datetime.strptime(padded, "%H:%M")  # noqa: DTZ007 - a clock time, not an instant
    except ValueError:
        raise Failed(exits.USAGE, f"{option}: expected a time of day, like 08:00") from None
    return padded


def _seconds(text: str) -> int | None:
    if not text:
        return None
    try:
        return max(1, round(duration(text)))
    except ValueError as error:
        raise Failed(exits.USAGE, f"--for: {error}") from None


def instant(text: str, here: datetime | None = None) -> datetime:
    """A time as people type it, in their own zone. `18:00` is the next one. Raises Failed."""
    here = here or local_now()
    try:
        clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - a clock time, not an instant
    except ValueError:
        pass
    else:
        then = here.replace(tzinfo=None, hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
        if then.astimezone() <= here:
            then += timedelta(days=1)
        return then.astimezone()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(exits.USAGE, "--until: expected 18:00, or 2026-12-24T18:00") from None
    return found if found.tzinfo is not None else found.astimezone()


def local(wire_time: str) -> str:
    """A time of the API in the zone of whoever reads it; without the day where that is today's."""
    then, today = datetime.fromisoformat(wire_time).astimezone(), local_now()
    return f"{then:%H:%M}" if then.date() == today.date() else f"{then:%a %Y-%m-%d %H:%M}"


def days_of(text: str) -> list[str]:
    """`mon-fri`, `sat,sun`, `fri-mon`: the days, in the order of the week. Raises Failed."""
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        try:
            start, end = DAYS.index(first[:3]), DAYS.index((last or first)[:3])
        except ValueError:
            raise Failed(exits.USAGE, "--days: expected days like mon-fri or sat,sun") from None
        found.update((start + offset) % 7 for offset in range((end - start) % 7 + 1))
    return [DAYS[day] for day in sorted(found)]


def days_text(days: list[str]) -> str:
    """The days as short as they can be said: `mon-fri`, `sat,sun`, `daily`."""
    if len(days) == 7:
        return "daily"
    numbers = [DAYS.index(day) for day in days]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{days[0]}-{days[-1]}"
    return ",".join(days)
