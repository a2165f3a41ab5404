/*
 * http2_test.c - the client port in HTTP/2 without sockets: both framings on one port, the gateway,
 * gRPC statuses, compression, deadlines, streams, flow control, stopping, and a dozen floods.
 */
#include "common/schema/pbjson.h"
#include "etcd-server/doors/client.h"
#include "etcd-server/doors/grpc.h"
#include "tests/lib/h2_client.h"
#include "tests/lib/toy_service.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <zlib.h>

#define KV "/etcdserverpb.KV/"
#define PUT_BYTES                                                                                  \
    "\x0a\x01"                                                                                     \
    "a"                                                                                            \
    "\x12\x01"                                                                                     \
    "b"
static const struct slice put_ab = SLICE_LITERAL(PUT_BYTES);

static struct {
    struct toy toy;
    struct metrics metrics;
    struct gateway *gateway;
    struct grpc *grpc;
    struct ops *ops;
    struct client *client;
    struct toy_link link;
    struct h2_client h2;
} fix;

static int set_up_with(int32_t window_bytes)
{
    struct gateway_config config;
    struct grpc_config grpc;
    struct ops_env env;
    struct client_config client = {.cors_count = 0};

    memset(&fix, 0, sizeof(fix));
    config = toy_gateway_config(&fix.toy, &fix.metrics);
    grpc = (struct grpc_config){.service = config.service,
                                .start = config.start,
                                .cancel = config.cancel,
                                .metrics = &fix.metrics,
                                .max_message_bytes = config.max_message_bytes};
    env = toy_ops_env(&fix.toy, &fix.metrics);
    client.gateway = fix.gateway = gateway_new(&config);
    client.ops = fix.ops = ops_new(&env);
    fix.grpc = grpc_new(&grpc);
    fix.client = client_new(&client);
    toy_port_open(&fix.link, client_handler(fix.client), grpc_handler(fix.grpc));
    h2_open(&fix.h2, &fix.link, window_bytes);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_with(65535);
}

static int tear_down(void **state)
{
    (void)state;
    h2_close(&fix.h2);
    toy_link_close(&fix.link);
    client_free(fix.client);
    gateway_free(fix.gateway);
    grpc_free(fix.grpc);
    ops_free(fix.ops);
    assert_int_equal(fix.toy.sources, 0);
    return 0;
}

static void has(struct h2_call *call, const char *line)
{
    if (!h2_has(call, line))
        fail_msg("no %s in\n%s", line, buf_text(&call->head));
}

static struct h2_call *grpc(const char *path, struct slice message)
{
    struct h2_call *call = h2_grpc(&fix.h2, path, NULL, NULL, message, true);

    h2_run(&fix.h2);
    assert_true(call->closed);
    return call;
}

static void http1_on_the_same_port(void **state)
{
    const char *answer;

    (void)state;
    toy_link_text(&fix.link, "P"); /* as the preface begins */
    toy_link_text(&fix.link, "OST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    answer = toy_link_answer(&fix.link);
    assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
}

static void gateway_and_ops(void **state)
{
    struct h2_call *put, *version, *missing, *large;
    struct buf body = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    put = h2_ask(&fix.h2, "POST", "/v3/kv/put?x=y", "application/json", NULL, NULL,
                 SLICE_LITERAL("{\"key\":\"YQ==\"}"), true);
    version = h2_ask(&fix.h2, "GET", "/version", "text/plain", NULL, NULL, SLICE_EMPTY, true);
    missing = h2_ask(&fix.h2, "GET", "/nothing", "text/plain", NULL, NULL, SLICE_EMPTY, true);
    for (size_t i = 0; i <= JSON_BODY_MAX_BYTES / 16; i++)
        buf_append_text(&body, "[0123456789abcd]");
    large = h2_ask(&fix.h2, "POST", "/v3/kv/put", "application/json", NULL, NULL, buf_slice(&body),
                   true);
    buf_free(&body);
    h2_run_in_pieces(&fix.h2, 1000);
    has(put, ":status: 200\n");
    has(put, "content-type: application/json\n");
    assert_non_null(strstr(buf_text(&put->body), "\"revision\":\"1\""));
    assert_non_null(strstr(buf_text(&version->body), "3.5.30"));
    has(missing, ":status: 404\n");
    has(large, ":status: 429\n");
}

static void gateway_bodies(void **state)
{
    struct h2_call *call = h2_ask(&fix.h2, "POST", "/v3/watch", "application/json", NULL, NULL,
                                  SLICE_LITERAL("{\"create_request\":{}}{"), false);

    (void)state;
    h2_run(&fix.h2);
    has(call, ":status: 200\n"); /* though the body goes on */
    assert_string_equal(buf_text(&call->body), "{\"result\":{\"created\":true}}\n");
    buf_reset(&call->body);
    h2_more(&fix.h2, call, SLICE_LITERAL("}\n{}"), true);
    h2_run_in_pieces(&fix.h2, 1);
    assert_string_equal(buf_text(&call->body), "{\"result\":{\"created\":true}}\n"
                                               "{\"result\":{\"created\":true}}\n");
    assert_true(fix.toy.ended && !call->closed && fix.toy.cancelled == 0);
    (void)nghttp2_submit_rst_stream(fix.h2.session, 0, call->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.cancelled, 1);
    call = h2_ask(&fix.h2, "POST", "/v3/watch", "application/json", NULL, NULL,
                  SLICE_LITERAL("nonsense "), false);
    h2_run(&fix.h2);
    has(call, ":status: 400\n");
    assert_true(call->closed);
}

static void unary(void **state)
{
    struct h2_call *call = grpc(KV "Put", put_ab);

    (void)state;
    has(call, ":status: 200\ncontent-type: application/grpc\n");
    has(call, "grpc-status: 0\n");
    assert_int_equal(call->heads, 2);
    assert_int_equal(call->body.data[0], 0);
    assert_int_equal(call->body.data[4], buf_used(&call->body) - 5);
    assert_int_equal(fix.toy.revision, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].started, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].received, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].sent, 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_OK], 1);
}

static void byte_by_byte(void **state)
{
    struct h2_call *call;

    (void)state;
    call = h2_grpc(&fix.h2, KV "Put", "token", "secret", put_ab, true);
    h2_run_in_pieces(&fix.h2, 1);
    has(call, "grpc-status: 0\n");
    assert_string_equal(fix.toy.token, "secret");
    call = h2_grpc(&fix.h2, KV "Put", "authorization", "other", put_ab, false);
    h2_run_in_pieces(&fix.h2, 1);
    assert_false(call->closed);
    h2_more(&fix.h2, call, SLICE_EMPTY, true); /* the end in a frame of its own */
    h2_run_in_pieces(&fix.h2, 1);
    has(call, "grpc-status: 0\n");
    assert_string_equal(fix.toy.token, "other");
    call = h2_grpc(&fix.h2, KV "Put", "hasleader", "true", put_ab, true);
    h2_run(&fix.h2);
    assert_true(fix.toy.require_leader);
}

