/*
 * ops_test.c - the operators' and the peer port's plain endpoints: bodies, queries, methods, slow
 * and failing checks; and the text of the metrics.
 */
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/peer.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct {
    struct toy toy;
    struct metrics metrics;
    struct ops *ops;
    struct client *client;
    struct peer_door *peer;
    struct toy_link link;
    unsigned promotions_cancelled;
    struct peer_hash *held; /* hash asked for, not answered */
    size_t hashes_cancelled;
    unsigned leases_cancelled;
} fix;

static const char *const peer_urls[] = {"http://127.0.0.1:2380"};
static const struct peer_member members[] = {
    {.id = 10601487386321235570U,
     .name = "default",
     .peer_urls = {peer_urls, 1},
     .client_urls = {peer_urls, 1}},
    {.id = 7, .name = "", .peer_urls = {peer_urls, 1}, .is_learner = true},
};

static uint64_t cluster_id(void *arg)
{
    (void)arg;
    return 0x2cb1862b8272ef26;
}

static size_t get_members(void *arg, const struct peer_member **list)
{
    (void)arg;
    *list = members;
    return ARRAY_LEN(members);
}

static bool downgrade_enabled(void *arg)
{
    (void)arg;
    return false;
}

static void get_hash(void *arg, struct peer_hash *query)
{
    const struct peer_hash_facts facts = {.revision = 1,
                                          .hash = 1084519789,
                                          .compact_revision = -1,
                                          .living = query->revision == 3,
                                          .has_history = query->revision != 3,
                                          .history = 7,
                                          .history_compact_revision = -1};

    (void)arg;
    if (query->revision == 99)
        query->done(query, ERR_FUTURE_REV, NULL);
    else if (query->revision == 5)
        fix.held = query;
    else
        query->done(query, ERR_OK, &facts);
}

static void cancel_hash(void *arg, struct peer_hash *query)
{
    (void)arg;
    (void)query;
    fix.hashes_cancelled++;
}

/* Lease 11 is known; 12 waits for ever; 13 was asked of the wrong member, 14 too early. */
static void get_lease(void *arg, struct peer_lease *query)
{
    static const struct slice keys[] = {SLICE_LITERAL("aa")};
    struct peer_lease_facts facts = {.ttl_s = query->renew ? 100 : 99, .granted_ttl_s = 100};

    (void)arg;
    if (query->keys) {
        facts.keys = keys;
        facts.key_count = 1;
    }
    if (query->id == 11)
        query->done(query, ERR_OK, &facts);
    else if (query->id != 12)
        query->done(query,
                    query->id == 13   ? ERR_NOT_LEADER
                    : query->id == 14 ? ERR_TIMEOUT_WAIT_APPLIED_INDEX
                                      : ERR_LEASE_NOT_FOUND,
                    NULL);
}

static void promote(void *arg, struct peer_promote *query)
{
    (void)arg;
    if (query->token != NULL)
        query->done(query, ERR_PERMISSION_DENIED, query->token);
    else if (query->id == 7)
        query->done(query, ERR_LEARNER_NOT_READY, err_text(ERR_LEARNER_NOT_READY));
    else if (query->id == members[0].id)
        query->done(query, ERR_MEMBER_NOT_LEARNER, err_text(ERR_MEMBER_NOT_LEARNER));
    else if (query->id == 8)
        query->done(query, ERR_OK, NULL);
    else if (query->id != 9) /* no answer yet */
        query->done(query, ERR_MEMBER_NOT_FOUND, err_text(ERR_MEMBER_NOT_FOUND));
}

static void cancel_promote(void *arg, struct peer_promote *query)
{
    (void)arg;
    assert_int_equal(query->id, 9);
    fix.promotions_cancelled++;
}

static void cancel_lease(void *arg, struct peer_lease *query)
{
    (void)arg;
    (void)query;
    fix.leases_cancelled++;
}

