"""The code blocks of a page of documentation, and what a test does with each.

| fence | what it is |
|---|---|
| `sh` | commands, typed as they stand; all succeed |
| `console` | commands behind `$ `, and what they print |
| `python` | a whole program |
| `http` | a call: method and path, then its body as JSON; it is answered with success |
| `toml` | settings that the server takes |
| `csv`, `json` | a file or an answer of that form |
| `yaml` | settings of another program |
| `text` | output, or a picture: nothing to run |

A block that can't be run has a line above it that says why: `<!-- not run: needs two machines -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("sh", "console", "python", "http", "toml", "csv", "json")
KINDS = (*RUN, "yaml", "text")

_MARK = re.compile(r"<!-- not run: (.{10,}) -->")


@dataclass(frozen=True)
class Block:
    """One block; `not_run` is the reason of its mark, "" without one."""

    page: str
    line: int
    kind: str
    text: str
    not_run: str = ""

    @property
    def commands(self) -> list[str]:
        """What is typed."""
        rows = self.text.splitlines()
        if self.kind == "sh":
            return rows
        return [row.removeprefix("$ ") for row in rows if row.startswith("$ ")]

    @property
    def shown(self) -> list[str]:
        """What is printed, as the page has it."""
        if self.kind != "console":
            return []
        return [row for row in self.text.splitlines() if row and not row.startswith("$ ")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page in order: fenced ones, and those by indentation, whose kind is ""."""
    rows, found, at, mark = page.read_text(encoding="utf-8").splitlines(), [], 0, ""
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    while at < len(rows):
        row = rows[at]
        if row.startswith("```"):
            end = rows.index("```", at + 1)
            text = "".join(f"{one}\n" for one in rows[at + 1 : end])
            found.append(Block(name, at + 1, row.removeprefix("```").strip(), text, mark))
            at = end
        elif row.startswith("    ") and (
            at == 0 or rows[at - 1].strip() == "" or rows[at - 1].startswith("#")
        ):
            found.append(Block(name, at + 1, "", row, mark))
        marked = _MARK.fullmatch(row.strip())
        mark = marked[1] if marked else ""
        at += 1
    return found


def pages() -> list[Path]:
    """Every page whose blocks somebody may type."""
    docs = ROOT / "docs"
    return sorted([ROOT / "README.md", *(docs / "guide").glob("*.md"), *(docs / "operations").glob("*.md")])


def what_is_wrong(block: Block) -> str:
    """Why a block is neither run nor marked; "" where all is well."""
    if not block.kind:
        return "is indented: put it between fences, and say what it is (sh, console, python, http, text…)"
    if block.kind not in KINDS:
        return f"is {block.kind!r}: expected one of {', '.join(KINDS)}"
    return ""
