#!/usr/bin/env bats
# ctl_hold.bats - the commands of etcd-ctl that hold something or work for long: lock, elect, make-mirror,
# and those that look at a whole server: defrag --data-dir, downgrade, check, get --stream.
# ETCD_CTL is the client, ETCD_SERVER a server with etcd's flags.
load ctl_setup
bats_require_minimum_version 1.5.0

setup_file() {
    start_plain_and_tls 16
    # on the TLS server, authentication is on: alice may use what begins with /a
    tls user add root:secret
    tls user add alice:word
    tls role add a
    tls role grant-permission a readwrite /a --prefix
    tls user grant-role alice a
    tls auth enable
}

# background NAME COMMAND...: its output in NAME.out, its number in NAME.job
background() {
    local name=$1
    shift
    (EXEC=exec && "$@") >"$name.out" 2>"$name.err" 3>&- &
    echo $! >"$name.job"
}

teardown() { # of a test that failed: what still runs
    local job
    for job in *.job; do
        [ ! -f "$job" ] || kill "$(cat "$job")" 2>/dev/null || true
    done
}

gone() {
    ! kill -0 "$1"
}

# ends NAME CODE: it ends by itself
ends() {
    local code=0
    wait_for gone "$(cat "$1.job")"
    wait "$(cat "$1.job")" || code=$?
    [ "$code" -eq "$2" ] || { echo "$1: exit $code: $(cat "$1.out" "$1.err")"; return 1; }
}

# stop NAME CODE [SIGNAL]: it ends by the signal, with that exit status
stop() {
    kill "-${3:-TERM}" "$(cat "$1.job")"
    ends "$1" "$2"
}

# two_keys PREFIX COMMAND...: so many are there
two_keys() {
    local prefix=$1
    shift
    [ "$("$@" get "$prefix" --prefix --keys-only | grep -c .)" -eq 2 ]
}

third() {
    ${EXEC-} "$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 4))" "$@"
}

away() {
    ${EXEC-} "$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 8))" "$@"
}

alice() {
    tls --user=alice:word "$@"
}

late() {
    ${EXEC-} "$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 14))" "$@"
}

# has_puts FILE COUNT
has_puts() {
    [ "$(grep -c '^PUT$' "$1")" -eq "$2" ]
}

# the watcher shows an event, or is no more
begun_or_ended() {
    has_line watcher.out 1 || gone "$(cat watcher.job)"
}

# keys_are TEXT COMMAND...: what it prints, line ends as blanks
keys_are() {
    local wanted=$1
    shift
    [ "$("$@" | tr '\n' ' ')" = "$wanted" ]
}

@test "lock: the key while it is held, nothing after a signal" {
    background one ctl lock L
    wait_for has_line one.out L/
    [ "$(wc -l <one.out)" -eq 2 ]
    [ "$(ctl get L --prefix --keys-only | head -n 1)" = "$(head -n 1 one.out)" ]
    stop one 0
    [ -z "$(ctl get L --prefix)" ]
}

@test "lock: one after the other, and the exit status of a command" {
    background one ctl lock Q
    wait_for has_line one.out Q/
    background two ctl lock Q -- sh -c 'echo "$ETCD_LOCK_KEY $ETCD_LOCK_REV"; exit 7'
    wait_for two_keys Q ctl
    [ ! -s two.out ]
    stop one 0
    ends two 7
    has_line two.err "exit status 7"
    grep -E '^Q/[0-9a-f]+ [0-9]+$' two.out
}

@test "lock: signals are for the command, which is still waited for" {
    background one ctl lock S -- sh -c 'trap "echo term; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
    wait_for has_line one.out ready
    stop one 3
    has_line one.out term
    [ -z "$(ctl get S --prefix)" ]
    run ctl lock S -- no-such-program
    [ "$status" -eq 1 ]
    [[ $output == *'exec: "no-such-program"'* ]]
}

@test "lock: with certificates and a user; without rights it is refused" {
    background one alice lock /a/lock
    wait_for has_line one.out /a/lock/
    stop one 0
    fails 1 "etcdserver: permission denied" "roles" -- alice lock /b/lock
    [ -z "$(tls --user=root:secret lease list | sed -n '3,$p')" ] # what was refused gave its lease back
}

