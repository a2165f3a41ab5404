#!/bin/sh
# peers_interop.sh ETCD_BIN_DIR PEERS_MEMBER - our peer transport and a real etcd member, on loopback: refused as a
# stranger and with another cluster's id, talked to over streams as a learner, told when it was removed.
set -eu
real=${1:?usage: peers_interop.sh ETCD_BIN_DIR PEERS_MEMBER}
member=$(realpath "${2:?}")
# shellcheck source=tests/interop/lib.sh
. "$(dirname "$0")/lib.sh"

fail() { echo "FAILED: $*" >&2; tail -n 5 "$dir/etcd.log" "$dir/member.log" >&2; exit 1; }
ctl() { "$real/etcdctl" --endpoints="127.0.0.1:$port" "$@"; }

theirs=http://127.0.0.1:$((port + 1)) ours=http://127.0.0.1:$((port + 2))
"$real/etcd" --name real --data-dir "$dir/data" --listen-client-urls "http://127.0.0.1:$port" \
    --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "$theirs" --initial-advertise-peer-urls "$theirs" \
    --initial-cluster "real=$theirs" --log-level warn >"$dir/etcd.log" 2>&1 &
pids=$!
tries=0
until ctl put k v >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] && kill -0 "$pids" 2>/dev/null || fail "etcd does not start"
    sleep 0.2
done
cluster=$(curl -si "$theirs/members" | tr -d '\r' | sed -n 's/^X-Etcd-Cluster-Id: //p')
id=$(ctl member list | sed -n 's/,.*//p')

# try WANTED OWN_ID CLUSTER_ID [words that our log must hold]
try() {
    "$member" "$theirs" "$id" "$ours" "$2" "$3" "$1" 2>"$dir/member.log" || fail "as $2: wanted: $1"
    [ -z "${4:-}" ] || grep -q "$4" "$dir/member.log" || fail "as $2: our log lacks: $4"
}
try refused 1234 "$cluster" "404 error sender not found"
try refused 1234 99 "412 cluster ID mismatch"
own=$(ctl member add ours --learner --peer-urls="$ours" | sed -n 's/^Member *\([0-9a-f]*\) added.*/\1/p')
try streams "$own" "$cluster" "established TCP streaming connection"
grep -q "panic" "$dir/etcd.log" && fail "the real member panicked"
ctl member remove "$own" >/dev/null
try removed "$own" "$cluster" "permanently removed"
echo "peers against a real etcd: passed"
