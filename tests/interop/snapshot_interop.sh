#!/bin/sh
# snapshot_interop.sh ETCD_BIN_DIR [ETCD_SNAP] - snapshots between etcd-snap and a real etcd, both ways.
#
# ETCD_BIN_DIR holds a real etcd, etcdctl and etcdutl (3.5 or later). Everything runs on loopback, in
# a temporary directory; each step prints one line, the first that fails ends the run.
set -eu
real=${1:?usage: snapshot_interop.sh ETCD_BIN_DIR [ETCD_SNAP]}
snap=$(realpath "${2:-build/bin/etcd-snap}")
vectors=$(realpath "$(dirname "$0")/../wire/vectors")
# shellcheck source=tests/interop/lib.sh
. "$(dirname "$0")/lib.sh"

ctl() { "$real/etcdctl" --endpoints="127.0.0.1:$port" "$@"; }

# start DATA_DIR [flag...]: a real etcd on the ports of this run, waited for.
start() {
    data=$1; shift
    "$real/etcd" --data-dir "$data" --listen-client-urls "http://127.0.0.1:$port" \
        --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
        --log-level error "$@" >"$dir/etcd.log" 2>&1 &
    pids=$! tries=0
    until ctl endpoint health >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] && kill -0 "$pids" 2>/dev/null || { cat "$dir/etcd.log" >&2; fail "etcd does not start on $data"; }
        sleep 0.2
    done
}
stop() { kill "$pids"; wait "$pids" 2>/dev/null || true; pids=; }
hashkv() { ctl endpoint hashkv -w json | sed 's/.*"hash":\([0-9]*\).*/\1/'; }

cd "$dir"
start first
i=0
while [ $i -lt 60 ]; do ctl put "k$((i % 17))" "value $i" >/dev/null; i=$((i + 1)); done
head -c 300000 /dev/zero | tr '\0' x | ctl put big >/dev/null
ctl del k3 >/dev/null
ctl compaction 20 >/dev/null
ctl put after compaction >/dev/null
ctl lease grant 600 >/dev/null
ctl put last one >/dev/null

ctl snapshot save theirs.db >/dev/null 2>&1
"$snap" save ours.db --endpoints "127.0.0.1:$port" >saved.txt 2>/dev/null
same "save prints what etcdctl prints" "$(cat saved.txt)" "Snapshot saved at ours.db"
same "save leaves mode 0600 and no .part" "$(stat -c %a ours.db; ls ./*.part 2>/dev/null || true)" "600"
hash=$(hashkv)
stop

for file in theirs.db ours.db "$vectors/snapshot-3.5.30.db" "$vectors/bolt-sequential.db" first/member/snap/db; do
    for format in json fields simple; do
        same "status -w $format of ${file##*/}" "$("$snap" status "$file" -w $format)" \
            "$("$real/etcdutl" snapshot status "$file" -w $format)"
    done
done
same "hashkv of the file is the server's" "$("$snap" hashkv ours.db | cut -d, -f1)" "$hash"

"$real/etcdutl" snapshot restore ours.db --data-dir by-etcdutl >/dev/null 2>&1
"$snap" restore ours.db --data-dir by-ours 2>/dev/null
"$snap" restore first/member/snap/db --skip-hash-check --data-dir by-copy 2>/dev/null
for data in by-etcdutl by-ours by-copy; do
    start "$data"
    same "a real etcd on $data answers the same HashKV" "$(hashkv)" "$hash"
    same "and the same value" "$(ctl get last --print-value-only)" "one"
    ctl put more data >/dev/null
    stop
    start "$data"
    same "and again after a restart" "$(ctl get more --print-value-only)" "data"
    stop
done
"$real/etcdutl" snapshot status by-ours/member/snap/db >/dev/null && ok "etcdutl finds our database sound"

"$snap" restore ours.db --data-dir bumped --bump-revision 1000 --mark-compacted 2>/dev/null
start bumped
ctl put bumped yes >/dev/null
same "a bumped restore goes on far ahead" "$(ctl get last -w fields | grep '^"Revision"')" \
    "$(printf '"Revision" : %d' $(($("$snap" status ours.db | cut -d, -f2) + 1001)))"
ctl get last --rev=50 2>&1 | grep -q "required revision has been compacted" && ok "and what was before is compacted"
stop

p=$((port + 2)) cluster="" members=""
for n in 1 2 3; do cluster="$cluster${cluster:+,}n$n=http://127.0.0.1:$((p + 2 * n))"; done
for n in 1 2 3; do
    "$snap" restore ours.db --name n$n --data-dir m$n --initial-cluster "$cluster" --initial-cluster-token t \
        --initial-advertise-peer-urls "http://127.0.0.1:$((p + 2 * n))" 2>/dev/null
    "$real/etcd" --name n$n --data-dir m$n --listen-peer-urls "http://127.0.0.1:$((p + 2 * n))" \
        --listen-client-urls "http://127.0.0.1:$((p + 2 * n + 1))" --advertise-client-urls "http://127.0.0.1:$((p + 2 * n + 1))" \
        --log-level error >m$n.log 2>&1 &
    pids="$pids $!" members="$members${members:+,}127.0.0.1:$((p + 2 * n + 1))"
done
tries=0
until [ "$("$real/etcdctl" --endpoints="$members" endpoint health 2>&1 | grep -c 'is healthy')" = 3 ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat m?.log >&2; fail "the three members do not form a cluster"; }
    sleep 0.2
done
same "three restored members agree" "$("$real/etcdctl" --endpoints="$members" endpoint hashkv | cut -d, -f2 | sort -u)" " $hash"
echo "snapshot interop: all passed"
