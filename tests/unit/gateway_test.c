/*
 * gateway_test.c - the client port without sockets: routing, metadata, errors, ranges in pieces,
 * streams both ways, deadlines, clients that go, CORS, the host check.
 */
#include "common/base/base64.h"
#include "etcd-server/doors/client.h"
#include "tests/lib/toy_link.h"
#include "tests/lib/toy_service.h"
#include "tests/lib/toy_websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static struct {
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct ops *ops;
    struct client *client;
    struct toy_link link;
} fix;

static void open_link(void)
{
    toy_link_open(&fix.link, client_handler(fix.client));
}

static void open_with(const char *cors, const char *host)
{
    struct door_config gateway_config = toy_door_config(&fix.toy, &fix.metrics);
    struct ops_env env = toy_ops_env(&fix.toy, &fix.metrics);
    struct client_config config = {.cors = &cors, .cors_count = 1, .hosts = &host, .host_count = 1};

    config.gateway = fix.gateway = gateway_new(&gateway_config);
    config.ops = fix.ops = ops_new(&env);
    fix.client = client_new(&config);
    open_link();
}

static int set_up(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof(fix));
    open_with("*", "*");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    toy_link_close(&fix.link);
    client_free(fix.client);
    gateway_free(fix.gateway);
    ops_free(fix.ops);
    assert_int_equal(fix.toy.sources, 0);
    return 0;
}

static void again(const char *cors, const char *host)
{
    tear_down(NULL);
    memset(&fix, 0, sizeof(fix));
    open_with(cors, host);
}

static void ask(const char *method, const char *path, const char *fields, struct slice body)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    toy_link_forget(&fix.link);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: toy:2379\r\n%sContent-Length: %zu\r\n\r\n", method,
               path, fields, body.size);
    buf_append_slice(&text, body);
    toy_link_feed(&fix.link, buf_slice(&text));
    buf_free(&text);
}

static const char *post(const char *path, const char *body)
{
    ask("POST", path, "", slice_text(body));
    return toy_link_answer(&fix.link);
}

static void has(const char *answer, const char *part)
{
    if (strstr(answer, part) == NULL)
        fail_msg("no %s in\n%s", part, answer);
}

static void lacks(const char *answer, const char *part)
{
    if (strstr(answer, part) != NULL)
        fail_msg("%s in\n%s", part, answer);
}

#define PUT "{\"key\":\"YQ==\",\"value\":\"Yg==\"}"
#define HEADER(revision)                                                                           \
    "\"header\":{\"cluster_id\":\"3220502729976901414\",\"member_id\":\"10601487386321235570\","   \
    "\"revision\":\"" revision "\",\"raft_term\":\"2\"}"

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

