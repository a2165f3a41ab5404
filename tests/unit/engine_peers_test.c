/*
 * engine_peers_test.c - the engine among other members: what it counts and tells of them, and when
 * it stands for election.
 */
#include "tests/lib/engine_fixture.h"

/* ---- what is counted of the other members ---- */

static void hear_at(enum raft_message_type type, uint64_t index)
{
    struct raft_message message = {.type = type,
                                   .index = index,
                                   .from = member_at(engine_members(lone.engine), 1)->id,
                                   .to = engine_member_id(lone.engine),
                                   .term = raft_term(engine_raft(lone.engine))};

    if (message.from == message.to)
        message.from = member_at(engine_members(lone.engine), 0)->id;
    message.term += type == RAFT_MSG_PRE_VOTE_RESP;
    engine_message(lone.engine, &message);
    lone_turn(&lone);
}

static void hear(enum raft_message_type type)
{
    hear_at(type, 0);
}

static size_t noted(const char *message)
{
    size_t count = 0;

    for (size_t i = 0; i < lone.note_count; i++)
        count += strcmp(lone.notes[i], message) == 0;
    return count;
}

/* The core is held up for a second: the next heartbeats are late, those after them are not. And a
 * leader counts once, however many terms and roles it took. */
static void test_late_heartbeats_are_counted(void **state)
{
    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    engine_campaign(lone.engine);
    lone_turn(&lone);
    hear(RAFT_MSG_PRE_VOTE_RESP);
    hear(RAFT_MSG_VOTE_RESP);
    assert_int_equal(raft_role(engine_raft(lone.engine)), RAFT_LEADER);
    assert_int_equal(engine_stats(lone.engine).leader_changes, 1);
    pass(3 * LONE_TICK_MS);
    assert_int_equal(engine_stats(lone.engine).heartbeats_late, 0);
    lone.now_ms += 1000;
    pass(LONE_TICK_MS);
    assert_int_equal(engine_stats(lone.engine).heartbeats_late, 2);
    pass(3 * LONE_TICK_MS);
    assert_int_equal(engine_stats(lone.engine).heartbeats_late, 2);
    pass(3000); /* nobody answers: it steps down */
    assert_int_equal(raft_leader(engine_raft(lone.engine)), 0);
    assert_int_equal(engine_stats(lone.engine).leader_changes, 1);
    pass(5000); /* it stands for election again and again */
    assert_int_equal(noted("elected leader"), 1);
    assert_int_equal(noted("lost leader"), 1);
}

/* Who waits for a quorum says so every seven seconds, and no more when it is there. */
static void test_unpublished_is_told(void **state)
{
    static const char *const words = "failed to publish local member to cluster through raft";

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    pass(6900);
    assert_int_equal(noted(words), 0);
    pass(200);
    assert_int_equal(noted(words), 1);
    pass(7000);
    assert_int_equal(noted(words), 2);
    assert_false(engine_ready(lone.engine));
    lone_fini(&lone);
    lone_init(&lone, NULL);
    lone_lead(&lone);
    assert_true(engine_ready(lone.engine));
    pass(15000);
    assert_int_equal(noted(words), 0);
}

/* A change of the members: one of the others has it, too. */
static void change_member(enum raft_conf_change_type type, const struct member *member)
{
    static struct outcome outcome;
    struct raft_conf_change change = {.type = type, .node_id = member->id};
    struct buf context = BUF_INIT(BUF_UNLIMITED);
    enum err_code refusal;

    outcome = (struct outcome){0};
    assert_true(member_write_json(member, false, &context));
    if (type != RAFT_CONF_REMOVE_NODE)
        change.context = buf_slice(&context);
    assert_int_not_equal(
        engine_propose_change(lone.engine, &change, note_outcome, &outcome, &refusal), 0);
    lone_turn(&lone);
    hear_at(RAFT_MSG_APP_RESP, raft_last_index(engine_raft(lone.engine)));
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.code, ERR_OK);
    buf_free(&context);
}

