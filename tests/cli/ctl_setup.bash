# ctl_setup.bash - servers, certificates and checks that the tests of etcd-ctl share. setup_file() of
# who loads it sets DIR and PORT, or lets start_plain_and_tls do it; every server it starts leaves DIR/NAME.pid.

teardown_file() {
    local pid
    for pid in "$DIR"/*.pid; do
        kill "$(cat "$pid")" 2>/dev/null || true
    done
    for pid in "$DIR"/*.pid; do # none of them writes when the folder goes, or has a port that the next file takes
        timeout 30 tail -s 0.05 --pid="$(cat "$pid")" -f /dev/null || kill -9 "$(cat "$pid")"
    done
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
}

# free_ports COUNT - the first of so many ports in a row on which nothing listens; below the range
# from which the kernel takes ports for connections
free_ports() {
    local first port
    while first=$((24000 + RANDOM % 8000)); do
        for ((port = first; port < first + $1; port++)); do
            ! (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue 2
        done
        echo "$first"
        return
    done
}

# start NAME SCHEME PORT FLAG...
start() {
    local name=$1 url=$2://127.0.0.1:$3 peer=http://127.0.0.1:$(($3 + 1))
    shift 3
    "$ETCD_SERVER" --name "$name" --data-dir "$DIR/$name" --listen-client-urls "$url" \
        --advertise-client-urls "$url" --listen-peer-urls "$peer" \
        --initial-advertise-peer-urls "$peer" --initial-cluster "$name=$peer" "$@" \
        >"$DIR/$name.log" 2>&1 3>&- &
    echo $! >"$DIR/$name.pid"
}

# issue NAME CA SAN DAYS
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" \
        -subj "/CN=$1" 2>/dev/null
    echo "subjectAltName=$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -out "$1.crt" \
        -days "$4" -extfile "$1.ext" 2>/dev/null
}

# start_plain_and_tls PORTS - DIR, so many ports from PORT on, and the two servers there that all tests use
start_plain_and_tls() {
    export DIR=$BATS_FILE_TMPDIR
    export PORT
    PORT=$(free_ports "$1")
    cd "$DIR" || return 1
    make_certs
    start plain http "$PORT"
    start tls https $((PORT + 2)) --cert-file="$DIR/server.crt" --key-file="$DIR/server.key" \
        --client-cert-auth --trusted-ca-file="$DIR/ca.crt"
    "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" --command-timeout=20s put up 1
    tls put up 1 --command-timeout=20s
}

make_certs() {
    local ca
    for ca in ca other; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$ca.key" \
            -out "$ca.crt" -subj "/CN=$ca-authority" -days 30 2>/dev/null
    done
    issue server ca "IP:127.0.0.1,DNS:etcd.example" 20
    issue client ca "DNS:client" 20
    issue rogue other "DNS:client" 20
    issue stale ca "DNS:client" -1
    issue expired ca "IP:127.0.0.1" -1
}

# With EXEC=exec these become the client: a signal reaches it, not the shell before it.
ctl() {
    ${EXEC-} "$ETCD_CTL" --endpoints="127.0.0.1:$PORT" "$@"
}

tls() {
    ${EXEC-} "$ETCD_CTL" --endpoints="https://127.0.0.1:$((PORT + 2))" --cacert="$DIR/ca.crt" \
        --cert="$DIR/client.crt" --key="$DIR/client.key" "$@"
}

# fails CODE LINE1-PART LINE2-PART -- COMMAND...: within 3 seconds in the best of three tries, cause first, then what to
# do. Of input from a pipe there is one try only, which may take 20 seconds.
fails() {
    local code=$1 cause=$2 cure=$3 begin took left=2 limit=3000
    shift 4
    if [ -p /dev/stdin ] || [[ "$*" == */dev/fd/* ]]; then left=0 limit=20000; fi
    while begin=$(date +%s%3N); do
        run --separate-stderr "$@"
        took=$(($(date +%s%3N) - begin))
        { [ "$took" -ge "$limit" ] && [ "$left" -gt 0 ]; } || break
        left=$((left - 1))
        echo "# again, it took $took ms: $*" >&3
    done
    [ "$status" -eq "$code" ] || { echo "exit $status: $output $stderr"; return 1; }
    [ -z "$output" ] || { echo "stdout: $output"; return 1; }
    [[ ${stderr_lines[0]} == "Error: "*"$cause"* ]] || { echo "line 1: $stderr"; return 1; }
    [[ ${stderr_lines[1]-} == *"$cure"* ]] || { echo "line 2: $stderr"; return 1; }
    [ "$took" -lt "$limit" ] || { echo "too slow: $took ms"; return 1; }
}

# wait_for COMMAND... - until it succeeds, at most 60 seconds
wait_for() {
    local end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        "$@" >/dev/null 2>&1 && return
        read -rt 0.1 <> <(:) || true
    done
    echo "waited in vain for: $*"
    return 1
}

# has_line FILE TEXT
has_line() {
    grep -qF -- "$2" "$1"
}
