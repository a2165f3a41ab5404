/*
 * http2_flow_test.c - what clients send at once, slowly or never to its end, and what they leave
 * unread: windows open as there is room, and who holds some for nothing goes.
 */
#include "tests/lib/http2_fixture.h"

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

/* `count` calls, each with one message of 90 KB of the same two bytes and a header of `head` bytes,
 * whose clients send no more: what is kept for all of them, beside their messages. */
static size_t kept_for(size_t count, const char *path, const char *two, size_t head, bool ended)
{
    struct buf message = BUF_INIT(BUF_UNLIMITED), value = BUF_INIT(BUF_UNLIMITED);
    size_t before, after;

    tear_down(NULL);
    set_up(NULL);
    h2_run(&fix.h2);
    for (size_t i = 0; i < 45000; i++)
        buf_append(&message, two, 2);
    for (size_t i = 0; i < head; i++)
        buf_append_byte(&value, 'v');
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (size_t i = 0; i < count; i++) {
        (void)h2_grpc(&fix.h2, path, "a-header", buf_text(&value), buf_slice(&message), ended);
        h2_run(&fix.h2);
        buf_free(&fix.h2.calls[i].request);
    }
    for (size_t i = 0; i < count; i++)
        assert_false(fix.h2.calls[i].closed);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    buf_free(&message);
    buf_free(&value);
    return after > before ? after - before : 0;
}

/* A client that opens many calls and then rests must not hold many times what it has sent. */
static void calls_at_rest(void **state)
{
    size_t kept;

    (void)state;
    kept =
        kept_for(100, KV "Txn", "\x12\0", 1, false); /* 45,000 operations, and no end of the call */
    if (kept > 20 * MIB)
        fail_msg("txns without an end: %zu KiB", kept / KIB);
    kept =
        kept_for(100, "/etcdserverpb.Watch/Watch", "\x78\0", 1, false); /* as many unknown fields */
    if (kept > 3 * MIB)
        fail_msg("watches: %zu KiB", kept / KIB);
    kept = kept_for(100, "/etcdserverpb.Watch/Watch", "\x78\0", 50000, false);
    if (kept > 3 * MIB)
        fail_msg("watches with large heads: %zu KiB", kept / KIB);
    kept = kept_for(100, "/v3lockpb.Lock/Lock", "\x78\0", 1, true);
    if (kept > 3 * MIB)
        fail_msg("locks: %zu KiB", kept / KIB);
    kept = kept_for(100, "/v3lockpb.Lock/Lock", "\x10\7", 1, true); /* the lease, again and again */
    if (kept > 3 * MIB)
        fail_msg("locks with a field given often: %zu KiB", kept / KIB);
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

/* Large messages one behind the other: what each was lent comes back, whatever the pieces. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(uploads),
        TEST(calls_at_rest),
        TEST(round_trips),
        TEST(stalled_uploads),
        TEST(stalled_in_force),
        TEST(bodies_of_unknown_length),
        TEST(messages_after_messages),
        TEST(large_messages),
        TEST(unread_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
