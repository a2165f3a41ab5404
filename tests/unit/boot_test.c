/*
 * boot_test.c - from a data directory to what the engine starts with: a new log under power cuts,
 * refusals, what crashes left, the import of a bbolt database, --force-new-cluster. On the
 * simulated disk, but for the import, whose databases are real files.
 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/schema/bootstrap.h"
#include "common/storage/snapfile.h"
#include "etcd-server/host/force_new.h"
#include "tests/lib/bolt_array.h"
#include "tests/lib/memfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROOT "/data"
#define CLUSTER "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"
#define MEMBERS 3

/* A data directory on the simulated disk, and what was read from it. */
struct fixture {
    struct memfs memfs;
    struct datadir dir;
    struct boot_config config;
    struct boot boot;
    struct err err;
    uint64_t cut_in; /* operations until the power goes; 0 = it stays */
};

static int power(void *arg, enum memfs_op op, const char *path)
{
    struct fixture *f = arg;

    (void)op;
    (void)path;
    if (f->cut_in == 0 || --f->cut_in != 0)
        return 0;
    f->memfs.cut = true;
    return EIO;
}

static void fixture_init(struct fixture *f, const char *cluster)
{
    *f = (struct fixture){.config = {.dir = &f->dir,
                                     .wal_segment_bytes = 4096,
                                     .name = "a",
                                     .initial_cluster = cluster,
                                     .token = "t",
                                     .advertised_peer_urls = "http://127.0.0.1:1"}};
    memfs_init(&f->memfs);
    f->memfs.names_need_sync = true;
    f->memfs.fault = power;
    f->memfs.fault_arg = f;
}

static void shut(struct fixture *f)
{
    boot_free(&f->boot);
    datadir_close(&f->dir);
    f->dir = (struct datadir){0};
}

static void fixture_fini(struct fixture *f)
{
    shut(f);
    memfs_fini(&f->memfs);
}

static int start(struct fixture *f)
{
    f->err = ERR_INIT;
    if (datadir_open(&f->memfs.fs, ROOT, NULL, &f->dir, &f->err) < 0)
        return -1;
    return boot_open_log(&f->config, &f->boot, &f->err);
}

static void must_start(struct fixture *f)
{
    if (start(f) < 0)
        fail_msg("%s", f->err.text);
}

static uint64_t member_of_entry(const struct raft_entry *entry, enum raft_conf_change_type type)
{
    struct raft_conf_change change;
    struct err err = ERR_INIT;

    assert_int_equal(entry->type, RAFT_ENTRY_CONF_CHANGE);
    assert_int_equal(raft_conf_change_decode(entry->data, &change, &err), 0);
    assert_int_equal(change.type, type);
    return change.node_id;
}

static void check_first_entries(const struct boot *boot)
{
    uint64_t previous = 0;
    bool self = false;

    assert_int_equal(boot->log.entry_count, MEMBERS);
    assert_int_equal(boot->log.hard_state.term, 1);
    assert_int_equal(boot->log.hard_state.commit, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        uint64_t id = member_of_entry(&boot->log.entries[i], RAFT_CONF_ADD_NODE);

        assert_int_equal(boot->log.entries[i].index, i + 1);
        assert_int_equal(boot->log.entries[i].term, 1);
        assert_true(id > previous);
        previous = id;
        self = self || id == boot->log.metadata.node_id;
    }
    assert_true(self);
}

/* ---- a new log ---- */

/* Wherever the power goes, the next start has the whole log or makes it. */
static void test_new_log_survives_power_cuts(void **state)
{
    bool cut = true;

    (void)state;
    for (uint64_t at = 1; cut; at++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct fixture f;

            fixture_init(&f, CLUSTER);
            f.cut_in = at;
            cut = start(&f) < 0;
            if (!cut)
                check_first_entries(&f.boot);
            shut(&f);
            f.cut_in = 0;
            memfs_crash(&f.memfs, seed);
            must_start(&f);
            assert_true(cut || !f.boot.created); /* what was made once is durable */
            check_first_entries(&f.boot);
            fixture_fini(&f);
        }
}

