/*
 * config_test.c - flags and variables, every sentence that keeps a server from starting, and that
 * the manual has all of them.
 */
#include "common/base/duration.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "etcd-server/host/default_host.h"
#include "tests/lib/config_fixture.h"

#include <stdio.h>

static void defaults(void **state)
{
    struct loaded loaded;
    struct config *config = &loaded.config;

    (void)state;
    load(&loaded, "", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(config->name, "default");
    assert_string_equal(config->data_dir, "default.etcd");
    assert_string_equal(config->initial_cluster, "default=http://localhost:2380");
    assert_int_equal(config->max_request_bytes, MAX_REQUEST_BYTES_DEFAULT); /* limits.h says so */
    assert_int_equal(config->max_txn_ops, MAX_TXN_OPS_DEFAULT);
    assert_string_equal(config->initial_cluster_token, "etcd-cluster");
    assert_int_equal(config->listen_client_urls.count, 1);
    assert_string_equal(config->listen_client_urls.items[0], "http://localhost:2379");
    assert_int_equal(config->snapshot_count, 100000);
    assert_int_equal(config->heartbeat_interval_ms, 100);
    assert_int_equal(config->quota_backend_bytes, 2 * GIB);
    assert_int_equal(config->max_request_bytes, 1572864);
    assert_int_equal(config->max_txn_ops, 128);
    assert_int_equal(config->backend_batch_interval_ns, 100 * NS_PER_MS);
    assert_int_equal(config->backend_batch_limit, 10000);
    assert_int_equal(config->compaction_batch_limit, 1000);
    assert_int_equal(config->watch_progress_notify_interval_ns, 600 * NS_PER_S);
    assert_int_equal(config->level, LOG_INFO);
    assert_int_equal(config->format, LOG_JSON);
    assert_int_equal(config->compaction, COMPACTION_OFF);
    assert_true(config->pre_vote && config->strict_reconfig_check && config->enable_grpc_gateway);
    assert_non_null(strstr(buf_text(&loaded.notes), "'data-dir' was empty; using default.etcd"));
    unload(&loaded);
}

static void flag_syntax(void **state)
{
    static const struct refusal refusals[] = {
        {"stray", 1, "'stray' is not a valid flag"},
        {"--pre-vote false", 1, "'false' is not a valid flag"},
        {"-", 1, "'-' is not a valid flag"},
        {"--bogus", 2, "flag provided but not defined: -bogus"},
        {"--no-such-flag=1", 2, "-no-such-flag"},
        {"--name", 2, "flag needs an argument: -name"},
        {"---name=x", 2, "bad flag syntax: ---name=x"},
        {"-=x", 2, "bad flag syntax: -=x"},
        {"--snapshot-count=abc", 2, "invalid value \"abc\" for flag -snapshot-count: parse error"},
        {"--snapshot-count=-1", 2, "-snapshot-count: parse error"},
        {"--snapshot-count=18446744073709551616", 2, "value out of range"},
        {"--max-concurrent-streams=4294967296", 2, "value out of range"},
        {"--quota-backend-bytes=9223372036854775808", 2, "value out of range"},
        {"--pre-vote=maybe", 2, "invalid value \"maybe\" for flag -pre-vote"},
        {"--grpc-keepalive-interval=5", 2, "-grpc-keepalive-interval: parse error"},
        {"--initial-cluster-state=bogus", 2, "-initial-cluster-state: must be one of new|existing"},
        {"--listen-client-urls=127.0.0.1:2379", 2,
         "invalid value \"127.0.0.1:2379\" for flag -listen-client-urls: URL scheme must be http, "
         "https, unix, or unixs: 127.0.0.1:2379"},
        {"--listen-client-urls=http://127.0.0.1", 2, "does not have the form \"host:port\""},
        {"--listen-client-urls=http://127.0.0.1:2379/x", 2, "must not contain a path"},
        {"--listen-client-urls=http://127.0.0.1:x", 2, "no port between"},
        {"--listen-client-urls=http://127.0.0.1:65536", 2, "no port between"},
        {"--listen-client-urls=http://::1:2379", 2, "host:port"},
        {"--listen-client-urls=unix://", 2, "no path"},
        {"--debug", 2, "use --log-level=debug"},
        {"--log-output=x", 2, "use --log-outputs"},
        {"--log-package-levels=x", 2, "use --log-level"},
        {"--ca-file=x", 2, "use --trusted-ca-file"},
        {"--peer-ca-file=x", 2, "use --peer-trusted-ca-file"},
    };
    struct loaded loaded;

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
    load(&loaded,
         "-name a --name=b -pre-vote=F --data-dir d --snapshot-count=7 "
         "--listen-peer-urls=http://127.0.0.1:9,http://127.0.0.1:8,http://127.0.0.1:9 "
         "--quota-backend-bytes=-5 --unsafe-no-fsync",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.name, "b");
    assert_false(loaded.config.pre_vote);
    assert_true(loaded.config.unsafe_no_fsync);
    assert_int_equal(loaded.config.quota_backend_bytes, -1);
    assert_int_equal(loaded.config.listen_peer_urls.count, 2);
    assert_string_equal(loaded.config.listen_peer_urls.items[0], "http://127.0.0.1:8");
    assert_string_equal(loaded.config.initial_cluster, "b=http://localhost:2380");
    unload(&loaded);
    load(&loaded, "--vv --proxy-read-timeout=5 --retry-interval 3 --proxy=off", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "--retry-interval is ignored"));
    unload(&loaded);
}

