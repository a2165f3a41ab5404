/*
 * raft_replay_test.c - what a real leader sent a real follower, played to ours: the stream begins
 * with the first election of a cluster of three and goes on through its writes.
 * Ours must take everything, and acknowledge and apply it as the leader's commits say.
 */
#include "common/base/file.h"
#include "etcd-server/raft/raft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LEADER 0x15c1facb103a7c72U
#define FOLLOWER 0x56d88a5167dded05U
#define THIRD 0xc596ede59f75d7a7U

struct replay {
    struct raft *raft;
    uint64_t term, index; /* what a short item stands behind */
    uint64_t commit;      /* the leader's, so far */
    uint64_t acknowledged, applied;
    size_t items, conf_changes;
};

static uint64_t be64(const uint8_t *at)
{
    uint64_t number = 0;

    for (int byte = 0; byte < 8; byte++)
        number = number << 8 | at[byte];
    return number;
}

static void apply_entry(struct replay *replay, uint64_t index)
{
    const struct raft_entry *entry = raft_entry_at(replay->raft, index);
    struct raft_event event = {.type = RAFT_EVENT_CONF_APPLIED};
    struct raft_conf_change change;
    struct err err = ERR_INIT;

    assert_int_equal(index, replay->applied + 1);
    replay->applied = index;
    if (entry->type == RAFT_ENTRY_NORMAL)
        return;
    assert_int_equal(raft_conf_change_decode(entry->data, &change, &err), 0);
    event.conf_change = &change;
    assert_int_equal(raft_step(replay->raft, &event), ERR_OK);
    replay->conf_changes++;
}

static void take_effects(struct replay *replay)
{
    struct raft_effects effects;

    while (raft_ready(replay->raft, &effects)) {
        struct raft_event done = {.type = RAFT_EVENT_PERSISTED, .persist_id = effects.persist_id};

        for (size_t i = 0; i < effects.message_count; i++) {
            assert_int_equal(effects.messages[i].type, RAFT_MSG_APP_RESP);
            assert_false(effects.messages[i].reject);
            replay->acknowledged = effects.messages[i].index;
        }
        for (uint64_t index = effects.apply_first; index <= effects.apply_last; index++)
            apply_entry(replay, index);
        if (effects.persist_id != 0)
            assert_int_equal(raft_step(replay->raft, &done), ERR_OK);
    }
}

static void give(struct replay *replay, const struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = message};
    uint64_t last = message->index + message->entry_count;

    assert_int_equal(raft_step(replay->raft, &event), ERR_OK);
    take_effects(replay);
    replay->term = message->term;
    replay->index = last;
    replay->commit = MAX(replay->commit, MIN(message->commit, last));
    assert_int_equal(raft_leader(replay->raft), LEADER);
    assert_int_equal(replay->acknowledged, MAX(last, message->index));
    assert_int_equal(raft_commit_index(replay->raft), replay->commit);
    replay->items++;
}

static const uint8_t *give_short(struct replay *replay, const uint8_t *at, const uint8_t *end)
{
    struct raft_entry entries[64];
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .to = FOLLOWER,
                                   .from = LEADER,
                                   .term = replay->term,
                                   .log_term = replay->term,
                                   .index = replay->index,
                                   .entries = entries};
    struct err err = ERR_INIT;

    message.entry_count = be64(at);
    at += 8;
    assert_true(message.entry_count <= ARRAY_LEN(entries));
    for (size_t i = 0; i < message.entry_count; i++) {
        uint64_t size = be64(at);

        assert_true((uint64_t)(end - at) >= 8 + size);
        assert_int_equal(raft_entry_decode(slice_of(at + 8, size), &entries[i], &err), 0);
        at += 8 + size;
    }
    message.commit = be64(at);
    give(replay, &message);
    return at + 8;
}

static const uint8_t *give_full(struct replay *replay, const uint8_t *at)
{
    struct raft_message message;
    struct err err = ERR_INIT;
    struct arena arena;
    uint64_t size = be64(at);

    arena_init(&arena, MIB);
    assert_int_equal(raft_message_decode(slice_of(at + 8, size), &arena, &message, &err), 0);
    give(replay, &message);
    arena_free(&arena);
    return at + 8 + size;
}

static void test_stream_of_a_real_leader(void **state)
{
    struct raft_config config = {.id = FOLLOWER, .election_ticks = 10, .pre_vote = true, .seed = 1};
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);
    struct replay replay = {.acknowledged = 0, .applied = 3, .commit = 3};
    struct err err = ERR_INIT;

    (void)state;
    config.hard_state = (struct raft_hard_state){.term = 2, .vote = LEADER, .commit = 3};
    config.snapshot = (struct raft_snapshot_meta){
        .conf_state = {.voters = {LEADER, FOLLOWER, THIRD}, .voter_count = 3},
        .index = 3,
        .term = 1};
    config.applied = 3;
    replay.raft = raft_new(&config);
    if (file_read_all("tests/wire/vectors/stream-msgapp-leader1.bin", &bytes, &err) < 0)
        fail_msg("%s", err.text);
    for (const uint8_t *at = bytes.data, *end = bytes.data + bytes.size; at < end;) {
        uint8_t kind = *at++;

        if (kind == 1)
            at = give_short(&replay, at, end);
        else if (kind == 2)
            at = give_full(&replay, at);
        else
            assert_int_equal(kind, 0); /* the link's own heartbeat */
    }
    print_message("replayed %zu messages, %" PRIu64 " entries, %zu changes of members\n",
                  replay.items, raft_last_index(replay.raft), replay.conf_changes);
    assert_true(replay.items > 100);
    assert_int_equal(replay.applied, replay.commit);
    buf_free(&bytes);
    raft_free(replay.raft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stream_of_a_real_leader)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