/* Wherever the process is killed: what the next one makes of it survives a power cut. */
static void test_new_log_survives_kills(void **state)
{
    bool killed = true;

    (void)state;
    for (uint64_t at = 1; killed; at++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct fixture f;

            fixture_init(&f, CLUSTER);
            f.cut_in = at;
            killed = start(&f) < 0;
            shut(&f);
            f.cut_in = 0;
            f.memfs.cut = false; /* all that was written is there, durable or not */
            must_start(&f);
            check_first_entries(&f.boot);
            shut(&f);
            memfs_crash(&f.memfs, seed);
            must_start(&f);
            assert_false(f.boot.created);
            check_first_entries(&f.boot);
            fixture_fini(&f);
        }
}

/* A log that was begun and holds nothing: filled for the same cluster, refused for another. */
static void test_begun_log(void **state)
{
    struct wal_config wal_config = {.segment_bytes = 4096};
    struct wal_metadata metadata;
    struct bootstrap bootstrap;
    struct wal *wal = NULL;
    struct fixture f;

    (void)state;
    fixture_init(&f, CLUSTER);
    assert_int_equal(bootstrap_parse("a", CLUSTER, "t", "http://127.0.0.1:1", &bootstrap, &f.err),
                     0);
    metadata = (struct wal_metadata){.node_id = bootstrap.members[bootstrap.self].id,
                                     .cluster_id = bootstrap.cluster_id};
    bootstrap_free(&bootstrap);
    assert_int_equal(datadir_open(&f.memfs.fs, ROOT, NULL, &f.dir, &f.err), 0);
    wal_config.fs = &f.memfs.fs;
    wal_config.dir = f.dir.wal;
    assert_int_equal(wal_create(&wal_config, &metadata, &wal, &f.err), 0);
    wal_close(wal);
    shut(&f);
    f.config.token = "another";
    assert_int_equal(start(&f), -1);
    assert_int_equal(f.err.code, ERR_USAGE);
    shut(&f);
    f.config.token = "t";
    must_start(&f);
    check_first_entries(&f.boot);
    fixture_fini(&f);
}

static void test_existing_log_ignores_the_flags(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, CLUSTER);
    must_start(&f);
    assert_true(f.boot.created);
    shut(&f);
    f.config.token = "another";
    f.config.initial_cluster = "x=http://127.0.0.1:9";
    must_start(&f);
    assert_false(f.boot.created);
    check_first_entries(&f.boot);
    fixture_fini(&f);
}

static void test_usage(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "b=http://127.0.0.1:2"); /* this member is not in it */
    assert_int_equal(start(&f), -1);
    assert_int_equal(f.err.code, ERR_USAGE);
    assert_true(strlen(f.err.text) > 0);
    fixture_fini(&f);
}

/* A new log beside an old database would lose the first writes. */
static void test_lost_log_is_refused(void **state)
{
    struct fixture f;
    struct err err = ERR_INIT;

    (void)state;
    fixture_init(&f, CLUSTER);
    must_start(&f);
    memfs_put(&f.memfs, f.dir.db, SLICE_LITERAL("there was a database once"));
    assert_int_equal(f.memfs.fs.ops->remove_tree(&f.memfs.fs, f.dir.wal, &err), 0);
    shut(&f);
    assert_int_equal(start(&f), -1);
    assert_int_equal(f.err.code, ERR_DAMAGED);
    assert_non_null(strstr(f.err.text, "holds no log"));
    fixture_fini(&f);
}

/* ---- --force-new-cluster ---- */

/* Put entries [first, first + count) into the log, one of which may be an AddNode. */
static void append(struct fixture *f, uint64_t first, size_t count, uint64_t commit,
                   struct slice add_node)
{
    struct raft_entry entries[8];
    struct raft_hard_state state = {.term = 2, .commit = commit};

    assert_true(count <= ARRAY_LEN(entries));
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct raft_entry){
            .index = first + i, .term = 2, .data = SLICE_LITERAL("d"), .type = RAFT_ENTRY_NORMAL};
    if (add_node.size != 0) {
        entries[count - 1].type = RAFT_ENTRY_CONF_CHANGE;
        entries[count - 1].data = add_node;
    }
    assert_int_equal(wal_append(f->boot.wal, &state, entries, count, &f->err), 0);
    assert_int_equal(wal_sync(f->boot.wal, &f->err), 0);
    shut(f);
    must_start(f);
}

