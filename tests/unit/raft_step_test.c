/*
 * raft_step_test.c - raft one event at a time, with messages made by hand: what a cluster of our
 * own members would hardly bring about, and what a peer should never send.
 */
#include "common/base/base.h"
#include "etcd-server/raft/progress.h"
#include "etcd-server/raft/quorum.h"
#include "etcd-server/raft/raft.h"
#include "etcd-server/raft/raft_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Member 1 of 1, 2, 3 with a log of the given terms behind (1, 1). */
static struct raft *with_log(uint64_t term, const uint64_t *terms, size_t count, uint64_t commit)
{
    struct raft_entry entries[8] = {{0}};
    struct raft_config config = {.id = 1, .election_ticks = 10, .pre_vote = true, .seed = 1};

    for (size_t i = 0; i < count; i++)
        entries[i] = (struct raft_entry){.term = terms[i], .index = 2 + i};
    config.hard_state = (struct raft_hard_state){.term = term, .commit = commit};
    config.snapshot = (struct raft_snapshot_meta){
        .conf_state = {.voters = {1, 2, 3}, .voter_count = 3}, .index = 1, .term = 1};
    config.entries = entries;
    config.entry_count = count;
    config.applied = 1;
    return raft_new(&config);
}

static struct raft *follower(void)
{
    return with_log(1, NULL, 0, 1);
}

static enum err_code step(struct raft *raft, struct raft_event event)
{
    return raft_step(raft, &event);
}

static enum err_code give(struct raft *raft, struct raft_message message)
{
    message.to = message.to != 0 ? message.to : 1;
    return step(raft, (struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &message});
}

/* Everything is durable at once; counts messages of a type. */
static size_t settle(struct raft *raft, enum raft_message_type type)
{
    struct raft_effects effects;
    size_t count = 0;

    while (raft_ready(raft, &effects)) {
        uint64_t id = effects.persist_id;

        for (size_t i = 0; i < effects.message_count; i++)
            count += effects.messages[i].type == type;
        if (id != 0)
            assert_int_equal(
                step(raft, (struct raft_event){.type = RAFT_EVENT_PERSISTED, .persist_id = id}),
                ERR_OK);
    }
    return count;
}

static void elect(struct raft *raft)
{
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}), ERR_OK);
    assert_int_equal(settle(raft, RAFT_MSG_PRE_VOTE), 2);
    assert_int_equal(give(raft, (struct raft_message){.type = RAFT_MSG_PRE_VOTE_RESP,
                                                      .from = 2,
                                                      .term = raft_term(raft) + 1}),
                     ERR_OK);
    assert_int_equal(settle(raft, RAFT_MSG_VOTE), 2);
    assert_int_equal(
        give(raft,
             (struct raft_message){.type = RAFT_MSG_VOTE_RESP, .from = 2, .term = raft_term(raft)}),
        ERR_OK);
    assert_int_equal(raft_role(raft), RAFT_LEADER);
    (void)settle(raft, RAFT_MSG_APP);
}

static enum err_code answer(struct raft *raft, uint64_t from, uint64_t index)
{
    return give(raft, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                            .from = from,
                                            .term = raft_term(raft),
                                            .index = index});
}

static void an_older_terms_entry_is_not_committed_by_counting(void **state)
{
    struct raft *raft = with_log(2, (const uint64_t[]){2}, 1, 1);

    (void)state;
    elect(raft); /* the empty entry of term 3 is at 3 */
    assert_int_equal(answer(raft, 2, 2), ERR_OK);
    assert_int_equal(raft_commit_index(raft), 1); /* on a majority, but of term 2 */
    assert_int_equal(answer(raft, 2, 3), ERR_OK);
    assert_int_equal(raft_commit_index(raft), 3);
    raft_free(raft);
}

