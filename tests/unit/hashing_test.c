/* hashing_test.c - who shares a walk over the store, who goes first, and what happens to a revision
 * that is compacted while it waits. */
#include "etcd-server/service/hashing.h"
#include "common/base/limits.h"
#include "tests/lib/lone.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RECORDS_OF_A_SLICE 2000U /* HASH_SLICE_ENTRIES */
#define SLICES 3U                /* of a walk */
#define QUERIES_MAX 64

/* One who asks. */
struct asker {
    struct hash_query query;
    unsigned answers, order;
    enum err_code code;
    struct mvcc_hash_result result;
    struct asker *cancels, *starts; /* when it is answered */
};

static struct lone lone;
static struct metrics metrics;
static struct hashing *hashing;
static struct asker askers[QUERIES_MAX];
static unsigned answers;

static void ask(struct asker *asker, int64_t revision, bool of_member);

static void done(struct hash_query *query, enum err_code code,
                 const struct mvcc_hash_result *result)
{
    struct asker *asker = CONTAINER_OF(query, struct asker, query);

    assert_null(query->run);
    asker->answers++;
    asker->order = ++answers;
    asker->code = code;
    assert_true((code == ERR_OK) == (result != NULL));
    if (result != NULL)
        asker->result = *result;
    if (asker->cancels != NULL)
        hashing_cancel(&asker->cancels->query);
    if (asker->starts != NULL && asker->starts->query.run == NULL)
        ask(asker->starts, 0, false);
}

static void ask(struct asker *asker, int64_t revision, bool of_member)
{
    asker->query = (struct hash_query){.revision = revision, .of_member = of_member, .done = done};
    hashing_start(hashing, &asker->query);
}

static void put(void)
{
    assert_int_equal(lone_put(&lone, "a", 0), ERR_OK);
}

static int64_t current(void)
{
    return mvcc_revision(engine_mvcc(lone.engine));
}

static void compact(int64_t revision)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    compaction.revision = revision;
    request.compaction = &compaction;
    assert_int_equal(lone_apply(&lone, &request), ERR_OK);
}

static void begin(void)
{
    memset(askers, 0, sizeof(askers));
    memset(&metrics, 0, sizeof(metrics));
    answers = 0;
    lone_init(&lone, NULL);
    lone_lead(&lone);
    for (unsigned i = 0; i < (SLICES - 1) * RECORDS_OF_A_SLICE + 1; i++)
        put();
    hashing = hashing_new(engine_mvcc(lone.engine), &lone.host, &metrics);
}

static void end(void)
{
    hashing_free(hashing);
    lone_fini(&lone);
}

/* Until so many have been answered; how many turns it took. */
static unsigned turns_until(unsigned count)
{
    unsigned turns = 0;

    for (; answers < count; turns++) {
        assert_true(turns < 1000);
        (void)hashing_turn(hashing);
    }
    return turns;
}

static uint32_t hash_at(int64_t revision)
{
    struct mvcc_hash *hash = NULL;
    uint32_t value;

    assert_int_equal(mvcc_hash_start(engine_mvcc(lone.engine), revision, &hash), ERR_OK);
    while (!mvcc_hash_step(hash, SIZE_MAX))
        ;
    value = mvcc_hash_result(hash).hash;
    mvcc_hash_free(hash);
    return value;
}

/* ---- sharing ---- */

static void one_walk_answers_all(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < QUERIES_MAX; i++)
        ask(&askers[i], i % 2 == 0 ? 0 : current(), i % 3 == 0);
    assert_int_equal(turns_until(QUERIES_MAX), SLICES - 1);
    assert_int_equal(metrics.histograms[METRICS_HASH_REV].count, 1);
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        assert_int_equal(askers[i].code, ERR_OK);
        assert_int_equal(askers[i].answers, 1);
        assert_int_equal(askers[i].result.hash, hash_at(0));
        assert_int_equal(askers[i].result.hash_revision, current());
    }
    assert_false(hashing_turn(hashing));
    end();
}

/* Each is told which revision was current when the store was looked at for it. */
static void joined_later(void **state)
{
    int64_t at;

    (void)state;
    begin();
    at = current();
    ask(&askers[0], 0, false);
    put();
    ask(&askers[1], at, false); /* the walk under way */
    ask(&askers[2], 0, false);  /* another one */
    ask(&askers[3], current(), false);
    (void)turns_until(4);
    assert_int_equal(metrics.histograms[METRICS_HASH_REV].count, 2);
    assert_int_equal(askers[0].result.current_revision, at);
    assert_int_equal(askers[1].result.current_revision, at + 1);
    assert_int_equal(askers[1].result.hash, askers[0].result.hash);
    assert_int_equal(askers[0].result.hash, hash_at(at));
    for (size_t i = 2; i < 4; i++) {
        assert_int_equal(askers[i].result.hash, hash_at(at + 1));
        assert_int_equal(askers[i].result.hash_revision, at + 1);
    }
    end();
}

/* The same revision above another compaction is another hash. */
static void not_above_another_compaction(void **state)
{
    (void)state;
    begin();
    ask(&askers[0], 0, false);
    compact(10); /* held up by the walk */
    ask(&askers[1], 0, false);
    (void)turns_until(2);
    assert_int_equal(askers[0].result.compact_revision, -1);
    assert_int_equal(askers[1].result.compact_revision, 10);
    assert_int_not_equal(askers[0].result.hash, askers[1].result.hash);
    end();
}

