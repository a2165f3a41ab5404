/*
 * raftmsg_test.c - raft's records against bytes that etcd 3.5.30 members sent each other: each
 * message is decoded, compared with its listing, and encoded again to the same bytes.
 */
#include "common/base/file.h"
#include "common/schema/raftmsg.h"
#include "tests/lib/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

static uint64_t be64(const uint8_t *at)
{
    uint64_t number = 0;

    for (int byte = 0; byte < 8; byte++)
        number = number << 8 | at[byte];
    return number;
}

static const char *const names[] = {
    "MsgHup",           "MsgBeat",           "MsgProp",        "MsgApp",
    "MsgAppResp",       "MsgVote",           "MsgVoteResp",    "MsgSnap",
    "MsgHeartbeat",     "MsgHeartbeatResp",  "MsgUnreachable", "MsgSnapStatus",
    "MsgCheckQuorum",   "MsgTransferLeader", "MsgTimeoutNow",  "MsgReadIndex",
    "MsgReadIndexResp", "MsgPreVote",        "MsgPreVoteResp",
};

static void assert_hex_id(json_t *item, const char *key, uint64_t id)
{
    char text[17];

    (void)snprintf(text, sizeof(text), "%" PRIx64, id);
    assert_string_equal(json_string_value(json_object_get(item, key)), text);
}

static void assert_listed(json_t *item, const struct raft_message *message)
{
    assert_string_equal(json_string_value(json_object_get(item, "type")), names[message->type]);
    assert_hex_id(item, "to", message->to);
    assert_hex_id(item, "from", message->from);
    assert_int_equal(json_integer_value(json_object_get(item, "term")), message->term);
    assert_int_equal(json_integer_value(json_object_get(item, "logTerm")), message->log_term);
    assert_int_equal(json_integer_value(json_object_get(item, "index")), message->index);
    assert_int_equal(json_integer_value(json_object_get(item, "commit")), message->commit);
    assert_int_equal(json_is_true(json_object_get(item, "reject")), message->reject);
    assert_int_equal(json_integer_value(json_object_get(item, "rejectHint")), message->reject_hint);
    assert_int_equal(json_array_size(json_object_get(item, "entries")), message->entry_count);
    assert_null(message->snapshot);
    for (size_t at = 0; at < message->entry_count; at++) {
        json_t *entry = json_array_get(json_object_get(item, "entries"), at);
        const char *hex = json_string_value(json_object_get(entry, "data_hex"));

        assert_int_equal(json_integer_value(json_object_get(entry, "term")),
                         message->entries[at].term);
        assert_int_equal(json_integer_value(json_object_get(entry, "index")),
                         message->entries[at].index);
        assert_int_equal(hex != NULL ? strlen(hex) / 2 : 0, message->entries[at].data.size);
    }
}

static void check_message(struct slice bytes, json_t *item)
{
    struct err err = ERR_INIT;
    struct raft_message message;
    struct arena arena;
    struct buf again = BUF_INIT(BUF_UNLIMITED);

    arena_init(&arena, MIB);
    if (raft_message_decode(bytes, &arena, &message, &err) < 0)
        fail_msg("%s", err.text);
    assert_listed(item, &message);
    assert_true(raft_message_encode(&message, &again));
    assert_int_equal(again.size, bytes.size);
    assert_memory_equal(again.data, bytes.data, bytes.size);
    buf_free(&again);
    arena_free(&arena);
}

static json_t *next_item(const char **lines)
{
    const char *end = strchr(*lines, '\n');
    json_t *item;

    if (end == NULL)
        return NULL;
    item = json_loadb(*lines, (size_t)(end - *lines), JSON_DECODE_ANY, NULL);
    *lines = end + 1;
    assert_non_null(item);
    return item;
}

/* Both kinds of stream: what carries a whole message is its kind byte (msgapp only) and a
 * length. */
static void check_stream(const char *name, size_t prefix, size_t at_least)
{
    struct buf bytes, list;
    char *bin = xasprintf("%s.bin", name), *jsonl = xasprintf("%s.jsonl", name);
    const char *lines;
    json_t *item;
    size_t checked = 0;

    load(bin, &bytes);
    load(jsonl, &list);
    lines = buf_text(&list);
    while ((item = next_item(&lines)) != NULL) {
        size_t offset = (size_t)json_integer_value(json_object_get(item, "offset"));
        const char *kind = json_string_value(json_object_get(item, "kind"));

        if (json_object_get(item, "logTerm") != NULL &&
            (kind == NULL || strcmp(kind, "full") == 0)) {
            offset += prefix;
            assert_true(offset + 8 <= bytes.size);
            check_message(slice_of(bytes.data + offset + 8, be64(bytes.data + offset)), item);
            checked++;
        }
        json_decref(item);
    }
    assert_true(checked >= at_least);
    buf_free(&bytes);
    buf_free(&list);
    free(bin);
    free(jsonl);
}

