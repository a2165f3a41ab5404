#!/usr/bin/env bats
# pki.bats - etcd-pki as scripts use it: outcomes, words and exit statuses. ETCD_PKI names the program.

load pki_setup

@test "help, version and unknown verbs" {
    run "$pki" --help
    [ "$status" -eq 0 ]
    [[ $output == *"certificate-key"* ]]
    [[ $output == *"check-expiration"* ]]
    run "$pki" help issue
    [ "$status" -eq 0 ]
    [[ $output == *"usage: etcd-pki issue ROLE"* ]]
    run "$pki" version
    [[ $output == "etcd-pki "* ]]
    run "$pki"
    [ "$status" -eq 2 ]
    run "$pki" frobnicate
    [ "$status" -eq 2 ]
    [ "$output" = 'etcd-pki: unknown verb "frobnicate"; see etcd-pki help' ]
}

@test "unknown flags, flags of other verbs and missing values" {
    run "$pki" init --nonsense
    [ "$status" -eq 2 ]
    [[ $output == *"unknown flag --nonsense"* ]]
    run "$pki" init --ip 10.0.0.1
    [ "$status" -eq 2 ]
    [[ $output == *"does not take the flag --ip"* ]]
    run "$pki" init --cn
    [ "$status" -eq 2 ]
    [[ $output == *"--cn needs a value"* ]]
    run "$pki" init extra
    [ "$status" -eq 2 ]
    [[ $output == *"one word too many"* ]]
    [ ! -e pki ]
}

@test "a CA and a pair, twice" {
    run "$pki" init --key p256
    [ "$status" -eq 0 ]
    run "$pki" issue server cp-1 --ip 192.0.2.11 --key p256
    [ "$status" -eq 0 ]
    [[ $output == *"CN=cp-1, valid for DNS:cp-1, DNS:localhost, IP:192.0.2.11, IP:127.0.0.1, IP:::1"* ]]
    run openssl verify -x509_strict -CAfile pki/etcd/ca.crt -verify_ip 192.0.2.11 pki/etcd/server.crt
    [ "$status" -eq 0 ]
    [ "$(stat -c %a pki/etcd/server.key)" = 600 ]
    sum=$(sha256sum pki/etcd/server.*)
    run "$pki" issue server cp-1 --ip 192.0.2.11
    [ "$status" -eq 0 ]
    [[ $output == "nothing to do"* ]]
    run "$pki" issue server cp-1 --ip 192.0.2.12
    [ "$status" -eq 1 ]
    [[ $output == *"etcd/server.crt: is valid for DNS:cp-1"*"asked for is"*"192.0.2.12"* ]]
    [ "$sum" = "$(sha256sum pki/etcd/server.*)" ]
    run "$pki" issue server cp-1 --ip 192.0.2.12 --key p256 --force
    [ "$status" -eq 0 ]
    [ "$(find pki/.old -name 'server.*' | wc -l)" -eq 2 ]
    run "$pki" verify
    [ "$status" -eq 3 ] # there is no peer pair
}

@test "modes do not depend on the umask" {
    for mask in 000 077; do
        (umask $mask && "$pki" init --dir "d$mask" --key p256 && "$pki" issue client root --dir "d$mask" --key p256)
        [ "$(stat -c %a "d$mask/etcd" "d$mask/etcd/ca.key" "d$mask/etcd/ca.crt" "d$mask/clients/root.key" | xargs)" = "755 600 644 600" ]
    done
}

@test "what kubeadm keeps without a word is an error that names the file" {
    node=(kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.11 --key p256)
    "$pki" "${node[@]}" -q
    run "$pki" "${node[@]}"
    [ "$status" -eq 0 ]
    [[ $output == "nothing to do: 11 wanted"* ]]
    mv pki/etcd/server.key away
    run "$pki" "${node[@]}"
    [ "$status" -eq 1 ]
    [[ $output == *"etcd/server.crt: is there, but its key etcd/server.key is missing"* ]]
    cp pki/etcd/peer.key pki/etcd/server.key
    run "$pki" "${node[@]}"
    [ "$status" -eq 1 ]
    [[ $output == *"etcd/server.crt: the key in etcd/server.key belongs to another certificate"* ]]
    mv away pki/etcd/server.key
    run "$pki" kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.99
    [ "$status" -eq 1 ]
    [[ $output == *"etcd/peer.crt: is valid for"* ]]
    mv pki/etcd/ca.key away # an external CA: the leaves are there, so all is well
    run "$pki" "${node[@]}"
    [ "$status" -eq 0 ]
    [[ $output == *"etcd/ca.crt  kept: an external CA"* ]]
    rm pki/etcd/peer.*
    run "$pki" "${node[@]}"
    [ "$status" -eq 1 ]
    [[ $output == *"ca.key is not there, so nothing can be signed here"* ]]
}

@test "kubeadm, cluster: the operator's own CAs are kept whatever they are called" {
    own() { # FILE SUBJECT: as the manual of Kubernetes says, without alternative names
        mkdir -p "$(dirname $1)"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.crt -subj "$2" -days 3650 2> /dev/null
        chmod 600 $1.key
    }
    node=(kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.11)
    own pki/ca /CN=kubernetes-ca && own pki/etcd/ca /O=Example/CN=etcd-ca && own pki/front-proxy-ca /CN=kubernetes-front-proxy-ca
    sums=$(sha256sum pki/ca.* pki/etcd/ca.* pki/front-proxy-ca.*)
    refused 0 "3 kept as they were" "${node[@]}" --key RSA-2048
    [ "$sums" = "$(sha256sum pki/ca.* pki/etcd/ca.* pki/front-proxy-ca.*)" ]
    openssl verify -CAfile pki/etcd/ca.crt pki/etcd/server.crt
    refused 0 "nothing to do" "${node[@]}"
    own c/ca/etcd/ca "/CN=some other name"
    refused 0 "1 kept as they were" cluster --dir c --member m1=192.0.2.1 --key p256
    cmp c/ca/etcd/ca.crt c/m1/etcd/ca.crt
    refused 1 'asked for is CN=etcd-ca' init --dir c/ca # whose name was asked for
    # what is no CA, has expired, or has another's key still is none
    cp pki/etcd/server.crt c/ca/etcd/ca.crt
    refused 1 "is not a CA" cluster --dir c --member m1=192.0.2.1 --key p256
    # the key is elsewhere: all leaves have to be there
    mv pki/etcd/ca.key away && mv pki/etcd/peer.crt peer.crt && mv pki/etcd/peer.key peer.key
    rm pki/apiserver.*
    refused 1 "pki/etcd/ca.key is not there, so nothing can be signed here: etcd/peer.crt cannot be made" "${node[@]}"
    refused 1 "cannot be made" "${node[@]}" --dry-run
    [ ! -e pki/apiserver.crt ]
    mv peer.crt peer.key pki/etcd/
    refused 0 "etcd/ca.crt  kept: an external CA" "${node[@]}"
}

