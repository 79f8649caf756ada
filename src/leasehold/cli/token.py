"""`leasehold token`: credentials for programs, containers and other machines (OPS-5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.amounts import duration
from leasehold.cli.ids import pick
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.wire.token import TokenIn, TokenMade, TokenOut

HEAD = ("TOKEN", "NAME", "ROLE", "ACTS AS", "TENANT", "EXPIRES", "LAST USED", "MADE BY")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Credentials for programs, containers and other machines.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @group.command("create")
    @verb
    def create(
        session: Session,
        role: Annotated[
            str,
            typer.Option(
                "--role", metavar="ROLE", help="submitter, worker, viewer, operator, node, admin, or your own"
            ),
        ],
        name: Annotated[
            str, typer.Option("--name", metavar="NAME", help="what it is for, like ci or laptop")
        ],
        ttl: Annotated[
            str, typer.Option("--ttl", metavar="TIME", help="how long it works: 15m, 30d; a year by default")
        ] = "",
        holder: Annotated[
            str, typer.Option("--holder", metavar="NAME", help="the name it acts as; by default its own")
        ] = "",
        tenant: Annotated[
            str, typer.Option("--tenant", metavar="NAME", help="whose its work is; by default yours")
        ] = "",
        out: Annotated[
            str, typer.Option("--out", metavar="FILE", help="write it there (0600), and do not print it")
        ] = "",
    ) -> int:
        """Make a token. It is shown once, and kept nowhere: only its hash is."""
        from leasehold.wire.token import TokenIn

        body = TokenIn(
            name=name, role=role, ttl_sec=_seconds(ttl), holder=holder or None, tenant=tenant or None
        )
        if session.dry_run:
            session.out.text(f"would make a token {name} with the role {role}")
            return exits.DONE
        if session.quiet and not out:
            raise Failed(
                exits.USAGE, "--quiet prints its id alone, and nobody would see the token; add --out FILE"
            )
        made = _made(session, body, Path(out)) if out else _asked(session, body)
        _show(session, made, out)
        return exits.DONE

    @group.command("list")
    @verb
    def list_tokens(session: Session) -> int:
        """All tokens, the newest first. Their secrets are not known to anybody but their users."""
        found = _tokens(session)
        if session.out.as_json:
            session.out.document(found)
        elif session.out.quiet:
            session.out.ids([one.token_id for one in found])
        else:
            session.out.table(HEAD, [_row(one) for one in found], nothing="no tokens")
        return exits.DONE

    @group.command("revoke")
    @verb
    def revoke(
        session: Session,
        tokens: Annotated[
            list[str], typer.Argument(metavar="TOKEN...", help="ids, their beginnings, or names")
        ],
    ) -> int:
        """End tokens at once: connections that used them are closed, calls that wait are given up."""
        from leasehold.client import calls

        known = _tokens(session)
        chosen = [_chosen(typed, known) for typed in tokens]
        for one in chosen:
            if session.dry_run:
                session.out.text(f"would revoke {one.token_id} ({one.name})")
                continue
            session.client.send(calls.REVOKE_TOKEN, path={"token_id": one.token_id})
            session.say(f"{one.token_id} ({one.name}) is revoked; leases it holds end when their time is up")
        if session.out.as_json and not session.dry_run:
            session.out.document({"revoked": [one.token_id for one in chosen]})
        return exits.DONE

    app.add_typer(group, name="token")


def _seconds(ttl: str) -> int | None:
    if not ttl:
        return None
    try:
        return max(1, round(duration(ttl)))
    except ValueError as error:
        raise Failed(exits.USAGE, f"--ttl: {error}") from None


def _tokens(session: Session) -> list[TokenOut]:
    from leasehold.client import calls

    return session.client.send(calls.TOKENS).tokens


def _asked(session: Session, body: TokenIn) -> TokenMade:
    from leasehold.client import calls

    return session.client.send(calls.CREATE_TOKEN, body)


def _made(session: Session, body: TokenIn, path: Path) -> TokenMade:
    """Make a token into a file: the file is there before the token is, and no token without its file."""
    from leasehold.client import calls

    if path.exists():
        session.confirm(f"Replace {path}?")
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            exits.BAD_FILE, f"{draft} can't be written ({error.strerror}); no token was made"
        ) from None
    made: TokenMade | None = None
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            made = _asked(session, body)
            file.write(made.token + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        if made is not None:
            session.client.send(calls.REVOKE_TOKEN, path={"token_id": made.about.token_id})
        raise Failed(
            exits.BAD_FILE, f"{path} can't be written ({error.strerror}); the token is revoked again"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return made


def _show(session: Session, made: TokenMade, out: str) -> None:
    about = made.about
    if session.out.as_json:
        session.out.document({"file": out, "about": about} if out else made)
        return
    if session.out.quiet:
        session.out.ids([about.token_id])
        return
    session.out.text(out or made.token)
    where = f"it stands in {out}" if out else "it is shown this once: keep it"
    session.say(
        f"{about.token_id} ({about.name}), role {about.role}, acts as {about.holder}, until "
        f"{about.expires_at}; {where}"
    )


def _row(one: TokenOut) -> tuple[object, ...]:
    ends = f"{one.expires_at[:16]}Z{' (expired)' if one.expired else ''}"
    used = f"{one.last_used_at[:16]}Z" if one.last_used_at else "never"
    return one.token_id, one.name, one.role, one.holder, one.tenant, ends, used, one.created_by


def _chosen(typed: str, known: list[TokenOut]) -> TokenOut:
    """The token of an id, the beginning of one, or a name that only one has. Raises Failed."""
    named = [one for one in known if one.name == typed]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(one.token_id for one in named)
        raise Failed(exits.USAGE, f"{len(named)} tokens are named {typed}: {ids}; say which")
    try:
        token_id = pick(typed, (one.token_id for one in known))
    except Failed as error:
        if error.code != exits.NOT_FOUND:
            raise
        raise Failed(exits.NOT_FOUND, f"there is no token {typed}; see `leasehold token list`") from None
    return next(one for one in known if one.token_id == token_id)
