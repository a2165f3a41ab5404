#!/usr/bin/env bats
# ctl.bats - etcd-ctl as scripts use it, and what it says when something is wrong.
# ETCD_CTL is the client; ETCD_SERVER a server with etcd's flags (a real etcd answers alike).

load ctl_setup

setup_file() {
    start_plain_and_tls 8
    start open https $((PORT + 4)) --cert-file="$DIR/server.crt" --key-file="$DIR/server.key"
    start old https $((PORT + 6)) --cert-file="$DIR/expired.crt" --key-file="$DIR/expired.key"
    "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" --cacert="$DIR/ca.crt" \
        --command-timeout=20s put up 1
    "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 6))" --insecure-skip-tls-verify \
        --command-timeout=20s put up 1
}

bats_require_minimum_version 1.5.0

@test "put, get and del" {
    run -0 ctl put k1 v1
    [ "$output" = OK ]
    run -0 ctl get k1
    [ "$output" = $'k1\nv1' ]
    [ "$(ctl get k1 --print-value-only)" = v1 ]
    [ "$(ctl del k1)" = 1 ]
    run --separate-stderr ctl del k1 k2
    [[ $status -eq 0 && $output == 0 && $stderr == *"RANGE_END without --range"* ]]
    run --separate-stderr ctl del k1 k2 --range
    [[ $status -eq 0 && $output == 0 && -z $stderr ]]
    [ -z "$(ctl get k1)" ]
}

@test "a value from standard input keeps every byte" {
    printf '\377\000 two\n' | ctl put bytes
    [ "$(ctl get bytes --print-value-only --hex)" = '\xff\x00\x20\x74\x77\x6f\x0a' ]
}

@test "a value that standard input does not have" {
    fails 128 "needs 1 argument and input from stdin" "--help" -- ctl put bytes </dev/null
    fails 128 "cannot read the value from standard input: Is a directory" "--help" -- ctl put bytes </
    fails 128 "larger than 536870912 bytes" "--help" -- ctl put bytes < <(head -c 600M /dev/zero)
}

@test "dashes stand behind two dashes" {
    [ "$(ctl put -- -k -v)" = OK ]
    [ "$(ctl get -- -k)" = $'-k\n-v' ]
    fails 1 "unknown shorthand flag: 'v' in -v" '"--"' -- ctl put k -v
}

@test "json has etcdctl's shape" {
    ctl put j 1 >/dev/null
    ctl get j -w json |
        grep -E '^\{"header":\{"cluster_id":[0-9]+,"member_id":[0-9]+,"revision":[0-9]+,"raft_term":[0-9]+\},"kvs":\[\{"key":"ag==","create_revision":[0-9]+,"mod_revision":[0-9]+,"version":[0-9]+,"value":"MQ=="\}\],"count":1\}$'
}

@test "every command in every format, or a word that it has none" {
    for format in simple json fields protobuf table; do
        for words in "put f 1" "get f" "get none" "get f --keys-only" "del none" "lease list" "alarm list" \
            "alarm disarm" "auth status" "user list" "role list" "member list" "endpoint health" \
            "endpoint status" "endpoint hashkv" "defrag"; do
            run --separate-stderr ctl $words -w "$format"
            [[ $status -eq 0 || ($status -eq 4 && $stderr == *"not supported as output format"*) ]] ||
                { echo "$words -w $format: $status, $stderr"; false; }
        done
    done
    [ -z "$(ctl alarm disarm -w protobuf)" ] # there is none: a message of no bytes
}

@test "txn from a pipe" {
    ctl del lock >/dev/null
    run -0 ctl txn < <(printf 'create("lock") = "0"\n\nput lock me\n\nget lock\n\n')
    [ "$output" = $'SUCCESS\n\nOK' ]
    run -0 ctl txn < <(printf 'create("lock") = "0"\n\nput lock you\n\nget lock\n\n')
    [ "$output" = $'FAILURE\n\nlock\nme' ]
}