static void refused(const char *path, struct slice body, const char *header, const char *value,
                    const char *status)
{
    struct h2_call *call =
        h2_ask(&fix.h2, "POST", path, "application/grpc+proto", header, value, body, true);

    h2_run(&fix.h2);
    has(call, status);
    assert_int_equal(call->heads, 1); /* trailers only */
    assert_int_equal(buf_used(&call->body), 0);
    assert_true(call->closed);
}

static void statuses(void **state)
{
    static const uint8_t large[] = {0, 0, 0x20, 0, 1};
    static const struct slice put = SLICE_LITERAL("\0\0\0\0\6" PUT_BYTES);
    struct buf deep = BUF_INIT(BUF_UNLIMITED), message = BUF_INIT(BUF_UNLIMITED);
    struct h2_call *call;

    (void)state;
    refused(
        KV "Range", SLICE_LITERAL("\0\0\0\0\3\x0a\1x"), NULL, NULL,
        "grpc-status: 11\ngrpc-message: etcdserver: mvcc: required revision has been compacted\n");
    refused(KV "Range", SLICE_LITERAL("\0\0\0\0\0"), NULL, NULL, "grpc-status: 3\n");
    refused(KV "Nope", put, NULL, NULL,
            "grpc-status: 12\ngrpc-message: unknown method Nope for service etcdserverpb.KV\n");
    refused("/a.B%25\xc3\xa9/c", put, NULL, NULL, "grpc-message: unknown service a.B%25");
    refused("/x", put, NULL, NULL, "grpc-message: malformed method name: \"/x\"\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0\0\2\x0a\5"), NULL, NULL,
            "grpc-status: 13\ngrpc-message: grpc: error unmarshalling request: ");
    refused(KV "Put", SLICE_EMPTY, NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0"), NULL, NULL, "grpc-message: unexpected EOF\n");
    refused(KV "Put", SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0"), NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", SLICE_LITERAL("\1\0\0\0\0"), NULL, NULL,
            "grpc: compressed flag set with identity or empty encoding\n");
    refused(KV "Put", SLICE_LITERAL("\7\0\0\0\0"), NULL, NULL, "grpc-status: 13\n");
    refused(KV "Put", put, "grpc-encoding", "snappy", "grpc-status: 12\n");
    refused(KV "Put", put, "grpc-timeout", "soon", "malformed grpc-timeout: \"soon\"\n");
    refused(KV "Put", put, "grpc-timeout", "0S", "grpc-status: 4\n");
    refused(KV "Put", slice_of(large, sizeof(large)), NULL, NULL,
            "grpc-status: 8\ngrpc-message: grpc: received message larger than max (2097153 vs. "
            "2097152)\n");
    for (int i = 0; i < 400; i++) { /* txn in success in txn ... */
        buf_reset(&message);
        buf_append_slice(&message, buf_slice(&deep));
        buf_reset(&deep);
        if (buf_used(&message) + 8 > 127 * 127)
            break;
        buf_append_byte(&deep, 0x12); /* success: RequestOp */
        size_t inner = buf_used(&message) + (buf_used(&message) > 127 ? 3 : 2);
        if (inner > 127)
            buf_append_byte(&deep, (uint8_t)(inner | 0x80));
        buf_append_byte(&deep, (uint8_t)(inner > 127 ? inner >> 7 : inner));
        buf_append_byte(&deep, 0x22); /* request_txn */
        if (buf_used(&message) > 127)
            buf_append_byte(&deep, (uint8_t)(buf_used(&message) | 0x80));
        buf_append_byte(&deep, (uint8_t)(buf_used(&message) > 127 ? buf_used(&message) >> 7
                                                                  : buf_used(&message)));
        buf_append_slice(&deep, buf_slice(&message));
    }
    call = grpc(KV "Txn", buf_slice(&deep));
    has(call, "grpc-status: 13\n");
    buf_free(&deep);
    buf_free(&message);
}

#define HEAD_MAX 8
struct head {
    const char *lines[HEAD_MAX][2]; /* up to the first without a name */
};
#define POST_KV                                                                                    \
    {":method", "POST"}, {":scheme", "http"},                                                      \
    {                                                                                              \
        ":path", "/v3/kv/put"                                                                      \
    }
#define TO_TOY                                                                                     \
    {                                                                                              \
        ":authority", "toy"                                                                        \
    }

/* A request of two bytes with that head: what the server says of its stream. */
static struct h2_call *with_head(const struct head *head)
{
    struct h2_call *call = &fix.h2.calls[fix.h2.call_count++];
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = h2_read_request};
    nghttp2_nv nv[HEAD_MAX];
    size_t count = 0;

    *call = (struct h2_call){.request_ended = true,
                             .request = BUF_INIT(BUF_UNLIMITED),
                             .head = BUF_INIT(BUF_UNLIMITED),
                             .body = BUF_INIT(BUF_UNLIMITED)};
    buf_append_text(&call->request, "{}");
    for (; count < HEAD_MAX && head->lines[count][0] != NULL; count++) {
        nv[count] = h2_nv(head->lines[count][0], head->lines[count][1]);
        nv[count].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME; /* else it is made lower case */
    }
    call->id = nghttp2_submit_request(fix.h2.session, NULL, nv, count, &provider, call);
    h2_run(&fix.h2);
    return call;
}

