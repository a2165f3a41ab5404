/*
 * engine_disk_test.c - the engine and its store: compactions, a backend that is behind, a full
 * disk, and what is there after the power went.
 */
#include "tests/lib/engine_fixture.h"

static void few_snapshots(struct engine_config *config)
{
    config->snapshot_count = 5;
}

static void small_steps(struct engine_config *config)
{
    config->compaction_batch = 2;
    config->compaction_sleep_ms = 10;
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

/* ---- what others want written ---- */

static void small_buffers(struct engine_config *config)
{
    config->write_buffer_bytes = 20000;
    config->waiting_bytes = 1 << 20;
    config->backlog_bytes = 40000;
}

#define VALUE_BYTES 10000

/* A put, as it stands in the log; the caller's to release. */
static struct buf encoded_put(void)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    uint8_t key[] = "k", value[VALUE_BYTES] = "v";
    size_t bytes;

    put.key = (ProtobufCBinaryData){1, key};
    put.value = (ProtobufCBinaryData){sizeof(value), value};
    request.put = &put;
    bytes = etcdserverpb__internal_raft_request__get_packed_size(&request);
    must(etcdserverpb__internal_raft_request__pack(&request, buf_reserve(&out, bytes)) == bytes);
    buf_advance(&out, bytes);
    return out;
}

static void others_propose_put(void)
{
    struct buf data = encoded_put();
    struct raft_entry entry = {.data = buf_slice(&data)};
    struct raft_message message = {.type = RAFT_MSG_PROP,
                                   .from = 9,
                                   .to = engine_member_id(lone.engine),
                                   .entries = &entry,
                                   .entry_count = 1};

    engine_message(lone.engine, &message);
    lone_turn(&lone);
    buf_free(&data);
}

/* Another member does not see that the leader's backend is behind. */
static void test_backlog_holds_what_others_propose(void **state)
{
    int64_t before, held;

    (void)state;
    restart_with(small_buffers);
    before = revision();
    lone.hold_commit = true;
    for (unsigned i = 0; i < 10; i++)
        others_propose_put();
    held = before + 10 - revision();
    assert_in_range(held, 6, 9);
    lone.hold_commit = false;
    for (unsigned turns = 0; turns < 10; turns++)
        pass(LONE_TICK_MS);
    assert_int_equal(revision(), before + 10);
}

/* An entry of the leader that follows the newest one. */
static void leader_sends_put(void)
{
    const struct raft *raft = engine_raft(lone.engine);
    uint64_t last = raft_last_index(raft);
    struct buf data = encoded_put();
    struct raft_entry entry = {.term = 2, .index = last + 1, .data = buf_slice(&data)};
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .from = 9,
                                   .to = engine_member_id(lone.engine),
                                   .term = 2,
                                   .index = last,
                                   .log_term = raft_term_at(raft, last),
                                   .entries = &entry,
                                   .entry_count = 1,
                                   .commit = last + 1};

    engine_message(lone.engine, &message);
    lone_turn(&lone);
    buf_free(&data);
}

/* A follower whose backend hangs, or is rewritten for long, takes no more than it has room for. */
static void test_backlog_ends_what_the_leader_sends(void **state)
{
    int64_t before;

    (void)state;
    lone_fini(&lone);
    lone_init_of_three(&lone, small_buffers);
    before = revision();
    lone.hold_commit = true;
    for (unsigned i = 0; i < 20; i++)
        leader_sends_put();
    assert_in_range(revision() - before, 3, 6);
    lone.hold_commit = false;
    for (unsigned i = 0; i < 20; i++) {
        leader_sends_put();
        pass(LONE_TICK_MS);
    }
    assert_true(revision() - before > 20);
}

/* ---- a full disk ---- */

/* The log and the backend may lie on two, and one is freed before the other. */
static void test_two_full_disks(void **state)
{
    (void)state;
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, true);
    engine_disk_full(lone.engine, ENGINE_DISK_BACKEND, true);
    engine_disk_full(lone.engine, ENGINE_DISK_BACKEND, false);
    assert_true(engine_is_full(lone.engine));
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, false);
    assert_false(engine_is_full(lone.engine));
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

