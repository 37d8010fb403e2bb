#!/bin/sh
# Copy the meters' progress and the day files to a directory, while the services run:
#
#     sudo sh backup.sh /srv/backup/pvsim
#
# The progress first: what it says is confirmed has left the meters, so rows may be newer than it and never older. A
# meter that goes on with an older progress sends readings again, and those are recognised. A file that is being
# written may end in half a line in the copy; the PV service cuts that off when it opens it.
#
# What was not in a backup can be made anew, because every reading is a function of seed, meter and instant:
#
#     sudo pvsim-meter -ids Meter_0 --from 2026-06-21 --to 2026-06-22
set -eu

from=${PVSIM_DIRECTORY-/var/lib/pvsim}
to=$1
mkdir -p "$to"
for progress in "$from"/progress*; do
    [ ! -e "$progress" ] || cp -a "$progress" "$to/"
done
find "$from" -maxdepth 1 -name '*-????-??-??.csv' -exec cp -au -t "$to" {} +
