"""`leasehold alert`: what is wrong, and what to make of it (OPS-13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.alert_words import HEAD, THRESHOLD_HEAD, row, show, threshold_row
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.alert import AlertOut, Thresholds

Rule = Annotated[str, typer.Argument(metavar="RULE", help="as `leasehold alert list` has it: disk, errors")]
DEFAULT = "default"


def _to(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=f"{what}; `{DEFAULT}` puts it back to what is built in")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="What is wrong: look, acknowledge, mute, set what it fires at.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @group.command("list")
    @verb
    def list_alerts(
        session: Session,
        active: Annotated[bool, typer.Option("--active", help="only what stands")] = False,
    ) -> int:
        """All rules and where each stands: the worst first."""
        from leasehold.client import calls

        found = session.client.send(calls.ALERTS)
        shown = [one for one in found.alerts if not active or one.state in ("active", "acknowledged")]
        if session.out.as_json:
            found.alerts = shown
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.rule for one in shown])
        else:
            session.out.table(HEAD, [row(one) for one in shown], nothing="nothing is wrong")
        return exits.DONE

    @group.command("show")
    @verb
    def show_alert(session: Session, rule: Rule) -> int:
        """One rule: what it sees, what it fires at, what has become of it."""
        from leasehold.client import calls

        found = session.client.send(calls.ALERTS).alerts
        one = next((one for one in found if one.rule == rule), None)
        if one is None:
            names = ", ".join(one.rule for one in found)
            raise Failed(exits.NOT_FOUND, f"there is no rule {rule}; there are {names}")
        _tell(session, one)
        return exits.DONE

    @group.command("acknowledge")
    @verb
    def acknowledge(
        session: Session,
        rule: Rule,
        note: Annotated[str, typer.Option("--note", metavar="TEXT", help="what becomes of it")] = "",
    ) -> int:
        """Say that you have seen it: it tells no more unless it worsens."""
        from leasehold.client import calls
        from leasehold.wire.alert import Acknowledge

        if session.dry_run:
            session.out.text(f"would acknowledge {rule}")
            return exits.DONE
        _tell(session, session.client.send(calls.ACKNOWLEDGE_ALERT, Acknowledge(note), path={"rule": rule}))
        return exits.DONE

    _register_mute(group)
    _register_switch(group, "enable", True, "Look at a rule again.")
    _register_switch(group, "disable", False, "Look at a rule no more; what stands of it is gone.")
    _register_thresholds(group)
    app.add_typer(group, name="alert")


def _register_mute(group: typer.Typer) -> None:
    @group.command("mute")
    @verb
    def mute(
        session: Session,
        rule: Rule,
        for_: Annotated[str, typer.Option("--for", metavar="TIME", help="how long: 30m, 2h, 3d")] = "",
        until: Annotated[
            str, typer.Option("--until", metavar="TIME", help="until when: 18:00, tomorrow 08:00")
        ] = "",
        off: Annotated[bool, typer.Option("--off", help="tell of it again")] = False,
    ) -> int:
        """Show it and notify nobody, for 8 hours where you don't say how long."""
        from leasehold.wire.alert import AlertIn

        if sum(map(bool, (for_, until, off))) > 1:
            raise Failed(exits.USAGE, "say one of --for, --until and --off")
        if off:
            body, words = AlertIn(mute_until=None), f"tell of {rule} again"
        elif until:
            body, words = AlertIn(mute_until=_moment(until)), f"mute {rule} until {until}"
        else:
            seconds = _seconds("--for", for_ or "8h")
            body, words = AlertIn(mute_for_sec=max(1, round(seconds))), f"mute {rule} for {for_ or '8h'}"
        return _set(session, rule, body, words)


def _register_switch(group: typer.Typer, name: str, enabled: bool, help_: str) -> None:
    @group.command(name, help=help_)
    @verb
    def switch(session: Session, rule: Rule) -> int:
        from leasehold.wire.alert import AlertIn

        return _set(session, rule, AlertIn(enabled=enabled), f"{name} {rule}")


