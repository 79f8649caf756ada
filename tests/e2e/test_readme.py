"""The README works as typed: its blocks are taken out, run in order, and compared with what it shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DEFAULT_PORT = 7117

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block:
    """One code block: `sh` holds commands, `console` commands after `$ ` with what they print below."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        rows = text.splitlines()
        self.commands = (
            rows if kind == "sh" else [row.removeprefix("$ ") for row in rows if row.startswith("$ ")]
        )
        self.shown = [] if kind == "sh" else [row for row in rows if row and not row.startswith("$ ")]


def blocks(page: str) -> list[Block]:
    """All code blocks of a page, in order."""
    return [Block(*found) for found in _BLOCK.findall(page)]


def pattern(row: str) -> re.Pattern[str]:
    """A shown line as a pattern: any number may stand for a number, and `…` for any text."""
    numbers = re.sub(r"\d+(?:\\\.\d+)?", r"[\\d.]+", re.escape(row.strip()))
    return re.compile(numbers.replace("…", ".*"))


def missing(shown: list[str], output: str) -> list[str]:
    """The shown lines that the output doesn't have, in the order in which they are shown."""
    left = output.splitlines()
    absent = []
    for row in shown:
        at = next((index for index, line in enumerate(left) if pattern(row).search(line)), None)
        if at is None:
            absent.append(row)
        else:
            left = left[at + 1 :]
    return absent


class Reader:
    """Somebody who types what the README says, at home in a folder of their own, with another port."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LEASEHOLD", "VIRTUAL_ENV", "XDG_"))
        }
        self.env = kept | {
            "HOME": str(home),
            "LEASEHOLD_PORT": str(self.port),
            # Another server of root's may listen in the usual place.
            "LEASEHOLD_RUN_DIR": str(home / "run"),
            # What else the machine does must not change what the README shows: its load is not judged.
            "LEASEHOLD_PRESET": "always",
        }
        self._exported: list[str] = []

    def type(self, block: Block) -> str:
        """Type a block's commands into one shell in the checkout; what it printed. All have to succeed."""
        commands = [row.replace(str(DEFAULT_PORT), str(self.port)) for row in block.commands]
        script = "\n".join(["set -e", *self._exported, *commands, "wait"])
        self._exported += [row for row in commands if row.startswith("export ")]
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = shell.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            output, _ = shell.communicate()
            pytest.fail(f"did not end in two minutes:\n{script}\n--- it printed:\n{output}")
        assert shell.returncode == 0, (
            f"exit code {shell.returncode} from:\n{script}\n--- it printed:\n{output}"
        )
        return output


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader whose server is stopped at the end, whatever the test met."""
    someone = Reader(tmp_path)
    yield someone
    subprocess.run([ROOT / ".venv" / "bin" / "leasehold", "down"], cwd=ROOT, env=someone.env, check=True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the README types it")
@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.requirement("OPS-23")
def test_every_block_works_as_typed(reader: Reader) -> None:
    """Each block of the README succeeds, in order, and prints the lines shown below its commands."""
    found = blocks(README.read_text(encoding="utf-8"))
    assert len(found) >= 3
    for block in found:
        output = reader.type(block)
        absent = missing(block.shown, output)
        assert not absent, f"after {block.commands} the README shows {absent}; printed was:\n{output}"


def test_a_wrong_transcript_is_found() -> None:
    """The comparison can fail: other words and another order are told, other figures are not."""
    shown = ["waiting, 2nd: 80 of 90 units used by …", "running (waited 5.5 s)"]
    assert (
        missing(shown, 'x: waiting, 2nd: 60 of 85 units used by "sleep" (you)\nx: running (waited 12 s)')
        == []
    )
    assert missing(shown, "running (waited 12 s)\nwaiting, 2nd: 60 of 85 units used by me") == [shown[1]]
    assert missing(shown, "waiting, 2nd: 60 of 85 cores used by me\nrunning (waited 1 s)") == [shown[0]]


def test_blocks_are_told_apart() -> None:
    """`sh` blocks are all commands; in `console` blocks those begin with `$ `; the rest is printed."""
    plain, console = blocks("text\n```sh\nmake up\n```\n```console\n$ true\nshown\n```\n")
    assert (plain.commands, plain.shown) == (["make up"], [])
    assert (console.commands, console.shown) == (["true"], ["shown"])