@test "lock: who waits goes on waiting when the server comes back" {
    start third http $((PORT + 4))
    wait_for third put up 1
    background holder third lock W --ttl=60
    wait_for has_line holder.out W/
    background waiter third lock W --ttl=60 -- echo got it
    wait_for two_keys W third
    kill -9 "$(cat "$DIR/third.pid")"
    wait_for has_line waiter.err "trying again"
    start third http $((PORT + 4))
    wait_for third get up
    [ ! -s waiter.out ]
    stop holder 0
    ends waiter 0
    has_line waiter.out "got it"
}

@test "watch: says once that its server is away, and goes on when it is back" {
    start away http $((PORT + 8))
    wait_for away put up 1
    background watcher away watch up --rev=1
    wait_for has_line watcher.out 1
    rev=$(away get up -w fields | sed -n 's/^"Revision" : //p') # a put that came too late is there too
    wait_for has_puts watcher.out "$((rev - 1))"
    kill -9 "$(cat "$DIR/away.pid")"
    wait_for has_line watcher.err "trying again from revision $((rev + 1))"
    start away http $((PORT + 8))
    wait_for away put up 2
    wait_for has_line watcher.out 2
    stop watcher 143
    [ "$(wc -l < watcher.err)" -eq 1 ]
}

@test "lease keep-alive: goes on while the lease may live, and then says that it does not" {
    start late http $((PORT + 14))
    wait_for late put up 1
    local lasting short left
    lasting=$(late lease grant 60 | cut -d' ' -f2)
    background lasting late lease keep-alive "$lasting"
    wait_for has_line lasting.out "keepalived with TTL(60)"
    for left in 2 1 0; do # a slow start takes as long as a short lease lives
        short=$(late lease grant 4 | cut -d' ' -f2)
        background short late lease keep-alive "$short"
        wait_for has_line short.out "$short"
        ! has_line short.out "keepalived with TTL(4)" || break
        [ "$left" -gt 0 ]
    done
    kill -9 "$(cat "$DIR/late.pid")"
    ends short 0
    has_line short.out "lease $short expired or revoked."
    has_line short.err "waiting for the server"
    kill -0 "$(cat lasting.job)"
    stop lasting 143
}

@test "watch -i: an endpoint that is dead, and progress of each watch behind its events" {
    mkfifo lines
    background watcher bash -c 'exec "$0" "$@" <lines' "$ETCD_CTL" --endpoints="127.0.0.1:1,127.0.0.1:$PORT" watch -i -w json
    exec 5>lines
    for ((i = 1; i <= 5; i++)); do ctl put "wi/$i" 1; done
    first=$(ctl get wi/1 -w fields | sed -n 's/"CreateRevision" : //p')
    printf '%s\n' "watch wi/ --prefix --rev=$first" "watch other" progress >&5
    wait_for has_line watcher.out "progress notify"
    ctl put wi/6 1
    wait_for has_line watcher.out "$(printf wi/6 | base64)"
    exec 5>&-
    ends watcher 3
    [ "$(grep -c '"Events":\[{' watcher.out)" -ge 2 ]
    [ "$(grep -c "^progress notify: $((first + 4))$" watcher.out)" -eq 2 ]
    [ "$(grep -A1 progress watcher.out | grep -c "\"revision\":$((first + 4)),.*\"Events\":\[\],")" -eq 2 ]
    # the watch of the past answers only when it has shown it
    [ "$(grep -n "$(printf wi/5 | base64)" watcher.out | cut -d: -f1)" -lt "$(grep -n progress watcher.out | tail -n 1 | cut -d: -f1)" ]
}