/* However many have come and gone while one member leads. */
static void test_heartbeats_of_newer_members_are_timed(void **state)
{
    static const char *const urls[] = {"http://10.0.0.9:2380"};
    struct member member;

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    engine_campaign(lone.engine);
    lone_turn(&lone);
    hear(RAFT_MSG_PRE_VOTE_RESP);
    hear(RAFT_MSG_VOTE_RESP);
    hear_at(RAFT_MSG_APP_RESP, raft_last_index(engine_raft(lone.engine)));
    member_init(&member, UINT64_MAX); /* the last in the list */
    member_set_peer_urls(&member, urls, 1);
    member.learner = true;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++, member.id--) {
        change_member(RAFT_CONF_ADD_LEARNER, &member);
        pass(LONE_TICK_MS);
        change_member(RAFT_CONF_REMOVE_NODE, &member);
    }
    change_member(RAFT_CONF_ADD_LEARNER, &member);
    pass(2 * LONE_TICK_MS);
    assert_int_equal(engine_stats(lone.engine).heartbeats_late, 0);
    lone.now_ms += 1000;
    pass(LONE_TICK_MS);
    assert_int_equal(engine_stats(lone.engine).heartbeats_late, 3);
    member_fini(&member);
}

/* The host finds out while it sends that one member cannot be reached; the messages to the others
 * lie in raft's memory. */
static void test_unreachable_while_sending(void **state)
{
    static struct outcome read; /* it is failed when the test is over */
    enum err_code refusal;

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    engine_campaign(lone.engine);
    lone_turn(&lone);
    hear(RAFT_MSG_PRE_VOTE_RESP);
    hear(RAFT_MSG_VOTE_RESP);
    lone.loses = true;
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    hear_at(RAFT_MSG_APP_RESP, raft_last_index(engine_raft(lone.engine))); /* now it may read */
    pass(3 * LONE_TICK_MS);
    assert_true(lone.sent[RAFT_MSG_HEARTBEAT] != 0);
    assert_false(lone.spoilt);
}

/* While the leader's snapshot is on its way to disk. */
static void test_snapshot_of_the_leader_is_told(void **state)
{
    struct raft_snapshot snapshot = {.meta = {.index = 100, .term = 7},
                                     .data = SLICE_LITERAL("{}")};
    struct raft_message message = {.type = RAFT_MSG_SNAP, .term = 7, .snapshot = &snapshot};

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    snapshot.meta.conf_state = *raft_conf_state(engine_raft(lone.engine));
    message.to = engine_member_id(lone.engine);
    message.from = member_at(engine_members(lone.engine), 1)->id;
    lone.hold_log = true;
    assert_false(engine_stats(lone.engine).installing);
    engine_message(lone.engine, &message);
    lone_turn(&lone);
    assert_true(engine_stats(lone.engine).installing);
}

/* ---- elections ---- */

static void restart_with_others(void (*config)(struct engine_config *config))
{
    lone_fini(&lone);
    lone_init_of_three(&lone, config);
    lone_turn(&lone);
}

static void without_pre_vote(struct engine_config *config)
{
    config->pre_vote = false;
}

static void test_pre_vote_can_be_switched_off(void **state)
{
    (void)state;
    restart_with_others(NULL);
    pass(2000); /* the longest election timeout */
    assert_true(lone.sent[RAFT_MSG_PRE_VOTE] >= 2);
    assert_int_equal(lone.sent[RAFT_MSG_VOTE], 0);
    assert_int_equal(raft_term(engine_raft(lone.engine)), 1);
    restart_with_others(without_pre_vote);
    pass(2000);
    assert_int_equal(lone.sent[RAFT_MSG_PRE_VOTE], 0);
    assert_true(lone.sent[RAFT_MSG_VOTE] >= 2);
    assert_true(raft_term(engine_raft(lone.engine)) >= 2);
}

static void with_advance(struct engine_config *config)
{
    config->election_tick_advance = true;
}

/* Ticks until it asks for votes. */
static unsigned ticks_to_pre_vote(uint64_t connected_ms, uint64_t connected_after_ms)
{
    unsigned ticks = 0;

    lone.connected_ms = 0;
    for (; lone.sent[RAFT_MSG_PRE_VOTE] == 0 && ticks < 200; ticks++) {
        if (ticks * LONE_TICK_MS >= connected_after_ms)
            lone.connected_ms = connected_ms;
        pass(LONE_TICK_MS);
    }
    return ticks;
}

