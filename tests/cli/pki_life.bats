#!/usr/bin/env bats
# pki_life.bats - etcd-pki after the first day: check, renew, revoke, sign. ETCD_PKI names the program.

setup() {
    pki=${ETCD_PKI:-$BATS_TEST_DIRNAME/../../build/bin/etcd-pki}
    cd "$BATS_TEST_TMPDIR"
    export ETCD_PKI_DIR=pki
}
ends() { openssl x509 -in "$1" -noout -enddate | cut -d= -f2; }
before() { date -u -d "$(ends "$1") - $2" +%FT%TZ; }
fits() { # BASE: the key is the certificate's
    [ "$(openssl x509 -in "$1.crt" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ]
}
refused() { # STATUS TEXT ARGUMENTS...
    local want=$1 text=$2
    shift 2
    run "$pki" "$@"
    [ "$status" -eq "$want" ] && [[ $output == *"$text"* ]] || {
        echo "$*: $status $output"
        return 1
    }
}

@test "check: thresholds, and a missing file" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" issue peer m1 --key p256 -q
    "$pki" issue healthcheck-client --key p256 -q
    crt=pki/etcd/server.crt
    for row in '31 days:0' '30 days:4' '8 days:4' '7 days:3' '-1 days:3'; do
        run "$pki" check --at "$(before $crt "${row%:*}")" etcd-server
        [ "$status" -eq "${row#*:}" ] || { echo "$row $output"; return 1; }
    done
    run "$pki" check
    [ "$status" -eq 0 ]
    [[ $output == NAME*EXPIRES*RESIDUAL*CA*STATE*"etcd-server "*" etcd-ca  ok"* ]]
    run "$pki" check --warn 2y
    [ "$status" -eq 4 ]
    run "$pki" check --crit 2y
    [ "$status" -eq 3 ]
    rm pki/etcd/peer.crt
    run "$pki" check
    [ "$status" -eq 3 ]
    [[ $output == *"etcd-peer "*"-  "*missing* ]]
    run "$pki" check -o json
    [ "$(jq -c '.certificates[]|select(.name=="etcd-peer")|[.missing,.expirationDate,.state]' <<< "$output")" = '[true,null,"error"]' ]
    run "$pki" check nowhere.crt
    [ "$status" -eq 3 ]
    run "$pki" check --nagios
    [ "$status" -eq 2 ]
    [ "$output" = "CERTIFICATES CRITICAL - etcd-peer: missing" ]
    run "$pki" check --nagios --dir nowhere
    [ "$status" -eq 3 ]
    echo junk > pki/etcd/peer.crt
    refused 3 "holds no PEM block" check
}

@test "check: kubeadm's two tables and its JSON" {
    "$pki" kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.11 --key p256 -q
    run "$pki" certs check-expiration --at "$(before pki/apiserver.crt '364 days')"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "CERTIFICATE                         EXPIRES                  RESIDUAL TIME   CERTIFICATE AUTHORITY   EXTERNALLY MANAGED" ]
    [ "${lines[1]}" = "!MISSING! admin.conf" ]
    [[ ${lines[2]} == "apiserver                           "*" UTC   364d            ca                      no" ]]
    [ "${lines[12]}" = "CERTIFICATE AUTHORITY   EXPIRES                  RESIDUAL TIME   EXTERNALLY MANAGED" ]
    [[ ${lines[14]} == "etcd-ca                 "*" UTC   9y              no" ]]
    rm pki/etcd/ca.key
    run "$pki" certs check-expiration -o json
    [ "$(jq -r '.kind, .apiVersion' <<< "$output" | xargs)" = "CertificateExpirationInfo output.kubeadm.k8s.io/v1alpha3" ]
    [ "$(jq -c '.certificates[]|select(.name=="etcd-peer")|[.caName,.externallyManaged]' <<< "$output")" = '["etcd-ca",true]' ]
}