/* What waits for the backend is not handed on to a full disk. */
static void test_full_disk_holds_what_waits(void **state)
{
    char value[VALUE_BYTES + 1];
    enum err_code refusal;
    int64_t before;

    (void)state;
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    restart_with(small_buffers);
    memset(&written, 0, sizeof(written));
    lone.hold_commit = true;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_not_equal(propose_put("a", value, &written, &refusal), 0);
        lone_turn(&lone);
    }
    before = revision();
    assert_in_range(written.count, 1, 5);
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, true);
    lone.hold_commit = false;
    pass(1000);
    assert_int_equal(revision(), before);
    pass(8000);
    assert_int_equal(written.count, 10);
    assert_int_equal(written.code, ERR_DISK_FULL);
    assert_int_equal(revision(), before);
}

static void test_full_disk_refuses_writes_only(void **state)
{
    struct outcome outcome = {0}, read = {0};
    enum err_code refusal = ERR_OK;

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, true);
    assert_true(engine_is_full(lone.engine));
    assert_int_equal(propose_put("a", "v", &outcome, &refusal), 0);
    assert_int_equal(refusal, ERR_DISK_FULL);
    assert_int_not_equal(engine_read(lone.engine, note_outcome, &read, &refusal), 0);
    lone_turn(&lone);
    assert_int_equal(read.code, ERR_OK);
    assert_int_equal(read.count, 1);
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, false);
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

static void few_bytes(struct engine_config *config)
{
    config->snapshot_bytes = 2000;
    config->log_kept_bytes = 3000;
}

/* What is read back at a start, and what the log keeps, fits into memory, however large values
 * are. */
static void test_log_is_cut_by_bytes(void **state)
{
    uint64_t last;

    (void)state;
    restart_with(few_bytes);
    put_versions(100);
    pass(500);
    assert_true(lone.snapshots > 0);
    assert_non_null(lone.snapshot_saved);
    last = raft_last_index(engine_raft(lone.engine));
    assert_in_range(lone.snapshot_saved->snapshot->meta.index, last - 50, last);
    assert_in_range(raft_first_index(engine_raft(lone.engine)), last - 90, last);
    lone_crash(&lone);
    lone_lead(&lone);
    assert_int_equal(revision(), 101);
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
    engine_disk_full(lone.engine, ENGINE_DISK_LOG, true);
    assert_true(engine_idle(lone.engine));
    lone_crash(&lone);
    lone_lead(&lone);
    assert_int_equal(revision(), 4);
}

/* ---- what a directory brings ---- */

static void keep(struct backend *backend, enum bucket bucket, const char *key, struct slice value)
{
    struct batch *batch = batch_new();
    struct err err = ERR_INIT;

    batch_put(batch, bucket, slice_text(key), value);
    assert_int_equal(backend_commit(backend, batch, &err), 0);
    batch_unref(batch);
}

static bool kept(const char *key, const char *part)
{
    struct backend_read *read = NULL;
    struct err err = ERR_INIT;
    struct slice value;
    bool found;

    assert_int_equal(backend_read_begin(lone.backend, &read, &err), 0);
    found = backend_get(read, BUCKET_MEMBERS, slice_text(key), &value) &&
            memmem(value.data, value.size, part, strlen(part)) != NULL;
    backend_read_end(read);
    return found;
}

/* Of one voter, 100. */
static const char members[] =
    "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{\"members\":{"
    "\"Path\":\"/0/members\",\"Children\":{\"100\":{\"Path\":\"/0/members/100\",\"Children\":{"
    "\"raftAttributes\":{\"Path\":\"/0/members/100/raftAttributes\","
    "\"Value\":\"{\\\"peerURLs\\\":[\\\"http://127.0.0.1:1\\\"]}\"}}}}}}}}}}";

static void at_snapshot(struct engine_config *config)
{
    config->member_id = 0x100;
    config->snapshot = (struct raft_snapshot_meta){
        .index = 5, .term = 1, .conf_state = {.voters = {0x100}, .voter_count = 1}};
    config->snapshot_data = SLICE_LITERAL(members);
}