/* Commit 4 in the log, but the backend has 5 already: 6 and 7 go, then b and c. */
static void test_force_new_of_three(void **state)
{
    struct fixture f;
    uint64_t self;
    size_t removed = 0;

    (void)state;
    fixture_init(&f, CLUSTER);
    must_start(&f);
    append(&f, 4, 4, 4, SLICE_EMPTY);
    self = f.boot.log.metadata.node_id;
    assert_int_equal(force_new_cluster(&f.config, &f.boot, 5, &removed, &f.err), 0);
    assert_int_equal(removed, 2);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(f.boot.log.entry_count, 7);
        assert_int_equal(f.boot.log.hard_state.commit, 7);
        assert_int_equal(f.boot.log.entries[4].type, RAFT_ENTRY_NORMAL);
        assert_int_not_equal(member_of_entry(&f.boot.log.entries[5], RAFT_CONF_REMOVE_NODE), self);
        assert_int_not_equal(member_of_entry(&f.boot.log.entries[6], RAFT_CONF_REMOVE_NODE), self);
        shut(&f);
        memfs_crash(&f.memfs, 1); /* it is durable */
        must_start(&f);
    }
    assert_int_equal(force_new_cluster(&f.config, &f.boot, 7, &removed, &f.err), 0);
    assert_int_equal(removed, 0); /* there is nobody left */
    assert_int_equal(f.boot.log.entry_count, 7);
    fixture_fini(&f);
}

/* An unfinished member that nobody knows to be committed must not come back with the next start. */
static void test_force_new_drops_what_is_not_committed(void **state)
{
    struct fixture f;
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE, .node_id = 77};
    struct buf data = BUF_INIT(BUF_UNLIMITED);
    size_t removed = 0;

    (void)state;
    must(raft_conf_change_encode(&change, &data));
    fixture_init(&f, "a=http://127.0.0.1:1");
    must_start(&f);
    append(&f, 2, 3, 2, buf_slice(&data));
    assert_int_equal(force_new_cluster(&f.config, &f.boot, 0, &removed, &f.err), 0);
    assert_int_equal(removed, 0);
    shut(&f);
    must_start(&f);
    assert_true(f.boot.log.entry_count >= 2);
    assert_int_equal(f.boot.log.hard_state.commit, f.boot.log.entry_count);
    for (size_t i = 2; i < f.boot.log.entry_count; i++)
        assert_int_equal(f.boot.log.entries[i].data.size, 0);
    buf_free(&data);
    fixture_fini(&f);
}

/* ---- what crashes left ---- */

static void save_snapshot(struct fixture *f, uint64_t index, bool recorded)
{
    const struct raft_snapshot snapshot = {
        .meta = {.index = index, .term = 2, .conf_state = {.voters = {1}, .voter_count = 1}},
        .data = SLICE_LITERAL("{}")};
    const struct wal_snapshot record = {
        .index = index, .term = 2, .conf_state = &snapshot.meta.conf_state};

    assert_int_equal(snapfile_save(&f->memfs.fs, f->dir.snap, &snapshot, NULL, &f->err), 0);
    if (recorded)
        assert_int_equal(wal_snapshot_record(f->boot.wal, &record, &f->err), 0);
}

static bool there(struct fixture *f, const char *name)
{
    char *path = xasprintf("%s/member/snap/%s", ROOT, name);
    bool exists = f->memfs.fs.ops->exists(&f->memfs.fs, path);

    free(path);
    return exists;
}

/*
 * Snapshots 4 and 6 count; 7 of ours and 9 of a leader were never recorded. Wherever the power goes
 * while these are removed, each start is from 6 and has what the log holds behind it; and in the
 * end they are gone.
 */
