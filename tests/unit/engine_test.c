/*
 * engine_test.c - the engine with one member, whose clock, log and backend are held by the test:
 * what is promised when, and what is applied.
 */
#include "common/schema/pbwire.h"
#include "etcd-server/engine/v2request.h"
#include "tests/lib/engine_fixture.h"

static void small_requests(struct engine_config *config)
{
    config->max_request_bytes = 100;
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

/* ---- what belongs into a database from the start ---- */

static bool revision_of_auth_is_stored(void)
{
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;
    struct slice value;
    bool stored;

    assert_int_equal(backend_read_begin(lone.backend, &read, &err), 0);
    stored = backend_get(read, BUCKET_AUTH, SLICE_LITERAL("authRevision"), &value) &&
             slice_equal(value, slice_of("\0\0\0\0\0\0\0\x01", 8));
    backend_read_end(read);
    return stored;
}

/* A directory of an older release gets it at its next start, before there is a leader. */
static void test_the_auth_revision_is_always_stored(void **state)
{
    struct batch *batch = batch_new();
    struct err err = ERR_INIT;

    (void)state;
    pass(1000);
    assert_true(revision_of_auth_is_stored());
    batch_delete(batch, BUCKET_AUTH, SLICE_LITERAL("authRevision"));
    assert_int_equal(backend_commit(lone.backend, batch, &err), 0);
    batch_unref(batch);
    assert_false(revision_of_auth_is_stored());
    lone_crash(&lone);
    lone.hold_log = true;
    pass(1000);
    assert_true(revision_of_auth_is_stored());
}

/* ---- what is applied ---- */

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

/* etcd 3.4 ends at a request that it does not know. */
static void test_an_old_cluster_is_told_in_its_words(void **state)
{
    struct v2_request own, version;
    size_t before;
    enum err_code refusal;

    (void)state;
    lone_fini(&lone);
    lone_init(&lone, NULL);
    member_apply_version(engine_members(lone.engine), "3.4.0", NULL);
    before = lone.log_end;
    lone_lead(&lone);
    assert_true(engine_ready(lone.engine));
    assert_int_equal(lone.log_end, before + 2); /* the term's first, and its name */
    assert_true(v2_request_decode(lone.log[lone.log_end - 1].data, &own));
    assert_true(slice_starts_with(own.path, SLICE_LITERAL("/0/members/")));
    assert_string_equal(
        member_find(engine_members(lone.engine), engine_member_id(lone.engine))->name, "a");
    assert_int_not_equal(
        engine_propose_version(lone.engine, "3.5.0", note_outcome, &(struct outcome){0}, &refusal),
        0);
    lone_turn(&lone);
    assert_true(v2_request_decode(lone.log[lone.log_end - 1].data, &version));
    assert_true(slice_equal(version.value, SLICE_LITERAL("3.5.0")));
    assert_string_equal(member_cluster_version(engine_members(lone.engine)), "3.5.0");
}

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
        TEST(test_the_auth_revision_is_always_stored),
        TEST(test_large_entries_are_let_go),
        TEST(test_deep_txns),
        TEST(test_an_old_cluster_is_told_in_its_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
