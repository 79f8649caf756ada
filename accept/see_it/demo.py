"""The terminal screen, the demo, and the documentation, typed on the installed program (OPS-19, OPS-24)."""

from __future__ import annotations

from accept.ask_first.purity import pytest
from accept.harness import check
from accept.product import Product


def _tests(product: Product, *names: str, timeout_s: float = 900) -> str:
    """Run these files of tests/e2e against the installed program; their closing line."""
    files = [f"tests/e2e/{name}" for name in names]
    return pytest(*files, timeout_s=timeout_s, LEASEHOLD_TEST_BIN=str(product.bin))


@check(
    "see_it.top",
    "`leasehold top` on a real terminal: live, at 80 × 24 and resized, cancels after a question, survives kill -9 of its server, without colour where that is said",
    command=".venv/bin/pytest tests/e2e/test_top.py",
    budget_s=120,
)
def top(product: Product) -> str:
    """Each on a pseudo-terminal, with a server of its own."""
    return _tests(product, "test_top.py")


@check(
    "see_it.demo",
    "`leasehold demo`: weeks of made-up history within seconds, marked as such on every view; it ends without a trace and touches nothing else",
    command=".venv/bin/pytest tests/e2e/test_demo.py",
    budget_s=180,
)
def demo(product: Product) -> str:
    """Ctrl-C, `--stop`, kill -9, a folder that is kept, one that is not empty."""
    return _tests(product, "test_demo.py")


@check(
    "see_it.blocks",
    "Every block of the guide is typed and works as shown, or has the reason why it can't be",
    command=".venv/bin/pytest tests/e2e/test_guide.py tests/e2e/test_guide_queue.py tests/e2e/test_guide_python.py",
    budget_s=420,
)
def blocks(product: Product) -> str:
    """Page by page, each by a reader at home in a folder of their own."""
    return (
        f"{_tests(product, 'test_guide.py', 'test_guide_queue.py', 'test_guide_python.py')} pages and blocks"
    )


@check(
    "see_it.why",
    "What `leasehold why` suggests for a waiting job, typed back, starts it",
    command=".venv/bin/pytest tests/e2e/test_why.py",
    budget_s=240,
)
def why(product: Product) -> str:
    """Held, blocked, outside of windows, on a busy machine, over each quota."""
    return _tests(product, "test_why.py")