/* RFC 9113 8.2 and 8.3; what of it nghttp2 would refuse is not what gRPC servers do. */
static void heads(void **state)
{
    static const struct head good[] = {
        {{POST_KV, TO_TOY}},
        {{POST_KV, {":authority", "http://127.0.0.1:2379"}}}, /* etcd's Go client 3.4 */
        {{POST_KV, {":authority", "unix:///a b?"}}},
        {{POST_KV, {":authority", ""}}},
        {{POST_KV, {"host", "http://toy/"}}},
        {{POST_KV, TO_TOY, {"te", "Trailers"}, {"content-length", "2"}}},
        {{POST_KV, TO_TOY, {"b@d", "ignored"}, {"x", "ignored\n"}, {"x", "1"}, {"x", "2"}}},
    };
    static const struct head bad[] = {
        {{{":method", "POST"}, {":scheme", "http"}, TO_TOY}},
        {{{":method", "POST"}, {":path", "/"}, TO_TOY}},
        {{{":path", "/"}, {":scheme", "http"}, TO_TOY}},
        {{POST_KV}},
        {{POST_KV, TO_TOY, TO_TOY}},
        {{POST_KV, {":method", "POST"}, TO_TOY}},
        {{POST_KV, {":scheme", "http"}, TO_TOY}},
        {{POST_KV, {":path", "/"}, TO_TOY}},
        {{POST_KV, {":authority", "a\nb"}}},
        {{POST_KV, TO_TOY, {":status", "200"}}},
        {{POST_KV, TO_TOY, {":protocol", "websocket"}}},
        {{POST_KV, {"x", "1"}, TO_TOY}},
        {{{":method", "PO ST"}, {":scheme", "http"}, {":path", "/"}, TO_TOY}},
        {{{":method", "POST"}, {":scheme", "1http"}, {":path", "/"}, TO_TOY}},
        {{{":method", "POST"}, {":scheme", ""}, {":path", "/"}, TO_TOY}},
        {{{":method", "POST"}, {":scheme", "http"}, {":path", ""}, TO_TOY}},
        {{{":method", "POST"}, {":scheme", "http"}, {":path", "v3"}, TO_TOY}},
        {{{":method", "POST"}, {":scheme", "http"}, {":path", "/ HTTP/1.1"}, TO_TOY}},
        {{POST_KV, TO_TOY, {"Upper", "1"}}},
        {{POST_KV, TO_TOY, {"te", "gzip"}}},
        {{POST_KV, TO_TOY, {"connection", "close"}}},
        {{POST_KV, TO_TOY, {"keep-alive", "1"}}},
        {{POST_KV, TO_TOY, {"upgrade", "h2c"}}},
        {{POST_KV, TO_TOY, {"proxy-connection", "close"}}},
        {{POST_KV, TO_TOY, {"transfer-encoding", "chunked"}}},
        {{POST_KV, TO_TOY, {"host", "a"}, {"host", "a"}}},
        {{POST_KV, TO_TOY, {"content-length", "2"}, {"content-length", "2"}}},
        {{POST_KV, TO_TOY, {"content-length", ""}}},
        {{POST_KV, TO_TOY, {"content-length", "+2"}}},
        {{POST_KV, TO_TOY, {"content-length", "1"}}},
        {{POST_KV, TO_TOY, {"content-length", "3"}}},
        {{POST_KV, TO_TOY, {"content-length", "9999999999999999999"}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!h2_has(with_head(&good[i]), ":status: "))
            fail_msg("good head %zu is refused", i);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct h2_call *call = with_head(&bad[i]);

        if (!call->closed || call->error != NGHTTP2_PROTOCOL_ERROR || buf_used(&call->head) != 0)
            fail_msg("bad head %zu: closed %d, error %u", i, call->closed, call->error);
    }
    assert_int_equal(fix.h2.goaways, 0); /* only the streams end */
    has(grpc(KV "Put", put_ab), "grpc-status: 0\n");
}

/* Is an RST_STREAM for a malformed request among these frames? */
static bool has_reset(struct slice frames)
{
    static const uint8_t reset[] = {0, 0, 4, NGHTTP2_RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 1};

    return memmem(frames.data, frames.size, reset, sizeof(reset)) != NULL;
}

/* Of trailers nothing is kept, but they end the request, or the stream is reset. */
static void trailers(void **state)
{
    static const struct {
        const char *name;
        uint8_t flags;
        bool good;
    } cases[] = {
        {"x", NGHTTP2_FLAG_END_STREAM, true},      {"x", 0, false},
        {":path", NGHTTP2_FLAG_END_STREAM, false}, {"te", NGHTTP2_FLAG_END_STREAM, false},
        {"X", NGHTTP2_FLAG_END_STREAM, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf bytes = BUF_INIT(BUF_UNLIMITED), head = BUF_INIT(BUF_UNLIMITED);
        struct toy_link link;

        toy_port_open(&link, client_handler(fix.client), grpc_handler(fix.grpc));
        h2_preface(&bytes);
        h2_put_head(&head, KV "Put");
        h2_frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, buf_slice(&head));
        h2_frame(&bytes, NGHTTP2_DATA, 0, 1, SLICE_LITERAL("\0\0\0\0\6" PUT_BYTES));
        buf_reset(&head);
        buf_printf(&head, "%c%c%s%c%s", 0x10, (int)strlen(cases[i].name), cases[i].name, 1, "/");
        h2_frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | cases[i].flags, 1,
                 buf_slice(&head));
        toy_link_feed(&link, buf_slice(&bytes));
        (void)toy_link_answer(&link);
        if (has_reset(buf_slice(&link.got)) == cases[i].good)
            fail_msg("trailers with %s, case %zu", cases[i].name, i);
        toy_link_close(&link);
        buf_free(&bytes);
        buf_free(&head);
    }
}

static void gzip(void **state)
{
    uint8_t packed[128], unpacked[256];
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    z_stream stream = {0};
    struct h2_call *call;

    (void)state;
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, 0), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)put_ab.data;
    stream.avail_in = (unsigned)put_ab.size;
    stream.next_out = packed;
    stream.avail_out = sizeof(packed);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    h2_put_message(&body, slice_of(packed, stream.total_out), true);
    (void)deflateEnd(&stream);
    call = h2_ask(&fix.h2, "POST", KV "Put", "application/grpc", "grpc-encoding", "gzip",
                  buf_slice(&body), true);
    h2_run(&fix.h2);
    has(call, "grpc-encoding: gzip\n");
    has(call, "grpc-status: 0\n");
    assert_int_equal(call->body.data[0], 1);
    stream = (z_stream){.next_in = call->body.data + 5,
                        .avail_in = (unsigned)buf_used(&call->body) - 5,
                        .next_out = unpacked,
                        .avail_out = sizeof(unpacked)};
    assert_int_equal(inflateInit2(&stream, 31), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)inflateEnd(&stream);
    body.data[body.size - 9] ^= 1;
    call = h2_ask(&fix.h2, "POST", KV "Put", "application/grpc", "grpc-encoding", "gzip",
                  buf_slice(&body), true);
    h2_run(&fix.h2);
    has(call, "grpc-status: 13\ngrpc-message: grpc: failed to decompress");
    buf_free(&body);
}