static void messages_of_real_members(void **state)
{
    (void)state;
    check_stream("stream-message-a-to-c", 0, 100);
    check_stream("stream-message-c-to-b", 0, 10);
    check_stream("stream-message-d-to-a", 0, 10);
    check_stream("stream-msgapp-leader1", 1, 1);
    check_stream("stream-msgapp-leader2", 1, 1);
}

static void a_short_heartbeat_of_3_7(void **state)
{
    struct err err = ERR_INIT;
    struct raft_message message;
    struct arena arena;

    (void)state;
    arena_init(&arena, MIB);
    assert_int_equal(raft_message_decode(slice_of("\x08\x08", 2), &arena, &message, &err), 0);
    assert_int_equal(message.type, RAFT_MSG_HEARTBEAT);
    assert_int_equal(message.from, 0);
    arena_free(&arena);
}

static void conf_states_may_be_packed_and_unsorted(void **state)
{
    static const uint8_t packed[] = {0x0a, 3, 9, 4, 7, 0x28, 1, 0x0a, 1, 5, 0x10, 3, 0x7a, 1, 'x'};
    static const uint8_t plain[] = {8, 4, 8, 5, 8, 7, 8, 9, 0x10, 3, 0x28, 1};
    struct raft_conf_state conf;
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    assert_int_equal(raft_conf_state_decode(slice_of(packed, sizeof(packed)), &conf, &err), 0);
    assert_int_equal(conf.voter_count, 4);
    assert_int_equal(conf.learner_count, 1);
    assert_true(raft_conf_state_encode(&conf, &out));
    assert_int_equal(out.size, sizeof(plain));
    assert_memory_equal(out.data, plain, sizeof(plain));
    buf_free(&out);
}