/* raft.md 9.3: entries up to that index would be committed and not applied. */
static void test_database_ahead_of_the_log_is_refused(void **state)
{
    struct backend *backend = backend_new_mem();
    struct err err = ERR_INIT;

    (void)state;
    lone_fini(&lone);
    keep(backend, BUCKET_META, "consistent_index", SLICE_LITERAL("\0\0\0\0\0\0\0\6"));
    assert_int_equal(lone_init_at_snapshot(&lone, backend, at_snapshot, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_non_null(strstr(err.text, "index 6) is ahead of the log (index 5)"));
}

/* formats.md 6.2: a ghost goes, and who votes is no learner. */
static void test_members_are_repaired(void **state)
{
    struct backend *backend = backend_new_mem();
    struct err err = ERR_INIT;

    (void)state;
    lone_fini(&lone);
    keep(backend, BUCKET_META, "consistent_index", SLICE_LITERAL("\0\0\0\0\0\0\0\5"));
    keep(backend, BUCKET_MEMBERS, "100",
         SLICE_LITERAL("{\"id\":256,\"peerURLs\":[\"http://127.0.0.1:1\"],\"isLearner\":true}"));
    keep(backend, BUCKET_MEMBERS, "9",
         SLICE_LITERAL("{\"id\":9,\"peerURLs\":[\"http://127.0.0.1:9\"]}"));
    assert_int_equal(lone_init_at_snapshot(&lone, backend, at_snapshot, &err), 0);
    pass(500);
    assert_true(kept("100", "127.0.0.1:1"));
    assert_false(kept("100", "isLearner\":true"));
    assert_false(kept("9", ""));
}

/* The commit index in the log may lag behind the database, as after every kill. */
static void test_members_are_repaired_after_a_crash(void **state)
{
    uint64_t commit = lone.state_durable.commit;

    (void)state;
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
    pass(500);
    keep(lone.backend, BUCKET_MEMBERS, "9",
         SLICE_LITERAL("{\"id\":9,\"peerURLs\":[\"http://127.0.0.1:9\"]}"));
    lone.state_durable.commit = commit;
    lone_crash(&lone);
    lone_lead(&lone);
    pass(500);
    assert_false(kept("9", ""));
}

/* But who joined since then is no ghost. */
static void test_members_of_later_entries_stay(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:2"};
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_LEARNER, .node_id = 0x200};
    uint64_t commit = lone.state_durable.commit;
    struct buf context = BUF_INIT(BUF_UNLIMITED);
    struct outcome outcome = {0};
    struct member member;
    enum err_code refusal;

    (void)state;
    member_init(&member, change.node_id);
    member.learner = true;
    member_set_peer_urls(&member, urls, 1);
    assert_true(member_write_json(&member, false, &context));
    change.context = buf_slice(&context);
    assert_int_not_equal(
        engine_propose_change(lone.engine, &change, note_outcome, &outcome, &refusal), 0);
    pass(500);
    assert_true(kept("200", "127.0.0.1:2"));
    lone.state_durable.commit = commit;
    lone_crash(&lone);
    lone_lead(&lone);
    pass(500);
    assert_non_null(member_find(engine_members(lone.engine), change.node_id));
    assert_true(kept("200", "127.0.0.1:2"));
    member_fini(&member);
    buf_free(&context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_compaction_is_answered_at_once),
        TEST(test_physical_waits_for_the_commit),
        TEST(test_physical_waits_for_its_own),
        TEST(test_compaction_goes_on_after_a_crash),
        TEST(test_backlog_refuses_writes),
        TEST(test_backlog_holds_writes),
        TEST(test_backlog_ends),
        TEST(test_backlog_holds_what_others_propose),
        TEST(test_backlog_ends_what_the_leader_sends),
        TEST(test_two_full_disks),
        TEST(test_full_disk_holds_what_waits),
        TEST(test_full_disk_refuses_writes_only),
        TEST(test_consistent_index_goes_with_its_data),
        TEST(test_restart_replays_what_is_missing),
        TEST(test_unwritten_log_is_lost_unanswered),
        TEST(test_snapshot_after_its_commit),
        TEST(test_log_is_cut_by_bytes),
        TEST(test_snapshot_takes_no_term_back),
        TEST(test_commit_after_the_end),
        TEST(test_full_disk_does_not_hold_the_end),
        TEST(test_flush_leaves_nothing_behind),
        TEST(test_database_ahead_of_the_log_is_refused),
        TEST(test_members_are_repaired),
        TEST(test_members_are_repaired_after_a_crash),
        TEST(test_members_of_later_entries_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