static void deadline_and_cancel(void **state)
{
    struct h2_call *late, *reset;

    (void)state;
    fix.toy.hold = true;
    late = h2_grpc(&fix.h2, KV "Put", "grpc-timeout", "100m", put_ab, true);
    h2_run(&fix.h2);
    reset = h2_grpc(&fix.h2, KV "Put", NULL, NULL, put_ab, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.cancelled, 0);
    nghttp2_submit_rst_stream(fix.h2.session, 0, reset->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.cancelled, 1);
    toy_link_at(&fix.link, 1099);
    h2_run(&fix.h2);
    assert_false(late->closed);
    toy_link_at(&fix.link, 1100);
    h2_run(&fix.h2);
    has(late, "grpc-status: 4\ngrpc-message: context deadline exceeded\n");
    assert_int_equal(fix.toy.cancelled, 2);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_CANCELLED], 1);
    assert_int_equal(fix.metrics.rpcs[RPC_KV_Put].handled[GRPC_DEADLINE_EXCEEDED], 1);
}

static void streams(void **state)
{
    static const struct slice create = SLICE_LITERAL("\0\0\0\0\2\x0a\0");
    struct h2_call *watch, *alive, *snapshot;

    (void)state;
    snapshot = grpc("/etcdserverpb.Maintenance/Snapshot", SLICE_EMPTY);
    has(snapshot, "grpc-status: 0\n");
    assert_int_equal(buf_used(&snapshot->body),
                     3 * 5 + 3 * 7 + 2 * 2); /* remaining_bytes 0 is left out */
    alive = h2_grpc(&fix.h2, "/etcdserverpb.Lease/LeaseKeepAlive", NULL, NULL, SLICE_EMPTY, false);
    h2_run(&fix.h2);
    for (int i = 0; i < 100; i++)
        h2_more(&fix.h2, alive, SLICE_LITERAL("\0\0\0\0\0"), i == 99);
    h2_run_in_pieces(&fix.h2, 7);
    has(alive, "grpc-status: 0\n");
    assert_int_equal(fix.toy.messages, 101);
    watch = h2_ask(&fix.h2, "POST", "/etcdserverpb.Watch/Watch", "application/grpc", NULL, NULL,
                   SLICE_EMPTY, false);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.messages, 101);
    h2_more(&fix.h2, watch, create, false);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.messages, 1);
    assert_int_equal(buf_used(&watch->body), 7);
    h2_more(&fix.h2, watch, SLICE_LITERAL("\0\0\0"), true);
    h2_run(&fix.h2);
    has(watch, "grpc-status: 13\ngrpc-message: unexpected EOF\n");
}

/* Read on as the client opens its windows, until the call is closed. */
static void read_slowly(struct h2_call *call)
{
    size_t bytes = 0;

    fix.h2.hold_window = false;
    while (!call->closed) {
        size_t fresh = buf_used(&call->body) - bytes;

        assert_true(fresh != 0 || bytes == 0);
        (void)nghttp2_session_consume(fix.h2.session, call->id, fresh);
        (void)nghttp2_session_consume_connection(fix.h2.session, 65535);
        bytes = buf_used(&call->body);
        h2_run(&fix.h2);
    }
    has(call, "grpc-status: 0\n");
    bytes = (size_t)call->body.data[1] << 24 | (size_t)call->body.data[2] << 16 |
            (size_t)call->body.data[3] << 8 | call->body.data[4];
    assert_int_equal(bytes, buf_used(&call->body) - 5);
}

/* A range's 8 MiB are pulled only as the client opens its window; then all of it is there. */
static void pull_range(struct slice request, size_t keys, size_t pulls)
{
    struct h2_call *call;
    Etcdserverpb__RangeResponse *answer;

    fix.toy.pulled = 0;
    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    assert_true(call->deferred || !call->closed);
    assert_true(fix.toy.pulled >= keys && buf_used(&fix.link.link.out) < MIB);
    read_slowly(call);
    assert_true(buf_used(&call->body) > keys * 9999);
    answer =
        etcdserverpb__range_response__unpack(NULL, buf_used(&call->body) - 5, call->body.data + 5);
    assert_non_null(answer);
    assert_int_equal(answer->n_kvs, keys);
    assert_int_equal(answer->more, 1);
    etcdserverpb__range_response__free_unpacked(answer, NULL);
    assert_int_equal(fix.toy.pulled, pulls);
    assert_int_equal(fix.toy.sources, 0);
}

static void large_range(void **state)
{
    static const struct slice request = SLICE_LITERAL("\x0a\x0an:800:9999");
    struct h2_call *call;

    (void)state;
    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, SLICE_LITERAL("\x0a\x09n:50:1000"), true);
    h2_run(&fix.h2);
    assert_true(call->closed);
    pull_range(request, 800, 1600); /* looked at twice */
    pull_range(SLICE_LITERAL("\x0a\x0an:801:9999"), 801, 801);

    fix.h2.hold_window = true;
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    nghttp2_submit_rst_stream(fix.h2.session, 0, call->id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 0);
    call = h2_grpc(&fix.h2, KV "Range", "grpc-timeout", "100m", request, true);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    toy_link_at(&fix.link, 1100);
    h2_run(&fix.h2);
    assert_true(call->closed);
    assert_int_equal(fix.toy.sources, 0);
    call = h2_grpc(&fix.h2, KV "Range", NULL, NULL, request, true);
    h2_run(&fix.h2);
    toy_link_at(&fix.link, 1100 + WRITE_STALL_TIMEOUT_MS - 1);
    h2_run(&fix.h2);
    assert_int_equal(fix.toy.sources, 1);
    toy_link_at(&fix.link, 1100 + WRITE_STALL_TIMEOUT_MS); /* nothing was read */
    h2_run(&fix.h2);
    assert_true(call->closed);
    assert_int_equal(fix.toy.sources, 0);
}

static const uint8_t zeros[HTTP2_LENT_LEAST_BYTES];

/* ---- uploads: windows open as there is room for what comes through them ---- */

/* A put of a value of `bytes`, of which `sent` go out now; the last ones end the call. */
static struct h2_call *upload_part(size_t bytes, size_t sent)
{
    bool whole = sent == bytes;
    struct buf message = BUF_INIT(BUF_UNLIMITED), body = BUF_INIT(BUF_UNLIMITED);
    uint8_t front[1 + PB_VARINT_MAX], *room;
    struct h2_call *call;

    room = buf_reserve(&message, bytes);
    memset(room, 'x', bytes);
    buf_advance(&message, bytes);
    buf_append_byte(&body, 0);
    buf_append_byte(&body, 0);
    bytes += (size_t)(pb_put_header(front, 1, bytes) - front);
    for (int shift = 16; shift >= 0; shift -= 8)
        buf_append_byte(&body, (uint8_t)(bytes >> shift));
    buf_append(&body, front, bytes - buf_used(&message));
    buf_append_slice(&body, slice_of(message.data, sent));
    call =
        h2_ask(&fix.h2, "POST", KV "Put", "application/grpc", NULL, NULL, buf_slice(&body), whole);
    buf_free(&message);
    buf_free(&body);
    return call;
}

