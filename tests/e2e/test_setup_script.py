"""`make setup` on a machine that lacks something: root gets it installed, others the line to type."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A Python as Debian ships it: new enough, without venv; then it stops there.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit "${TOO_OLD:-0}" ;;
    *ensurepip*) test -e "$INSTALLED" ;;
    --version) echo "Python 3.11.2" ;;
    *) echo "stub: made an environment" >&2; exit 7 ;;
esac
"""
APT_GET = """#!/bin/sh
echo "apt-get $*" >> "$CALLS"
case "$*" in *install*) test -e "$LISTS" && touch "$INSTALLED" ;; *update*) touch "$LISTS" ;; esac
"""
ID = '#!/bin/sh\necho "$USER_ID"\n'


class Machine:
    """A copy of the scripts, and programs that only say what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.tree, programs = folder / "tree", folder / "bin"
        self.calls, self.installed, self.lists = folder / "calls", folder / "installed", folder / "lists"
        shutil.copytree(ROOT / "tools", self.tree / "tools")
        for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-build.lock"):
            shutil.copy(ROOT / name, self.tree)
        programs.mkdir()
        for name, text in (("python3", PYTHON), ("apt-get", APT_GET), ("id", ID)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.env = {
            "PATH": os.pathsep.join([str(programs), "/usr/bin", "/bin"]),
            "CALLS": str(self.calls),
            "INSTALLED": str(self.installed),
            "LISTS": str(self.lists),
        }

    def setup(self, user_id: int, **env: str) -> tuple[int, str, list[str]]:
        """Run `make setup` as that user: exit code, what it said, and the calls of apt-get."""
        done = subprocess.run(
            ["make", "-s", "setup"],
            cwd=self.tree,
            env=self.env | {"USER_ID": str(user_id)} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return (
            done.returncode,
            done.stdout,
            self.calls.read_text().splitlines() if self.calls.exists() else [],
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose Python lacks venv and whose package lists were never fetched."""
    return Machine(tmp_path)


@pytest.mark.requirement("OPS-23")
def test_without_root_it_names_the_one_line_to_type(machine: Machine) -> None:
    """Somebody who is not root is told the missing package in a line to type; nothing is installed."""
    code, said, calls = machine.setup(1000)
    assert code != 0
    assert calls == []
    line = said.splitlines()[1]
    assert "apt-get install -y --no-install-recommends python3-venv" in line, said


@pytest.mark.requirement("OPS-23")
def test_as_root_it_installs_the_one_package(machine: Machine) -> None:
    """Root gets the missing package, even where the lists have to be fetched first, and nothing else."""
    _, said, calls = machine.setup(0)
    assert [call.split()[-1] for call in calls] == ["python3-venv", "-qq", "python3-venv"], calls
    assert "stub: made an environment" in said


def test_an_old_python_is_told(machine: Machine) -> None:
    """Where no Python is new enough, the version that is there and the next step are named."""
    code, said, calls = machine.setup(1000, TOO_OLD="1", PATH=self_only(machine))
    assert code != 0
    assert calls == []
    assert "no Python 3.11 or newer" in said
    assert "Python 3.11.2" in said
    assert "apt-get install -y python3" in said


def self_only(machine: Machine) -> str:
    """A search path without real Pythons: the stubs, and the few tools that the script needs."""
    programs = Path(machine.env["PATH"].split(os.pathsep)[0])
    for name in ("make", "sh", "cat", "sha256sum", "dirname", "flock", "awk", "rm"):
        found = shutil.which(name)
        if found and not (programs / name).exists():
            (programs / name).symlink_to(found)
    return str(programs)