/* ---- who goes first ---- */

static void members_go_first(void **state)
{
    int64_t first;

    (void)state;
    begin();
    first = current() - 50;
    for (size_t i = 0; i < 8; i++)
        ask(&askers[i], first + (int64_t)i, false);
    ask(&askers[8], first + 40, true);
    ask(&askers[9], first + 7, true); /* a client waits for this one, too */
    (void)turns_until(10);
    assert_int_equal(askers[0].order, 1); /* was under way */
    assert_int_equal(MIN(askers[7].order, askers[9].order), 2);
    assert_int_equal(MAX(askers[7].order, askers[9].order), 3);
    assert_int_equal(askers[8].order, 4);
    for (size_t i = 1; i < 7; i++)
        assert_int_equal(askers[i].order, 4 + i);
    end();
}

static void clients_are_bounded(void **state)
{
    struct asker *member = &askers[HASHES_WAITING_MAX + 3];
    int64_t first;

    (void)state;
    begin();
    first = current() - 50;
    for (size_t i = 0; i <= HASHES_WAITING_MAX; i++)
        ask(&askers[i], first + (int64_t)i, false);
    ask(&askers[HASHES_WAITING_MAX + 1], first - 1, false);
    assert_int_equal(askers[HASHES_WAITING_MAX + 1].code, ERR_REQUEST_TOO_MANY_REQUESTS);
    ask(&askers[HASHES_WAITING_MAX + 2], first + 1, false); /* shares */
    assert_int_equal(answers, 1);
    ask(member, first - 1, true);
    (void)turns_until(3);
    assert_int_equal(member->answers, 1);
    hashing_cancel(&askers[5].query);
    (void)turns_until(HASHES_WAITING_MAX + 3);
    assert_false(hashing_turn(hashing));
    assert_int_equal(askers[5].answers, 0);
    end();
}

/* ---- without a walk ---- */

static void answered_at_once(void **state)
{
    (void)state;
    begin();
    put();
    compact(current());
    while (mvcc_compacting(engine_mvcc(lone.engine)))
        (void)mvcc_compact_step(engine_mvcc(lone.engine), 1000);
    for (unsigned i = 0; i < 2 * RECORDS_OF_A_SLICE; i++)
        put();
    ask(&askers[0], 0, false);
    assert_int_equal(answers, 0);
    ask(&askers[1], current() + 1, false);
    assert_int_equal(askers[1].code, ERR_FUTURE_REV);
    ask(&askers[2], 5, true);
    assert_int_equal(askers[2].code, ERR_COMPACTED);
    ask(&askers[3], mvcc_compact_revision(engine_mvcc(lone.engine)), false);
    assert_int_equal(askers[3].answers, 1);
    assert_int_equal(askers[3].code, ERR_OK);
    assert_int_equal(askers[3].result.compact_revision, -1); /* what the compaction left behind */
    assert_int_equal(answers, 3);
    end();
}

static void compacted_while_it_waits(void **state)
{
    (void)state;
    begin();
    ask(&askers[0], 0, false);
    ask(&askers[1], 10, false);
    ask(&askers[2], 30, false);
    compact(20);
    (void)turns_until(3);
    assert_int_equal(askers[0].code, ERR_OK);
    assert_int_equal(askers[1].code, ERR_COMPACTED);
    assert_int_equal(askers[2].code, ERR_OK);
    assert_int_equal(askers[2].result.compact_revision, 20);
    end();
}

/* ---- answers that start and cancel ---- */

static void answers_change_the_line(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < 3; i++)
        ask(&askers[i], 0, false);
    for (size_t i = 0; i < 3; i++)
        askers[i].cancels = &askers[(i + 1) % 3]; /* whoever is first leaves one or two of them */
    ask(&askers[3], current() - 7, false);
    askers[0].starts = askers[1].starts = askers[2].starts = &askers[4];
    (void)turns_until(1);
    askers[0].starts = askers[1].starts = askers[2].starts = NULL;
    assert_true(askers[0].answers + askers[1].answers + askers[2].answers <= 2);
    while (hashing_turn(hashing))
        ;
    assert_int_equal(askers[3].answers, 1);
    assert_true(askers[4].answers >= 1);
    ask(&askers[0], 0, false); /* the only one leaves in the middle of it: nothing is held up */
    ask(&askers[1], current() - 9, true);
    hashing_cancel(&askers[0].query);
    askers[1].answers = 0;
    while (hashing_turn(hashing))
        ;
    assert_int_equal(askers[1].answers, 1);
    ask(&askers[0], 0, false);
    ask(&askers[1], current() - 9, true);
    end(); /* with both under way */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_walk_answers_all),         cmocka_unit_test(joined_later),
        cmocka_unit_test(not_above_another_compaction), cmocka_unit_test(members_go_first),
        cmocka_unit_test(clients_are_bounded),          cmocka_unit_test(answered_at_once),
        cmocka_unit_test(compacted_while_it_waits),     cmocka_unit_test(answers_change_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
