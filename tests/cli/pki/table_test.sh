#!/bin/bash
# table_test.sh ETCD_PKI MANUAL - each cell of our column in the manual's comparison is true: "y" does it,
# "n" does not. A row without a proof here, or a proof without a row, fails.
set -u
pki=$(realpath "$1") manual=$(realpath "$2")
work=$(mktemp -d) failed=0
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset ETCD_PKI_DIR ETCD_PKI_CA_PASSPHRASE
shown() { openssl x509 -in "$1" -noout "${@:2}"; }
seconds() { date -d "$(shown "$1" "-$2date" | cut -d= -f2)" +%s; }
p256=(--key p256 -q)

declare -A proof=(
    ["CA in one command"]=ca ["leaf with both usages"]=both_usages ["IP and DNS SAN"]=sans ["choose CN and O"]=names
    ["choose lifetime"]=lifetime ["backdating for skew"]=backdating ["RSA or EC"]=kinds ["kubeadm's names and modes"]=kubeadm_set
    ["N members in one command"]=members ["make a request"]=request ["sign it for a role"]=sign ["revoke, write a CRL"]=revocation
    ["CRL that etcd 3.6 reads"]=der_list ["renew, keeping names"]=renewal ["renew, keeping the key"]=same_key ["renew a CA"]=renewed_ca
    ["replace a CA with overlap"]=rotation ["expiry of many files"]=expiry ["status for monitoring"]=status ["Prometheus"]=prometheus
    ["check against etcd's flags"]=flags ["compare wire with disk"]=wire ["JSON of certificates"]=json
    ["never overwrites silently"]=overwriting ["no prompt, no config file"]=prompts ["encrypted CA key"]=locked
    ["kubeconfig files"]=kubeconfigs
)
ca() { "$pki" init "${p256[@]}" && openssl verify -CAfile pki/etcd/ca.crt pki/etcd/ca.crt; }
both_usages() { "$pki" issue server m1 --ip 192.0.2.1 --dns db.example "${p256[@]}" && shown pki/etcd/server.crt -purpose | grep -c '^SSL \(client\|server\) : Yes' | grep -qx 2; }
sans() { shown pki/etcd/server.crt -ext subjectAltName | grep -q 'DNS:db.example.*IP Address:192.0.2.1'; }
names() { "$pki" issue client ann --cn anna --org o1 --org o2 "${p256[@]}" && shown pki/clients/ann.crt -subject -nameopt multiline | xargs | grep -q 'organizationName = o1.*o2 commonName = anna'; }
lifetime() { "$pki" issue client b --days 7 --backdate 0 "${p256[@]}" && [ $(($(seconds pki/clients/b.crt end) - $(seconds pki/clients/b.crt start))) -eq 604800 ]; }
backdating() { [ $(($(date +%s) - $(seconds pki/clients/ann.crt start))) -ge 300 ]; }
kinds() { "$pki" issue client r --key rsa -q && shown pki/clients/r.crt -text | grep -q 'Public-Key: (2048' && shown pki/clients/ann.crt -text | grep -q 'Public-Key: (256'; }
kubeadm_set() { "$pki" kubeadm --dir node --node-name cp-1 --apiserver-advertise-address 192.0.2.11 "${p256[@]}" && [ "$(find node -type f | wc -l)" -eq 22 ] && [ "$(stat -c %a node/apiserver.key node/sa.pub node/etcd/server.crt | xargs)" = "600 600 644" ]; }
members() { "$pki" cluster --dir c --initial-cluster m1=https://192.0.2.1:2380,m2=https://192.0.2.2:2380,m3=https://192.0.2.3:2380 "${p256[@]}" && "$pki" verify --dir c -q; }
request() { "$pki" csr peer m1 --dir host "${p256[@]}" && openssl req -in host/etcd/peer.csr -noout -verify; }
sign() { "$pki" sign host/etcd/peer.csr --role peer -q && openssl verify -CAfile pki/etcd/ca.crt -purpose sslserver host/etcd/peer.crt; }
revocation() { "$pki" revoke clients/b -q; openssl crl -inform DER -in pki/etcd/ca.crl -noout -text | grep -q "Serial Number: $(shown pki/clients/b.crt -serial | cut -d= -f2)"; }
der_list() { openssl crl -inform DER -in pki/etcd/ca.crl -noout -text | grep -q 'Version 2'; }
renewal() { local was; was=$(shown pki/etcd/server.crt -subject -ext subjectAltName,extendedKeyUsage) && "$pki" renew etcd-server -q && [ "$was" = "$(shown pki/etcd/server.crt -subject -ext subjectAltName,extendedKeyUsage)" ]; }
same_key() { local was; was=$(shown pki/etcd/server.crt -pubkey) && "$pki" renew etcd-server --reuse-key -q && [ "$was" = "$(shown pki/etcd/server.crt -pubkey)" ]; }
renewed_ca() { "$pki" renew-ca -q && openssl verify -CAfile pki/etcd/ca.crt pki/etcd/server.crt; }
rotation() { cp -r c r && "$pki" rotate-ca prepare --dir r -q && openssl verify -CAfile r/m1/etcd/ca.crt c/m1/etcd/server.crt && "$pki" rotate-ca switch --force --dir r -q && openssl verify -CAfile r/m1/etcd/ca.crt c/m1/etcd/server.crt r/m1/etcd/server.crt && "$pki" rotate-ca finish --dir r -q && ! openssl verify -CAfile r/m1/etcd/ca.crt c/m1/etcd/server.crt; }
expiry() { [ "$("$pki" check --dir c | wc -l)" -eq 14 ]; }
status() { "$pki" check --dir c -q && ! "$pki" check --dir c -q --at 2100-01-01; }
prometheus() { "$pki" check --dir c -q --prometheus x.prom && [ "$(grep -c '^etcd_pki_certificate_not_after_seconds{' x.prom)" -eq 13 ]; }
flags() { "$pki" verify --dir nowhere -- etcd --cert-file pki/etcd/server.crt --key-file pki/clients/ann.key | grep -q 'K2'; }
wire() {
    local port=$((30100 + RANDOM % 2600)) pid
    openssl s_server -accept 127.0.0.1:$port -cert pki/etcd/server.crt -key pki/etcd/server.key -www &
    pid=$!
    for _ in $(seq 100); do "$pki" probe https://127.0.0.1:$port > seen 2>&1; grep -q 'same as' seen && break; sleep 0.05; done
    kill $pid
    grep -q 'same as .* yes' seen
}
json() { "$pki" show -o json pki/etcd/server.crt | jq -e '.certificates[0].subject == "CN=m1"' && "$pki" check --dir c -o json | jq -e '.certificates|length == 9' && "$pki" verify --dir c -o json | jq -e .ok && "$pki" describe c | jq -e '.directories|length == 1'; }
overwriting() { local was; was=$(sha256sum pki/etcd/server.*); ! "$pki" issue server m2 "${p256[@]}" && ! "$pki" csr peer m1 --dir host "${p256[@]}" && ! "$pki" sign host/etcd/peer.csr --role peer -q && [ "$was" = "$(sha256sum pki/etcd/server.*)" ]; }
prompts() { setsid "$pki" init --dir quiet "${p256[@]}" < /dev/null && setsid "$pki" issue client x --dir quiet "${p256[@]}" < /dev/null; }
locked() { echo x > pass && "$pki" init --dir l --ca-passphrase-file pass "${p256[@]}" && grep -q ENCRYPTED l/etcd/ca.key && "$pki" issue client x --dir l --ca-passphrase-file pass "${p256[@]}"; }
kubeconfigs() { [ -n "$(find . -name '*.conf')" ]; } # kubeadm's admin.conf and the others

while IFS= read -r line; do
    row=$(sed 's/ *$//' <<< "${line:0:27}") cell=${line: -1}
    run=${proof[$row]:-}
    if [ -z "$run" ]; then
        echo "FAIL $row: no proof" && failed=$((failed + 1))
        continue
    fi
    proof[$row]=
    "$run" > log 2>&1 && is=y || is=n
    if [ "$is" = "$cell" ]; then
        echo "ok   $row: $cell"
    else
        echo "FAIL $row: the manual says $cell" && failed=$((failed + 1))
        cat log
    fi
done < <(awk '/^\.Sh COMPARISON/ { on = 1 } /^\.Ed/ { on = 0 } on && / [ynp]$/' "$manual")
for row in "${!proof[@]}"; do
    [ -z "${proof[$row]}" ] && continue
    echo "FAIL $row: not in the manual" && failed=$((failed + 1))
done
echo "the manual's table: $failed failed"
[ "$failed" -eq 0 ]
