#!/usr/bin/env bats
# pki_passphrase.bats - CA keys locked with a passphrase: made, used by every verb that signs, and
# what is said when the passphrase is wrong or missing. ETCD_PKI names the program.

load pki_setup
setup() {
    enter
    echo open-sesame > pass
    with=(--ca-passphrase-file pass)
}
keeps_it() { # refused, and the passphrase is not told
    refused "$@" && [[ $output != *open-sesame* ]]
}
locked() { # KEY...
    for key in "$@"; do
        [ "$(head -1 "$key")" = "-----BEGIN ENCRYPTED PRIVATE KEY-----" ] && [ "$(stat -c %a "$key")" = 600 ] &&
            openssl pkey -in "$key" -passin file:pass -noout && ! openssl pkey -in "$key" -passin pass:other -noout 2> /dev/null
    done
}

@test "every verb that makes or opens a CA key takes a passphrase" {
    "$pki" init --key p256 -q "${with[@]}"
    locked pki/etcd/ca.key
    openssl asn1parse -in pki/etcd/ca.key | grep -q aes-256-cbc
    "$pki" issue server m1 --key p256 -q "${with[@]}"
    "$pki" issue peer m1 --key p256 -q "${with[@]}"
    "$pki" issue client root --key p256 -q --ca-passphrase-fd 7 7< pass
    ETCD_PKI_CA_PASSPHRASE=open-sesame "$pki" renew all -q
    "$pki" renew-ca -q "${with[@]}"
    "$pki" crl -q "${with[@]}" 2> /dev/null
    "$pki" revoke clients/root -q "${with[@]}" 2> /dev/null
    "$pki" csr client other --key p256 -q
    "$pki" sign pki/clients/other.csr --role client -q "${with[@]}"
    openssl verify -CAfile pki/etcd/ca.crt pki/etcd/server.crt pki/clients/root.crt pki/clients/other.crt
    for key in pki/etcd/server.key pki/clients/root.key; do # etcd cannot ask for one
        openssl pkey -in $key -passin pass: -noout
    done
    "$pki" check -q
    "$pki" check -q "${with[@]}"
    "$pki" describe | jq -e '.directories[0].files[]|select(.file=="etcd/ca.crt")|.keyMatches == null' > /dev/null
    keeps_it 0 "nothing to do" init
    keeps_it 0 "nothing to do" init "${with[@]}"
}

@test "a cluster's and kubeadm's CAs, their copies, and a rotation stay locked" {
    "$pki" cluster --member m1=192.0.2.1 --with-ca-key --client root --key p256 -q "${with[@]}"
    locked pki/ca/etcd/ca.key pki/m1/etcd/ca.key
    keeps_it 1 "is locked with a passphrase; give it with" rotate-ca prepare
    [ ! -e pki/ca/etcd/ca-next.key ]
    "$pki" rotate-ca prepare -q "${with[@]}"
    locked pki/ca/etcd/ca-next.key
    keeps_it 1 "is locked with a passphrase" rotate-ca switch --force
    locked pki/ca/etcd/ca.key
    "$pki" rotate-ca switch --force -q "${with[@]}"
    locked pki/ca/etcd/ca.key pki/ca/etcd/ca-prev.key
    "$pki" rotate-ca finish -q
    locked pki/ca/etcd/ca.key
    openssl verify -CAfile pki/ca/etcd/ca.crt pki/m1/etcd/server.crt pki/clients/root.crt
    "$pki" kubeadm --dir node --node-name cp-1 --apiserver-advertise-address 192.0.2.11 --key p256 -q "${with[@]}"
    locked node/ca.key node/front-proxy-ca.key node/etcd/ca.key
    openssl pkey -in node/sa.key -passin pass: -noout
}

@test "a rotation locks the next CA although the present one is open" {
    "$pki" init --key p256 -q
    "$pki" rotate-ca prepare -q "${with[@]}"
    "$pki" rotate-ca switch --force -q "${with[@]}"
    "$pki" rotate-ca finish -q
    locked pki/etcd/ca.key
}

@test "wrong, missing and impossible passphrases" {
    "$pki" init --key p256 -q "${with[@]}"
    "$pki" issue client root --key p256 -q "${with[@]}"
    "$pki" csr client other --key p256 -q
    sums=$(find pki -type f -exec sha256sum {} +)
    echo wrong > wrong
    for verb in "issue client x" "renew all" "renew-ca" "crl" "revoke clients/root" "sign pki/clients/other.csr --role client"; do
        keeps_it 1 "etcd/ca.key is locked with a passphrase; give it with --ca-passphrase-file FILE" $verb
        keeps_it 1 "etcd/ca.key: the passphrase does not open this key" $verb --ca-passphrase-file wrong
    done
    keeps_it 3 "the passphrase does not open this key" check --ca-passphrase-file wrong
    keeps_it 1 "the passphrase does not open this key" init --ca-passphrase-file wrong
    keeps_it 1 "open nowhere" crl --ca-passphrase-file nowhere
    : > empty
    keeps_it 2 "is empty" crl --ca-passphrase-file empty
    printf '\n' > empty
    keeps_it 2 "is empty" crl --ca-passphrase-file empty
    printf 'a\nb\n' > two
    keeps_it 2 "more than one line" crl --ca-passphrase-file two
    printf 'a\0b' > zero
    keeps_it 2 "a zero byte" crl --ca-passphrase-file zero
    head -c 1025 /dev/zero | tr '\0' a > long
    keeps_it 2 "is too long" crl --ca-passphrase-file long
    keeps_it 2 "is too long" crl --ca-passphrase-file <(head -c 5000000 /dev/zero | tr '\0' a)
    keeps_it 1 "read the passphrase from --ca-passphrase-fd 9" crl --ca-passphrase-fd 9
    keeps_it 2 "the number of an open descriptor" crl --ca-passphrase-fd -1
    keeps_it 2 "give one" crl "${with[@]}" --ca-passphrase-fd 3
    keeps_it 1 "Is a directory" crl --ca-passphrase-file .
    keeps_it 2 "unknown flag --ca-passphrase" crl --ca-passphrase open # never on the command line
    keeps_it 2 "does not take the flag" show "${with[@]}" pki/etcd/ca.crt
    [ "$sums" = "$(find pki -type f -exec sha256sum {} +)" ]
    "$pki" init --dir plain --key p256 -q
    keeps_it 1 "is not locked with a passphrase, but one was given" init --dir plain "${with[@]}"
}