static void wrong_members_and_urls(void **state)
{
    static const struct refusal refusals[] = {
        {"--listen-client-urls=http://127.0.0.1:1", 1,
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
        {"--listen-client-urls=http://example.com:2379 --advertise-client-urls=http://a:1", 1,
         "expected IP in URL for binding (http://example.com:2379)"},
        {"--listen-peer-urls=http://example.com:2380", 1, "expected IP in URL for binding"},
        {"--initial-advertise-peer-urls=http://:2380", 1,
         "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\""},
        {"--advertise-client-urls=http://:2379", 1,
         "--advertise-client-urls \"http://:2379\" must"},
        {"--initial-cluster=a=http://b:1 --discovery=http://c/d", 1,
         "multiple discovery or bootstrap flags are set"},
        {"--discovery-srv=a.example --discovery-token=t --discovery-endpoints=b:1", 1,
         "multiple discovery or bootstrap flags are set"},
        {"--discovery-token=t", 1, "both --discovery-token and --discovery-endpoints must be set"},
        {"--discovery-endpoints=b:1", 1, "both --discovery-token and --discovery-endpoints"},
        {"--discovery-token=t/u --discovery-endpoints=b:1", 1, "a token has no slash"},
        {"--discovery-token=t --discovery-endpoints=b:1 --discovery-cert=c", 1,
         "--discovery-cert and --discovery-key"},
        {"--listen-client-http-urls=http://localhost:2379", 1, "both have http://localhost:2379"},
        {"--name=a,b", 1, "--name=a,b"},
    };

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
}

static void wrong_times(void **state)
{
    static const struct refusal refusals[] = {
        {"--max-request-bytes=67104769", 1,
         "--max-request-bytes=67104769 is more than an entry of the log can hold; use at most "
         "67104768"},
        {"--heartbeat-interval=0", 1, "--heartbeat-interval must be >0 (set to 0ms)"},
        {"--election-timeout=0", 1, "--election-timeout must be >0 (set to 0ms)"},
        {"--heartbeat-interval=500", 1,
         "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[500ms]"},
        {"--election-timeout=60000", 1,
         "--election-timeout[60000ms] is too long, and should be set less than 50000ms"},
        {"--auto-compaction-mode=foo", 1, "unknown auto-compaction-mode \"foo\""},
        {"--auto-compaction-retention=foo", 1,
         "error parsing CompactionRetention: time: invalid duration \"foo\""},
        {"--auto-compaction-mode=revision --auto-compaction-retention=1h", 1,
         "error parsing CompactionRetention"},
        {"--experimental-compact-hash-check-time=0s", 1,
         "--experimental-compact-hash-check-time must be >0 (set to 0s)"},
    };

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
}

static void wrong_tls(void **state)
{
    static const struct refusal refusals[] = {
        {"--tls-min-version=TLS1.0", 1,
         "unexpected TLS version \"TLS1.0\" (must be one of: TLS1.2, TLS1.3)"},
        {"--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", 1,
         "min version (TLS1.3) is greater than max version (TLS1.2)"},
        {"--tls-min-version=TLS1.3 --cipher-suites=A", 1,
         "cipher suites cannot be configured when only TLS1.3 is enabled"},
        {"--auth-token=bogus", 1, "auth: invalid auth options"},
        {"--peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b", 1,
         "AllowedCNs and AllowedHostnames are mutually exclusive"},
        {"--client-cert-allowed-cn=a --client-cert-allowed-hostname=b", 1,
         "AllowedCNs and AllowedHostnames are mutually exclusive"},
        {"--auto-tls --self-signed-cert-validity=0", 1, "selfSignedCertValidity is invalid"},
        {"--peer-auto-tls --self-signed-cert-validity=1001", 1,
         "--self-signed-cert-validity=1001: at most 1000 years"},
        {"--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://127.0.0.1:1", 1,
         "TLS key/cert (--cert-file, --key-file) must be provided for client url "
         "https://127.0.0.1:1 with HTTPS scheme"},
        {"--listen-peer-urls=https://127.0.0.1:1", 1, "--peer-cert-file"},
        {"--cert-file=a", 1, "--cert-file and --key-file must be given together"},
        {"--client-key-file=a", 1, "--client-cert-file and --client-key-file"},
    };

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
}

static void wrong_logs(void **state)
{
    static const struct refusal refusals[] = {
        {"--logger=capnslog", 1, "--logger=capnslog is removed in v3.5"},
        {"--logger=x", 1, "unknown logger option \"x\""},
        {"--log-level=bogus", 1, "--log-level=bogus"},
        {"--log-outputs=default,stderr", 1, "multi logoutput for \"default\" is not supported yet"},
        {"--log-outputs=", 1, "--log-outputs is given without an output"},
        {"--enable-log-rotation", 1, "--log-outputs requires a single file path"},
        {"--enable-log-rotation --log-outputs=a.log,stderr,b.log", 1, "it has 2"},
        {"--enable-log-rotation --log-outputs=a.log --log-rotation-config-json={", 1,
         "improperly formatted log rotation config"},
    };

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
}

static void feature_gates(void **state)
{
    static const struct refusal refusals[] = {
        {"--feature-gates=Foo=true", 1, "unrecognized feature gate: Foo"},
        {"--feature-gates=InitialCorruptCheck", 1, "missing bool value"},
        {"--feature-gates=InitialCorruptCheck=yes", 1, "invalid value"},
        {"--feature-gates=LeaseCheckpointPersist=true", 1, "requires"},
    };
    struct loaded loaded;

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
    load(&loaded, "--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_true(loaded.config.enable_lease_checkpoint);
    assert_true(loaded.config.enable_lease_checkpoint_persist);
    unload(&loaded);
    load(&loaded, "--feature-gates=PriorityRequest=true,FastLeaseKeepAlive=false", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_true(loaded.config.priority_request);
    assert_non_null(strstr(buf_text(&loaded.notes), "FastLeaseKeepAlive=false changes nothing: "));
    unload(&loaded);
    load(&loaded, "--feature-gates=StopGRPCServiceOnDefrag=true,TxnModeWriteWithSharedBuffer=false",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_null(strstr(buf_text(&loaded.notes), "StopGRPCServiceOnDefrag"));
    assert_true(loaded.config.stop_grpc_service_on_defrag);
    assert_non_null(
        strstr(buf_text(&loaded.notes), "TxnModeWriteWithSharedBuffer=false changes nothing"));
    unload(&loaded);
    load(&loaded, "--feature-gates=InitialCorruptCheck=false,AllAlpha=true,AllBeta=false", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_true(loaded.config.priority_request && loaded.config.compact_hash_check_enabled);
    assert_false(loaded.config.initial_corrupt_check); /* what is named comes first */
    assert_false(loaded.config.txn_mode_write_with_shared_buffer);
    unload(&loaded);
}

static void without_effect(void **state)
{
    static const struct refusal refusals[] = {
        {"--discovery-proxy=http://proxy", 1, "--discovery-proxy is not supported"},
        {"--enable-v2", 1, "the v2 API is gone"},
        {"--proxy=on", 1, "--proxy is not supported: the v2 proxy is gone"},
        {"--experimental-enable-distributed-tracing", 1, "tracing is not there yet"},
    };
    struct loaded loaded;

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
    load(&loaded,
         "--client-cert-file=a --client-key-file=b --experimental-downgrade-check-time=1s "
         "--max-learners=2 --experimental-stop-grpc-service-on-defrag --enable-pprof",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "--enable-pprof has no effect: "));
    assert_non_null(strstr(buf_text(&loaded.notes), "--client-cert-file has no effect: "));
    assert_null(strstr(buf_text(&loaded.notes), "--downgrade-check-time has no effect"));
    assert_int_equal(loaded.config.downgrade_check_time_ns, NS_PER_S);
    assert_int_equal(loaded.config.max_learners, 2);
    assert_true(loaded.config.stop_grpc_service_on_defrag);
    unload(&loaded);
    load(&loaded, "--enable-v2=false --grpc-keepalive-interval=1h --enable-pprof=false", NULL);
    assert_int_equal(loaded.rc, 0);
    unload(&loaded);
}

static void worked_out(void **state)
{
    struct loaded loaded;

    (void)state;
    load(&loaded,
         "--auto-compaction-retention=5 --name=n --log-level=warn --log-format=console "
         "--initial-advertise-peer-urls=http://a:2,http://a:1 --bcrypt-cost=99",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.compaction, COMPACTION_PERIODIC);
    assert_int_equal(loaded.config.compaction_retention, 5 * 3600 * NS_PER_S);
    assert_string_equal(loaded.config.initial_cluster, "n=http://a:1,n=http://a:2");
    assert_int_equal(loaded.config.level, LOG_WARN);
    assert_int_equal(loaded.config.format, LOG_CONSOLE);
    assert_int_equal(loaded.config.bcrypt_cost, 10);
    unload(&loaded);
    load(&loaded,
         "--auto-compaction-mode=revision --auto-compaction-retention=1000 "
         "--experimental-initial-corrupt-check --corrupt-check-time=1h "
         "--feature-gates=CompactHashCheck=true,AllAlpha=false",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.compaction, COMPACTION_REVISION);
    assert_int_equal(loaded.config.compaction_retention, 1000);
    assert_true(loaded.config.initial_corrupt_check && loaded.config.compact_hash_check_enabled);
    unload(&loaded);
    load(&loaded, "", NULL); /* the checks are on where nothing is said */
    assert_true(loaded.config.initial_corrupt_check && loaded.config.compact_hash_check_enabled);
    assert_true(loaded.config.corrupt_check_time_ns > 0);
    unload(&loaded);
    load(&loaded, "--snapshot-count=0", NULL); /* not: behind each entry */
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.snapshot_count, 100000);
    assert_non_null(strstr(buf_text(&loaded.notes), "--snapshot-count=0"));
    unload(&loaded);
    load(&loaded, "--name=a --initial-cluster=a=http://x:1,b=http://y:1", NULL);
    assert_int_equal(loaded.rc, 0);
    unload(&loaded);
    load(&loaded, "--initial-cluster-state=existing", NULL);
    unload(&loaded);
    load(&loaded, "--initial-cluster= --discovery=http://c/d", NULL); /* a variable of a shell */
    if (loaded.rc != 0)
        fail_msg("%s", loaded.err.text);
    unload(&loaded);
    load(&loaded,
         "--listen-client-urls=https://127.0.0.1:237 --advertise-client-urls=https://h:2379 "
         "--cert-file=c --key-file=k",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "no port in common"));
    unload(&loaded);
    load(&loaded,
         "--trusted-ca-file=ca --client-cert-auth --cert-file=c --key-file=k --peer-crl-file=r",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "ignoring --trusted-ca-file for http://"));
    assert_non_null(strstr(buf_text(&loaded.notes), "while --client-cert-auth is enabled"));
    assert_non_null(strstr(buf_text(&loaded.notes), "ignoring --cert-file and --key-file for"));
    assert_non_null(strstr(buf_text(&loaded.notes), "ignoring --peer-crl-file for http://"));
    unload(&loaded);
}

/* What that is on this machine, the function says that is asked; the manual says when. */
static void listening_everywhere(void **state)
{
    char host[DEFAULT_HOST_BYTES] = "localhost", peer[128], client[128], cluster[160];
    bool known = default_host(host);
    struct loaded loaded;

    (void)state;
    (void)snprintf(peer, sizeof(peer), "http://%s:%s", host, known ? "12380" : "2380");
    (void)snprintf(client, sizeof(client), "http://%s:%s", host, known ? "12379" : "2379");
    (void)snprintf(cluster, sizeof(cluster), "n=%s", peer);
    load(&loaded,
         "--name=n --listen-peer-urls=http://0.0.0.0:12380 "
         "--listen-client-urls=http://0.0.0.0:12379 --advertise-client-urls=http://localhost:2379",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.initial_advertise_peer_urls.items[0], peer);
    assert_string_equal(loaded.config.advertise_client_urls.items[0], client);
    assert_string_equal(loaded.config.initial_cluster, cluster);
    assert_true((strstr(buf_text(&loaded.notes), "detected default host") != NULL) == known);
    unload(&loaded);
    load(&loaded, "--listen-peer-urls=http://0.0.0.0:12380", NULL);
    (void)snprintf(cluster, sizeof(cluster), "default=%s", peer);
    assert_string_equal(loaded.config.initial_cluster, cluster);
    unload(&loaded);
    load(&loaded,
         "--listen-peer-urls=http://127.0.0.1:1,http://[::]:1 "
         "--listen-client-urls=http://0.0.0.0:12379 --advertise-client-urls=http://h:2379",
         NULL);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.initial_advertise_peer_urls.items[0],
                        "http://localhost:2380");
    assert_string_equal(loaded.config.advertise_client_urls.items[0], "http://h:2379");
    unload(&loaded);
}

