#!/usr/bin/env bats
# snap.bats - etcd-snap as scripts use it, without a server. ETCD_SNAP names the program.

bats_require_minimum_version 1.5.0

setup() {
    top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    snap=${ETCD_SNAP:-$top/build/bin/etcd-snap}
    good=$top/tests/wire/vectors/snapshot-3.5.30.db
    cd "$BATS_TEST_TMPDIR"
}

teardown() {
    rm -f "$BATS_TEST_TMPDIR/stall" # what waits for it ends
}

# expect STATUS WORDS COMMAND...: exit status, and words somewhere in what it printed.
expect() {
    local status_wanted=$1 words=$2
    shift 2
    run "$@"
    echo "$output"
    [ "$status" -eq "$status_wanted" ]
    [[ $output == *"$words"* ]]
}

@test "status in every format, both spellings, flags anywhere" {
    expect 0 "84ad01df, 216, 258, 70 kB" "$snap" snapshot status "$good"
    expect 0 "84ad01df, 216, 258, 70 kB" "$snap" status "$good"
    expect 0 '{"hash":2225930719,"revision":216,"totalKey":258,"totalSize":69632}' "$snap" -w json status "$good"
    expect 0 '"Hash" : 2225930719' "$snap" status "$good" --write-out=fields
    expect 0 '| 84ad01df |      216 |        258 |      70 kB |' "$snap" snapshot -wtable status "$good"
    expect 4 "protobuf not supported" "$snap" status "$good" -w protobuf
    expect 4 "unsupported output format" "$snap" status "$good" -w nope
}

@test "hashkv of a file, at revisions" {
    expect 0 "167029599, 216, 109" "$snap" hashkv "$good"
    expect 1 "required revision has been compacted" "$snap" hashkv "$good" --rev 50
    expect 1 "future revision" "$snap" hashkv "$good" --rev 217
}

@test "wrong command lines" {
    expect 128 "argument" "$snap" snapshot status
    expect 128 "argument" "$snap" snapshot status a b
    expect 1 "unknown flag: --nosuch" "$snap" status --nosuch
    expect 1 "unknown flag: --data-dir" "$snap" status --data-dir d "$good"
    expect 1 "unknown shorthand flag" "$snap" -v status
    expect 1 "flag needs an argument" "$snap" status "$good" -w
    expect 1 "unknown command" "$snap" frobnicate
    expect 1 'required flag(s) "data-dir" not set' "$snap" restore "$good"
    expect 128 "mark-compacted" "$snap" restore "$good" --data-dir d --bump-revision 5
    expect 128 "mark-compacted" "$snap" restore "$good" --data-dir d --mark-compacted
    expect 0 "Usage:" "$snap"
    expect 0 "Usage:" "$snap" " "
    expect 0 "--data-dir" "$snap" snapshot restore --help
    [ -z "$(ls -A)" ]
}

@test "files that are no snapshots" {
    expect 1 "No such file" "$snap" status nofile
    printf hello >bad.db
    expect 1 "invalid database" "$snap" status bad.db
    expect 1 "invalid database" "$snap" restore bad.db --data-dir d
    head -c 40000 "$good" >cut.db
    expect 1 "truncated" "$snap" restore cut.db --data-dir d
    head -c -32 "$good" >nohash.db
    expect 1 "snapshot missing hash but --skip-hash-check=false" "$snap" restore nohash.db --data-dir d
    cp "$good" flipped.db
    printf XXXX | dd of=flipped.db bs=1 seek=30000 conv=notrunc status=none
    expect 1 "expected sha256" "$snap" restore flipped.db --data-dir d
    expect 0 "Warning" "$snap" status flipped.db
    [ ! -e d ]
    expect 0 "restored" "$snap" restore nohash.db --data-dir d --skip-hash-check
}

@test "a database in use is not read" {
    cp "$good" busy.db
    exec 9<busy.db
    flock -x 9
    expect 1 "in use by a running etcd" "$snap" status busy.db
    expect 1 "in use by a running etcd" "$snap" restore busy.db --data-dir d
    [ ! -e d ]
}