static size_t count(const char *text, const char *part)
{
    const char *end = text + strlen(text);
    size_t found = 0;

    for (; (text = memmem(text, (size_t)(end - text), part, strlen(part))) != NULL; found++)
        text += strlen(part);
    return found;
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

static void streams(void **state)
{
    const char *answer;

    (void)state;
    answer = post("/v3/maintenance/snapshot", "{}");
    has(answer, "Transfer-Encoding: chunked\r\n");
    has(answer, "{\"result\":{\"remaining_bytes\":\"10\",\"blob\":\"aGVsbG8=\"}}\n");
    has(answer, "{\"result\":{\"blob\":\"aGVsbG8=\"}}\n\r\n0\r\n\r\n");
    has(post("/v3/lease/keepalive", "{\"ID\":1}\n{\"ID\":2} {\"ID\":3}x{}"), "200 OK");
    assert_int_equal(fix.toy.messages, 3);
    assert_true(fix.toy.ended);
    assert_int_equal(count(buf_text(&fix.link.got), "\"result\""), 3);
    has(buf_text(&fix.link.got), "0\r\n\r\n");
    has(post("/v3/lease/keepalive", ""), "Content-Length: 0\r\n");
    has(post("/v3/lease/keepalive", "x"), "HTTP/1.1 400 ");
    has(buf_text(&fix.link.got), "{\"error\":{\"code\":3,\"message\":");
    lacks(buf_text(&fix.link.got), "{\"error\":{\"error\"");
}

static const char *snapshot_as(const char *accept)
{
    char fields[192];

    (void)snprintf(fields, sizeof(fields), "Accept: %s\r\n", accept);
    ask("POST", "/v3/maintenance/snapshot", fields, SLICE_LITERAL("{}"));
    return toy_link_answer(&fix.link);
}

/* Who does not want the bytes, or wants JSON more, gets JSON. */
static void weights(void **state)
{
    static const char octets[] = "application/octet-stream";
    static const struct {
        const char *after; /* the name */
        bool bytes;
    } cases[] = {
        {"", true},
        {";q=1", true},
        {";q=0.001", true},
        {"; Q=0.5;q=1.000", true},
        {";q=0.5, application/json;q=0.5", true},
        {", */*;q=0.9", true},
        {";q=0.2, */*;q=0.1, application/*;q=0.2", true},
        {";q=0.5, */*, application/json;q=0.1", true}, /* the most specific range counts */
        {";q=0", false},
        {";q=0.000", false},
        {" ; x=\"a,b;q=1\\\"\" ;\tq=0", false},
        {";q=0.5, application/json;q=0.6", false},
        {";q=0.5, application/json", false},
        {";q=0.5, application/*", false},
        {";q=0.5, */*;q=0.501", false},
        {";q=2", false},
        {";q=", false},
        {";q=1.001", false},
        {";q=0.1234", false},
        {";q=0x1", false},
        {";q=0\r\nAccept: */*", false}, /* two fields are one list */
        {";q=0.4\r\naccept: application/json;q=0.7", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char accept[160];
        const char *answer;

        (void)snprintf(accept, sizeof(accept), "%s%s", octets, cases[i].after);
        answer = snapshot_as(accept);
        if ((strstr(answer, "hellohellohello") != NULL) != cases[i].bytes)
            fail_msg("Accept: %s\n%s", accept, answer);
        again("*", "*");
    }
}

static void bare_bytes(void **state)
{
    const char *answer;

    (void)state;
    has(snapshot_as("*/*"), "Transfer-Encoding: chunked\r\n");
    has(snapshot_as("application/octet-streams, x/application/octet-stream"), "\"blob\"");
    answer = snapshot_as("text/plain;q=0.1 ,\tapplication/Octet-Stream ;q=1, application/json");
    has(answer, "HTTP/1.1 200 OK\r\n");
    has(answer, "Content-Type: application/octet-stream\r\n");
    has(answer, "Content-Length: 47\r\n"); /* 15, and a hash, which the toy does not send ... */
    lacks(answer, "Transfer-Encoding");
    has(answer, "\r\n\r\nhellohellohello");
    assert_true(fix.link.link.close); /* ... so the client sees that it is cut */
    again("*", "*");
    ask("POST", "/v3/maintenance/snapshot", "Accept: application/octet-stream\r\nTE: trailers\r\n",
        SLICE_LITERAL("{}"));
    answer = toy_link_answer(&fix.link);
    has(answer, "Trailer: Content-Digest\r\nSnapshot-Length: 47\r\n");
    has(answer, "Transfer-Encoding: chunked\r\n");
    lacks(answer, "Content-Length");
    has(answer, "\r\n5\r\nhello\r\n5\r\nhello\r\n5\r\nhello\r\n"
                "0\r\ncontent-digest: crc32c=:EFRgBA==:\r\n\r\n");
    assert_false(fix.link.link.close);
    ask("POST", "/v3/kv/put", "Accept: application/octet-stream\r\n", slice_text(PUT));
    has(toy_link_answer(&fix.link), "Content-Type: application/json\r\n");
    ask("POST", "/v3/maintenance/snapshot", "Accept: application/octet-stream\r\n",
        SLICE_LITERAL("x"));
    has(toy_link_answer(&fix.link), "HTTP/1.1 400 ");
    has(toy_link_answer(&fix.link), "Content-Type: application/json\r\n");
}

static void watches(void **state)
{
    (void)state;
    has(post("/v3/watch", "{\"create_request\":{\"key\":\"YQ==\"}} junk"),
        "{\"result\":{\"created\":true}}\n");
    lacks(buf_text(&fix.link.got), "\r\n0\r\n\r\n"); /* stays open */
    assert_true(fix.toy.ended);
    fix.link.door.drain(&fix.link.link); /* until the server stops */
    has(toy_link_answer(&fix.link), "{\"error\":{\"code\":14,");
    has(toy_link_answer(&fix.link), "\r\n0\r\n\r\n");
    assert_int_equal(fix.toy.cancelled, 1);
    toy_link_close(&fix.link);
    open_link();
    has(post("/v3/watch", "nonsense"), "HTTP/1.1 400 ");
    assert_string_equal(post("/v3/watch", ""), ""); /* silent */
}

#define CHUNKED "POST %s HTTP/1.1\r\nHost: toy\r\nTransfer-Encoding: chunked\r\n\r\n"

static void begin_stream(const char *path)
{
    char head[200];

    toy_link_forget(&fix.link);
    (void)snprintf(head, sizeof(head), CHUNKED, path);
    toy_link_text(&fix.link, head);
    assert_string_equal(toy_link_answer(&fix.link), "");
}

/* One more piece of the body; what is answered to it. */
static const char *more(const char *text)
{
    char size[20];

    toy_link_forget(&fix.link);
    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(text));
    toy_link_text(&fix.link, size);
    toy_link_text(&fix.link, text);
    toy_link_text(&fix.link, "\r\n");
    return toy_link_answer(&fix.link);
}

static void streamed_bodies(void **state)
{
    (void)state;
    begin_stream("/v3/watch");
    has(more("{\"create_request\":{}}"), "\r\n\r\n1c\r\n{\"result\":{\"created\":true}}\n\r\n");
    assert_string_equal(more("\n{\"create_requ"), ""); /* is no message yet */
    assert_string_equal(more("est\":{}}{}"), "1c\r\n{\"result\":{\"created\":true}}\n\r\n"
                                             "1c\r\n{\"result\":{\"created\":true}}\n\r\n");
    assert_int_equal(fix.toy.messages, 3);
    assert_int_equal(fix.link.link.phase, LINK_OPEN); /* it may take as long as it likes */
    toy_link_forget(&fix.link);
    toy_link_text(&fix.link, "0\r\n\r\n");
    assert_string_equal(toy_link_answer(&fix.link), "");
    assert_true(fix.toy.ended && !fix.link.link.close && fix.toy.cancelled == 0);
    fix.link.door.ended(&fix.link.link); /* the client goes */
    assert_int_equal(fix.toy.cancelled, 1);
    toy_link_close(&fix.link);
    open_link();
    begin_stream("/v3/lease/keepalive");
    has(more("{\"ID\":7}"), "{\"result\":{\"ID\":\"1\"}}\n");
    has(more("{\"ID\":7}"), "{\"result\":{\"ID\":\"2\"}}\n");
    toy_link_forget(&fix.link);
    toy_link_text(&fix.link, "0\r\n\r\n");
    assert_string_equal(toy_link_answer(&fix.link), "0\r\n\r\n");
    has(post("/v3/kv/put", PUT), " 200 OK"); /* the connection lives on */
    begin_stream("/v3/watch");
    has(more("{\"create_request\":{}}{}"), "result");
    fix.link.door.ended(&fix.link.link); /* the client goes in the middle of its body */
    assert_int_equal(fix.toy.cancelled, 2);
    toy_link_close(&fix.link);
    open_link();
}

static void streamed_bodies_that_are_wrong(void **state)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    begin_stream("/v3/watch");
    assert_string_equal(more("nons"), ""); /* a word ends at a blank */
    has(more("ense "), "HTTP/1.1 400 ");
    assert_true(fix.link.link.close);
    toy_link_close(&fix.link);
    open_link();
    begin_stream("/v3/lease/keepalive"); /* behind a message it is the client's end */
    has(more("{\"ID\":7} nonsense {\"ID\":7}"), "0\r\n\r\n");
    assert_int_equal(fix.toy.messages, 1);
    toy_link_close(&fix.link);
    open_link();
    begin_stream("/v3/watch");
    has(more("{\"create_request\":{}}"), "result");
    toy_link_text(&fix.link, "no chunk\r\n");
    assert_int_equal(fix.toy.cancelled, 1);
    assert_true(fix.link.link.close);
    toy_link_close(&fix.link);
    open_link();
    begin_stream("/v3/watch"); /* a message without end is not kept without end */
    buf_append_text(&text, "{\"create_request\":{\"key\":\"");
    for (size_t i = 0; i < 1 * MIB; i++)
        buf_append_byte(&text, 'A');
    for (size_t i = 0; i < 2 * JSON_BODY_MAX_BYTES / MIB && !fix.link.link.close; i++)
        (void)more(buf_text(&text));
    has(buf_text(&fix.link.got), "HTTP/1.1 429 ");
    assert_true(fix.link.link.close);
    buf_free(&text);
}

