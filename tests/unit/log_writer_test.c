/*
 * log_writer_test.c - log requests over a disk that fails on demand: what is reported is durable, a
 * full disk is waited for, a failed sync is the end.
 */
#include "etcd-server/host/log_writer.h"
#include "tests/lib/memfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct fixture {
    struct memfs memfs;
    struct log_writer_config config;
    struct wal *wal;
    struct host_task *tasks;
    unsigned fail_ops; /* bits: these fail with fail_sys, as long as fail_count is not 0 */
    int fail_sys;
    unsigned fail_count;
    uint64_t reported; /* persist id */
    size_t reports, syncs;
    struct err err;
};

static int fault(void *arg, enum memfs_op op, const char *path)
{
    struct fixture *f = arg;

    if (strstr(path, ".wal") == NULL)
        return 0;
    f->syncs += op == MEMFS_SYNC ? 1 : 0;
    if ((f->fail_ops & 1U << op) == 0 || f->fail_count == 0)
        return 0;
    f->fail_count--;
    return f->fail_sys;
}

static int set_up(void **state)
{
    struct fixture *f = xalloc(sizeof(*f));
    struct wal_config wal = {.fs = &f->memfs.fs, .dir = "m/wal", .segment_bytes = 65536};
    struct wal_metadata metadata = {.node_id = 1, .cluster_id = 2};

    *f = (struct fixture){.err = ERR_INIT};
    memfs_init(&f->memfs);
    f->config = (struct log_writer_config){
        .fs = &f->memfs.fs, .snap_dir = "m/snap", .max_snapshots = 5, .max_wals = 5};
    assert_int_equal(f->memfs.fs.ops->mkdir(&f->memfs.fs, "m", 0700, &f->err), 0);
    assert_int_equal(wal_create(&wal, &metadata, &f->wal, &f->err), 0);
    f->memfs.fault = fault;
    f->memfs.fault_arg = f;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (struct host_task *next; f->tasks != NULL; f->tasks = next) {
        next = f->tasks->next;
        log_write_free(CONTAINER_OF(f->tasks, struct log_write, task));
    }
    wal_close(f->wal);
    memfs_fini(&f->memfs);
    free(f);
    return 0;
}

/* One request with one entry behind those that wait. */
static void add(struct fixture *f, uint64_t index, size_t bytes)
{
    struct log_write *request = xalloc(sizeof(*request));
    struct host_task **at = &f->tasks;

    request->persist_id = index;
    request->has_state = true;
    request->state = (struct raft_hard_state){.term = 1, .vote = 1};
    request->entries = xalloc(sizeof(*request->entries));
    request->entry_count = 1;
    request->bytes = bytes;
    request->memory = xalloc(bytes);
    memset(request->memory, (int)('a' + index), bytes);
    request->entries[0] =
        (struct raft_entry){.index = index, .term = 1, .data = slice_of(request->memory, bytes)};
    while (*at != NULL)
        at = &(*at)->next;
    *at = &request->task;
}

static void report(void *arg, struct log_report report)
{
    struct fixture *f = arg;

    f->reports++;
    f->reported = report.persist_id;
}

static int run(struct fixture *f)
{
    return log_writer_run(&f->config, f->wal, &f->tasks, report, f, &f->err);
}

/* How many entries a power cut now would leave. */
static size_t durable(struct fixture *f)
{
    struct memfs left;
    struct wal_log log;
    struct err err = ERR_INIT;
    size_t count;

    memfs_copy_durable(&f->memfs, &left);
    assert_int_equal(wal_read(&left.fs, "m/wal", (struct wal_position){0}, &log, &err), 0);
    count = log.entry_count;
    wal_log_free(&log);
    memfs_fini(&left);
    return count;
}

static void test_many_share_one_sync(void **state)
{
    struct fixture *f = *state;

    for (uint64_t index = 1; index <= 10; index++)
        add(f, index, 100);
    f->syncs = 0;
    assert_int_equal(run(f), 0);
    assert_int_equal(f->syncs, 1);
    assert_int_equal(f->reported, 10);
    assert_int_equal(durable(f), 10);
}

static void test_full_disk_is_tried_again(void **state)
{
    struct fixture *f = *state;

    add(f, 1, 3000);
    add(f, 2, 3000);
    f->fail_ops = 1U << MEMFS_WRITE;
    f->fail_sys = ENOSPC;
    f->fail_count = 3;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(f), -1);
        assert_int_equal(f->err.sys, ENOSPC);
        assert_non_null(f->tasks);
        assert_int_equal(f->reports, 0);
        assert_int_equal(durable(f), 0);
    }
    assert_int_equal(run(f), 0);
    assert_null(f->tasks);
    assert_int_equal(f->reported, 2);
    assert_int_equal(durable(f), 2);
}

