/*
 * http2_test.c - the client port in HTTP/2 without sockets: both framings on one port, the gateway,
 * what heads and trailers are let in, stopping, and our own pings.
 */
#include "tests/lib/http2_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(http1_on_the_same_port),
        TEST(gateway_and_ops),
        TEST(gateway_bodies),
        TEST(heads),
        TEST(trailers),
        TEST(stopping),
        TEST(our_pings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