@test "variables, and a flag before its variable" {
    ctl put e 1 >/dev/null
    ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:$PORT run -0 --separate-stderr "$ETCD_CTL" get e
    [ "$output" = $'e\n1' ]
    [ -z "$stderr" ]
    ETCDCTL_ENDPOINTS=127.0.0.1:1 run -0 ctl get e
    [ "$output" = $'e\n1' ]
}

@test "the next endpoint is used when one is dead" {
    ctl put f 1 >/dev/null
    run -0 "$ETCD_CTL" --endpoints="127.0.0.1:1,127.0.0.1:$PORT" get f
    [ "$output" = $'f\n1' ]
}

# As it is with a member that is stopped, or waits for the others: the kernel connects, nobody answers.
@test "the next endpoint is used when one says nothing" {
    local silent said
    silent=$(free_ports 1)
    python3 -c 'import signal, socket, sys; s = socket.create_server(("127.0.0.1", int(sys.argv[1]))); print(flush=True); signal.pause()' \
        "$silent" >up 3>&- &
    echo $! >"$DIR/silent.pid"
    wait_for test -s up
    for said in "put f 2" "get f" "lease grant 60"; do
        run -0 timeout 30 "$ETCD_CTL" --endpoints="127.0.0.1:$silent,127.0.0.1:$PORT" $said
    done
    fails 1 "none of the 2 endpoints could be used; first: 127.0.0.1:$silent" "does not answer" -- \
        timeout 30 "$ETCD_CTL" --command-timeout=1s --endpoints="127.0.0.1:$silent,127.0.0.1:1" get f
    kill "$(cat "$DIR/silent.pid")"
}

@test "the old spellings work, with a note" {
    run -0 --separate-stderr "$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 2))" \
        --ca-file="$DIR/ca.crt" --cert-file="$DIR/client.crt" --key-file="$DIR/client.key" get up
    [ "$output" = $'up\n1' ]
    [[ $stderr == *"--cert-file is understood as --cert"* ]]
    fails 1 'unknown command "ls"' "get DIR --prefix --keys-only" -- ctl ls /
}

@test "certificate flags mean TLS, with and without https" {
    [ "$(tls get up)" = $'up\n1' ]
    [ "$("$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 2))" --cacert="$DIR/ca.crt" \
        --cert="$DIR/client.crt" --key="$DIR/client.key" get up)" = $'up\n1' ]
    [ "$("$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" --insecure-skip-tls-verify \
        get up)" = $'up\n1' ]
}

@test "certificate files may be pipes" {
    local program
    for program in "$ETCD_CTL" ${ETCD_SNAP:+"$ETCD_SNAP"}; do
        run -0 "$program" snapshot save piped.db --endpoints="https://127.0.0.1:$((PORT + 2))" --cacert=<(cat "$DIR/ca.crt") \
            --cert=<(cat "$DIR/client.crt") --key=<(cat "$DIR/client.key")
    done
    run -0 --separate-stderr "$ETCD_CTL" --endpoints="127.0.0.1:1,127.0.0.1:$((PORT + 2))" --cacert=<(cat "$DIR/ca.crt") \
        --cert=<(cat "$DIR/client.crt") --key=<(cat "$DIR/client.key") get up
    [ "$output" = $'up\n1' ]
}

@test "snapshot save and status" {
    tls snapshot save "$PWD/backup.db"
    [ "$(stat -c %a backup.db)" = 600 ]
    "$ETCD_CTL" snapshot status backup.db | grep -E '^[0-9a-f]+, [0-9]+, [0-9]+, [0-9.]+ .?B$'
}

@test "error: connection refused" {
    fails 1 "127.0.0.1:1: connection refused" "Start the server" -- \
        "$ETCD_CTL" --endpoints=127.0.0.1:1 get k
}

@test "error: unknown host" {
    fails 1 'unknown host "nosuch.invalid"' "--endpoints" -- \
        "$ETCD_CTL" --endpoints=nosuch.invalid:2379 get k
}

@test "error: no port, no endpoints" {
    fails 1 '"127.0.0.1" has no port' "HOST:PORT" -- "$ETCD_CTL" --endpoints=127.0.0.1 get k
    fails 2 "no available endpoints" "HOST:PORT" -- "$ETCD_CTL" --endpoints= get k
}