static void environment(void **state)
{
    static const char *const env[] = {"HOME=/",
                                      "ETCD_NAME=fromenv",
                                      "ETCD_DATA_DIR=",
                                      "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK=true",
                                      "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL=5s",
                                      "ETCD_NO_SUCH_SETTING=1",
                                      "ETCD_CA_FILE=ca.pem",
                                      "ETCD_VERSION=1",
                                      "ETCDCTL_API=3",
                                      NULL};
    static const char *const bad[] = {"ETCD_SNAPSHOT_COUNT=abc", NULL};
    static const char *const both[] = {"ETCD_TRUSTED_CA_FILE=new.pem", "ETCD_CA_FILE=old.pem",
                                       "ETCD_PEER_CA_FILE=old.pem", NULL};
    static const char *const listen[] = {"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1", NULL};
    struct loaded loaded;

    (void)state;
    load(&loaded, "--snapshot-count=3", env);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.name, "fromenv");
    assert_string_equal(loaded.config.data_dir, "fromenv.etcd");
    assert_string_equal(loaded.config.trusted_ca_file, "ca.pem");
    assert_true(loaded.config.initial_corrupt_check);
    assert_int_equal(loaded.config.watch_progress_notify_interval_ns, 5 * NS_PER_S);
    assert_non_null(
        strstr(buf_text(&loaded.notes), "unrecognized environment variable ETCD_NO_SUCH_SETTING"));
    assert_non_null(
        strstr(buf_text(&loaded.notes), "ETCD_CA_FILE is taken as ETCD_TRUSTED_CA_FILE"));
    assert_null(strstr(buf_text(&loaded.notes), "ETCD_VERSION"));
    unload(&loaded);
    load(&loaded, "--name=flag", env);
    assert_int_equal(loaded.rc, -1);
    assert_int_equal(loaded.status, 1);
    assert_string_equal(loaded.err.text,
                        "conflicting environment variable ETCD_NAME=fromenv is shadowed by --name; "
                        "unset the variable or leave the flag out");
    unload(&loaded);
    load(&loaded, "--name=fromenv", env);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "ETCD_NAME is set to what --name says"));
    unload(&loaded);
    load(&loaded, "", bad);
    assert_int_equal(loaded.rc, -1);
    assert_non_null(
        strstr(loaded.err.text, "invalid value \"abc\" for ETCD_SNAPSHOT_COUNT: parse error"));
    assert_int_equal(loaded.status, 1);
    unload(&loaded);
    load(&loaded, "", both); /* the right name counts, whatever the order */
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.trusted_ca_file, "new.pem");
    assert_non_null(strstr(buf_text(&loaded.notes), "ETCD_CA_FILE is ignored"));
    unload(&loaded);
    load(&loaded, "--peer-trusted-ca-file=new.pem", both);
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.peer_trusted_ca_file, "new.pem");
    assert_non_null(strstr(buf_text(&loaded.notes), "ETCD_PEER_CA_FILE is ignored"));
    unload(&loaded);
    load(&loaded, "", listen);
    assert_non_null(strstr(loaded.err.text, "--advertise-client-urls is required"));
    unload(&loaded);
}