@test "watch: leaves a member that is silent for one that is not" {
    start mute http $((PORT + 10))
    start loud http $((PORT + 12))
    local mute=("$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 10))") loud=("$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 12))")
    wait_for "${mute[@]}" put up 1
    wait_for "${loud[@]}" put up 1
    background watcher "$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 10)),127.0.0.1:$((PORT + 12))" \
        --keepalive-time=1s --keepalive-timeout=1s watch up --rev=1
    wait_for has_line watcher.out up
    kill -STOP "$(cat "$DIR/mute.pid")"
    "${loud[@]}" put up 2
    wait_for has_line watcher.out 2
    has_line watcher.err "it has said nothing for"
    stop watcher 143
    kill -CONT "$(cat "$DIR/mute.pid")"
    kill "$(cat "$DIR/mute.pid")" "$(cat "$DIR/loud.pid")"
    wait_for gone "$(cat "$DIR/mute.pid")"
    wait_for gone "$(cat "$DIR/loud.pid")" # their ports are used again
}

@test "watch: ends when its member has lost the leader, and does not begin without one" {
    local first=http://127.0.0.1:$((PORT + 11)) second=http://127.0.0.1:$((PORT + 13))
    local quick=(--initial-cluster="two1=$first,two2=$second" --heartbeat-interval=100 --election-timeout=1000)
    start two1 http $((PORT + 10)) "${quick[@]}"
    start two2 http $((PORT + 12)) "${quick[@]}"
    local left two=("$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 10))")
    wait_for "${two[@]}" put up 1
    for left in 2 1 0; do # a slow write of the disk takes the lead away, and a watch does not begin then
        background watcher "${two[@]}" watch up --rev=1
        wait_for begun_or_ended
        ! has_line watcher.out 1 || break
        [ "$left" -gt 0 ]
    done
    kill -9 "$(cat "$DIR/two2.pid")"
    ends watcher 5
    has_line watcher.err "watch was canceled (etcdserver: no leader)"
    run -5 --separate-stderr "${two[@]}" watch up -w json
    [ "$output" = '{"Header":{},"Events":null,"CompactRevision":0,"Canceled":true,"Created":false}' ]
}

@test "watch, lock, elect and make-mirror wait for a server that is not there yet, and say so" {
    ctl put early/1 a
    background watcher late watch late
    background locker late lock L -- echo locked
    background leader late elect E me
    background observer late elect -l E
    background from late make-mirror --prefix=late "127.0.0.1:$PORT"
    background to ctl make-mirror --prefix=early/ "127.0.0.1:$((PORT + 14))"
    for name in watcher locker leader from to; do
        wait_for has_line "$name.err" "waiting for the server"
        has_line "$name.err" "connection refused"
    done
    background stopped late lock L # signals end it
    wait_for has_line stopped.err "waiting for the server"
    stop stopped 143
    start late http $((PORT + 14))
    ends locker 0
    has_line locker.out locked
    wait_for has_line leader.out me
    wait_for has_line observer.out me
    wait_for keys_are "early/1 a " late get early/ --prefix
    wait_for late put late 1
    wait_for has_line watcher.out late
    wait_for keys_are "late 1 " ctl get late
    for name in watcher locker leader from to; do
        [ "$(wc -l <"$name.err")" -eq 1 ]
    done
    stop leader 0
    stop observer 0
    for name in watcher from to; do stop "$name" 143; done
}

@test "elect: the first leads, an observer sees the next one too" {
    background watcher ctl elect -l E
    background one ctl elect E first
    wait_for has_line one.out first
    wait_for has_line watcher.out first
    background two ctl elect E second
    stop one 0
    wait_for has_line two.out second
    wait_for has_line watcher.out second
    stop two 0
    stop watcher 0
    [ -z "$(ctl get E --prefix)" ]
    fails 128 "no proposal argument but -l not set" "elect --help" -- ctl elect E
}

@test "elect: with certificates and a user" {
    background one alice elect /a/elect me
    wait_for has_line one.out me
    stop one 0 INT
}