@test "error: the server's CA is another" {
    fails 1 "(CN=server) was issued by CN=ca-authority, which is not in $DIR/other.crt" "--cacert" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" --cacert="$DIR/other.crt" get k
    fails 1 "which is not in the system's list of CAs" "--cacert" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" get k
}

@test "error: the server's certificate is expired" {
    fails 1 "(CN=expired) expired at 20" "Renew it" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 6))" --cacert="$DIR/ca.crt" get k
}

@test "error: the host is not among the names of the certificate" {
    fails 1 'not valid for "localhost", only for 127.0.0.1, etcd.example' '"localhost" among its SANs' -- \
        "$ETCD_CTL" --endpoints="https://localhost:$((PORT + 4))" --cacert="$DIR/ca.crt" get k
}

@test "error: the server wants a client certificate" {
    fails 1 "the server wants a client certificate and none was given" "--cert and --key" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 2))" --cacert="$DIR/ca.crt" get k
}

@test "error: the server refuses the client certificate" {
    fails 1 "refused the client certificate $DIR/rogue.crt (CN=rogue)" "issued by CN=other-authority" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 2))" --cacert="$DIR/ca.crt" \
        --cert="$DIR/rogue.crt" --key="$DIR/rogue.key" get k
    fails 1 "(CN=stale): it has expired" "It expired at 20" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 2))" --cacert="$DIR/ca.crt" \
        --cert="$DIR/stale.crt" --key="$DIR/stale.key" get k
}

@test "error: plain HTTP on a TLS port, and the reverse" {
    fails 1 "plain HTTP was spoken to a server that wants TLS" "https://" -- \
        "$ETCD_CTL" --endpoints="http://127.0.0.1:$((PORT + 2))" get k
    fails 1 "TLS was spoken to a server that speaks plain HTTP" "http://" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$PORT" get k
}

@test "error: a time-out says what was waited for" {
    kill -STOP "$(cat "$DIR/open.pid")"
    run --separate-stderr "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" \
        --cacert="$DIR/ca.crt" --command-timeout=500ms get k
    kill -CONT "$(cat "$DIR/open.pid")"
    [ "$status" -eq 1 ]
    [[ ${stderr_lines[0]} == *"context deadline exceeded: waited "*" for the TLS handshake"* ]]
}

@test "a certificate flag given twice: the last counts, both are named" {
    run --separate-stderr tls --key-file="$DIR/missing.key" --key-file="$DIR/client.key" get up
    [ "$status" -eq 0 ]
    [[ $stderr == *"--key is given more than once: $DIR/missing.key counts, not $DIR/client.key"* ]]
    [[ $stderr == *"$DIR/client.key counts, not $DIR/missing.key"* ]]
    run --separate-stderr ctl --cert-file="$DIR/client.crt" --key-file="$DIR/client.key" --key-file="$DIR/missing.key" get up
    [ "$status" -eq 128 ]
    [[ $stderr == *"$DIR/missing.key counts, not $DIR/client.key"*"open $DIR/missing.key"* ]]
}

@test "error: certificate files" {
    cp "$DIR/ca.crt" ./ca.crt
    fails 128 "open $PWD/ca/crt: No such file" "Did you mean $PWD/ca.crt?" -- \
        ctl --cacert="$PWD/ca/crt" get k
    fails 128 "KeyFile and CertFile must both be present" "--key" -- \
        ctl --cert="$DIR/client.crt" get k
    fails 128 "private key does not match public key" "" -- \
        ctl --cert="$DIR/client.crt" --key="$DIR/rogue.key" get k
    fails 128 "block 1 is a" "" -- ctl --cacert="$DIR/client.key" get k
    run -0 "$ETCD_CTL" --endpoints="http://127.0.0.1:$PORT" --cacert=/dev/null get k # nobody is trusted then, as with etcdctl
    fails 1 "unknown authority: /dev/null holds no certificate" "--cacert" -- \
        "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 4))" --cacert=/dev/null get k
    fails 128 "public key: /dev/fd/" "" -- ctl --cert="$DIR/client.crt" --key=<(cat "$DIR/rogue.key") get k
}

