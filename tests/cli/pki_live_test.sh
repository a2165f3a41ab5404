#!/bin/bash
# pki_live_test.sh ETCD_PKI ETCD [TIMES] - probe, verify --pid, renew, revoke and rotate-ca against a running
# member: the sentences of pki.md 4.6 and the exit statuses, those of probe TIMES (100) times each.
# ETCD is a real etcd, or etcd-server.
set -u
times=${3:-100}
pki=$(realpath "$1") etcd=$(realpath "$2") failed=0
work=$(mktemp -d) pid=
cd "$work" || exit 1
export ETCD_PKI_DIR=pki
trap '[ -z "$pid" ] || kill -9 $pid 2> /dev/null; rm -rf "$work"' EXIT
free() { ! (: > "/dev/tcp/$1") 2> /dev/null; } # HOST/PORT: nobody listens there
while port=$((30100 + RANDOM % 2600)) && ! { free 127.0.0.1/$port && free 127.0.0.1/$((port + 1)); }; do :; done
url=https://127.0.0.1:$port peer=https://127.0.0.1:$((port + 1))
start() { # the trusted CA in its environment, all else as flags
    ETCD_TRUSTED_CA_FILE=pki/etcd/ca.crt "$etcd" --name m1 --data-dir data --listen-client-urls $url --advertise-client-urls $url \
        --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster m1=$peer \
        --cert-file pki/etcd/server.crt --key-file pki/etcd/server.key --client-cert-auth \
        --peer-cert-file pki/etcd/peer.crt --peer-key-file pki/etcd/peer.key \
        --peer-client-cert-auth --peer-trusted-ca-file pki/etcd/ca.crt --client-crl-file pki/etcd/ca.crl > log 2>&1 &
    pid=$!
    local end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        "$pki" probe $url > /dev/null 2>&1 && return 0
        sleep 0.05
    done
    tail -5 log
    return 1
}
stop() { kill $pid; wait $pid 2> /dev/null; pid=; }
says() { # NAME STATUS TEXT ARGUMENTS...
    local name=$1 want=$2 text=$3 out status
    shift 3
    out=$("$pki" "$@" 2>&1)
    status=$?
    if [ $status -eq "$want" ] && [[ $out == *$text* ]]; then
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name: status $status, wanted $want and: $text"
        echo "$out"
    fi
}
until_says() { # like says, within thirty seconds: a running member may look at its files once a second
    local want=$2 text=$3 out status end=$((SECONDS + 30))
    while [ $SECONDS -lt $end ]; do
        out=$("$pki" "${@:4}" 2>&1)
        status=$?
        [ $status -eq "$want" ] && [[ $out == *$text* ]] && break
        sleep 0.05
    done
    says "$@"
}
often() { # like says, so many times over
    local i out status
    for ((i = 0; i < times; i++)); do
        out=$("$pki" "${@:4}" 2>&1)
        status=$?
        [ $status -eq "$2" ] && [[ $out == *$3* ]] || break
    done
    [ "$i" -eq "$times" ] && echo "ok   $1, $times times" && return
    failed=$((failed + 1))
    echo "FAIL $1, time $((i + 1)): status $status, wanted $2 and: $3"
    echo "$out"
}
"$pki" init -q --key p256
for role in server peer; do "$pki" issue $role m1 -q --key p256; done
"$pki" issue healthcheck-client -q --key p256
"$pki" issue client bad -q --key p256
"$pki" init --dir other -q --key p256
"$pki" issue client x --dir other -q --key p256
"$pki" issue server half --out serveronly --key p256 -q
openssl req -new -key pki/serveronly.key -subj /CN=x -out wrong.csr 2> /dev/null
printf 'extendedKeyUsage=serverAuth\n' > ext
openssl x509 -req -in wrong.csr -CA pki/etcd/ca.crt -CAkey pki/etcd/ca.key -days 1 -extfile ext -out wrong.crt 2> /dev/null
printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:192.0.2.9\n' > ext
openssl x509 -req -in wrong.csr -CA pki/etcd/ca.crt -CAkey pki/etcd/ca.key -days 1 -extfile ext -out elsewhere.crt 2> /dev/null
openssl req -new -key pki/clients/bad.key -subj /CN=bad -out late.csr 2> /dev/null
openssl x509 -req -in late.csr -CA pki/etcd/ca.crt -CAkey pki/etcd/ca.key -days -1 -out late.crt 2> /dev/null
"$pki" crl -q 2> /dev/null
start || exit 1
often "a good pair" 0 "accepted" probe $url
asked=$("$pki" probe $url -o json | jq -c '.ok,(.endpoints[]|.ok,.subject,(.checks|map(select(.check == "client cert").verdict)))' | xargs)
[ "$asked" = 'true true CN=m1 [accepted]' ] && echo "ok   as JSON" || { echo "FAIL as JSON: $asked"; failed=$((failed + 1)); }
asked=$("$pki" probe $url -q)$("$pki" probe $url -q --expect pki/etcd/peer.crt | sed 's/  */ /g; s/^https.*TLS_.*/URL/' | xargs)
[ "$asked" = 'URL same as pki/etcd/peer.crt no: the member serves another certificate than this file' ] && echo "ok   with -q what is wrong" ||
    { echo "FAIL with -q what is wrong: $asked"; failed=$((failed + 1)); }
