"""`python -m bench [NAME…]`: run benchmarks, print their figures, and exit 1 when a target is missed.

A quick run (`--quick`) tries every part in a short time; its figures are printed but not judged.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from bench.report import Report, Run, as_json, is_met, table
from bench.setup import Setup, cache_folder, machine, scratch_folder

CATALOGUE = (
    "store",
    "store_jobs",
    "ledger",
    "line",
    "leases_http",
    "etcd_leases",
    "etcd_store",
    "queue_cycles",
    "queue_start",
    "queue_slow",
    "queue_waiting",
    "run_overhead",
    "first_answer",
    "at_rest",
)
"""In the order of a whole run; each is a module of this package with `REQUIREMENT` and `run(setup)`."""

EXIT_MISSED, EXIT_USAGE, EXIT_BUSY = 1, 64, 75


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    asked = [*options.names, *options.only]
    if unknown := [name for name in asked if not any(known.startswith(name) for known in CATALOGUE)]:
        print(f"bench: no benchmark {unknown[0]!r}; there are: {', '.join(CATALOGUE)}", file=sys.stderr)
        return EXIT_USAGE
    options.names = [name for name in CATALOGUE if not asked or name.startswith(tuple(asked))]
    if options.list:
        return _list()
    cache = cache_folder()
    if options.clean:
        shutil.rmtree(cache, ignore_errors=True)
        return 0
    with _alone(cache) as is_alone:
        if not is_alone:
            print("bench: another run is measuring; two at once would falsify both", file=sys.stderr)
            return EXIT_BUSY
        return _run(options, cache)


def _run(options: argparse.Namespace, cache: Path) -> int:
    with scratch_folder(cache) as scratch:
        setup = Setup(
            scratch=scratch,
            cache=cache,
            reports=options.reports,
            port_base=options.port_base,
            is_quick=options.quick,
            is_profiled=options.profile,
            rest_minutes=options.minutes,
            round_count=options.rounds,
        )
        facts = machine(scratch)
        reports = tuple(_one(name, setup, options.json) for name in options.names)
    run = Run(machine=facts, is_quick=setup.is_quick, reports=reports)
    if options.json:
        print(as_json(run))
    else:
        print("measured on: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    return 0 if setup.is_quick or is_met(reports) else EXIT_MISSED


def _one(name: str, setup: Setup, is_json: bool) -> Report:
    setup.say(f"{name} ...")
    report: Report = _module(name).run(setup)
    if not is_json:
        print(table(report, is_judged=not setup.is_quick), flush=True)
    return report


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")


def _list() -> int:
    for name in CATALOGUE:
        module = _module(name)
        print(f"{name} ({module.REQUIREMENT})\n  {(module.__doc__ or '').strip()}\n")
    return 0


@contextmanager
def _alone(cache: Path) -> Iterator[bool]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks, held against peers.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="or its beginning; by default all: " + ", ".join(CATALOGUE)
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="the same as NAME")
    parser.add_argument("--list", action="store_true", help="print each benchmark's method")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--quick", action="store_true", help="short rounds; figures are not judged")
    parser.add_argument("--profile", action="store_true", help="also show where our server's time goes")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long at_rest watches (default 10)")
    parser.add_argument("--rounds", type=int, help="rounds of those that alternate sides (default 5)")
    parser.add_argument("--port-base", type=int, default=7730, help="first of ten ports (default 7730)")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="where profiles are written")
    parser.add_argument("--clean", action="store_true", help="remove the unpacked peers and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
