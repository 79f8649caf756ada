#!/bin/sh
# Builds the page of web/ into the package, with the system's Node or, where there is none, with one from PyPI.
set -eu
cd "$(dirname "$0")/.."

echo "page: building web/ (a quarter of a minute)"
code=0
.venv/bin/python tools/page.py "$@" || code=$?
if [ "$code" -eq 3 ]; then
    echo "page: installing Node into .venv from the Python package index"
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --require-hashes \
        --requirement requirements-page.lock
    code=0
    .venv/bin/python tools/page.py "$@" || code=$?
fi
exit "$code"