static void an_answer_for_what_was_never_sent_is_ignored(void **state)
{
    struct raft *raft = follower();

    (void)state;
    elect(raft);
    assert_int_equal(answer(raft, 2, 99), ERR_OK);
    assert_int_equal(raft_commit_index(raft), 1);
    assert_int_equal(answer(raft, 9, 2), ERR_OK); /* no member */
    assert_int_equal(raft_commit_index(raft), 1);
    raft_free(raft);
}

static void commit_goes_no_further_than_the_message_agrees(void **state)
{
    struct raft *raft = with_log(2, (const uint64_t[]){2, 2, 2}, 3, 1);

    (void)state;
    assert_int_equal(give(raft, (struct raft_message){.type = RAFT_MSG_APP,
                                                      .from = 2,
                                                      .term = 3,
                                                      .log_term = 2,
                                                      .index = 2,
                                                      .commit = 4}),
                     ERR_OK);
    assert_int_equal(raft_commit_index(raft), 2); /* 3 and 4 may not be the leader's */
    raft_free(raft);
}

static void a_leader_with_another_history_stops_the_member(void **state)
{
    struct raft *raft = with_log(2, (const uint64_t[]){2, 2}, 2, 3);
    struct raft_entry other = {.term = 3, .index = 3};

    (void)state;
    assert_int_equal(
        give(raft,
             (struct raft_message){.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3, .commit = 4}),
        ERR_DAMAGED); /* we never had 4, the leader was told we had */
    assert_int_equal(raft_commit_index(raft), 3);
    raft_free(raft);
    raft = with_log(2, (const uint64_t[]){2, 2, 2}, 3, 2);
    assert_int_equal(give(raft, (struct raft_message){.type = RAFT_MSG_APP,
                                                      .from = 2,
                                                      .term = 3,
                                                      .log_term = 2,
                                                      .index = 2,
                                                      .commit = 2}),
                     ERR_OK);
    assert_int_equal(give(raft, (struct raft_message){.type = RAFT_MSG_APP,
                                                      .from = 2,
                                                      .term = 3,
                                                      .log_term = 3,
                                                      .index = 2,
                                                      .entries = &other,
                                                      .entry_count = 1}),
                     ERR_DAMAGED); /* 2 is committed here with term 2 */
    assert_int_equal(raft_term_at(raft, 2), 2);
    raft_free(raft);
}

static void entries_that_make_no_sense_are_refused(void **state)
{
    struct raft_entry entries[2] = {{.term = 2, .index = 2}, {.term = 2, .index = 4}};
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .from = 2,
                                   .term = 2,
                                   .log_term = 1,
                                   .index = 1,
                                   .entries = entries,
                                   .entry_count = 2};
    struct raft *raft = follower();

    (void)state;
    assert_int_equal(give(raft, message), ERR_FORMAT); /* a gap */
    entries[1] = (struct raft_entry){.term = 1, .index = 3};
    assert_int_equal(give(raft, message), ERR_FORMAT); /* terms that fall */
    entries[1] = (struct raft_entry){.term = 3, .index = 3};
    assert_int_equal(give(raft, message), ERR_FORMAT); /* of a term to come */
    message.index = UINT64_MAX;
    assert_int_equal(give(raft, message), ERR_FORMAT);
    assert_int_equal(raft_last_index(raft), 1);
    message = (struct raft_message){.type = RAFT_MSG_SNAP, .from = 2, .term = 2};
    assert_int_equal(give(raft, message), ERR_FORMAT); /* without a snapshot */
    raft_free(raft);
}

