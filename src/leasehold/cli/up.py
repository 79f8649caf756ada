"""`leasehold up` and `leasehold down`: one machine's server, in the background."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leasehold.cli import exits
from leasehold.cli.session import Failed, Session, verb

if TYPE_CHECKING:
    from leasehold.config import Loaded


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
    ) -> int:
        """Start this machine's server in the background. Doing it again changes nothing."""
        from leasehold.config import load

        flags: dict[str, object] = {} if port is None else {"port": port}
        if preset:
            flags["preset"] = preset
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
        arguments = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        pid = daemon.start(data, arguments, session.env)
    else:
        pid = running
        if not daemon.ready(data)[0]:
            daemon.await_ready_of(pid, data)
    _announce(session, data, pid, was_running=running is not None)
    if running is None and loaded.settings.preset == "auto":
        _say_preset(session)
    return exits.DONE


def _announce(session: Session, data: Path, pid: int, *, was_running: bool) -> None:
    import msgspec

    from leasehold.client import calls
    from leasehold.client.endpoint import SERVER, SOCKET, TOKEN, Endpoint
    from leasehold.client.sync import Client

    url = msgspec.json.decode((data / SERVER).read_bytes())["url"]
    with Client(Endpoint(socket_path=str(data / SOCKET))) as client:
        status = client.send(calls.STATUS)
    if session.out.as_json:
        session.out.document(
            {"url": url, "pid": pid, "data": str(data), "preset": status.preset, "was_running": was_running}
        )
        return
    session.out.text(url)
    state = "running already" if was_running else "running"
    measured = status.quiet_state != "UNKNOWN"
    headline = status.headline if measured else "the machine is being measured, which takes a few seconds"
    session.say(f"{state} (process {pid}), preset {status.preset}; {headline}")
    session.say(f"data in {data}; programs without the Unix socket use the token in {data / TOKEN}")
    session.say("try: leasehold run -- make test")


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
    if pid is None:
        session.say("no server is running")
    else:
        daemon.stop(data, pid)
        session.say(f"stopped (process {pid})")
    if uninstall:
        _remove(session, data)
    return exits.DONE


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