@test "check: a kubeconfig, and the Prometheus file replaced whole" {
    "$pki" init --key p256 -q
    "$pki" issue client admin --key p256 -q
    printf 'users:\n- name: a\n  user:\n    client-certificate-data: %s\n' "$(base64 -w0 pki/clients/admin.crt)" > admin.conf
    run "$pki" check admin.conf
    [ "$status" -eq 0 ]
    [[ $output == *admin.conf*ok* ]]
    run "$pki" check admin.conf --at 2099-01-01
    [ "$status" -eq 3 ]
    echo old > certs.prom
    ln certs.prom kept
    "$pki" check --prometheus certs.prom -q
    [ "$(cat kept)" = old ]
    grep -q '^etcd_pki_certificate_not_after_seconds{file="pki/clients/admin.crt",name="clients/admin",cn="admin",issuer="CN=etcd-ca",serial="[0-9a-f]*"} [0-9]*$' certs.prom
    ! grep -q '^etcd_pki_certificate_problem{' certs.prom
    run "$pki" check --prometheus certs.prom -q --at 2099-01-01
    grep -q 'problem{file="pki/clients/admin.crt",name="clients/admin",reason="expired"} 1' certs.prom
    refused 1 "create a temporary file" check --prometheus nowhere/x.prom -q
}

@test "renew: the same subject and names, a new key of the old kind, the old pair kept" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --ip 192.0.2.1 --org a --org b --key p384 --days 20 -q
    text() { openssl x509 -in pki/etcd/server.crt -noout -subject -issuer -ext keyUsage,extendedKeyUsage,basicConstraints,subjectAltName,authorityKeyIdentifier; }
    was=$(text) old=$(sha256sum < pki/etcd/server.key) serial=$(openssl x509 -in pki/etcd/server.crt -noout -serial)
    run "$pki" renew etcd-server --if-expiring 10d
    [ "$output" = "1 left alone: more than 10d to go" ]
    run "$pki" renew etcd-server --if-expiring 30d
    [ "$status" -eq 0 ]
    [[ $output == "etcd-server renewed: serial "*"no restart needed" ]]
    [ "$was" = "$(text)" ]
    [ "$serial" != "$(openssl x509 -in pki/etcd/server.crt -noout -serial)" ]
    fits pki/etcd/server
    openssl pkey -in pki/etcd/server.key -noout -text | grep -q P-384
    [ "$old" = "$(sha256sum < pki/.old/*/etcd/server.key)" ]
    [ "$(stat -c %a pki/.old/*/etcd/server.key)" = 600 ]
    openssl verify -x509_strict -CAfile pki/etcd/ca.crt pki/etcd/server.crt
    [ "$(openssl x509 -in pki/etcd/server.crt -noout -text | grep -c 'Subject Key Identifier')" -eq 0 ]
    key=$(sha256sum < pki/etcd/server.key)
    run "$pki" renew etcd/server --reuse-key --backup-dir kept
    [ "$status" -eq 0 ]
    [ "$key" = "$(sha256sum < pki/etcd/server.key)" ]
    [ -e kept/etcd/server.crt ] && [ ! -e kept/etcd/server.key ]
    "$pki" renew etcd-server --key ed25519 -q
    openssl pkey -in pki/etcd/server.key -noout -text | grep -q ED25519
    [ -z "$(find . -name '.*.??????')" ]
}

