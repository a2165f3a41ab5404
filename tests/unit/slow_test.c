/* slow_test.c - which requests are told to be slow, with which words, and what is never told. */
#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/lock.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/request_text.h"
#include "etcd-server/service/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The host: a clock that the test sets, and the last line. */
static struct {
    struct host host; /* first */
    uint64_t now_ns;
    unsigned lines;
    enum log_level level;
    struct buf line; /* message|field=text|field=number ... */
} fake;
static struct metrics metrics;
static struct slow slow;

static uint64_t now_ms(struct host *host)
{
    (void)host;
    return fake.now_ns / (uint64_t)NS_PER_MS;
}

static uint64_t now_ns(struct host *host)
{
    (void)host;
    return fake.now_ns;
}

static uint64_t unix_ms(struct host *host)
{
    (void)host;
    return UINT64_C(1700000000123);
}

static void note(struct host *host, enum log_level level, const char *message,
                 const struct log_field *fields)
{
    (void)host;
    fake.lines++;
    fake.level = level;
    buf_reset(&fake.line);
    buf_append_text(&fake.line, message);
    for (; fields->kind != LOG_KIND_END; fields++) {
        buf_printf(&fake.line, "|%s=", fields->key);
        if (fields->kind == LOG_KIND_STR)
            buf_append_text(&fake.line, fields->text);
        else
            buf_append_int(&fake.line, (int64_t)fields->number);
    }
}

static int set_up(void **state)
{
    static const struct host_ops ops = {
        .now_ms = now_ms, .now_ns = now_ns, .unix_ms = unix_ms, .note = note};

    (void)state;
    fake.host.ops = &ops;
    fake.now_ns = UINT64_C(5000000000);
    fake.lines = 0;
    fake.line = BUF_INIT(BUF_UNLIMITED);
    metrics = (struct metrics){0};
    slow = (struct slow){.host = &fake.host,
                         .metrics = &metrics,
                         .apply_ns = 100 * NS_PER_MS,
                         .unary_ns = 300 * NS_PER_MS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&fake.line);
    return 0;
}

static char *words(const char *text)
{
    return (char *)(uintptr_t)text; /* only read */
}

static void expect_text(const ProtobufCMessage *message, const char *wanted)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    request_text(message, &out);
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

/* ---- the text of a request ---- */

static void texts_show_keys_and_sizes(void **state)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT,
                          version = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__RequestOp write = ETCDSERVERPB__REQUEST_OP__INIT,
                            read = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__Compare *compares[] = {&compare, &version};
    Etcdserverpb__RequestOp *success[] = {&write, &read}, *failure[] = {&read};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    (void)state;
    put.key = pb_text("a\"\\\n\x01\xff~");
    put.value = pb_text("hidden");
    put.lease = -5;
    put.prev_kv = true;
    expect_text(&put.base, "key:\"a\\\"\\\\\\n\\001\\377~\" value_size:6 lease:-5 prev_kv:true");
    range.key = pb_text("a");
    range.range_end = pb_text("b");
    range.limit = 3;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    expect_text(&range.base, "key:\"a\" range_end:\"b\" limit:3 sort_order:DESCEND");
    compare.key = pb_text("k");
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare.value = pb_text("hidden");
    version.key = pb_text("k");
    version.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    write.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    write.request_put = &put;
    put.key = pb_text("k");
    put.lease = 0;
    put.prev_kv = false;
    read.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &range;
    txn.compare = compares;
    txn.n_compare = 2;
    txn.success = success;
    txn.n_success = 2;
    txn.failure = failure;
    txn.n_failure = 1;
    expect_text(&txn.base,
                "compare:<target:VALUE key:\"k\" value_size:6> compare:<key:\"k\" version:0> "
                "success:<request_put:<key:\"k\" value_size:6>> "
                "success:<request_range:<key:\"a\" range_end:\"b\" limit:3 sort_order:DESCEND>> "
                "failure:<request_range:<key:\"a\" range_end:\"b\" limit:3 sort_order:DESCEND>>");
}