@test "restore makes what etcd expects" {
    run --separate-stderr "$snap" restore "$good" --data-dir new/d
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(cd new && find . | sort | tr '\n' ' ')" = ". ./d ./d/member ./d/member/snap ./d/member/snap/0000000000000001-0000000000000001.snap ./d/member/snap/db ./d/member/wal ./d/member/wal/0000000000000000-0000000000000000.wal " ]
    [ "$(stat -c %a new/d new/d/member new/d/member/snap new/d/member/wal | sort -u)" = 700 ]
    expect 1 'data-dir "new/d" not empty' "$snap" restore "$good" --data-dir new/d
    expect 0 "" "$snap" restore "$good" --data-dir e --wal-dir log
    [ ! -e e/member/wal ]
    expect 1 'wal-dir "log" exists' "$snap" restore "$good" --data-dir f --wal-dir log
    expect 0 "" "$snap" restore "$good" --data-dir g --name m --initial-cluster m=http://127.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
    rm -r g
    expect 1 "resolved urls" "$snap" restore "$good" --data-dir g --name m --initial-cluster m=http://127.1:2380 --initial-advertise-peer-urls http://127.0.0.2:2380
    [ "$(ls -d e* f* log* new* 2>/dev/null | tr "\n" " ")" = "e log new " ]
}

@test "restore: a log in the data directory, where it may be and where not" {
    for place in member/wal wal deep/er/wal; do
        "$snap" restore "$good" --data-dir "d" --wal-dir "d/$place" 2>/dev/null
        [ "$(ls "d/$place")" = 0000000000000000-0000000000000000.wal ] && [ -e d/member/snap/db ]
        rm -r d && mkdir d # the same in one that is there
        "$snap" restore "$good" --data-dir ./d/ --wal-dir "./d//$place/" 2>/dev/null
        [ "$(ls "d/$place")" = 0000000000000000-0000000000000000.wal ] && [ -e d/member/snap/db ]
        rm -r d
    done
    ln -s . here
    for place in d/wal "$PWD/d/wal" .//d/./wal d/../d/wal here/d/wal; do # however it is spelled
        for data in ./d "$PWD//d" here/d; do
            "$snap" restore "$good" --data-dir "$data" --wal-dir "$place" 2>/dev/null
            [ "$(ls d/wal)" = 0000000000000000-0000000000000000.wal ] && [ -e d/member/snap/db ]
            rm -r d
        done
    done
    for place in ./d "$PWD/d/member" d/wal/../member/snap; do
        expect 1 "is where other things" "$snap" restore "$good" --data-dir d --wal-dir "$place"
    done
    for place in d d/member d/member/snap d/member/snap/wal .; do
        expect 1 "wal-dir \"$place\"" "$snap" restore "$good" --data-dir d --wal-dir "$place"
    done
    expect 1 'wal-dir "w" is where' "$snap" restore "$good" --data-dir w/d --wal-dir w
    ln -s nowhere link && touch file && [ ! -e d ] && [ ! -e w ]
    expect 1 "a symbolic link to nothing" "$snap" restore "$good" --data-dir link
    expect 1 "Not a directory" "$snap" restore "$good" --data-dir file
}

@test "a restore that fails takes the directories along that it made" {
    touch file
    mkdir -p old/empty
    expect 1 "Not a directory" "$snap" restore "$good" --data-dir a/b/c --wal-dir file/d/wal
    expect 1 "Not a directory" "$snap" restore "$good" --data-dir file/a/b
    expect 1 "File name too long" "$snap" restore "$good" --data-dir "a/../b/c/$(printf %300s | tr ' ' x)/d"
    expect 1 "Not a directory" "$snap" restore "$good" --data-dir old/empty/d --wal-dir file/wal
    [ "$(echo *)" = "file old" ]
    [ -d old/empty ]
    expect 0 "" "$snap" restore "$good" --data-dir a/b/c --wal-dir a/d/wal
    [ -e a/b/c/member/snap/db ]
    [ -e a/d/wal/0000000000000000-0000000000000000.wal ]
}