static struct h2_call *upload(size_t bytes, bool whole)
{
    return upload_part(bytes, whole ? bytes : bytes / 2);
}

/* The client sends all it may, then gets what the server has to say to that. */
static bool round_trip(void)
{
    struct buf sent = BUF_INIT(BUF_UNLIMITED);
    const uint8_t *data;
    ssize_t size;
    bool moved;

    while ((size = nghttp2_session_mem_send(fix.h2.session, &data)) > 0)
        buf_append(&sent, data, (size_t)size);
    moved = buf_used(&sent) != 0;
    toy_link_feed(&fix.link, buf_slice(&sent));
    while (toy_link_turn(&fix.link))
        continue;
    moved |= buf_used(&fix.link.got) != 0;
    (void)nghttp2_session_mem_recv(fix.h2.session, buf_slice(&fix.link.got).data,
                                   buf_used(&fix.link.got));
    toy_link_forget(&fix.link);
    buf_free(&sent);
    return moved;
}

static unsigned trips(const struct h2_call *call)
{
    unsigned count = 0;

    while (!call->closed && round_trip())
        count++;
    assert_true(call->closed);
    return count;
}

/* How often a put waits for the other side: as in etcd, whose window is 64 KiB in the beginning. */
static void round_trips(void **state)
{
    (void)state;
    assert_int_equal(trips(upload(100, true)), 1); /* before our settings are known */
    h2_run(&fix.h2);
    assert_int_equal(trips(upload(20000, true)), 1);
    assert_int_equal(trips(upload(64 * KIB, true)), 1);
    assert_int_equal(trips(upload(1500000, true)), 2); /* it is lent the rest */
    for (size_t i = 0; i < 200; i++)                   /* many at once: the window is made narrow */
        (void)upload_part(20000, 10000);
    h2_run(&fix.h2);
    assert_int_equal(trips(upload(20000, true)), 2);
    for (size_t i = 0; i < fix.h2.call_count; i++)
        if (!fix.h2.calls[i].closed)
            (void)nghttp2_submit_rst_stream(fix.h2.session, 0, fix.h2.calls[i].id, NGHTTP2_CANCEL);
    h2_run(&fix.h2);
    toy_link_at(&fix.link, 1000 + HTTP2_WINDOW_KEEP_MS);
    (void)trips(upload(100, true)); /* and wide again after a while */
    h2_run(&fix.h2);
    assert_int_equal(trips(upload(64 * KIB, true)), 1);
}

/* 200 MB at once on one connection, a frame of each in turn: all are served, in bounded memory. */
static void uploads(void **state)
{
    size_t before, most = 0;

    (void)state;
    h2_run(&fix.h2); /* settings are known */
    for (size_t i = 0; i < 500; i++)
        (void)upload(400000, true);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (bool moved = true; moved;) {
        size_t now;

        moved = h2_step(&fix.h2, 4096);
        now = mallinfo2().uordblks + mallinfo2().hblkhd;
        most = now > before ? MAX(most, now - before) : most;
    }
    for (size_t i = 0; i < 500; i++) {
        assert_true(fix.h2.calls[i].closed);
        assert_int_equal(fix.h2.calls[i].error, NGHTTP2_NO_ERROR);
        has(&fix.h2.calls[i], "grpc-status: 0\n");
    }
    assert_int_equal(fix.toy.revision, 500);
    if (most > 80 * MIB)
        fail_msg("grew by %zu KiB", most / KIB);
}

static void at(uint64_t now_ms)
{
    toy_link_at(&fix.link, now_ms);
    h2_run(&fix.h2);
}

static void noted(const char *line)
{
    if (strstr(buf_text(&fix.link.notes), line) == NULL)
        fail_msg("no \"%s\" in\n%s", line, buf_text(&fix.link.notes));
}

static void all_answered(struct h2_call *const *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(calls[i]->closed);
        assert_int_equal(calls[i]->error, NGHTTP2_NO_ERROR);
        has(calls[i], "grpc-status: 0\n");
    }
}

/* Hundreds that were begun and send no more: nobody else waits for that, and in the end they go. */
static void stalled_uploads(void **state)
{
    struct h2_call *stalled[300], *whole[20], *lone;

    (void)state;
    h2_run(&fix.h2);
    for (size_t i = 0; i < 300; i++)
        stalled[i] = upload_part(2 * MIB - 10, i % 2 * 20000);
    h2_run(&fix.h2);
    for (size_t i = 0; i < 20; i++)
        whole[i] = upload(300000, true);
    h2_run(&fix.h2);
    all_answered(whole, 20);
    at(1000 + HTTP2_LENT_STALL_MS - 1);
    for (size_t i = 0; i < 300; i++)
        assert_false(stalled[i]->closed);
    at(1000 + HTTP2_LENT_STALL_MS);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(stalled[i]->error, stalled[i]->closed ? NGHTTP2_REFUSED_STREAM : 0);
    noted("reset requests of which nothing came while others waited: 150 streams, for 10 s\n");
    at(1000 + BODY_TIMEOUT_MS); /* those that hold nothing */
    for (size_t i = 0; i < 300; i++)
        assert_true(stalled[i]->closed);
    lone = upload(100, false);
    h2_run(&fix.h2);
    at(1000 + 2 * BODY_TIMEOUT_MS - 1);
    assert_false(lone->closed);
    at(1000 + 2 * BODY_TIMEOUT_MS);
    assert_true(lone->closed);
    noted("reset requests of which nothing came: 1 streams, for 60 s\n");
}

/*
 * They sent 20 MB, all that there is for those who wait, and then nothing: once they are gone the
 * others are served, and who sends slowly stays.
 */
static void stalled_in_force(void **state)
{
    struct h2_call *stalled[40], *whole[20], *slow;
    uint64_t now_ms = 1000;

    (void)state;
    h2_run(&fix.h2);
    slow = upload_part(2 * MIB - 10, 60000);
    h2_run(&fix.h2);
    for (size_t i = 0; i < 40; i++)
        stalled[i] = upload_part(2 * MIB - 10, 500000);
    h2_run(&fix.h2);
    for (size_t i = 0; i < 20; i++)
        whole[i] = upload(300000, true);
    h2_run(&fix.h2);
    assert_false(whole[0]->closed);
    for (size_t i = 0; i < 20; i++) {
        while (!whole[i]->closed) {
            now_ms += HTTP2_LENT_STALL_MS / 2;
            h2_more(&fix.h2, slow, slice_of(zeros, HTTP2_LENT_LEAST_BYTES), false);
            h2_run(&fix.h2);
            at(now_ms);
            assert_true(now_ms <= 1000 + 3 * HTTP2_LENT_STALL_MS);
        }
    }
    all_answered(whole, 20);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(stalled[i]->error, stalled[i]->closed ? NGHTTP2_REFUSED_STREAM : 0);
    assert_false(slow->closed);
}

