#!/bin/sh
# grpc_interop.sh BIN - Python's gRPC clients (Debian: python3-etcd3) against etcd-server of the folder BIN.
set -eu
bin=${1:?usage: grpc_interop.sh BIN}
here=$(cd "$(dirname "$0")" && pwd)
python=/usr/bin/python3 # Debian modules are those of Debian's Python
if ! "$python" -c "import etcd3, grpc" 2>/dev/null; then
    echo "LEFT OUT: gRPC clients that are not ours; they need the Debian package python3-etcd3"
    exit 0
fi
work=$(mktemp -d)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
client=http://127.0.0.1:$(free_port)
peer=http://127.0.0.1:$(free_port)
"$bin/etcd-server" --name=a --data-dir="$work/data" --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="a=$peer" >"$work/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 200); do
    if grep -q 'ready to serve client requests' "$work/log"; then break; fi
    if ! kill -0 $server 2>/dev/null; then cat "$work/log" >&2; exit 1; fi
    sleep 0.05
done
timeout 120 "$python" "$here/grpc_interop.py" "${client#http://}"