/* ---- WebSocket ---- */

static const char *upgrade(const char *path, const char *fields)
{
    toy_link_close(&fix.link);
    open_link();
    toy_link_text(&fix.link, "GET ");
    toy_link_text(&fix.link, path);
    toy_link_text(&fix.link, TOY_UPGRADE);
    toy_link_text(&fix.link, fields);
    toy_link_text(&fix.link, "\r\n");
    return toy_link_answer(&fix.link);
}

static const char *say(unsigned first, const char *text)
{
    struct buf frame = BUF_INIT(BUF_UNLIMITED);

    toy_link_forget(&fix.link);
    toy_frame(&frame, first, slice_text(text));
    toy_link_feed(&fix.link, buf_slice(&frame));
    buf_free(&frame);
    return toy_link_answer(&fix.link);
}

#define CREATED "\x81\x1b{\"result\":{\"created\":true}}"
#define CLOSED "\x88\x02\x03\xe8"

/* Frames hold zeros: how often are these bytes among what was sent? */
static size_t frames_with(struct slice part)
{
    struct slice got = buf_slice(&fix.link.got);
    size_t found = 0;

    for (size_t at = 0; at + part.size <= got.size; at++)
        found += memcmp(got.data + at, part.data, part.size) == 0;
    return found;
}

