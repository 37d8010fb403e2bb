# What build.sh and demo.sh here and tests/run.sh have in common. Sourced by them, with $program and $temporary set:
# what messages call the script, and a directory to write to.
# shellcheck disable=SC2154

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\n%s: %s\n' "$program" "$*" >&2; exit 1; }

# Run a command that has much to say, and let it speak only if it fails.
quietly() {
    "$@" >"$temporary/log" 2>&1 </dev/null && return
    tail -n 40 "$temporary/log" >&2
    fail "this failed, and its last words stand above: $*"
}
