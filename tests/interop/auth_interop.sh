#!/bin/sh
# auth_interop.sh ETCD_BIN_DIR [BIN_DIR] - users, roles and tokens between our server and a real etcd.
#
# ETCD_BIN_DIR holds a real etcd, etcdctl and etcdutl (3.5 or later), BIN_DIR our programs. A real
# snapshot with authentication on is restored into ours, a real data dir opens in ours, and a
# snapshot of ours restores into a real etcd: everybody logs in, and rights hold. Runs on loopback in a
# temporary directory; each step prints one line, the first that fails ends the run.
set -eu
real=$(realpath "${1:?usage: auth_interop.sh ETCD_BIN_DIR [BIN_DIR]}")
ours=$(realpath "${2:-build/bin}")
vectors=$(realpath "$(dirname "$0")/../wire/vectors")
# shellcheck source=tests/interop/lib.sh
. "$(dirname "$0")/lib.sh"

ctl() { "$ours/etcd-ctl" --endpoints="127.0.0.1:$port" "$@"; }
refused() { # refused WHAT TEXT command...
    what=$1 text=$2; shift 2
    if answer=$("$@" 2>&1); then fail "$what: was allowed"; fi
    case $answer in *"$text"*) ok "$what" ;; *) fail "$what: $answer" ;; esac
}

# start PROGRAM DATA_DIR: a server on the ports of this run, waited for.
start() {
    "$1" --data-dir "$2" --listen-client-urls "http://127.0.0.1:$port" \
        --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
        --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" \
        --initial-cluster "default=http://127.0.0.1:$((port + 1))" --bcrypt-cost 4 --log-level error >"$dir/log" 2>&1 &
    pids=$! tries=0
    until curl -fs "http://127.0.0.1:$port/health" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] && kill -0 "$pids" 2>/dev/null || { cat "$dir/log" >&2; fail "$1 does not start on $2"; }
        sleep 0.1
    done
}
stop() { kill "$pids"; wait "$pids" 2>/dev/null || true; pids=; }
restore() { # restore DB DATA_DIR
    "$ours/etcd-snap" restore "$1" --data-dir "$2" --name default \
        --initial-cluster "default=http://127.0.0.1:$((port + 1))" \
        --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" >"$dir/restored.txt" 2>&1 || {
        cat "$dir/restored.txt" >&2
        fail "restore of $1"
    }
}

# The users of the snapshot, whichever server holds them.
ask_everybody() {
    same "$1: auth revision" "$(ctl --user root:rootpw auth status)" "Authentication Status: true
AuthRevision: $2"
    same "$1: users" "$(ctl --user root:rootpw user list | tr '\n' ' ')" "alice bob certonly root "
    same "$1: roles of bob" "$(ctl --user bob:bobpw user get bob)" "User: bob
Roles: reader writer"
    [ -n "$(ctl --user alice:alicepw get /registry/ --prefix --keys-only --limit 1)" ] || fail "$1: alice reads"
    ok "$1: alice reads"
    refused "$1: alice does not write" "permission denied" ctl --user alice:alicepw put /registry/x y
    same "$1: bob writes" "$(ctl --user bob:bobpw put /events/x y)" "OK"
    refused "$1: bob does not write elsewhere" "permission denied" ctl --user bob:bobpw put /registry/x y
    refused "$1: a wrong password" "authentication failed" ctl --user bob:alicepw get big
    refused "$1: a user without password" "no password user" ctl --user certonly:x get big
    refused "$1: nobody" "user name is empty" ctl get big
}

cd "$dir"
restore "$vectors/snapshot-3.5.30.db" restored
start "$ours/etcd-server" restored
ask_everybody "a real snapshot in ours" 17
ctl --user root:rootpw user passwd bob <<'.' >/dev/null
bob two
bob two
.
ctl --user root:rootpw role grant-permission writer readwrite /new/ --prefix >/dev/null
ctl --user root:rootpw snapshot save ours.db >/dev/null 2>&1
stop
start "$ours/etcd-server" restored
refused "ours again: the old password" "authentication failed" ctl --user bob:bobpw get big
same "ours again: the new one" "$(ctl --user 'bob:bob two' put /new/1 x)" "OK"
ctl --user root:rootpw user passwd --interactive=false bob <<'.' >/dev/null
bobpw
.
ctl --user root:rootpw role revoke-permission writer /new/ --prefix >/dev/null
ctl --user root:rootpw snapshot save ours.db >/dev/null 2>&1
stop

"$real/etcdutl" snapshot restore ours.db --data-dir theirs --name default \
    --initial-cluster "default=http://127.0.0.1:$((port + 1))" \
    --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" >/dev/null 2>&1
start "$real/etcd" theirs
ask_everybody "our snapshot in a real etcd" 21
ctl --user root:rootpw user passwd alice <<'.' >/dev/null
alice two
alice two
.
ctl --user root:rootpw put last word >/dev/null
stop

start "$ours/etcd-server" theirs
same "a real data dir in ours: last write" "$(ctl --user root:rootpw get last --print-value-only)" "word"
refused "a real data dir in ours: the old password" "authentication failed" ctl --user alice:alicepw get a
same "a real data dir in ours: the new one" "$(ctl --user 'alice:alice two' get a --count-only --write-out fields | tail -1)" '"Count" : 0'
same "a real data dir in ours: bob writes" "$(ctl --user bob:bobpw put /events/y z)" "OK"
stop
echo "auth_interop: all passed"