static void test_leftovers_go_whatever_the_power_does(void **state)
{
    struct backend *backend = backend_new_mem();
    bool cut = true;

    (void)state;
    for (uint64_t at = 1; cut; at++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct fixture f;

            fixture_init(&f, CLUSTER);
            must_start(&f);
            append(&f, 4, 5, 8, SLICE_EMPTY);
            save_snapshot(&f, 4, true);
            save_snapshot(&f, 6, true);
            save_snapshot(&f, 7, false);
            save_snapshot(&f, 9, false);
            memfs_put(&f.memfs, ROOT "/member/snap/0000000000000009.snap.db", SLICE_LITERAL("x"));
            shut(&f);
            must_start(&f);
            f.cut_in = at;
            boot_clean(&f.dir, &f.boot, backend);
            cut = f.cut_in == 0;
            shut(&f);
            f.cut_in = 0;
            memfs_crash(&f.memfs, seed);
            for (int again = 0; again < 2; again++) {
                must_start(&f);
                assert_int_equal(f.boot.snapshot.meta.index, 6);
                assert_int_equal(f.boot.log.entry_count, 2);
                assert_int_equal(f.boot.log.hard_state.commit, 8);
                boot_clean(&f.dir, &f.boot, backend);
                assert_true(there(&f, "0000000000000002-0000000000000004.snap"));
                assert_true(there(&f, "0000000000000002-0000000000000006.snap"));
                assert_false(there(&f, "0000000000000002-0000000000000007.snap"));
                assert_false(there(&f, "0000000000000002-0000000000000009.snap"));
                assert_false(there(&f, "0000000000000009.snap.db"));
                shut(&f);
            }
            memfs_fini(&f.memfs);
        }
    backend_close(backend);
}

/* ---- the import of a bbolt database ---- */

static const char *const bucket_names[] = {"cluster", "key", "meta"};
static const size_t bucket_entries[] = {1, 100, 1};
static const char *cluster_version = "3.5.0";

static void entry(size_t bucket, size_t at, struct slice *key, struct slice *value)
{
    static char name[32];
    static const uint8_t index[] = {0, 0, 0, 0, 0, 0, 0, 42};

    (void)snprintf(name, sizeof(name), "key%03zu", at);
    *key = bucket == 0   ? SLICE_LITERAL("clusterVersion")
           : bucket == 1 ? slice_text(name)
                         : SLICE_LITERAL("consistent_index");
    *value = bucket == 0   ? slice_text(cluster_version)
             : bucket == 1 ? SLICE_LITERAL("value")
                           : slice_of(index, sizeof(index));
}

static void write_file(const char *path, struct slice content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(content.data, 1, content.size, file), content.size);
    assert_int_equal(fclose(file), 0);
}