static void what_must_not_come_from_outside_is_ignored(void **state)
{
    struct raft *raft = follower();

    (void)state;
    for (int type = RAFT_MSG_HUP; type <= RAFT_MSG_PRE_VOTE_RESP; type++) {
        enum raft_message_type any = (enum raft_message_type)type;

        assert_int_equal(give(raft, (struct raft_message){.type = any, .from = 1, .term = 1}),
                         ERR_OK); /* from ourselves */
        assert_int_equal(give(raft, (struct raft_message){.type = any, .from = 2, .term = 0}),
                         any == RAFT_MSG_PROP ? ERR_NO_LEADER : ERR_OK);
        assert_int_equal(
            give(raft, (struct raft_message){.type = any, .to = 7, .from = 2, .term = 9}), ERR_OK);
    }
    assert_int_equal(raft_term(raft), 1);
    assert_int_equal(raft_leader(raft), 0);
    assert_int_equal(raft_role(raft), RAFT_FOLLOWER);
    raft_free(raft);
}

static void no_campaign_before_a_committed_change_is_applied(void **state)
{
    struct raft_conf_change change = {.type = RAFT_CONF_REMOVE_NODE, .node_id = 3};
    struct raft_entry entry = {.type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 2};
    struct raft_config config = {.id = 1, .election_ticks = 10, .pre_vote = true, .seed = 1};
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);
    struct raft_effects effects;
    struct raft *raft;

    (void)state;
    assert_true(raft_conf_change_encode(&change, &bytes));
    entry.data = buf_slice(&bytes);
    config.hard_state = (struct raft_hard_state){.term = 1, .commit = 2};
    config.snapshot = (struct raft_snapshot_meta){
        .conf_state = {.voters = {1, 2, 3}, .voter_count = 3}, .index = 1, .term = 1};
    config.entries = &entry;
    config.entry_count = 1;
    config.applied = 1;
    raft = raft_new(&config);
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}), ERR_OK);
    assert_int_equal(raft_role(raft), RAFT_FOLLOWER);
    assert_true(raft_ready(raft, &effects)); /* handed out, not yet reported */
    assert_int_equal(effects.apply_last, 2);
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}), ERR_OK);
    assert_int_equal(raft_role(raft), RAFT_FOLLOWER);
    assert_int_equal(
        step(raft, (struct raft_event){.type = RAFT_EVENT_CONF_APPLIED, .conf_change = &change}),
        ERR_OK);
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}), ERR_OK);
    assert_int_equal(raft_role(raft), RAFT_PRE_CANDIDATE);
    assert_int_equal(raft_conf_state(raft)->voter_count, 2);
    raft_free(raft);
    buf_free(&bytes);
}

static void an_impossible_change_stops_the_member(void **state)
{
    struct raft_conf_change change = {.type = RAFT_CONF_REMOVE_NODE, .node_id = 1};
    struct raft_entry entry = {.type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 2};
    struct raft_config config = {.id = 1, .election_ticks = 10, .seed = 1};
    struct raft_effects effects;
    struct raft *raft;

    (void)state;
    config.hard_state = (struct raft_hard_state){.term = 1, .commit = 2};
    config.snapshot = (struct raft_snapshot_meta){
        .conf_state = {.voters = {1}, .voter_count = 1}, .index = 1, .term = 1};
    config.entries = &entry;
    config.entry_count = 1;
    config.applied = 1;
    raft = raft_new(&config);
    assert_true(raft_ready(raft, &effects));
    assert_int_equal(
        step(raft, (struct raft_event){.type = RAFT_EVENT_CONF_APPLIED, .conf_change = &change}),
        ERR_DAMAGED); /* no voter would be left */
    assert_int_equal(raft_conf_state(raft)->voter_count, 1);
    raft_free(raft);
}

static uint64_t pick(uint64_t *random, uint64_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (*random >> 11) % below;
}

