#!/bin/sh
# Run the tests:
#
#   sudo sh tests/run.sh                             all of them; installs what they need
#   sh tests/run.sh unit|broker|package [ARG ...]    one part; further arguments go to pytest
#   sh tests/run.sh bench|models [ARG ...]           how fast it is, how true it is (not of all); see --help
#
#   unit       ruff, mypy --strict, and the tests that need no broker and no clock; alone, and where CI is not set, with
#              a third of hypothesis's examples
#   broker     the services with a RabbitMQ node of their own
#   package    the Debian package in booted machines: Debian 12 and 13, or PVSIM_SUITES="bookworm trixie forky"; with
#              lintian, piuparts, autopkgtest, reprotest, debsums and systemd-analyze
#   bench      a table of figures and targets, measured beside two plainer ways and a C client
#   models     two tables: the models beside pvlib, and beside the standard load profile
#
# PVSIM_CHAOS_SECONDS=600 sudo -E sh tests/run.sh broker -k chaos breaks broker, services, disk and network at random
# for ten minutes, and then verifies every row. sudo python3 -m tests.bench.footprint measures what installed services
# take.
#
# What the tests use are Debian's own packages, which root installs here where they are missing. The linters alone
# come from pip, into .venv, which also holds every cache, and the reports of the last run (.venv/report).
#
# A part runs although another one failed; package runs beside the others. What this machine does not allow is
# left out; each part says so when it begins, and the last line says it again. Where CI is set, whatever is left out
# fails.
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
    for package in "$@"; do
        installed "$package" || case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
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

packages_of() {
    echo python3-pika python3-daemon python3-sdnotify python3-systemd
    echo python3-pytest python3-pytest-timeout python3-pytest-xdist python3-hypothesis
    case $1 in
        unit) echo python3-venv python3-matplotlib python3-pandas ;;
        models) echo python3-venv ;;
        broker)
            echo rabbitmq-server amqp-tools faketime iproute2 python3-cryptography strace
            echo mosquitto mosquitto-clients prometheus prometheus-node-exporter python3-pandas
            ;;
        package) echo mmdebstrap systemd-container debian-archive-keyring dpkg-dev iproute2 python3-cryptography ;;
        bench) echo rabbitmq-server amqp-tools gcc libc6-dev librabbitmq-dev python3-cryptography ;;
    esac
}

# Made once, and again when the requirements or Debian's Python have changed. Fails where pip reaches no index.
linters() {
    { /usr/bin/python3 --version; cat tests/requirements.txt; } >"$temporary/wanted"
    ! cmp -s "$temporary/wanted" .venv/made-of || return 0
    say 'Installing the linters of tests/requirements.txt into .venv'
    rm -rf .venv/made-of .venv/bin .venv/include .venv/lib .venv/lib64 .venv/pyvenv.cfg 2>/dev/null ||
        fail '.venv is out of date and not yours; run: sudo sh tests/run.sh'
    quietly /usr/bin/python3 -m venv --system-site-packages .venv
    if ! .venv/bin/pip install --quiet --requirement tests/requirements.txt >"$temporary/log" 2>&1; then
        tail -n 5 "$temporary/log" >&2
        return 1
    fi
    cp "$temporary/wanted" .venv/made-of
}

# Note what is not checked beside the tests that pytest skips, for the last line.
leave_out() {
    echo "$2" >>"$reports/$1.skipped"
    say "NOT CHECKED: $2"
}

run_pytest() {
    part=$1
    shift
    say "tests/$part"
    /usr/bin/python3 -m pytest -o cache_dir=.venv/pytest --junit-xml="$reports/$part.xml" "tests/$part" "$@"
}

check_style() { .venv/bin/ruff check --quiet . && .venv/bin/ruff format --check . && .venv/bin/mypy --no-error-summary; }

unit() {
    style=0
    if linters; then
        say 'ruff and mypy'
        check_style || style=1
    else
        leave_out unit 'style and types: needs pip, and a network that reaches its index'
    fi
    run_pytest unit -n 2 "$@"
    return "$style"
}