@test "keys that others have locked, and leaf keys that should not be" {
    "$pki" init --key p256 -q
    cp pki/etcd/ca.key plain.key
    for how in "pkey -aes128" "ec -aes256" "pkcs8 -topk8 -v2 aes-128-cbc" "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 5000"; do
        openssl $how -in plain.key -out pki/etcd/ca.key -passout file:pass 2> /dev/null
        rm -rf pki/clients
        keeps_it 1 "is locked with a passphrase" issue client x
        "$pki" issue client x --key p256 -q "${with[@]}"
    done
    # A file may ask for years of work; scrypt and DES are not taken either.
    openssl pkcs8 -topk8 -scrypt -in plain.key -out pki/etcd/ca.key -passout file:pass
    keeps_it 1 "encrypted in a way that is not read here" crl "${with[@]}"
    openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000 -in plain.key -outform DER -out huge.der -passout file:pass
    python3 -c 'import sys; sys.stdout.buffer.write(open("huge.der", "rb").read().replace(b"\x09\x27\xc0", b"\x7f\xff\xff"))' > huge2.der
    { echo '-----BEGIN ENCRYPTED PRIVATE KEY-----'; base64 -w64 huge2.der; echo '-----END ENCRYPTED PRIVATE KEY-----'; } > huge.key
    openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in plain.key -out pki/etcd/ca.key -passout file:pass
    keeps_it 1 "encrypted in a way that is not read here" crl "${with[@]}"
    cp huge.key pki/etcd/ca.key
    keeps_it 1 "encrypted in a way that is not read here" crl "${with[@]}"
    head -c 200 pki/etcd/ca.key > cut && cp cut pki/etcd/ca.key
    keeps_it 1 "pki/etcd/ca.key" crl "${with[@]}"
    cp plain.key pki/etcd/ca.key
    openssl pkcs8 -topk8 -in pki/clients/x.key -out locked.key -passout file:pass
    cp locked.key pki/clients/x.key
    keeps_it 3 "the private key is encrypted; etcd cannot ask for a passphrase" check "${with[@]}"
    keeps_it 1 "the private key is encrypted; etcd cannot ask for a passphrase" renew clients/x --reuse-key "${with[@]}"
}

@test "no key is printed, left where others can read it, or in a message" {
    all() {
        for dir in pki l; do
            export ETCD_PKI_DIR=$dir
            [ $dir = l ] && flags=("${with[@]}") || flags=()
            "$pki" init --dry-run --key p256 "${flags[@]}"
            "$pki" init --key p256 "${flags[@]}"
            "$pki" issue server m1 --key p256 "${flags[@]}"
            "$pki" issue client root --dry-run --key p256 "${flags[@]}"
            "$pki" issue client root --key p256 "${flags[@]}"
            "$pki" issue client root --org other "${flags[@]}"
            "$pki" renew all --dry-run "${flags[@]}"
            "$pki" renew all "${flags[@]}"
            "$pki" csr client x --key p256
            "$pki" sign $dir/clients/x.csr --role client "${flags[@]}"
            "$pki" crl "${flags[@]}"
            "$pki" rotate-ca prepare --key p256 "${flags[@]}"
            "$pki" rotate-ca switch --force "${flags[@]}"
            "$pki" show $dir/clients/root.crt $dir/clients/root.key
            "$pki" describe
            "$pki" check -o json "${flags[@]}"
            "$pki" verify
            "$pki" verify -- etcd --cert-file $dir/etcd/server.key --key-file $dir/etcd/server.crt --trusted-ca-file $dir/etcd/ca.key
            "$pki" flags
            "$pki" probe https://127.0.0.1:1 --cert $dir/etcd/server.crt --key $dir/clients/root.key
        done
    }
    umask 000
    all > out 2>&1 || true
    [ "$(wc -l < out)" -gt 100 ]
    ! grep -q 'PRIVATE KEY\|open-sesame' out
    find pki l -type f -name '*.key' | while read -r key; do
        sed '/^-/d' "$key" | while read -r line; do ! grep -qF -- "$line" out || echo "$key" >> found; done
    done
    [ ! -e found ]
    [ -z "$(grep -rl 'PRIVATE KEY' pki l | xargs stat -c '%a %n' | grep -v '^600 ')" ]
    [ "$(grep -rl 'PRIVATE KEY' pki l | wc -l)" -gt 8 ]
}