static struct h2_call *unsure_body(size_t bytes, bool ended)
{
    struct buf body = BUF_INIT(BUF_UNLIMITED);
    struct h2_call *call;

    buf_append_text(&body, "{\"key\":\"YQ==\"");
    while (buf_used(&body) < bytes)
        buf_append_byte(&body, ' ');
    buf_append_text(&body, ended ? "}" : " ");
    call = h2_ask(&fix.h2, "POST", "/v3/kv/put", "application/json", NULL, NULL, buf_slice(&body),
                  ended);
    buf_free(&body);
    return call;
}

/* Nobody knows how long such a body becomes: it holds what came of it, and a little more. */
static void bodies_of_unknown_length(void **state)
{
    struct h2_call *drips[3], *whole[20], *bodies[100];
    size_t before, most = 0;

    (void)state;
    h2_run(&fix.h2);
    for (size_t i = 0; i < 3; i++)
        drips[i] = unsure_body(100000, false);
    h2_run(&fix.h2);
    for (size_t i = 0; i < 20; i++)
        whole[i] = upload(1500000, true);
    h2_run(&fix.h2);
    all_answered(whole, 20);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (size_t i = 0; i < 100; i++) /* in all more than there is room for */
        bodies[i] = unsure_body(MIB, true);
    before += 100 * MIB; /* the requests themselves */
    while (h2_step(&fix.h2, 4096))
        most = MAX(most, mallinfo2().uordblks + mallinfo2().hblkhd);
    for (size_t i = 0; i < 100; i++)
        has(bodies[i], ":status: 200\n");
    if (most > before + 80 * MIB)
        fail_msg("grew by %zu KiB", (most - before) / KIB);
    for (size_t i = 0; i < 3; i++) {
        assert_false(drips[i]->closed);
        h2_more(&fix.h2, drips[i], SLICE_LITERAL("}"), true);
    }
    h2_run(&fix.h2);
    for (size_t i = 0; i < 3; i++)
        has(drips[i], ":status: 200\n");
}

/* Large messages one behind the other: what each was lent comes back, whatever the pieces. */
/* One message after the other, each when the one before has its answer: wherever the first leaves
 * the window, the second is let in. */
static void messages_after_messages(void **state)
{
    static const size_t sizes[] = {4,     2000,  7000,  8180,  8184,  8192,  9000,
                                   12000, 16300, 16370, 16380, 16384, 17000, 40000};
    const size_t count = ARRAY_LEN(sizes);

    (void)state;
    for (size_t i = 0; i < count * count; i++) {
        struct h2_call *watch = h2_ask(&fix.h2, "POST", "/etcdserverpb.Watch/Watch",
                                       "application/grpc", NULL, NULL, SLICE_EMPTY, false);

        for (size_t turn = 0; turn < 4; turn++) {
            size_t bytes = turn % 2 == 0 ? sizes[i / count] : sizes[i % count];
            uint8_t front[2 * (1 + PB_VARINT_MAX)], *end;
            struct buf message = BUF_INIT(BUF_UNLIMITED), frame = BUF_INIT(BUF_UNLIMITED);

            end = pb_put_header(front, 1, pb_bytes_field_bytes(bytes)); /* create_request { key } */
            end = pb_put_header(end, 1, bytes);
            buf_append(&message, front, (size_t)(end - front));
            for (size_t j = 0; j < bytes; j++)
                buf_append_byte(&message, 'x');
            h2_put_message(&frame, buf_slice(&message), false);
            h2_more(&fix.h2, watch, buf_slice(&frame), false);
            h2_run(&fix.h2);
            assert_int_equal(buf_used(&watch->body), (turn + 1) * 7);
            buf_free(&frame);
            buf_free(&message);
        }
        assert_int_equal(
            nghttp2_submit_rst_stream(fix.h2.session, NGHTTP2_FLAG_NONE, watch->id, NGHTTP2_CANCEL),
            0);
        h2_run(&fix.h2);
    }
}

static void large_messages(void **state)
{
    struct buf message = BUF_INIT(BUF_UNLIMITED), json = BUF_INIT(BUF_UNLIMITED);
    uint8_t front[2 * (1 + PB_VARINT_MAX)], *end;
    struct h2_call *watch, *lines;
    size_t sizes[] = {300000, 1, 20000, 16384, 1000000, 8190, 16379, 12000, 40000, 2};

    (void)state;
    watch = h2_ask(&fix.h2, "POST", "/etcdserverpb.Watch/Watch", "application/grpc", NULL, NULL,
                   SLICE_EMPTY, false);
    lines =
        h2_ask(&fix.h2, "POST", "/v3/watch", "application/json", NULL, NULL, SLICE_EMPTY, false);
    h2_run(&fix.h2);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf frame = BUF_INIT(BUF_UNLIMITED);
        size_t bytes = sizes[i] / 4 * 4, inner = pb_bytes_field_bytes(bytes);

        buf_reset(&message);
        end = pb_put_header(front, 1, inner); /* create_request { key } */
        end = pb_put_header(end, 1, bytes);
        buf_append(&message, front, (size_t)(end - front));
        buf_reset(&json);
        buf_append_text(&json, "{\"create_request\":{\"key\":\"");
        for (size_t j = 0; j < bytes; j++) {
            buf_append_byte(&message, 'x');
            buf_append_byte(&json, 'x');
        }
        buf_append_text(&json, "\"}}\n");
        h2_put_message(&frame, buf_slice(&message), false);
        h2_more(&fix.h2, watch, buf_slice(&frame), false);
        h2_more(&fix.h2, lines, buf_slice(&json), false);
        buf_free(&frame);
        if (i % 3 == 0)
            h2_run_in_pieces(&fix.h2, 1 + i * 1000);
    }
    h2_run(&fix.h2);
    assert_int_equal(buf_used(&watch->body), ARRAY_LEN(sizes) * 7);
    assert_int_equal(buf_used(&lines->body), ARRAY_LEN(sizes) * 28);
    at(1000 + BODY_TIMEOUT_MS * 10); /* both may rest */
    assert_false(watch->closed || lines->closed);
    h2_more(&fix.h2, watch, SLICE_LITERAL("\0\0\x7f\0\0x"), false);
    h2_run(&fix.h2);
    at(1000 + BODY_TIMEOUT_MS * 30); /* but not within a message of that kind */
    assert_true(watch->closed);
    assert_false(lines->closed);
    buf_free(&message);
    buf_free(&json);
}

