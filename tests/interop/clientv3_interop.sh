#!/bin/bash
# clientv3_interop.sh BIN BUILD [ETCD_DIR] - etcd's own Go client (Debian's golang-etcd-server-dev, unchanged) against
# the programs in BIN. The program in clientv3/ is built below BUILD and run against etcd-server; what it prints must be
# clientv3/expected.txt, which a real etcd 3.5.30 printed. With a real etcd in ETCD_DIR, that runs beside ours and is
# held to the same.   CLIENTV3_RUN=WORD  only topics of that name (an expression)
set -eu
bin=$(cd "${1:?usage: clientv3_interop.sh BIN BUILD [ETCD_DIR]}" && pwd)
mkdir -p "${2:?usage: clientv3_interop.sh BIN BUILD [ETCD_DIR]}/clientv3"
build=$(cd "$2/clientv3" && pwd)
real=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
gocode=/usr/share/gocode
if ! command -v go >/dev/null || [ ! -d "$gocode/src/go.etcd.io/etcd/clientv3" ]; then
    echo "LEFT OUT: etcd's Go client; it needs the Debian packages golang-go and golang-etcd-server-dev"
    exit 0
fi
for name in "${!ETCD@}" "${!GO@}"; do unset "$name"; done
export GO111MODULE=off GOPATH=$gocode GOCACHE=$build/cache GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
badly=$(gofmt -l "$here/clientv3")
[ -z "$badly" ] || { echo "not as gofmt lays it out: $badly"; exit 1; }
(cd "$here/clientv3" && go build -o "$build/clientv3" .)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM # the program's servers end with it
# run NAME SERVER
run() {
    mkdir "$work/$1"
    timeout 150 "$build/clientv3" -server "$2" -pki "$bin/etcd-pki" -dir "$work/$1" ${CLIENTV3_RUN:+-run "$CLIENTV3_RUN"} \
        >"$work/$1.txt" 2>"$work/$1.log" || { tail -n 30 "$work/$1.log"; echo "$1: it did not get through"; }
}
[ -z "$real" ] || run etcd "$real/etcd" >"$work/etcd.told" &
run etcd-server "$bin/etcd-server"
wait
[ ! -f "$work/etcd.told" ] || cat "$work/etcd.told"

cp "$here/clientv3/expected.txt" "$work/expected.txt"
if [ -n "${CLIENTV3_RUN:-}" ]; then # only of what ran
    awk 'NR == FNR { if (/^== /) ran[$0] = 1; next } /^== / { wanted = $0 in ran } wanted' "$work/etcd-server.txt" \
        "$here/clientv3/expected.txt" >"$work/expected.txt"
fi
status=0
for name in etcd-server ${real:+etcd}; do
    if diff -u --label expected --label "$name" "$work/expected.txt" "$work/$name.txt" && [ -s "$work/$name.txt" ]; then
        echo "etcd's Go client and $name: $(grep -c '^== ' "$work/$name.txt") topics, $(wc -l <"$work/$name.txt") lines as expected"
    else
        status=1
    fi
done
exit $status
