/*
 * engine_test.c - the engine with one member, whose clock, log and backend are held by the test:
 * what is promised when, and what is there after the power went.
 */
#include "common/schema/pbwire.h"
#include "etcd-server/engine/engine_internal.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lone lone;

/* A call's end: how often it came, and with what. */
struct outcome {
    unsigned count;
    enum err_code code;
};

static void note_outcome(void *arg, const struct engine_result *result)
{
    struct outcome *outcome = arg;

    outcome->count++;
    outcome->code = result->code;
}

static void few_snapshots(struct engine_config *config)
{
    config->snapshot_count = 5;
}

static void small_steps(struct engine_config *config)
{
    config->compaction_batch = 2;
    config->compaction_sleep_ms = 10;
}

static void small_requests(struct engine_config *config)
{
    config->max_request_bytes = 100;
}

static void start(void (*config)(struct engine_config *config))
{
    lone_init(&lone, config);
    lone_lead(&lone);
}

static int set_up(void **state)
{
    (void)state;
    start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lone_fini(&lone);
    return 0;
}

static void restart_with(void (*config)(struct engine_config *config))
{
    lone_fini(&lone);
    start(config);
}

/* Time passes in ticks, as it does. */
static void pass(uint64_t ms)
{
    for (uint64_t gone = 0; gone < ms; gone += LONE_TICK_MS) {
        lone.now_ms += LONE_TICK_MS;
        engine_tick(lone.engine);
        lone_turn(&lone);
    }
}

static uint64_t propose_put(const char *key, const char *value, struct outcome *outcome,
                            enum err_code *refusal)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    put.key.data = (uint8_t *)(uintptr_t)key; /* only read */
    put.key.len = strlen(key);
    put.value.data = (uint8_t *)(uintptr_t)value;
    put.value.len = strlen(value);
    request.put = &put;
    return engine_propose(lone.engine, &request, NULL, note_outcome, outcome, refusal);
}

static uint64_t must_propose(const char *key, struct outcome *outcome)
{
    enum err_code refusal;
    uint64_t id = propose_put(key, "v", outcome, &refusal);

    assert_int_not_equal(id, 0);
    return id;
}

static int64_t revision(void)
{
    return mvcc_revision(engine_mvcc(lone.engine));
}

static uint64_t stored_index(void)
{
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;
    struct slice value;
    uint64_t index = 0;

    assert_int_equal(backend_read_begin(lone.backend, &read, &err), 0);
    if (backend_get(read, BUCKET_META, SLICE_LITERAL("consistent_index"), &value))
        for (size_t i = 0; i < value.size; i++)
            index = index << 8 | value.data[i];
    backend_read_end(read);
    return index;
}

static size_t stored_records(void)
{
    struct backend_read *read = NULL;
    struct backend_cursor *cursor;
    struct slice key, value;
    struct err err = ERR_INIT;
    size_t count = 0;

    assert_int_equal(backend_read_begin(lone.backend, &read, &err), 0);
    cursor = backend_cursor_open(read, BUCKET_KEY);
    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more;
         more = backend_cursor_next(cursor, &key, &value))
        count++;
    backend_cursor_close(cursor);
    backend_read_end(read);
    return count;
}

/* ---- proposals ---- */

static void test_answered_once_when_durable(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    lone.hold_log = true;
    (void)must_propose("a", &outcome);
    lone_turn(&lone);
    assert_int_equal(outcome.count, 0);
    assert_int_equal(revision(), 1);
    lone.hold_log = false;
    lone_turn(&lone);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.code, ERR_OK);
    assert_int_equal(revision(), 2);
    pass(30000);
    assert_int_equal(outcome.count, 1);
}

static void test_forgotten_is_applied_unanswered(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    engine_forget(lone.engine, must_propose("a", &outcome));
    engine_forget(lone.engine, 12345); /* nobody's */
    lone_turn(&lone);
    assert_int_equal(outcome.count, 0);
    assert_int_equal(revision(), 2);
}

static void test_timed_out_then_applied(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    lone.hold_log = true;
    (void)must_propose("a", &outcome);
    pass(6900); /* 5 s and two election timeouts */
    assert_int_equal(outcome.count, 0);
    pass(200);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    lone.hold_log = false;
    lone_turn(&lone);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(revision(), 2);
}