/* An answer of which the client reads nothing ends, that of a view when it reads little; a watch
 * may wait for its reader. */
static void unread_answers(void **state)
{
    struct h2_call *snapshot, *alone, *lines, *range, *watch, *alive;
    (void)state;

    tear_down(NULL);
    set_up_with(0);
    fix.h2.hold_window = true;
    snapshot =
        h2_grpc(&fix.h2, "/etcdserverpb.Maintenance/Snapshot", NULL, NULL, SLICE_EMPTY, true);
    alone = h2_grpc(&fix.h2, KV "Put", NULL, NULL, put_ab, true);
    lines = h2_ask(&fix.h2, "POST", "/v3/kv/range", "application/json", NULL, NULL,
                   SLICE_LITERAL("{\"key\":\"bjo4MDA6OTk5OQ==\"}"), true); /* n:800:9999 */
    range = h2_grpc(&fix.h2, KV "Range", NULL, NULL, SLICE_LITERAL("\x0a\x0an:800:9999"), true);
    watch = h2_grpc(&fix.h2, "/etcdserverpb.Watch/Watch", NULL, NULL, SLICE_EMPTY, false);
    alive = h2_ask(&fix.h2, "POST", "/v3/watch", "application/json", NULL, NULL,
                   SLICE_LITERAL("{\"create_request\":{}}"), false);
    h2_run(&fix.h2);
    at(1000 + WRITE_STALL_TIMEOUT_MS - 1);
    assert_false(snapshot->closed || alone->closed || lines->closed || range->closed);
    (void)nghttp2_submit_window_update(fix.h2.session, 0, alone->id, 1); /* as good as nothing */
    (void)nghttp2_submit_window_update(fix.h2.session, 0, 0, (int32_t)VIEW_LEAST_BYTES * 3);
    (void)nghttp2_submit_window_update(fix.h2.session, 0, lines->id, (int32_t)VIEW_LEAST_BYTES);
    (void)nghttp2_submit_window_update(fix.h2.session, 0, range->id, (int32_t)BODY_LEAST_BYTES);
    h2_run(&fix.h2);
    at(1000 + WRITE_STALL_TIMEOUT_MS);
    assert_true(snapshot->closed && alone->closed && !lines->closed && range->closed);
    assert_int_equal(snapshot->error, NGHTTP2_ENHANCE_YOUR_CALM);
    noted("reset answers of which the client read nothing: 3 streams, for 60 s\n");
    at(1000 + 3 * WRITE_STALL_TIMEOUT_MS);
    assert_true(lines->closed);
    assert_int_equal(fix.toy.sources, 0);
    assert_false(watch->closed || alive->closed);
}

static void stopping(void **state)
{
    struct h2_call *watch, *put;

    (void)state;
    fix.toy.hold = true;
    watch = h2_grpc(&fix.h2, "/etcdserverpb.Watch/Watch", NULL, NULL, SLICE_EMPTY, false);
    put = h2_grpc(&fix.h2, KV "Put", NULL, NULL, put_ab, true);
    h2_run(&fix.h2);
    fix.link.link.serves->drain(&fix.link.link);
    h2_run(&fix.h2);
    assert_int_equal(fix.h2.goaways, 1);
    has(watch, "grpc-status: 14\ngrpc-message: etcdserver: server stopped\n");
    assert_false(put->closed || fix.link.link.close);
    toy_put(&fix.toy, fix.toy.held); /* finishes what was begun */
    h2_run(&fix.h2);
    has(put, "grpc-status: 0\n");
    assert_true(fix.link.link.close);
}

/* Every unary RPC, asked with an empty message, answers alike at both doors. */
static void both_doors(void **state)
{
    (void)state;
    for (size_t i = 0; i < RPC_COUNT; i++) {
        const struct rpc_row *row = rpc_row((enum rpc_id)i);
        struct buf json = BUF_INIT(BUF_UNLIMITED);
        struct h2_call *binary, *text;

        if (row->kind != RPC_UNARY || row->path == NULL || i == RPC_Lock_Lock)
            continue;
        if (i % 16 == 0) {
            tear_down(NULL);
            set_up(NULL);
        }
        fix.toy.revision = 5;
        binary = grpc(row->grpc, SLICE_EMPTY);
        fix.toy.revision = 5;
        text = h2_ask(&fix.h2, "POST", row->path, "application/json", NULL, NULL,
                      SLICE_LITERAL("{}"), true);
        h2_run(&fix.h2);
        if (!h2_has(binary, "grpc-status: 0\n")) {
            assert_false(h2_has(text, ":status: 200\n"));
            continue;
        }
        assert_true(pbjson_write_encoded(
            row->response, slice_of(binary->body.data + 5, buf_used(&binary->body) - 5),
            PBJSON_GATEWAY, &json));
        assert_string_equal(buf_text(&json), buf_text(&text->body));
        buf_free(&json);
    }
}

static void our_pings(void **state)
{
    struct h2_call *call = grpc(KV "Put", put_ab);

    (void)state;
    has(call, "grpc-status: 0\n");
    toy_link_at(&fix.link, 1000 + 7200000);
    h2_run(&fix.h2); /* pinged and answered */
    assert_false(fix.link.link.close);
    toy_link_at(&fix.link, 1000 + 7200000 + 20000);
    assert_false(fix.link.link.close);
    toy_link_at(&fix.link, 2000 + 2 * 7200000); /* pinged, and nobody answers */
    toy_link_at(&fix.link, 2000 + 2 * 7200000 + 20000);
    assert_true(fix.link.link.close);
}

/* ---- floods: each piece is sent ROUNDS times; memory stays flat or the link closes ---- */

#define ROUNDS 100000
#define FLAT_BYTES (24UL * MIB)