/* Any message at all: refused, ignored or taken, but the process goes on. */
static enum err_code give_anything(struct raft *raft, uint64_t *random)
{
    struct raft_snapshot snapshot = {
        .meta = {.conf_state = {.voters = {1, 2}, .voter_count = pick(random, 3)},
                 .index = pick(random, 12),
                 .term = pick(random, 5)}};
    struct raft_entry entries[3];
    struct raft_message message = {
        .type = (enum raft_message_type)pick(random, RAFT_MSG_PRE_VOTE_RESP + 1),
        .from = pick(random, 5),
        .term = raft_term(raft) + pick(random, 3) - pick(random, 2),
        .log_term = pick(random, 5),
        .index = pick(random, 8),
        .entries = entries,
        .entry_count = pick(random, 4),
        .commit = pick(random, 8),
        .snapshot = pick(random, 2) != 0 ? &snapshot : NULL,
        .reject = pick(random, 3) == 0,
        .reject_hint = pick(random, 8)};

    if (pick(random, 20) == 0)
        message.index = UINT64_MAX - pick(random, 3);
    if (pick(random, 20) == 0)
        message.reject_hint = UINT64_MAX;
    if (pick(random, 20) == 0)
        message.term = UINT64_MAX - pick(random, 2);
    for (size_t i = 0; i < message.entry_count; i++)
        entries[i] =
            (struct raft_entry){.type = (enum raft_entry_type)(pick(random, 8) / 5),
                                .term = pick(random, 8) == 0 ? pick(random, 6) : message.term,
                                .index = message.index + 1 + i,
                                .data = slice_of("\x08\x01", 2 * pick(random, 2))};
    return give(raft, message);
}

static void no_message_ends_the_process(void **state)
{
    uint64_t random = 12345;

    (void)state;
    for (int life = 0; life < 2000; life++) {
        struct raft *raft = with_log(2, (const uint64_t[]){1, 2, 2}, pick(&random, 4), 1);

        if (life % 3 == 0)
            elect(raft);
        for (int i = 0; i < 60; i++) {
            if (give_anything(raft, &random) == ERR_DAMAGED)
                break;
            if (pick(&random, 10) == 0)
                assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_TICK}), ERR_OK);
            if (pick(&random, 3) == 0)
                (void)settle(raft, RAFT_MSG_APP);
        }
        raft_free(raft);
    }
}

static void a_vote_waits_for_the_disk(void **state)
{
    struct raft *raft = follower();
    struct raft_effects effects;

    (void)state;
    assert_int_equal(
        give(raft,
             (struct raft_message){
                 .type = RAFT_MSG_VOTE, .from = 2, .term = 2, .log_term = 1, .index = 1}),
        ERR_OK);
    assert_true(raft_ready(raft, &effects));
    assert_int_equal(effects.message_count, 0);
    assert_int_equal(effects.hard_state.vote, 2);
    assert_true(effects.must_sync);
    assert_false(raft_ready(raft, &effects));
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_PERSISTED, .persist_id = 1}),
                     ERR_OK);
    assert_true(raft_ready(raft, &effects));
    assert_int_equal(effects.message_count, 1);
    assert_int_equal(effects.messages[0].type, RAFT_MSG_VOTE_RESP);
    assert_false(effects.messages[0].reject);
    raft_free(raft);
}

static void a_hanging_disk_holds_one_answer(void **state)
{
    struct raft_entry entry = {.term = 2, .index = 2};
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .from = 2,
                                   .term = 2,
                                   .log_term = 1,
                                   .index = 1,
                                   .entries = &entry,
                                   .entry_count = 1};
    struct raft *raft = follower();
    struct raft_effects effects;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(give(raft, message), ERR_OK);
        assert_int_equal(raft_ready(raft, &effects), i == 0); /* the leader, and the write */
        assert_int_equal(effects.message_count, 0);
    }
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_PERSISTED, .persist_id = 1}),
                     ERR_OK);
    assert_true(raft_ready(raft, &effects));
    assert_int_equal(effects.message_count, 1);
    assert_int_equal(effects.messages[0].index, 2);
    raft_free(raft);
}