static void texts_show_no_secrets(void **state)
{
    Etcdserverpb__InternalAuthenticateRequest login =
        ETCDSERVERPB__INTERNAL_AUTHENTICATE_REQUEST__INIT;
    Etcdserverpb__AuthUserAddRequest add = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserChangePasswordRequest change =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    Etcdserverpb__AuthenticateRequest call = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;

    (void)state;
    login.name = add.name = change.name = call.name = words("root");
    login.password = add.password = change.password = call.password = words("hidden");
    login.simple_token = add.hashedpassword = change.hashedpassword = words("hidden");
    expect_text(&login.base, "name:\"root\"");
    expect_text(&add.base, "name:\"root\"");
    expect_text(&change.base, "name:\"root\"");
    expect_text(&call.base, "name:\"root\"");
}

static void long_texts_are_cut(void **state)
{
    static char key[100000];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    memset(key, '\1', sizeof(key));
    put.key = (ProtobufCBinaryData){sizeof(key), (uint8_t *)key};
    request_text(&put.base, &out);
    assert_in_range(buf_used(&out), REQUEST_TEXT_MAX_BYTES, REQUEST_TEXT_MAX_BYTES + 16);
    buf_free(&out);
}

/* ---- apply ---- */

static void slow_applies_are_told(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;

    (void)state;
    header.id = 7;
    header.username = words("alice");
    put.key = pb_text("k");
    put.value = pb_text("hidden");
    request.header = &header;
    request.put = &put;
    slow_applied(&slow, &request, ERR_OK, &response.base, 100 * NS_PER_MS);
    assert_int_equal(fake.lines, 0); /* not more than the limit */
    slow_applied(&slow, &request, ERR_OK, &response.base, 100 * NS_PER_MS + 1000);
    assert_int_equal(fake.lines, 1);
    assert_int_equal(fake.level, LOG_WARN);
    assert_string_equal(buf_text(&fake.line),
                        "apply request took too long|took=100.001ms|expected-duration=100ms|"
                        "prefix=|request=header:<ID:7 username:\"alice\"> put:<key:\"k\" "
                        "value_size:6>|response=size:0");
    slow_applied(&slow, &request, ERR_LEASE_NOT_FOUND, NULL, 2 * NS_PER_S);
    assert_non_null(strstr(buf_text(&fake.line), "|took=2s|"));
    assert_non_null(
        strstr(buf_text(&fake.line), "|response=|error=etcdserver: requested lease not found"));
    assert_int_equal(metrics.slow_apply, 2);
    assert_int_equal(metrics.applies[METRICS_APPLY_PUT][1].count, 2);
    assert_int_equal(metrics.applies[METRICS_APPLY_PUT][0].count, 1);
}

/* Quick ones, too; what is compacted already is no failure, and a request that went well
 * is none. */
static void refused_entries_are_told(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    (void)state;
    revoke.id = grant.id = 255;
    grant.ttl = 60;
    put.key = pb_text("k");
    put.value = pb_text("hidden");
    request.put = &put;
    slow_applied(&slow, &request, ERR_OK, NULL, NS_PER_MS);
    slow_applied(&slow, &request, ERR_COMPACTED, NULL, NS_PER_MS);
    assert_int_equal(fake.lines, 0);
    slow_applied(&slow, &request, ERR_LEASE_NOT_FOUND, NULL, NS_PER_MS);
    assert_int_equal(fake.lines, 1);
    assert_int_equal(fake.level, LOG_WARN);
    assert_string_equal(buf_text(&fake.line),
                        "failed to apply request|took=1ms|request=put:<key:\"k\" value_size:6>|"
                        "response=|error=etcdserver: requested lease not found");
    request.put = NULL;
    request.lease_revoke = &revoke;
    slow_applied(&slow, &request, ERR_LEASE_NOT_FOUND, NULL, NS_PER_MS);
    assert_non_null(strstr(buf_text(&fake.line), "|request=lease_revoke:<id:00000000000000ff>|"));
    request.lease_revoke = NULL;
    request.lease_grant = &grant;
    slow_applied(&slow, &request, ERR_LEASE_EXIST, NULL, NS_PER_MS);
    assert_non_null(
        strstr(buf_text(&fake.line), "|request=lease_grant:<ttl:60-second id:00000000000000ff>|"));
    request.lease_grant = NULL;
    request.put = &put;
    for (unsigned i = 3; i < 10 * SLOW_LINES_MAX; i++)
        slow_applied(&slow, &request, ERR_LEASE_NOT_FOUND, NULL, NS_PER_MS);
    assert_int_equal(fake.lines, SLOW_LINES_MAX + 9);
    assert_int_equal(metrics.applies[METRICS_APPLY_PUT][0].count, 10 * SLOW_LINES_MAX - 2);
}

