#!/bin/sh
# Build the Debian package and leave it as pvsim.deb in this checkout:
#
#   sudo sh debian/build.sh      installs with apt what building needs, where it is missing
#   sh debian/build.sh           the same without root, once that is installed
#
# The build runs in a temporary copy, so the checkout stays as it is.
set -eu

cd "$(dirname "$0")/.."
program=debian/build.sh
. debian/functions.sh
# Debian's own tools and python3, whatever else is installed.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM

if ! dpkg-checkbuilddeps >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || fail 'what building needs is not all installed; run: sudo sh debian/build.sh'
    say 'Installing what building needs (apt-get build-dep ./, marked as not asked for by hand)'
    apt-get update -qq || echo 'The package lists could not be brought up to date; going on with those at hand.' >&2
    quietly apt-get build-dep -y -o DPkg::Lock::Timeout=120 -o APT::Get::Build-Dep-Automatic=true ./
fi

say 'Building the package (dpkg-buildpackage -us -uc -b, in a temporary copy)'
mkdir "$temporary/pvsim"
tar -c --exclude=./.git --exclude=./.venv --exclude=./pvsim.deb --exclude=__pycache__ . | tar -x -C "$temporary/pvsim"
quietly env -C "$temporary/pvsim" dpkg-buildpackage -us -uc -b

# The checkout may be somebody else's: a link that stands there is replaced, and nothing is done to what it names.
chown --reference=debian/control "$temporary"/pvsim_*_all.deb 2>/dev/null || :
mv -fT "$temporary"/pvsim_*_all.deb pvsim.deb
say "Built: $PWD/pvsim.deb"