@test "error: what the server refuses keeps its words" {
    fails 1 "etcdserver: key is not provided" "" -- ctl put "" v
    fails 1 "etcdserver: mvcc: required revision is a future revision" "" -- ctl get k --rev=1000000
    fails 3 "malformed comparison: nonsense" "" -- ctl txn < <(printf 'nonsense\n\n\n\n')
    fails 4 "unsupported output format" "" -- ctl get k -w xml
}

# The server refuses the list in the end, so nothing is changed.
@test "member add: what will happen is said before it happens" {
    local urls
    urls=http://name.invalid:1,http://127.0.0.1:$PORT,https://127.0.0.1:1,$(printf 'http://10.0.0.1:%s,' {1..70})http://10.0.0.1:99/path
    run --separate-stderr "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" member add n2 --peer-urls="$urls"
    [ "$status" -eq 1 ]
    [[ $stderr == *"note: http://name.invalid:1: name.invalid does not resolve here"* ]]
    [[ $stderr == *"note: something listens at http://127.0.0.1:$PORT already"* ]]
    [[ $stderr == *"note: https://127.0.0.1:1 means TLS, the members there are (http://"*") have none"* ]]
    [[ $stderr == *"note: n2 counts at once: 2 of 2 voters must run, so nothing can be written or read until it runs at"* ]]
    [[ $stderr == *"note: without that risk: etcd-ctl member add n2 --learner "* ]]
    [[ $stderr == *"etcdserver: given member URLs are invalid"* ]]
    [[ $ETCD_SERVER != *etcd-server || $stderr == *"invalid: 74 URLs; a member has at most 64"* ]]
    run --separate-stderr "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" member add n2 --learner --peer-urls="$urls"
    [[ $stderr != *"counts at once"* ]]
}

@test "as etcdctl: lease ids are signed, words stay out of JSON" {
    local lease
    fails 1 "etcdserver: requested lease not found" "" -- ctl put k v --lease=-1
    fails 128 "bad lease ID (ffffffffffffffff)" "" -- ctl put k v --lease=ffffffffffffffff
    fails 128 "bad lease ID arg (--1)" "" -- ctl lease revoke -- --1
    lease=$(ctl lease grant 100 | cut -d' ' -f2)
    ctl lease revoke "$lease"
    [ "$(ctl lease keep-alive "$lease")" = "lease $lease expired or revoked." ]
    [ -z "$(ctl lease keep-alive "$lease" -w json)" ]
}

@test "as etcdctl: the last --peer-urls counts" {
    run -0 --separate-stderr ctl member add late --learner --peer-urls=http://127.0.0.1:1 --peer-urls=http://127.0.0.1:2
    ctl member remove "$(awk '{print $2}' <<< "${lines[0]}")" # a blank more before a short id
    [[ $output == *'ETCD_INITIAL_ADVERTISE_PEER_URLS="http://127.0.0.1:2"'* ]]
}

@test "member add and update: a blank within a URL is no separator" {
    fails 1 'a blank inside the URL "http://a:2380 http://b:2380" of --peer-urls: separate URLs with commas' "" -- \
        ctl member update 1 --peer-urls="http://a:2380 http://b:2380"
    fails 1 'a blank inside the URL "http://b:1 x" of --peer-urls' "" -- ctl member add n --peer-urls="http://a:1,http://b:1 x,http://c:1"
    fails 1 "etcdserver: member not found" "" -- ctl member update 1 --peer-urls=" http://127.0.0.1:1 , http://127.0.0.1:2 "
}

@test "as etcdctl: permissions of odd ranges, prompts in a pipe" {
    ctl role add odd
    [ "$(ctl role grant-permission odd read '')" = "Role odd updated" ]
    ctl role grant-permission odd write '' --prefix
    ctl role grant-permission odd read $'\xff' --prefix
    [ "$(ctl role get odd | tr '\000\377' '0F')" = $'Role odd\nKV Read:\n\t0\n\t[F, <open ended> (prefix F)\nKV Write:\n\t[0, <open ended>' ]
    [ "$(ctl role revoke-permission odd '' --from-key)" = "Permission of range [, <open ended> is revoked from role odd" ]
    ctl role delete odd
    run -0 --separate-stderr ctl user add odd < <(printf 'pw\npw\n')
    [ "$output" = $'Password of odd: \nType password of odd again for confirmation: \nUser odd created' ]
    ctl user delete odd
}