/* raft.md 9.6: election ticks are 10, the timeout is 10 to 19. */
static void test_first_ticks_are_skipped(void **state)
{
    unsigned least = 100, most = 0;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        restart_with_others(with_advance);
        lone.random = i;
        lone_crash(&lone); /* with another timeout */
        unsigned ticks = ticks_to_pre_vote(LONE_TICK_MS, 0);

        least = MIN(least, ticks);
        most = MAX(most, ticks);
    }
    assert_in_range(least, 1, 3);
    assert_in_range(most, 9, 12);
}

static void test_first_ticks_are_not_skipped(void **state)
{
    (void)state;
    restart_with_others(NULL); /* not asked for */
    assert_in_range(ticks_to_pre_vote(LONE_TICK_MS, 0), 10, 20);
    restart_with_others(with_advance); /* nobody is in reach */
    assert_in_range(ticks_to_pre_vote(0, 0), 10, 20);
}

static void with_advance_and_patience(struct engine_config *config)
{
    config->election_tick_advance = true;
    config->election_ticks = 60; /* 6 seconds and more */
}

/* Whoever comes into reach after five seconds is no reason any more. */
static void test_later_ticks_are_not_skipped(void **state)
{
    unsigned most = 0;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        unsigned ticks;

        restart_with_others(with_advance_and_patience);
        lone.random = i;
        lone_crash(&lone);
        ticks = ticks_to_pre_vote(LONE_TICK_MS, 5000);
        assert_in_range(ticks, 60, 120);
        most = MAX(most, ticks);
    }
    assert_in_range(most, 80, 120); /* had it been skipped: 62 */
}

/* ---- what the log keeps for them ---- */

static void few_entries(struct engine_config *config)
{
    config->catchup_entries = 10;
    config->log_kept_bytes = 100000;
}

static uint64_t other(size_t number)
{
    for (size_t i = 0; i < member_count(engine_members(lone.engine)); i++) {
        uint64_t id = member_at(engine_members(lone.engine), i)->id;

        if (id != engine_member_id(lone.engine) && number-- == 0)
            return id;
    }
    return 0;
}

static void hear_from(uint64_t member, enum raft_message_type type, uint64_t index)
{
    struct raft_message message = {.type = type,
                                   .index = index,
                                   .from = member,
                                   .to = engine_member_id(lone.engine),
                                   .term = raft_term(engine_raft(lone.engine))};

    engine_message(lone.engine, &message);
    lone_turn(&lone);
}

/* Of three; both others have everything. */
static void lead_three(void)
{
    lone_fini(&lone);
    lone_init_of_three(&lone, few_entries);
    engine_campaign(lone.engine);
    lone_turn(&lone);
    hear(RAFT_MSG_PRE_VOTE_RESP);
    hear(RAFT_MSG_VOTE_RESP);
    for (size_t i = 0; i < 2; i++)
        hear_from(other(i), RAFT_MSG_APP_RESP, raft_last_index(engine_raft(lone.engine)));
}

/* The first other one has them; of the second nothing is heard. */
static void put_many(unsigned count)
{
    static struct outcome outcome;

    for (unsigned i = 0; i < count; i++) {
        (void)must_propose("k", &outcome);
        lone_turn(&lone);
        hear_from(other(0), RAFT_MSG_APP_RESP, raft_last_index(engine_raft(lone.engine)));
    }
}

static void pass_with_first(uint64_t ms)
{
    for (uint64_t gone = 0; gone < ms; gone += 500) {
        pass(500);
        hear_from(other(0), RAFT_MSG_HEARTBEAT_RESP, 0);
    }
}

/* A moment's pause is many entries under load: it must not cost a snapshot. */
static void test_log_is_kept_for_who_was_heard(void **state)
{
    uint64_t match;

    (void)state;
    lead_three();
    pass_with_first(500);
    match = raft_last_index(engine_raft(lone.engine));
    put_many(100);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), 1, match + 1);
    hear_from(other(1), RAFT_MSG_APP_RESP, match + 50);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), match + 40, match + 51);
    pass_with_first(LOG_KEPT_MS + 1000); /* it does not come back */
    put_many(1);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), match + 90, match + 95);
}

static void test_log_is_kept_in_so_much_memory(void **state)
{
    uint64_t match;

    (void)state;
    lead_three();
    pass_with_first(500);
    match = raft_last_index(engine_raft(lone.engine));
    put_many(3000);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), match + 100, match + 2990);
}