static void compactions_are_measured(void **state)
{
    (void)state;
    slow_measured(&slow, ENGINE_COMPACT_INDEX, 3 * NS_PER_MS / 2);
    slow_measured(&slow, ENGINE_COMPACT_RECORDS, 3 * NS_PER_MS);
    assert_int_equal((int)metrics.compaction_last_s, 0);
    slow_measured(&slow, ENGINE_COMPACTED, 150 * NS_PER_MS);
    assert_int_equal(metrics.histograms[METRICS_INDEX_PAUSE].buckets[2], 1);
    assert_int_equal(metrics.histograms[METRICS_COMPACTION_PAUSE].buckets[2], 1);
    assert_int_equal(metrics.histograms[METRICS_COMPACTION_TOTAL].buckets[1], 1);
    assert_int_equal((int)metrics.compaction_last_s, 1700000000);
}

/* With 0 everything is; of very many in a second a part is told, and all are counted. */
static void many_slow_ones_do_not_fill_the_log(void **state)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;

    (void)state;
    slow.apply_ns = 0;
    for (unsigned i = 0; i < 10 * SLOW_LINES_MAX; i++)
        slow_applied(&slow, &request, ERR_OK, NULL, 1);
    assert_int_equal(fake.lines, SLOW_LINES_MAX + 9);
    assert_int_equal(metrics.slow_apply, 10 * SLOW_LINES_MAX);
    fake.now_ns += (uint64_t)NS_PER_S;
    slow_applied(&slow, &request, ERR_OK, NULL, 1);
    assert_int_equal(fake.lines, SLOW_LINES_MAX + 10);
}

/* ---- calls ---- */

static void end_call(enum rpc_id id, ProtobufCMessage *request, uint64_t took_ms,
                     struct call_end end)
{
    struct call call = {
        .row = rpc_row(id), .request = request, .remote = "10.0.0.1:4711", .began_ns = fake.now_ns};

    fake.now_ns += took_ms * (uint64_t)NS_PER_MS;
    slow_call_ended(&slow, &call, &end);
}

static void slow_calls_are_told(void **state)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse answer = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse deleted = ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    V3lockpb__LockRequest lock = V3LOCKPB__LOCK_REQUEST__INIT;

    (void)state;
    put.key = pb_text("k");
    put.value = pb_text("hidden");
    end_call(RPC_KV_Put, &put.base, 300, (struct call_end){.response = &answer.base});
    assert_int_equal(fake.lines, 0);
    end_call(RPC_KV_Put, &put.base, 301, (struct call_end){.response = &answer.base});
    assert_int_equal(fake.lines, 1);
    assert_int_equal(fake.level, LOG_WARN);
    assert_string_equal(
        buf_text(&fake.line),
        "request stats|start time=2023-11-14T22:13:19.822Z|time spent=301ms|remote=10.0.0.1:4711|"
        "response type=/etcdserverpb.KV/Put|request count=1|request size=11|response count=0|"
        "response size=0|request content=key:\"k\" value_size:6");
    delete.key = pb_text("k");
    deleted.deleted = 12;
    end_call(RPC_KV_DeleteRange, &delete.base, 400, (struct call_end){.response = &deleted.base});
    assert_non_null(strstr(buf_text(&fake.line), "|response count=12|response size=2|"));
    lock.name = pb_text("l");
    end_call(RPC_Lock_Lock, &lock.base, 400, (struct call_end){.code = GRPC_CANCELLED});
    assert_non_null(strstr(buf_text(&fake.line),
                           "|request count=-1|request size=-1|response count=-1|response size=-1|"
                           "request content="));
    fake.lines = 0;
    end_call(RPC_Watch_Watch, NULL, 4000, (struct call_end){0}); /* a stream */
    assert_int_equal(fake.lines, 0);
}