static int set_up(void **state)
{
    struct ops_env env;
    struct client_config config = {.cors_count = 0};
    struct peer_env peer = {.cluster_id = cluster_id,
                            .members = get_members,
                            .downgrade_enabled = downgrade_enabled,
                            .hash = get_hash,
                            .cancel_hash = cancel_hash,
                            .lease = get_lease,
                            .cancel_lease = cancel_lease,
                            .promote = promote,
                            .cancel_promote = cancel_promote};

    (void)state;
    memset(&fix, 0, sizeof(fix));
    env = toy_ops_env(&fix.toy, &fix.metrics);
    config.ops = peer.ops = fix.ops = ops_new(&env);
    fix.client = client_new(&config);
    fix.peer = peer_door_new(&peer);
    toy_link_open(&fix.link, client_handler(fix.client));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    toy_link_close(&fix.link);
    client_free(fix.client);
    peer_door_free(fix.peer);
    ops_free(fix.ops);
    return 0;
}

static void use_peer(void)
{
    toy_link_close(&fix.link);
    toy_link_open(&fix.link, peer_door_handler(fix.peer));
}

static const char *ask_with(const char *method, const char *path, const char *rest)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    toy_link_forget(&fix.link);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: a\r\n%s", method, path, rest);
    toy_link_feed(&fix.link, buf_slice(&text));
    buf_free(&text);
    return toy_link_answer(&fix.link);
}

static const char *get(const char *path)
{
    return ask_with("GET", path, "\r\n");
}

static void is(const char *answer, unsigned status, const char *body)
{
    char head[32];
    const char *blank = strstr(answer, "\r\n\r\n");

    (void)snprintf(head, sizeof(head), "HTTP/1.1 %u ", status);
    if (strncmp(answer, head, strlen(head)) != 0 || blank == NULL || strcmp(blank + 4, body) != 0)
        fail_msg("expected %u and %s\ngot %s", status, body, answer);
}

