/*
 * peer_stream_test.c - the streams that etcd 3.5.30 members sent each other: decoded in pieces of
 * every size, counted against their listings, and encoded again to the same bytes.
 */
#include "common/base/file.h"
#include "etcd-server/doors/peer_stream.h"
#include "tests/lib/vectors.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define B_ID 0x56d88a5167dded05UL
#define C_ID 0x15c1facb103a7c72UL

static size_t count_lines(const char *name)
{
    struct buf text;
    size_t lines = 0;

    load(name, &text);
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    buf_free(&text);
    return lines;
}

/* Decode `piece` bytes at a time, encode what comes out; returns how many items there were. */
static size_t round_trip(enum peer_stream_kind kind, struct slice bytes, size_t piece,
                         struct buf *again)
{
    struct peer_stream_state state = {0, 0};
    struct peer_decoder decoder;
    struct raft_message message;
    struct err err = ERR_INIT;
    size_t items = 0;

    peer_decoder_init(&decoder, kind, B_ID, C_ID);
    for (size_t at = 0; at < bytes.size; at += piece) {
        struct slice part = slice_of(bytes.data + at, MIN(piece, bytes.size - at));
        uint8_t *copy = xalloc(part.size); /* its end is the end of the memory: overreads show */
        struct slice left = slice_of(copy, part.size);
        enum peer_decoded result;

        memcpy(copy, part.data, part.size);
        while ((result = peer_decoder_next(&decoder, &left, &message, &err)) != PEER_DECODED_MORE) {
            if (result == PEER_DECODED_BAD)
                fail_msg("%s", err.text);
            items++;
            if (result == PEER_DECODED_HEARTBEAT)
                assert_true(peer_stream_encode_heartbeat(kind, again));
            else
                assert_true(peer_stream_encode(kind, &state, &message, again));
        }
        assert_int_equal(left.size, 0);
        free(copy);
    }
    peer_decoder_fini(&decoder);
    return items;
}

static void assert_stream(const char *name, enum peer_stream_kind kind)
{
    static const size_t pieces[] = {1, 2, 7, 8, 9, 17, 64, 1000, 1 << 20};
    char *file = xasprintf("%s.bin", name), *listing = xasprintf("%s.jsonl", name);
    size_t listed = count_lines(listing);
    struct buf bytes, again = BUF_INIT(BUF_UNLIMITED);

    load(file, &bytes);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        buf_reset(&again);
        assert_int_equal(round_trip(kind, buf_slice(&bytes), pieces[i], &again), listed);
        assert_int_equal(again.size, bytes.size);
        assert_memory_equal(again.data, bytes.data, bytes.size);
    }
    buf_free(&bytes);
    buf_free(&again);
    free(file);
    free(listing);
}

static void msgapp_streams_are_etcds(void **state)
{
    (void)state;
    assert_stream("stream-msgapp-leader1", PEER_STREAM_MSGAPP);
    assert_stream("stream-msgapp-leader2", PEER_STREAM_MSGAPP);
}

static void message_streams_are_etcds(void **state)
{
    (void)state;
    assert_stream("stream-message-c-to-b", PEER_STREAM_MESSAGE);
    assert_stream("stream-message-a-to-c", PEER_STREAM_MESSAGE);
    assert_stream("stream-message-d-to-a", PEER_STREAM_MESSAGE);
}

static void short_heartbeat_of_3_7_is_one(void **state)
{
    static const uint8_t bytes[] = {0, 0, 0, 0, 0, 0, 0, 2, 8, 8};
    struct slice left = slice_of(bytes, sizeof(bytes));
    struct peer_decoder decoder;
    struct raft_message message;
    struct err err = ERR_INIT;

    (void)state;
    peer_decoder_init(&decoder, PEER_STREAM_MESSAGE, B_ID, C_ID);
    assert_int_equal(peer_decoder_next(&decoder, &left, &message, &err), PEER_DECODED_HEARTBEAT);
    peer_decoder_fini(&decoder);
}

static void assert_bad(enum peer_stream_kind kind, struct slice bytes, const char *words)
{
    struct peer_decoder decoder;
    struct raft_message message;
    struct err err = ERR_INIT;

    peer_decoder_init(&decoder, kind, B_ID, C_ID);
    assert_int_equal(peer_decoder_next(&decoder, &bytes, &message, &err), PEER_DECODED_BAD);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    peer_decoder_fini(&decoder);
}

