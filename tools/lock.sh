#!/bin/sh
# Compiles the lock files from pyproject.toml: every version pinned, with the hashes of all its published
# wheels, and no download address. The caller's pip configuration is set aside, so that nothing of it
# (extra indexes, local wheel folders) can get into a lock. `--upgrade` takes newer versions.
set -eu
cd "$(dirname "$0")/.."

compile() {
    output=$1
    shift
    env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u PIP_INDEX_URL -u PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null \
        CUSTOM_COMPILE_COMMAND="make lock" "${LOCK_COMPILER:-.venv/bin/pip-compile}" \
        --quiet --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-emit-options \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-reuse-hashes \
        --resolver=backtracking --output-file="$output" "$@"
    echo "lock: wrote $output"
}

compile requirements.lock "$@" pyproject.toml
compile requirements-build.lock "$@" --constraint=requirements.lock requirements-build.in
compile requirements-page.lock "$@" requirements-page.in
compile requirements-dev.lock "$@" --extra=dev --constraint=requirements.lock --constraint=requirements-build.lock pyproject.toml requirements-build.in
