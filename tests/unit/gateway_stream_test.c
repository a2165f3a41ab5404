/*
 * gateway_stream_test.c - streams through the client port: their answers as JSON or bare bytes,
 * bodies in pieces, WebSockets.
 */
#include "tests/lib/gateway_fixture.h"
#include "tests/lib/toy_websocket.h"

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
    has(post("/v3/lease/keepalive", "x"), "HTTP/1.1 200 "); /* the client's end, as in etcd */
    lacks(buf_text(&fix.link.got), "Content-Type");
    has(buf_text(&fix.link.got), "Content-Length: 0\r\n");
    assert_true(fix.toy.ended);
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
    begin_stream("/v3/lease/keepalive");
    has(more("nonsense {\"ID\":1}"), "HTTP/1.1 200 ");
    assert_int_equal(fix.toy.messages, 0);
    lacks(buf_text(&fix.link.got), "result");
    toy_link_close(&fix.link);
    open_link();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(streams),
        TEST(weights),
        TEST(bare_bytes),
        TEST(watches),
        TEST(streamed_bodies),
        TEST(streamed_bodies_that_are_wrong),
        TEST(websockets),
        TEST(websockets_of_one_message),
        TEST(websockets_that_are_refused),
        TEST(websockets_that_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