@test "make-mirror: to TLS and a user, another prefix, a step for each revision" {
    ctl put src/1 a && ctl put src/2 b && ctl put other c
    local mirror=(ctl make-mirror --prefix=src/ --dest-prefix=/a/ --dest-cacert="$DIR/ca.crt" --dest-cert="$DIR/client.crt"
        --dest-key="$DIR/client.key" --dest-user=alice:word "https://127.0.0.1:$((PORT + 2))")
    background mirror "${mirror[@]}"
    wait_for keys_are "/a/1 a /a/2 b " alice get /a/ --prefix
    ctl txn < <(printf '\nput src/3 x\ndel src/1\nput other y\n\n\n')
    wait_for keys_are "/a/2 b /a/3 x " alice get /a/ --prefix
    # both changes of that one step have one revision there too
    [ "$(alice get /a/3 -w fields | grep ModRevision)" = "$(alice get /a/3 -w fields | grep '^"Revision"' | sed 's/Rev/ModRev/')" ]
    stop mirror 143
    [ ! -s mirror.out ]
    # from a revision on nothing is copied that was there before
    alice del /a/ --prefix
    background late "${mirror[@]}" --rev="$(($(ctl get src/3 -w fields | sed -n 's/"Revision" : //p') + 1))"
    ctl put src/4 late
    wait_for keys_are "/a/4 late " alice get /a/ --prefix
    stop late 143
}

@test "make-mirror: what it refuses" {
    fails 128 "takes one destination" "--help" -- ctl make-mirror
    fails 128 "--max-txn-ops=0" "--help" -- ctl make-mirror --max-txn-ops=0 "127.0.0.1:$PORT"
    fails 128 "KeyFile and CertFile must both be present" "--dest-key" -- ctl make-mirror --dest-cert="$DIR/client.crt" x:1
    fails 2 "no available endpoints" "DESTINATION" -- ctl make-mirror ''
    fails 2 "authentication failed" "--user" -- tls make-mirror --user=root:wrong "127.0.0.1:$PORT"
}

@test "get --stream prints what get prints" {
    for i in 1 2 3; do
        { echo; for ((k = 0; k < 120; k++)); do echo "put st/$i/$k value$k"; done; printf '\n\n'; } | ctl txn >/dev/null
    done
    [ "$(ctl get st/ --prefix --stream | sha256sum)" = "$(ctl get st/ --prefix | sha256sum)" ]
    [ "$(ctl get st/ --prefix --stream --limit=150 --keys-only)" = "$(ctl get st/ --prefix --limit=150 --keys-only)" ]
    [ "$(ctl get st/ --prefix --stream | wc -l)" -eq 720 ]
    [ -z "$(ctl get nothing --prefix --stream)" ]
    fails 128 "revision filters" "--help" -- ctl get st/ --prefix --stream --min-mod-rev=2
}

@test "defrag --data-dir, and snapshots of a database: of a server that was stopped, not of one that runs" {
    fails 1 "locked by another process" "Stop the server" -- ctl defrag --data-dir "$DIR/plain"
    fails 1 "there is no database" "member/" -- ctl defrag --data-dir "$DIR"
    start fourth http $((PORT + 6))
    fourth=("$ETCD_CTL" --endpoints="127.0.0.1:$((PORT + 6))")
    wait_for "${fourth[@]}" put kept 1
    kill "$(cat "$DIR/fourth.pid")"
    wait_for "$ETCD_CTL" defrag --data-dir "$DIR/fourth"
    # nor does anything else write to the database: it may be the only copy
    fails 1 "in use by a running" "" -- "$ETCD_CTL" snapshot status "$DIR/plain/member/snap/db"
    before=$(find "$DIR/fourth" | sort; cksum "$DIR/fourth/member/snap/db")
    [[ $("$ETCD_CTL" snapshot status "$DIR/fourth/member/snap/db") =~ ^[0-9a-f]+,\ [0-9]+,\ [0-9]+,\ .*B$ ]]
    fails 1 "snapshot missing hash" "" -- "$ETCD_CTL" snapshot restore "$DIR/fourth/member/snap/db" --data-dir "$DIR/fifth"
    "$ETCD_CTL" snapshot restore "$DIR/fourth/member/snap/db" --data-dir "$DIR/fifth" --skip-hash-check
    [ "$(find "$DIR/fourth" | sort; cksum "$DIR/fourth/member/snap/db")" = "$before" ]
    [ "$("$ETCD_CTL" snapshot status "$DIR/fifth/member/snap/db" | cut -d, -f2)" -ge 2 ]
    start fourth http $((PORT + 6))
    wait_for "${fourth[@]}" get kept
    [ "$("${fourth[@]}" get kept --print-value-only)" = 1 ]
}