@test "renew: what it refuses, with nothing touched" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" issue peer m1 --key p256 -q
    sums=$(sha256sum pki/etcd/*)
    refused 2 "which certificate" renew
    refused 1 "no such certificate" renew etcd-healthcheck-client
    refused 2 "renew-ca keeps its key" renew etcd-ca
    refused 2 "exclude each other" renew all --reuse-key --key p256
    refused 2 "not a length of time" renew all --if-expiring soon
    refused 1 "is not there" renew all --dir nowhere
    refused 0 "would write etcd/peer.crt and .key" renew all --dry-run
    cp pki/etcd/peer.key away
    cp pki/etcd/server.key pki/etcd/peer.key
    refused 1 "belongs to another certificate" renew all --reuse-key
    refused 3 "the key beside it belongs to another" check
    cp away pki/etcd/peer.key
    mv pki/etcd/ca.key ca.key
    refused 1 "detected external etcd-ca" renew all
    "$pki" init --dir other --key p256 -q
    cp other/etcd/ca.key pki/etcd/ca.key
    refused 1 "belongs to another certificate than the CA" renew all
    cp ca.key pki/etcd/ca.key
    cp other/etcd/ca.crt other/etcd/ca.key pki/etcd/
    refused 1 'its CA "CN=etcd-ca" is not in pki' renew all
    mv pki/etcd/server.crt real.crt
    ln -s "$PWD/real.crt" pki/etcd/server.crt
    cp ca.key pki/etcd/ca.key
    [ ! -e pki/.old ] && [ -z "$(find pki -name '.*.??????')" ]
    [ "$(sha256sum < real.crt)" = "$(grep server.crt <<< "$sums" | cut -d' ' -f1)  -" ]
}

@test "renew: an expired certificate, and a cluster's directory with its one CA" {
    "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --client root --key p256 -q
    run "$pki" renew all --days 30
    [ "$status" -eq 0 ]
    [ "$(grep -c renewed <<< "$output")" -eq 7 ]
    for base in pki/m{1,2}/etcd/{server,peer,healthcheck-client} pki/clients/root; do
        fits $base
        openssl verify -CAfile pki/m2/etcd/ca.crt $base.crt
    done
    run "$pki" renew-ca --days 5000
    [ "$status" -eq 0 ]
    [[ $output == *"m2/etcd/ca.crt replaced with it"* ]]
    cmp pki/ca/etcd/ca.crt pki/m1/etcd/ca.crt
    openssl verify -CAfile pki/m1/etcd/ca.crt pki/m2/etcd/peer.crt
    run "$pki" renew m1/etcd/peer --validity 1000y
    [[ $output == *"validity cut to the end of its CA"* ]]
}

@test "kill -9 during renew all: every pair fits, or check names it and the next run puts it right" {
    "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --member m3=192.0.2.3 --key p256 -q
    for i in $(seq 40); do
        "$pki" renew all -q &
        pid=$!
        sleep 0.0$((RANDOM % 9))$((RANDOM % 10))
        kill -9 $pid 2> /dev/null || true
        wait $pid 2> /dev/null || true
        for base in pki/m{1,2,3}/etcd/{server,peer,healthcheck-client}; do
            fits $base || {
                run "$pki" check
                [ "$status" -eq 3 ] && [[ $output == *"${base#pki/} "*"its other half is pki/.old/"* ]]
            }
        done
    done
    "$pki" renew all -q
    "$pki" check -q
    [ -z "$(find pki -name '.*.??????')" ]
}

@test "an interrupted renewal is finished by the next" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    cp -r pki before
    "$pki" renew etcd-server -q
    cp pki/etcd/server.crt pki/etcd/.server.crt.Ab12Cd # as if killed between the two renames
    cp before/etcd/server.crt pki/etcd/server.crt
    refused 3 "its other half is pki/.old/" check etcd-server
    refused 0 "put in place what an interrupted run had left" renew all --if-expiring 1d
    fits pki/etcd/server
    [ -z "$(find pki -name '.*.??????')" ]
}

@test "modes of what is renewed do not depend on the umask" {
    for mask in 000 077; do
        (umask $mask && "$pki" init --dir d$mask --key p256 -q && "$pki" issue client root --dir d$mask --key p256 -q &&
            "$pki" renew all --dir d$mask -q && "$pki" check --dir d$mask -q --prometheus m$mask)
        [ "$(stat -c %a d$mask/clients/root.key d$mask/clients/root.crt d$mask/.old/*/clients/root.key m$mask | xargs)" = "600 644 600 644" ]
    done
}
