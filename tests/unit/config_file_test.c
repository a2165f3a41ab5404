/*
 * config_file_test.c - settings that come from a file.
 */
#include "common/base/duration.h"
#include "tests/lib/config_fixture.h"

#include <stdio.h>
#include <unistd.h>

/* Load `yaml` as the config file. */
static void load_yaml(struct loaded *loaded, const char *yaml)
{
    char path[] = "/tmp/config_file_test.XXXXXX", words[64];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    close(fd);
    (void)snprintf(words, sizeof(words), "--name=ignored --config-file=%s", path);
    load(loaded, words, (const char *const[]){"ETCD_DATA_DIR=ignored", NULL});
    unlink(path);
}

static void config_file(void **state)
{
    struct loaded loaded;

    (void)state;
    load_yaml(&loaded, "# a comment\n"
                       "name: 'infra0'\n"
                       "snapshot-count: 10\n"
                       "pre-vote: false\n"
                       "quota-backend-bytes: -1\n"
                       "experimental-corrupt-check-time: 5000000000\n"
                       "experimental-snapshot-catch-up-entries: 77\n" /* not as its flag */
                       "listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n"
                       "log-outputs: [stdout, stderr]\n"
                       "wal-dir:\n"
                       "no-such-key: {deep: [1, {a: b}]}\n"
                       "client-transport-security:\n"
                       "  cert-file: c.pem\n"
                       "  key-file: k.pem\n"
                       "  client-cert-auth: true\n"
                       "  allowed-hostname: [a, b]\n"
                       "peer-transport-security: {trusted-ca-file: p.pem}\n"
                       "auto-compaction-retention: \"1h\"\n");
    if (loaded.rc != 0)
        fail_msg("%s", loaded.err.text);
    assert_string_equal(loaded.config.name, "infra0");
    assert_string_equal(loaded.config.data_dir, "infra0.etcd");
    assert_int_equal(loaded.config.snapshot_count, 10);
    assert_false(loaded.config.pre_vote);
    assert_int_equal(loaded.config.corrupt_check_time_ns, 5 * NS_PER_S);
    assert_int_equal(loaded.config.snapshot_catchup_entries, 77);
    assert_int_equal(loaded.config.listen_client_urls.count, 2);
    assert_int_equal(loaded.config.log_outputs.count, 2);
    assert_string_equal(loaded.config.cert_file, "c.pem");
    assert_true(loaded.config.client_cert_auth);
    assert_int_equal(loaded.config.client_cert_allowed_hostname.count, 2);
    assert_string_equal(loaded.config.peer_trusted_ca_file, "p.pem");
    assert_int_equal(loaded.config.compaction_retention, 3600 * NS_PER_S);
    assert_string_equal(loaded.config.advertise_client_urls.items[0], "http://localhost:2379");
    assert_non_null(strstr(buf_text(&loaded.notes), "unknown key no-such-key"));
    unload(&loaded);
    load_yaml(&loaded,
              "client-transport-security: {allowed-cn: [admin, other]}\nenable-pprof: true");
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.client_cert_allowed_cn.count, 2);
    assert_string_equal(loaded.config.client_cert_allowed_cn.items[0], "admin");
    assert_null(strstr(buf_text(&loaded.notes), "unknown key"));
    unload(&loaded);
    load_yaml(&loaded, "raft-read-timeout: 9000000000\nclient-crl-file: x"); /* of flags only */
    assert_int_equal(loaded.rc, 0);
    assert_non_null(strstr(buf_text(&loaded.notes), "unknown key raft-read-timeout"));
    assert_non_null(strstr(buf_text(&loaded.notes), "unknown key client-crl-file"));
    unload(&loaded);
    load_yaml(&loaded, "log-outputs: []"); /* not a server that says nothing */
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.log_outputs.count, 1);
    assert_string_equal(loaded.config.log_outputs.items[0], "default");
    unload(&loaded);
    load_yaml(&loaded, "{\"name\": \"json\", \"max-txn-ops\": 5}");
    assert_int_equal(loaded.rc, 0);
    assert_int_equal(loaded.config.max_txn_ops, 5);
    unload(&loaded);
    load_yaml(&loaded, "");
    assert_int_equal(loaded.rc, 0);
    assert_string_equal(loaded.config.name, "default");
    unload(&loaded);
}

