"""The blocks of the documentation work as typed, page by page; each is run, or says why not (OPS-24)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leasehold.config import load
from tests.e2e.blocks import KINDS, ROOT, RUN, Block, blocks, pages, what_is_wrong
from tests.e2e.machine import BIN, Machine
from tests.e2e.test_readme import DEFAULT_PORT, missing

PROGRAMS = ("restic", "make", "render")
"""What the guide's reader has: here each says what it was told to do, and succeeds."""

ELSEWHERE = {
    "README.md": ("test_readme.py", RUN),
    "docs/guide/python.md": ("test_guide_python.py", ("python",)),
    "docs/guide/queue.md": ("test_guide_queue.py", ("sh",)),
}
"""Pages whose blocks of these kinds a test of their own types."""

PAGES = [page for page in pages() if str(page.relative_to(ROOT)) not in ELSEWHERE]


class Reader(Machine):
    """Somebody who follows a page, at home in a folder of their own, with the data where it is by default."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / ".local" / "share" / "leasehold"
        del self.env["LEASEHOLD_DATA"]
        self.env |= {"XDG_DATA_HOME": str(folder / ".local" / "share"), "SHELL": "/bin/bash"}
        programs = folder / "bin"
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).write_text("#!/bin/sh\necho done: $0 $*\n")
            (programs / name).chmod(0o755)
        self.env["PATH"] = f"{programs}:{BIN}:{os.environ['PATH']}"
        self._exported: list[str] = []

    @property
    def port(self) -> int:
        return int(json.loads((self.data / "server.json").read_text())["port"])

    def here(self, text: str) -> str:
        """What is typed, with the addresses and folders of this reader."""
        for name in ("/srv/shop", "/home/ann"):
            (self.folder / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
            text = text.replace(name, str(self.folder / name.lstrip("/")))
        return text.replace(str(DEFAULT_PORT), str(self.port))

    def typed(self, block: Block) -> str:
        """Type the block's commands into one shell; what they printed. All have to succeed."""
        rows = [self.here(row) for row in block.commands]
        script = "\n".join([*self._exported, *rows])
        self._exported += [row for row in rows if row.startswith("export ")]
        with tempfile.TemporaryFile("w+") as said:  # What goes on in the background may keep a pipe open.
            shell = self.start(["bash", "-euc", script], stdout=said, stderr=subprocess.STDOUT)
            code = shell.wait(timeout=120)
            said.seek(0)
            printed = said.read()
        assert code == 0, f"{block}: exit code {code} from\n{script}\n--- it printed:\n{printed}"
        assert "Traceback" not in printed, f"{block}:\n{printed}"
        return printed


def follow(reader: Reader, block: Block) -> None:
    """Do with a block what its kind says."""
    doing: dict[str, Callable[[Reader, Block], None]] = {
        "sh": _typed,
        "console": _typed,
        "python": _program,
        "http": _called,
        "toml": _settings,
        "csv": _table,
        "json": lambda _reader, block: json.loads(block.text),
    }
    doing[block.kind](reader, block)


def _typed(reader: Reader, block: Block) -> None:
    printed = reader.typed(block)
    absent = missing(block.shown, printed)
    assert not absent, f"{block} shows {absent}; printed was:\n{printed}"


def _program(reader: Reader, block: Block) -> None:
    file = reader.folder / "example.py"
    file.write_text(reader.here(block.text))
    done = reader.start([str(BIN / "python"), "-W", "error", str(file)])
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, f"{block}:\n{out}\n{err}"


def _called(reader: Reader, block: Block) -> None:
    first, _, body = block.text.partition("\n")
    method, path = first.split()
    socket, kind = str(reader.data / "leasehold.sock"), "Content-Type: application/json"
    call = ["curl", "-sS", "-X", method, "--unix-socket", socket, f"http://leasehold{path}", "-H", kind]
    call += ["-w", "\n%{http_code}", "--data", reader.here(body)]
    answer = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    said, _, status = answer.stdout.rpartition("\n")
    assert status.startswith("2"), f"{block}: {status} {said}"


