"""The tree itself: sizes, pinned dependencies, nothing that belongs to one machine or to others."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LINES_MAX = 400  # a longer file is a sign to split it
GENERATED_OR_TABULAR = {"LICENSE", "src/leasehold/testing/lost_writes.c"}
"""The C file is a table: one wrapper after the other, each for one call of the C library."""
BYTES_MAX = 1024 * 1024

# Put together from parts, so that this file does not hold them itself.
OF_ONE_MACHINE = ["/" + "work/", "/" + "root/", "/" + "tmp/lab", "/" + "opt/wheels", "/" + "opt/pypi"]
PACKAGE_HOSTS = ["pypi" + ".org", "python" + "hosted.org", "registry" + ".npmjs", "deb." + "debian.org"]
VENDORED = re.compile(
    r"(^|/)(vendor|third_party|node_modules|site-packages)/|\.(whl|so|a|o|jar|tar\.gz|zip)$"
)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files that git tracks and that exist."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of tracked files")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [file for name in listed.split("\0") if name and (file := ROOT / name).is_file()]


def text_of(file: Path) -> str:
    """The file as text; empty where it is none (recorded fixtures are compressed)."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_files_stay_short(tracked: list[Path]) -> None:
    """No Python or shell file is longer than a reader keeps in mind, apart from those listed."""
    long = {
        str(file.relative_to(ROOT)): count
        for file in tracked
        if file.suffix in (".py", ".sh", ".c") and (count := text_of(file).count("\n")) > LINES_MAX
    }
    assert not {name: count for name, count in long.items() if name not in GENERATED_OR_TABULAR}


def test_nothing_belongs_to_one_machine(tracked: list[Path]) -> None:
    """No tracked file names a path of some machine, or a host that packages come from."""
    found = [
        f"{file.relative_to(ROOT)}: {word}"
        for file in tracked
        for text in [text_of(file)]
        for word in OF_ONE_MACHINE + PACKAGE_HOSTS
        if word in text
    ]
    assert found == []


def test_nothing_is_vendored_or_huge(tracked: list[Path]) -> None:
    """What others made comes in by the locks; no tracked file is a copy, an archive or a build result."""
    names = [str(file.relative_to(ROOT)) for file in tracked]
    assert [name for name in names if VENDORED.search(name)] == []
    assert [name for name in names if (ROOT / name).stat().st_size > BYTES_MAX] == []


def pins(lock: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock", "requirements-dev.lock"])
def test_dependencies_are_pinned_by_hash_without_an_address(lock: str) -> None:
    """Each line of a lock is a comment, a pinned package or one of its hashes, so it fits any index."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    rows = [row.strip().removesuffix("\\").strip() for row in text.splitlines()]
    odd = [
        row
        for row in rows
        if row and not re.fullmatch(r"#.*|[a-z0-9-]+==\S+|--hash=sha256:[0-9a-f]{64}", row)
    ]
    assert odd == []
    assert "://" not in text
    packages = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert packages
    assert [package for package in packages if "--hash=sha256:" not in package] == []


def test_the_locks_agree() -> None:
    """The tests run with the versions that people get, and each declared dependency is locked."""
    runtime, build, dev = (
        pins("requirements.lock"),
        pins("requirements-build.lock"),
        pins("requirements-dev.lock"),
    )
    assert {name: dev.get(name) for name in runtime | build} == runtime | build
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=\[]", each)[0] for each in project["dependencies"]}
    assert declared <= set(runtime)
    assert {re.split(r"[<>=\[]", each)[0] for each in project["optional-dependencies"]["dev"]} <= set(dev)


def test_make_lists_every_target() -> None:
    """`make` without a target is the help, with a line on each target."""
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"help", "up", "down", "setup", "check", "test", "bench", "accept"} <= set(targets)
    assert [
        target for target in targets if not re.search(rf"^  make {target} +\S", shown, re.MULTILINE)
    ] == []