/* A read of keys has both limits; that it waits for its client counts for neither. */
static void slow_reads_are_told(void **state)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

    (void)state;
    range.key = pb_text("a");
    end_call(RPC_KV_Range, &range.base, 200,
             (struct call_end){.bytes = 1000, .key_values = 9, .count = 10});
    assert_int_equal(fake.lines, 1);
    assert_string_equal(buf_text(&fake.line),
                        "apply request took too long|took=200ms|expected-duration=100ms|prefix="
                        "read-only range |request=key:\"a\"|response=range_response_count:9 "
                        "size:1000");
    assert_int_equal(metrics.slow_apply, 1);
    end_call(RPC_KV_Range, &range.base, 10000,
             (struct call_end){.bytes = 1000, .key_values = 9, .count = 10, .waited_ms = 9950});
    assert_int_equal(fake.lines, 1);
    slow.unary_ns = 0; /* all, though its waits, each in whole milliseconds, are longer than it */
    end_call(RPC_KV_Range, &range.base, 10, (struct call_end){.waited_ms = 11});
    assert_int_equal(fake.lines, 2);
    slow.unary_ns = 300 * NS_PER_MS;
    end_call(RPC_KV_Range, &range.base, 400,
             (struct call_end){.bytes = 1000, .key_values = 9, .count = 10});
    assert_int_equal(fake.lines, 4);
    assert_non_null(strstr(buf_text(&fake.line), "|response count=10|response size=1000|"));
    end_call(RPC_KV_Range, &range.base, 200,
             (struct call_end){.code = GRPC_OUT_OF_RANGE, .error = "no such revision"});
    assert_non_null(strstr(buf_text(&fake.line), "|response=|error=no such revision"));
}

static void slow_txns_are_told(void **state)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse found = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op};
    Etcdserverpb__ResponseOp answer = ETCDSERVERPB__RESPONSE_OP__INIT, *answers[] = {&answer};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse response = ETCDSERVERPB__TXN_RESPONSE__INIT;

    (void)state;
    range.key = pb_text("a");
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &range;
    answer.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    answer.response_range = &found;
    txn.success = ops;
    txn.n_success = 1;
    response.responses = answers;
    response.n_responses = 1;
    response.succeeded = true;
    end_call(RPC_KV_Txn, &txn.base, 200, (struct call_end){.response = &response.base});
    assert_int_equal(fake.lines, 1);
    assert_string_equal(buf_text(&fake.line),
                        "apply request took too long|took=200ms|expected-duration=100ms|prefix="
                        "read-only txn |request=success:<request_range:<key:\"a\">>|response="
                        "responses:<range_response_count:0> size:6");
    end_call(RPC_KV_Txn, &txn.base, 301, (struct call_end){.response = &response.base});
    assert_int_equal(fake.lines, 3);
    assert_non_null(strstr(buf_text(&fake.line), "|request count=1|request size=5|"));
    end_call(RPC_KV_Txn, &txn.base, 301, (struct call_end){.code = GRPC_UNAVAILABLE});
    assert_non_null(strstr(buf_text(&fake.line), "|request count=0|request size=0|"));
}

static void with_debug_all_calls_are_told(void **state)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    (void)state;
    slow.all = true;
    end_call(RPC_KV_Put, &put.base, 1, (struct call_end){0});
    assert_int_equal(fake.lines, 1);
    assert_int_equal(fake.level, LOG_DEBUG);
    end_call(RPC_KV_Put, &put.base, 500, (struct call_end){0});
    assert_int_equal(fake.level, LOG_WARN);
}

static void with_extensive_metrics_streams_are_measured(void **state)
{
    (void)state;
    metrics.extensive = true;
    end_call(RPC_Watch_Watch, NULL, 4000, (struct call_end){0});
    assert_int_equal(metrics.handling[RPC_Watch_Watch].count, 1);
    assert_true(metrics.handling[RPC_Watch_Watch].sum == 4.0);
    assert_int_equal(fake.lines, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(texts_show_keys_and_sizes),
        TEST(texts_show_no_secrets),
        TEST(long_texts_are_cut),
        TEST(slow_applies_are_told),
        TEST(many_slow_ones_do_not_fill_the_log),
        TEST(refused_entries_are_told),
        TEST(compactions_are_measured),
        TEST(slow_calls_are_told),
        TEST(slow_reads_are_told),
        TEST(slow_txns_are_told),
        TEST(with_debug_all_calls_are_told),
        TEST(with_extensive_metrics_streams_are_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
