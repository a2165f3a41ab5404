/*
 * http2_flood_test.c - a dozen floods, without sockets: each piece is sent ROUNDS times, and memory
 * stays flat or the link closes.
 */
#include "tests/lib/http2_fixture.h"

#define ROUNDS 100000
#define FLAT_BYTES (24UL * MIB)

static const uint8_t zeros[64];

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
    buf_free(&once);
    buf_free(&piece);
}

/* Answers that the client takes nothing of. */
static void zero_windows(void **state)
{
    static const struct slice zero_window = SLICE_LITERAL("\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0");
    struct buf bytes = BUF_INIT(BUF_UNLIMITED), head = BUF_INIT(BUF_UNLIMITED);
    size_t before;

    (void)state;
    h2_preface(&bytes);
    buf_append_slice(&bytes, zero_window);
    toy_link_feed(&fix.link, buf_slice(&bytes));
    before = mallinfo2().uordblks;
    h2_put_head(&head, KV "Range");
    for (uint32_t i = 0; i < 20000 && !fix.link.link.close; i++) {
        buf_reset(&bytes);
        h2_frame(&bytes, NGHTTP2_HEADERS, 4, 2 * i + 1, buf_slice(&head));
        h2_frame(&bytes, NGHTTP2_DATA, 1, 2 * i + 1,
                 SLICE_LITERAL("\0\0\0\0\x0b\x0a\x09n:90:1000"));
        toy_link_feed(&fix.link, buf_slice(&bytes));
        toy_link_answer(&fix.link);
        toy_link_forget(&fix.link);
    }
    if (mallinfo2().uordblks > before + 3 * FLAT_BYTES)
        fail_msg("zero windows: grew by %zu KiB", (mallinfo2().uordblks - before) / KIB);
    buf_free(&head);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(floods),
        TEST(zero_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
