"""`python -m accept [--only NAME…] [--budget SECONDS] [--fresh] [--with-tests] [--list]`."""

from __future__ import annotations

import argparse
import importlib
import sys

from accept.harness import CHECKS, Report, run_all
from accept.product import ROOT, Product
from leasehold.testing.inherited import heed_signals

CAPABILITIES = ("ask_first", "yield_and_be_seen", "queue", "see_it")
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
    parser.add_argument(
        "--with-tests", action="store_true", help="also run `make test`; else only where it is named"
    )
    parser.add_argument("--list", action="store_true", help="print the checks and their budgets")
    options = parser.parse_args()
    heed_signals()
    for capability in CAPABILITIES:
        importlib.import_module(f"accept.{capability}")
    checks = [c for c in CHECKS if not options.only or any(c.name.startswith(name) for name in options.only)]
    if options.list:
        for one in checks:
            print(f"{one.name:42} {one.kind:6} {one.budget_s:5} s  {one.promise}")
        return 0
    for one in checks if not (options.only or options.with_tests) else ():
        if one.kind == "long":
            print(f"not run: {one.name}; --with-tests runs it, and its time is not counted")
    checks = [one for one in checks if one.kind != "long" or options.only or options.with_tests]
    folder = ROOT / ".accept"
    product = Product.install(folder)
    report = Report.resumed(folder / product.report, product.wheel_hash)
    for one in checks if options.fresh or options.only else ():
        report.outcomes.pop(one.name, None)
    run_all(checks, product, report, options.budget)
    return report.summary()


if __name__ == "__main__":
    sys.exit(main())
