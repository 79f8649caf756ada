"""`leasehold notify`: who is told when something goes wrong, and what came of it (OPS-14, CLUSTER-27)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.ids import pick
from leasehold.cli.notify_words import MESSAGES_HEAD, TARGETS_HEAD, message_rows, quiet_span, target_row
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.notification import DeliveryOut, TargetMade, TargetOut

TEST_S = 45.0
"""A test is answered once something has come of it."""

KINDS = ("alert", "storage", "worker", "violation")
LEVELS = ("info", "warning", "critical")

Target = Annotated[str, typer.Argument(metavar="TARGET", help="an id, its beginning, or a name")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="what to call it")]
Severity = Annotated[
    str, typer.Option("--severity", metavar="LEVEL", help="the least it is told: info, warning, critical")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="alert, storage, worker, violation; may be said again"),
]
QuietHours = Annotated[
    list[str] | None,
    typer.Option(
        "--quiet-hours",
        metavar="SPAN",
        help="only critical news then: 22:00-07:00, or mon-fri@22:00-07:00; may be said again",
    ),
]
Zone = Annotated[str, typer.Option("--zone", metavar="ZONE", help="of the quiet hours, like Europe/Berlin")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Who is told when something goes wrong: webhooks, e-mail, chats, browsers.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    _register_list(group)
    _register_add(group)
    _register_set(group)
    _register_test(group)
    _register_remove(group)
    _register_retry(group)
    app.add_typer(group, name="notify")


def _register_list(group: typer.Typer) -> None:
    @group.command("list")
    @verb
    def list_targets(
        session: Session,
        messages: Annotated[
            bool, typer.Option("--messages", help="what was told, and what came of it, instead")
        ] = False,
        dead: Annotated[bool, typer.Option("--dead", help="only what was given up")] = False,
        limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="messages")] = 20,
    ) -> int:
        """Where notifications go; addresses are secrets, and not shown whole."""
        from leasehold.client import calls

        if messages or dead:
            query = {"limit": limit, "state": "dead" if dead else None}
            told = session.client.send(calls.NOTIFICATIONS, query=query)
            if session.out.as_json:
                session.out.document(told)
            elif session.out.quiet:
                found = [each for one in told.notifications for each in one.deliveries]
                session.out.ids(
                    list(
                        dict.fromkeys(each.delivery_id for each in found if not dead or each.state == "dead")
                    )
                )
            else:
                session.out.table(MESSAGES_HEAD, message_rows(told), nothing="nothing was told")
            return exits.DONE
        targets = _targets(session)
        if session.out.as_json:
            session.out.document(targets)
        elif session.out.quiet:
            session.out.ids([one.target_id for one in targets])
        else:
            rows = [target_row(one) for one in targets]
            session.out.table(TARGETS_HEAD, rows, nothing="nobody is told; see `leasehold notify add`")
        return exits.DONE


def _register_add(group: typer.Typer) -> None:
    @group.command("add")
    @verb
    def add(
        session: Session,
        url: Annotated[
            str,
            typer.Argument(
                metavar="URL",
                help="https://… for a webhook; mailto://…, ntfy://… and others of apprise; - reads it from "
                "standard input, so that no list of processes shows it",
            ),
        ],
        name: Name = "",
        chat: Annotated[bool, typer.Option("--chat", help="let apprise handle an https:// address")] = False,
        severity: Severity = "warning",
        kind: Kinds = None,
        quiet_hours: QuietHours = None,
        zone: Zone = "",
    ) -> int:
        """Tell a webhook, an e-mail address or a chat. The address is checked, and kept as a secret."""
        from leasehold.client import calls
        from leasehold.wire.notification import TargetIn

        address = sys.stdin.readline().strip() if url == "-" else url
        if "://" not in address:
            raise Failed(exits.USAGE, "URL: expected https://…, mailto://…, or another address of apprise")
        is_webhook = address.partition("://")[0].lower() in ("http", "https") and not chat
        body = TargetIn(
            kind="webhook" if is_webhook else "chat",
            url=address,
            name=name or None,
            severity=_level(severity),
            kinds=_kinds(kind),
            quiet_hours=[quiet_span(one) for one in quiet_hours or []],
            zone=zone or None,
        )
        if session.dry_run:
            session.out.text(f"would tell a {body.kind} of what is {severity} or worse")
            return exits.DONE
        _show_made(session, session.client.send(calls.ADD_NOTIFY_TARGET, body, timeout_s=TEST_S))
        return exits.DONE


def _show_made(session: Session, made: TargetMade) -> None:
    if session.out.as_json:
        session.out.document(made)
        return
    if session.out.quiet:
        session.out.ids([made.target.target_id])
        return
    session.say(f"{made.target.name} is told; `leasehold notify test {made.target.target_id}` tries it")
    session.out.table(TARGETS_HEAD, [target_row(made.target)])
    if made.secret:
        session.say("its calls are signed with this key (Standard Webhooks), which is shown once:")
        session.out.text(made.secret)


def _register_set(group: typer.Typer) -> None:
    @group.command("set")
    @verb
    def set_target(
        session: Session,
        target: Target,
        name: Name = "",
        severity: Severity = "",
        kind: Kinds = None,
        quiet_hours: QuietHours = None,
        zone: Zone = "",
        enable: Annotated[bool | None, typer.Option("--on/--off", help="tell it, or keep what waits")] = None,
    ) -> int:
        """Change what a target is told and when; what is not named stays. `--quiet-hours none` lifts them."""
        from leasehold.client import calls
        from leasehold.wire.notification import TargetChange

        said: dict[str, Any] = {"name": name} if name else {}
        said |= {"severity": _level(severity)} if severity else {}
        said |= {"kinds": _kinds(kind)} if kind else {}
        said |= {"zone": zone} if zone else {}
        said |= {"enabled": enable} if enable is not None else {}
        if quiet_hours:
            spans = [] if quiet_hours == ["none"] else [quiet_span(one) for one in quiet_hours]
            said["quiet_hours"] = spans
        if not said:
            raise Failed(exits.USAGE, "nothing to change; see `leasehold notify set --help`")
        one = _chosen(session, target)
        if session.dry_run:
            session.out.text(f"would change {', '.join(sorted(said))} of {one.name}")
            return exits.DONE
        path = {"target_id": one.target_id}
        _show(session, session.client.send(calls.SET_NOTIFY_TARGET, TargetChange(**said), path=path))
        return exits.DONE


def _register_test(group: typer.Typer) -> None:
    @group.command("test")
    @verb
    def test(session: Session, target: Target) -> int:
        """Send a test, and tell what came of it. Exit code 1: it did not arrive."""
        from leasehold.client import calls

        one = _chosen(session, target)
        if session.dry_run:
            session.out.text(f"would send a test to {one.name}")
            return exits.DONE
        found = session.client.send(
            calls.TEST_NOTIFY_TARGET, path={"target_id": one.target_id}, timeout_s=TEST_S
        )
        if session.out.as_json:
            session.out.document(found)
        elif found.state == "sent":
            session.say(f"{one.name} has taken it")
        else:
            session.say(f"{one.name} has not taken it: {found.error or 'nothing came back yet'}")
        return exits.DONE if found.state == "sent" else exits.NO


def _register_remove(group: typer.Typer) -> None:
    @group.command("remove")
    @verb
    def remove(session: Session, target: Target) -> int:
        """Tell it nothing any more; what waits for it is dropped."""
        from leasehold.client import calls

        one = _chosen(session, target)
        waits = f", and {one.pending} that wait for it are dropped" if one.pending else ""
        if session.dry_run:
            session.out.text(f"would remove {one.name}{waits}")
            return exits.DONE
        if waits:
            session.confirm(f"{one.name} is forgotten{waits}.")
        session.client.send(calls.REMOVE_NOTIFY_TARGET, path={"target_id": one.target_id})
        session.say(f"{one.name} is told nothing any more")
        return exits.DONE


def _register_retry(group: typer.Typer) -> None:
    @group.command("retry")
    @verb
    def retry(
        session: Session,
        deliveries: Annotated[
            list[str] | None, typer.Argument(metavar="[DELIVERY...]", help="ids of `list --dead`")
        ] = None,
        all_of_them: Annotated[bool, typer.Option("--all", help="everything that was given up")] = False,
    ) -> int:
        """Send again what was given up. A receiver knows it by its id, which stays."""
        from leasehold.client import calls

        if bool(deliveries) == all_of_them:
            raise Failed(exits.USAGE, "say which deliveries (`leasehold notify list --dead`), or --all")
        known = _dead(session)
        chosen = list(known) if all_of_them else [pick(typed, known) for typed in deliveries or []]
        if session.dry_run:
            session.out.text(f"would send {len(chosen)} again")
            return exits.DONE
        if all_of_them:
            chosen = session.client.send(calls.RETRY_NOTIFICATIONS).delivery_ids
        for delivery_id in [] if all_of_them else chosen:
            session.client.send(calls.RETRY_NOTIFICATION, path={"delivery_id": delivery_id})
        if session.out.as_json:
            session.out.document({"delivery_ids": chosen})
        else:
            session.say(f"{len(chosen)} are sent again")
        return exits.DONE


def _dead(session: Session) -> dict[str, DeliveryOut]:
    from leasehold.client import calls

    told = session.client.send(calls.NOTIFICATIONS, query={"limit": 1_000})
    found = [each for one in told.notifications for each in one.deliveries if each.state != "sent"]
    return {each.delivery_id: each for each in found}


def _show(session: Session, one: TargetOut) -> None:
    if session.out.as_json:
        session.out.document(one)
    elif session.out.quiet:
        session.out.ids([one.target_id])
    else:
        session.out.table(TARGETS_HEAD, [target_row(one)])


def _targets(session: Session) -> list[TargetOut]:
    from leasehold.client import calls

    return session.client.send(calls.NOTIFY_TARGETS).targets


def _chosen(session: Session, typed: str) -> TargetOut:
    """The target that was meant: by name, else by id or its beginning. Raises Failed."""
    known = _targets(session)
    named = [one for one in known if one.name == typed]
    if len(named) > 1:
        ids = ", ".join(one.target_id for one in named)
        raise Failed(exits.USAGE, f"{len(named)} targets are named {typed}: {ids}; say which")
    if named:
        return named[0]
    try:
        target_id = pick(typed, (one.target_id for one in known))
    except Failed as error:
        if error.code != exits.NOT_FOUND:
            raise
        raise Failed(exits.NOT_FOUND, f"there is no target {typed}; see `leasehold notify list`") from None
    return next(one for one in known if one.target_id == target_id)


def _level(text: str) -> Any:
    if text not in LEVELS:
        raise Failed(exits.USAGE, f"--severity: expected one of {', '.join(LEVELS)}")
    return text


def _kinds(typed: list[str] | None) -> Any:
    for one in typed or []:
        if one not in KINDS:
            raise Failed(exits.USAGE, f"--kind: expected one of {', '.join(KINDS)}")
    return typed or []
