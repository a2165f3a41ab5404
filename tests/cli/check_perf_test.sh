#!/bin/bash
# check_perf_test.sh BIN - etcd-ctl check perf with the small load against a server of ours: its lines, that it cleans
# up after itself. Takes 60 seconds; whether it says PASS depends on the machine.
set -eu
bin=$(cd "$1" && pwd)
directory=$(mktemp -d)
port=$((24000 + RANDOM % 8000))
url=http://127.0.0.1:$port
"$bin/etcd-server" --data-dir "$directory/data" --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "unix://$directory/peer" --initial-advertise-peer-urls "unix://$directory/peer" \
    --initial-cluster "default=unix://$directory/peer" >"$directory/log" 2>&1 &
trap 'kill %1; wait; rm -rf "$directory"' EXIT
ctl=("$bin/etcd-ctl" "--endpoints=$url")
"${ctl[@]}" --command-timeout=20s put other 1 >/dev/null

code=0
"${ctl[@]}" check perf --prefix=/perf/ --auto-compact --auto-defrag >"$directory/out" || code=$?
tr '\r' '\n' <"$directory/out" >"$directory/lines"
tail -n 8 "$directory/lines"
grep -q '^ 60 / 60  100.00% 1m0s$' "$directory/lines"
sed -n '/^Compacting/,$p' "$directory/lines" >"$directory/end"
pattern='^Compacting with revision [0-9]+
Compacted with revision [0-9]+
Defragmenting "http://127.0.0.1:[0-9]+"
Defragmented "http://127.0.0.1:[0-9]+"
(PASS: Throughput is|FAIL: Throughput too low:) [0-9]+ writes/s
(PASS: Slowest request took|Slowest request took too long:) [0-9.]+s
(PASS: Stddev is|Stddev too high:) [0-9.]+s
(PASS|FAIL)$'
[[ $(cat "$directory/end") =~ $pattern ]]
[ "$(tail -n 1 "$directory/end")" = "$([ $code -eq 0 ] && echo PASS || echo FAIL)" ]
[ "$("${ctl[@]}" get '' --prefix --keys-only)" = $'other\n' ] || [ "$("${ctl[@]}" get '' --prefix --keys-only | grep -c .)" -eq 1 ]
echo "check perf: as etcdctl prints it"