@test "kubeadm: two service networks, releases by the name of a file" {
    node=(kubeadm --node-name cp-1 --apiserver-advertise-address 192.0.2.11 --key p256 -q)
    "$pki" "${node[@]}" --service-cidr 10.97.0.0/16,fd00:10:96::/112 --kubernetes-version stable-1
    [[ $(openssl x509 -in pki/apiserver.crt -noout -ext subjectAltName) == *"IP Address:10.97.0.1, IP Address:192.0.2.11" ]]
    [ "$(openssl x509 -in pki/apiserver-kubelet-client.crt -noout -subject -nameopt RFC2253)" = "subject=CN=kube-apiserver-kubelet-client" ]
    "$pki" "${node[@]}" --dir old --kubernetes-version stable-1.28
    [ "$(openssl x509 -in old/apiserver-etcd-client.crt -noout -subject -nameopt RFC2253)" = "subject=CN=kube-apiserver-etcd-client,O=system:masters" ]
    for bad in 10.96.0.0/12,10.97.0.0/12 10.96.0.0/12,x fd00::/112,10.96.0.0/12,fd01::/112 10.96.0.0/+8 10.96.0.0; do
        refused 2 "--service-cidr $bad" "${node[@]}" --dir bad --service-cidr "$bad"
    done
    for bad in stable-2 stable-1.x latest- unstable 1; do
        refused 2 "--kubernetes-version $bad: write it as" "${node[@]}" --dir bad --kubernetes-version $bad
    done
    [ ! -e bad ]
}

@test "kubeadm's configuration file does for the flags" {
    cat > kubeadm.yaml <<'END'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 192.0.2.11, bindPort: 6443}
nodeRegistration:
  name: cp-1
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
certificatesDir: /nowhere
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
certificatesDir: fromfile
certificateValidityPeriod: 2160h0m0s
caCertificateValidityPeriod: 17520h0m0s
encryptionAlgorithm: ECDSA-P256
controlPlaneEndpoint: api.example.org:6443
networking:
  serviceSubnet: 10.32.0.0/16
  dnsDomain: example.test
apiServer:
  certSANs: [extra.example.org]
etcd:
  local:
    serverCertSANs:
    - 127.0.0.11
    - "db.example.org"
    peerCertSANs: ["127.0.0.12"]
END
    unset ETCD_PKI_DIR
    run "$pki" kubeadm --config kubeadm.yaml
    [ "$status" -eq 0 ]
    sans() { openssl x509 -in fromfile/$1.crt -noout -ext subjectAltName | tail -1 | xargs; }
    [ "$(sans etcd/server)" = "DNS:cp-1, DNS:db.example.org, DNS:localhost, IP Address:192.0.2.11, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:127.0.0.11" ]
    [[ $(sans etcd/peer) == *"IP Address:127.0.0.12" ]]
    [ "$(sans apiserver)" = "DNS:api.example.org, DNS:cp-1, DNS:extra.example.org, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, DNS:kubernetes.default.svc.example.test, IP Address:10.32.0.1, IP Address:192.0.2.11" ]
    seconds() { echo $(($(date -d "$(openssl x509 -in fromfile/$1.crt -noout -enddate | cut -d= -f2)" +%s) - $(date -d "$(openssl x509 -in fromfile/$1.crt -noout -startdate | cut -d= -f2)" +%s))); }
    [ "$(seconds etcd/peer)" -eq $((2160 * 3600 + 300)) ]
    [ "$(seconds etcd/ca)" -eq $((17520 * 3600 + 300)) ]
    openssl pkey -in fromfile/sa.key -noout -text | grep -q P-256
    run "$pki" kubeadm --config kubeadm.yaml --dir other --node-name cp-2 --etcd-peer-cert-extra-sans 127.0.0.13 -q
    [ "$status" -eq 0 ]
    openssl x509 -in other/etcd/peer.crt -noout -subject -ext subjectAltName | grep -q 'CN = cp-2'
    openssl x509 -in other/etcd/peer.crt -noout -ext subjectAltName | grep -q '127.0.0.13' 
    sed -i 's/^  local:/  external:/' kubeadm.yaml
    "$pki" kubeadm --config kubeadm.yaml --dir third -q
    [ -e third/apiserver.crt ] && [ ! -e third/etcd ]
}

@test "kubeadm's configuration file: what is refused" {
    says() { # TEXT
        run "$pki" kubeadm --config k.yaml
        [ "$status" -eq 2 ] && [[ $output == *"$1"* ]] || { echo "$1: $status $output"; return 1; }
    }
    head='apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n'
    : > k.yaml
    says "k.yaml: no document of the kind ClusterConfiguration"
    printf 'a: [1' > k.yaml
    says ": no YAML: did not find expected"
    printf 'a: b\n---\n- c\n---\nkind: {x: y}\napiVersion: kubeadm.k8s.io/v1\n' > k.yaml
    says "no document of the kind"
    printf "$head"'networking: {dnsDomain: [x]}\n' > k.yaml
    says "k.yaml:3: networking.dnsDomain should be a text"
    printf "$head"'apiServer:\n  certSANs: a,b\n' > k.yaml
    says "k.yaml:4: apiServer.certSANs should be a list"
    printf "$head"'certificateValidityPeriod: soon\n' > k.yaml
    says "--validity soon: not a length of time"
    printf "$head"'encryptionAlgorithm: RSA-1024\n' > k.yaml
    says "--key RSA-1024: one of"
    printf "$head" > k.yaml
    says "k.yaml: InitConfiguration has no nodeRegistration.name; add it, or give --node-name"
    printf "$head"'---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {name: n}\n' > k.yaml
    says "InitConfiguration has no localAPIEndpoint.advertiseAddress; add it, or give --apiserver-advertise-address"
    printf "$head"'kubernetesVersion: v1.36.0\nx: a\377b\n' > k.yaml
    says "k.yaml:4: no YAML: invalid leading UTF-8 octet"
    printf "$head"'x: "\\0"\ncertificatesDir: "a\\0b"\n' > k.yaml
    says "certificatesDir should be a text"
    head -c 3000000 /dev/zero > k.yaml
    run "$pki" kubeadm --config k.yaml
    [ "$status" -eq 1 ] && [[ $output == *"larger than the"* ]]
    [ ! -e pki ]
}

