# shellcheck shell=sh disable=SC2034
# lib.sh - what the interop scripts begin with: a directory and ports of their own, cleaned up at the end; `pids` holds
# what is to be killed then. Each step prints one line, the first that fails ends the run.
dir=$(mktemp -d)
port=$((15000 + $$ % 1250 * 4)) # up to port + 3; conformance/run has ports below, suite.py above
pids=

cleanup() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ok() { echo "ok: $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
same() { [ "$2" = "$3" ] && ok "$1" || fail "$1: \"$2\" and \"$3\""; }
