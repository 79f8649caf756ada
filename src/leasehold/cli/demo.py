"""`leasehold demo`: a server with weeks of made-up history in a scratch folder, to be thrown away."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Self

import typer

from leasehold.cli import exits
from leasehold.cli.demo_lock import DemoLock
from leasehold.cli.session import Failed, Session, verb
from leasehold.runtime.lean import pause

WEEKS_MAX = 104
SEED = 7
PRESET = "server"
POLL_S = 0.3


def register(app: typer.Typer) -> None:
    @app.command("demo")
    @verb
    def demo(
        session: Session,
        weeks: Annotated[
            int, typer.Option("--weeks", min=1, max=WEEKS_MAX, help="how much history to make up")
        ] = 8,
        seed: Annotated[
            int, typer.Option("--seed", min=0, help="another seed is another household; the same, the same")
        ] = SEED,
        data: Annotated[
            str,
            typer.Option("--data", metavar="DIR", help="an empty folder, which is kept; else a scratch one"),
        ] = "",
        stop: Annotated[
            bool, typer.Option("--stop", help="end a demo that runs, and remove its scratch folder")
        ] = False,
    ) -> int:
        """Look at a server with weeks of MADE-UP history and a full queue, until Ctrl-C."""
        folder = Path(data).absolute() if data else scratch()
        if stop:
            return _stop_other(session, folder, keep=bool(data))
        if session.dry_run:
            session.out.text(
                f"would make up {weeks} weeks from seed {seed} in {folder}, and start a server on it"
            )
            return exits.DONE
        lock = DemoLock(folder)
        lock.take()
        try:
            _take(folder, keep=bool(data))
            return _show(session, folder, weeks, seed, keep=bool(data))
        finally:
            lock.release()


def scratch() -> Path:
    """The scratch folder of this user: one, so that `--stop` finds it and nothing piles up."""
    return Path(tempfile.gettempdir()) / f"leasehold-demo-{os.getuid()}"


def _take(folder: Path, *, keep: bool) -> None:
    """Make the folder, or take it where it is empty or what a demo has left. Raises Failed."""
    from leasehold.cli import daemon

    try:
        if not keep and folder.exists():
            _check_ours(folder)
            if daemon.holder(folder) is not None:
                raise Failed(
                    exits.CONFLICT, f"a demo runs already in {folder}; `leasehold demo --stop` ends it"
                )
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=keep)
        if any(folder.iterdir()):
            raise Failed(exits.BAD_FILE, f"--data: {folder} is not empty; a demo never touches what is there")
    except OSError as error:
        raise Failed(exits.BAD_FILE, f"{folder} can't be used: {error.strerror}") from None


def _check_ours(folder: Path) -> None:
    """Refuse to remove what is not what a demo of this user has left. Raises Failed."""
    from leasehold.bootstrap.demo import marked

    found = folder.lstat()
    is_ours = folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid()
    if not is_ours or (marked(folder) is None and any(folder.iterdir())):
        raise Failed(
            exits.BAD_FILE, f"{folder} was not made by a demo of yours; remove it by hand, or use --data"
        )


def _show(session: Session, folder: Path, weeks: int, seed: int, *, keep: bool) -> int:
    from leasehold.bootstrap.demo import make
    from leasehold.model.made_up import MadeUp
    from leasehold.runtime.clock import RealClock
    from leasehold.runtime.zone import local_zone

    made_up = MadeUp(seed, weeks, local_zone(), RealClock().wall_ms())
    with _Signals() as told:
        try:
            make(folder, made_up, lambda days: _progress(session, days, 7 * weeks, told))
            session.progress("")
            _start(session, folder, made_up.sentence)
            session.say(f"{made_up.sentence}. Ctrl-C ends it" + ("" if keep else ", and removes it"))
            while not told.is_set and _runs(folder):
                told.wait()
        except _Told:
            pass
        finally:
            session.progress("")
            _stop(session, folder, keep=keep)
    return exits.DONE


class _Told(Exception):
    """Ctrl-C or SIGTERM came while the history was being made."""


class _Signals:
    """While it is open, SIGINT and its like are noted, and end nothing: what was made is removed."""

    def __init__(self) -> None:
        self.is_set = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _note(self, number: int, frame: object) -> None:
        self.is_set = True

    def wait(self) -> None:
        """Sleep a while."""
        pause(POLL_S)


def _progress(session: Session, days: int, of: int, told: _Signals) -> None:
    if told.is_set:
        raise _Told
    session.progress(f"making up {days} of {of} days")


def _runs(folder: Path) -> bool:
    from leasehold.cli import daemon

    return daemon.holder(folder) is not None


def _start(session: Session, folder: Path, sentence: str) -> None:
    """Start the server as `leasehold up` does, but with none of the user's settings; fill its queue."""
    from leasehold.cli import daemon
    from leasehold.cli.demo_scene import play
    from leasehold.client import calls
    from leasehold.client.endpoint import SOCKET, Endpoint
    from leasehold.client.sync import Client
    from leasehold.wire.session import SignInLinkIn

    settings = folder / "config.toml"
    settings.touch()
    env = {name: value for name, value in session.env.items() if not name.startswith("LEASEHOLD")}
    env |= {"LEASEHOLD_CONFIG": str(settings), "LEASEHOLD_RUN_DIR": str(folder / "run")}
    daemon.start(folder, ["--port", "0", "--preset", PRESET], env)
    with Client(Endpoint(socket_path=str(folder / SOCKET))) as client:
        play(client, folder)
        link = client.send(calls.SIGN_IN_LINK, SignInLinkIn())
    url = _url(folder)
    if session.out.as_json:
        found = {"made_up": sentence, "url": url, "sign_in": url + link.path, "data": str(folder)}
        session.out.document(found | {"server": f"unix:{folder / SOCKET}"})
        return
    session.out.text(f"*** {sentence} ***")
    session.out.text(f"the page, to sign in once: {url}{link.path}")
    session.out.text(f"the terminal:              leasehold top --server unix:{folder / SOCKET}")


