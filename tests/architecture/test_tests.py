"""Tests are held to the rules of docs/style.md too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests").rglob("test_*.py"))


def intents(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The tests of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def silent_skips(tree: ast.AST) -> Iterator[int]:
    """The lines of skips and expected failures that give no reason."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("pytest.mark.skip", "pytest.mark.xfail"):
            yield node.lineno
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            reason = any(keyword.arg == "reason" and keyword.value for keyword in node.keywords)
            if name == "pytest.skip" and not (node.args or reason):
                yield node.lineno
            if name == "pytest.mark.skipif" and not reason:
                yield node.lineno


def test_each_test_opens_with_its_intent() -> None:
    """A reader learns from the first line of each test what it is for."""
    silent = [
        f"{file.relative_to(ROOT)}:{test.lineno} {test.name}"
        for file in FILES
        for test in intents(ast.parse(file.read_text(encoding="utf-8")))
        if not ast.get_docstring(test)
    ]
    assert silent == []


def test_no_test_is_skipped_without_a_reason() -> None:
    """A skip says what this machine lacks; none is unconditional, and none only hopes to fail."""
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in FILES
        for line in silent_skips(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_a_silent_skip_is_found() -> None:
    """The rule above can fail: three skips without a condition or reason are told, two with one are not."""
    source = """
import pytest
@pytest.mark.skip(reason="later")
@pytest.mark.skipif(True)
@pytest.mark.skipif(True, reason="no etcd here")
def test_it():
    pytest.skip()
    pytest.skip("no etcd here")
"""
    assert sorted(silent_skips(ast.parse(source))) == [3, 4, 7]