static void websockets(void **state)
{
    (void)state;
    assert_string_equal(upgrade("/v3/watch", "Sec-WebSocket-Protocol: Bearer, to.ken\r\n"),
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                        "Sec-WebSocket-Protocol: Bearer\r\n\r\n");
    assert_string_equal(say(0x81, "{\"create_request\":{}}"), CREATED);
    assert_string_equal(fix.toy.token, "to.ken");
    assert_string_equal(say(0x82, "{} {}"), CREATED CREATED);
    assert_string_equal(say(0x01, "{\"create_req"), "");
    assert_string_equal(say(0x89, "hi"), "\x8a\x02hi");
    assert_string_equal(say(0x80, "uest\":{}}"), CREATED);
    assert_string_equal(say(0x88, "\x03\xe8"
                                  "bye"),
                        CLOSED);
    assert_true(fix.link.link.close && fix.toy.cancelled == 1);
    has(upgrade("/v3beta/watch", ""), " 101 ");
    assert_string_equal(say(0x81, "{}"), CREATED);
    fix.link.door.ended(&fix.link.link); /* gone without a word */
    assert_int_equal(fix.toy.cancelled, 2);
    has(upgrade("/v3/watch", ""), " 101 ");
    assert_string_equal(say(0x81, "{}"), CREATED);
    has(say(0xc1, "{}"), "\x88\x2a\x03\xea"
                         "RSV bits");
    assert_true(fix.link.link.close && fix.toy.cancelled == 3);
    has(upgrade("/v3/watch", ""), " 101 "); /* the server stops */
    assert_string_equal(say(0x81, "{}"), CREATED);
    toy_link_forget(&fix.link);
    fix.link.door.drain(&fix.link.link);
    has(toy_link_answer(&fix.link), "{\"error\":{\"code\":14,");
    has(buf_text(&fix.link.got), CLOSED);
}