static void appends_are_cut_at_their_limits(void **state)
{
    struct raft *raft = follower();
    uint8_t *large = xalloc(600 * KIB);
    size_t sent;

    (void)state;
    elect(raft);
    assert_int_equal(answer(raft, 2, 2), ERR_OK);
    (void)settle(raft, RAFT_MSG_APP);
    for (int i = 0; i < 3; i++)
        assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_PROPOSE,
                                                        .data = slice_of(large, 600 * KIB)}),
                         ERR_OK);
    assert_int_equal(settle(raft, RAFT_MSG_APP), 3); /* two of them pass 1 MiB; 3 is only probed */
    for (int i = 0; i < 1000; i++)
        assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_PROPOSE,
                                                        .data = slice_of(large, 64)}),
                         ERR_OK);
    assert_int_equal(settle(raft, RAFT_MSG_APP), 1); /* small ones travel together */
    sent = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_PROPOSE,
                                                        .data = slice_of(large, 600 * KIB)}),
                         ERR_OK);
        sent += settle(raft, RAFT_MSG_APP);
    }
    assert_in_range(sent, 40, 60); /* RAFT_INFLIGHT_MAX_BYTES without an answer */
    free(large);
    raft_free(raft);
}

static void reads_fail_with_the_leadership(void **state)
{
    struct raft *raft = follower();
    struct raft_effects effects;

    (void)state;
    elect(raft);
    assert_int_equal(answer(raft, 2, 2), ERR_OK);
    (void)settle(raft, RAFT_MSG_APP);
    assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_READ, .read_id = 7}),
                     ERR_OK);
    assert_int_equal(settle(raft, RAFT_MSG_HEARTBEAT), 2);
    assert_int_equal(
        give(raft,
             (struct raft_message){
                 .type = RAFT_MSG_APP, .from = 3, .term = 9, .log_term = 1, .index = 1}),
        ERR_OK);
    assert_true(raft_ready(raft, &effects));
    assert_int_equal(effects.read_count, 1);
    assert_int_equal(effects.reads[0].read_id, 7);
    assert_int_equal(effects.reads[0].index, 0);
    assert_true(effects.leader_changed);
    raft_free(raft);
}

static void reads_have_a_limit(void **state)
{
    struct raft *raft = follower();
    enum err_code code = ERR_OK;
    size_t taken = 0;

    (void)state;
    elect(raft); /* nothing of this term is committed: all of them wait */
    for (; code == ERR_OK && taken <= RAFT_READS_MAX; taken++)
        code = step(raft, (struct raft_event){.type = RAFT_EVENT_READ, .read_id = taken});
    assert_int_equal(code, ERR_REQUEST_TOO_MANY_REQUESTS);
    assert_int_equal(taken, RAFT_READS_MAX + 1);
    raft_free(raft);
}

/* The way to the leader is gone for a while, and every turn has its reads: they must not be in the
 * way of those that come when it is there again. An answer counts for all before it. */
static void lost_reads_make_room(void **state)
{
    struct raft *raft = follower();
    struct raft_effects effects;
    struct raft_entry entry = {.index = 0};
    uint8_t context[RAFT_READ_CONTEXT_MAX];

    (void)state;
    assert_int_equal(
        give(raft, (struct raft_message){.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1}),
        ERR_OK);
    for (uint64_t id = 1; id <= 3 * RAFT_READS_MAX; id++) {
        assert_int_equal(step(raft, (struct raft_event){.type = RAFT_EVENT_READ, .read_id = id}),
                         ERR_OK);
        assert_true(raft_ready(raft, &effects));
        assert_true(effects.message_count != 0);
        entry.data = effects.messages[effects.message_count - 1].entries[0].data;
        memcpy(context, entry.data.data, entry.data.size);
        entry.data.data = context;
    }
    assert_int_equal(give(raft, (struct raft_message){.type = RAFT_MSG_READ_INDEX_RESP,
                                                      .from = 2,
                                                      .term = 1,
                                                      .index = 1,
                                                      .entries = &entry,
                                                      .entry_count = 1}),
                     ERR_OK);
    assert_true(raft_ready(raft, &effects));
    assert_true(effects.read_count != 0);
    assert_int_equal(effects.reads[effects.read_count - 1].read_id, 3 * RAFT_READS_MAX);
    assert_int_equal(effects.reads[effects.read_count - 1].index, 1);
    raft_free(raft);
}

