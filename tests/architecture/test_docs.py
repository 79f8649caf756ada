"""Documentation holds together: its links resolve, and it is all reachable from its index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leasehold.testing.requirements_table import SPECIFICATION, TABLE, specified_ids

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links, without those in code."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8"))))


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    bad = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            bad.append(link)
    return bad


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every link of every page leads to a file of the project, and to a heading that is there."""
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """The rule above can fail: a link to a missing page or heading is told, one in code is not."""
    (tmp_path / "there.md").write_text("# A heading, here\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#a-heading-here) [b](gone.md) [c](there.md#gone) `[d](code.md)`\n")
    assert broken(page) == ["gone.md", "there.md#gone"]


@pytest.mark.requirement("OPS-24")
def test_the_log_has_what_troubleshooting_names() -> None:
    """Every event that the operations pages tell people to look for is one that the program logs."""
    page = (ROOT / "docs" / "operations" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = [row.rsplit("|", 2)[1] for row in page.splitlines() if row.startswith("| ")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    logged = set(re.findall(r"log\.\w+\(\s*\"(\w+)\"", source)) | {"not_stopped", "not_started"}
    assert len(named) > 20
    assert named - logged == set()


def test_every_page_is_reachable() -> None:
    """Whoever starts at the README finds every page by following links."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if link.partition("#")[0]
        ]
        # A link to a folder is a link to its index.
        waiting += [each / "README.md" for each in list(waiting) if each.is_dir()]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in seen] == []


@pytest.mark.requirement("PROVE-20")
def test_the_requirements_table_is_up_to_date_with_the_specification() -> None:
    """The committed table has a row for each requirement, in order, and names only tests that exist.

    Those of a contract suite are inherited from the shipped one.
    """
    page = (ROOT / TABLE).read_text(encoding="utf-8")
    assert re.findall(r"^\| ([A-Z]+-[0-9]+) \|", page, re.MULTILINE) == specified_ids(ROOT / SPECIFICATION)
    inherited = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "src/leasehold/testing").glob("*.py")
    )
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)(?:::(\w+))?`", page))
    missing = [
        f"{file}::{name}"
        for file, *names in sorted(named)
        for name in filter(None, names)
        if not (ROOT / "tests" / file).exists()
        or name not in (ROOT / "tests" / file).read_text(encoding="utf-8") + inherited
    ]
    assert missing == [], f"`make test` rewrites {TABLE}"
