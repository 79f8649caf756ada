"""Folders of add-ons: how much they take, within bounds, and never somewhere else."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from leasehold.adapters.addons.folders import LOOK_EVERY, LocalFolders
from leasehold.runtime.clock import elapsed_ns

MIB = 1 << 20


def filled(folder: Path, *names: str, size: int = MIB) -> None:
    """Files of so many bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


@pytest.mark.requirement("SENSE-5")
def test_it_counts_what_the_files_take(tmp_path: Path) -> None:
    """Below all folders; a file with two names once; a hole is no byte."""
    filled(tmp_path, "a", "b/c", "b/d/e")
    os.link(tmp_path / "a", tmp_path / "b" / "again")
    with (tmp_path / "hole").open("wb") as hole:
        hole.truncate(1 << 40)
    found = LocalFolders(elapsed_ns).size(str(tmp_path))
    assert 3 * MIB <= found.disk_bytes < 3 * MIB + 256 * 1024
    assert (found.entries, found.stopped, found.unread) == (7, "", 0)


@pytest.mark.requirement("SENSE-5")
def test_it_follows_no_link(tmp_path: Path) -> None:
    """Neither to a file, nor to a folder, nor round and round; a link in place of the folder is refused."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    filled(outside, "large", size=8 * MIB)
    inside.mkdir()
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "large")
    (inside / "round").symlink_to(inside)
    folders = LocalFolders(elapsed_ns)
    assert folders.size(str(inside)).disk_bytes < MIB
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        folders.size(str(tmp_path / "link"))


@pytest.mark.requirement("SENSE-5")
def test_it_stays_on_its_file_system() -> None:
    """What is mounted below is not counted: /dev holds others on any machine."""
    if os.stat("/dev").st_dev == os.stat("/dev/shm").st_dev:
        pytest.skip("nothing is mounted below /dev here")
    folders = LocalFolders(elapsed_ns)
    entries = folders.size("/dev").entries
    path = Path("/dev/shm") / f"leasehold-test-{os.getpid()}"
    try:
        filled(path, *[f"f{number}" for number in range(500)], size=1)
        assert folders.size("/dev").entries < entries + 400
    finally:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


@pytest.mark.requirement("SENSE-5", "INV-8")
def test_it_stops_after_so_many_entries_and_says_so(tmp_path: Path) -> None:
    """Also within one large folder."""
    filled(tmp_path, *[f"f{number}" for number in range(50)], size=0)
    folders = LocalFolders(elapsed_ns, entries_max=20)
    found = folders.size(str(tmp_path))
    assert (found.entries, found.stopped) == (20, "stopped after 20 entries")
    whole = LocalFolders(elapsed_ns, entries_max=51).size(str(tmp_path))
    assert (whole.entries, whole.stopped) == (50, "")


@pytest.mark.requirement("SENSE-5", "INV-8")
def test_it_stops_when_its_time_is_over_and_says_so(tmp_path: Path) -> None:
    """However slow the disk is."""
    filled(tmp_path, *[f"f{number}" for number in range(LOOK_EVERY + 10)], size=0)
    clock = itertools.count(step=1_500_000_000)
    found = LocalFolders(lambda: next(clock)).size(str(tmp_path))
    assert (found.entries, found.stopped) == (LOOK_EVERY, "stopped after 2 s")


@pytest.mark.requirement("SENSE-5")
def test_a_folder_that_can_not_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is measured all the same."""
    filled(tmp_path, "open/a", "shut/b")
    really = os.open

    def refusing(path: str, flags: int) -> int:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return really(path, flags)

    monkeypatch.setattr(os, "open", refusing)
    found = LocalFolders(elapsed_ns).size(str(tmp_path))
    assert found.unread == 1
    assert MIB <= found.disk_bytes < 2 * MIB


@pytest.mark.requirement("SENSE-21")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("there", ""),
        ("missing", "expected a folder that is there"),
        ("file", "expected a folder"),
        ("link", "expected the folder itself, not a link to it"),
        ("zero\x00byte", "expected a folder that is there"),
        ("lone\udfff", "expected a folder that is there"),
        ("long" * 2_000, "expected a folder that is there"),
    ],
)
def test_the_folder_of_an_addon_is_checked(tmp_path: Path, name: str, problem: str) -> None:
    """What is wrong with it is said before it is registered."""
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    folders = LocalFolders(elapsed_ns)
    assert folders.problem(f"{tmp_path}/{name}").startswith(problem)
    assert bool(folders.problem(f"{tmp_path}/{name}")) == bool(problem)
    assert folders.problem("relative/path") == "expected an absolute path"