@test "a cluster from --initial-cluster, then one member more" {
    list=m1=https://192.0.2.1:2380,m2=https://m2.example.org:2380
    "$pki" cluster --initial-cluster $list --client root --key p256 -q
    [ ! -e pki/m1/etcd/ca.key ]
    [ "$(stat -c %a pki/clients/root.key)" = 600 ]
    ca=$(sha256sum pki/ca/etcd/ca.crt)
    run "$pki" cluster --initial-cluster "$list,m3=https://192.0.2.3:2380" --key p256
    [ "$status" -eq 0 ]
    [[ $output == *"9 kept as they were"* ]]
    [ "$ca" = "$(sha256sum pki/ca/etcd/ca.crt)" ]
    for m in m1 m2 m3; do
        run "$pki" verify --dir pki/$m
        [ "$status" -eq 0 ]
    done
    run "$pki" flags m1 --for env
    [ "$status" -eq 0 ]
    [[ $output == *"ETCD_PEER_TRUSTED_CA_FILE=pki/m1/etcd/ca.crt"* ]]
}

@test "a named pipe in the directory keeps nobody waiting" {
    "$pki" init --key p256 -q
    mkdir -p odd/etcd && mkfifo odd/etcd/{ca,server,peer}.crt && cp pki/etcd/ca.key odd/etcd; cp pki/etcd/ca.key odd/etcd/server.key
    for command in "init" "issue server x" "renew all" "crl" "rotate-ca prepare" "show odd/etcd/ca.crt"; do
        run timeout 20 "$pki" $command --dir odd
        [[ $status -eq 1 && $output == *"named pipe"* ]] || { echo "$command: $status $output"; false; }
    done
    run -3 timeout 20 "$pki" check --dir odd
    [[ $output == *"named pipe"* ]]
    "$pki" show <(cat pki/etcd/ca.crt)
}

@test "a CA that cannot be read is said to be that, not to be missing" {
    "$pki" init --key p256 -q
    echo junk >pki/etcd/ca.crt
    for command in crl "rotate-ca prepare" "rotate-ca status" renew-ca "issue client x"; do
        refused 1 'holds no PEM block' $command
    done
}

@test "refused inputs" {
    "$pki" init --key p256 -q
    refused 2 '--ip 10.0.0.256: not an address' issue server cp-1 --ip 10.0.0.256
    refused 2 'not a DNS name' issue server cp-1 --dns 10.0.0.1
    refused 2 '0.0.0.0 is where a member listens' cluster --member m1=h1,0.0.0.0
    refused 2 ':: is where a member listens' cluster --initial-cluster 'm1=https://[::]:2380'
    refused 2 'neither an address nor a lower-case DNS name' issue server cp-1 --san 010.0.0.5
    refused 2 'member "CP_1"' issue server CP_1
    refused 2 '"etcd-ca" is a CA' issue etcd-ca x
    refused 2 'is no role' issue emperor x
    refused 2 'needs a name' issue server
    refused 2 'cannot be a file name' issue client ../x
    refused 2 'has 65 characters' issue client x --cn "$(printf 'a%.0s' {1..65})"
    refused 2 'control character' issue client x --cn $'a\tb'
    refused 2 'one of RSA-2048' issue client x --key RSA-1024
    refused 2 'not a length of time' issue client x --validity 0h
    refused 2 'not a length of time' issue client x --validity -5h
    refused 2 'is over already' issue client x --not-after 2001-01-01
    refused 2 'say the same' issue client x --validity 1h --days 3
    refused 2 'has another use' cluster --member ca=10.0.0.1
    [ "$(find pki -type f | wc -l)" -eq 2 ]
    run "$pki" issue client x --validity 20y --key p256
    [ "$status" -eq 0 ]
    [[ $output == *"validity cut to the end of its CA"* ]]
    chmod o+w pki
    refused 1 'writable by everybody' issue client y
}

@test "a CA that cannot sign is refused with the reason" {
    "$pki" init --key p256 -q
    "$pki" issue client root --key p256 -q
    refuses() {
        run "$pki" issue client other --key p256
        [ "$status" -eq 1 ]
        [[ $output == *"$1"* ]]
    }
    cp pki/clients/root.crt pki/etcd/ca.crt
    refuses "is not a CA"
    rm -r pki
    refuses "make the CA first"
    "$pki" init --key p256 -q
    "$pki" init --dir other --key p256 -q
    cp other/etcd/ca.key pki/etcd/ca.key
    refuses "belongs to another certificate"
}

@test "two at once: one works, the other says so" {
    mkdir pki
    exec 9< pki
    flock -x 9
    run "$pki" init --key p256 9<&-
    [ "$status" -eq 1 ]
    [[ $output == *"another etcd-pki is writing there"* ]]
    exec 9<&-
    "$pki" init --key p256 -q
}

@test "show and describe" {
    "$pki" init --key p384 -q
    run "$pki" show pki/etcd/ca.crt
    [ "$status" -eq 0 ]
    [[ $output == *"subject    CN=etcd-ca"*"ECDSA-P384"*"Certificate Sign; CA"* ]]
    run "$pki" inspect etcd-ca -o json
    [ "$status" -eq 0 ]
    [ "$(jq -r '.certificates[0].subject' <<< "$output")" = CN=etcd-ca ]
    "$pki" init --dir again --key p384 -q
    mv again/etcd pki2 && mkdir x && mv pki2 x/etcd && mv pki y && mkdir pki && mv y/etcd pki/
    [ "$("$pki" describe --normalise pki | sed s/pki/x/)" = "$("$pki" describe --normalise x)" ]
    run "$pki" show nowhere.crt
    [ "$status" -eq 1 ]
    echo junk > junk.crt
    run "$pki" show junk.crt
    [ "$status" -eq 1 ]
    [ "$output" = "etcd-pki: junk.crt: holds no PEM block with a certificate" ]
    run "$pki" show -o yaml pki/etcd/ca.crt
    [ "$status" -eq 2 ]
}

