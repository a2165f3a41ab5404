/*
 * raftmsg_fuzz.c - any bytes as each of raft's records: refused with a sentence, or encoded again
 * to bytes that decode to the same bytes.
 */
#include "common/schema/raftmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_message(struct slice bytes)
{
    struct raft_message message;
    struct buf one = BUF_INIT(BUF_UNLIMITED), two = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    struct arena arena;

    arena_init(&arena, 16 * MIB);
    if (raft_message_decode(bytes, &arena, &message, &err) == 0) {
        must(raft_message_encode(&message, &one));
        must(raft_message_decode(buf_slice(&one), &arena, &message, &err) == 0);
        must(raft_message_encode(&message, &two));
        must(slice_equal(buf_slice(&one), buf_slice(&two)));
    } else {
        must(err.code != ERR_OK && err.text[0] != '\0');
    }
    arena_free(&arena);
    buf_free(&one);
    buf_free(&two);
}

static void try_small_ones(struct slice bytes)
{
    struct raft_entry entry;
    struct raft_hard_state state;
    struct raft_conf_state conf;
    struct raft_snapshot snapshot;
    struct raft_conf_change change;
    struct raft_conf_change_v2 change_v2;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    if (raft_entry_decode(bytes, &entry, &err) == 0) {
        must(raft_entry_encode(&entry, &out));
        must(out.size == raft_entry_encoded_bytes(&entry));
    }
    if (raft_hard_state_decode(bytes, &state, &err) == 0)
        must(raft_hard_state_encode(&state, &out));
    if (raft_conf_state_decode(bytes, &conf, &err) == 0)
        must(raft_conf_state_encode(&conf, &out));
    if (raft_snapshot_decode(bytes, &snapshot, &err) == 0)
        must(raft_snapshot_encode(&snapshot, &out));
    if (raft_conf_change_decode(bytes, &change, &err) == 0)
        must(raft_conf_change_encode(&change, &out));
    if (raft_conf_change_v2_decode(bytes, &change_v2, &err) == 0)
        must(raft_conf_change_v2_encode(&change_v2, &out));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_message(slice_of(data, size));
    try_small_ones(slice_of(data, size));
    return 0;
}
