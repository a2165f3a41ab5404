# pki_setup.bash - what the tests of etcd-pki share. ETCD_PKI names the program.
bats_require_minimum_version 1.5.0

# enter - the program, and an empty directory
enter() {
    pki=${ETCD_PKI:-$BATS_TEST_DIRNAME/../../build/bin/etcd-pki}
    cd "$BATS_TEST_TMPDIR" || return 1
    export ETCD_PKI_DIR=pki
    unset ETCD_PKI_CA_PASSPHRASE
}

setup() {
    enter
}

# refused STATUS TEXT ARGUMENTS... - it ends so, and says that among other things
refused() {
    local want=$1 text=$2
    shift 2
    run "$pki" "$@"
    [ "$status" -eq "$want" ] && [[ $output == *"$text"* ]] || {
        echo "$*: $status $output"
        return 1
    }
}

# json FILTER EXPECTED ARGUMENTS... - what jq makes of the output with -o json
json() {
    local filter=$1 want=$2
    shift 2
    run --separate-stderr "$pki" "$@" -o json
    [ "$(jq -c "$filter" <<< "$output")" = "$want" ] || {
        echo "$*, wanted $want: $status $output $stderr"
        return 1
    }
}

# free_port - a port on which nothing listens, below those that the kernel gives away
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (: > "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
    echo $port
}
