/*
 * gateway_test.c - the client port without sockets: routing, metadata, errors, ranges in pieces,
 * deadlines, clients that go, bodies too large, CORS, the host check.
 */
#include "common/base/base64.h"
#include "tests/lib/gateway_fixture.h"

static void unary(void **state)
{
    const char *answer;

    (void)state;
    answer = post("/v3/kv/put", PUT);
    has(answer, "HTTP/1.1 200 OK\r\n");
    has(answer, "Content-Type: application/json\r\n");
    has(answer, "Grpc-Metadata-Content-Type: application/grpc\r\n");
    has(answer, "Access-Control-Allow-Origin: *\r\n");
    has(answer, "\r\n\r\n{" HEADER("1") "}");
    has(post("/v3beta/kv/put?x=y", PUT), "{" HEADER("2") "}");
    has(post("/v3/kv/pu%74", PUT " nonsense"), "{" HEADER("3") "}");
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].started, 3);
    has(post("/v3/kv/put", "nonsense"), "HTTP/1.1 400 "); /* does not come to gRPC, in etcd */
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].started, 3);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_OK], 3);
    assert_string_equal(fix.metrics.clients[0].version, "unknown");
    for (size_t i = 0; i < RPC_COUNT; i++) /* every path is served */
        if (rpc_row((enum rpc_id)i)->path != NULL && rpc_row((enum rpc_id)i)->kind == RPC_UNARY &&
            i != RPC_Lock_Lock && i != RPC_KV_Range)
            has(post(rpc_row((enum rpc_id)i)->path, "{}"), "HTTP/1.1 200 OK");
}

static void routing(void **state)
{
    static const struct {
        const char *method, *path, *status, *part;
    } rows[] = {
        {"GET", "/v3/kv/range", "501", "\"code\":12,\"message\":\"Method Not Allowed\"}"},
        {"PATCH", "/v3/kv/range?x", "501", "\"code\":12"},
        {"POST", "/v3/kv/get", "404", "\"code\":5,\"message\":\"Not Found\"}"},
        {"GET", "/v3/", "404", "application/json"},
        {"POST", "/v3/kv/put/", "404", "\"code\":5"},
        {"POST", "/v3/KV/Put", "404", "\"code\":5"},
        {"POST", "/v3beta/kv/none", "404", "\"code\":5"},
        {"POST", "/v3alpha/kv/put", "404", "404 page not found\n"},
        {"GET", "/", "404", "404 page not found\n"},
        {"POST", "/etcdserverpb.KV/Range", "404", "text/plain; charset=utf-8"},
        {"POST", "/v3//kv/put", "301", "Location: /v3/kv/put\r\n"},
        {"GET", "/v3", "301", "<a href=\"/v3/\">Moved Permanently</a>.\n\n"},
        {"GET", "/a/../health?q=1", "301", "Location: /health?q=1\r\n"},
        {"GET", "/a/./b/", "301", "Location: /a/b/\r\n"},
        {"GET", "/%zz", "400", "two hex digits"},
        {"GET", "/%00%0d%0a", "404", "404 page not found"},
        {"GET", "//%0d%0aSet-Cookie:x", "404", "404 page not found"},
        {"OPTIONS", "/nothing", "200", "Content-Length: 0\r\n"},
        {"POST", "*", "400", "OPTIONS only"},
        {"OPTIONS", "*", "200", "Content-Length: 0\r\n"},
    };
    char status[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask(rows[i].method, rows[i].path, "", SLICE_EMPTY);
        (void)snprintf(status, sizeof(status), "HTTP/1.1 %s ", rows[i].status);
        has(toy_link_answer(&fix.link), status);
        has(buf_text(&fix.link.got), rows[i].part);
        has(buf_text(&fix.link.got), "Access-Control-Allow-Origin: *\r\n");
    }
}

static void errors(void **state)
{
    const char *answer;

    (void)state;
    answer = post("/v3/kv/range", "{\"key\":\"YQ==\"}");
    has(answer, "HTTP/1.1 400 Bad Request");
    has(answer, "{\"error\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11,"
                "\"message\":\"etcdserver: mvcc: required revision has been compacted\"}");
    has(post("/v3/kv/range", ""), "etcdserver: key is not provided");
    has(post("/v3/kv/range", " \n "), "etcdserver: key is not provided");
    has(post("/v3/kv/range", "{"), "HTTP/1.1 400");
    has(post("/v3/kv/range", "[]"), "\"code\":3");
    has(post("/v3/kv/range", "{\"key\":\"\xff\xfe\"}"), "\"code\":3");
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Range].handled[GRPC_OUT_OF_RANGE], 1);
}