static void too_many_voters_are_refused(void **state)
{
    uint8_t many[2 * (RAFT_MEMBERS_MAX + 1)];
    struct raft_conf_state conf;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t at = 0; at < sizeof(many); at += 2) {
        many[at] = 8;
        many[at + 1] = (uint8_t)(at / 2);
    }
    assert_int_equal(raft_conf_state_decode(slice_of(many, sizeof(many) - 2), &conf, &err), 0);
    assert_int_equal(raft_conf_state_decode(slice_of(many, sizeof(many)), &conf, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
}

static void conf_changes_round_trip(void **state)
{
    static const uint8_t golden[] = {8, 1, 0x10, 0, 0x18, 0xac, 2, 0x22, 2, '{', '}'};
    static const uint8_t golden_v2[] = {8, 1, 0x12, 4, 8, 1, 0x10, 5, 0x12, 4, 8, 3, 0x10, 6};
    struct raft_conf_change change = {.id = 1, .node_id = 300, .context = SLICE_LITERAL("{}")};
    struct raft_conf_change again;
    struct raft_conf_change_v2 v2 = {
        .transition = RAFT_CONF_JOINT_IMPLICIT,
        .changes = {{RAFT_CONF_REMOVE_NODE, 5}, {RAFT_CONF_ADD_LEARNER, 6}},
        .change_count = 2};
    struct raft_conf_change_v2 again_v2;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    assert_true(raft_conf_change_encode(&change, &out));
    assert_int_equal(out.size, sizeof(golden));
    assert_memory_equal(out.data, golden, sizeof(golden));
    assert_int_equal(raft_conf_change_decode(buf_slice(&out), &again, &err), 0);
    assert_int_equal(again.node_id, 300);
    assert_true(slice_equal(again.context, change.context));
    buf_reset(&out);
    assert_true(raft_conf_change_v2_encode(&v2, &out));
    assert_int_equal(out.size, sizeof(golden_v2));
    assert_memory_equal(out.data, golden_v2, sizeof(golden_v2));
    assert_int_equal(raft_conf_change_v2_decode(buf_slice(&out), &again_v2, &err), 0);
    assert_int_equal(again_v2.change_count, 2);
    assert_int_equal(again_v2.changes[1].node_id, 6);
    buf_free(&out);
}

static void a_snapshot_message_round_trips(void **state)
{
    struct raft_snapshot snapshot = {.data = SLICE_LITERAL("{\"Root\":{}}"),
                                     .meta = {.index = 151, .term = 2}};
    struct raft_message message = {
        .type = RAFT_MSG_SNAP, .to = UINT64_MAX, .from = 1, .term = 7, .snapshot = &snapshot};
    struct raft_message again;
    struct arena arena;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    snapshot.meta.conf_state.voters[0] = UINT64_MAX;
    snapshot.meta.conf_state.voter_count = 1;
    arena_init(&arena, MIB);
    assert_true(raft_message_encode(&message, &out));
    assert_int_equal(raft_message_decode(buf_slice(&out), &arena, &again, &err), 0);
    assert_non_null(again.snapshot);
    assert_int_equal(again.snapshot->meta.index, 151);
    assert_true(again.snapshot->meta.conf_state.voters[0] == UINT64_MAX);
    assert_true(slice_equal(again.snapshot->data, snapshot.data));
    arena_free(&arena);
    buf_free(&out);
}

/* Every cut of a sound message is refused or read as a shorter one; none reads past its end. */
static void cut_messages_never_overread(void **state)
{
    struct raft_entry entry = {.index = 300, .term = 2, .data = SLICE_LITERAL("0123456789")};
    struct raft_message message = {.type = RAFT_MSG_APP, .entries = &entry, .entry_count = 1};
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct raft_message again;
    struct arena arena;
    int refused = 0;

    (void)state;
    arena_init(&arena, MIB);
    assert_true(raft_message_encode(&message, &out));
    for (size_t bytes = 0; bytes < out.size; bytes++) {
        struct err err = ERR_INIT;
        uint8_t *copy = malloc(bytes + 1); /* exact, so that the sanitizer sees a read too far */

        assert_non_null(copy);
        memcpy(copy, out.data, bytes);
        copy = realloc(copy, bytes != 0 ? bytes : 1);
        if (raft_message_decode(slice_of(copy, bytes), &arena, &again, &err) < 0) {
            assert_int_equal(err.code, ERR_FORMAT);
            refused++;
        }
        free(copy);
    }
    assert_true(refused > 20);
    arena_free(&arena);
    buf_free(&out);
}

static void the_arena_bounds_the_list_of_entries(void **state)
{
    struct raft_message message;
    struct err err = ERR_INIT;
    struct arena arena;
    uint8_t many[2000];

    (void)state;
    for (size_t at = 0; at < sizeof(many); at += 2) {
        many[at] = 0x3a;
        many[at + 1] = 0;
    }
    arena_init(&arena, 4096);
    assert_int_equal(raft_message_decode(slice_of(many, sizeof(many)), &arena, &message, &err), -1);
    assert_int_equal(err.code, ERR_NO_MEMORY);
    arena_free(&arena);
}

static void wrong_types_and_values_are_named(void **state)
{
    struct raft_entry entry;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(raft_entry_decode(slice_of("\x12\x00", 2), &entry, &err), -1);
    assert_string_equal(err.text, "raftpb.Entry: field 2 has wire type 2, expected 0");
    assert_int_equal(raft_entry_decode(slice_of("\x08\x09", 2), &entry, &err), -1);
    assert_string_equal(err.text, "raftpb.Entry: field 1 is 9, known are 0 to 2");
    assert_int_equal(raft_entry_decode(slice_of("\x0b\x0c", 2), &entry, &err), -1);
    assert_int_equal(raft_entry_decode(slice_of("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11),
                                       &entry, &err),
                     -1);
    assert_int_equal(raft_entry_decode(slice_of("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),
                                       &entry, &err),
                     0);
    assert_true(entry.term == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_real_members),
        cmocka_unit_test(a_short_heartbeat_of_3_7),
        cmocka_unit_test(conf_states_may_be_packed_and_unsorted),
        cmocka_unit_test(too_many_voters_are_refused),
        cmocka_unit_test(conf_changes_round_trip),
        cmocka_unit_test(a_snapshot_message_round_trips),
        cmocka_unit_test(cut_messages_never_overread),
        cmocka_unit_test(the_arena_bounds_the_list_of_entries),
        cmocka_unit_test(wrong_types_and_values_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