@test "verify finds what would not work" {
    "$pki" cluster --member m1=192.0.2.1 --key p256 -q
    e=pki/m1/etcd
    finds() { # STATUS ID FLAGS...
        local want=$1 id=$2
        shift 2
        run "$pki" verify -- etcd "$@"
        [ "$status" -eq "$want" ] && [[ $output == *" $id  "* ]] || {
            echo "$*: $status $output"
            return 1
        }
    }
    good=(--cert-file $e/server.crt --key-file $e/server.key --client-cert-auth --trusted-ca-file $e/ca.crt)
    run "$pki" verify -- etcd "${good[@]}" --listen-client-urls https://192.0.2.1:2379,https://127.0.0.1:2379
    [ "$status" -eq 0 ]
    finds 3 N1 "${good[@]}" --advertise-client-urls https://192.0.2.2:2379
    finds 3 K2 --cert-file $e/server.crt --key-file $e/peer.key
    finds 3 F1 --cert-file $e/server.crt
    finds 3 F1 --listen-client-urls=https://192.0.2.1:2379
    finds 3 T1 --cert-file $e/server.crt --key-file $e/server.key --client-cert-auth --trusted-ca-file $e/server.key
    finds 3 T2 --cert-file $e/server.crt --key-file $e/server.key --client-cert-auth
    finds 4 T3 --cert-file $e/server.crt --key-file $e/server.key --trusted-ca-file $e/ca.crt
    finds 3 U1 --cert-file $e/healthcheck-client.crt --key-file $e/healthcheck-client.key
    finds 3 N2 --peer-cert-file $e/peer.crt --peer-key-file $e/peer.key --initial-advertise-peer-urls https://192.0.2.9:2380
    finds 3 N2 --peer-cert-file $e/peer.crt --peer-key-file $e/peer.key --name m1 --initial-cluster m1=https://192.0.2.9:2380
    "$pki" init --dir other --key p256 -q
    finds 3 C1 --cert-file $e/server.crt --key-file $e/server.key --client-cert-auth --trusted-ca-file other/etcd/ca.crt
    "$pki" issue server half --ca ca/etcd/ca --out half --no-client-auth --key p256 -q
    finds 3 U2 --cert-file pki/half.crt --key-file pki/half.key --client-cert-auth --trusted-ca-file $e/ca.crt
    finds 3 U3 --peer-cert-file pki/half.crt --peer-key-file pki/half.key --peer-trusted-ca-file $e/ca.crt
    chmod 644 $e/server.key
    finds 4 K3 "${good[@]}"
    run "$pki" verify --dir pki/m1 --at "$(date -u -d '+350 days' +%FT%TZ)"
    [ "$status" -eq 4 ]
    run "$pki" verify --dir pki/m1 --at "$(date -u -d '+370 days' +%FT%TZ)" -o json
    [ "$status" -eq 3 ]
    [ "$(jq -c '[.ok, .errors]' <<< "$output")" = "[false,2]" ]
    [ "$(jq -c '.findings[0]|keys_unsorted' <<< "$output")" = '["id","severity","file","flag","found","expected","do"]' ]
    [ "$(jq -r 'first(.findings[]|select(.id == "C3")).expected' <<< "$output")" = "a certificate that is valid now and for longer than --warn" ]
}

@test "verify: the files of a set against each other" {
    finds() { # STATUS ID TEXT
        run "$pki" verify
        [ "$status" -eq "$1" ] && [[ $output == *" $2  "*"$3"* ]] || {
            echo "$2: $status $output"
            return 1
        }
    }
    "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --key p256 -q
    run "$pki" verify
    [ "$status" -eq 0 ]
    [ "$output" = "0 errors, 0 warnings" ]
    "$pki" rotate-ca prepare -q # one member has the bundle, the other has not
    cp pki/m2/etcd/ca.crt kept
    openssl x509 -in kept -out pki/m2/etcd/ca.crt
    finds 4 S1 "members may refuse each other"
    cp kept pki/m2/etcd/ca.crt
    run "$pki" verify
    [ "$status" -eq 0 ]
    cp pki/m1/etcd/healthcheck-client.crt away.crt
    cp pki/m1/etcd/server.crt pki/m1/etcd/healthcheck-client.crt
    finds 4 S1 "is CN=m1, under a name that means CN=kube-etcd-healthcheck-client"
    cp pki/ca/etcd/ca.crt pki/m1/etcd/healthcheck-client.crt
    finds 4 S1 "is a CA under the name of etcd-healthcheck-client"
    "$pki" init --dir other --key p256 -q
    "$pki" issue healthcheck-client --dir other --key p256 -q
    cp other/etcd/healthcheck-client.crt pki/m1/etcd/
    finds 4 S1 "is issued by another key than that of m1/etcd/ca"
    openssl req -new -newkey rsa:2048 -nodes -keyout x.key -subj /CN=x -out x.csr 2> /dev/null
    serial=0x$(openssl x509 -in pki/m2/etcd/peer.crt -noout -serial | cut -d= -f2)
    openssl x509 -req -in x.csr -CA kept -CAkey pki/ca/etcd/ca.key -set_serial $serial -out pki/x.crt 2> /dev/null
    cp away.crt pki/m1/etcd/healthcheck-client.crt
    finds 4 C5 "which pki/m2/etcd/peer.crt of the same issuer has too"
    rm pki/x.crt
    cp pki/m2/etcd/peer.key pki/m2/etcd/server.key
    finds 3 K2 "is not the key of the first certificate in pki/m2/etcd/server.crt"
    refused=$("$pki" verify --dir nowhere 2>&1) || true
    [[ $refused == *"open directory nowhere"* ]]
}

@test "verify: allow lists and the other members of the directory" {
    "$pki" cluster --member m1=192.0.2.1 --member m2=192.0.2.2 --key p256 -q
    judged() { # LIST: which certificates it does not allow
        "$pki" verify --dir pki -o json -- etcd --peer-cert-file pki/m1/etcd/peer.crt --peer-key-file pki/m1/etcd/peer.key \
            --peer-trusted-ca-file pki/m1/etcd/ca.crt --peer-client-cert-auth "$@" | jq -c '[.findings[]|select(.id == "P1").file]'
    }
    [ "$(judged --peer-cert-allowed-cn=m1,m2)" = '[]' ]
    [ "$(judged --peer-cert-allowed-cn=m1)" = '["pki/m2/etcd/peer.crt"]' ]
    [ "$(judged --peer-cert-allowed-hostname=192.0.2.2)" = '["pki/m1/etcd/peer.crt"]' ]
    [ "$(judged --peer-cert-allowed-hostname=x.invalid)" = '["pki/m1/etcd/peer.crt","pki/m2/etcd/peer.crt"]' ]
}

@test "verify: a list of a CA that may not sign lists" {
    "$pki" cluster --member m1=192.0.2.1 --key p256 -q
    "$pki" cluster --dir signs --member m1=192.0.2.1 --key p256 --crl-sign -q
    for dir in pki signs; do
        "$pki" crl --dir $dir -q 2> /dev/null
        e=$dir/m1/etcd
        run "$pki" verify -- etcd --cert-file $e/server.crt --key-file $e/server.key --client-cert-auth \
            --trusted-ca-file $e/ca.crt --client-crl-file $dir/ca/etcd/ca.crl
        [ "$status" -eq $([ $dir = pki ] && echo 4 || echo 0) ]
        [[ $dir == signs || $output == *"R3  pki/ca/etcd/ca.crl"*"without the usage CRL Sign"* ]]
    done
}

