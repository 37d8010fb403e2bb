#!/bin/sh
# See pvsim working, on a machine with nothing but Debian on it:
#
#   sudo sh debian/demo.sh
#
# Builds the package, installs it with apt, and shows a meter's and its PV system's rows as they come. Exit status 0
# means that rows were really shown. A second run is as good as the first.
set -eu

ROWS=10         # to show
PATIENCE=120    # seconds; a broker that has just been installed takes a while to start
socket=/etc/systemd/system/epmd.socket.d

cd "$(dirname "$0")/.."
program=debian/demo.sh
. debian/functions.sh

# The newest day file of Meter_0; nothing if there is none.
day_file() { find /var/lib/pvsim -name 'Meter_0-*.csv' 2>/dev/null | sort | tail -n 1; }

# Show the rows that are added to Meter_0's day file from now on, until there are $ROWS of them.
show_rows() {
    file=$(day_file)
    seen=$([ -z "$file" ] || wc -l <"$file")
    shown=0
    waited=0
    while [ "$shown" -lt "$ROWS" ] && [ "$waited" -lt "$PATIENCE" ]; do
        [ "$(day_file)" = "$file" ] || { file=$(day_file) seen=1; }
        lines=$([ -z "$file" ] || wc -l <"$file")
        if [ "${lines:-0}" -gt "${seen:-0}" ]; then
            [ "$shown" -gt 0 ] || { echo "$file"; head -n 1 "$file"; }
            sed -n "$((seen + 1)),${lines}p" "$file"
            shown=$((shown + lines - seen))
            seen=$lines
        fi
        sleep 1
        waited=$((waited + 1))
    done
    [ "$shown" -gt 0 ]
}

# RabbitMQ is to have its port. Whoever else has it is named before anything is installed.
look_at_port() {
    [ -d /run/systemd/system ] && ! systemctl is-active --quiet rabbitmq-server || return 0
    taken=$(ss -Hltnp 'sport = :5672' 2>/dev/null | head -n 1)
    [ -z "$taken" ] || fail "port 5672, where RabbitMQ is to listen, is taken by $(echo "$taken" |
        sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1, process \2/p' | grep . || echo 'somebody'); end that first.
    To use a broker that runs there: sh debian/build.sh, sudo apt-get install --no-install-recommends ./pvsim.deb, and
    look at /etc/pvsim/broker.ini"
}

# RabbitMQ as Debian installs it listens on all addresses of a machine, on three ports. A broker that comes with this
# demo is for this machine alone; one that is there already stays as it is.
keep_broker_local() {
    if [ -e /etc/rabbitmq ] || [ -e /var/lib/rabbitmq ]; then
        say 'RabbitMQ is here already, and keeps its configuration. README says how to have it listen on this machine alone.'
        return
    fi
    mkdir -p /etc/rabbitmq "$socket"
    cat >/etc/rabbitmq/rabbitmq-env.conf <<'END'
# Written by pvsim's demo.sh: the broker, its node and epmd listen on this machine alone. A broker for other machines
# needs none of these lines, users with passwords of their own, and TLS.
NODENAME=rabbit@localhost
NODE_IP_ADDRESS=127.0.0.1
SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
export ERL_EPMD_ADDRESS=127.0.0.1
END
    printf '# The same for epmd.\n[Socket]\nListenStream=\nListenStream=127.0.0.1:4369\n' >"$socket/pvsim-demo.conf"
    say "RabbitMQ comes with this demo, and is to listen on this machine alone; what says so, for you to change:
   /etc/rabbitmq/rabbitmq-env.conf
   $socket/pvsim-demo.conf"
}

# What is wrong with the broker is said at once, and not when no row has come for a long time.
look_at_broker() {
    for _ in $(seq 10); do
        ! pvsim check >"$temporary/check" 2>&1 || return 0
        sleep 1
    done
    cat "$temporary/check" >&2
    fail 'pvsim check, above, says what is wrong with the broker'
}

with_systemd() {
    if systemctl cat rabbitmq-server.service >/dev/null 2>&1; then
        say 'Making sure that the broker runs: systemctl start rabbitmq-server'
        quietly systemctl start rabbitmq-server
    fi
    look_at_broker
    say 'Starting the meter (the installation does that as well, where it may) and the PV system beside it:
   systemctl start pvsim-meter pvsim-pv@Meter_0'
    quietly systemctl start pvsim-meter pvsim-pv@Meter_0

    say "Rows as they come, one a second ($ROWS of them; the first may take some seconds)"
    rows=yes
    show_rows || rows=no

    say 'systemctl status pvsim-meter pvsim-pv@Meter_0'
    systemctl status --no-pager --full --lines=0 pvsim-meter pvsim-pv@Meter_0 || :
    say 'The last lines of the journal: journalctl -u pvsim-meter -u pvsim-pv@Meter_0'
    journalctl --no-pager --lines=12 -u pvsim-meter -u pvsim-pv@Meter_0 || :
    [ "$rows" = yes ] || fail "no row came within $PATIENCE s; status and journal above say why"

    say 'It works, and goes on working. How to go on:'
    cat <<END
  watch the rows           sudo pvsim watch   (they stand in $(day_file))
  have realistic data      model = household and model = weather in /etc/pvsim/simulation.ini, then:
                           sudo pvsim check --offline && sudo systemctl restart pvsim.target
  see what is going on     systemctl status 'pvsim*'
  have more meters         nb_meter in /etc/pvsim/simulation.ini, then: sudo systemctl restart pvsim-meter
  ... and their PV         sudo systemctl enable --now pvsim-pv@Meter_1   (or pvsim-pv@Meter_0..9: ten in one process)
  use another broker       /etc/pvsim/broker.ini, then: sudo systemctl restart pvsim.target
END
}

without_systemd() {
    say 'systemd is not PID 1 here, so nothing runs as a service. Showing a meter, a PV system and a broker of their
   own, all of it gone afterwards: pvsim demo --seconds 15'
    { pvsim demo --seconds 15 || echo "$?" >"$temporary/failed"; } 2>&1 | tee "$temporary/demo"
    [ ! -e "$temporary/failed" ] || fail "pvsim demo ended with status $(cat "$temporary/failed")"
    grep -q '^Meter_0,[0-9]' "$temporary/demo" || fail 'pvsim demo showed no row of Meter_0'

    say 'It works. How to go on stands above, and:'
    echo '  see it again             pvsim demo'
}

[ "$(id -u)" = 0 ] || fail 'installing a package needs root; run: sudo sh debian/demo.sh'
command -v apt-get >/dev/null || fail 'this is for Debian 12 and later; here is no apt-get'
export DEBIAN_FRONTEND=noninteractive
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM

say 'This builds the package from this checkout, installs it with RabbitMQ beside it, and shows it working. How to
   remove it all is said at the end.'
look_at_port
sh debian/build.sh

keep_broker_local
say 'Installing it: apt install ./pvsim.deb (with the broker that it recommends, rabbitmq-server)'
quietly apt-get install -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold --reinstall --install-recommends ./pvsim.deb

if [ -d /run/systemd/system ]; then with_systemd; else without_systemd; fi
cat <<END
  remove it all            sudo apt-get purge --autoremove -o APT::AutoRemove::SuggestsImportant=false pvsim
                           (the data in /var/lib/pvsim too, and all that was installed for it and that no other
                           package needs: apt shows the list and asks)
END
[ ! -e "$socket/pvsim-demo.conf" ] || echo "                           sudo rm -r $socket"
