"""`leasehold up` and `leasehold down`: one machine's server, in the background."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.client.sync import Client
    from leasehold.config import Loaded
    from leasehold.wire.session import SignInLink

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what --lan is for: every address of this machine, secured


def register(app: typer.Typer) -> None:
    @app.command("up")
    @verb
    def up(
        session: Session,
        foreground: Annotated[bool, typer.Option("--foreground", help="stay here until Ctrl-C")] = False,
        port: Annotated[
            int | None, typer.Option("--port", min=0, max=65535, help="7117 by default; 0: any")
        ] = None,
        preset: Annotated[
            str,
            typer.Option(
                "--preset", metavar="auto|desktop|server|always", help="by default what suits this machine"
            ),
        ] = "",
        lan: Annotated[
            bool, typer.Option("--lan", help="other machines may reach it too, by TLS and with a token")
        ] = False,
        name: Annotated[
            list[str] | None,
            typer.Option("--name", metavar="HOST", help="with --lan: one more name of this machine"),
        ] = None,
    ) -> int:
        """Start this machine's server in the background. Doing it again changes nothing."""
        from leasehold.config import load

        flags: dict[str, object] = {} if port is None else {"port": port}
        if preset:
            flags["preset"] = preset
        flags |= _lan_flags(session, lan, name or [])
        loaded = load(flags, session.env)
        if foreground:
            return _serve(loaded, session)
        return _background(session, loaded, flags)

    @app.command("down")
    @verb
    def down(
        session: Session,
        uninstall: Annotated[
            bool, typer.Option("--uninstall", help="then remove the data folder and all that it holds")
        ] = False,
    ) -> int:
        """Stop this machine's server. Work that runs goes on, and is found again by the next start."""
        from leasehold.config import load

        data = load({}, session.env).settings.data_path
        return _down(session, data, uninstall=uninstall)


def _lan_flags(session: Session, lan: bool, names: list[str]) -> dict[str, object]:
    """The settings that `--lan` stands for: an address that is set already is kept."""
    from leasehold.api.hosts import is_loopback
    from leasehold.config import load

    if names and not lan:
        raise Failed(exits.USAGE, "--name: goes with --lan")
    if not lan:
        return {}
    settings = load({}, session.env).settings
    flags: dict[str, object] = {"host": EVERYWHERE} if is_loopback(settings.host) else {}
    return flags | ({"tls.names": [*settings.tls.names, *names]} if names else {})


def _serve(loaded: Loaded, session: Session) -> int:
    from leasehold.bootstrap import StartError, serve

    try:
        serve(loaded, session.env)
    except StartError as error:
        raise Failed(exits.UNREACHABLE, str(error)) from None
    return exits.DONE


def _background(session: Session, loaded: Loaded, flags: dict[str, object]) -> int:
    from leasehold.cli import daemon

    data = loaded.settings.data_path
    running = daemon.holder(data)
    if session.dry_run:
        session.out.text(
            f"would {'do nothing: it is running' if running else 'start a server'} (data in {data})"
        )
        return exits.DONE
    if running is None:
        pid = daemon.start(data, _arguments(flags), session.env)
    else:
        pid = running
        if "host" in flags and not _server_file(data).get("tls_port"):
            raise Failed(
                exits.CONFLICT,
                f"the server runs (process {pid}), for this machine alone; `leasehold down`, then `up --lan`",
            )
        if not daemon.ready(data)[0]:
            daemon.await_ready_of(pid, data)
    _announce(session, data, pid, was_running=running is not None)
    if running is None and loaded.settings.preset == "auto":
        _say_preset(session)
    return exits.DONE


def _arguments(flags: dict[str, object]) -> list[str]:
    """The same flags as words of a command line."""
    words = [word for key in ("port", "preset") if key in flags for word in (f"--{key}", str(flags[key]))]
    names = flags.get("tls.names", [])
    assert isinstance(names, list)
    if "host" in flags or names:
        words.append("--lan")
    return words + [word for name in names for word in ("--name", str(name))]


