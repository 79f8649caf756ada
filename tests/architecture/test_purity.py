"""`model` and `core` are pure, and only `runtime` reads clocks or draws chance: read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "leasehold"

# All that the pure layers may import. A module joins this list only if nothing in it reads a clock, draws
# chance, touches files or the network, or depends on the order of hashes.
PURE_IMPORTS = {
    "__future__", "abc", "array", "bisect", "collections", "contextlib", "copy", "cronsim", "dataclasses",
    "datetime", "enum", "fractions", "functools", "hashlib", "heapq", "ipaddress", "itertools", "leasehold",
    "math", "msgspec", "numpy", "operator", "re", "string", "types", "typing", "zoneinfo",
}  # fmt: skip
# `hash` and `id` differ from one process to the next, so a decision by them can't be repeated.
ORDERLESS = {"sorted", "min", "max", "sum", "len", "any", "all", "set", "frozenset"}
IMPURE_BUILTINS = {
    "open",
    "print",
    "input",
    "exec",
    "eval",
    "compile",
    "breakpoint",
    "__import__",
    "hash",
    "id",
}

_TIME_READERS = (
    "time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime", "localtime",
    "gmtime", "ctime", "strftime",
)  # fmt: skip
CLOCKS_AND_CHANCE = (
    {f"time.{name}" for name in _TIME_READERS}
    | {f"time.{name}_ns" for name in _TIME_READERS}
    | {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
    | {"os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "random.SystemRandom"}
)


def sources(*layers: str) -> list[Path]:
    """The Python files of these layers, or of the whole package."""
    roots = [PACKAGE / layer for layer in layers] or [PACKAGE]
    return sorted(file for root in roots for file in root.rglob("*.py"))


def dotted(node: ast.AST, names: dict[str, str]) -> str | None:
    """The full name of `a.b.c` where `a` was imported; None for anything else, such as what was handed in."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else None
    return None


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local name -> what it stands for, over all imports of a file."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                names[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({each.asname or each.name: f"{node.module}.{each.name}" for each in node.names})
    return names


def impurities(source: str) -> Iterator[str]:
    """What makes a file of `core` or `model` impure."""
    tree = ast.parse(source)
    names = imported_names(tree)
    ordered = set(orderless(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [each.name for each in node.names]
            )
            for module in modules:
                if module.partition(".")[0] not in PURE_IMPORTS:
                    yield f"line {node.lineno}: imports {module}"
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS
        ):
            yield f"line {node.lineno}: calls {node.func.id}()"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"line {node.lineno}: is asynchronous"
        elif isinstance(node, ast.For | ast.comprehension) and _is_a_set(node.iter) and node not in ordered:
            yield f"line {node.iter.lineno}: walks a set unsorted; the order differs between processes"
    yield from clock_or_chance(tree, names)
    yield from loop_clock(tree)


def orderless(tree: ast.AST) -> Iterator[ast.AST]:
    """All that stands inside a call whose result does not depend on the order of what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDERLESS:
            yield from ast.walk(node)


def _is_a_set(node: ast.expr) -> bool:
    made = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("set", "frozenset")
    )
    return made or isinstance(node, ast.Set | ast.SetComp)


def clock_or_chance(tree: ast.AST, names: dict[str, str]) -> Iterator[str]:
    """Where a file reads a clock or draws chance of its own accord."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names) or ""
            module, _, member = name.partition(".")
            drawn = (module == "random" and member.islower()) or (module == "secrets" and member)
            if name in CLOCKS_AND_CHANCE or drawn:
                yield f"line {node.lineno}: uses {name}"
        elif isinstance(node, ast.Call) and dotted(node.func, names) == "random.Random" and not node.args:
            yield f"line {node.lineno}: random.Random() without a seed"


def loop_clock(tree: ast.AST) -> Iterator[str]:
    """Where a file reads the clock of an event loop, which does not count suspended time."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "time"
            and "loop" in ast.unparse(node.func)
        ):
            yield f"line {node.lineno}: reads the clock of an event loop"


@pytest.mark.requirement("INV-7")
@pytest.mark.parametrize("file", sources("core", "model"), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_decides_is_pure(file: Path) -> None:
    """No file of `core` or `model` can see a clock, chance, the outside world, or the order of hashes."""
    assert list(impurities(file.read_text(encoding="utf-8"))) == []


@pytest.mark.requirement("INV-7")
def test_only_runtime_reads_clocks_and_draws_chance() -> None:
    """Time and chance are handed in everywhere else; only transports time out by their loop's clock."""
    found = []
    for file in sources():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        layer = file.relative_to(PACKAGE).parts[0]
        # The shim is a program of its own, which is handed nothing.
        read = [] if layer in ("runtime", "shim") else list(clock_or_chance(tree, imported_names(tree)))
        if layer == "control":
            read += loop_clock(tree)
        found += [f"{file.relative_to(PACKAGE)}: {each}" for each in read]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import asyncio as a",
        "from time import monotonic\nmonotonic()",
        "import time as t\nt.time_ns()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import random\nrandom.choice([1])",
        "from random import choice\nchoice([1])",
        "from secrets import token_hex\ntoken_hex()",
        "from random import Random\nRandom()",
        "def f(loop): return loop.time()",
        "open('x')",
        "print()",
        "sorted('ab', key=hash)\nhash('a')",
        "for each in {1, 2}: pass",
        "x = [e for e in set('ab')]",
        "async def f(): ...",
    ],
)
def test_each_impurity_is_found(source: str) -> None:
    """The rules above can fail: each of these small files breaks one."""
    assert list(impurities(source))


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\ndatetime.datetime.fromtimestamp(0, datetime.UTC).time()",
        "def f(random): return random.choice([1])",
        "import msgspec\nclass A(msgspec.Struct): x: int",
        "for each in sorted({1, 2}): pass",
        "x = sorted([e for e in set('ab')])",
        "import heapq\nheapq.heappush([], 1)",
    ],
)
def test_pure_code_passes(source: str) -> None:
    """The rules above let ordinary deciding code through."""
    assert list(impurities(source)) == []