static void flood(const char *what, struct slice once, struct slice piece, bool reads,
                  bool must_close)
{
    struct buf first = BUF_INIT(BUF_UNLIMITED);
    size_t before, after;

    tear_down(NULL);
    set_up(NULL);
    h2_preface(&first);
    buf_append_slice(&first, once);
    toy_link_feed(&fix.link, buf_slice(&first));
    buf_free(&first);
    before = mallinfo2().uordblks;
    for (int i = 0; i < ROUNDS && !fix.link.link.close; i++) {
        toy_link_feed(&fix.link, piece);
        if (buf_used(&fix.link.pending) != 0)
            break; /* not taken any more: the socket fills up */
        if (i % 64 == 0 && reads) {
            toy_link_answer(&fix.link);
            toy_link_forget(&fix.link);
        }
    }
    after = mallinfo2().uordblks;
    if (after > before + FLAT_BYTES)
        fail_msg("%s: grew by %zu KiB", what, (after - before) / KIB);
    if (must_close && !fix.link.link.close)
        fail_msg("%s: still open", what);
}

/* Streams count up: heads made by hand. */
static void head_flood(const char *what, const char *path, uint8_t flags, uint8_t after,
                       struct slice payload, bool reads)
{
    struct buf bytes = BUF_INIT(BUF_UNLIMITED), head = BUF_INIT(BUF_UNLIMITED);
    size_t before, grown;

    tear_down(NULL);
    set_up(NULL);
    h2_preface(&bytes);
    toy_link_feed(&fix.link, buf_slice(&bytes));
    h2_put_head(&head, path);
    before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < ROUNDS && !fix.link.link.close; i++) {
        buf_reset(&bytes);
        h2_frame(&bytes, NGHTTP2_HEADERS, flags, 2 * i + 1, buf_slice(&head));
        if (payload.size != 0)
            h2_frame(&bytes, after, after == NGHTTP2_DATA ? 1 : 0, 2 * i + 1, payload);
        toy_link_feed(&fix.link, buf_slice(&bytes));
        if (buf_used(&fix.link.pending) != 0)
            break;
        if (i % 64 == 0 && reads) {
            toy_link_answer(&fix.link);
            toy_link_forget(&fix.link);
        }
    }
    grown = mallinfo2().uordblks - before;
    if (mallinfo2().uordblks > before && grown > 2 * FLAT_BYTES)
        fail_msg("%s: grew by %zu KiB", what, grown / KIB);
    buf_free(&bytes);
    buf_free(&head);
}

static void floods(void **state)
{
    static const struct slice eight = {zeros, 8}, five = {zeros, 5};
    static const struct slice zero_window = SLICE_LITERAL("\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0");
    struct buf piece = BUF_INIT(BUF_UNLIMITED), once = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    h2_frame(&piece, NGHTTP2_PING, 0, 0, eight);
    flood("pings, read", SLICE_EMPTY, buf_slice(&piece), true, true);
    flood("pings, unread", SLICE_EMPTY, buf_slice(&piece), false, false);
    buf_reset(&piece);
    h2_frame(&piece, NGHTTP2_SETTINGS, 0, 0, SLICE_EMPTY);
    flood("settings, read", SLICE_EMPTY, buf_slice(&piece), true, true);
    flood("settings, unread", SLICE_EMPTY, buf_slice(&piece), false, false);
    buf_reset(&piece);
    h2_frame(&piece, NGHTTP2_PRIORITY, 0, 1, five);
    flood("priorities", SLICE_EMPTY, buf_slice(&piece), true, true);
    buf_reset(&piece);
    h2_frame(&piece, 0x77, 0, 0, slice_of(zeros, 64));
    flood("frames of an unknown type", SLICE_EMPTY, buf_slice(&piece), true, false);
    buf_reset(&piece);
    h2_frame(&piece, NGHTTP2_WINDOW_UPDATE, 0, 0, SLICE_LITERAL("\x7f\xff\xff\xff"));
    flood("windows beyond the maximum", SLICE_EMPTY, buf_slice(&piece), true, true);
    buf_reset(&piece);
    h2_put_head(&piece, KV "Put");
    h2_frame(&once, NGHTTP2_HEADERS, 4, 1, buf_slice(&piece));
    buf_reset(&piece);
    h2_frame(&piece, NGHTTP2_DATA, 0, 1, SLICE_EMPTY);
    flood("empty DATA", buf_slice(&once), buf_slice(&piece), true, true);
    buf_reset(&once);
    buf_reset(&piece);
    h2_put_head(&piece, KV "Put");
    h2_frame(&once, NGHTTP2_HEADERS, 0, 1, buf_slice(&piece));
    buf_reset(&piece);
    h2_frame(&piece, NGHTTP2_CONTINUATION, 0, 1, SLICE_LITERAL("\x00\x01x\x01y"));
    flood("continuations", buf_slice(&once), buf_slice(&piece), true, true);
    flood("no HTTP/2 behind the preface", SLICE_LITERAL("GET / HTTP/1.1\r\n\r\n"),
          SLICE_LITERAL("garbage"), true, true);
    head_flood("rapid reset", KV "Put", 4, NGHTTP2_RST_STREAM, SLICE_LITERAL("\0\0\0\x08"), true);
    assert_true(fix.link.link.close);
    head_flood("streams without end", KV "Put", 4, 0, SLICE_EMPTY, true);
    head_flood("calls of no method, unread", "/a.B/c", 5, 0, SLICE_EMPTY, false);
    head_flood("ranges, unread", KV "Range", 4, NGHTTP2_DATA,
               SLICE_LITERAL("\0\0\0\0\x0b\x0a\x09n:90:1000"), false);
    tear_down(NULL);
    set_up(NULL);
    buf_reset(&once);
    h2_preface(&once);
    buf_append_slice(&once, zero_window);
    toy_link_feed(&fix.link, buf_slice(&once));
    {
        size_t before = mallinfo2().uordblks;
        struct buf head = BUF_INIT(BUF_UNLIMITED);

        h2_put_head(&head, KV "Range");
        for (uint32_t i = 0; i < 20000 && !fix.link.link.close; i++) {
            buf_reset(&once);
            h2_frame(&once, NGHTTP2_HEADERS, 4, 2 * i + 1, buf_slice(&head));
            h2_frame(&once, NGHTTP2_DATA, 1, 2 * i + 1,
                     SLICE_LITERAL("\0\0\0\0\x0b\x0a\x09n:90:1000"));
            toy_link_feed(&fix.link, buf_slice(&once));
            toy_link_answer(&fix.link);
            toy_link_forget(&fix.link);
        }
        if (mallinfo2().uordblks > before + 3 * FLAT_BYTES)
            fail_msg("zero windows: grew by %zu KiB", (mallinfo2().uordblks - before) / KIB);
        buf_free(&head);
    }
    buf_free(&once);
    buf_free(&piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(http1_on_the_same_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gateway_and_ops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gateway_bodies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(statuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trailers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gzip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadline_and_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(uploads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(round_trips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_uploads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_in_force, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bodies_of_unknown_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_after_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unread_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_doors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(our_pings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(floods, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