/* With a snapshot a member begins anew, which takes longer than a pause. */
static void test_log_is_kept_behind_a_snapshot(void **state)
{
    uint64_t snapshot;

    (void)state;
    lead_three();
    pass_with_first(LOG_KEPT_MS + 1000);
    put_many(100);
    snapshot = raft_last_index(engine_raft(lone.engine));
    engine_snapshot_sent(lone.engine, other(1), snapshot, true);
    pass_with_first(2 * LOG_KEPT_MS);
    put_many(100);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), 1, snapshot + 1);
}

/* ---- what they may propose ---- */

/* Another member may allow more than the log takes: its leader would have to stop, and the next. */
static void test_too_large_for_the_log(void **state)
{
    uint64_t last = raft_last_index(engine_raft(lone.engine));
    void *zeros = xalloc(WAL_ENTRY_MAX_BYTES + 1);
    struct raft_entry entry = {.data = slice_of(zeros, WAL_ENTRY_MAX_BYTES + 1)};
    struct raft_message message = {.type = RAFT_MSG_PROP,
                                   .from = 9,
                                   .to = engine_member_id(lone.engine),
                                   .entries = &entry,
                                   .entry_count = 1};

    (void)state;
    engine_message(lone.engine, &message);
    assert_int_equal(raft_last_index(engine_raft(lone.engine)), last);
    free(zeros);
}

static void propose_entry(enum raft_entry_type type, struct slice data)
{
    struct raft_entry entry = {.type = type, .data = data};
    struct raft_message message = {.type = RAFT_MSG_PROP,
                                   .from = 9,
                                   .to = engine_member_id(lone.engine),
                                   .entries = &entry,
                                   .entry_count = 1};

    engine_message(lone.engine, &message);
    lone_turn(&lone);
}

/* What cannot be applied would stop every member, at every start: it never gets into the log. */
static void test_nonsense_is_not_proposed(void **state)
{
    uint64_t last = raft_last_index(engine_raft(lone.engine));

    (void)state;
    propose_entry(RAFT_ENTRY_NORMAL, SLICE_LITERAL("no request"));
    propose_entry(RAFT_ENTRY_NORMAL, SLICE_LITERAL("\x22\x05\x0a"));
    propose_entry(RAFT_ENTRY_CONF_CHANGE, SLICE_LITERAL("no change"));
    propose_entry(RAFT_ENTRY_CONF_CHANGE_V2, SLICE_EMPTY);
    assert_int_equal(raft_last_index(engine_raft(lone.engine)), last);
    propose_entry(RAFT_ENTRY_NORMAL, SLICE_LITERAL("\x22\x06\x0a\x01k\x12\x01v"));
    assert_int_equal(raft_last_index(engine_raft(lone.engine)), last + 1);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

/* ---- who may go ---- */

/* Two members take each other out at once: each was asked while the other was still there. Who
 * comes second would leave nobody, and the entry would stop every member at every start. */
static void test_last_voter_stays(void **state)
{
    struct raft_conf_change change = {.type = RAFT_CONF_REMOVE_NODE,
                                      .node_id = lone.config.member_id};
    struct outcome outcome = {0};
    enum err_code refusal;

    (void)state;
    assert_int_not_equal(
        engine_propose_change(lone.engine, &change, note_outcome, &outcome, &refusal), 0);
    lone_turn(&lone);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.code, ERR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    lone_crash(&lone);
    lone_lead(&lone);
    assert_int_equal(member_count(engine_members(lone.engine)), 1);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unpublished_is_told),
        TEST(test_late_heartbeats_are_counted),
        TEST(test_heartbeats_of_newer_members_are_timed),
        TEST(test_unreachable_while_sending),
        TEST(test_snapshot_of_the_leader_is_told),
        TEST(test_pre_vote_can_be_switched_off),
        TEST(test_first_ticks_are_skipped),
        TEST(test_first_ticks_are_not_skipped),
        TEST(test_later_ticks_are_not_skipped),
        TEST(test_log_is_kept_for_who_was_heard),
        TEST(test_log_is_kept_in_so_much_memory),
        TEST(test_log_is_kept_behind_a_snapshot),
        TEST(test_too_large_for_the_log),
        TEST(test_nonsense_is_not_proposed),
        TEST(test_last_voter_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