def _settings(reader: Reader, block: Block) -> None:
    tomllib.loads(block.text)
    file = reader.folder / "example.toml"
    file.write_text(block.text)
    load({}, reader.env | {"LEASEHOLD_CONFIG": str(file)})


def _table(reader: Reader, block: Block) -> None:
    file = reader.folder / "example.csv"
    file.write_text(block.text)
    done = reader.cli("replay", str(file))
    assert done.returncode == 0, f"{block}: {done.stderr}"


def _files(reader: Reader) -> None:
    """Work that has ended, and files that the page speaks of as the reader's own."""
    assert reader.cli("run", "--", "true").returncode == 0
    (reader.folder / "roomy.toml").write_text("[lease]\nttl_ms = 60000\n")
    trace = "; MaxProcs: 128\n" + "".join(
        f"{n} {n * 60} 0 600 8 -1 -1 8 900 -1 1 1 1 1 1 1 -1 -1\n" for n in range(1, 20)
    )
    import gzip

    (reader.folder / "NASA-iPSC-1993-3.1-cln.swf.gz").write_bytes(gzip.compress(trace.encode()))


def _earlier_store(reader: Reader) -> None:
    """The store as the version before had left it beside the present one."""
    shutil.copy(reader.data / "leasehold.sqlite3", reader.data / "leasehold.sqlite3.schema-2")


SCENES: dict[str, Callable[[Reader], None]] = {
    "docs/guide/replay.md": _files,
    "docs/guide/upgrading.md": _earlier_store,
}
"""What a page takes for granted."""


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader with a server; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    someone = Reader(folder)
    someone.up()
    someone.until(lambda: someone.cli("status", "--check").returncode == 0, "the first measurement")
    try:
        yield someone
    finally:
        someone.up()  # A page may have stopped it, and what it started is ended by it.
        someone.cli("cancel", "--yes", "--grace", "0", "--state", "queued,held,dispatching,running,paused")
        for lease in someone.leases():
            someone.cli("revoke", lease["lease_id"], "--yes")
        someone.until_idle()
        someone.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.requirement("OPS-24")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the guide types it")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_a_page_works_as_typed(reader: Reader, page: Path) -> None:
    """Typed from its first block to its last, each one succeeds and prints what is shown."""
    SCENES.get(str(page.relative_to(ROOT)), lambda _: None)(reader)
    for block in blocks(page):
        if block.kind in RUN and not block.not_run:
            follow(reader, block)


@pytest.mark.requirement("OPS-24")
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    """A block is of a kind that a test runs, is output, or has a mark with its reason above it."""
    assert [f"{block} {wrong}" for block in blocks(page) if (wrong := what_is_wrong(block))] == []


def test_pages_with_a_test_of_their_own_leave_nothing_out() -> None:
    """Where another test types a page's blocks, it takes every kind that is to be run."""
    for name, (file, kinds) in ELSEWHERE.items():
        assert name.removeprefix("docs/guide/") in (Path(__file__).parent / file).read_text()
        left = [
            str(b) for b in blocks(ROOT / name) if b.kind in RUN and b.kind not in kinds and not b.not_run
        ]
        assert left == []


def test_what_is_wrong_with_a_block_is_found(tmp_path: Path) -> None:
    """The rules above can fail: an indented block and an unknown kind are told, a mark needs a reason."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n    indented\n\n```sh\ntrue\n```\n"
        "<!-- not run: needs a second machine -->\n```sh\nfalse\n```\n"
        "<!-- not run: no -->\n```sh\nfalse\n```\n```bash\ntrue\n```\n```text\nout\n```\n"
    )
    found = blocks(page)
    assert [block.kind for block in found] == ["", "sh", "sh", "sh", "bash", "text"]
    assert [bool(block.not_run) for block in found] == [False, False, True, False, False, False]
    assert [bool(what_is_wrong(block)) for block in found] == [True, False, False, False, True, False]
    assert set(RUN) < set(KINDS)
