"""The tree keeps its shape: imports go one way, and a new folder declares its place."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "leasehold"


def declared_places(project: Path) -> set[str]:
    """The folders and modules that the import contracts name, without their parentheses."""
    contracts = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(each for each in contracts if each["id"] == "layers")
    names = " ".join(layers["layers"]).replace("|", " ").replace(":", " ").split()
    return {name.strip("()") for name in names} | set(layers["exhaustive_ignores"])


def places(package: Path) -> set[str]:
    """What lies directly in the package: folders with Python in them, and modules."""
    folders = {each.parent.relative_to(package).parts[0] for each in package.glob("*/**/*.py")}
    modules = {each.stem for each in package.glob("*.py")} - {"__init__"}
    return folders | modules


def test_every_place_is_declared() -> None:
    """Whoever adds a folder to the package says in pyproject.toml where it stands in the order of imports."""
    undeclared = places(PACKAGE) - declared_places(ROOT / "pyproject.toml")
    assert not undeclared, (
        f"say in [tool.importlinter] of pyproject.toml where these stand: {sorted(undeclared)}"
    )


def test_an_undeclared_folder_is_found(tmp_path: Path) -> None:
    """The rule above can fail: a folder that no contract names is told."""
    (tmp_path / "gadgets").mkdir()
    (tmp_path / "gadgets" / "thing.py").write_text("")
    assert places(tmp_path) - declared_places(ROOT / "pyproject.toml") == {"gadgets"}


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("core/trial.py", "import leasehold.control.trial", "Imports go one way"),
        ("control/trial.py", "import leasehold.adapters.trial", "Imports go one way"),
        ("api/trial.py", "import leasehold.testing.trial", "Imports go one way"),
        ("ports/trial.py", "import leasehold.runtime.trial", "Ports know nothing"),
        ("core/trial.py", "import time", "touch no clock"),
        ("shim/trial.py", "import leasehold.runtime.trial", "loads next to nothing"),
        ("shim/trial.py", "import subprocess", "loads next to nothing"),
        ("gadgets/trial.py", "", "Imports go one way"),
    ],
)
def test_the_contracts_find_a_wrong_import(tmp_path: Path, module: str, line: str, broken: str) -> None:
    """Each import rule fails on a small tree that breaks it, so a silent rule can't pass for a kept one."""
    named = ("bootstrap", "cli", "client", "config", "integrations", "shim", "wire")  # By a contract.
    for place in ("api", "control", "adapters", "core", "model", "ports", "runtime", "testing", *named):
        folder = tmp_path / "leasehold" / place
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "trial.py").write_text("")
    (tmp_path / "leasehold" / "__init__.py").write_text("")
    wrong = tmp_path / "leasehold" / module
    wrong.parent.mkdir(exist_ok=True)
    (wrong.parent / "__init__.py").write_text("")
    wrong.write_text(line + "\n")
    linted = subprocess.run(
        [
            Path(sys.executable).parent / "lint-imports",
            "--no-logo",
            "--no-cache",
            f"--config={ROOT / 'pyproject.toml'}",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 1, linted.stdout + linted.stderr
    kept_or_broken = [row for row in linted.stdout.splitlines() if broken in row and row.endswith("BROKEN")]
    assert kept_or_broken, linted.stdout


@pytest.mark.requirement("LEASE-20")
def test_the_sdk_of_mcp_is_imported_by_its_own_verb_alone() -> None:
    """It takes a second and tens of megabytes, which neither the server nor any other verb may pay."""
    program = (
        "import sys, leasehold.bootstrap, leasehold.cli.app, leasehold.integrations.mcp.agents\n"
        "leasehold.cli.app.build()\n"
        "print([name for name in sys.modules if name == 'mcp' or name.startswith(('mcp.', 'mcp_types'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
