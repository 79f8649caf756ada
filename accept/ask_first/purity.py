"""What decides has no clock, no chance, no I/O; the same seed gives the same run."""

from __future__ import annotations

import os
import subprocess
import sys

from accept.harness import check, expect
from accept.product import ROOT, Product


def pytest(*arguments: str, timeout_s: float = 300, **env: str) -> str:
    """Run tests of this checkout; their closing line. Raises where one fails or none ran."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **env},
    )
    last = (done.stdout.strip().splitlines() or ["nothing was printed"])[-1]
    expect(done.returncode == 0 and "passed" in last, f"{last}\n{done.stdout[-1500:]}")
    return last


@check(
    "pure.imports",
    "`core` and `model` have no clock, randomness or I/O, by tool",
    command=".venv/bin/lint-imports && .venv/bin/python -m pytest tests/architecture/test_purity.py",
    budget_s=60,
)
def imports(product: Product) -> str:
    """The import contracts, and a walk over every call that could read a clock, draw chance, or touch the world."""
    tool = [str(ROOT / ".venv/bin/lint-imports")]
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    expect(done.returncode == 0, done.stdout[-800:])
    kept = next(line for line in done.stdout.splitlines() if "kept" in line)
    return f"{kept.strip()} {pytest('tests/architecture/test_purity.py')}"


@check(
    "pure.same_seed",
    "The same seed gives the same run in two processes with different hash seeds",
    command="PYTHONHASHSEED=1 python -m leasehold.testing.simulation --seed 7   # and with PYTHONHASHSEED=2",
    budget_s=60,
)
def same_seed(product: Product) -> str:
    """Five seeds of the simulation, each in two processes; what it prints holds the hash of the whole history."""
    for seed in range(5):
        shown = []
        for hash_seed in ("1", "2"):
            command = [product.python, "-m", "leasehold.testing.simulation", "--seed", str(seed)]
            env = {**os.environ, "PYTHONHASHSEED": hash_seed}
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)
            expect(done.returncode == 0, f"seed {seed} failed: {done.stdout[-300:]}{done.stderr[-300:]}")
            shown.append(done.stdout)
        expect(bool(shown[0].strip()) and shown[0] == shown[1], f"seed {seed} differs: {shown}")
    return f"5 seeds, the same in both processes; the last: {shown[0].strip().splitlines()[-1]}"


@check(
    "secure.fuzz",
    "The schema fuzzer finds no 5xx and no undeclared answer",
    command="python -m pytest tests/api/test_fuzz.py",
    budget_s=180,
)
def fuzz(product: Product) -> str:
    """Every route, well- and ill-formed, against the installed program."""
    return pytest("tests/api/test_fuzz.py", LEASEHOLD_TEST_PROGRAM=product.leasehold)