static void test_refused(void **state)
{
    struct outcome outcome = {0};
    enum err_code refusal = ERR_OK;
    char value[200];

    (void)state;
    restart_with(small_requests);
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(propose_put("a", value, &outcome, &refusal), 0);
    assert_int_equal(refusal, ERR_REQUEST_TOO_LARGE);
    engine_fail(lone.engine);
    assert_int_equal(propose_put("a", "v", &outcome, &refusal), 0);
    assert_int_equal(refusal, ERR_STOPPED);
    assert_int_equal(outcome.count, 0);
}

static void test_without_leader(void **state)
{
    struct outcome outcome = {0};
    enum err_code refusal = ERR_OK;

    (void)state;
    lone_crash(&lone); /* it does not lead yet */
    assert_false(engine_ready(lone.engine));
    if (propose_put("a", "v", &outcome, &refusal) == 0)
        assert_int_not_equal(refusal, ERR_OK);
    lone_lead(&lone);
    assert_true(engine_ready(lone.engine));
    assert_int_equal(lone_put(&lone, "b", 0), ERR_OK);
}

static void test_stop_answers_all(void **state)
{
    struct outcome proposal = {0}, read = {0}, committed = {0};
    enum err_code refusal;

    (void)state;
    lone.hold_log = lone.hold_commit = true;
    (void)must_propose("a", &proposal);
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    (void)engine_when_committed(lone.engine, note_outcome, &committed);
    engine_fail(lone.engine);
    assert_int_equal(proposal.count, 1);
    assert_int_equal(proposal.code, ERR_STOPPED);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.code, ERR_STOPPED);
    assert_int_equal(committed.count, 1);
    assert_int_equal(committed.code, ERR_STOPPED);
}

/* ---- reads ---- */

static void test_read_sees_what_was_answered(void **state)
{
    struct outcome read = {0};
    enum err_code refusal;

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    assert_int_equal(read.count, 0); /* not within the call: raft is asked at the turn */
    lone_turn(&lone);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.code, ERR_OK);
    assert_int_equal(revision(), 2);
}

/* After a restart nothing may be read before the term's first entry is applied (Raft 8). */
static void test_read_waits_for_the_term(void **state)
{
    struct outcome read = {0};
    enum err_code refusal;

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    lone_crash(&lone);
    lone.hold_log = true;
    engine_campaign(lone.engine);
    lone_turn(&lone);
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    lone_turn(&lone);
    assert_int_equal(read.count, 0);
    lone.hold_log = false;
    lone_turn(&lone);
    assert_int_equal(read.count, 1);
    assert_int_equal(read.code, ERR_OK);
    assert_int_equal(revision(), 2);
}

static size_t slow_read_indexes(void)
{
    return (size_t)engine_stats(lone.engine).read_indexes_slow;
}

static void test_late_read_indexes_are_counted(void **state)
{
    struct outcome reads[3] = {{0}};
    enum err_code refusal;

    (void)state;
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &reads[0], &refusal), 0);
    lone_turn(&lone);
    assert_int_equal(slow_read_indexes(), 0);
    lone_crash(&lone);
    lone.hold_log = true; /* no index before the term's first entry is there */
    engine_campaign(lone.engine);
    for (size_t i = 1; i < 3; i++)
        assert_int_not_equal(engine_read(lone.engine, note_outcome, &reads[i], &refusal), 0);
    pass(600);
    lone.hold_log = false;
    lone_turn(&lone);
    assert_int_equal(reads[2].code, ERR_OK);
    assert_int_equal(slow_read_indexes(), 1);
}

static void test_lost_read_indexes_are_counted(void **state)
{
    struct outcome reads[100] = {{0}};
    enum err_code refusal;

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, NULL);
    for (size_t i = 0; i < 50; i++) {
        assert_int_not_equal(engine_read(lone.engine, note_outcome, &reads[i], &refusal), 0);
        pass(LONE_TICK_MS);
    }
    pass(7000);
    assert_int_equal(reads[49].code, ERR_TIMEOUT);
    assert_int_equal(slow_read_indexes(), 1); /* once in seven seconds */
}

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

