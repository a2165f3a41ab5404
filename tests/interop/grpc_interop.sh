#!/bin/sh
# grpc_interop.sh BIN [NPM_DIR] - clients that are not ours against etcd-server of the folder BIN, plain and with TLS.
# Without NPM_DIR: those of Debian (python3-etcd3, python3-etcd3gw, patroni), reflection, and a kube-apiserver's calls.
# With it: the npm package etcd3, which is put into NPM_DIR when it is not there yet.
set -eu
bin=$(cd "${1:?usage: grpc_interop.sh BIN [NPM_DIR]}" && pwd)
npm_dir=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
python=/usr/bin/python3 # Debian modules are those of Debian's Python
npm_etcd3=1.1.2
if [ -z "$npm_dir" ]; then
    for module in etcd3 grpc etcd3gw patroni.dcs.etcd3; do
        if ! "$python" -c "import $module" 2>/dev/null; then
            echo "LEFT OUT: clients that are not ours; they need the Debian packages python3-etcd3, python3-etcd3gw, patroni"
            exit 0
        fi
    done
else
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "LEFT OUT: the npm package etcd3; there is no node and npm here"
        exit 0
    fi
    mkdir -p "$npm_dir"
    if [ ! -d "$npm_dir/node_modules/etcd3" ] && ! (cd "$npm_dir" &&
        timeout 120 npm install --no-audit --no-fund --ignore-scripts --no-package-lock "etcd3@$npm_etcd3" >npm.log 2>&1); then
        tail -n 3 "$npm_dir/npm.log"
        echo "LEFT OUT: the npm package etcd3 cannot be fetched"
        exit 0
    fi
fi
for name in $(env | sed -n 's/^\(ETCD[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
work=$(mktemp -d)
servers=
stop() {
    # shellcheck disable=SC2086 # words, on purpose
    [ -z "$servers" ] || { kill $servers 2>/dev/null || true; wait $servers 2>/dev/null || true; }
    rm -rf "$work"
}
trap stop EXIT
free_ports() { "$python" -c 'import sys; sys.path.insert(0, sys.argv[1]); import suite; print(*suite.free_ports(2))' "$here/../e2e"; }

# serve NAME SCHEME FLAG... - a server; its address in $work/NAME.port
serve() {
    name=$1 scheme=$2 ports=$(free_ports)
    port=${ports% *} peer=http://127.0.0.1:${ports#* }
    shift 2
    "$bin/etcd-server" --name="$name" --data-dir="$work/$name" --listen-client-urls="$scheme://127.0.0.1:$port" \
        --advertise-client-urls="$scheme://127.0.0.1:$port" --listen-peer-urls="$peer" \
        --initial-advertise-peer-urls="$peer" --initial-cluster="$name=$peer" "$@" >"$work/$name.log" 2>&1 &
    servers="$servers $!"
    echo "127.0.0.1:$port" >"$work/$name.port"
    for _ in $(seq 1200); do
        if grep -q 'ready to serve client requests' "$work/$name.log"; then return; fi
        if ! kill -0 $! 2>/dev/null; then cat "$work/$name.log" >&2; exit 1; fi
        sleep 0.05
    done
    echo "the server $name did not get ready" >&2
    exit 1
}
"$bin/etcd-pki" cluster -q --dir "$work/pki" --member tls=localhost,127.0.0.1 --client gateway
etc=$work/pki/tls/etcd
serve plain http
serve tls https --cert-file="$etc/server.crt" --key-file="$etc/server.key" --trusted-ca-file="$etc/ca.crt" --client-cert-auth

# both SCRIPT... - run it against the one and the other
both() {
    timeout 120 "$@" "$(cat "$work/plain.port")"
    timeout 120 "$@" "$(cat "$work/tls.port")" "$etc/ca.crt" "$work/pki/clients/gateway.crt" "$work/pki/clients/gateway.key"
}
if [ -n "$npm_dir" ]; then
    NODE_PATH=$(cd "$npm_dir" && pwd)/node_modules
    export NODE_PATH
    both node --no-deprecation "$here/npm_interop.js"
else
    both "$python" "$here/grpc_interop.py"
    both "$python" "$here/gateway_interop.py"
    both "$python" "$here/patroni_interop.py"
    both "$python" "$here/kube_interop.py"
fi