static void bad_files(void **state)
{
    static const struct {
        const char *yaml, *text;
    } bad[] = {
        {"a: [", "error converting YAML to JSON: yaml: line"},
        {"grpc-keepalive-min-time: 5s", "cannot unmarshal string into Go struct field"},
        {"snapshot-count: \"5\"", "cannot unmarshal string into Go struct field .snapshot-count"},
        {"name: 5", "cannot unmarshal number"},
        {"pre-vote: yes please", "of type bool"},
        {"cipher-suites: A,B", "of type []string"},
        {"name: [a]", "cannot unmarshal array"},
        {"name: {a: b}", "cannot unmarshal object"},
        {"log-outputs: [[a]]", "nested"},
        {"listen-client-urls: foo", "unexpected error setting up listen-client-urls: URL scheme"},
        {"initial-cluster-state: foo", "\"foo\" for initial-cluster-state"},
        {"- a", "list of \"key: value\" lines"},
        {"word", "list of \"key: value\" lines"},
        {"a: &x 1\nb: *x", "no anchors"},
        {"{[a]: b}", "no anchors"},
        {"a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}}",
         "nested too deeply"},
        {"heartbeat-interval: 0", "--heartbeat-interval must be >0"},
        {"enable-v2: true", "not supported"},
    };
    struct loaded loaded;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        load_yaml(&loaded, bad[i].yaml);
        if (loaded.rc == 0)
            fail_msg("taken: %s", bad[i].yaml);
        if (strstr(loaded.err.text, bad[i].text) == NULL)
            fail_msg("%s\nsays:   %s\nwanted: %s", bad[i].yaml, loaded.err.text, bad[i].text);
        assert_int_equal(loaded.status, 1);
        unload(&loaded);
    }
    load(&loaded, "--config-file=/nonexistent.yml", NULL);
    assert_int_equal(loaded.rc, -1);
    assert_non_null(strstr(loaded.err.text, "/nonexistent.yml"));
    assert_non_null(strstr(loaded.err.text, "No such file"));
    unload(&loaded);
}

/* Every key of the file that etcd ships as a sample, as it is there but for one that we refuse. */
static void file_of_samples(void **state)
{
    static const char yaml[] = "name: 'default'\n"
                               "data-dir:\n"
                               "wal-dir:\n"
                               "snapshot-count: 10000\n"
                               "heartbeat-interval: 100\n"
                               "election-timeout: 1000\n"
                               "quota-backend-bytes: 0\n"
                               "listen-peer-urls: http://localhost:2380\n"
                               "listen-client-urls: http://localhost:2379\n"
                               "max-snapshots: 5\n"
                               "max-wals: 5\n"
                               "cors:\n"
                               "initial-advertise-peer-urls: http://localhost:2380\n"
                               "advertise-client-urls: http://localhost:2379\n"
                               "discovery:\n"
                               "discovery-fallback: 'proxy'\n"
                               "discovery-proxy:\n"
                               "discovery-srv:\n"
                               "initial-cluster:\n"
                               "initial-cluster-token: 'etcd-cluster'\n"
                               "initial-cluster-state: 'new'\n"
                               "strict-reconfig-check: false\n"
                               "enable-v2: false\n"
                               "enable-pprof: true\n"
                               "proxy: 'off'\n"
                               "proxy-failure-wait: 5000\n"
                               "proxy-refresh-interval: 30000\n"
                               "proxy-dial-timeout: 1000\n"
                               "proxy-write-timeout: 5000\n"
                               "proxy-read-timeout: 0\n"
                               "client-transport-security:\n"
                               "  cert-file:\n"
                               "  key-file:\n"
                               "  client-cert-auth: false\n"
                               "  trusted-ca-file:\n"
                               "  auto-tls: no\n"
                               "peer-transport-security:\n"
                               "  cert-file:\n"
                               "  key-file:\n"
                               "  client-cert-auth: false\n"
                               "  trusted-ca-file:\n"
                               "  auto-tls: false\n"
                               "  allowed-cn:\n"
                               "  allowed-hostname:\n"
                               "self-signed-cert-validity: 1\n"
                               "log-level: debug\n"
                               "logger: zap\n"
                               "log-outputs: [stderr]\n"
                               "force-new-cluster: false\n"
                               "auto-compaction-mode: periodic\n"
                               "auto-compaction-retention: \"1\"\n";
    struct loaded loaded;

    (void)state;
    load_yaml(&loaded, yaml);
    if (loaded.rc != 0)
        fail_msg("%s", loaded.err.text);
    assert_null(strstr(buf_text(&loaded.notes), "unknown key"));
    assert_non_null(strstr(buf_text(&loaded.notes),
                           "config file: proxy-read-timeout is ignored: there is no v2 proxy"));
    assert_int_equal(loaded.config.level, LOG_DEBUG);
    assert_int_equal(loaded.config.compaction_retention, 3600 * NS_PER_S);
    assert_string_equal(loaded.config.initial_cluster, "default=http://localhost:2380");
    unload(&loaded);
    load_yaml(&loaded, "pre-vote: no\nstrict-reconfig-check: Off\nunsafe-no-fsync: YES\n"
                       "enable-grpc-gateway: on\nlog-level:\n");
    assert_int_equal(loaded.rc, 0);
    assert_true(!loaded.config.pre_vote && !loaded.config.strict_reconfig_check);
    assert_true(loaded.config.unsafe_no_fsync && loaded.config.enable_grpc_gateway);
    unload(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_file),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(file_of_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