static void websockets_of_one_message(void **state)
{
    (void)state;
    (void)upgrade("/v3/kv/put", "Grpc-Metadata-Token: t\r\n");
    (void)say(0x81, PUT);
    assert_int_equal(frames_with(SLICE_LITERAL("{" HEADER("1") "}" CLOSED)), 1);
    assert_true(fix.link.link.close);
    (void)upgrade("/v3/kv/range", "");
    (void)say(0x81, "{\"key\":\"bjoyOjM=\"}");
    assert_int_equal(frames_with(SLICE_LITERAL("\x81\x7e\0")), 1);
    assert_int_equal(frames_with(SLICE_LITERAL("\"more\":true}" CLOSED)), 1);
    (void)upgrade("/v3/kv/range", ""); /* a message in several frames */
    (void)say(0x81, "{\"key\":\"bjo1MDoxMDAwMDA=\"}");
    assert_true(frames_with(SLICE_LITERAL("\0\x7f")) > 2);
    assert_int_equal(frames_with(SLICE_LITERAL("],\"more\":true}\x80\0" CLOSED)), 1);
    (void)upgrade("/v3/maintenance/snapshot", "Accept: application/octet-stream\r\n");
    (void)say(0x81, "{}");
    assert_int_equal(frames_with(SLICE_LITERAL("{\"result\":{")), 3);
    assert_int_equal(frames_with(SLICE_LITERAL("}}" CLOSED)), 1);
    (void)upgrade("/v3/watch", "");
    has(say(0x81, "nonsense"), "{\"error\":{\"code\":3,");
    assert_true(fix.link.link.close);
    has(upgrade("/v3/nope", ""), "{\"error\":\"Not Found\",\"code\":5,");
    (void)upgrade("/v3/lock/lock", "");
    assert_string_equal(say(0x81, "{}"), "");
    assert_string_equal(say(0x81, "{}"), ""); /* not looked at */
    toy_link_close(&fix.link);
    open_link();
}

static void websockets_that_are_refused(void **state)
{
    (void)state;
    ask("GET", "/v3/watch", "Connection: Upgrade\r\nUpgrade: websocket\r\n", SLICE_EMPTY);
    has(toy_link_answer(&fix.link), "HTTP/1.1 400 ");
    has(buf_text(&fix.link.got), "Sec-WebSocket-Version: 13\r\n");
    toy_link_close(&fix.link);
    open_link();
    ask("GET", "/v3/watch", "Connection: Upgrade\r\nUpgrade: h2c\r\n", SLICE_EMPTY);
    has(toy_link_answer(&fix.link), "HTTP/1.1 501 ");
    has(upgrade("/version", ""), "HTTP/1.1 200 ");
    has(upgrade("/v3/watch", "Origin: http://any.test\r\n"), " 101 ");
    again("http://good.test", "*");
    has(upgrade("/v3/watch", "Origin: http://bad.test\r\n"), "HTTP/1.1 501 ");
    has(upgrade("/v3/watch", "Origin: http://good.test\r\n"), " 101 ");
    has(upgrade("/v3/watch", ""), " 101 "); /* no browser */
    again("*", "good.test");
    has(upgrade("/v3/watch", ""), "HTTP/1.1 421 ");
}

/* Who asks and does not read, or sends more than is wanted, is not read any more. */
static void websockets_that_flood(void **state)
{
    struct buf pings = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    (void)upgrade("/v3/watch", "");
    for (size_t i = 0; i < 10000; i++)
        toy_frame(&pings, 0x89,
                  SLICE_LITERAL("a ping that has a hundred bytes would do as well, "
                                "and so does this one of some more bytes"));
    toy_link_feed(&fix.link, buf_slice(&pings));
    assert_true(buf_used(&fix.link.link.out) < HTTP_OUT_HIGH_BYTES + KIB);
    assert_true(buf_used(&fix.link.pending) != 0);
    assert_int_equal(count(toy_link_answer(&fix.link), "\x8a"), 10000); /* when it reads */
    assert_int_equal(buf_used(&fix.link.pending), 0);
    buf_free(&pings);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(unary),
        TEST(routing),
        TEST(errors),
        TEST(metadata),
        TEST(binary_metadata),
        TEST(deadlines),
        TEST(client_goes),
        TEST(answered_later),
        TEST(ranges),
        TEST(streams),
        TEST(watches),
        TEST(too_large),
        TEST(cors_and_hosts),
        TEST(streamed_bodies),
        TEST(streamed_bodies_that_are_wrong),
        TEST(websockets),
        TEST(websockets_of_one_message),
        TEST(websockets_that_are_refused),
        TEST(websockets_that_flood),
        TEST(weights),
        TEST(bare_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
