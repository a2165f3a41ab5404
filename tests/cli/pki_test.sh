#!/bin/bash
# pki_test.sh ETCD_PKI ETCD ETCDCTL - the acceptance of pki.md 5.1: three nodes' sets are equal to
# kubeadm's field by field, pass openssl's own checks, and three members run on them. ETCD and ETCDCTL
# are etcd-server and etcd-ctl, or a real etcd's.
set -u
here=$(cd "$(dirname "$0")/pki" && pwd)
pki=$(realpath "$1") etcd=$(realpath "$2") etcdctl=$(realpath "$3")
work=$(mktemp -d) failed=0
trap 'rm -rf "$work"' EXIT
out=$work/out
node() { # NAME NUMBER
    mkdir -p "$out/$1/pki/etcd"
    if [ "$1" != cp-1 ]; then
        (cd "$out/cp-1/pki" && cp -p --parents ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key \
            sa.key sa.pub etcd/ca.crt etcd/ca.key "$out/$1/pki/")
    fi
    "$pki" kubeadm -q --dir "$out/$1/pki" --node-name "$1" --apiserver-advertise-address "192.0.2.1$2" \
        --etcd-server-cert-extra-sans "127.0.0.1$2" --etcd-peer-cert-extra-sans "127.0.0.1$2"
}
step() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" > "$work/log" 2>&1; then
        echo "ok   $name${count:+: $(tail -1 "$work/log")}"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        grep -v '^ok' "$work/log" | head -40
    fi
}
same_as_kubeadm() {
    "$here/describe.py" --normalise "$out/cp-1/pki" "$out/cp-2/pki" "$out/node-3/pki" |
        diff - "$here/kubeadm-set.json"
}
step "a set for cp-1" node cp-1 1
step "a set for cp-2, with the shared files" node cp-2 2
step "a set for node-3, with the shared files" node node-3 3
step "equal to kubeadm's sets" same_as_kubeadm
count=yes
step "openssl's checks" "$here/accept-kubeadm-set.sh" "$out/cp-1/pki" cp-1 192.0.2.11 127.0.0.11
step "three members run on them" "$here/prove-3-members.sh" "$etcd" "$etcdctl" "$out" "$work/members"
[ "$failed" -eq 0 ]