@test "a restore killed in a directory that was there is cleaned up after by name" {
    mkdir -p mount/.restore-Ab12cd/member
    expect 1 'mount/.restore-Ab12cd is what a restore that was killed left behind; remove it' "$snap" restore "$good" --data-dir mount
    rm -r mount/.restore-Ab12cd
    expect 0 "" "$snap" restore "$good" --data-dir mount
    [ "$(ls -A mount)" = member ]
}

@test "a restore that is killed leaves nothing that starts" {
    for i in 1 2 3 4 5 6 7 8; do
        "$snap" restore "$good" --data-dir "k$i" 2>/dev/null &
        pid=$!
        i_ms=0; while [ $i_ms -lt "$i" ]; do i_ms=$((i_ms + 1)); /bin/true; done # a process start each: about 1 ms
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        if [ -e "k$i" ]; then # it was quicker: then it is whole
            "$snap" status "k$i/member/snap/db"
            [ -e "k$i/member/wal/0000000000000000-0000000000000000.wal" ]
        fi
    done
}

@test "defrag rewrites the database of a directory, and nothing else" {
    "$snap" restore "$good" --data-dir d 2>/dev/null
    before=$("$snap" status d/member/snap/db)
    expect 0 "d/member/snap/db: " "$snap" defrag --data-dir d
    [ "$("$snap" status d/member/snap/db)" = "$before" ]
    [ "$(ls d/member/snap | grep -c tmp)" -eq 0 ]
    expect 1 'required flag(s) "data-dir" not set' "$snap" defrag
    expect 1 "there is no database nodir/member/snap/db" "$snap" defrag --data-dir nodir
    [ ! -e nodir ]
    printf 'neither this nor that' >d/member/snap/db
    expect 1 "neither a database" "$snap" defrag --data-dir d
    [ "$(cat d/member/snap/db)" = 'neither this nor that' ]
}

@test "check v2store, and what to do instead of backup and migrate" {
    "$snap" restore "$good" --data-dir d 2>/dev/null
    run -0 --separate-stderr "$snap" check v2store --data-dir d
    [ "$output" = "No custom content found in v2store." ]
    expect 1 "there is no directory" "$snap" check v2store --data-dir nodir
    expect 1 "unknown command" "$snap" check v3store --data-dir d
    expect 1 "--skip-hash-check" "$snap" backup
    expect 1 "version 3.5" "$snap" migrate
    expect 1 'unknown command "backup"' "$snap" backup --data-dir d --backup-dir b
    run -0 --separate-stderr "$snap" check
    [[ $output == *"Usage: etcd-snap"* ]]
}

@test "the word snapshot, all of it or its beginning, alone or before a word that is none" {
    run -0 --separate-stderr "$snap" snap status "$good"
    [[ $output == *", "* ]]
    run -0 --separate-stderr "$snap" snapshot nosuch
    [[ $output == *"Usage: etcd-snap"* && $stderr == *"nosuch"* ]]
    expect 1 'unknown command "s"' "$snap" s status "$good"
}

@test "completions for four shells" {
    for shell in bash fish powershell zsh; do
        run -0 "$snap" completion "$shell"
        [[ $output == *defrag* && $output == *etcdutl* ]]
    done
    bash -n <("$snap" completion bash)
    expect 1 "no completion for \"csh\"" "$snap" completion csh
}

@test "the manual lists every flag" {
    for flag in $("$snap" completion bash | tr "' " '\n' | grep '^--[a-z]'); do
        grep -q "Fl -${flag#--}" "$top/man/etcd-snap.1" || { echo "$flag is not in the manual"; false; }
    done
}

@test "version: the words of etcdutl, under either name" {
    for name in etcd-snap etcdutl; do
        ln -s "$ETCD_SNAP" "$BATS_TEST_TMPDIR/$name"
        run "$BATS_TEST_TMPDIR/$name" version
        [ "$output" = $'etcdutl version: 3.5.30\nAPI version: 3.5' ]
    done
}