/* What etcd takes, and a few that it takes and does nothing with. */
static void odd_but_good(void **state)
{
    static const struct refusal refusals[] = {
        {"--auto-compaction-mode= --auto-compaction-retention=1h", 1,
         "unsupported compaction mode "},
        {"--cors=a.example", 1, "--cors=a.example: an origin is SCHEME://HOST"},
        {"--cors=*,http://a/x", 1, "--cors=http://a/x: "},
        {"--cipher-suites=X", 1, "unexpected TLS cipher suite \"X\""},
        {"--max-learners=0", 1, "--max-learners must be >0 (set to 0)"},
        {"--auth-token=simpler", 1, "auth: invalid auth options"},
    };
    struct loaded loaded;

    (void)state;
    expect_refusals(refusals, ARRAY_LEN(refusals));
    load(&loaded,
         "--log-level=WARN --log-outputs=default,default --auth-token=simple,ttl=5s "
         "--cors=http://a.example:80,https://b --auto-compaction-mode=",
         NULL);
    if (loaded.rc != 0)
        fail_msg("%s", loaded.err.text);
    assert_int_equal(loaded.config.level, LOG_WARN);
    assert_non_null(strstr(buf_text(&loaded.notes), "--auth-token-ttl"));
    unload(&loaded);
    load(&loaded, "--experimental-enable-lease-checkpoint", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "checkpointing is enabled without persist"));
    unload(&loaded);
    load(&loaded, "--log-level=", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.level, LOG_INFO);
    unload(&loaded);
}

