#!/usr/bin/env bats
# pki_life.bats - etcd-pki after the first day: check, renew, revoke, sign. ETCD_PKI names the program.

load pki_setup
ends() { openssl x509 -in "$1" -noout -enddate | cut -d= -f2; }
before() { date -u -d "$(ends "$1") - $2" +%FT%TZ; }
fits() { # BASE: the key is the certificate's
    [ "$(openssl x509 -in "$1.crt" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ]
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

@test "renew all: what is another host's to renew, or cannot be read, does not stop the rest" {
    "$pki" kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.1 --key p256 -q
    mv pki/etcd/ca.key away # as on a node that joined
    "$pki" init --dir other --key p256 -q
    "$pki" issue client guest --dir other --key p256 -q
    mkdir -p pki/clients && cp other/clients/guest.* pki/clients/
    sum() { sha256sum pki/apiserver.crt pki/etcd/server.crt pki/clients/guest.crt | cut -c1-8 | xargs; }
    before=$(sum)
    json '[.ok,([.files[]|select(.file|endswith(".crt"))]|length),[.notRenewed[].file]]' \
        '[true,3,["pki/apiserver-etcd-client.crt","pki/clients/guest.crt","pki/etcd/healthcheck-client.crt","pki/etcd/peer.crt","pki/etcd/server.crt"]]' \
        renew all
    [ "$status" -eq 0 ] && [[ $stderr == *"pki/etcd/server.crt: detected external etcd-ca"* && $stderr == *'guest.crt: its CA "CN=etcd-ca" is not in'* ]]
    after=$(sum)
    [ "${before#* }" = "${after#* }" ] && [ "${before%% *}" != "${after%% *}" ]
    refused 0 "8 left alone" renew all --if-expiring 1d
    [[ $output != *external* ]]
    echo junk > pki/junk.crt
    run "$pki" renew all
    [ "$status" -eq 1 ] && [ "$(grep -c ' renewed: serial' <<< "$output")" -eq 3 ]
    [[ $output == *"pki/junk.crt: holds no PEM block"*"1 file could not be read"* ]]
    fits pki/apiserver
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

@test "revoke and crl: DER, version 2, numbered, sorted, replaced by rename" {
    "$pki" init --key p256 --crl-sign -q
    "$pki" issue client root --key p256 -q
    "$pki" issue client other --key p256 -q
    run "$pki" crl
    [ "$status" -eq 0 ]
    [[ $output == *"etcd/ca.crl written: 0 revoked"* ]]
    ln pki/etcd/ca.crl first
    run "$pki" revoke pki/clients/root.crt --reason keyCompromise
    [ "$status" -eq 0 ]
    run "$pki" revoke clients/root
    [[ $output == *"was revoked before"*"1 revoked"* ]]
    "$pki" revoke --serial 0a1b --pem list.pem -q
    text() { openssl crl -inform DER -in "$1" -noout -text; }
    text first | grep -q 'No Revoked Certificates'
    [ "$(text pki/etcd/ca.crl | sed -n 2p)" = '        Version 2 (0x1)' ]
    text pki/etcd/ca.crl | grep -A1 'CRL Number' | grep -q 4
    text pki/etcd/ca.crl | grep -q 'Authority Key Identifier'
    text pki/etcd/ca.crl | grep -q 'Key Compromise'
    [ "$(text pki/etcd/ca.crl | grep 'Serial Number' | head -1)" = '    Serial Number: 0A1B' ]
    run openssl verify -CAfile pki/etcd/ca.crt -CRLfile list.pem -crl_check pki/clients/root.crt
    [[ $output == *"certificate revoked"* ]]
    openssl verify -CAfile pki/etcd/ca.crt -CRLfile list.pem -crl_check pki/clients/other.crt
    [ "$(stat -c %a pki/etcd/ca.crl)" = 644 ]
}

@test "revoke and crl: what they refuse" {
    "$pki" init --key p256 -q
    "$pki" issue client root --key p256 -q
    "$pki" init --dir other --key p256 -q
    "$pki" issue client x --dir other --key p256 -q
    refused 2 "one certificate, or --serial" revoke
    refused 2 "one certificate, or --serial" revoke pki/clients/root.crt --serial 1a
    refused 2 "hexadecimal digits" revoke --serial 0x1a
    refused 2 "hexadecimal digits" revoke --serial "$(printf 'a%.0s' {1..41})"
    refused 2 "hexadecimal digits" revoke --serial 0
    refused 2 "one of unspecified" revoke --serial 1a --reason boredom
    refused 2 "not a length of time" crl --next-update never
    refused 1 "has issued it" revoke other/clients/x.crt
    refused 1 "nowhere.crt" revoke nowhere
    refused 2 "is the CA itself" revoke pki/etcd/ca.crt
    [ ! -e pki/etcd/ca.crl ]
    run "$pki" crl
    [[ $output == *"lacks the usage CRL Sign"* ]]
    : > pki/etcd/ca.crl
    refused 1 "cannot be gone on with" crl
    [ ! -s pki/etcd/ca.crl ]
}

@test "csr and sign: the key stays, the role gives the usages" {
    "$pki" init --key p256 -q
    run "$pki" csr server m1 --ip 192.0.2.1 --key p256 --dir host
    [ "$status" -eq 0 ]
    [ "$(stat -c %a host/etcd/server.key host/etcd/server.csr | xargs)" = "600 600" ]
    openssl req -in host/etcd/server.csr -noout -verify
    openssl req -in host/etcd/server.csr -noout -text | grep -q 'IP Address:192.0.2.1'
    ! openssl req -in host/etcd/server.csr -noout -text | grep -q 'Key Usage'
    run "$pki" sign host/etcd/server.csr --role server
    [ "$status" -eq 0 ]
    fits host/etcd/server
    openssl verify -x509_strict -CAfile pki/etcd/ca.crt -purpose sslclient -verify_ip 192.0.2.1 host/etcd/server.crt
    refused 1 "exists already" sign host/etcd/server.csr --role server
    refused 1 "exists already" csr server m1 --dir host
    "$pki" sign host/etcd/server.csr --role server --force --san add:b.example,10.0.0.1 -q
    openssl x509 -in host/etcd/server.crt -noout -ext subjectAltName | grep -q 'DNS:b.example, DNS:localhost, DNS:m1.*IP Address:10.0.0.1'
    "$pki" sign host/etcd/server.csr --role client --san exact:a.example --out c.crt -q
    [ "$(openssl x509 -in c.crt -noout -ext subjectAltName,extendedKeyUsage | grep -c 'TLS Web Server\|localhost')" -eq 0 ]
}

@test "sign: requests that are refused, and why" {
    "$pki" init --key p256 -q
    openssl ecparam -genkey -name prime256v1 -noout -out k.pem
    req() { openssl req -new -key "${KEY:-k.pem}" -subj "${SUBJECT:-/CN=x}" -out r.csr "$@" 2> /dev/null; }
    refused 2 "are needed" sign
    refused 1 "nowhere.csr" sign nowhere.csr --role client
    : > r.csr
    refused 1 "is empty" sign r.csr --role client
    head -c 3000 /dev/urandom > r.csr
    refused 1 "r.csr" sign r.csr --role client
    req
    refused 2 "is no role" sign r.csr --role emperor
    refused 2 "is a CA" sign r.csr --role etcd-ca
    refused 2 "at least one alternative name" sign r.csr --role server
    refused 2 "request, exact:LIST or add:LIST" sign r.csr --role client --san some
    refused 2 "neither an address" sign r.csr --role client --san add:A_B
    sed -i '3s/[A-Z]/a/3' r.csr
    refused 1 "r.csr" sign r.csr --role client
    req -addext basicConstraints=critical,CA:TRUE
    refused 1 "asks to be a CA" sign r.csr --role client
    req -addext subjectAltName=email:a@example.org
    refused 1 "neither a DNS name nor an address" sign r.csr --role client
    req -addext subjectAltName=DNS:UPPER_case
    refused 1 "is not a DNS name" sign r.csr --role client
    SUBJECT=/O=only req
    refused 1 "has no common name" sign r.csr --role client
    openssl genrsa -out weak.pem 1024 2> /dev/null
    KEY=weak.pem req
    refused 1 "RSA keys have 2048" sign r.csr --role client
    openssl ecparam -genkey -name secp224r1 -noout -out p224.pem
    KEY=p224.pem req
    refused 1 "etcd cannot use" sign r.csr --role client
    openssl req -x509 -key k.pem -subj /CN=x -out r.csr
    refused 1 "certificate request" sign r.csr --role client
    req
    rm pki/etcd/ca.key
    refused 1 "nothing can be signed here" sign r.csr --role client
    mkdir r.crt
    refused 1 "" sign r.csr --role client
    [ "$(find . -name '*.crt' -type f | wc -l)" -eq 1 ]
}

@test "rotate-ca: files at each step, each run again, a member's copies follow" {
    "$pki" cluster --member m1=192.0.2.1 --client root --key p256 -q
    old=$(openssl x509 -in pki/ca/etcd/ca.crt -noout -fingerprint)
    count() { grep -c BEGIN "$1"; }
    refused 2 "one of prepare" rotate-ca
    refused 2 "one of prepare" rotate-ca onwards
    refused 1 "prepare first" rotate-ca switch --force
    refused 1 "no rotation is under way" rotate-ca finish
    refused 0 "no rotation under way" rotate-ca status
    refused 0 "prepared:" rotate-ca prepare
    cp pki/ca/etcd/ca-next.crt next.crt
    date=$(jq -r '."ca/etcd/ca".prepared' pki/rotation.json)
    [[ $date == 20*T*Z ]]
    refused 0 "prepared on $date: ca/etcd/ca-next.crt is the next CA" rotate-ca status
    refused 0 "prepared:" rotate-ca prepare
    cmp next.crt pki/ca/etcd/ca-next.crt
    [ "$(count pki/ca/etcd/ca.crt)" -eq 2 ] && cmp pki/ca/etcd/ca.crt pki/m1/etcd/ca.crt
    [ "$(openssl x509 -in pki/m1/etcd/ca.crt -noout -fingerprint)" = "$old" ]
    fits pki/ca/etcd/ca
    refused 2 "give all members with --endpoints" rotate-ca switch
    refused 1 "does not trust the next CA yet" rotate-ca switch --endpoints https://127.0.0.1:1
    refused 0 "switched:" rotate-ca switch --force
    refused 0 "switched:" rotate-ca switch --force
    refused 1 "finish that first" rotate-ca prepare
    fits pki/ca/etcd/ca
    [ "$(count pki/m1/etcd/ca.crt)" -eq 2 ]
    refused 0 "switched on 20" rotate-ca status
    [ "$date" = "$(jq -r '."ca/etcd/ca".prepared' pki/rotation.json)" ]
    echo '{"ca/etcd/ca": [1' > pki/rotation.json # only the dates are lost
    refused 0 "switched: ca/etcd/ca is the next CA" rotate-ca status
    for base in pki/m1/etcd/{server,peer,healthcheck-client} pki/clients/root; do
        fits $base
        openssl verify -CAfile next.crt $base.crt
    done
    refused 0 "finished:" rotate-ca finish
    cmp next.crt pki/ca/etcd/ca.crt && cmp next.crt pki/m1/etcd/ca.crt
    [ "$(ls pki/ca/etcd pki | xargs)" = "pki: ca clients m1 pki/ca/etcd: ca.crt ca.key" ]
    "$pki" check -q
}

@test "--follow: files behind symbolic links are replaced, the links stay" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" issue client root --key p256 -q
    mkdir kept other
    for file in server.crt server.key; do
        mv pki/etcd/$file kept/$file
        ln -s "../../kept/$file" pki/etcd/$file
    done
    sums=$(sha256sum kept/*)
    links() { readlink pki/etcd/server.crt pki/etcd/server.key | xargs; }
    refused 1 "pki/etcd/server.crt is a symbolic link to ../../kept/server.crt; with --follow that file is replaced" renew etcd-server
    refused 1 "is a symbolic link" issue server m2 --key p256 --force
    [ "$sums" = "$(sha256sum kept/*)" ] && [ -z "$(ls kept | grep -v server)" ]
    refused 0 "nothing to do" issue server m1 --key p256
    refused 0 "etcd-server renewed" renew etcd-server --follow
    [ "$(links)" = "../../kept/server.crt ../../kept/server.key" ]
    fits kept/server && fits pki/etcd/server
    [ "$(stat -c %a kept/server.key kept/server.crt | xargs)" = "600 644" ]
    [ "$(sha256sum < pki/.old/*/etcd/server.key)" = "$(grep key <<< "$sums" | cut -d' ' -f1)  -" ]
    [ -z "$(find . -name '.*.??????')" ]
    refused 0 "made: CN=m2" issue server m2 --key p256 --force --follow
    [ "$(links)" = "../../kept/server.crt ../../kept/server.key" ] && fits kept/server
    "$pki" renew all --follow --reuse-key -q
    fits kept/server
    # an interrupted run: the certificate waits beside the file behind the link
    cp kept/server.crt was.crt
    cp kept/server.key was.key
    "$pki" renew etcd-server --follow -q
    mv kept/server.crt kept/.server.crt.abcdef
    cp was.crt kept/server.crt
    "$pki" renew clients/root -q
    [ -e kept/.server.crt.abcdef ]
    refused 0 "put in place what an interrupted run had left" renew clients/root --follow
    fits kept/server && [ "$(links)" = "../../kept/server.crt ../../kept/server.key" ]
    # links that lead nowhere, to a directory, or into one of everybody's
    ln -sf nowhere pki/clients/root.crt
    refused 1 "No such file" renew clients/root --follow
    ln -sf "$PWD/other/root.key" pki/clients/x.key
    refused 1 "x.key" issue client x --key p256 --force --follow
    rm pki/clients/*
    chmod o+w kept
    refused 1 "$PWD/kept is writable by everybody" renew etcd-server --follow
    chmod o-w kept
    ln -sf "$PWD/kept" pki/etcd/ca.crl
    refused 1 "pki/etcd/ca.crl: Is a directory" crl --follow
}

@test "dry runs of requests, signatures and lists" {
    refused 0 "would write etcd/peer.key and .csr" csr peer m1 --key p256 --dir host --dry-run
    [ ! -e host ]
    "$pki" init --key p256 -q
    "$pki" issue client root --key p256 -q
    "$pki" csr peer m1 --key p256 --dir host -q
    sums=$(find . -type f -exec sha256sum {} + | sort)
    refused 0 "would write host/etcd/peer.crt: CN=m1, valid for DNS:localhost, DNS:m1" sign host/etcd/peer.csr --role peer --dry-run
    refused 0 "would write pki/etcd/ca.crl: 0 revoked" crl --dry-run
    refused 0 "would write pki/etcd/ca.crl and x.pem: 1 revoked" revoke clients/root --pem x.pem --dry-run
    refused 1 "exists already; sign that one" csr peer m1 --key p256 --dir host --dry-run
    [ "$sums" = "$(find . -type f -exec sha256sum {} + | sort)" ]
}

@test "--follow: lists, signed certificates and Prometheus files" {
    "$pki" init --key p256 -q
    "$pki" csr client root --dir host --key p256 -q
    for file in list pem prom crt; do
        echo old > $file
        ln -s $file $file.link
    done
    ln -s ../../list.link pki/etcd/ca.crl && rm list && "$pki" crl --out list -q 2> /dev/null
    refused 1 "is a symbolic link to pem;" crl --pem pem.link --out fresh
    refused 1 "pki/etcd/ca.crl is a symbolic link to ../../list.link" crl
    refused 1 "is a symbolic link to prom;" check --prometheus prom.link -q
    refused 1 "exists already" sign host/clients/root.csr --role client --out crt.link
    refused 1 "is a symbolic link to crt;" sign host/clients/root.csr --role client --out crt.link --force
    [ "$(cat pem prom crt | xargs)" = "old old old" ]
    "$pki" crl --pem pem.link --follow -q
    "$pki" check --prometheus prom.link --follow -q
    "$pki" sign host/clients/root.csr --role client --out crt.link --force --follow -q
    [ "$(readlink pem.link prom.link crt.link list.link pki/etcd/ca.crl | xargs)" = "pem prom crt list ../../list.link" ]
    openssl crl -in pem -noout && openssl crl -inform DER -in list -noout && openssl x509 -in crt -noout
    grep -q ^etcd_pki prom
    refused 2 "does not take the flag" probe --follow https://127.0.0.1:1
}

@test "links to files of the same directory: each is replaced once, under its own name" {
    "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --client root --key p256 -q
    for m in m1 m2; do ln -sf ../../ca/etcd/ca.crt pki/$m/etcd/ca.crt; done
    ln -s root.crt pki/clients/alias.crt
    ln -s root.key pki/clients/alias.key
    all() {
        [ "$(find pki -type l | wc -l)" -eq 4 ]
        for base in pki/m{1,2}/etcd/{server,peer,healthcheck-client} pki/clients/{root,alias} pki/ca/etcd/ca; do
            fits $base
            openssl verify -CAfile pki/m2/etcd/ca.crt $base.crt
        done
        "$pki" check -q
    }
    run "$pki" renew all
    [ "$status" -eq 0 ] && [ "$(wc -l <<< "$output")" -eq 7 ] && [[ $output != *alias* ]]
    all
    run "$pki" renew clients/alias clients/root clients/root --follow
    [ "$status" -eq 0 ] && [ "$(wc -l <<< "$output")" -eq 1 ] && [[ $output == "clients/root renewed"* ]]
    all
    refused 0 "renewed" renew-ca
    all
    for step in prepare switch finish; do
        "$pki" rotate-ca $step --force -q
        all
    done
    # one key under two names: a new one would fit only one of the certificates
    rm pki/m1/etcd/peer.key
    ln -s server.key pki/m1/etcd/peer.key
    sums=$(find pki -type f -exec sha256sum {} + | sort)
    refused 1 "is by a symbolic link the key of" renew all --follow
    [ "$sums" = "$(find pki -type f -exec sha256sum {} + | sort)" ]
}

@test "a directory by a symbolic link is looked at, and once" {
    "$pki" kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.1 --key p256 -q
    mkdir data && mv pki/etcd data/etcd-pki && ln -s ../data/etcd-pki pki/etcd
    ln -s ../pki pki/round && ln -s . data/etcd-pki/self && ln -s nowhere pki/dangling # in circles
    run "$pki" check
    [ "$status" -eq 0 ] && [ "$(wc -l <<< "$output")" -eq 11 ] # 10 certificates and a head
    [ "$(grep -c '^etcd-' <<< "$output")" -eq 4 ] && [[ $output != *missing* ]]
    run "$pki" check --at 2040-01-01
    [ "$status" -eq 3 ] && [ "$(grep -c '^etcd-.* error: expired' <<< "$output")" -eq 4 ]
    rm data/etcd-pki/peer.crt
    refused 3 "missing" check
    "$pki" kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.1 --key p256 -q --force
    was=$(openssl x509 -in data/etcd-pki/server.crt -noout -serial)
    refused 0 "etcd-server renewed" renew etcd-server
    [ "$was" != "$(openssl x509 -in data/etcd-pki/server.crt -noout -serial)" ] && [ -L pki/etcd ]
    run "$pki" renew all
    [ "$status" -eq 0 ] && [ "$(wc -l <<< "$output")" -eq 7 ]
    fits data/etcd-pki/server
    "$pki" verify -q || [ $? -eq 4 ]
    [ "$(find -L pki -maxdepth 2 -name '.*.??????' 2> /dev/null)" = "" ]
}

@test "rotate-ca status -o json" {
    "$pki" cluster --member m1=192.0.2.1 --key p256 -q
    is() { # FILTER EXPECTED ARGUMENTS...
        local filter=$1 want=$2
        shift 2
        run "$pki" rotate-ca status -o json "$@"
        [ "$(jq -c "$filter" <<< "$output")" = "$want" ] || { echo "$want: $output"; return 1; }
    }
    is 'keys_unsorted' '["name","state","prepared","switched","ca","next","previous","issuedByPrevious","trusted","endpoints"]'
    is '[.name,.state,.prepared,.switched,.next,.previous,.issuedByPrevious,.trusted,.endpoints]' '["ca/etcd/ca","none",null,null,null,null,0,null,[]]'
    serial=$(openssl x509 -in pki/ca/etcd/ca.crt -noout -serial | cut -d= -f2)
    is '.ca|[.file,.subject,.serial,.keyFits]' "[\"pki/ca/etcd/ca.crt\",\"CN=etcd-ca\",\"$(tr A-F a-f <<< "$serial" | sed 's/^0*//')\",true]"
    "$pki" rotate-ca prepare -q
    is '[.state,.prepared != null,.switched,.next.file,.previous]' '["prepared",true,null,"pki/ca/etcd/ca-next.crt",null]'
    [ "$status" -eq 0 ]
    is '[.trusted,(.endpoints|length),.endpoints[1].endpoint,.endpoints[1].trusted,(.endpoints[1].answer|test("refused"))]' \
        '[false,2,"127.0.0.1:2",false,true]' --endpoints https://127.0.0.1:1,127.0.0.1:2
    [ "$status" -eq 3 ]
    "$pki" rotate-ca switch --force -q
    cp pki/m1/etcd/server.crt new.crt
    cp pki/.old/*/m1/etcd/server.crt pki/m1/etcd/server.crt # one that was forgotten
    is '[.state,.switched != null,.next,.previous.file,.issuedByPrevious]' '["switched",true,null,"pki/ca/etcd/ca-prev.crt",1]'
    refused 2 "text or json" rotate-ca status -o yaml
}

@test "rotate-ca: a next or previous CA that cannot be read" {
    "$pki" init --key p256 -q
    "$pki" rotate-ca prepare -q
    echo junk > pki/etcd/ca-next.crt
    refused 1 "ca-next.crt: holds no PEM block with a certificate; put a good copy back, or prepare again" rotate-ca status
    refused 1 "or prepare again" rotate-ca switch --force
    refused 0 "prepared:" rotate-ca prepare
    refused 0 "switched:" rotate-ca switch --force
    cp pki/etcd/ca-prev.crt kept
    echo junk > pki/etcd/ca-prev.crt
    for step in prepare status switch finish; do
        refused 1 "of the CA before the switch, which is in .old" rotate-ca $step --force
    done
    cp kept pki/etcd/ca-prev.crt
    refused 0 "finished:" rotate-ca finish
}

@test "rotate-ca: no copy of a CA's key stays under the name that a killed run gave it" {
    "$pki" init --key p256 -q
    "$pki" rotate-ca prepare -q
    cp pki/etcd/ca.key pki/etcd/.ca-prev.key.Ab12Cd # as if killed before its rename
    "$pki" rotate-ca switch --force -q
    [ ! -e pki/etcd/.ca-prev.key.Ab12Cd ]
    "$pki" rotate-ca finish --force -q
    cp pki/etcd/ca.key pki/etcd/.ca-next.key.Ab12Cd
    "$pki" rotate-ca prepare -q
    [ "$(find pki/etcd -name '.*.??????')" = "" ]
}

@test "rotate-ca: what a killed run left of rotation.json is removed" {
    "$pki" init --key p256 -q
    "$pki" rotate-ca prepare -q
    touch pki/.rotation.json.Ab12Cd pki/.rotation.json.other.Ab12Cd
    "$pki" rotate-ca switch --force -q
    [ ! -e pki/.rotation.json.Ab12Cd ]
    [ -e pki/.rotation.json.other.Ab12Cd ]
}

@test "kill -9 during any step of rotate-ca: the step run again ends well" {
    for i in 1 2 3 4 5 6; do
        rm -rf pki
        "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --client root --key p256 -q
        for step in prepare switch finish; do
            for n in 1 2 3; do
                "$pki" rotate-ca $step --force -q 2> /dev/null &
                pid=$!
                sleep 0.0$((RANDOM % 4))$((RANDOM % 10))
                kill -9 $pid 2> /dev/null || true
                wait $pid 2> /dev/null || true
            done
            run "$pki" rotate-ca $step --force
            [ "$status" -eq 0 ] || [[ $step == finish && $output == *"no rotation is under way"* ]] || { echo "$step: $output"; return 1; }
        done
        for base in pki/m{1,2}/etcd/{server,peer,healthcheck-client} pki/clients/root pki/ca/etcd/ca; do
            fits $base
            openssl verify -CAfile pki/m2/etcd/ca.crt $base.crt
        done
        [ "$(grep -c BEGIN pki/m1/etcd/ca.crt)" -eq 1 ] && cmp pki/m1/etcd/ca.crt pki/ca/etcd/ca.crt
        "$pki" check -q
        [ -z "$(find pki -name '.*.??????')" ]
    done
}

@test "probe: what it refuses before it dials" {
    refused 2 "which endpoint" probe
    refused 2 "no TLS behind http" probe http://127.0.0.1:2379
    refused 2 "write it as https" probe https://
    refused 2 "go together" probe https://127.0.0.1:1 --cert x
    refused 2 "not a length of time" probe https://127.0.0.1:1 --timeout never
    refused 1 "connect to https://127.0.0.1:1" probe https://127.0.0.1:1
}

@test "probe, rotate-ca: an answer that is no etcd's is no consent" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" issue healthcheck-client --key p256 -q
    port=$(free_port)
    openssl s_server -accept 127.0.0.1:$port -cert pki/etcd/server.crt -key pki/etcd/server.key -CAfile pki/etcd/ca.crt \
        -Verify 2 -rev -quiet > /dev/null 2>&1 3>&- &
    pid=$!
    for _ in $(seq 100); do "$pki" probe --timeout 10s https://127.0.0.1:$port > out 2>&1 && break; [ $? -eq 3 ] && break; sleep 0.05; done
    run "$pki" rotate-ca status --timeout 10s --endpoints https://127.0.0.1:$port
    kill $pid
    grep "client cert .* refused: it answers, but not in HTTP" out || { cat out; return 1; }
    [ "$status" -eq 3 ] && [[ $output == *"it answers, but not in HTTP"* ]]
}

@test "probe: an answer that ends behind its HTTP" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" issue healthcheck-client --key p256 -q
    python3 -c 'import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("pki/etcd/server.crt", "pki/etcd/server.key")
context.load_verify_locations("pki/etcd/ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True) as link:
            link.recv(4096)
            link.sendall(b"HTTP/1.1\r\n")
    except OSError:
        pass' > port 2> /dev/null 3>&- &
    pid=$!
    for _ in $(seq 100); do [ -s port ] && break; sleep 0.05; done
    run "$pki" probe --timeout 10s https://127.0.0.1:$(cat port)
    kill $pid
    [ "$status" -eq 3 ] && [[ $output == *"refused: it answers, but not in HTTP"* ]]
}

@test "rotate-ca, renew-ca: what else ca.crt trusts stays, an intermediate CA is left alone" {
    "$pki" cluster --member m1=192.0.2.1 --key p256 -q
    for name in second third; do "$pki" init --dir $name --key p256 -q; done
    cat second/etcd/ca.crt >> pki/ca/etcd/ca.crt
    cat third/etcd/ca.crt >> pki/m1/etcd/ca.crt
    holds() { # FILE NUMBER OTHER: so many certificates, that other one among them
        [ "$(grep -c BEGIN $1)" -eq $2 ] && [[ $(tr -d '\n' < $1) == *"$(sed '/-----/d' $3/etcd/ca.crt | tr -d '\n')"* ]]
    }
    refused 0 "renewed" renew-ca
    holds pki/ca/etcd/ca.crt 2 second && holds pki/m1/etcd/ca.crt 2 third
    refused 0 "ca/etcd/ca.crt goes on trusting CN=etcd-ca (serial " rotate-ca prepare
    holds pki/ca/etcd/ca.crt 3 second && holds pki/m1/etcd/ca.crt 3 third
    refused 0 "prepared:" rotate-ca prepare
    holds pki/ca/etcd/ca.crt 3 second && holds pki/m1/etcd/ca.crt 3 third
    refused 0 "switched:" rotate-ca switch --force
    holds pki/ca/etcd/ca.crt 3 second && holds pki/m1/etcd/ca.crt 3 third
    openssl verify -CAfile pki/m1/etcd/ca.crt pki/m1/etcd/server.crt
    refused 0 "finished:" rotate-ca finish
    holds pki/ca/etcd/ca.crt 2 second && holds pki/m1/etcd/ca.crt 2 third
    openssl verify -CAfile pki/m1/etcd/ca.crt pki/m1/etcd/server.crt
    # made again by itself it would be a root
    openssl req -new -newkey rsa:2048 -nodes -keyout below.key -subj /CN=below -out below.csr 2> /dev/null
    printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n' > ext
    mkdir -p low/etcd
    openssl x509 -req -in below.csr -CA third/etcd/ca.crt -CAkey third/etcd/ca.key -days 9 -extfile ext -out low/etcd/ca.crt 2> /dev/null
    mv below.key low/etcd/ca.key
    sums=$(sha256sum low/etcd/*)
    refused 1 "low/etcd/ca.crt is an intermediate CA (CN=below), issued by CN=etcd-ca" renew-ca --dir low
    refused 1 "is an intermediate CA" rotate-ca prepare --dir low
    [ "$sums" = "$(sha256sum low/etcd/*)" ]
}

@test "verify: etcd's flags from a manifest, a configuration, an environment, a process" {
    "$pki" cluster --member m1=192.0.2.1 --key p256 -q
    e=$PWD/pki/m1/etcd bad=https://192.0.2.9:2379
    printf 'spec:\n  containers:\n  - command:\n    - etcd\n    - --cert-file=%s\n    - --key-file=%s\n    - --advertise-client-urls=%s\n' \
        "$e/server.crt" "$e/server.key" $bad > etcd.yaml
    refused 3 "N1  $e/server.crt" verify --manifest etcd.yaml
    printf 'advertise-client-urls: %s\n# text\nclient-transport-security:\n  cert-file: "%s"\n  key-file: %s\npeer-transport-security:\n  cert-file: %s\n  key-file: %s\n  allowed-cn: other\n' \
        $bad "$e/server.crt" "$e/server.key" "$e/peer.crt" "$e/peer.key" > etcd.conf
    refused 3 "N1  $e/server.crt" verify --config-file etcd.conf
    refused 3 "P1  $e/peer.crt" verify --config-file etcd.conf
    printf 'export ETCD_CERT_FILE="%s"\nETCD_KEY_FILE=%s\nETCD_ADVERTISE_CLIENT_URLS=%s\n' "$e/server.crt" "$e/server.key" $bad > etcd.env
    refused 3 "N1  $e/server.crt" verify --env-file etcd.env
    mkfifo never # a process of our own with etcd's words, in a directory of its own
    (cd pki/m1 && ETCD_CERT_FILE=etcd/server.crt ETCD_KEY_FILE=etcd/peer.key exec -a etcd cat ../../never) &
    pid=$!
    for _ in $(seq 100); do [ "$(tr '\0' ' ' < /proc/$pid/cmdline)" = "etcd ../../never " ] && break; sleep 0.02; done
    run "$pki" verify --pid $pid
    kill $pid
    [ "$status" -eq 2 ] && [[ $output == *'"../../never" among etcd'"'"'s flags is no flag'* ]]
    (cd pki/m1 && ETCD_CERT_FILE=etcd/server.crt ETCD_KEY_FILE=etcd/peer.key exec -a etcd cat) < <(sleep 20) &
    pid=$!
    for _ in $(seq 100); do [ "$(tr '\0' ' ' < /proc/$pid/cmdline)" = "etcd " ] && break; sleep 0.02; done
    run "$pki" verify --pid $pid
    kill $pid
    [ "$status" -eq 3 ] && [[ $output == *"K2  etcd/peer.key"*"is not the key of the first certificate in etcd/server.crt"* ]]
    refused 1 "nowhere" verify --manifest nowhere
    : > empty
    refused 2 "none of etcd's flags" verify --env-file empty
    refused 2 "the number of a process" verify --pid 1x
    refused 2 "one of --manifest" verify --env-file etcd.env --manifest etcd.yaml
    refused 2 "write it as 3.5.30" verify --etcd-version new
}

@test "what was renewed, revoked and rotated, as JSON" {
    files='.files|map([.file,.action])'
    serial() { openssl x509 -in "$1" -noout -serial | cut -d= -f2 | tr A-F a-f | sed 's/^0*//'; }
    "$pki" init --key p256 -q
    "$pki" issue client root --key p256 -q
    json "[.dryRun,($files)]" '[true,[["pki/clients/root.crt","renewed"],["pki/clients/root.key","renewed"]]]' renew all --dry-run
    json "[.ok,.leftAlone,($files)]" '[true,0,[["pki/clients/root.crt","renewed"]]]' renew all --reuse-key
    [ "$(jq -r '.files[0].serial' <<< "$output")" = "$(serial pki/clients/root.crt)" ]
    json "[.leftAlone,.files]" '[1,null]' renew all --if-expiring 1d
    json "$files" '[["pki/etcd/ca.crt","renewed"]]' renew-ca
    json "[.revoked,($files),.files[0].revoked,.files[0].issuer]" \
        "[[{\"serial\":\"$(serial pki/clients/root.crt)\",\"subject\":\"CN=root\",\"before\":false}],[[\"pki/etcd/ca.crl\",\"written\"],[\"x.pem\",\"written\"]],1,\"CN=etcd-ca\"]" \
        revoke clients/root --pem x.pem
    json '.revoked[0].before' true revoke clients/root
    json '.files[0].nextUpdate|length' 20 crl --dry-run
    json "[($files),.done[:9]]" '[[["pki/etcd/ca-next.crt","made"],["pki/etcd/ca-next.key","made"],["pki/etcd/ca.crt","written"]],"prepared:"]' rotate-ca prepare
    json "$files" '[["pki/clients/root.crt","renewed"],["pki/clients/root.key","renewed"],["pki/etcd/ca-next.crt","removed"],["pki/etcd/ca-next.key","removed"],["pki/etcd/ca.crt","written"],["pki/etcd/ca.key","written"]]' \
        rotate-ca switch --force
    "$pki" crl -q 2> /dev/null
    json "$files" '[["pki/etcd/ca-prev.crt","removed"],["pki/etcd/ca-prev.key","removed"],["pki/etcd/ca.crt","written"]]' rotate-ca finish
    json '[.ok,.endpoints[0].ok,.endpoints[0].url,(.endpoints[0].error|test("refused"))]' '[false,false,"https://127.0.0.1:1",true]' probe https://127.0.0.1:1
    [ "$status" -eq 1 ]
}

@test "renew: other usages" {
    usages() { openssl x509 -in "$1" -noout -ext extendedKeyUsage 2> /dev/null | tail -1; }
    extensions() { openssl x509 -in "$1" -noout -text | grep 'X509v3'; }
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 --no-client-auth -q 2> /dev/null
    before=$(extensions pki/etcd/server.crt)
    refused 3 "etcd-pki renew NAME --eku server,client" verify -- etcd --cert-file pki/etcd/server.crt \
        --key-file pki/etcd/server.key --trusted-ca-file pki/etcd/ca.crt --client-cert-auth
    refused 2 "--eku both: server, client or server,client" renew etcd-server --eku both
    refused 2 "name the certificates" renew all --eku client
    refused 0 "etcd-server renewed" renew etcd-server --eku server,client
    [ "$(usages pki/etcd/server.crt)" = "    TLS Web Server Authentication, TLS Web Client Authentication" ]
    [ "$(extensions pki/etcd/server.crt)" = "$before" ]
    refused 0 "without clientAuth" renew etcd-server --eku server --reuse-key
    [ "$(usages pki/etcd/server.crt)" = "    TLS Web Server Authentication" ]
    # what a certificate can no longer be used for is said, each time with its own reason
    refused 0 "etcd-server: without serverAuth clients refuse it as a server's" renew etcd-server --eku client --reuse-key
    "$pki" issue peer m1 --key p256 -q
    refused 0 "etcd-peer: without clientAuth the other members refuse it" renew etcd-peer --eku server --reuse-key
    [[ $output != *gateway* ]]
    refused 0 "renewed" renew etcd-peer --eku server,client --reuse-key
    [[ $output != *without* ]]
    refused 0 "etcd-peer: without serverAuth the other members refuse it as a server's" renew etcd-peer --eku client --reuse-key
    "$pki" issue client bob --key p256 -q
    refused 0 "clients/bob: without clientAuth, which is all it had, servers refuse it as a client's" renew clients/bob --eku server
    [[ $output != *gateway* ]]
    # one that had none: what it may be used for is what was asked
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout pki/own.key -out pki/own.crt -subj /CN=own \
        -CA pki/etcd/ca.crt -CAkey pki/etcd/ca.key -addext basicConstraints=critical,CA:FALSE 2> /dev/null
    refused 0 "own renewed" renew own --eku client
    [ "$(usages pki/own.crt)" = "    TLS Web Client Authentication" ]
}

@test "what fails says so in JSON too" {
    json .version "\"$("$pki" version | cut -d' ' -f2)\"" version
    [ "$status" -eq 0 ]
    json '[.name,.version|type]' '["string","string"]' --version
    failing() { # STATUS FILTER EXPECTED ARGUMENTS...
        local want=$1
        shift
        json "$@" && [ "$status" -eq "$want" ] && [[ $stderr == "etcd-pki: "* ]] || { echo "$*: $status $output $stderr" && return 1; }
    }
    mkdir empty && "$pki" init --key p256 -q
    for verb in check check-expiration; do
        failing 1 '[.kind,.certificates,.certificateAuthorities,.error]' \
            '["CertificateExpirationInfo",[],[],"open directory nope: No such file or directory"]' $verb --dir nope
        failing 1 .error '"empty: no certificate (*.crt) there; give --dir or files"' $verb --dir empty
        failing 2 . '' $verb --at x # which is for who typed it
    done
    failing 1 '[(.certificateAuthorities|length),(.error|type)]' '[1,"string"]' check --prometheus nope/x
    failing 1 '[.ok,.findings,.error]' '[false,[],"open directory nope: No such file or directory"]' verify --dir nope
    failing 1 '[.ok,.error]' '[false,"open nope.yaml: No such file or directory"]' verify --manifest nope.yaml
    failing 1 '.directories|map([.directory,.error,(.files|length)])' \
        '[["nope","open directory nope: No such file or directory",0],["pki",null,1]]' describe nope pki
    failing 1 '[(.certificates|length),.errors]' '[1,[{"file":"nope","error":"open nope: No such file or directory"}]]' show nope etcd-ca
    failing 1 '[.ok,.error]' '[false,"nope: no such certificate in pki (etcd-pki check lists them)"]' renew nope
    failing 1 '[.ok,.error]' '[false,"nope is not there; give --dir"]' rotate-ca status --dir nope
    failing 2 . '' issue client a --days x
    refused 2 '--days x: a number of days, more than 0 and at most 365000' issue client a --days x
    # what Nagios shows is what is on standard output
    run --separate-stderr "$pki" check --nagios --dir nope
    [ "$status" -eq 3 ] && [ "$output" = "CERTIFICATES UNKNOWN - open directory nope: No such file or directory" ]
    run "$pki" check-expiration --dir empty
    [ "$status" -eq 1 ]
    refused 2 'version: "x" is one word too many' version x
    refused 2 'version: unknown flag --nope' version --nope
}

@test "names that are not UTF-8, as JSON" {
    dir=$'d\xff' name=$'c\xfe' odd=$'\xef\xbf\xbd' # U+FFFD
    "$pki" init --dir "$dir" --key p256 -q
    "$pki" issue client root --dir "$dir" --out "$name" --key p256 -q
    json '.certificates[0].file' "\"d${odd}/c$odd.crt\"" show "$dir/$name.crt"
    json '[.certificates[0].name,.certificateAuthorities[0].file]' "[\"c$odd\",\"d$odd/etcd/ca.crt\"]" check --dir "$dir"
    json '.directories[0]|[.directory,.files[0].file]' "[\"d$odd\",\"c$odd.crt\"]" describe "$dir"
    json '.findings|length > 0' true verify --dir "$dir"
    json '.files[0].file' "\"d${odd}/c$odd.crt\"" renew all --dir "$dir"
    json '.endpoints[0].url' "\"https://$odd:1\"" probe $'https://\xff:1' --dir "$dir"
    cp "$dir/etcd/ca.crt" "$dir/$name-ca.crt" && cp "$dir/etcd/ca.key" "$dir/$name-ca.key"
    json .ok true rotate-ca prepare --dir "$dir" --ca "$name-ca"
    json '[.state,.ca.file,.prepared != null]' "[\"prepared\",\"d$odd/c$odd-ca.crt\",true]" rotate-ca status --dir "$dir" --ca "$name-ca"
}