static void bad_items_are_refused_with_a_reason(void **state)
{
    (void)state;
    assert_bad(PEER_STREAM_MSGAPP, SLICE_LITERAL("\3"), "unknown kind 3");
    assert_bad(PEER_STREAM_MSGAPP, SLICE_LITERAL("\1\0\0\0\1\0\0\0\0"), "4294967296 entries");
    assert_bad(PEER_STREAM_MSGAPP,
               SLICE_LITERAL("\1\0\0\0\0\0\0\0\1\377\377\377\377\377\377\377\377"), "at most");
    assert_bad(PEER_STREAM_MSGAPP, SLICE_LITERAL("\2\377\0\0\0\0\0\0\0"), "at most");
    assert_bad(PEER_STREAM_MESSAGE, SLICE_LITERAL("\0\0\0\0\40\0\0\1"), "536870913");
    assert_bad(PEER_STREAM_MESSAGE, SLICE_LITERAL("\0\0\0\0\0\0\0\1\377"), "raftpb.Message");
    assert_bad(PEER_STREAM_MESSAGE, SLICE_LITERAL("\0\0\0\0\0\0\0\2\10\7"), "type 7");
    assert_bad(PEER_STREAM_MSGAPP, SLICE_LITERAL("\2\0\0\0\0\0\0\0\2\10\4"), "type 4");
}

static void a_full_buffer_changes_nothing(void **state)
{
    uint8_t data[100] = {0};
    struct raft_entry entry = {.term = 3, .index = 8, .data = slice_of(data, sizeof(data))};
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .term = 3,
                                   .log_term = 3,
                                   .index = 7,
                                   .entries = &entry,
                                   .entry_count = 1};
    struct peer_stream_state at = {.term = 3, .index = 7};
    struct buf out = BUF_INIT(60);

    (void)state;
    assert_true(buf_append_text(&out, "before"));
    assert_false(peer_stream_encode(PEER_STREAM_MSGAPP, &at, &message, &out));
    assert_true(slice_equal(buf_slice(&out), SLICE_LITERAL("before")));
    assert_int_equal(at.index, 7);
    out.max = 1000;
    assert_true(peer_stream_encode(PEER_STREAM_MSGAPP, &at, &message, &out));
    assert_int_equal(at.index, 8);
    assert_true(out.size - 6 <= peer_stream_bytes(&message));
    buf_free(&out);
}

/* The captured body of POST /raft/snapshot, in pieces. */
static void snapshot_body_is_etcds(void **state)
{
    static const size_t pieces[] = {1, 5, 4096, 1 << 20};
    struct buf body;

    (void)state;
    load("post-raft-snapshot-body.bin", &body);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf again = BUF_INIT(BUF_UNLIMITED);
        struct peer_snapshot_decoder decoder;
        enum peer_decoded result = PEER_DECODED_MORE;
        struct raft_message message = {.term = 0};
        struct err err = ERR_INIT;
        struct slice left = SLICE_EMPTY;
        size_t at = 0;

        peer_snapshot_decoder_init(&decoder);
        while (result == PEER_DECODED_MORE && at < body.size) {
            left = slice_of(body.data + at, MIN(pieces[i], body.size - at));
            at += left.size;
            result = peer_snapshot_decoder_next(&decoder, &left, &message, &err);
        }
        assert_int_equal(result, PEER_DECODED_MESSAGE);
        assert_int_equal(message.snapshot->meta.index, 105);
        assert_int_equal(message.snapshot->data.size, 9495);
        assert_int_equal(body.size - at + left.size, 36864); /* the image */
        assert_true(peer_snapshot_encode(&message, &again));
        assert_memory_equal(again.data, body.data, again.size);
        assert_int_equal(again.size, 8 + 9587);
        buf_free(&again);
        peer_snapshot_decoder_fini(&decoder);
    }
    buf_free(&body);
}

static void bad_snapshots_are_refused_in_etcds_words(void **state)
{
    static const struct {
        struct slice body;
        const char *text;
    } cases[] = {
        {SLICE_LITERAL("garbage garbage"),
         "failed to decode raft message (rafthttp: error limit exceeded)"},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\2\10\3"), "wrong raft message type"},
        {SLICE_LITERAL("\0\0\0\0\0\0\0\2\10\7"), "wrong raft message type"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer_snapshot_decoder decoder;
        struct raft_message message;
        struct slice left = cases[i].body;
        struct err err = ERR_INIT;

        peer_snapshot_decoder_init(&decoder);
        assert_int_equal(peer_snapshot_decoder_next(&decoder, &left, &message, &err),
                         PEER_DECODED_BAD);
        assert_string_equal(err.text, cases[i].text);
        peer_snapshot_decoder_fini(&decoder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(msgapp_streams_are_etcds),
        cmocka_unit_test(message_streams_are_etcds),
        cmocka_unit_test(short_heartbeat_of_3_7_is_one),
        cmocka_unit_test(bad_items_are_refused_with_a_reason),
        cmocka_unit_test(a_full_buffer_changes_nothing),
        cmocka_unit_test(snapshot_body_is_etcds),
        cmocka_unit_test(bad_snapshots_are_refused_in_etcds_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
