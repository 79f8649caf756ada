"""`leasehold open`: a sign-in link for the page, good for one use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb


def register(app: typer.Typer) -> None:
    @app.command("open")
    @verb
    def open_page(
        session: Session,
        role: Annotated[
            str,
            typer.Option("--role", help="with fewer rights than your own: viewer sees, and changes nothing"),
        ] = "",
        browser: Annotated[bool, typer.Option("--browser", help="open it here, in your browser")] = False,
    ) -> int:
        """Print a link that signs a browser in to the page: once, within ten minutes."""
        return _open(session, role, browser=browser)


def _open(session: Session, role: str, *, browser: bool) -> int:
    import msgspec

    from leasehold.client import calls
    from leasehold.wire.session import SignInLinkIn

    try:
        asked = msgspec.convert({"role": role or None}, SignInLinkIn)
    except msgspec.ValidationError:
        raise Failed(
            exits.USAGE, f"--role {role}: expected admin, operator, submitter, worker, node or viewer"
        ) from None
    base = _base(session)
    if session.dry_run:
        session.out.text(f"would make a sign-in link for {base}")
        return exits.DONE
    made = session.client.send(calls.SIGN_IN_LINK, asked)
    url = base + made.path
    if session.out.as_json:
        session.out.document({"url": url, "role": made.role, "expires_sec": made.expires_sec})
    else:
        session.out.text(url)
        session.say(f"signs one browser in as {made.role}, once, within {made.expires_sec // 60} minutes")
    if browser:
        _show(session, url)
    return exits.DONE


def _base(session: Session) -> str:
    """The address of the page: that of the server that was named, else of the caller's own."""
    import msgspec

    from leasehold.client.endpoint import SERVER, data_dir

    named = session.server or session.env.get("LEASEHOLD_URL", "")
    if named.startswith("http"):
        return named.rstrip("/")
    try:
        found = msgspec.json.decode(Path(data_dir(session.env), SERVER).read_bytes())
        return str(found["url"])
    except (OSError, ValueError, KeyError):
        port = session.env.get("LEASEHOLD_PORT") or "7117"
        return f"http://127.0.0.1:{port}"


def _show(session: Session, url: str) -> None:
    """Hand it to a browser by a file of this user: arguments of programs are visible to everybody."""
    import tempfile
    import webbrowser

    descriptor, name = tempfile.mkstemp(prefix="leasehold-", suffix=".html")
    with os.fdopen(descriptor, "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}">')
    if not webbrowser.open(f"file://{name}"):
        Path(name).unlink()
        session.say("no browser was found here; open the link above in one")