/* Nobody knows what the disk holds after it, whatever the errno: no second try may succeed. */
static void failed_sync(struct fixture *f, int sys)
{
    add(f, 1, 100);
    f->fail_ops = 1U << MEMFS_SYNC;
    f->fail_sys = sys;
    f->fail_count = 1;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f), -1);
        assert_int_not_equal(f->err.sys, ENOSPC);
        assert_non_null(strstr(f->err.text, strerror(sys)));
        assert_int_equal(f->reports, 0);
    }
}

static void test_failed_sync_is_final(void **state)
{
    failed_sync(*state, EIO);
}

static void test_sync_on_full_disk_is_final(void **state)
{
    failed_sync(*state, ENOSPC);
}

/* Behind what could not be taken back nothing may be written. */
static void test_failed_truncate_is_final(void **state)
{
    struct fixture *f = *state;

    add(f, 1, 100);
    assert_int_equal(run(f), 0);
    add(f, 2, 100);
    f->fail_ops = 1U << MEMFS_WRITE | 1U << MEMFS_TRUNCATE;
    f->fail_sys = ENOSPC;
    f->fail_count = 2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f), -1);
        assert_int_not_equal(f->err.sys, ENOSPC);
        assert_int_equal(f->reported, 1);
    }
}

/*
 * A full disk takes some sectors of a long batch; then the power goes, before they are cut off. The
 * log must open again, with what was reported and nothing half.
 */
static void test_short_write_then_power_cut(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 0; seed < 80; seed++) {
        struct wal_config wal = {.fs = &f->memfs.fs, .dir = "m/wal", .segment_bytes = 65536};
        struct wal_log log;

        add(f, 1, 700 + (size_t)seed * 97);
        assert_int_equal(run(f), 0);
        add(f, 2, 5000 + (size_t)seed * 131);
        f->fail_ops = 1U << MEMFS_WRITE | 1U << MEMFS_TRUNCATE;
        f->fail_sys = ENOSPC;
        f->fail_count = 1 + (unsigned)seed % 2;
        assert_int_equal(run(f), -1);
        wal_close(f->wal);
        f->wal = NULL;
        memfs_crash(&f->memfs, seed);
        assert_int_equal(wal_open(&wal, (struct wal_position){0}, &log, &f->wal, &f->err), 0);
        assert_int_equal(log.entry_count, 1);
        wal_log_free(&log);
        tear_down(state);
        set_up(state);
        f = *state;
    }
}

static void add_leaders_snapshot(struct fixture *f, uint64_t index)
{
    struct log_write *request = xalloc(sizeof(*request));

    request->persist_id = 7;
    request->has_state = request->must_sync = true;
    request->state = (struct raft_hard_state){.term = 1, .vote = 1, .commit = index};
    request->snapshot = xalloc(sizeof(*request->snapshot));
    request->snapshot->meta.index = index;
    request->snapshot->meta.term = 1;
    request->snapshot->meta.conf_state.voters[0] = 1;
    request->snapshot->meta.conf_state.voter_count = 1;
    f->tasks = &request->task;
}

static bool snapshot_counts(struct fixture *f, uint64_t index)
{
    struct wal_positions confirmed = {0};
    bool found = false;

    assert_int_equal(wal_valid_snapshots(&f->memfs.fs, "m/wal", &confirmed, &f->err), 0);
    for (size_t i = 0; i < confirmed.count; i++)
        found = found || confirmed.items[i].index == index;
    wal_positions_free(&confirmed);
    return found;
}

/* Wherever it stops: what was never committed here does not count as if it were. */
static void test_commit_follows_the_leaders_snapshot(void **state)
{
    bool done = false;

    for (uint64_t operations = 1; !done; operations++) {
        struct fixture *f = *state;
        struct wal_log log;

        for (uint64_t index = 1; index <= 3; index++)
            add(f, index, 100);
        assert_int_equal(run(f), 0);
        assert_int_equal(f->memfs.fs.ops->mkdir(&f->memfs.fs, "m/snap", 0700, &f->err), 0);
        add_leaders_snapshot(f, 9);
        f->memfs.fail_at = f->memfs.operations + operations;
        f->memfs.fail_sys = EIO;
        done = run(f) == 0;
        f->memfs.fail_at = 0;
        assert_int_equal(wal_read(&f->memfs.fs, "m/wal", (struct wal_position){0}, &log, &f->err),
                         0);
        assert_true(log.hard_state.commit == 0 || snapshot_counts(f, 9));
        wal_log_free(&log);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_share_one_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_sync_is_final, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_on_full_disk_is_final, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_truncate_is_final, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_write_then_power_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_commit_follows_the_leaders_snapshot, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