def _url(folder: Path) -> str:
    import json

    from leasehold.client.endpoint import SERVER

    return str(json.loads((folder / SERVER).read_bytes())["url"])


def _stop_other(session: Session, folder: Path, *, keep: bool) -> int:
    """Tell a demo that runs to end, and tidy up after one that was killed."""
    from leasehold.bootstrap.demo import marked

    if session.dry_run:
        return _stop(session, folder, keep=keep)
    lock = DemoLock(folder)
    was_told = lock.take_from_other()
    try:
        if was_told and (keep or marked(folder) is None):
            session.say(f"the demo in {folder} has ended")
            return exits.DONE
        return _stop(session, folder, keep=keep)
    finally:
        lock.release()


def _stop(session: Session, folder: Path, *, keep: bool) -> int:
    """End the server of a demo and what it runs; remove a scratch folder. Nothing else is ever touched."""
    from leasehold.bootstrap import let_go
    from leasehold.bootstrap.demo import marked
    from leasehold.cli import daemon
    from leasehold.cli.demo_scene import clear
    from leasehold.client.endpoint import SOCKET, Endpoint
    from leasehold.client.sync import Client

    if marked(folder) is None:
        session.say(f"no demo is in {folder}")
        return exits.DONE
    pid = daemon.holder(folder)
    if session.dry_run:
        session.out.text(f"would end {f'process {pid}' if pid else 'nothing'}, and remove {folder}")
        return exits.DONE
    if pid is not None:
        with Client(Endpoint(socket_path=str(folder / SOCKET))) as client:
            clear(client)
        daemon.stop(folder, pid)
    let_go(folder)
    if keep:
        session.say(f"the demo has ended; {folder} stays, and says of itself that it is made up")
        return exits.DONE
    _check_ours(folder)
    shutil.rmtree(folder)
    session.say(f"the demo has ended; {folder} is removed")
    return exits.DONE