@test "verify tries every CA of the issuer's name, as Go does" {
    for ca in a b; do # by hand: nothing in the certificate says which key its CA has
        "$pki" init --dir $ca --key p256 -q
        openssl req -new -newkey rsa:2048 -nodes -keyout $ca.key -subj /CN=root -out $ca.csr 2> /dev/null
        openssl x509 -req -in $ca.csr -CA $ca/etcd/ca.crt -CAkey $ca/etcd/ca.key -CAcreateserial -out $ca.crt -days 365 2> /dev/null
    done
    cat a/etcd/ca.crt b/etcd/ca.crt > ab.crt
    cat b/etcd/ca.crt a/etcd/ca.crt > ba.crt
    for both in ab ba; do
        for leaf in a b; do
            "$pki" verify -q -- etcd --cert-file $leaf.crt --key-file $leaf.key --client-cert-auth --trusted-ca-file $both.crt
        done
    done
    run "$pki" verify -- etcd --cert-file a.crt --key-file a.key --client-cert-auth --trusted-ca-file b/etcd/ca.crt
    [[ $output == *"C1  a.crt"*"not with the key of the one trusted"* ]]
}

# below CA NAME DAYS EXTENSIONS - NAME.crt and NAME.key, signed by CA.crt; what openssl makes, without key identifiers
below() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $2.key -subj /CN=$2 -out $2.csr 2> /dev/null
    printf "$4\n" > ext
    openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -days $3 -extfile ext -out $2.crt 2> /dev/null
}
is_ca='basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign'

@test "verify, check, probe: the dates of the CAs that a certificate hangs on" {
    "$pki" init --cn root --key p256 -q
    cp pki/etcd/ca.crt root.crt && cp pki/etcd/ca.key root.key
    below root middle 1 "$is_ca"
    below middle leaf 90 'subjectAltName=IP:127.0.0.1'
    cat leaf.crt middle.crt > chain.crt
    later=$(date -u -d '+2 days' +%FT%TZ)
    judged() { run "$pki" verify "$@" -- etcd --cert-file chain.crt --key-file leaf.key --client-cert-auth --trusted-ca-file $trust; }
    trust=root.crt
    judged
    [ "$status" -eq 0 ]
    judged --at $later
    [ "$status" -eq 3 ] && [[ $output == *"error   C3  chain.crt"*"hangs on the CA CN=middle, which expired on"* ]]
    refused 3 "error: the CA behind it, CN=middle, expires on" check chain.crt
    refused 3 "error: the CA behind it, CN=middle, expired on" check chain.crt --at $later
    refused 4 "warning: the CA behind it" check chain.crt --crit 1h
    refused 0 "ok" check chain.crt --crit 1h --warn 2h
    cp root.crt unneeded.crt
    cat middle.crt >> unneeded.crt # nothing but another CA that is trusted
    refused 4 "warning: another CA in it, CN=middle, expires on" check unneeded.crt
    "$pki" check chain.crt --prometheus prom -q || true
    [ "$(grep -c '^etcd_pki_certificate_not_after_seconds{file="chain.crt"' prom)" -eq 2 ]
    # what a bundle holds besides harms nobody who does not hang on it
    below root old 1 "$is_ca"
    cat root.crt old.crt > bundle.crt
    below root plain 90 'subjectAltName=IP:127.0.0.1'
    run "$pki" verify --at $later -- etcd --cert-file plain.crt --key-file plain.key --client-cert-auth --trusted-ca-file bundle.crt
    [ "$status" -eq 4 ] && [[ $output == *"warning C3  bundle.crt"*"CN=old"*"what it has signed is refused"* ]]
    below old direct 90 'subjectAltName=IP:127.0.0.1'
    run "$pki" verify --at $later -- etcd --cert-file direct.crt --key-file direct.key --client-cert-auth --trusted-ca-file old.crt
    [ "$status" -eq 3 ] && [[ $output == *"error   C3  old.crt"* && $output == *"error   C3  direct.crt"* ]]
    # what is served
    below root gone -1 "$is_ca"
    below gone served 90 'subjectAltName=IP:127.0.0.1'
    port=$(free_port)
    openssl s_server -accept 127.0.0.1:$port -cert served.crt -key served.key -cert_chain gone.crt -www > /dev/null 2>&1 3>&- &
    pid=$!
    for _ in $(seq 100); do run "$pki" probe https://127.0.0.1:$port --cacert root.crt; [ "$status" -ne 1 ] && break; sleep 0.05; done
    kill $pid
    [ "$status" -eq 3 ] && [[ $output == *"chain "*"hangs on the CA CN=gone, which expired on"* ]]
}

@test "verify: what works although it is not as usual" {
    "$pki" init --cn root --key p256 -q
    "$pki" init --cn other --dir other --key p256 -q
    cp pki/etcd/ca.crt root.crt && cp pki/etcd/ca.key root.key
    cp other/etcd/ca.crt other.crt && cp other/etcd/ca.key other.key
    below root middle 900 "$is_ca"
    below middle leaf 90 'subjectAltName=IP:127.0.0.1'
    cat leaf.crt root.crt middle.crt > chain.crt # Go's clients take them in any order
    run "$pki" verify -- etcd --cert-file chain.crt --key-file leaf.key --client-cert-auth --trusted-ca-file root.crt
    [ "$status" -eq 4 ] && [[ $output == *"warning C2  chain.crt"* ]]
    # a serving certificate of a public CA: the member holds it against its own trust file only where it calls itself
    below root client 90 'extendedKeyUsage=clientAuth'
    below other public 90 'subjectAltName=IP:127.0.0.1'
    mixed() { run "$pki" verify -- etcd --cert-file public.crt --key-file public.key --client-cert-auth --trusted-ca-file root.crt "$@"; }
    mixed
    [ "$status" -eq 3 ] && [[ $output == *"error   C1  public.crt"* ]]
    for how in "--enable-grpc-gateway=false" "--client-cert-file=client.crt --client-key-file=client.key"; do
        mixed $how
        [ "$status" -eq 4 ] && [[ $output == *"warning C1  public.crt"*"0 errors, 1 warning" ]]
    done
}