static void a_cut_takes_back_what_is_under_way(void **state)
{
    struct raft_log *log = xalloc(sizeof(*log));
    uint64_t first, second, third;

    (void)state;
    raft_log_init(log, 4, 1);
    for (int i = 0; i < 4; i++)
        raft_log_append(log, RAFT_ENTRY_NORMAL, 2, SLICE_EMPTY);
    first = raft_log_write(log); /* 5 to 8 of term 2 */
    raft_log_truncate(log, 5);
    raft_log_append(log, RAFT_ENTRY_NORMAL, 3, SLICE_EMPTY);
    second = raft_log_write(log); /* 6 of term 3 */
    raft_log_truncate(log, 5);
    for (int i = 0; i < 3; i++)
        raft_log_append(log, RAFT_ENTRY_NORMAL, 2, SLICE_EMPTY);
    third = raft_log_write(log); /* 6 to 8 of term 2 again */
    raft_log_written(log, first);
    assert_int_equal(log->stable, 5); /* the disk had 8 of term 2, and will lose it again */
    raft_log_written(log, second);
    assert_int_equal(log->stable, 5);
    raft_log_written(log, third);
    assert_int_equal(log->stable, 8);
    raft_log_fini(log);
    free(log);
}

static uint64_t ten_times(const void *arg, uint64_t id)
{
    (void)arg;
    return id * 10;
}

static enum quorum_answer up_to(const void *arg, uint64_t id)
{
    return id <= *(const uint64_t *)arg ? QUORUM_YES : QUORUM_NO;
}

/* A follower that was away for long makes it large; it does not stay so for good. */
static void a_cut_gives_back_the_ring(void **state)
{
    enum { MANY = 300000, KEPT = 5000 };
    struct raft_log *log = xalloc(sizeof(*log));
    size_t bytes, largest;

    (void)state;
    raft_log_init(log, 4, 1);
    for (size_t i = 0; i < MANY; i++)
        raft_log_append(log, RAFT_ENTRY_NORMAL, 2, slice_text("0123456789"));
    raft_log_commit(log, 4 + MANY);
    log->handed = log->stable = log->appended = 4 + MANY;
    largest = log->capacity;
    assert_in_range(largest, MANY, 2 * MANY);
    raft_log_compact(log, 4 + MANY / 2); /* half full: it stays */
    assert_int_equal(log->capacity, largest);
    for (uint64_t index = 4 + MANY / 2; index <= 4 + MANY - KEPT; index += 1000)
        raft_log_compact(log, index);
    assert_in_range(log->capacity, KEPT, 10 * KEPT);
    bytes = log->bytes;
    for (uint64_t index = log->base_index + 1; index <= log->last_index; index++) {
        assert_int_equal(raft_log_at(log, index)->index, index);
        assert_true(slice_equal(raft_log_at(log, index)->data, slice_text("0123456789")));
    }
    assert_int_equal(bytes, (log->last_index - log->base_index) * (10 + sizeof(struct raft_entry)));
    raft_log_compact(log, 4 + MANY);
    assert_in_range(log->capacity, 1, 4096);
    for (size_t i = 0; i < 2 * KEPT; i++)
        raft_log_append(log, RAFT_ENTRY_NORMAL, 3, SLICE_EMPTY);
    assert_int_equal(raft_log_at(log, 4 + MANY + 2 * KEPT)->term, 3);
    raft_log_fini(log);
    free(log);
}

