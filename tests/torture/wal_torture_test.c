/*
 * wal_torture_test.c - the log under a disk that fails and loses: every n-th operation fails once,
 * and the power goes at random moments. What was synced is there afterwards, in order and whole;
 * what comes behind it is what was appended, or nothing.
 */
#include "common/storage/wal.h"
#include "tests/lib/memfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DIR "m/wal"
#define ENTRIES_MAX 400

/* What was given to the log, and how much of it was promised. */
struct model {
    struct memfs memfs;
    struct wal_config config;
    struct raft_entry entries[ENTRIES_MAX]; /* data is made from index and term */
    size_t count;                           /* appended, by the newest view */
    size_t synced;                          /* of these durable */
    uint64_t synced_term;
    uint64_t snapshot; /* recorded and synced; 0 = none */
    uint64_t seed;
    bool created;
};

static uint64_t draw(struct model *model, uint64_t below)
{
    model->seed = model->seed * 6364136223846793005U + 1442695040888963407U;
    return (model->seed >> 33) % below;
}

static void fill(uint8_t *data, const struct raft_entry *entry)
{
    for (size_t at = 0; at < entry->data.size; at++)
        data[at] = (uint8_t)(entry->index * 31 + entry->term * 7 + at / 100);
}

static void start_model(struct model *model, uint64_t seed)
{
    *model = (struct model){.seed = seed};
    memfs_init(&model->memfs);
    model->config = (struct wal_config){.fs = &model->memfs.fs, .dir = DIR, .segment_bytes = 4096};
}

/* Append some entries, now and then over the last ones with a new term, and mostly sync. */
static int append_some(struct model *model, struct wal *wal, struct err *err)
{
    uint8_t data[3][2000];
    struct raft_entry batch[3];
    struct raft_hard_state state = {.vote = 1};
    size_t count = 1 + draw(model, 3);
    size_t first = model->count;
    uint64_t term = first != 0 ? model->entries[first - 1].term : 1;

    if (first > model->snapshot + 2 && draw(model, 8) == 0) {
        first -= 1 + draw(model, 2);
        term++;
    }
    for (size_t at = 0; at < count; at++) {
        batch[at] = (struct raft_entry){
            .index = first + at + 1, .term = term, .data = {data[at], draw(model, 2000)}};
        fill(data[at], &batch[at]);
    }
    state.term = term;
    state.commit = model->synced;
    model->synced = MIN(model->synced, first); /* an overriding entry may or may not get there */
    if (wal_append(wal, &state, batch, count, err) < 0)
        return -1;
    memcpy(&model->entries[first], batch, count * sizeof(*batch));
    model->count = first + count;
    if (draw(model, 4) == 0)
        return 0;
    if (wal_sync(wal, err) < 0)
        return -1;
    model->synced = model->count;
    model->synced_term = term;
    return 0;
}

static int snapshot_some(struct model *model, struct wal *wal, struct err *err)
{
    struct raft_conf_state conf = {.voters = {1}, .voter_count = 1};
    struct raft_hard_state state = {.vote = 1};
    uint64_t index = model->synced;

    if (index <= model->snapshot)
        return 0;
    state.term = model->entries[model->count - 1].term;
    state.commit = index;
    if (wal_append(wal, &state, NULL, 0, err) < 0 ||
        wal_snapshot_record(
            wal, &(struct wal_snapshot){index, model->entries[index - 1].term, &conf, false}, err) <
            0)
        return -1;
    model->synced = model->count;
    model->snapshot = index;
    wal_release(wal, index);
    return wal_purge(wal, 2, err);
}

/* Is the log's content what was promised, and nothing that was never said? */
static void check_log(struct model *model, const struct wal_log *log)
{
    assert_true(model->snapshot + log->entry_count >= model->synced);
    for (size_t at = 0; at < log->entry_count; at++) {
        const struct raft_entry *entry = &log->entries[at];
        uint8_t data[2000];

        assert_int_equal(entry->index, model->snapshot + at + 1);
        if (entry->index <= model->synced) {
            assert_int_equal(entry->term, model->entries[entry->index - 1].term);
            assert_int_equal(entry->data.size, model->entries[entry->index - 1].data.size);
        }
        fill(data, entry);
        if (entry->data.size != 0)
            assert_memory_equal(entry->data.data, data, entry->data.size);
    }
    assert_true(log->hard_state.term >= model->synced_term);
}

/* The model goes on from what the log has. */
static void adopt(struct model *model, const struct wal_log *log)
{
    for (size_t at = 0; at < log->entry_count; at++)
        model->entries[model->snapshot + at] = log->entries[at];
    model->count = model->snapshot + log->entry_count;
    model->synced = model->count;
}

static struct wal_position start_of(const struct model *model)
{
    return (struct wal_position){
        model->snapshot, model->snapshot != 0 ? model->entries[model->snapshot - 1].term : 0};
}

static int run(struct model *model, unsigned steps, struct err *err)
{
    struct wal_metadata metadata = {1, 2};
    struct wal_log log = {0};
    struct wal *wal = NULL;
    bool exists;
    int rc;

    if (wal_exists(&model->memfs.fs, DIR, &exists, err) < 0)
        return -1;
    if (exists) {
        rc = wal_open(&model->config, start_of(model), &log, &wal, err);
        if (rc == 0) {
            check_log(model, &log);
            adopt(model, &log);
        }
    } else {
        assert_false(model->created);
        rc = wal_create(&model->config, &metadata, &wal, err);
        model->created = rc == 0;
    }
    for (unsigned at = 0; rc == 0 && at < steps && model->count < ENTRIES_MAX - 3; at++)
        rc = draw(model, 10) == 0 ? snapshot_some(model, wal, err) : append_some(model, wal, err);
    wal_log_free(&log);
    wal_close(wal);
    assert_int_equal(memfs_open_files(&model->memfs), 0);
    return rc;
}

static void every_operation_fails_once(void **state)
{
    static const int kinds[] = {EIO, ENOSPC};

    (void)state;
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++)
        for (uint64_t n = 1;; n++) {
            struct model *model = xalloc(sizeof(*model));
            struct err err = ERR_INIT;
            bool reached;
            int rc;

            start_model(model, 7);
            model->memfs.fail_at = n;
            model->memfs.fail_sys = kinds[kind];
            rc = run(model, 40, &err);
            reached = model->memfs.operations >= n;
            if (rc < 0)
                assert_true(err.code != ERR_OK && err.text[0] != '\0');
            model->memfs.fail_at = 0;
            memfs_crash(&model->memfs, n);
            if (run(model, 10, &err) < 0)
                fail_msg("after operation %" PRIu64 " failed: %s", n, err.text);
            memfs_fini(&model->memfs);
            free(model);
            if (!reached)
                break;
        }
}

static void the_power_goes_again_and_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model *model = xalloc(sizeof(*model));
        struct err err = ERR_INIT;

        start_model(model, seed);
        for (unsigned round = 0; round < 12; round++) {
            if (run(model, (unsigned)draw(model, 12), &err) < 0)
                fail_msg("seed %" PRIu64 " round %u: %s", seed, round, err.text);
            memfs_crash(&model->memfs, draw(model, 1U << 30));
        }
        memfs_fini(&model->memfs);
        free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_fails_once),
        cmocka_unit_test(the_power_goes_again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