static void help_and_version(void **state)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct loaded loaded;

    (void)state;
    load(&loaded, "--bogus-not-reached -h", NULL);
    assert_int_equal(loaded.rc, -1);
    unload(&loaded);
    load(&loaded, "--name=x -h --bogus", NULL);
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.action, CONFIG_HELP);
    unload(&loaded);
    load(&loaded, "-version", NULL);
    assert_int_equal(loaded.action, CONFIG_VERSION);
    unload(&loaded);
    config_help(&out);
    assert_non_null(strstr(buf_text(&out), "  --data-dir ''\n"));
    assert_non_null(strstr(buf_text(&out), "--listen-client-urls 'http://localhost:2379'"));
    assert_null(strstr(buf_text(&out), "--log-package-levels"));
    buf_reset(&out);
    config_version(&out);
    assert_memory_equal(buf_text(&out), "etcd Version: 3.5.30\n", 21);
    buf_free(&out);
}

/* `entry` of the manual says what becomes of a setting that does nothing, or is refused. */
static void manual_tells_status(const struct option *row, const char *entry)
{
    const char *end = strstr(entry + 1, "\n.It ");
    const char *refused = strstr(entry, "\nOther values are refused: ");
    const char *taken = strstr(entry, "\nAccepted without effect");

    assert_non_null(end);
    if ((refused != NULL && refused < end) != (row->status == OPTION_LATER))
        fail_msg("the manual is wrong about --%s being refused", row->name);
    if ((taken != NULL && taken < end) != (row->status == OPTION_NO_EFFECT))
        fail_msg("the manual is wrong about the effect of --%s", row->name);
}