/* What another member took is applied, whatever it is when decoded, and then let go. */
static void test_large_entries_are_let_go(void **state)
{
    static Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    static Etcdserverpb__Compare *compares[100000];
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(compares); i++)
        compares[i] = &compare;
    txn.compare = compares;
    txn.n_compare = ARRAY_LEN(compares);
    request.txn = &txn;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
    assert_in_range(lone.engine->entry_arena.used, 0, ENTRY_ARENA_KEPT_BYTES);
    assert_in_range(lone.engine->entry_arena.max, 10 * MIB, GIB);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    assert_in_range(lone.engine->entry_arena.max, 0, 2 * ENTRY_ARENA_KEPT_BYTES);
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

/* ---- compaction ---- */

/* An outcome, and what was durable when it came. */
struct physical {
    struct outcome outcome;
    size_t records;
};

static void note_physical(void *arg, const struct engine_result *result)
{
    struct physical *physical = arg;

    note_outcome(&physical->outcome, result);
    physical->records = stored_records();
}

static void order_compaction(int64_t to, struct physical *physical, struct outcome *outcome)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    enum err_code refusal;

    compaction.revision = to;
    compaction.physical = physical != NULL;
    request.compaction = &compaction;
    if (physical != NULL)
        assert_int_not_equal(
            engine_propose(lone.engine, &request, NULL, note_physical, physical, &refusal), 0);
    else
        assert_int_not_equal(
            engine_propose(lone.engine, &request, NULL, note_outcome, outcome, &refusal), 0);
    lone_turn(&lone);
}

static void put_versions(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

static void test_compaction_is_answered_at_once(void **state)
{
    struct outcome outcome = {0};
    struct physical again = {0};

    (void)state;
    restart_with(small_steps);
    put_versions(20);
    order_compaction(15, NULL, &outcome);
    assert_int_equal(outcome.count, 1);
    assert_true(mvcc_compacting(engine_mvcc(lone.engine)));
    order_compaction(15, &again, NULL); /* refused: no reason to wait */
    assert_int_equal(again.outcome.count, 1);
    assert_int_equal(again.outcome.code, ERR_COMPACTED);
}

/* api.md 6.7: `physical` waits until the deletions are done and committed. */
static void test_physical_waits_for_the_commit(void **state)
{
    struct physical call = {0};

    (void)state;
    restart_with(small_steps);
    put_versions(20);
    order_compaction(15, &call, NULL);
    assert_int_equal(call.outcome.count, 0);
    lone.hold_commit = true;
    while (mvcc_compacting(engine_mvcc(lone.engine))) {
        assert_int_equal(call.outcome.count, 0);
        pass(LONE_TICK_MS);
    }
    pass(2000);
    assert_int_equal(call.outcome.count, 0);
    lone.hold_commit = false;
    lone_turn(&lone);
    assert_int_equal(call.outcome.count, 1);
    assert_int_equal(call.outcome.code, ERR_OK);
    assert_int_equal(call.records, 7); /* revisions 15 to 21 */
}

/* Of several on their way each waits for its own end. */
static void test_physical_waits_for_its_own(void **state)
{
    static const int64_t revisions[] = {20, 40, 60}; /* of 61, each with one record but 1 */
    struct physical calls[3] = {0};

    (void)state;
    restart_with(small_steps);
    put_versions(60);
    for (size_t i = 0; i < 3; i++)
        order_compaction(revisions[i], &calls[i], NULL);
    for (unsigned turns = 0; turns < 200 && calls[2].outcome.count == 0; turns++)
        pass(LONE_TICK_MS);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(calls[i].outcome.count, 1);
        assert_int_equal(calls[i].outcome.code, ERR_OK);
        assert_in_range(calls[i].records, (size_t)(i == 2 ? 2 : 62 - revisions[i] - 10),
                        (size_t)(62 - revisions[i]));
    }
    assert_true(calls[0].records > calls[1].records);
    assert_true(calls[1].records > calls[2].records);
}

/* A compaction that a crash stopped half way is finished by itself (formats.md 11.4). */
static void test_compaction_goes_on_after_a_crash(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    restart_with(small_steps);
    put_versions(20);
    order_compaction(15, NULL, &outcome);
    pass(200);
    lone_crash(&lone);
    assert_int_equal(mvcc_compact_revision(engine_mvcc(lone.engine)), 15);
    lone_lead(&lone);
    for (int i = 0; i < 100 && mvcc_compacting(engine_mvcc(lone.engine)); i++)
        pass(LONE_TICK_MS);
    pass(200);
    assert_int_equal(stored_records(), 7);
}