static void check_file(const char *path, struct slice content)
{
    struct buf found = BUF_INIT(64 * MIB);
    struct err err = ERR_INIT;

    if (file_read_all(path, &found, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(slice_equal(buf_slice(&found), content));
    buf_free(&found);
}

static void check_imported(struct backend *backend)
{
    struct backend_read *read = NULL;
    struct slice value;
    struct err err = ERR_INIT;
    uint64_t index = 0;

    assert_int_equal(boot_consistent_index(backend, &index, &err), 0);
    assert_int_equal(index, 42);
    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    assert_true(backend_get(read, BUCKET_KEY, SLICE_LITERAL("key099"), &value));
    assert_true(slice_equal(value, SLICE_LITERAL("value")));
    backend_read_end(read);
}

static void test_import_keeps_the_original(void **state)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    const struct boot boot = {0};
    const char *base = getenv("TMPDIR");
    char *root = xasprintf("%s/boot_test.XXXXXX", base != NULL ? base : "/tmp");
    struct bolt_write_options image_options = {0};
    struct bolt_array array;
    struct buf image = BUF_INIT(64 * MIB);
    struct datadir dir;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;
    enum datadir_db kind;
    char *kept, *second;

    (void)state;
    assert_non_null(mkdtemp(root));
    bolt_array_init(&array, bucket_names, bucket_entries, ARRAY_LEN(bucket_names), entry);
    bolt_image(&array.source, &image_options, &image);
    for (int round = 0; round < 3; round++) { /* bbolt, LMDB, once more bbolt (a restore) */
        assert_int_equal(datadir_open(fs_posix(), root, NULL, &dir, &err), 0);
        kept = xasprintf("%s.bbolt", dir.db);
        second = xasprintf("%s.bbolt.1", dir.db);
        if (round != 1) {
            assert_int_equal(fs_posix()->ops->unlink(fs_posix(), dir.db, &err), 0);
            write_file(dir.db, buf_slice(&image));
            assert_int_equal(datadir_relock(&dir, &err), 0);
        }
        if (boot_open_backend(&dir, &boot, &options, &backend, &err) < 0)
            fail_msg("%s", err.text);
        check_imported(backend);
        backend_close(backend);
        assert_int_equal(datadir_db_kind(fs_posix(), dir.db, &kind, &err), 0);
        assert_int_equal(kind, DATADIR_DB_LMDB);
        check_file(kept, buf_slice(&image));
        assert_int_equal(fs_posix()->ops->exists(fs_posix(), second), round == 2);
        datadir_close(&dir);
        free(kept);
        free(second);
    }
    assert_int_equal(file_remove_tree(root, &err), 0);
    buf_free(&image);
    free(root);
}

static void test_unknown_database_is_refused(void **state)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    const struct boot boot = {0};
    const char *base = getenv("TMPDIR");
    char *root = xasprintf("%s/boot_test.XXXXXX", base != NULL ? base : "/tmp");
    struct datadir dir;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(datadir_open(fs_posix(), root, NULL, &dir, &err), 0);
    write_file(dir.db, SLICE_LITERAL("SQLite format 3"));
    assert_int_equal(boot_open_backend(&dir, &boot, &options, &backend, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
    check_file(dir.db, SLICE_LITERAL("SQLite format 3"));
    datadir_close(&dir);
    assert_int_equal(file_remove_tree(root, &err), 0);
    free(root);
}

/* raft.md 9.6: nothing of it is changed, so its own server goes on with it. */
static void test_a_newer_database_is_left_alone(void **state)
{
    static const char text[] =
        "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\","
        "\"Children\":{\"members\":{\"Path\":\"/0/members\",\"Children\":{}},"
        "\"version\":{\"Path\":\"/0/version\",\"Value\":\"3.7.0\"}}}}}}";
    const struct backend_options options = {.map_bytes = 1UL << 30};
    const char *base = getenv("TMPDIR");
    char *root = xasprintf("%s/boot_test.XXXXXX", base != NULL ? base : "/tmp");
    struct bolt_write_options image_options = {0};
    struct bolt_array array;
    struct buf image = BUF_INIT(64 * MIB);
    struct boot boot = {0};
    struct datadir dir;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(mkdtemp(root));
    for (unsigned by_snapshot = 0; by_snapshot < 2; by_snapshot++) {
        cluster_version = by_snapshot ? "3.5.0" : "3.6.0";
        bolt_array_init(&array, bucket_names, bucket_entries, ARRAY_LEN(bucket_names), entry);
        bolt_image(&array.source, &image_options, &image);
        boot.snapshot.meta.index = by_snapshot;
        boot.snapshot.data = SLICE_LITERAL(text);
        assert_int_equal(datadir_open(fs_posix(), root, NULL, &dir, &err), 0);
        assert_int_equal(fs_posix()->ops->unlink(fs_posix(), dir.db, &err), 0);
        write_file(dir.db, buf_slice(&image));
        assert_int_equal(datadir_relock(&dir, &err), 0);
        assert_int_equal(boot_open_backend(&dir, &boot, &options, &backend, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, by_snapshot ? "at 3.7.0" : "at 3.6.0"));
        check_file(dir.db, buf_slice(&image));
        datadir_close(&dir);
        buf_reset(&image);
    }
    cluster_version = "3.5.0";
    assert_int_equal(file_remove_tree(root, &err), 0);
    buf_free(&image);
    free(root);
}

static void test_missing_database_is_refused(void **state)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    const struct boot boot = {.snapshot.meta.index = 7};
    const char *base = getenv("TMPDIR");
    char *root = xasprintf("%s/boot_test.XXXXXX", base != NULL ? base : "/tmp");
    struct datadir dir;
    struct backend *backend = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(datadir_open(fs_posix(), root, NULL, &dir, &err), 0);
    assert_int_equal(boot_open_backend(&dir, &boot, &options, &backend, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_non_null(strstr(err.text, "is missing"));
    datadir_close(&dir);
    assert_int_equal(file_remove_tree(root, &err), 0);
    free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_log_survives_power_cuts),
        cmocka_unit_test(test_new_log_survives_kills),
        cmocka_unit_test(test_begun_log),
        cmocka_unit_test(test_existing_log_ignores_the_flags),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_lost_log_is_refused),
        cmocka_unit_test(test_force_new_of_three),
        cmocka_unit_test(test_force_new_drops_what_is_not_committed),
        cmocka_unit_test(test_leftovers_go_whatever_the_power_does),
        cmocka_unit_test(test_import_keeps_the_original),
        cmocka_unit_test(test_unknown_database_is_refused),
        cmocka_unit_test(test_a_newer_database_is_left_alone),
        cmocka_unit_test(test_missing_database_is_refused),
    };

    log_output(NULL, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