@test "verify: a configuration file as etcd reads it" {
    "$pki" init --key p256 -q
    for role in server peer; do "$pki" issue $role m1 --key p256 -q; done
    cat > etcd.conf << EOF
# lists in each of their forms, comments, nothing at all
name: 'm1' # its name
data-dir:
listen-client-urls: https://127.0.0.1:2379 # for clients
advertise-client-urls: "https://127.0.0.1:2379"
cipher-suites: [
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
]
client-transport-security:
    cert-file: $PWD/pki/etcd/server.crt # comment
    key-file: $PWD/pki/etcd/server.key
    client-cert-auth: true
    trusted-ca-file: $PWD/pki/etcd/ca.crt
peer-transport-security: {cert-file: $PWD/pki/etcd/peer.crt, key-file: $PWD/pki/etcd/peer.key, allowed-cn: m1}
EOF
    "$pki" verify --config-file etcd.conf
    for suites in '[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, NONE]' $'\n- TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n- NONE'; do
        printf 'cipher-suites: %s\nclient-transport-security: {cert-file: pki/etcd/server.crt, key-file: pki/etcd/server.key}\n' "$suites" > bad.conf
        refused 3 'unexpected TLS cipher suite "NONE"' verify --config-file bad.conf
    done
    for names in 'allowed-cn: m2 # no other' 'allowed-cns: [m2, m3]' 'allowed-hostnames: [x.invalid]'; do
        printf 'peer-transport-security:\n  cert-file: pki/etcd/peer.crt\n  key-file: pki/etcd/peer.key\n  %s\n' "$names" > bad.conf
        refused 3 "P1  pki/etcd/peer.crt" verify --config-file bad.conf
    done
    # where etcd is called with one, it ignores all other flags
    printf 'client-transport-security: {cert-file: pki/etcd/server.crt, key-file: pki/etcd/peer.key}\n' > bad.conf
    refused 3 "K2  pki/etcd/peer.key" verify -- etcd --config-file=bad.conf --cert-file=nowhere --key-file=nowhere
    [[ $output != *nowhere* ]]
    "$pki" verify -q -- etcd --key-file=nowhere --config-file etcd.conf
    refused 1 "open nowhere.conf" verify -- etcd --config-file nowhere.conf
    printf 'a: [\n' > bad.conf
    refused 2 "bad.conf:2: no YAML" verify --config-file bad.conf
    for nothing in '' '# only this' '- a' 'text' 'name:'; do
        printf '%s\n' "$nothing" > bad.conf
        run "$pki" verify --config-file bad.conf
        [ "$status" -eq 2 ]
    done
}

@test "verify: a manifest in each form of YAML" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    cert=$PWD/pki/etcd/server.crt key=$PWD/pki/etcd/server.key bad=https://192.0.2.9:2379
    head='apiVersion: v1\nkind: Pod\nmetadata: {name: etcd}\nspec:\n  containers:\n'
    form() { # TEXT: it says the same
        printf "$head$1" > pod.yaml
        refused 3 "error   N1  $cert" verify --manifest pod.yaml
        [[ $output == *"1 error, 0 warnings" ]]
    }
    form "  - command: [etcd, --cert-file=$cert, \"--key-file=$key\", --advertise-client-urls=$bad]\n"
    form "  - image: etcd\n    command:\n    - /usr/local/bin/etcd\n    args:\n    - --cert-file=$cert # the pair\n    - --key-file\n    - $key\n    - --advertise-client-urls\n    - '$bad'\n"
    form "  - name: etcd\n    image: etcd\n    args: [--advertise-client-urls=$bad]\n    env:\n    - {name: ETCD_CERT_FILE, value: $cert}\n    - {name: ETCD_KEY_FILE, value: $key}\n    - {name: HOME, value: /}\n"
    form "  - name: beside\n    command: [proxy, --cert-file=nowhere, x]\n  - command: [etcd, --cert-file=$cert, --key-file=$key, --advertise-client-urls=$bad]\n"
    head='kind: ConfigMap\n---\nkind: Pod\nspec:\n  containers:\n'
    form "  - command: [etcd, --cert-file=$cert, --key-file=$key, --advertise-client-urls=$bad]\n"
    printf 'a: [\n' > pod.yaml
    refused 2 "pod.yaml:2: no YAML" verify --manifest pod.yaml
    for nothing in 'a: &a [b]\nc: {d: *a}\n' '&a [*a, *a, *a]\n' 'a: &a [x, x, x, x, x, x, x, x, x]\n'; do
        printf "$nothing" > pod.yaml
        before=a # each eight times the one before
        for name in b c d e f g h i j k; do
            [[ $nothing == *x* ]] && printf "$name: &$name [*$before, *$before, *$before, *$before, *$before, *$before, *$before, *$before]\n" >> pod.yaml
            before=$name
        done
        refused 2 "none of etcd's flags in it" verify --manifest pod.yaml
    done
    printf 'a: &a [b]\nc: {d: *a}\n' > pod.yaml
    refused 2 "none of etcd's flags in it" verify --manifest pod.yaml
}

@test "verify: a value with a NUL, and aliases that would be gigabytes written out, are refused" {
    printf 'cert-file: "a\\0b"\n' > etcd.yaml
    refused 2 "etcd.yaml: a value has a NUL byte" verify --config-file etcd.yaml
    long=$(head -c 400000 /dev/zero | tr '\0' x) many=$(printf '*a, %.0s' {1..10000})
    printf 'a: &a %s\nb:\n- {name: etcd, image: etcd, command: [%s]}\n' "$long" "$many" > pod.yaml
    printf 'a: &a %s\nlisten-client-urls: [%s]\n' "$long" "$many" > etcd.yaml
    ulimit -v 2000000
    refused 2 "pod.yaml: more than 4 MiB of values" verify --manifest pod.yaml
    refused 2 "etcd.yaml: more than 4 MiB of values" verify --config-file etcd.yaml
}

@test "what kubeadm's users type first: what to type here" {
    refused 2 "here it is: etcd-pki issue etcd-server NAME" init phase certs etcd-server --config k.yaml
    refused 2 "here it is: etcd-pki issue apiserver-etcd-client" init phase certs apiserver-etcd-client
    refused 2 "here it is: etcd-pki init" init phase certs etcd-ca
    for name in all apiserver sa ""; do refused 2 "here a node's whole set is made" init phase certs $name; done
    refused 2 "one at a time: etcd-pki csr etcd-server NAME" certs generate-csr
    refused 2 "server: needs a name: server NAME" csr server
    [ ! -e pki ]
}

@test "files as Windows saves them: what is wrong is said" {
    "$pki" init --key p256 -q
    "$pki" issue server m1 --key p256 -q
    "$pki" init --dir other --key p256 -q
    iconv -t UTF-16 pki/etcd/ca.crt > wide.crt
    refused 1 "wide.crt: is UTF-16" show wide.crt
    marked() { # FILE...: with a byte order mark in front, which Go does not skip
        for file in "$@"; do printf '\xef\xbb\xbf' | cat - $file > $(basename $file); done
    }
    marked pki/etcd/server.crt pki/etcd/server.key pki/etcd/ca.crt
    mkdir sub && cat other/etcd/ca.crt pki/etcd/ca.crt > sub/two.crt && marked sub/two.crt
    judged() { run "$pki" verify -- etcd --cert-file $1 --key-file $2 --client-cert-auth --trusted-ca-file $3; }
    judged pki/etcd/server.crt pki/etcd/server.key two.crt
    [ "$status" -eq 4 ] && [[ $output == *"warning T1  two.crt"*"etcd does not see its first block"* ]]
    judged server.crt server.key ca.crt
    [ "$status" -eq 3 ] && [[ $output == *"error   C1  server.crt"* && $output == *"error   K1  server.key"* && $output == *"error   T1  ca.crt"* ]]
}