@test "as etcdctl: endpoints, times and exit codes that etcdctl takes" {
    ctl put spelled 1 >/dev/null
    for endpoint in "HTTP://127.0.0.1:$PORT" "http://u:p@127.0.0.1:$PORT" "http://127.0.0.1:$PORT/v3?x#y" ":$PORT" "\"127.0.0.1:$PORT\""; do
        run -0 --separate-stderr "$ETCD_CTL" --endpoints="$endpoint" get spelled
        [ "$output" = $'spelled\n1' ]
    done
    fails 1 '"'"$PORT"'/" is not a port' "" -- "$ETCD_CTL" --endpoints="127.0.0.1:$PORT/" get spelled
    fails 1 "context deadline exceeded" "--command-timeout" -- ctl get spelled --command-timeout=0
    fails 5 "context deadline exceeded" "" -- ctl snapshot save none.db --command-timeout=0
    [ ! -e none.db ]
}

@test "as etcdctl: lines of watch -i that are wrong, words of txn that are short" {
    run -3 --separate-stderr ctl watch -i < <(printf 'watch a b --prefix\nwatch -- echo\n')
    [[ $stderr == *"Invalid command watch a b --prefix"*"Invalid command watch -- echo"*EOF* ]]
    run -128 ctl watch -i < <(printf 'watch a --\nwatch b\n')
    ctl put fed 1 && revision=$(ctl get fed -w fields | grep '"ModRevision"' | cut -d: -f2)
    { printf 'watch fed --rev=%d -- cat\n' $revision; wait_for grep -qsx 1 fed.out; echo this is for watch; } |
        { ctl watch -i >fed.out 2>fed.err || [ $? -eq 3 ]; }
    [ "$(cat fed.out)" = $'PUT\nfed\n1' ] && grep "Invalid command this is for watch" fed.err
    run -0 ctl txn < <(printf '\np short 1\ng short\n\n\n')
    [ "$output" = $'SUCCESS\n\nOK\n\nshort\n1' ]
    fails 3 "malformed comparison" "" -- ctl txn < <(printf 'val("short")= "1"\n\n\n\n')
}

@test "as etcdctl: nobody is logged in with an empty name or password; wrong ones end with 2, a snapshot with 5" {
    printf ' pw\r\n' | ctl user add root --interactive=false
    ctl user grant-role root root
    ctl auth enable
    ctl --user root:pw get k
    for user in root: :pw; do
        run -1 ctl --user $user get k
        [[ $output == "note: the "*" given is empty"*"etcdserver: user name is empty"* ]]
    done
    for command in "endpoint status" "endpoint hashkv" defrag "get k"; do
        fails 2 "authentication failed" "" -- ctl --user root:bad $command
    done
    run -5 ctl --user root:bad snapshot save none.db
    [[ $output == *"authentication failed"* ]]
    ctl --user root:pw auth disable
    ctl user delete root
}

@test "error: names that are not UTF-8, a token with a line end" {
    fails 1 '"\xff" is not UTF-8' "keys may be any bytes" -- ctl role add $'\xff'
    fails 1 '"u\xff" is not UTF-8' "keys may be any bytes" -- ctl user add $'u\xff:pw'
    fails 128 '--auth-jwt-token: control character \x0d in it' "without line ends" -- ctl get k --auth-jwt-token=$'t\r\nX-Injected: 1'
    fails 128 'completion bash takes no arguments, but "x" was given' "--help" -- ctl completion bash x
    run -0 ctl put $'\xff' $'\xfe'
}

