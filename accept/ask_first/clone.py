"""A fresh clone of the last commit: two commands do all, its tests pass, its README works as typed."""

from __future__ import annotations

import http.client
import importlib.util
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from accept.harness import Broken, Skipped, check, expect
from accept.product import ROOT, Product, until

FIRST_UP_S_MAX = 180
NEXT_UP_S_MAX = 3
TESTS_S_MAX = 3600


class Clone:
    """A clone in a scratch folder, with data, port and home of its own and nothing of this checkout's."""

    def __init__(self, scratch: Path, port: int) -> None:
        self.folder = scratch / "leasehold"
        self.port = port
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(self.folder)], check=True)
        show = ["git", "-C", str(self.folder), "rev-parse", "--short", "HEAD"]
        self.commit = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
        ours = str(ROOT / ".venv" / "bin")
        path = [each for each in os.environ["PATH"].split(os.pathsep) if each != ours]
        foreign = ("LEASEHOLD", "VIRTUAL_ENV", "HYPOTHESIS_PROFILE")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "PATH": os.pathsep.join(path),
            "LEASEHOLD_DATA": str(scratch / "data"),
            "LEASEHOLD_PORT": str(port),
            "LEASEHOLD_RUN_DIR": str(scratch / "run"),
        }

    def make(self, target: str, timeout_s: float, **env: str) -> tuple[str, float]:
        """Run `make TARGET`: what it printed and the seconds it took. It has to succeed."""
        began = time.monotonic()
        done = subprocess.run(
            ["make", "--silent", target],
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        expect(done.returncode == 0, f"make {target} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout, time.monotonic() - began

    def answers(self) -> bool:
        """Whether a server answers at its port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def fresh(product: Product) -> Iterator[Clone]:
    """A clone that is stopped and removed at the end, whatever was met."""
    if not (ROOT / ".git").exists():
        raise Skipped("this is no git checkout, so there is nothing to clone")
    with tempfile.TemporaryDirectory(prefix="leasehold-clone-") as scratch:
        clone = Clone(Path(scratch), product.port())
        try:
            yield clone
        finally:
            if (clone.folder / ".venv").exists():
                clone.make("down", 60)


@check(
    "clone.up",
    "A fresh clone: `make up` prints a URL in under 3 minutes, again in under 3 s; `make down`",
    command="git clone . /tmp/fresh && cd /tmp/fresh && time make up; time make up; make down",
    budget_s=240,
)
def up(product: Product) -> str:
    """The URL that is printed answers; after `make down` it does not."""
    with fresh(product) as clone:
        url = f"http://127.0.0.1:{clone.port}"
        said, first_s = clone.make("up", FIRST_UP_S_MAX + 60)
        expect(url in said, f"`make up` prints no {url}: {said[-500:]}")
        expect(clone.answers(), f"{url} does not answer after `make up`")
        said, next_s = clone.make("up", 60)
        expect(url in said, f"`make up` again prints no {url}: {said[-500:]}")
        _, down_s = clone.make("down", 60)
        expect(not clone.answers(), "the server answers after `make down`")
        figures = f"first {first_s:.1f} s, again {next_s:.2f} s, down {down_s:.2f} s (commit {clone.commit})"
        expect(first_s < FIRST_UP_S_MAX and next_s < NEXT_UP_S_MAX, f"too slow: {figures}")
        return figures


@check(
    "clone.readme",
    "The README's blocks work as typed",
    command="git clone . /tmp/fresh && cd /tmp/fresh   # and type each block of README.md there",
    budget_s=300,
)
def readme(product: Product) -> str:
    """By somebody at home in a new folder, with default settings but for the port.

    Each block succeeds and prints what is shown below its commands.
    """
    with fresh(product) as clone, tempfile.TemporaryDirectory(prefix="leasehold-home-") as home:
        page = module(clone.folder / "tests" / "e2e" / "test_readme.py")
        reader = page.Reader(Path(home))
        del reader.env["LEASEHOLD_PRESET"]
        blocks = page.blocks(page.README.read_text(encoding="utf-8"))
        expect(len(blocks) >= 3, f"the README has {len(blocks)} blocks")
        program = str(clone.folder / ".venv" / "bin" / "leasehold")

        def settled() -> bool:
            asked = [program, "status", "--check"]
            return not subprocess.run(asked, env=reader.env, capture_output=True, check=False).returncode

        try:
            for block in blocks:
                typed(page, reader, block)
                # Setting up has loaded the machine; somebody who reads on takes longer than that counts.
                if until(settled, 180, 1) is None:
                    asked = [program, "status"]
                    done = subprocess.run(asked, env=reader.env, capture_output=True, text=True, check=False)
                    said = (done.stdout or done.stderr).split("\n")[0]
                    raise Broken(f"after `{block.commands[0]}` not quiet within 180 s: {said}")
        finally:
            if os.path.exists(program):
                subprocess.run([program, "down"], env=reader.env, check=False, capture_output=True)
        commands = sum(len(block.commands) for block in blocks)
        shown = sum(len(block.shown) for block in blocks)
        return f"{len(blocks)} blocks, {commands} lines typed, {shown} shown, all printed ({clone.commit})"


def typed(page: Any, reader: Any, block: Any) -> None:
    """Type one block and compare what it prints with what is shown."""
    try:
        output = reader.type(block)
    except (AssertionError, page.pytest.fail.Exception) as error:
        raise Broken(str(error)) from None
    absent = page.missing(block.shown, output)
    expect(not absent, f"after {block.commands} the README shows {absent}; printed was:\n{output[-1500:]}")


def module(path: Path) -> ModuleType:
    """A file of the clone as a module: its paths are then the clone's."""
    spec = importlib.util.spec_from_file_location("of_the_clone", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@check(
    "clone.tests",
    "`make test` passes on a fresh clone (only where asked for: its time is not counted)",
    command="git clone . /tmp/fresh && cd /tmp/fresh && make test",
    kind="long",
    budget_s=TESTS_S_MAX,
)
def tests(product: Product) -> str:
    """Everything, as its continuous integration runs it: a table of requirements that differs fails too."""
    with fresh(product) as clone:
        told, took_s = clone.make("test", TESTS_S_MAX, CI="true")
        runs = [line.strip("= ") for line in told.splitlines() if " passed" in line and " in " in line]
        expect(bool(runs), f"no test ran: {told[-800:]}")
        return f"{'; '.join(runs)}; {took_s / 60:.1f} min in all (commit {clone.commit})"