/* The manual has an item per flag of the table, in alphabetical order, and no others. */
static void the_manual_has_every_flag(void **state)
{
    const struct option_table *table = config_table();
    struct buf page = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    size_t items = 0, rows = 0;
    char wanted[128], last[128] = "";

    (void)state;
    if (file_read_all("man/etcd-server.8", &page, &err) < 0)
        fail_msg("%s (run from the top of the source tree)", err.text);
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].status == OPTION_REMOVED || table->rows[i].status == OPTION_VERY_OLD)
            continue;
        rows++;
        (void)snprintf(wanted, sizeof(wanted), "\n.It Fl -%s", table->rows[i].name);
        const char *at = strstr(buf_text(&page), wanted);
        while (at != NULL && at[strlen(wanted)] != ' ' && at[strlen(wanted)] != '\n')
            at = strstr(at + 1, wanted);
        if (at == NULL)
            fail_msg("the manual lacks --%s", table->rows[i].name);
        manual_tells_status(&table->rows[i], at);
    }
    for (const char *at = buf_text(&page); (at = strstr(at, "\n.It Fl -")) != NULL; items++) {
        size_t size;

        at += 9;
        size = strcspn(at, " \n");
        assert_true(size < sizeof(last));
        if (strncmp(last, at, size) >= 0 && strlen(last) <= size)
            fail_msg("--%.*s stands behind --%s", (int)size, at, last);
        memcpy(last, at, size);
        last[size] = '\0';
    }
    assert_int_equal(items, rows + 2); /* --help and --version are not in the table */
    buf_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(flag_syntax),
        cmocka_unit_test(wrong_members_and_urls),
        cmocka_unit_test(wrong_times),
        cmocka_unit_test(wrong_tls),
        cmocka_unit_test(wrong_logs),
        cmocka_unit_test(feature_gates),
        cmocka_unit_test(without_effect),
        cmocka_unit_test(worked_out),
        cmocka_unit_test(listening_everywhere),
        cmocka_unit_test(environment),
        cmocka_unit_test(odd_but_good),
        cmocka_unit_test(help_and_version),
        cmocka_unit_test(the_manual_has_every_flag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