@test "certificate-key and dry runs" {
    run "$pki" certs certificate-key
    [[ $output =~ ^[0-9a-f]{64}$ ]]
    run "$pki" init --dry-run
    [ "$status" -eq 0 ]
    [ "$output" = "would write etcd/ca.crt and .key" ]
    [ ! -e pki ]
}

@test "flags: each form is read back, whatever the directory is called" {
    yaml() { sed -n 's/^    - \(--.*\|"--.*"\)$/\1/p' | sed '/^"/ { s/^"//; s/"$//; s/\\\(["\\]\)/\1/g; }'; }
    dir="it's \$HOME \\ \"x\""
    "$pki" cluster --dir "$dir" --member m1=192.0.2.1 --member m2=2001:db8::1 --key p256 -q
    for m in m1 m2; do
        eval "words=($("$pki" flags $m --dir "$dir"))"
        [ "${#words[@]}" -eq 13 ] && [ "${words[5]}" = "--cert-file=$dir/$m/etcd/server.crt" ]
        run "$pki" verify -- etcd "${words[@]}"
        [ "$status" -eq 4 ] && [[ $output == *" P2 "*"0 errors, 1 warning" ]]
        "$pki" flags $m --dir "$dir" --for env > env
        (. ./env && [ "$ETCD_KEY_FILE" = "$dir/$m/etcd/server.key" ] && [ "$ETCD_NAME" = $m ])
        eval "$("$pki" flags $m --dir "$dir" --for etcdctl)"
        [ -e "$ETCDCTL_KEY" ] && [ -e "$ETCDCTL_CACERT" ]
        "$pki" flags $m --dir "$dir" --for manifest | yaml > words
        [ "$(wc -l < words)" -eq 13 ] && grep -qxF -- "--name=$m" words && grep -qxF -- "--peer-key-file=$PWD/$dir/$m/etcd/peer.key" words
    done
    "$pki" cluster --member m2=2001:db8::1 --key p256 -q
    run "$pki" flags m2 --for manifest
    [[ $output == *"    - --advertise-client-urls=https://[2001:db8::1]:2379"*"      mountPath: $PWD/pki/m2/etcd"*"      path: $PWD/pki/m2/etcd"* ]]
    run "$pki" verify --manifest <("$pki" flags m2 --for manifest)
    [ "$status" -eq 4 ] && [[ $output == *" P2 "*"0 errors, 1 warning" ]]
    run "$pki" flags m2 --for yaml
    [ "$status" -eq 2 ] && [ "$output" = "etcd-pki: --for yaml: one of etcd, env, systemd, etcdctl, manifest" ]
    mv pki $'bad\npki'
    run "$pki" flags m2 --dir $'bad\npki' --for env
    [ "$status" -eq 2 ] && [[ $output == *"a control character in the directory"* ]]
}

@test "what every verb takes" {
    for verb in $("$pki" help | sed -n 's/^    \([a-z-]*\) .*/\1/p'); do
        case $verb in help | version) continue ;; esac
        [ "$("$pki" $verb --version)" = "$("$pki" version)" ]
        run "$pki" $verb -o yaml
        [ "$status" -eq 2 ] && [ "$output" = "etcd-pki: -o yaml: text or json" ]
        case $verb in flags | certificate-key) ;; *) continue ;; esac
        run "$pki" $verb -w json
        [ "$status" -eq 2 ] && [ "$output" = "etcd-pki: $verb: there is no JSON of it; -o text" ]
    done
    [ -z "$(ls)" ]
    run "$pki" help emperor
    [ "$status" -eq 2 ] && [[ $output == *'unknown verb "emperor"'* ]]
    for bad in --nagios=x "-o yaml" --crit=x "--prometheus nowhere/x" --unknown; do
        "$pki" init --key p256 -q
        run "$pki" check $bad --nagios
        [ "$status" -eq 3 ] || { echo "$bad: $status"; return 1; }
    done
}

@test "what was made, as JSON" {
    json . '{"ok":true,"dryRun":true,"files":[{"file":"pki/etcd/ca.crt","action":"made"},{"file":"pki/etcd/ca.key","action":"made"}]}' init --key p256 --dry-run
    [ ! -e pki ]
    json '[.ok,(.files[]|[.file,.action,.subject])]' '[true,["pki/etcd/ca.crt","made","CN=etcd-ca"],["pki/etcd/ca.key","made",null]]' init --key p256
    json '.files[0]|keys_unsorted' '["file","action","subject","issuer","serial","notBefore","notAfter","extendedKeyUsage","alternativeNames"]' \
        issue server m1 --ip 192.0.2.1 --key p256
    json '[.files[]|.action]|unique' '["kept"]' issue server m1 --ip 192.0.2.1
    [ "$(jq -r '.files[0].alternativeNames' <<< "$output")" = "DNS:localhost, DNS:m1, IP:192.0.2.1, IP:127.0.0.1, IP:::1" ]
    json '[.ok,.differences[0].file,(.differences[0].found|test("192.0.2.2")),.files]' '[false,"etcd/server",true,null]' issue server m1 --ip 192.0.2.2
    [ "$status" -eq 1 ] && [[ $stderr == *"nothing was written"* ]]
    json '[(.files|length),(.files[]|select(.action=="copied").file)]' '[10,"c/m1/etcd/ca.crt"]' cluster --dir c --member m1=192.0.2.1 --flags-file --key p256
    [ "$(jq -c '[.files[].file]' <<< "$output")" = "$(jq -c '[.files[].file]|sort' <<< "$output")" ]
    json '.files|length' 22 kubeadm --dir node --node-name cp-1 --apiserver-advertise-address 192.0.2.11 --key p256
    json '.files' '[{"file":"host/etcd/peer.csr","action":"made","cn":"m2"},{"file":"host/etcd/peer.key","action":"made"}]' csr peer m2 --dir host --key p256
    json '.files|map([.file,.subject])' '[["host/etcd/peer.crt","CN=m2"]]' sign host/etcd/peer.csr --role peer
    run "$pki" init nonsense -o json
    [ "$status" -eq 2 ] && [ "$output" = 'etcd-pki: init: "nonsense" is one word too many; see etcd-pki help init' ]
}