/* ---- backlog ---- */

static enum err_code propose_revoke(void)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    struct outcome outcome = {0};
    enum err_code refusal = ERR_OK;
    uint64_t id;

    revoke.id = 1;
    request.lease_revoke = &revoke;
    id = engine_propose(lone.engine, &request, NULL, note_outcome, &outcome, &refusal);
    if (id != 0)
        engine_forget(lone.engine, id); /* the request dies here */
    return refusal;
}

#define LARGE_BYTES 1000000

static struct outcome written; /* of all that were proposed */

/* Writes until they are refused; returns how many were taken. */
static unsigned fill_backlog(void)
{
    char *value = xalloc(LARGE_BYTES + 1);
    enum err_code refusal = ERR_OK;
    unsigned taken = 0;

    memset(value, 'v', LARGE_BYTES);
    memset(&written, 0, sizeof(written));
    lone.hold_commit = true;
    while (propose_put("a", value, &written, &refusal) != 0) {
        lone_turn(&lone);
        taken++;
    }
    assert_int_equal(refusal, ERR_REQUEST_TOO_MANY_REQUESTS);
    free(value);
    return taken;
}

static void prefer_revokes(struct engine_config *config)
{
    config->priority_revokes = true;
}

static void test_backlog_refuses_writes(void **state)
{
    (void)state;
    fill_backlog();
    assert_int_equal(propose_revoke(), ERR_REQUEST_TOO_MANY_REQUESTS);
    lone_fini(&lone);
    lone_init(&lone, prefer_revokes); /* --feature-gates=PriorityRequest=true */
    lone_lead(&lone);
    fill_backlog();
    assert_int_equal(propose_revoke(), ERR_OK);
}