def _set(session: Session, rule: str, body: Any, words: str) -> int:
    from leasehold.client import calls

    if session.dry_run:
        session.out.text(f"would {words}")
        return exits.DONE
    _tell(session, session.client.send(calls.SET_ALERT, body, path={"rule": rule}))
    return exits.DONE


def _register_thresholds(group: typer.Typer) -> None:
    @group.command("thresholds")
    @verb
    def thresholds(
        session: Session,
        action: Annotated[str, typer.Argument(metavar="[set", show_default=False)] = "",
        rule: Annotated[str, typer.Argument(metavar="RULE]", show_default=False)] = "",
        warning: Annotated[str, _to("--warning", "VALUE", "what it warns at")] = "",
        critical: Annotated[str, _to("--critical", "VALUE", "what is critical")] = "",
        for_: Annotated[str, _to("--for", "TIME", "how long it has to be so")] = "",
        cooldown: Annotated[str, _to("--cooldown", "TIME", "how long it keeps quiet after it cleared")] = "",
    ) -> int:
        """What each rule fires at; with `set RULE` change what is named, from the next check on."""
        said: dict[str, Any] = {}
        for field, flag, typed, read in (
            ("warning", "--warning", warning, _number),
            ("critical", "--critical", critical, _number),
            ("for_sec", "--for", for_, _seconds),
            ("cooldown_sec", "--cooldown", cooldown, _seconds),
        ):
            if typed:
                said[field] = _value(flag, typed, read)
        if not action and not said:
            return _list(session)
        if action != "set" or not rule or not said:
            raise Failed(
                exits.USAGE, "expected `thresholds set RULE` with --warning, --critical, --for or --cooldown"
            )
        return _set_thresholds(session, rule, said)


def _set_thresholds(session: Session, rule: str, said: dict[str, Any]) -> int:
    from leasehold.client import calls
    from leasehold.wire.alert import ThresholdIn, ThresholdsIn

    if session.dry_run:
        words = ", ".join(f"{name} {DEFAULT if value is None else value}" for name, value in said.items())
        session.out.text(f"would set {rule}: {words}")
        return exits.DONE
    body = ThresholdsIn({rule: ThresholdIn(**said)})
    found = session.client.send(calls.SET_ALERT_THRESHOLDS, body)
    found.thresholds = {rule: found.thresholds[rule]}
    _tell_thresholds(session, found)
    return exits.DONE


def _list(session: Session) -> int:
    from leasehold.client import calls

    _tell_thresholds(session, session.client.send(calls.ALERT_THRESHOLDS))
    return exits.DONE


def _tell_thresholds(session: Session, found: Thresholds) -> None:
    if session.out.as_json:
        session.out.document(found)
    elif session.out.quiet:
        session.out.ids(list(found.thresholds))
    else:
        session.out.table(THRESHOLD_HEAD, [threshold_row(*item) for item in found.thresholds.items()])


def _tell(session: Session, one: AlertOut) -> None:
    if session.out.as_json:
        session.out.document(one)
    elif session.out.quiet:
        session.out.ids([one.rule])
    else:
        show(session.out, one)


def _value(flag: str, typed: str, read: Callable[[str, str], float]) -> float | None:
    return None if typed == DEFAULT else read(flag, typed)


def _number(flag: str, typed: str) -> float:
    try:
        return float(typed.removesuffix("%").removesuffix("s"))
    except ValueError:
        raise Failed(exits.USAGE, f"{flag}: expected a number, or {DEFAULT}, got {typed}") from None


def _seconds(flag: str, typed: str) -> float:
    from leasehold.cli.amounts import duration

    try:
        return 0.0 if typed == "0" else duration(typed)
    except ValueError as error:
        raise Failed(exits.USAGE, f"{flag}: {error}") from None


def _moment(typed: str) -> Any:
    from leasehold.cli.moment import moment
    from leasehold.runtime.clock import local_now

    try:
        return moment(typed, local_now())
    except ValueError as error:
        raise Failed(exits.USAGE, f"--until: {error}") from None