# Six at a time where there is memory for their brokers: most of their time is waiting.
broker() {
    workers=$(awk '/MemAvailable/ { n = int($2 / 800000); print (n < 2 ? 2 : n > 6 ? 6 : n) }' /proc/meminfo)
    run_pytest broker -n "$workers" --dist loadgroup "$@"
}

# Two machines and a workshop of each suite: most of their time is waiting. A first test waits for its machine, too.
package() {
    roots=$(mktemp -d /var/tmp/pvsim-roots-XXXXXXXX)
    chmod 755 "$roots" # apt fetches as another user
    export PVSIM_TEST_ROOTS="$roots"
    run_pytest package -n 8 --dist loadgroup -o timeout=1800 "$@"
}

# One part in a session of its own, whose failure is noted, and ends neither this run nor the next part. It runs in the
# background, for a shell hears no signal while it waits for what runs in front.
run_part() {
    rm -f "$reports/$1".*
    began=$(date +%s)
    status=0
    if [ "$1" = package ] && ! is_root; then
        leave_out package 'the package part, which boots machines: needs root'
    else
        PVSIM_PART="$temporary/$1.pid" setsid --wait sh tests/run.sh "$@" &
        wait $! || status=$?
        rm -f "$temporary/$1.pid"
    fi
    echo "$status $(($(date +%s) - began))" >"$reports/$1.status"
}

bench() {
    /usr/bin/python3 -m tests.bench "$@"
}

models() {
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
    trap '' INT TERM
    for session in "$temporary"/*.pid; do
        [ ! -e "$session" ] || kill -- "-$(cat "$session")" 2>/dev/null || :
    done
    trap - INT TERM
    wait # each ends its machines and brokers, and removes what it has made
    start_services_again
    rm -rf "$temporary" ${roots:+"$roots"}
    # Run with sudo in somebody's checkout, .venv is theirs.
    ! is_root || [ ! -d .venv ] || chown -R --reference=tests .venv 2>/dev/null || :
}

exec </dev/null
# Debian's own tools and python3, whatever else is installed.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
unset PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME
export PYTHONPYCACHEPREFIX="$PWD/.venv/bytecode" RUFF_CACHE_DIR="$PWD/.venv/ruff" MYPY_CACHE_DIR="$PWD/.venv/mypy"
export HYPOTHESIS_STORAGE_DIRECTORY="$PWD/.venv/hypothesis"
reports=.venv/report
policy=
roots=
temporary=$(mktemp -d)
trap leave EXIT
trap 'exit 130' INT TERM

parts=${1-all}
case $parts in
    all) parts='unit broker package' ;;
    unit | broker | package | bench | models) ;;
    *) fail "there is no part '$1'; the parts are unit, broker, package, bench and models" ;;
esac
[ $# = 0 ] || shift

if [ -n "${PVSIM_PART-}" ]; then
    echo $$ >"$PVSIM_PART"
    unset PVSIM_PART
    "$parts" "$@"
    exit
fi
{ mkdir -p "$reports" && touch "$reports/written"; } 2>/dev/null ||
    fail "$PWD cannot be written to, and its .venv holds linters, caches and reports; run it with sudo, or in a copy"
for part in $parts; do
    # shellcheck disable=SC2046 # one word a package
    [ "$part" = package ] && ! is_root || wanted="${wanted-} $(packages_of "$part" | tr '\n' ' ')"
done
# shellcheck disable=SC2086
need $wanted
case $parts in
    bench | models)
        "$parts" "$@"
        exit
        ;;
esac
case $parts in
    # The package part waits for its machines most of the time; it runs beside the other two, and shows what it has to
    # say afterwards.
    *broker*package*)
        say 'tests/package runs beside the others'
        run_part package "$@" >"$reports/beside.log" 2>&1 &
        run_part unit "$@"
        run_part broker "$@"
        wait
        cat "$reports/beside.log"
        ;;
    unit)
        [ -n "${CI-}" ] || export PVSIM_QUICK=1
        run_part unit "$@"
        ;;
    *) run_part "$parts" "$@" ;;
esac
# shellcheck disable=SC2086
/usr/bin/python3 tests/summary.py "$reports" $parts
