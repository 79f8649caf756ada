#!/bin/sh
# What must hold before every commit, in under two minutes: format, lint, types, import rules, fast tests.
# `check.sh static` leaves the tests out.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

failed=
step() {
    echo "check: $*"
    "$@" || failed="$failed $1"
}

step ruff format --check --quiet .
step ruff check --quiet .
step mypy
step lint-imports --no-logo
if [ "${1:-}" != static ]; then
    folders=
    for folder in unit contract property simulation architecture; do
        if [ -d "tests/$folder" ]; then folders="$folders tests/$folder"; fi
    done
    export HYPOTHESIS_PROFILE=small
    step pytest -q -n 2 --dist loadfile -m "not serial and not slow" $folders
fi
if [ -n "$failed" ]; then
    echo "check: FAILED:$failed" >&2
    exit 1
fi
echo "check: all held"
