"""A fresh clone: two commands do all (OPS-23)."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]

FIRST_UP_S_MAX = 180
NEXT_UP_S_MAX = 3
NO_CHANGE_SETUP_S_MAX = 0.3

pytestmark = [pytest.mark.serial, pytest.mark.slow, pytest.mark.timeout(600)]


class Clone:
    """A clone of the last commit in a folder of its own, with its own data, port and environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "leasehold"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, self.folder], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        ours = str(ROOT / ".venv" / "bin")
        path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if each != ours)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LEASEHOLD", "VIRTUAL_ENV"))
        }
        self.env = kept | {
            "PATH": path,
            "LEASEHOLD_DATA": str(folder / "data"),
            "LEASEHOLD_PORT": str(self.port),
            "LEASEHOLD_RUN_DIR": str(folder / "run"),
        }

    def make(self, target: str) -> tuple[str, float]:
        """Run `make TARGET`; its output and how many seconds it took. It has to succeed."""
        began = time.monotonic()
        done = subprocess.run(
            ["make", "--silent", target],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"make {target}:\n{done.stdout}"
        return done.stdout, time.monotonic() - began


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    """A clone that is stopped at the end, whatever the test met."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout, so there is nothing to clone")
    fresh = Clone(tmp_path)
    yield fresh
    if (fresh.folder / ".venv").exists():
        fresh.make("down")


@pytest.mark.requirement("OPS-23")
def test_a_fresh_clone_comes_up_answers_and_goes_down(clone: Clone) -> None:
    """`make up` sets up, starts and prints a URL that answers; again is quick; `make down` ends it."""
    said, first_s = clone.make("up")
    url = f"http://127.0.0.1:{clone.port}"
    assert url in said, said
    assert httpx.get(f"{url}/health", timeout=10).status_code == 200
    assert first_s < FIRST_UP_S_MAX

    said, next_s = clone.make("up")
    assert url in said, said
    assert next_s < NEXT_UP_S_MAX

    said, setup_s = clone.make("setup")
    assert said == "", "setup says nothing where nothing changed"
    assert setup_s < NO_CHANGE_SETUP_S_MAX

    clone.make("down")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health", timeout=10)
    print(f"first up {first_s:.1f} s, next up {next_s:.2f} s, unchanged setup {setup_s:.3f} s")


def test_a_moved_environment_is_made_again(clone: Clone) -> None:
    """An environment holds absolute paths: a checkout that was moved gets a new one, not a broken one."""
    clone.make("setup")
    moved = clone.folder.with_name("moved")
    clone.folder.rename(moved)
    clone.folder = moved
    said, _ = clone.make("setup")
    assert re.search(r"^setup: making \.venv", said, re.MULTILINE)
    helped = subprocess.run(
        [moved / ".venv/bin/leasehold", "--help"], capture_output=True, text=True, check=True
    )
    assert "Heavy work asks first" in helped.stdout