@test "downgrade: validate, enable, cancel" {
    [ "$(ctl downgrade validate 3.4)" = "Downgrade validate success, cluster version 3.5.0" ]
    fails 1 "invalid downgrade target version" "minor version" -- ctl downgrade validate 3.5
    fails 1 "wrong downgrade target version format" "looks like" -- ctl downgrade enable x
    [ "$(ctl downgrade enable 3.4)" = "Downgrade enable success, cluster version 3.5.0" ]
    fails 1 "downgrade job in progress" "downgrade cancel" -- ctl downgrade enable 3.4
    [ "$(ctl downgrade cancel)" = "Downgrade cancel success, cluster version 3.5.0" ]
    fails 1 "no inflight downgrade job" "" -- ctl downgrade cancel
    fails 128 "TARGET_VERSION not provided" "--help" -- ctl downgrade validate
}

@test "check: the line of progress, and keys that are in the way" {
    # an endpoint that is dead does not count
    run -0 "$ETCD_CTL" --endpoints="127.0.0.1:$PORT,127.0.0.1:1" check datascale --prefix=/scale/
    [[ ${lines[0]} == "Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients]." ]]
    [[ $output == *$'\r 10000 / 10000  100.00% '* ]]
    [[ ${lines[-1]} == "PASS: Approximate system memory used : "*" MB." ]]
    [ -z "$(ctl get /scale/ --prefix)" ]
    ctl put /scale/x 1
    fails 3 'prefix "/scale/" has keys' "" -- ctl check perf --prefix=/scale/
    fails 128 "--prefix must not be empty" "--help" -- ctl check perf --prefix=
}

@test "check: what a signal interrupts deletes its keys, and says how far it came" {
    background perf ctl check perf --prefix=/perf/
    wait_for ctl_has /perf/
    stop perf 1
    has_line perf.out "writes/s"
    has_line perf.err "interrupted before the end"
    [ -z "$(ctl get /perf/ --prefix --keys-only --limit=1)" ]
    background scale ctl check datascale --load=m --prefix=/big/
    wait_for ctl_has /big/
    stop scale 1
    has_line scale.err "interrupted before the end"
    [ -z "$(ctl get /big/ --prefix --keys-only --limit=1)" ]
    run -0 "$ETCD_CTL" --endpoints="127.0.0.1:$PORT,http://127.0.0.1:$PORT" check datascale --auto-defrag --prefix=/big/
    [ "$(grep -c '^Defragmented ' <<<"$output")" -eq 2 ]
}

ctl_has() {
    [ -n "$(ctl get "$1" --prefix --keys-only --limit=1)" ]
}

@test "limits on what is sent and taken" {
    ctl put large "$(head -c 3000 /dev/zero | tr '\0' x)"
    fails 1 "larger than 1000 bytes" "" -- ctl get large --max-recv-bytes=1000
    fails 1 "the most that is sent is 1000" "--max-request-bytes" -- ctl put large "$(ctl get large --print-value-only)" --max-request-bytes=1000
    fails 1 'invalid argument "-1s"' "--help" -- ctl get large --dial-timeout=-1s
}

@test "descriptors that are closed, and a full disk behind standard output" {
    run sh -c '"$0" "$@" >&-' "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" watch up --rev=1
    [[ $status -eq 1 && $output == *"cannot write to standard output"* ]]
    run sh -c '"$0" "$@" >/dev/full' "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" get up
    [[ $status -eq 1 && $output == *"No space left"* ]]
    run sh -c '"$0" "$@" <&-' "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" put up
    [ "$status" -eq 128 ]
}

@test "completions for four shells" {
    for shell in bash fish powershell zsh; do
        run -0 "$ETCD_CTL" completion "$shell"
        [[ $output == *make-mirror* && $output == *etcdctl* ]]
    done
    bash -c "$("$ETCD_CTL" completion bash)"'
        COMP_WORDS=(etcd-ctl member "") COMP_CWORD=2; _etcd_ctl; [[ " ${COMPREPLY[*]} " == *" promote "* ]]'
}