static void health(void **state)
{
    (void)state;
    is(get("/health"), 200, "{\"health\":\"true\",\"reason\":\"\"}");
    is(ask_with("HEAD", "/health", "\r\n"), 405, "");
    is(ask_with("POST", "/health", "\r\n"), 405, "Method Not Allowed\n");
    assert_non_null(strstr(buf_text(&fix.link.got), "Allow: GET\r\n"));
    is(get("/health/"), 404, "404 page not found\n");
    fix.toy.facts.has_leader = false;
    is(get("/health"), 503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    is(get("/health?serializable=1"), 503,
       "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    is(get("/health?serializable=true"), 200, "{\"health\":\"true\",\"reason\":\"\"}");
    fix.toy.facts.alarm_corrupt = true;
    fix.toy.facts.alarm_nospace = true;
    is(get("/health"), 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    is(get("/health?exclude=X&exclude=NOSPACE"), 503,
       "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    fix.toy.facts.has_leader = true;
    fix.toy.fail_reads = true;
    is(get("/health?exclude=NOSPACE&exclude=CORRUPT"), 503,
       "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n");
    assert_int_equal(fix.metrics.health_success, 2);
    assert_int_equal(fix.metrics.health_failures, 5);
}

static void probes(void **state)
{
    (void)state;
    is(get("/livez"), 200, "ok\n");
    is(get("/livez?verbose"), 200, "[+]serializable_read ok\nok\n");
    is(get("/livez/serializable_read?verbose=false"), 200, "[+]serializable_read ok\nok\n");
    is(get("/livez/linearizable_read"), 404, "404 page not found\n");
    is(get("/livez/"), 404, "404 page not found\n");
    is(get("/livezz"), 404, "404 page not found\n");
    is(get("/livez?exclude=serializable_read&verbose"), 200, "ok\n");
    is(ask_with("POST", "/livez", "\r\n"), 405, "Method Not Allowed\n");
    is(get("/readyz?verbose"), 200,
       "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n"
       "[+]non_learner ok\nok\n");
    is(get("/readyz/non_learner?verbose"), 200, "[+]non_learner ok\nok\n");
    fix.toy.facts.is_learner = true;
    is(get("/readyz/non_learner"), 503, "[-]non_learner failed: not supported for learner\n\n");
    fix.toy.facts.is_learner = false;
    is(get("/readyz/x"), 404, "404 page not found\n");
    fix.toy.facts.alarm_corrupt = true;
    fix.toy.fail_reads = true;
    is(get("/readyz?exclude=linearizable_read"), 503,
       "[-]data_corruption failed: alarm activated: CORRUPT\n"
       "[-]serializable_read failed: etcdserver: request timed out\n[+]non_learner ok\n\n");
    assert_int_equal(fix.metrics.checks[METRICS_CHECK_DATA_CORRUPTION].failed[1], 1);
    assert_int_equal(fix.metrics.checks[METRICS_CHECK_SERIALIZABLE_READ].passed[0], 3);
}

static void slow_reads(void **state)
{
    (void)state;
    fix.toy.hold_reads = true;
    assert_string_equal(get("/livez"), "");
    fix.toy.held_read->done(fix.toy.held_read, NULL);
    is(toy_link_answer(&fix.link), 200, "ok\n");
    assert_string_equal(get("/readyz"), "");
    toy_link_close(&fix.link); /* the client goes: both reads are taken back */
    assert_int_equal(fix.toy.cancelled, 2);
    toy_link_open(&fix.link, client_handler(fix.client));
}

static void version(void **state)
{
    (void)state;
    is(get("/version"), 200, "{\"etcdserver\":\"3.5.30\",\"etcdcluster\":\"3.5.0\"}");
    fix.toy.facts.cluster_version[0] = '\0';
    is(get("/version"), 200, "{\"etcdserver\":\"3.5.30\",\"etcdcluster\":\"not_decided\"}");
    is(ask_with("HEAD", "/version", "\r\n"), 405, "");
    is(get("/version/"), 404, "404 page not found\n");
    is(get("/debug/pprof/"), 404, "404 page not found\n");
    assert_non_null(strstr(get("/debug/vars"), "\"memstats\": {"));
    assert_non_null(strstr(get("/debug/vars"), "\"raft.status\": null\n}\n"));
    is(ask_with("POST", "/debug/vars", "\r\n"), 405, "Method Not Allowed\n");
}

static void metrics_text(void **state)
{
    static const char *const lines[] = {
        "\n# TYPE etcd_server_has_leader gauge\n",
        "\netcd_server_has_leader 1\n",
        "\netcd_server_quota_backend_bytes 2.147483648e+09\n",
        "\netcd_mvcc_put_total 2\n",
        "\netcd_mvcc_db_total_size_in_bytes 102400\n",
        "\netcd_debugging_mvcc_current_revision 1.234567e+06\n",
        "\netcd_server_version{server_version=\"3.5.30\"} 1\n",
        "\netcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n",
        "\n# TYPE etcd_disk_wal_fsync_duration_seconds histogram\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 1\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 2\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 2\n",
        "\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "\netcd_disk_wal_fsync_duration_seconds_sum 20.0035\n",
        "\netcd_disk_wal_fsync_duration_seconds_count 3\n",
        "\netcd_debugging_lease_ttl_total_bucket{le=\"8.388608e+06\"} 0\n",
        "\netcd_server_apply_duration_seconds_bucket{op=\"Put\",success=\"true\",version=\"v3\","
        "le=\"0.0001\"} 1\n",
        "\ngrpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service="
        "\"etcdserverpb.KV\",grpc_type=\"unary\"} 0\n",
        "\ngrpc_server_started_total{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\","
        "grpc_type=\"bidi_stream\"} 0\n",
    };
    const char *answer;

    (void)state;
    fix.metrics.has_leader = 1;
    fix.metrics.quota_backend_bytes = 2147483648.0;
    fix.metrics.puts = 2;
    fix.metrics.db_size_bytes = 102400;
    fix.metrics.current_revision = 1234567;
    fix.metrics.server_id = 0x8e9e05c52164694d;
    (void)snprintf(fix.metrics.server_version, sizeof(fix.metrics.server_version), "3.5.30");
    metrics_observe(&fix.metrics, METRICS_WAL_FSYNC, 0.0005);
    metrics_observe(&fix.metrics, METRICS_WAL_FSYNC, 0.003);
    metrics_observe(&fix.metrics, METRICS_WAL_FSYNC, 20);
    metrics_observe_apply(&fix.metrics, METRICS_APPLY_PUT, true, 0.00005);
    answer = ask_with("POST", "/metrics", "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (strstr(answer, lines[i]) == NULL)
            fail_msg("no %s in\n%s", lines[i], answer);
    assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8; "
                                   "escaping=underscores\r\n"));
}

static void extensive_metrics(void **state)
{
    const char *labels = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    char wanted[512];

    (void)state;
    metrics_observe_call(&fix.metrics, rpc_row(RPC_KV_Put), 1);
    assert_null(strstr(ask_with("POST", "/metrics", "\r\n"), "grpc_server_handling_seconds"));
    fix.metrics.extensive = true;
    metrics_observe_call(&fix.metrics, rpc_row(RPC_KV_Put), 0.005);
    metrics_observe_call(&fix.metrics, rpc_row(RPC_KV_Put), 0.02);
    metrics_observe_call(&fix.metrics, rpc_row(RPC_KV_Put), 11);
    (void)snprintf(wanted, sizeof(wanted),
                   "\ngrpc_server_handling_seconds_bucket{%s,le=\"0.005\"} 1\n"
                   "grpc_server_handling_seconds_bucket{%s,le=\"0.01\"} 1\n"
                   "grpc_server_handling_seconds_bucket{%s,le=\"0.025\"} 2\n",
                   labels, labels, labels);
    assert_non_null(strstr(ask_with("POST", "/metrics", "\r\n"), wanted));
    (void)snprintf(wanted, sizeof(wanted),
                   "\ngrpc_server_handling_seconds_bucket{%s,le=\"10\"} 2\n"
                   "grpc_server_handling_seconds_bucket{%s,le=\"+Inf\"} 3\n"
                   "grpc_server_handling_seconds_sum{%s} 11.025\n"
                   "grpc_server_handling_seconds_count{%s} 3\n",
                   labels, labels, labels, labels);
    assert_non_null(strstr(ask_with("POST", "/metrics", "\r\n"), wanted));
}

static void api_versions(void **state)
{
    const struct rpc_row *row = rpc_row(RPC_KV_Put);
    char text[32];

    (void)state;
    metrics_call_started(&fix.metrics, row, SLICE_EMPTY);
    metrics_call_started(&fix.metrics, row, SLICE_LITERAL("bad\"label"));
    assert_int_equal(fix.metrics.client_count, 1);
    assert_int_equal(fix.metrics.clients[0].unary, 2);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof(text), "v%d", i);
        metrics_call_started(&fix.metrics, row, slice_text(text));
    }
    assert_int_equal(fix.metrics.client_count, METRICS_API_VERSIONS_MAX);
}

static void peer_leases(void **state)
{
    (void)state;
    use_peer();
    is(ask_with("POST", "/leases", "Content-Length: 2\r\n\r\n\x08\x0b"), 200, "\x10\x0b\x18\x64");
    is(ask_with("POST", "/leases", "Content-Length: 2\r\n\r\n\x08\x0d"), 400,
       "not a primary lessor\n");
    is(ask_with("POST", "/leases", "Content-Length: 2\r\n\r\n\x08\x0e"), 408,
       "waiting for node to catch up its applied index has timed out\n");
    is(ask_with("POST", "/leases", "Content-Length: 0\r\n\r\n"), 404, "lease not found\n");
    is(ask_with("POST", "/leases/internal", "Content-Length: 4\r\n\r\n\x0a\x02\x08\x0d"), 500,
       "not a primary lessor\n");
    is(ask_with("POST", "/leases/internal", "Content-Length: 4\r\n\r\n\x0a\x02\x08\x0f"), 404,
       "lease not found\n");
    assert_non_null(
        ask_with("POST", "/leases/internal", "Content-Length: 6\r\n\r\n\x0a\x04\x08\x0b\x10\x01"));
    assert_memory_equal(fix.link.got.data + fix.link.got.size - 14,
                        "\x0a\x0c\x0a\x00\x10\x0b\x18\x63\x20\x64\x2a\x02\x61\x61", 14);
    (void)ask_with("POST", "/leases", "Content-Length: 2\r\n\r\n\x08\x0c"); /* no answer yet */
    assert_int_equal(fix.leases_cancelled, 0);
    toy_link_close(&fix.link);
    assert_int_equal(fix.leases_cancelled, 1);
    use_peer();
}

static void peer_port(void **state)
{
    (void)state;
    use_peer();
    is(get("/version"), 200, "{\"etcdserver\":\"3.5.30\",\"etcdcluster\":\"3.5.0\"}");
    is(get("/members"), 200,
       "[{\"id\":10601487386321235570,\"peerURLs\":[\"http://127.0.0.1:2380\"],\"name\":"
       "\"default\",\"clientURLs\":[\"http://127.0.0.1:2380\"]},{\"id\":7,\"peerURLs\":"
       "[\"http://127.0.0.1:2380\"],\"isLearner\":true}]\n");
    assert_non_null(strstr(buf_text(&fix.link.got), "X-Etcd-Cluster-Id: 2cb1862b8272ef26\r\n"));
    is(ask_with("POST", "/members", "\r\n"), 405, "Method Not Allowed\n");
    is(get("/members/x"), 404, "404 page not found\n");
    is(ask_with("POST", "/members/promote/12345", "\r\n"), 404, "membership: ID not found\n");
    is(ask_with("POST", "/members/promote/abc", "\r\n"), 404, "member abc not found in cluster\n");
    is(ask_with("POST", "/members/promote/99999999999999999999", "\r\n"), 404,
       "member 99999999999999999999 not found in cluster\n");
    is(get("/members/promote/1"), 405, "Method Not Allowed\n");
    is(ask_with("POST", "/members/promote/7", "\r\n"), 412,
       "etcdserver: can only promote a learner member which is in sync with leader\n");
    is(ask_with("POST", "/members/promote/10601487386321235570", "\r\n"), 412,
       "membership: can only promote a learner member\n");
    is(ask_with("POST", "/members/promote/7", "Authorization: abc.1\r\n\r\n"), 500, "abc.1\n");
    assert_non_null(strstr(ask_with("POST", "/members/promote/8", "\r\n"), "\r\n\r\n[{\"id\":"));
    assert_string_equal(ask_with("POST", "/members/promote/9", "\r\n"), "");
    assert_int_equal(fix.promotions_cancelled, 0);
    use_peer();
    assert_int_equal(fix.promotions_cancelled, 1);
    is(get("/downgrade/enabled"), 200, "false");
    is(get("/raft"), 405, "Method Not Allowed\n");
    is(get("/leases"), 405, "Method Not Allowed\n");
    is(ask_with("POST", "/leases", "Content-Length: 2\r\n\r\n{}"), 400,
       "error unmarshalling request\n");
    is(ask_with("POST", "/leases/internal", "Content-Length: 0\r\n\r\n"), 400,
       "error unmarshalling request\n");
    is(get("/health"), 404, "404 page not found\n");
    is(get("/"), 404, "404 page not found\n");
}

static void peer_hash(void **state)
{
    (void)state;
    use_peer();
    is(ask_with("GET", "/members/hashkv", "Content-Length: 14\r\n\r\n{\"revision\":0}"), 200,
       "{\"header\":{\"revision\":1},\"hash\":1084519789,\"compact_revision\":-1}\n");
    is(ask_with("GET", "/members/hashkv",
                "X-HashKV-Living: ask\r\nContent-Length: 14\r\n\r\n{\"revision\":0}"),
       200,
       "{\"header\":{\"revision\":1},\"hash\":1084519789,\"compact_revision\":-1,\"living\":false,"
       "\"history\":7,\"history_compact_revision\":-1}"
       "\n");
    is(ask_with("GET", "/members/hashkv",
                "X-HashKV-Living: ask\r\nContent-Length: 14\r\n\r\n{\"revision\":3}"),
       200,
       "{\"header\":{\"revision\":1},\"hash\":1084519789,\"compact_revision\":-1,\"living\":true}"
       "\n");
    is(ask_with("GET", "/members/hashkv", "Content-Length: 15\r\n\r\n{\"revision\":99}"), 400,
       "mvcc: required revision is a future revision\n");
    is(get("/members/hashkv"), 400, "error unmarshalling request\n");
    is(ask_with("GET", "/members/hashkv", "Content-Length: 3\r\n\r\n{\"r"), 400,
       "error unmarshalling request\n");
    is(ask_with("GET", "/members/hashkv",
                "X-Etcd-Cluster-ID: 1234\r\nContent-Length: 14\r\n\r\n{\"revision\":0}"),
       412, "cluster ID mismatch\n");
    assert_string_equal(
        ask_with("GET", "/members/hashkv", "Content-Length: 14\r\n\r\n{\"revision\":5}"), "");
    use_peer();
    assert_int_equal(fix.hashes_cancelled, 1);
}

/* Members come and go: each has a row of its own as long as it is there, and what it counted stays
 * until others need the room. */
static void metrics_of_peers(void **state)
{
    static struct metrics metrics;
    struct metrics_peer *first = metrics_peer(&metrics, 1), *second = metrics_peer(&metrics, 2);
    struct metrics_peer *peer;

    (void)state;
    first->sent_bytes = 10;
    second->sent_bytes = 20;
    for (uint64_t id = 3; id < 3 + METRICS_PEERS_MAX - 2; id++) {
        peer = metrics_peer(&metrics, id);
        peer->sent_bytes = id;
        if (id % 2 == 0)
            metrics_peer_left(&metrics, peer);
    }
    assert_ptr_equal(metrics_peer(&metrics, 1), first);
    metrics_peer_left(&metrics, first);
    assert_int_equal(first->links, 1);
    metrics_peer_left(&metrics, second);
    second->sent_images.inflight = 1; /* goes on without the link */
    peer = metrics_peer(&metrics, 1000);
    assert_int_equal(peer->id, 1000);
    assert_int_equal(peer->sent_bytes, 0);
    assert_true(peer != first && peer != second);
    assert_int_equal(metrics_peer(&metrics, 6)->sent_bytes, 6); /* 4 left before it */
    assert_int_equal(metrics_peer(&metrics, 5)->sent_bytes, 5);
    for (uint64_t id = 2000; id < 2200; id++) /* more than there is room for: the newest share */
        peer = metrics_peer(&metrics, id);
    assert_int_equal(metrics.peer_count, METRICS_PEERS_MAX);
    assert_int_equal(first->sent_bytes, 10);
    assert_int_equal(second->sent_bytes, 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(health),           TEST(probes),       TEST(slow_reads),
        TEST(version),          TEST(metrics_text), TEST(extensive_metrics),
        TEST(metrics_of_peers), TEST(peer_port),    TEST(peer_leases),
        TEST(peer_hash),        TEST(api_versions), TEST(peer_port),
        TEST(peer_leases),      TEST(peer_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
