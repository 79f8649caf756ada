"""`python -m accept [--only NAME…] [--budget SECONDS] [--fresh] [--list]`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from accept.harness import CHECKS, Report, run_all
from accept.product import ROOT, Product

CAPABILITIES = ("ask_first",)
"""One package of scripts per capability, in the order in which they were promised."""


def main() -> int:
    """Run the checks; 0 where every one that ran has passed or could be skipped with its reason."""
    parser = argparse.ArgumentParser(prog="accept", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of checks, or beginnings of them")
    parser.add_argument(
        "--budget", type=float, help="seconds to spend; what does not fit is not run and said"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="run again also what has passed on this very wheel"
    )
    parser.add_argument("--list", action="store_true", help="print the checks and their budgets")
    options = parser.parse_args()
    for capability in CAPABILITIES:
        importlib.import_module(f"accept.{capability}")
    checks = [c for c in CHECKS if not options.only or any(c.name.startswith(name) for name in options.only)]
    if options.list:
        for one in checks:
            print(f"{one.name:42} {one.kind:6} {one.budget_s:5} s  {one.promise}")
        return 0
    folder = ROOT / ".accept"
    product = Product.install(folder)
    path = Path(folder) / "report.json"
    report = Report(path) if options.fresh or options.only else Report.resumed(path, product.wheel_hash)
    run_all(checks, product, report, options.budget)
    return report.summary()


if __name__ == "__main__":
    sys.exit(main())
