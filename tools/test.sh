#!/bin/sh
# All checks and all tests. Tests marked `serial` run alone, then the others two at a time. What each run
# proved goes to reports/requirements/, and from there into the committed table; under CI (CI is set) the
# table is only compared, and a difference fails the run.
set -eu
cd "$(dirname "$0")/.."
. tools/debian.sh
reports=reports/requirements

missing=$(debian_missing tools/debian-packages.txt)
if [ -n "$missing" ]; then
    # Tests of what is absent skip themselves with that reason; the skips are listed at the end.
    debian_install "test: some tests need more of Debian" $missing || echo "test: going on without: $missing" >&2
fi
tools/guest_kernel.sh || echo "test: going on without a guest machine by QEMU" >&2

rm -rf "$reports"
mkdir -p "$reports"
export HYPOTHESIS_PROFILE=full
failed=0
tools/check.sh static || failed=$?
.venv/bin/python -m pytest -m serial --requirements-into "$reports/serial.json" || failed=$?
.venv/bin/python -m pytest -n 2 --dist loadfile -m "not serial" --requirements-into "$reports/parallel.json" || failed=$?

table() { .venv/bin/python -m leasehold.testing.requirements_table "$1" "$reports"/*.json; }
if [ "$failed" -ne 0 ]; then
    table tell
    echo "test: FAILED" >&2
    exit 1
elif [ -n "${CI:-}" ]; then
    table check
else
    table write
fi
echo "test: all passed"