# save_from WAY: saves $good, as a server sends it that way, to got.db.
save_from() {
    rm -f got.db port
    /usr/bin/python3 "$top/tests/cli/snapshot_server.py" "$good" "$1" >port &
    timeout 20 sh -c 'until [ -s port ]; do sleep 0.02; done'
    run "$snap" save got.db --endpoints "http://127.0.0.1:$(cat port)"
    wait
    echo "$output"
}

@test "save takes bare bytes, and JSON from a server that has nothing else" {
    for way in octets chunked digest odd unasked bare json; do
        save_from $way
        [ "$status" -eq 0 ]
        cmp got.db "$good"
    done
}

@test "save keeps nothing of an answer that was cut or has changed" {
    for way in cut short wrong changed swapped; do
        save_from $way
        [ "$status" -ne 0 ]
        [ "$(echo got*)" = "got*" ]
        case $way in
        cut) [[ $output == *"bytes remaining to read"* || $output == *"closed"* ]] ;;
        short) [[ $output == *"the stream was cut short"* ]] ;;
        changed) [[ $output == *"crc32c of the "*"they were damaged on the way"* ]] ;;
        wrong | swapped) [[ $output == *"sha256 of the "*"they were damaged on the way"* ]] ;;
        esac
    done
}

# interrupt SIGNAL MADE COMMAND...: runs it, sends SIGNAL as soon as something named like MADE is there; $status.
interrupt() {
    local signal=$1 made=$2 pid
    shift 2
    env --default-signal=INT,TERM,HUP "$@" 3>&- >out 2>&1 & # where job control is off, INT is ignored behind a &
    pid=$!
    timeout 20 bash -c "until compgen -G '$made' >/dev/null; do sleep 0.01; done"
    kill -s "$signal" $pid
    status=0
    wait $pid || status=$?
    cat out
}

@test "save that is interrupted leaves nothing, and ends of the signal" {
    for program in "$snap" ${ETCD_CTL:+"$ETCD_CTL"}; do
        for signal in INT TERM HUP; do
            rm -f port
            /usr/bin/python3 "$top/tests/cli/snapshot_server.py" "$good" stall >port 3>&- &
            timeout 20 sh -c 'until [ -s port ]; do sleep 0.02; done'
            interrupt $signal got.db.part "$program" snapshot save got.db --endpoints "http://127.0.0.1:$(cat port)"
            [ "$status" -eq $((128 + $(kill -l $signal))) ]
            [ "$(echo got*)" = "got*" ]
            wait
        done
    done
}

@test "restore that is interrupted leaves nothing, and ends of the signal" {
    [ -n "$STALL_SHIM" ] || skip "a sanitizer comes before what is preloaded"
    export STALL_FILE=$PWD/stall
    for program in "$snap" ${ETCD_CTL:+"$ETCD_CTL"}; do
        touch stall
        interrupt TERM 'new.restore-*/member/snap/db' LD_PRELOAD="$STALL_SHIM" "$program" snapshot restore "$good" --data-dir new
        [ "$status" -eq 143 ]
        interrupt INT 'new.restore-*/member/snap/db' LD_PRELOAD="$STALL_SHIM" "$program" snapshot restore "$good" --data-dir new --wal-dir log
        [ "$status" -eq 130 ]
        interrupt TERM 'a/b/new.restore-*/member/snap/db' LD_PRELOAD="$STALL_SHIM" "$program" snapshot restore "$good" --data-dir a/b/new --wal-dir c/d/log
        [ "$status" -eq 143 ]
        mkdir mount
        interrupt HUP 'mount/.restore-*/member' LD_PRELOAD="$STALL_SHIM" "$program" snapshot restore "$good" --data-dir mount
        [ "$status" -eq 129 ]
        [ "$(ls -A | tr '\n' ' ')" = "mount out stall " ]
        [ -z "$(ls -A mount)" ]
        rm -r stall mount
    done
}