static void majorities_of_both_halves(void **state)
{
    struct raft_conf_state conf = {.voters = {1, 2, 3, 4, 5}, .voter_count = 5};
    uint64_t yes = 3;

    (void)state;
    assert_int_equal(quorum_reached(&conf, ten_times, NULL), 30);
    assert_int_equal(quorum_tally(&conf, up_to, &yes), QUORUM_WON);
    yes = 2;
    assert_int_equal(quorum_tally(&conf, up_to, &yes), QUORUM_LOST);
    conf.voters_outgoing[0] = 6;
    conf.voters_outgoing[1] = 1;
    conf.voter_outgoing_count = 2;
    assert_int_equal(quorum_reached(&conf, ten_times, NULL), 10);
    yes = 3;
    assert_int_equal(quorum_tally(&conf, up_to, &yes), QUORUM_LOST);
    conf.voter_count = 4;
    conf.voter_outgoing_count = 0;
    assert_int_equal(quorum_reached(&conf, ten_times, NULL), 20);
    conf.voter_count = 0;
    assert_int_equal(quorum_reached(&conf, ten_times, NULL), UINT64_MAX);
}

static void flight_lands_in_order(void **state)
{
    struct progress *progress = progress_new(2, 0, 10);

    (void)state;
    assert_true(progress_rejected(progress, 9, 4));
    assert_int_equal(progress->next, 5);
    assert_false(progress_rejected(progress, 9, 3)); /* old news */
    assert_true(progress_accepted(progress, 4));
    assert_int_equal(progress->state, PROGRESS_REPLICATE);
    for (uint64_t i = 0; i < RAFT_INFLIGHT_MAX; i++)
        progress_sent(progress, 5 + i, 1);
    assert_true(progress_paused(progress));
    assert_true(progress_accepted(progress, 6));
    assert_int_equal(progress->inflight_count, RAFT_INFLIGHT_MAX - 2);
    assert_false(progress_rejected(progress, 5, 4)); /* it has that by now */
    assert_true(progress_rejected(progress, 8, 7));
    assert_int_equal(progress->state, PROGRESS_PROBE);
    assert_int_equal(progress->next, 7);
    progress_snapshot(progress);
    assert_true(progress_paused(progress));
    progress_snapshot_done(progress, 20);
    assert_int_equal(progress->next, 21);
    assert_true(progress_paused(progress));
    progress_heard(progress);
    assert_false(progress_paused(progress));
    progress_replicate(progress);
    for (uint64_t i = 0; i < RAFT_INFLIGHT_MAX; i++)
        progress_sent(progress, progress->next, 1);
    assert_true(progress_paused(progress));
    progress_heard(progress); /* room for one that asks what has arrived */
    assert_false(progress_paused(progress));
    progress_free(progress);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_terms_entry_is_not_committed_by_counting),
        cmocka_unit_test(an_answer_for_what_was_never_sent_is_ignored),
        cmocka_unit_test(commit_goes_no_further_than_the_message_agrees),
        cmocka_unit_test(a_leader_with_another_history_stops_the_member),
        cmocka_unit_test(entries_that_make_no_sense_are_refused),
        cmocka_unit_test(what_must_not_come_from_outside_is_ignored),
        cmocka_unit_test(no_campaign_before_a_committed_change_is_applied),
        cmocka_unit_test(an_impossible_change_stops_the_member),
        cmocka_unit_test(no_message_ends_the_process),
        cmocka_unit_test(a_vote_waits_for_the_disk),
        cmocka_unit_test(a_hanging_disk_holds_one_answer),
        cmocka_unit_test(appends_are_cut_at_their_limits),
        cmocka_unit_test(reads_fail_with_the_leadership),
        cmocka_unit_test(reads_have_a_limit),
        cmocka_unit_test(lost_reads_make_room),
        cmocka_unit_test(a_cut_takes_back_what_is_under_way),
        cmocka_unit_test(a_cut_gives_back_the_ring),
        cmocka_unit_test(majorities_of_both_halves),
        cmocka_unit_test(flight_lands_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
