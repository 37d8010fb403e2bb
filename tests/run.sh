#!/bin/sh
# Run the tests:
#
#   sudo sh tests/run.sh                             all of them; installs what they need
#   sh tests/run.sh unit|broker|package [ARG ...]    one part; further arguments go to pytest
#   sh tests/run.sh bench|models [ARG ...]           how fast it is, how true it is (not of all); see --help
#
#   unit       ruff, mypy --strict, and the tests that need no broker and no clock
#   broker     the services with a RabbitMQ node of their own
#   package    the Debian package in booted Debian 12 and 13 machines (root only)
#   bench      a table of figures and targets, measured beside two plainer ways and a C client
#   models     two tables: the models beside pvlib, and beside the standard load profile
#
# What the tests use are Debian's own packages, which root installs here where they are missing. The linters alone
# come from pip, into .venv, which also holds every cache. The first part that fails ends the run.
set -eu

cd "$(dirname "$0")/.."
program=tests/run.sh
. debian/functions.sh

is_root() { [ "$(id -u)" = 0 ]; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# A broker that comes with the tests is not to run as the system's: while packages are installed, no service starts.
start_no_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

start_services_again() { [ -z "$policy" ] || { rm -f "$policy"; policy=; }; }

need() {
    missing=
    for package in python3-pika python3-daemon python3-sdnotify python3-systemd \
        python3-pytest python3-pytest-timeout python3-pytest-xdist python3-hypothesis "$@"; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    is_root || fail "missing:$missing; run: sudo sh tests/run.sh"
    say "Installing with apt:$missing"
    apt-get update -qq || echo 'The package lists could not be brought up to date; going on with those at hand.' >&2
    start_no_services
    # shellcheck disable=SC2086 # one word a package
    quietly apt-get install -y -o DPkg::Lock::Timeout=120 --no-install-recommends $missing
    start_services_again
}

# Made once, and again when the requirements or Debian's Python have changed. Where pip reaches no index, the linters
# are left out, but never unsaid, and never where CI is set.
linters() {
    { /usr/bin/python3 --version; cat tests/requirements.txt; } >"$temporary/wanted"
    ! cmp -s "$temporary/wanted" .venv/made-of || return 0
    say 'Installing the linters of tests/requirements.txt into .venv'
    rm -rf .venv 2>/dev/null || fail '.venv is out of date and not yours; run: sudo sh tests/run.sh'
    quietly /usr/bin/python3 -m venv --system-site-packages .venv
    if .venv/bin/pip install --quiet --requirement tests/requirements.txt >"$temporary/log" 2>&1; then
        cp "$temporary/wanted" .venv/made-of
    else
        tail -n 5 "$temporary/log" >&2
        [ -z "${CI-}" ] || fail 'pip cannot install the linters'
        false
    fi
}

run_pytest() { /usr/bin/python3 -m pytest -o cache_dir=.venv/pytest "$@"; }

unit() {
    need python3-venv
    if linters; then
        say 'ruff and mypy'
        .venv/bin/ruff check --quiet .
        .venv/bin/ruff format --quiet --check .
        .venv/bin/mypy --no-error-summary
    else
        say 'NOT CHECKED: style and types. pip cannot install ruff and mypy here; the tests themselves do not need it.'
    fi
    say 'tests/unit'
    run_pytest -n 2 tests/unit "$@"
}

broker() {
    need rabbitmq-server amqp-tools faketime iproute2 python3-cryptography strace
    say 'tests/broker'
    run_pytest tests/broker "$@"
}

package() {
    is_root || fail 'the package part boots machines, and needs root for it; run: sudo sh tests/run.sh package'
    need mmdebstrap systemd-container debian-archive-keyring dpkg-dev iproute2 python3-cryptography
    sh debian/build.sh
    say 'tests/package'
    # Two machines at once: most of their time is waiting. A suite's first test waits for its machine, too.
    run_pytest -n 2 --dist loadgroup -o timeout=600 tests/package "$@"
}

bench() {
    need rabbitmq-server amqp-tools gcc libc6-dev librabbitmq-dev
    /usr/bin/python3 -m tests.bench "$@"
}

models() {
    need python3-venv
    if ! cmp -s tests/bench/requirements.txt .venv/models/made-of; then
        say 'Installing pvlib and demandlib into .venv/models'
        rm -rf .venv/models
        quietly /usr/bin/python3 -m venv .venv/models
        quietly .venv/models/bin/pip install --requirement tests/bench/requirements.txt
        cp tests/bench/requirements.txt .venv/models/made-of
    fi
    .venv/models/bin/python -m tests.bench.models "$@"
}

leave() {
    start_services_again
    rm -rf "$temporary"
    # Run with sudo in somebody's checkout, .venv is theirs.
    ! is_root || [ ! -d .venv ] || chown -R --reference=tests .venv 2>/dev/null || :
}

exec </dev/null
# Debian's own tools and python3, whatever else is installed.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
unset PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME
export PYTHONPYCACHEPREFIX="$PWD/.venv/bytecode" RUFF_CACHE_DIR="$PWD/.venv/ruff" MYPY_CACHE_DIR="$PWD/.venv/mypy"
export HYPOTHESIS_STORAGE_DIRECTORY="$PWD/.venv/hypothesis"
policy=
temporary=$(mktemp -d)
trap leave EXIT
trap 'exit 130' INT TERM

case ${1-all} in
    all) for part in unit broker package; do "$part"; done ;;
    unit | broker | package) "$@" ;;
    bench | models)
        "$@"
        exit
        ;;
    *) fail "there is no part '$1'; the parts are unit, broker, package, bench and models" ;;
esac
say 'All of it passed'
