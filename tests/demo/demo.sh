#!/bin/bash
# demo.sh [BIN] - the main job on real input: certificates, a TLS server, keys, a snapshot, a loss, a restore.
# Shows every command before it runs, checks every result, and ends with 1 at the first that differs.
# Works in a directory of its own under $TMPDIR and on free loopback ports; leaves nothing behind.
set -u
bin=$(cd "${1:-$(dirname "$0")/../../build/bin}" && pwd) || exit 1
here=$(mktemp -d "${TMPDIR:-/tmp}/etcd-demo.XXXXXX") || exit 1
cd "$here" || exit 1
PATH=$bin:$PATH
for name in "${!ETCD@}"; do unset "$name"; done # settings of whoever calls are not the demo's
server=

clean_up() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    rm -rf "$here"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' green='' red='' plain=''; fi
step=0
heading() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"; }
good() { printf '%s   ok: %s%s\n' "$green" "$1" "$plain"; }
fail() {
    printf '%s   FAILED: %s%s\n' "$red" "$1" "$plain"
    [ -f server.log ] && { echo "   the server's last words:"; tail -n 5 server.log; }
    exit 1
}
# Show a command and run it in this shell; its output is shown, and kept in the file `out`.
run() {
    printf '%s$ %s%s\n' "$dim" "$1" "$plain"
    eval "$1" >out 2>&1
    local status=$?
    cat out
    [ $status -eq 0 ] || fail "exit status $status"
}
same() {
    [ "$1" = "$2" ] || fail "$3: expected '$2', got '$1'"
    good "$3"
}

# A port of the loopback where nobody listens.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo $port; return; }
    done
    fail "no free port between 20000 and 32000"
}
# Start the server on data directory $1 and wait until it says that it is ready.
start() {
    local line="etcd-server --name m1 --data-dir $1 \\
    --listen-client-urls $url --advertise-client-urls $url \\
    --listen-peer-urls $peer_url --initial-advertise-peer-urls $peer_url --initial-cluster m1=$peer_url \\
    --cert-file pki/m1/etcd/server.crt --key-file pki/m1/etcd/server.key \\
    --client-cert-auth --trusted-ca-file pki/m1/etcd/ca.crt \\
    --peer-cert-file pki/m1/etcd/peer.crt --peer-key-file pki/m1/etcd/peer.key \\
    --peer-client-cert-auth --peer-trusted-ca-file pki/m1/etcd/ca.crt"
    printf '%s$ %s &%s\n' "$dim" "$line" "$plain"
    : >server.log
    eval "exec_server() { exec $line; }"
    exec_server 2>server.log &
    server=$!
    local end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        grep -q 'ready to serve client requests' server.log && { good "serving on $url, pid $server"; return; }
        kill -0 "$server" 2>/dev/null || fail "the server ended"
        sleep 0.05
    done
    fail "the server is not ready after 60 s"
}
stop() {
    printf '%s$ kill %s%s\n' "$dim" "$server" "$plain"
    kill "$server"
    wait "$server"
    local status=$?
    server=
    grep -q 'closed etcd server' server.log || fail "the server did not close its files"
    good "closed cleanly (status $status: ended by SIGTERM, as etcd does)"
}

port=$(free_port) peer_port=$port
while [ "$peer_port" = "$port" ]; do peer_port=$(free_port); done
url=https://127.0.0.1:$port peer_url=https://127.0.0.1:$peer_port
TLS="--endpoints $url --cacert pki/m1/etcd/ca.crt --cert pki/clients/root.crt --key pki/clients/root.key"

# shellcheck disable=SC2086 # several words, on purpose
ask() { etcd-ctl $TLS "$@"; }
all() { ask get --prefix ''; }

heading "Certificates: a CA, the member's pairs, a client for root"
run "etcd-pki cluster --dir pki --member m1=localhost,127.0.0.1 --client root"
run "openssl verify -CAfile pki/m1/etcd/ca.crt pki/m1/etcd/server.crt pki/m1/etcd/peer.crt pki/clients/root.crt"

heading "A server over TLS that lets nobody in without a certificate"
start data
run "TLS='$TLS'"
run 'etcd-ctl $TLS endpoint health'

heading "The served certificate is the file's"
run "openssl s_client -connect 127.0.0.1:$port -cert pki/clients/root.crt -key pki/clients/root.key -CAfile pki/m1/etcd/ca.crt </dev/null 2>/dev/null | openssl x509 >served.pem"
run "openssl x509 -in pki/m1/etcd/server.crt | diff - served.pem"
good "no difference"
run "curl -sS --cacert pki/m1/etcd/ca.crt --cert pki/clients/root.crt --key pki/clients/root.key $url/version"
echo
grep -q '"etcdserver":"3.5' out || fail "curl: no version in the answer"
printf '%s$ etcd-ctl --endpoints %s --cacert pki/m1/etcd/ca.crt get course   # no certificate%s\n' "$dim" "$url" "$plain"
etcd-ctl --endpoints "$url" --cacert pki/m1/etcd/ca.crt --command-timeout 3s get course >out 2>&1 && fail "it was let in"
cat out
good "refused, and told why"

heading "Put and get"
run 'etcd-ctl $TLS put course backup-drill'
run 'ETCDCTL_API=3 etcd-ctl $TLS put /registry/pods/web "three replicas"'
run 'printf "{\"image\": \"postgres\"}" | etcd-ctl $TLS put /registry/pods/db'
run 'ETCDCTL_API=3 etcd-ctl $TLS get --prefix /registry/'
before=$(all) || fail "cannot read everything"
same "$(ask get course --print-value-only)" backup-drill "the value read is the value put"

heading "A snapshot"
run "ETCDCTL_API=3 etcd-ctl $TLS snapshot save backup.db"
run "etcd-snap status backup.db -w table"

heading "A loss"
run 'etcd-ctl $TLS del --prefix /registry/'
same "$(ask get --prefix /registry/)" "" "the keys are gone"
stop

heading "Restore into a new data directory, and serve it"
run "etcd-snap restore backup.db --data-dir restored --name m1 --initial-cluster m1=$peer_url --initial-advertise-peer-urls $peer_url"
start restored
run 'etcd-ctl $TLS get --prefix ""'
same "$(all)" "$before" "the restored server answers with the same data"
run 'etcd-ctl $TLS put after-restore works'
stop

printf '\n%sThe drill is done: %d steps in %d s, every result checked.%s\n' "$bold$green" "$step" "$SECONDS" "$plain"