def _server_file(data: Path) -> dict[str, Any]:
    """What the running server says about itself; empty where it has not said it yet."""
    import json

    from leasehold.client.endpoint import SERVER

    try:
        found: dict[str, Any] = json.loads((data / SERVER).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _announce(session: Session, data: Path, pid: int, *, was_running: bool) -> None:
    from leasehold.client import calls
    from leasehold.client.endpoint import SOCKET, TOKEN, Endpoint
    from leasehold.client.sync import Client

    found = _server_file(data)
    url = found["url"]
    with Client(Endpoint(socket_path=str(data / SOCKET))) as client:
        status = client.send(calls.STATUS)
        link = _sign_in_link(client)
    if session.out.as_json:
        document = {
            "url": url,
            "pid": pid,
            "data": str(data),
            "preset": status.preset,
            "was_running": was_running,
            "sign_in": url + link.path if link is not None else None,
        }
        session.out.document(document | _lan(found))
        return
    session.out.text(url)
    state = "running already" if was_running else "running"
    measured = status.quiet_state != "UNKNOWN"
    headline = status.headline if measured else "the machine is being measured, which takes a few seconds"
    session.say(f"{state} (process {pid}), preset {status.preset}; {headline}")
    session.say(f"data in {data}; programs without the Unix socket use the token in {data / TOKEN}")
    if found.get("tls_port"):
        _say_lan(session, _lan(found)["lan"])
    if link is not None:
        session.say(f"the page, to sign in once within {link.expires_sec // 60} minutes: {url}{link.path}")
    session.say("try: leasehold run -- make test")


def _lan(found: dict[str, Any]) -> dict[str, Any]:
    """How other machines reach the server; empty where they can't."""
    import hashlib
    import ssl

    if not found.get("tls_port"):
        return {}
    local = ("localhost", "127.0.0.1", "::1")
    urls = [
        f"https://{f'[{name}]' if ':' in name else name}:{found['tls_port']}"
        for name in found["names"]
        if name not in local
    ]
    der = ssl.PEM_cert_to_DER_cert(Path(found["ca"]).read_text(encoding="ascii"))
    digest = hashlib.sha256(der).hexdigest().upper()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return {"lan": {"urls": urls, "ca": found["ca"], "ca_sha256": fingerprint}}


def _say_lan(session: Session, lan: dict[str, Any]) -> None:
    url, *others = lan["urls"]
    also = f" (also {', '.join(others)})" if others else ""
    session.say(f"other machines reach it at {url}{also}")
    session.say(f"they check it with {lan['ca']}, SHA-256 {lan['ca_sha256']}")
    session.say("a token for one: leasehold token create --role submitter --name laptop --ttl 30d")
    session.say(
        f'there: curl --cacert ca.pem -H "Authorization: Bearer $LEASEHOLD_TOKEN" {url}/api/scheduler/status'
    )


def _sign_in_link(client: Client) -> SignInLink | None:
    """A link for the page; None from a server of before, that still runs and knows none (OPS-25)."""
    from leasehold.client import calls
    from leasehold.model.errors import LeaseholdError
    from leasehold.wire.session import SignInLinkIn

    try:
        return client.send(calls.SIGN_IN_LINK, SignInLinkIn())
    except LeaseholdError:
        return None


def _say_preset(session: Session) -> None:
    """Say what the server has found out for itself by the same look (SENSE-13)."""
    from leasehold.bootstrap import detect

    preset, reason = detect()
    session.say(f"preset {preset}: {reason}; `up --preset` or `preset` in the configuration says otherwise")


def _down(session: Session, data: Path, *, uninstall: bool) -> int:
    from leasehold.cli import daemon

    pid = daemon.holder(data)
    if session.dry_run:
        session.out.text(f"would stop process {pid}" if pid else "nothing to stop")
        if uninstall:
            session.out.text(f"would remove {data}")
        return exits.DONE
    if uninstall and data.exists():
        session.confirm(f"Remove {data} with everything in it: leases, history, token?")
    if uninstall and pid is not None:
        _resume_paused(session)
    if pid is None:
        session.say("no server is running")
    else:
        daemon.stop(data, pid)
        session.say(f"stopped (process {pid})")
    if uninstall:
        from leasehold.bootstrap import let_go

        let_go(data)
        _remove(session, data)
    return exits.DONE


def _resume_paused(session: Session) -> None:
    """Nobody could resume it any more. What can't be asked for now is let go by `let_go`."""
    from leasehold.client import calls
    from leasehold.client.lean import Unreachable
    from leasehold.model.errors import LeaseholdError
    from leasehold.wire.lease import Resume

    try:
        for lease in session.client.send(calls.STATUS).active:
            if "paused" in lease.flags:
                path = {"lease_id": lease.lease_id}
                session.client.send(calls.RESUME, Resume("the server is uninstalled"), path=path)
                session.say(f"{lease.lease_id} was paused and goes on")
    except (LeaseholdError, Unreachable, Failed) as error:
        session.say(f"paused work could not be resumed: {error}")


def _remove(session: Session, data: Path) -> None:
    """Remove a data folder, and nothing that is not one."""
    if not data.exists():
        session.say(f"there is no {data}")
        return
    ours = {"leader.lock", "admin.token"}
    if not ours & set(os.listdir(data)) or data.resolve() in (Path("/"), Path.home().resolve()):
        raise Failed(
            exits.BAD_FILE,
            f"{data} does not look like a data folder (no leader.lock in it); remove it by hand",
        )
    shutil.rmtree(data)
    session.say(f"removed {data}; the program itself stays until it is removed as it was installed")