static void metadata(void **state)
{
    (void)state;
    ask("POST", "/v3/kv/put", "Authorization: abc\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), " 200 ");
    assert_string_equal(fix.toy.token, "abc");
    ask("POST", "/v3/kv/put",
        "Authorization: abc\r\nGRPC-Metadata-Token: def\r\ngrpc-metadata-HasLeader: true\r\n"
        "Grpc-Metadata-Client-Api-Version: 3.5.1\r\nGrpc-Timeout: 5S\r\n",
        slice_text(PUT));
    has(toy_link_answer(&fix.link), " 200 ");
    assert_string_equal(fix.toy.token, "def");
    assert_true(fix.toy.require_leader);
    assert_string_equal(fix.metrics.clients[1].version, "3.5.1");
    assert_int_equal(fix.link.link.wake_ms, 0);
    ask("POST", "/v3/kv/put", "Authorization:\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), " 200 ");
    assert_string_equal(fix.toy.token, "");
    ask("POST", "/v3/kv/put", "", slice_text(PUT));
    has(toy_link_answer(&fix.link), " 200 ");
    assert_null(fix.toy.token);
}

static void binary_metadata(void **state)
{
    (void)state;
    ask("POST", "/v3/kv/put", "Grpc-Metadata-Foo-Bin: AA\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), "HTTP/1.1 200 ");
    ask("POST", "/v3/kv/put", "grpc-metadata-foo-bin: !\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), "HTTP/1.1 400 ");
    has(buf_text(&fix.link.got), "\"code\":3,\"message\":\"invalid binary header ");
}

static void deadlines(void **state)
{
    static const char *const bad[] = {"soon", "5",  "S",   "+S",
                                      "--1S", "1s", "1 S", "1234567890123456789S"};
    static const char *const none[] = {"", "0S", "-0n", "+0m", "123456789012345678S"};
    static const char *const over[] = {"-1S", "1n", "+1n"};
    char fields[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(fields, sizeof(fields), "Grpc-Timeout: %s\r\n", bad[i]);
        ask("POST", "/v3/kv/put", fields, slice_text(PUT));
        has(toy_link_answer(&fix.link), "HTTP/1.1 400 ");
        has(buf_text(&fix.link.got), "invalid grpc-timeout");
    }
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        (void)snprintf(fields, sizeof(fields), "Grpc-Timeout: %s\r\n", none[i]);
        ask("POST", "/v3/kv/put", fields, slice_text(PUT));
        has(toy_link_answer(&fix.link), "HTTP/1.1 200 ");
    }
    for (size_t i = 0; i < ARRAY_LEN(over); i++) {
        (void)snprintf(fields, sizeof(fields), "Grpc-Timeout: %s\r\n", over[i]);
        ask("POST", "/v3/kv/put", fields, slice_text(PUT));
        has(toy_link_answer(&fix.link), "HTTP/1.1 504 ");
    }
    ask("POST", "/v3/kv/put", "Grpc-Timeout: -1S\r\n", SLICE_LITERAL("[]"));
    has(toy_link_answer(&fix.link), "HTTP/1.1 400 "); /* the body is looked at first */
    ask("POST", "/v3/watch", "Grpc-Timeout: -1S\r\n", SLICE_LITERAL("[]"));
    has(toy_link_answer(&fix.link), "HTTP/1.1 504 ");
    ask("POST", "/v3/watch", "Grpc-Timeout: 1x\r\n", SLICE_LITERAL("{}"));
    has(toy_link_answer(&fix.link), "\r\n\r\n{\"error\":\"invalid grpc-timeout: 1x\",\"code\":3,");
    ask("POST", "/v3/lock/lock", "Grpc-Timeout: 300m\r\n", SLICE_LITERAL("{}"));
    assert_string_equal(toy_link_answer(&fix.link), "");
    toy_link_at(&fix.link, 1299);
    assert_string_equal(toy_link_answer(&fix.link), "");
    toy_link_at(&fix.link, 1300);
    has(toy_link_answer(&fix.link), "HTTP/1.1 504 Gateway Timeout");
    has(toy_link_answer(&fix.link), "\"code\":4,\"message\":\"context deadline exceeded\"}");
    assert_int_equal(fix.toy.cancelled, 1);
    has(post("/v3/kv/put", PUT), " 200 "); /* the connection goes on */
}

static void client_goes(void **state)
{
    (void)state;
    ask("POST", "/v3/lock/lock", "", SLICE_LITERAL("{}"));
    toy_link_close(&fix.link);
    assert_int_equal(fix.toy.cancelled, 1);
    open_link();
    has(post("/v3/kv/put", PUT), " 200 ");
}

static void answered_later(void **state)
{
    struct call *held;

    (void)state;
    fix.toy.hold = true;
    ask("POST", "/v3/kv/put", "", slice_text(PUT));
    assert_string_equal(toy_link_answer(&fix.link), "");
    held = fix.toy.held;
    toy_put(&fix.toy, held);
    has(toy_link_answer(&fix.link), "{" HEADER("1") "}");
}

static void ask_range(const char *key)
{
    struct buf body = BUF_INIT(BUF_UNLIMITED);

    buf_append_text(&body, "{\"key\":\"");
    assert_true(base64_encode(slice_text(key), &body));
    buf_append_text(&body, "\"}");
    ask("POST", "/v3/kv/range", "", buf_slice(&body));
    buf_free(&body);
}

static void ranges(void **state)
{
    const char *answer;

    (void)state;
    ask_range("n:2:1");
    answer = toy_link_answer(&fix.link);
    has(answer, "Content-Length: ");
    has(answer, "\"raft_term\":\"2\"},\"kvs\":[{");
    has(answer, "],\"more\":true}");
    assert_int_equal(count(answer, "\"key\":\"YQ==\""), 2);
    ask_range("n:0:1");
    has(toy_link_answer(&fix.link), ",\"more\":true}");
    ask_range("n:20000:1000");          /* 28 MB of JSON */
    assert_true(fix.toy.pulled < 1000); /* nobody has read yet: little was produced */
    assert_true(buf_used(&fix.link.link.out) < HTTP_OUT_HIGH_BYTES + 2 * RANGE_CHUNK_BYTES);
    assert_true(fix.link.link.holds_view);
    answer = toy_link_answer(&fix.link);
    has(answer, "Transfer-Encoding: chunked\r\n");
    assert_int_equal(count(answer, "\"key\":\"YQ==\""), 20000);
    has(answer, "],\"more\":true}\r\n0\r\n\r\n");
    assert_int_equal(fix.toy.sources, 0);
    assert_false(fix.link.link.holds_view);
    ask_range("n:20000:1000"); /* the client goes in the middle */
    toy_link_close(&fix.link);
    assert_int_equal(fix.toy.sources, 0);
    open_link();
}

static void too_large(void **state)
{
    size_t bytes = 2200000 / 3 * 4;
    struct buf body = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    buf_append_text(&body, "{\"key\":\"YQ==\",\"value\":\"");
    for (size_t i = 0; i < bytes; i++)
        buf_append_byte(&body, 'A');
    buf_append_text(&body, "\"}");
    ask("POST", "/v3/kv/put", "", buf_slice(&body));
    has(toy_link_answer(&fix.link), "HTTP/1.1 429 ");
    has(toy_link_answer(&fix.link), "grpc: received message larger than max (22000");
    assert_false(fix.link.link.close);
    buf_free(&body);
    toy_link_forget(&fix.link);
    toy_link_text(&fix.link,
                  "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    has(toy_link_answer(&fix.link), "(99999999 vs. 2097152)");
    assert_true(fix.link.link.close);
}

static void cors_and_hosts(void **state)
{
    (void)state;
    again("http://good.test:8080", "*");
    ask("OPTIONS", "/v3/kv/put", "", SLICE_EMPTY);
    lacks(toy_link_answer(&fix.link), "Access-Control");
    ask("POST", "/v3/kv/put", "Origin: http://good.test:8080\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), "Access-Control-Allow-Origin: http://good.test:8080\r\n");
    ask("POST", "/v3/kv/put", "Origin: http://bad.test\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), " 200 ");
    lacks(toy_link_answer(&fix.link), "Access-Control");
    again("*", "good.test");
    ask("OPTIONS", "/v3/kv/put", "", SLICE_EMPTY);
    has(toy_link_answer(&fix.link), "HTTP/1.1 421 Misdirected Request\r\n");
    has(toy_link_answer(&fix.link), "\r\n\r\n\netcd received your request, but the Host header "
                                    "was unrecognized.");
    again("*", "toy");
    has(post("/v3/kv/put", PUT), " 200 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unary),           TEST(routing),   TEST(errors),         TEST(metadata),
        TEST(binary_metadata), TEST(deadlines), TEST(client_goes),    TEST(answered_later),
        TEST(ranges),          TEST(too_large), TEST(cors_and_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