/* Before that they wait for the backend, and later ones behind them. */
static void test_backlog_holds_writes(void **state)
{
    unsigned taken, applied;
    int64_t revision;

    (void)state;
    revision = mvcc_revision(engine_mvcc(lone.engine));
    taken = fill_backlog();
    applied = written.count;
    assert_in_range(taken, (WRITE_BUFFER_MAX_BYTES + PROPOSALS_WAITING_MAX_BYTES) / LARGE_BYTES - 2,
                    (WRITE_BUFFER_MAX_BYTES + PROPOSALS_WAITING_MAX_BYTES) / LARGE_BYTES + 3);
    assert_in_range(applied, WRITE_BUFFER_MAX_BYTES / LARGE_BYTES - 1,
                    WRITE_BUFFER_MAX_BYTES / LARGE_BYTES + 2);
    lone.hold_commit = false;
    for (unsigned turns = 0; turns < 100 && written.count < taken; turns++)
        pass(LONE_TICK_MS);
    assert_int_equal(written.count, taken);
    assert_int_equal(written.code, ERR_OK);
    assert_int_equal(mvcc_revision(engine_mvcc(lone.engine)), revision + taken);
    for (unsigned turns = 0; turns < 100 && engine_is_full(lone.engine); turns++)
        pass(LONE_TICK_MS);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

/* What the backend never has room for is refused in the end, and was not written. */
static void test_backlog_ends(void **state)
{
    unsigned taken, applied;
    int64_t revision;

    (void)state;
    taken = fill_backlog();
    applied = written.count;
    revision = mvcc_revision(engine_mvcc(lone.engine));
    for (unsigned turns = 0; turns < 1000 && written.count < taken; turns++)
        pass(LONE_TICK_MS);
    assert_int_equal(written.count, taken);
    assert_int_equal(written.code, ERR_REQUEST_TOO_MANY_REQUESTS);
    assert_true(applied < taken);
    assert_int_equal(mvcc_revision(engine_mvcc(lone.engine)), revision);
}

/* ---- a full disk ---- */

static void test_full_disk_refuses_writes_only(void **state)
{
    struct outcome outcome = {0}, read = {0};
    enum err_code refusal = ERR_OK;

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    engine_disk_full(lone.engine, true);
    assert_true(engine_is_full(lone.engine));
    assert_int_equal(propose_put("a", "v", &outcome, &refusal), 0);
    assert_int_equal(refusal, ERR_DISK_FULL);
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    lone_turn(&lone);
    assert_int_equal(read.code, ERR_OK);
    assert_int_equal(read.count, 1);
    engine_disk_full(lone.engine, false);
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

/* ---- restarts ---- */

static void test_consistent_index_goes_with_its_data(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        lone.hold_commit = i % 5 != 0;
        assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
        pass(LONE_TICK_MS * (i % 4));
        /* every put is one entry and one record; the entries before the first one made none */
        assert_int_equal(stored_index() != 0 ? lone.log_end - stored_index() : 0,
                         stored_index() != 0 ? i + 1 - stored_records() : 0);
    }
}

static void test_restart_replays_what_is_missing(void **state)
{
    (void)state;
    put_versions(5);
    pass(500);
    assert_int_equal(stored_records(), 5);
    lone.hold_commit = true;
    put_versions(7);
    assert_int_equal(lone_grant(&lone, 77, 100), ERR_OK);
    assert_int_equal(stored_records(), 5);
    lone_crash(&lone);
    lone.hold_commit = false;
    lone_lead(&lone);
    assert_int_equal(revision(), 13);
    assert_non_null(lease_find(engine_leases(lone.engine), 77));
    pass(500);
    assert_int_equal(stored_records(), 12);
    lone_crash(&lone); /* now everything is there: nothing is applied twice */
    lone_lead(&lone);
    assert_int_equal(revision(), 13);
    assert_int_equal(stored_records(), 12);
}

static void test_unwritten_log_is_lost_unanswered(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    lone.hold_log = true;
    (void)must_propose("b", &outcome);
    lone_turn(&lone);
    lone_crash(&lone);
    assert_int_equal(outcome.count, 1); /* the process ended */
    assert_int_not_equal(outcome.code, ERR_OK);
    lone.hold_log = false;
    lone_lead(&lone);
    assert_int_equal(revision(), 2);
}

/* formats.md 3.5: consistent index >= snapshot index, always. */
static void test_snapshot_after_its_commit(void **state)
{
    (void)state;
    restart_with(few_snapshots);
    pass(500);
    lone.hold_commit = true;
    put_versions(20);
    pass(1000);
    assert_int_equal(lone.snapshots, 0);
    lone.hold_commit = false;
    lone_turn(&lone);
    pass(500);
    assert_true(lone.snapshots > 0);
    assert_non_null(lone.snapshot_saved);
    assert_true(stored_index() >= lone.snapshot_saved->snapshot->meta.index);
    lone_crash(&lone);
    lone_lead(&lone);
    assert_int_equal(revision(), 21);
    assert_int_equal(member_count(engine_members(lone.engine)), 1);
}

/* It was taken before the election, and goes to the log after it. */
static void test_snapshot_takes_no_term_back(void **state)
{
    (void)state;
    restart_with(few_snapshots);
    lone.hold_commit = true;
    put_versions(20);
    lone_crash(&lone);
    lone.hold_commit = true;
    lone_lead(&lone);
    assert_int_equal(lone.snapshots, 0);
    lone.hold_commit = false;
    lone_turn(&lone);
    pass(500);
    assert_non_null(lone.snapshot_saved);
    assert_int_equal(lone.snapshot_saved->state.term, raft_term(engine_raft(lone.engine)));
    assert_int_equal(lone.snapshot_saved->state.vote,
                     raft_hard_state(engine_raft(lone.engine)).vote);
}

static void test_flush_leaves_nothing_behind(void **state)
{
    (void)state;
    lone.hold_commit = true;
    put_versions(3);
    engine_flush(lone.engine);
    assert_false(engine_idle(lone.engine));
    lone.hold_commit = false;
    lone_turn(&lone);
    assert_true(engine_idle(lone.engine));
    assert_int_equal(stored_records(), 3);
    assert_int_equal(stored_index(), engine_applied_index(lone.engine));
}

/* The last commit may be reported after the end has begun: the host has no writer any more. */
static void test_commit_after_the_end(void **state)
{
    (void)state;
    restart_with(few_snapshots);
    pass(500);
    lone.hold_commit = true;
    put_versions(20);
    pass(1000);
    assert_non_null(lone.batch);
    engine_fail(lone.engine);
    lone.hold_commit = false;
    lone_turn(&lone);
    assert_null(lone.batch);
    assert_int_equal(lone.snapshots, 0);
}

/* A server that is told to stop does not wait for room on the disk. */
static void test_full_disk_does_not_hold_the_end(void **state)
{
    (void)state;
    lone.hold_commit = true;
    put_versions(3);
    engine_flush(lone.engine);
    assert_false(engine_idle(lone.engine));
    engine_disk_full(lone.engine, true);
    assert_true(engine_idle(lone.engine));
    lone_crash(&lone);
    lone_lead(&lone);
    assert_int_equal(revision(), 4);
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

/* ---- txns one inside the other ---- */

#define DEEP 190000 /* about what 1.5 MiB can hold */
#define LEVEL_BYTES 10

static uint8_t *put_front(uint8_t *at, uint8_t tag, size_t bytes)
{
    uint8_t head[1 + PB_VARINT_MAX] = {tag}, *end = pb_put_varint(head + 1, bytes);

    at -= end - head;
    memcpy(at, head, (size_t)(end - head));
    return at;
}

/* Through the log, as another member may have put it there: a put in the innermost of them. */
static void apply_nested(size_t depth)
{
    static const uint8_t put[] = {0x12, 7, 0x12, 5, 0x0a, 1, 'k', 0x12, 0}; /* success: put k */
    uint8_t *memory = xalloc(depth * LEVEL_BYTES + 64), *end = memory + depth * LEVEL_BYTES + 64;
    uint8_t *at = end - sizeof(put);
    bool unsent = true;

    memcpy(at, put, sizeof(put));
    for (size_t i = 1; i < depth; i++) { /* failure or success: request_txn */
        at = put_front(at, 0x22, (size_t)(end - at));
        at = put_front(at, 0x12, (size_t)(end - at));
    }
    at = put_front(at, 0x32, (size_t)(end - at)); /* txn */
    assert_int_equal(
        others_propose(lone.engine, RAFT_ENTRY_NORMAL, slice_of(at, (size_t)(end - at)), &unsent),
        ERR_OK);
    assert_false(unsent);
    lone_turn(&lone);
    free(memory);
}

static void test_deep_txns(void **state)
{
    int64_t before = revision();

    (void)state;
    apply_nested(1);
    assert_int_equal(revision(), before + 1);
    apply_nested(TXN_DEPTH_MAX);
    assert_int_equal(revision(), before + 2);
    apply_nested(TXN_DEPTH_MAX + 1);
    assert_int_equal(revision(), before + 3);
    apply_nested(DEEP);
    assert_int_equal(revision(), before + 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answered_once_when_durable),
        TEST(test_forgotten_is_applied_unanswered),
        TEST(test_timed_out_then_applied),
        TEST(test_refused),
        TEST(test_without_leader),
        TEST(test_stop_answers_all),
        TEST(test_read_sees_what_was_answered),
        TEST(test_read_waits_for_the_term),
        TEST(test_late_read_indexes_are_counted),
        TEST(test_lost_read_indexes_are_counted),
        TEST(test_large_entries_are_let_go),
        TEST(test_late_heartbeats_are_counted),
        TEST(test_heartbeats_of_newer_members_are_timed),
        TEST(test_unreachable_while_sending),
        TEST(test_snapshot_of_the_leader_is_told),
        TEST(test_compaction_is_answered_at_once),
        TEST(test_physical_waits_for_the_commit),
        TEST(test_physical_waits_for_its_own),
        TEST(test_compaction_goes_on_after_a_crash),
        TEST(test_backlog_refuses_writes),
        TEST(test_backlog_holds_writes),
        TEST(test_backlog_ends),
        TEST(test_full_disk_refuses_writes_only),
        TEST(test_consistent_index_goes_with_its_data),
        TEST(test_restart_replays_what_is_missing),
        TEST(test_unwritten_log_is_lost_unanswered),
        TEST(test_snapshot_after_its_commit),
        TEST(test_snapshot_takes_no_term_back),
        TEST(test_commit_after_the_end),
        TEST(test_full_disk_does_not_hold_the_end),
        TEST(test_flush_leaves_nothing_behind),
        TEST(test_pre_vote_can_be_switched_off),
        TEST(test_first_ticks_are_skipped),
        TEST(test_first_ticks_are_not_skipped),
        TEST(test_later_ticks_are_not_skipped),
        TEST(test_deep_txns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