@test "defrag that is interrupted leaves nothing, and the database as it was" {
    [ -n "$STALL_SHIM" ] || skip "a sanitizer comes before what is preloaded"
    "$snap" restore "$good" --data-dir d 2>/dev/null
    before=$(cksum <d/member/snap/db)
    export STALL_FILE=$PWD/stall
    printf .tmp.defrag >stall
    for program in "$snap" ${ETCD_CTL:+"$ETCD_CTL"}; do
        for signal in INT TERM HUP; do
            interrupt $signal d/member/snap/db.tmp.defrag LD_PRELOAD="$STALL_SHIM" "$program" defrag --data-dir d
            [ "$status" -eq $((128 + $(kill -l $signal))) ]
            [ "$(ls d/member/snap | grep -c tmp)" -eq 0 ]
            [ "$(cksum <d/member/snap/db)" = "$before" ]
        done
    done
    rm stall
    "$snap" defrag --data-dir d 2>/dev/null
}

@test "what was told to ignore a signal goes on" {
    [ -n "$STALL_SHIM" ] || skip "a sanitizer comes before what is preloaded"
    export STALL_FILE=$PWD/stall
    touch stall
    env --default-signal=INT --ignore-signal=HUP LD_PRELOAD="$STALL_SHIM" "$snap" restore "$good" --data-dir new 3>&- &
    pid=$!
    timeout 20 bash -c "until compgen -G 'new.restore-*/member/snap/db' >/dev/null; do sleep 0.01; done"
    kill -HUP $pid
    rm stall
    wait $pid
    [ -e new/member/snap/db ]
}

@test "save: a file that is there can be read at once" {
    [ -n "$STALL_SHIM" ] || skip "a sanitizer comes before what is preloaded"
    rm -f port
    /usr/bin/python3 "$top/tests/cli/snapshot_server.py" "$good" octets >port 3>&- &
    timeout 20 sh -c 'until [ -s port ]; do sleep 0.02; done'
    printf '%s' "${PWD##*/}" >stall # the sync of the directory, after the rename
    STALL_FILE=$PWD/stall LD_PRELOAD="$STALL_SHIM" "$snap" save now.db --endpoints "127.0.0.1:$(cat port)" 3>&- &
    timeout 20 sh -c 'until [ -e now.db ]; do sleep 0.001; done'
    expect 0 "84ad01df, 216" "$snap" status now.db
    [ -d "/proc/$!" ] # it was not done yet
    rm stall
    wait $!
}

@test "save: two of one file do not make one of two" {
    rm -f port
    /usr/bin/python3 "$top/tests/cli/snapshot_server.py" "$good" stall >port 3>&- &
    timeout 20 sh -c 'until [ -s port ]; do sleep 0.02; done'
    "$snap" save both.db --endpoints "127.0.0.1:$(cat port)" 3>&- &
    first=$!
    timeout 20 sh -c 'until [ -e both.db.part ]; do sleep 0.02; done'
    for program in "$snap" ${ETCD_CTL:+"$ETCD_CTL"}; do
        expect 5 "another save is writing it" "$program" snapshot save both.db --endpoints "127.0.0.1:1"
    done
    [ -e both.db.part ]
    kill -9 $first && wait $first || true
    [ -e both.db.part ] # of one that was killed: taken over
    expect 5 "refused" "$snap" save both.db --endpoints 127.0.0.1:1
    [ ! -e both.db.part ]
}

@test "save leaves alone what is no regular file, and what is not its own" {
    mkfifo pipe && mkdir folder && echo mine > folder.part
    expect 5 "could not open pipe: it is no regular file" "$snap" save pipe --endpoints 127.0.0.1:1
    [ -p pipe ] && [ ! -e pipe.part ]
    expect 5 "could not open folder: it is a directory" "$snap" save folder --endpoints 127.0.0.1:1
    [ "$(cat folder.part)" = mine ]
}

@test "output that is lost is said" {
    [ -c /dev/full ] || skip "no /dev/full"
    for command in "completion bash" "status $good -w json" "--help" version; do
        run sh -c "'$snap' $command > /dev/full"
        [ "$status" -eq 1 ] && [[ $output == *"standard output"* ]]
        run sh -c "'$snap' $command >&-"
        [ "$status" -eq 1 ] && [[ $output == *"standard output"* ]]
    done
}
