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

with_systemd() {
    if systemctl cat rabbitmq-server.service >/dev/null 2>&1; then
        say 'Making sure that the broker runs: systemctl start rabbitmq-server'
        quietly systemctl start rabbitmq-server
    fi
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
  watch the rows           sudo tail -f $(day_file)
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
sh debian/build.sh

say 'Installing it: apt install ./pvsim.deb (with the broker that it recommends, rabbitmq-server)'
quietly apt-get install -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold --reinstall --install-recommends ./pvsim.deb

if [ -d /run/systemd/system ]; then with_systemd; else without_systemd; fi
cat <<END
  remove it all            sudo apt-get purge --autoremove -o APT::AutoRemove::SuggestsImportant=false pvsim
                           (the data in /var/lib/pvsim too, and all that was installed for it and that no other
                           package needs: apt shows the list and asks)
END
