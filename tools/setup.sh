#!/bin/sh
# Makes the project-local .venv from the lock files: `setup.sh runtime` for `make up`, `setup.sh dev` for the
# tests as well. Does nothing, quickly, when the locks and the checkout's place have not changed.
set -eu
cd "$(dirname "$0")/.."
. tools/debian.sh

kind=${1:-runtime}
case $kind in
    runtime) locks="requirements.lock requirements-build.lock" ;;
    dev) locks="requirements-dev.lock" ;;
    *) echo "setup: expected 'runtime' or 'dev', got '$kind'" >&2; exit 64 ;;
esac

# A stamp names what that part of the environment was made from.
stamp_of() { cat "$@" | sha256sum; }
packages_stamp=$(stamp_of $locks)
project_stamp=$(stamp_of pyproject.toml tools/setup.sh)
stamped() { [ -r "$1" ] && [ "$(cat "$1")" = "$2" ]; }

ready() {
    [ -x .venv/bin/leasehold ] && stamped .venv/stamp-place "$PWD" &&
        stamped ".venv/stamp-$kind" "$packages_stamp" && stamped .venv/stamp-project "$project_stamp" &&
        page_ready
}

# The page is tried once for each state of its sources: without Node the program works, and says so at /.
page_stamp() {
    if [ -d web ]; then
        find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' | LC_ALL=C sort | xargs cat | sha256sum
    fi
}
page_stamp=$(page_stamp)
page_ready() { [ -z "$page_stamp" ] || stamped .venv/stamp-page "$page_stamp"; }

if ready; then exit 0; fi
# Another `make` in the same checkout may be at it: wait for that one, then look again.
exec 9<Makefile
if command -v flock >/dev/null; then flock 9; fi
if ready; then exit 0; fi

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.11 or newer found on the PATH (python3 is: $(python3 --version 2>&1 || true))" >&2
    echo "setup: on Debian 12 or later type: apt-get install -y python3" >&2
    return 1
}

make_environment() {
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        debian_install "setup: $python can't make an environment (no venv or pip)" "$python-venv"
    fi
    echo "setup: making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    echo "$PWD" > .venv/stamp-place
}

# An environment holds absolute paths, so one that was moved is made again; so is one whose Python is gone.
if ! stamped .venv/stamp-place "$PWD" || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    make_environment
fi
if ! stamped ".venv/stamp-$kind" "$packages_stamp"; then
    count=$(cat $locks | grep -c '^[a-z]')
    echo "setup: installing $count pinned packages from $locks (about a minute)"
    for lock in $locks; do
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-compile --no-deps \
            --require-hashes --requirement "$lock"
    done
    .venv/bin/python -m compileall -q -j 0 "$(echo .venv/lib/python3*/site-packages)" || true
    echo "$packages_stamp" > ".venv/stamp-$kind"
    # What the tests need includes, at the same versions, what the program needs.
    if [ "$kind" = dev ]; then stamp_of requirements.lock requirements-build.lock > .venv/stamp-runtime; fi
fi
if ! [ -x .venv/bin/leasehold ] || ! stamped .venv/stamp-project "$project_stamp"; then
    echo "setup: linking leasehold into .venv"
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-build-isolation --editable .
    echo "$project_stamp" > .venv/stamp-project
fi
if ! page_ready; then
    tools/page.sh --if-changed || echo "setup: the page is missing, all else works; \`make page\` tries again" >&2
    echo "$page_stamp" > .venv/stamp-page
fi
echo "setup: .venv is ready"