@test "watch: history, a command for each event, what ends it" {
    ctl put w/a 1
    rev=$(ctl get w/a -w json | sed 's/.*"mod_revision":\([0-9]*\).*/\1/')
    ctl put w/a 2
    ctl del w/a
    "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" watch --prefix w/ --rev="$rev" --prev-kv -- \
        sh -c 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"' >watched 2>&1 3>&- &
    echo $! >"$DIR/watcher.pid"
    wait_for has_line watched '"DELETE" "w/a" ""'
    kill "$(cat "$DIR/watcher.pid")"
    wait "$(cat "$DIR/watcher.pid")" || true
    rm "$DIR/watcher.pid"
    [ "$(cat watched)" = "$(printf '%s\n' PUT w/a 1 PUT w/a 1 w/a 2 DELETE w/a 2 w/a '' \
        '"PUT" "w/a" "1"' '"PUT" "w/a" "2"' '"DELETE" "w/a" ""')" ]
    run -1 --separate-stderr ctl watch w/a --rev="$rev" -- false
    [ "$stderr" = 'command ["false"] error (exit status 1)' ]
    fails 3 "error reading watch request line: EOF" "" -- ctl watch -i < <(true)
    fails 128 "found separator --, but no commands" "" -- ctl watch w/a --
}

@test "help comes from the tables, on standard output" {
    run -0 --separate-stderr "$ETCD_CTL" --help
    [[ $output == *"snapshot save"* && $output == *"--endpoints"* && -z $stderr ]]
    run -0 "$ETCD_CTL" get -h
    [[ $output == *"--keys-only"* ]]
}

@test "the manual names every command and global flag" {
    manual=$BATS_TEST_DIRNAME/../../man/etcd-ctl.1
    "$ETCD_CTL" --help | sed -n 's/.*--\([a-z-]*\)[= ].*/\1/p' | while read -r flag; do
        grep -q -- "-$flag" "$manual" || { echo "--$flag"; exit 1; }
    done
    "$ETCD_CTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p' | sort -u |
        while read -r word; do
            [ -z "$word" ] || grep -q -- "Cm $word" "$manual" || { echo "$word"; exit 1; }
        done
}

@test "the examples of the manual run" {
    ln -s "$ETCD_CTL" etcd-ctl
    cp "$DIR"/{ca.crt,client.crt,client.key} .
    sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' "$BATS_TEST_DIRNAME/../../man/etcd-ctl.1" |
        sed -e '/^\./d' -e 's/\\e/\\/g' -e "s/2379/$((PORT + 2))/" >examples
    [ "$(grep -c etcd-ctl examples)" -ge 6 ]
    run -0 env PATH="$PWD:$PATH" ETCDCTL_ENDPOINTS="127.0.0.1:$PORT" bash -e examples
    [[ $output == *hello*"nobody else does this now"*"Snapshot saved at backup.db"*SUCCESS* ]]
}

@test "the examples of etcd-snap's manual run" {
    ln -s "$(dirname "$ETCD_CTL")/etcd-snap" etcd-snap
    cp "$DIR"/{ca.crt,client.crt,client.key} .
    # the curl is for etcd-server alone, and a server would not end
    awk '/^\.Sh EXAMPLES/ { on = 1 } on && /^\.Ed/ { body = 0 } body { print } on && /^\.Bd/ { body = 1 }' \
        "$BATS_TEST_DIRNAME/../../man/etcd-snap.1" |
        sed -e '/^curl/,/snapshot$/d' -e '/^etcd-server/d' -e 's/\\e$/\\/' -e "s/2379/$((PORT + 2))/" >examples
    [ "$(grep -c '^etcd-snap' examples)" -eq 5 ]
    run -0 env PATH="$PWD:$PATH" bash -e examples
    [[ $output == *"Snapshot saved at backup.db"*"| REVISION |"*'restored backup.db into m1, member "m1"'* ]]
    [ -e restored/member/snap/db ]
}

@test "version: the words of etcdctl, under either name" {
    for name in etcd-ctl etcdctl; do
        ln -s "$ETCD_CTL" "$BATS_TEST_TMPDIR/$name"
        run "$BATS_TEST_TMPDIR/$name" version
        [ "$output" = $'etcdctl version: 3.5.30\nAPI version: 3.5' ]
    done
}