often "the file that is served" 0 "same as      pki/etcd/server.crt                  yes" probe $url
says "the peer port" 0 "accepted" probe $peer --peer
# etcd closes the connection, etcd-server says why
says "a member's certificate of another host" 3 "client cert  elsewhere.crt                        refused" probe $peer --peer \
    --cert elsewhere.crt --key pki/serveronly.key
often "another CA's certificate" 3 "refused: unknown_ca" probe $url --cert other/clients/x.crt --key other/clients/x.key
often "a wrong usage" 3 "certificate: its usage is serverAuth" probe $url --cert wrong.crt --key pki/serveronly.key
often "an expired certificate" 3 "refused: certificate_expired: it ended on 20" probe $url --cert late.crt --key pki/clients/bad.key
mv pki/etcd/healthcheck-client.crt away
often "no client certificate" 3 "refused: certificate_required" probe $url
mv away pki/etcd/healthcheck-client.crt
says "verify, the flags and environment of the process" 4 "0 errors, " verify --pid $pid
cp pki/etcd/ca.crt away && cp other/etcd/ca.crt pki/etcd/ca.crt
says "verify, the file that its environment names" 3 "C1  pki/etcd/server.crt" verify --pid $pid
mv away pki/etcd/ca.crt
says "another file than served" 3 "no: the member serves another certificate" probe $url --expect pki/etcd/peer.crt
says "a CA that has not issued it" 3 "not with the key of the one trusted" probe $url --cacert other/etcd/ca.crt
says "nobody there" 1 "onnect" probe https://127.0.0.1:1
says "no TLS asked for" 2 "no TLS behind http" probe http://127.0.0.1:1
says "a client about to be revoked" 0 "accepted" probe $url --cert pki/clients/bad.crt --key pki/clients/bad.key
"$pki" revoke clients/bad -q 2> /dev/null
until_says "a revoked client" 3 "revoked" probe $url --cert pki/clients/bad.crt --key pki/clients/bad.key
often "a revoked client" 3 "revoked" probe $url --cert pki/clients/bad.crt --key pki/clients/bad.key
often "the others" 0 "accepted" probe $url
"$pki" renew etcd-server -q
until_says "a renewed pair is served without a restart" 0 "yes" probe $url
# A new CA: etcd reads CA files at its start only, etcd-server by itself.
reread() {
    if [[ $etcd != *etcd-server ]]; then stop; start || exit 1; fi
}
says "switch before prepare" 1 "prepare first" rotate-ca switch --force
says "prepare" 0 "prepared:" rotate-ca prepare
[[ $etcd == *etcd-server ]] || says "nobody has read it yet" 3 "no: unknown_ca" rotate-ca status --endpoints $url
[[ $etcd == *etcd-server ]] || says "so switch refuses" 1 "not trust the next CA yet" rotate-ca switch --endpoints $url,$peer
reread
until_says "now both ports trust it" 0 "yes (2 CA names)" rotate-ca status --endpoints $url,$peer
says "finish before switch" 1 "switch first" rotate-ca finish
cp -r pki before
says "switch" 0 "switched:" rotate-ca switch --endpoints $url,$peer
until_says "the new pair is served" 0 "yes" probe $url
says "an old client is still served" 0 "accepted" probe $url --cert before/etcd/healthcheck-client.crt --key before/etcd/healthcheck-client.key
says "finish before the list is written again" 1 "is still of the previous CA" rotate-ca finish
"$pki" crl -q 2> /dev/null
says "finish" 0 "finished:" rotate-ca finish
reread
until_says "a certificate of the old CA is refused" 3 "refused: unknown_ca" probe $url --cert before/etcd/healthcheck-client.crt --key before/etcd/healthcheck-client.key
says "a new client is served" 0 "accepted" probe $url
stop
echo "$failed failed"
[ "$failed" -eq 0 ]