@test "every algorithm serves" {
    for alg in RSA-2048 ECDSA-P256 p384 Ed25519; do
        "$pki" init --dir "$alg" --key "$alg" -q
        "$pki" issue server m --dir "$alg" --key "$alg" -q
        run openssl verify -CAfile "$alg/etcd/ca.crt" -purpose sslserver "$alg/etcd/server.crt"
        [ "$status" -eq 0 ]
    done
}

@test "the manual's synopsis is that of --help" {
    page=$BATS_TEST_DIRNAME/../../man/etcd-pki.1
    for verb in $("$pki" help | sed -n 's/^    \([a-z-]*\) .*/\1/p'); do
        case $verb in help | version) continue ;; esac
        grep -q "^\.Cm $verb" "$page"
        for flag in $("$pki" help $verb | grep -o -- '--[a-z-]*' | sort -u); do
            grep -q -- "Fl Fl\? \?${flag#--}\|Fl -${flag#--}" "$page" || { echo "$flag"; return 1; }
        done
    done
}

@test "the manual's examples run" {
    page=$BATS_TEST_DIRNAME/../../man/etcd-pki.1
    awk '/^\.Sh EXAMPLES/ { on = 1 } on && /^\.Ed/ { body = 0 } body { print } on && /^\.Bd/ { body = 1 }' "$page" |
        sed 's/\\e$/\\/' | grep -v probe > examples # probe needs a member: pki_live_test.sh
    [ "$(grep -c '^etcd-pki ' examples)" -ge 12 ]
    mkdir bin
    ln -s "$(realpath "$pki")" bin/etcd-pki
    sed -i 's/^etcd-pki check --/etcd-pki issue peer cp-1\n&/' examples
    PATH=$PWD/bin:$PATH run bash -e examples
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "cluster: a file of flags for each member" {
    list=m1=https://192.0.2.1:2380,m2=https://m2.example:3380,m3=https://[2001:db8::3]:2380
    run "$pki" cluster --initial-cluster "$list" --flags-file --key p256
    [ "$status" -eq 0 ]
    [[ $output == *"m1/etcd.env  made"* ]]
    value() { sed -n "s/^ETCD_$2=//p" "pki/$1/etcd.env"; }
    [ "$(value m1 INITIAL_CLUSTER)" = "$list" ]
    [ "$(value m1 LISTEN_CLIENT_URLS)" = https://127.0.0.1:2379,https://192.0.2.1:2379 ]
    [ "$(value m2 LISTEN_CLIENT_URLS)" = https://0.0.0.0:2379 ]
    [ "$(value m2 ADVERTISE_CLIENT_URLS)" = https://m2.example:2379 ]
    [ "$(value m2 LISTEN_PEER_URLS)" = https://0.0.0.0:3380 ]
    [ "$(value m2 INITIAL_ADVERTISE_PEER_URLS)" = https://m2.example:3380 ]
    [ "$(value m3 LISTEN_PEER_URLS)" = 'https://[2001:db8::3]:2380' ]
    for m in m1 m2 m3; do # the paths are those from where the file lies
        (cd pki/$m && "$pki" verify --env-file etcd.env) || [ $? -eq 4 ]
    done
    # one more member: what is there is the operator's, what is missing is made
    echo ETCD_DATA_DIR=/var/lib/etcd >> pki/m1/etcd.env
    run "$pki" cluster --initial-cluster "$list,m4=https://192.0.2.4:2380" --flags-file --key p256
    [ "$status" -eq 0 ]
    [ "$(value m1 DATA_DIR)" = /var/lib/etcd ]
    [ "$(value m1 INITIAL_CLUSTER)" = "$list" ]
    [ "$(value m4 INITIAL_CLUSTER)" = "$list,m4=https://192.0.2.4:2380" ]
    # hosts alone
    run "$pki" cluster --dir two --member a=192.0.2.7,a.example --member b=b.example --flags-file --key p256 -q
    [ "$status" -eq 0 ] && [ -z "$output" ]
    grep -qx 'ETCD_INITIAL_CLUSTER=a=https://192.0.2.7:2380,b=https://b.example:2380' two/b/etcd.env
    # flags says what that file says, also what the operator has changed there since
    env_of() { "$pki" flags "$1" "${@:2}" --for env | sed 's,=pki/'$1'/,=./,; s,=\./pki/'$1'/,=./,'; }
    for m in m2 m3; do
        diff <(env_of $m) <(grep -v '^#' pki/$m/etcd.env)
    done
    sed -i 's/^\(ETCD_ADVERTISE_CLIENT_URLS=\).*/\1"https:\/\/m2.example:4001"/' pki/m2/etcd.env
    [[ $("$pki" flags m2) == *"--advertise-client-urls=https://m2.example:4001"*"--initial-cluster=$list" ]]
    [[ $("$pki" flags m2 --for etcdctl) == "export ETCDCTL_ENDPOINTS=https://m2.example:4001"* ]]
    # whoever reads it elsewhere is told where it belongs, or gets absolute paths
    [[ $(head -n 1 pki/m1/etcd.env) == "# The paths are seen from the directory of this file"* ]]
    [[ $("$pki" flags m1 --for systemd) == *"ETCD_CERT_FILE=$PWD/pki/m1/etcd/server.crt"* ]]
    # without the file: the certificate's own names, on etcd's usual ports
    rm two/b/etcd.env
    run "$pki" flags b --dir two
    [[ $output == *"--listen-client-urls=https://127.0.0.1:2379,https://0.0.0.0:2379 "* || $output == *"--listen-client-urls=https://0.0.0.0:2379 "* ]]
    [[ $output == *"--advertise-client-urls=https://b.example:2379 "* && $output == *"--listen-peer-urls=https://0.0.0.0:2380 "* ]]
    [[ $output != *initial-cluster* ]]
}

@test "output that is lost is said" {
    [ -c /dev/full ] || skip "no /dev/full"
    "$pki" cluster --member m1=127.0.0.1 --client a --client b --key p256 -q
    for command in help "help issue" version describe "check -o json" "flags m1"; do # also more than stdio holds back
        run sh -c "'$pki' $command > /dev/full"
        [ "$status" -eq 1 ] && [[ $output == *"cannot write to standard output"* ]] || { echo "$command: $status $output" && return 1; }
    done
    run sh -c "'$pki' init --dir closed --key p256 >&-"
    [ "$status" -eq 1 ] && [ ! -s closed/.etcd-pki.lock ]
    openssl verify -CAfile closed/etcd/ca.crt closed/etcd/ca.crt
}
