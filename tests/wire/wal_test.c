/*
 * wal_test.c - the log against segments that etcd 3.5.30 wrote: ours has the same bytes, and each
 * of seven damaged ones is repaired, or refused, as etcd does it.
 */
#include "common/base/file.h"
#include "common/storage/wal.h"
#include "common/storage/walreplay.h"
#include "tests/lib/memfs.h"
#include "tests/lib/vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#define DIR "m/wal"
#define FIRST DIR "/0000000000000000-0000000000000000.wal"
#define START ((struct wal_position){0, 0})

static void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

/* Do again what the record says was done. */
static void repeat(struct wal *wal, const struct wal_record *record)
{
    struct err err = ERR_INIT;
    struct raft_entry entry;
    struct raft_hard_state state;
    struct wal_snapshot snapshot;
    struct raft_conf_state conf;

    switch (record->type) {
    case WAL_ENTRY:
        ok(raft_entry_decode(record->data, &entry, &err), &err);
        ok(wal_append(wal, NULL, &entry, 1, &err), &err);
        assert_true(wal_needs_sync(wal));
        break;
    case WAL_STATE:
        ok(raft_hard_state_decode(record->data, &state, &err), &err);
        ok(wal_append(wal, &state, NULL, 0, &err), &err);
        break;
    case WAL_SNAPSHOT:
        ok(wal_snapshot_decode(record->data, &snapshot, &conf, &err), &err);
        if (snapshot.index != 0)
            ok(wal_snapshot_record(wal, &snapshot, &err), &err);
        break;
    case WAL_METADATA:
    case WAL_CRC:
        break;
    }
}

static void same_bytes(const char *name)
{
    struct memfs memfs, ours;
    struct buf bytes;
    struct wal_log log = {0};
    struct err err = ERR_INIT;
    struct wal_segments segments;
    struct wal_reader reader;
    struct wal_record record;
    struct wal_config config = {.fs = &ours.fs, .dir = DIR};
    struct wal *wal = NULL;
    struct slice made;
    int more;

    load(name, &bytes);
    memfs_init(&memfs);
    memfs_init(&ours);
    memfs_put(&memfs, FIRST, buf_slice(&bytes));
    ok(wal_read(&memfs.fs, DIR, START, &log, &err), &err);
    ok(wal_create(&config, &log.metadata, &wal, &err), &err);
    ok(wal_segments_open(&memfs.fs, DIR, 0, false, &segments, &err), &err);
    wal_reader_init(&reader);
    ok(wal_reader_open(&reader, segments.items[0].file, "x", &err), &err);
    while ((more = wal_reader_next(&reader, &record, &err)) > 0)
        repeat(wal, &record);
    ok(more, &err);
    made = memfs_get(&ours, FIRST);
    assert_true(made.size == WAL_SEGMENT_BYTES);
    assert_memory_equal(made.data, bytes.data, reader.offset);
    assert_int_equal(made.data[reader.offset], 0);
    assert_false(ours.fs.ops->exists(&ours.fs, DIR ".tmp"));
    wal_reader_fini(&reader);
    wal_segments_free(&segments);
    wal_close(wal);
    wal_log_free(&log);
    buf_free(&bytes);
    memfs_fini(&memfs);
    memfs_fini(&ours);
}

static void ours_has_the_bytes_of_etcd(void **state)
{
    (void)state;
    same_bytes("0000000000000000-0000000000000000.wal");
    same_bytes("restore-three-members.wal");
    same_bytes("restore-bump.wal");
}

static void a_real_log_reads_as_listed(void **state)
{
    struct memfs memfs;
    struct buf bytes;
    struct wal_log log = {0};
    struct wal_positions valid;
    struct err err = ERR_INIT;
    bool exists;

    (void)state;
    load("0000000000000000-0000000000000000.wal", &bytes);
    memfs_init(&memfs);
    memfs_put(&memfs, FIRST, buf_slice(&bytes));
    ok(wal_exists(&memfs.fs, DIR, &exists, &err), &err);
    assert_true(exists);
    ok(wal_valid_snapshots(&memfs.fs, DIR, &valid, &err), &err);
    assert_true(valid.count >= 2);
    assert_int_equal(valid.items[0].index, 0);
    ok(wal_read(&memfs.fs, DIR, (struct wal_position){151, 2}, &log, &err), &err);
    assert_int_equal(log.metadata.node_id, 458245000396221283U);
    assert_int_equal(log.entries[0].index, 152);
    assert_int_equal(log.hard_state.term, 2);
    wal_log_free(&log);
    assert_int_equal(wal_read(&memfs.fs, DIR, (struct wal_position){151, 3}, &log, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    wal_log_free(&log);
    assert_int_equal(wal_read(&memfs.fs, DIR, (struct wal_position){150, 2}, &log, &err), -1);
    assert_int_equal(err.code, ERR_MISSING);
    wal_log_free(&log);
    wal_positions_free(&valid);
    buf_free(&bytes);
    memfs_fini(&memfs);
}

static size_t count_records(struct memfs *memfs)
{
    struct err err = ERR_INIT;
    struct wal_segments segments;
    struct wal_reader reader;
    struct wal_record record;
    size_t count = 0;
    int more;

    ok(wal_segments_open(&memfs->fs, DIR, 0, false, &segments, &err), &err);
    wal_reader_init(&reader);
    ok(wal_reader_open(&reader, segments.items[0].file, "x", &err), &err);
    while ((more = wal_reader_next(&reader, &record, &err)) > 0)
        count++;
    ok(more, &err);
    wal_reader_fini(&reader);
    wal_segments_free(&segments);
    return count;
}

static bool flag(json_t *item, const char *key)
{
    return json_is_true(json_object_get(item, key));
}

static void check_started(struct memfs *memfs, json_t *item, struct wal *wal, struct wal_log *log)
{
    struct err err = ERR_INIT;
    struct raft_entry entry = {.term = 9, .data = SLICE_LITERAL("after")};
    struct raft_entry *last = &log->entries[log->entry_count - 1];
    struct wal_log again = {0};

    assert_int_equal(count_records(memfs),
                     json_integer_value(json_object_get(item, "valid_records")));
    assert_int_equal(log->torn_bytes != 0, flag(item, "repaired_first"));
    entry.index = last->index + 1;
    ok(wal_append(wal, NULL, &entry, 1, &err), &err);
    ok(wal_sync(wal, &err), &err);
    ok(wal_read(&memfs->fs, DIR, START, &again, &err), &err);
    assert_int_equal(again.entry_count, log->entry_count + 1);
    wal_log_free(&again);
}

static void check_damage(json_t *item)
{
    struct memfs memfs;
    struct buf bytes;
    struct wal_log log = {0};
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR};
    struct wal *wal = NULL;
    bool starts = strcmp(json_string_value(json_object_get(item, "etcd_3.5.30")), "starts") == 0;
    int rc;

    load(json_string_value(json_object_get(item, "file")), &bytes);
    memfs_init(&memfs);
    memfs_put(&memfs, FIRST, buf_slice(&bytes));
    rc = wal_open(&config, START, &log, &wal, &err);
    assert_int_equal(rc, starts ? 0 : -1);
    assert_int_equal(memfs.fs.ops->exists(&memfs.fs, FIRST ".broken"),
                     flag(item, "broken_copy_made"));
    if (flag(item, "broken_copy_made"))
        assert_true(slice_equal(memfs_get(&memfs, FIRST ".broken"), buf_slice(&bytes)));
    if (starts) {
        check_started(&memfs, item, wal, &log);
    } else {
        char *where =
            xasprintf(FIRST ": damaged at offset %lld",
                      (long long)json_integer_value(json_object_get(item, "valid_prefix_bytes")));

        assert_int_equal(err.code, ERR_DAMAGED);
        assert_non_null(strstr(err.text, where));
        assert_non_null(strstr(err.text, "expected"));
        assert_non_null(strstr(err.text, "member remove"));
        assert_true(slice_equal(memfs_get(&memfs, FIRST), buf_slice(&bytes)));
        free(where);
    }
    wal_close(wal);
    wal_log_free(&log);
    assert_int_equal(memfs_open_files(&memfs), 0);
    memfs_fini(&memfs);
    buf_free(&bytes);
}

static void damaged_logs_end_as_with_etcd(void **state)
{
    json_t *list = json_load_file(VECTORS "wal-damage.json", 0, NULL);
    json_t *cases = json_object_get(list, "cases");

    (void)state;
    assert_int_equal(json_array_size(cases), 7);
    for (size_t at = 0; at < json_array_size(cases); at++)
        check_damage(json_array_get(cases, at));
    json_decref(list);
}

static void append(struct wal *wal, uint64_t index, uint64_t term, size_t bytes)
{
    struct err err = ERR_INIT;
    uint8_t *data = xalloc(bytes);
    struct raft_entry entry = {.index = index, .term = term, .data = slice_of(data, bytes)};
    struct raft_hard_state state = {.term = term, .vote = 1, .commit = index};

    memset(data, (int)index | 1, bytes);
    ok(wal_append(wal, &state, &entry, 1, &err), &err);
    ok(wal_sync(wal, &err), &err);
    free(data);
}

static void a_full_segment_is_cut_and_released(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 8192};
    struct wal_metadata metadata = {1, 2};
    struct wal_log log = {0};
    struct wal_names names;
    struct wal *wal = NULL, *second = NULL;
    struct raft_conf_state conf = {.voters = {1}, .voter_count = 1};

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    assert_int_equal(wal_create(&config, &metadata, &second, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    for (uint64_t index = 1; index <= 100; index++)
        append(wal, index, 1, 1000);
    ok(wal_snapshot_record(wal, &(struct wal_snapshot){90, 1, &conf, false}, &err), &err);
    ok(wal_names_list(&memfs.fs, DIR, &names, &err), &err);
    assert_true(names.count > 10);
    assert_int_equal(names.items[1].index, 9); /* eight entries of 1000 bytes, then the cut */
    wal_names_free(&names);
    ok(wal_purge(wal, 3, &err), &err); /* nothing is released yet */
    assert_int_equal(wal_open(&config, START, &log, &second, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    wal_log_free(&log);
    wal_release(wal, 90);
    ok(wal_purge(wal, 3, &err), &err);
    ok(wal_names_list(&memfs.fs, DIR, &names, &err), &err);
    assert_int_equal(names.count, 3);
    wal_names_free(&names);
    wal_close(wal);
    ok(wal_open(&config, (struct wal_position){90, 1}, &log, &wal, &err), &err);
    assert_int_equal(log.entry_count, 10);
    assert_int_equal(log.hard_state.commit, 100);
    assert_int_equal(log.metadata.cluster_id, 2);
    wal_log_free(&log);
    wal_close(wal);
    assert_int_equal(wal_read(&memfs.fs, DIR, START, &log, &err), -1);
    assert_int_equal(err.code, ERR_MISSING);
    wal_log_free(&log);
    memfs_fini(&memfs);
}

/*
 * A cut behind entries that a leader then replaces: the oldest name has a higher index than those
 * after it. The snapshots between count all the same.
 */
static void names_may_go_down(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 8192};
    struct wal_metadata metadata = {1, 2};
    struct raft_conf_state conf = {.voters = {1}, .voter_count = 1};
    struct wal_positions valid;
    struct wal_log log = {0};
    struct wal_names names;
    struct wal *wal = NULL;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    for (uint64_t index = 1; index <= 24; index++)
        append(wal, index, 1, 1000);
    for (uint64_t index = 5; index <= 30; index++) { /* another leader's, from 5 on */
        append(wal, index, 2, 1000);
        if (index == 14)
            ok(wal_snapshot_record(wal, &(struct wal_snapshot){14, 2, &conf, false}, &err), &err);
    }
    wal_release(wal, 26);
    ok(wal_purge(wal, 4, &err), &err);
    wal_close(wal);
    ok(wal_names_list(&memfs.fs, DIR, &names, &err), &err);
    assert_int_equal(names.count, 4);
    assert_int_equal(names.items[0].index, 25);
    assert_int_equal(names.items[1].index, 13); /* the snapshot is here */
    assert_int_equal(names.items[2].index, 21); /* the last at or below the oldest name's index */
    wal_names_free(&names);
    ok(wal_valid_snapshots(&memfs.fs, DIR, &valid, &err), &err);
    assert_int_equal(valid.count, 1);
    assert_int_equal(valid.items[0].index, 14);
    ok(wal_open(&config, valid.items[0], &log, &wal, &err), &err);
    assert_int_equal(log.entry_count, 16);
    assert_int_equal(log.entries[0].term, 2);
    wal_log_free(&log);
    wal_close(wal);
    wal_positions_free(&valid);
    memfs_fini(&memfs);
}

/* Entries behind a snapshot come back from the dead when only those before it are looked at. */
static void what_was_overridden_stays_away(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR};
    struct wal_metadata metadata = {1, 2};
    struct raft_conf_state conf = {.voters = {1}, .voter_count = 1};
    struct wal_log log = {0};
    struct wal *wal = NULL;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    for (uint64_t index = 1; index <= 10; index++)
        append(wal, index, 1, 10);
    append(wal, 5, 2, 20); /* ends 6 to 10, and is in the snapshot itself */
    ok(wal_snapshot_record(wal, &(struct wal_snapshot){5, 2, &conf, false}, &err), &err);
    ok(wal_read(&memfs.fs, DIR, (struct wal_position){5, 2}, &log, &err), &err);
    assert_int_equal(log.entry_count, 0);
    wal_log_free(&log);
    for (uint64_t index = 6; index <= 12; index++)
        append(wal, index, 2, 10);
    /* The leader's: our entries from somewhere before it on were others. */
    ok(wal_snapshot_record(wal, &(struct wal_snapshot){8, 3, &conf, true}, &err), &err);
    ok(wal_read(&memfs.fs, DIR, (struct wal_position){8, 3}, &log, &err), &err);
    assert_int_equal(log.entry_count, 0);
    wal_log_free(&log);
    append(wal, 9, 3, 10);
    wal_close(wal);
    ok(wal_open(&config, (struct wal_position){8, 3}, &log, &wal, &err), &err);
    assert_int_equal(log.entry_count, 1);
    assert_int_equal(log.entries[0].term, 3);
    wal_log_free(&log);
    wal_close(wal);
    memfs_fini(&memfs);
}

static void later_entries_override_earlier_ones(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR};
    struct wal_metadata metadata = {1, 2};
    struct wal_log log = {0};
    struct wal *wal = NULL;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    for (uint64_t index = 1; index <= 10; index++)
        append(wal, index, 1, 10);
    append(wal, 5, 2, 20);
    append(wal, 6, 2, 20);
    wal_close(wal);
    ok(wal_read(&memfs.fs, DIR, START, &log, &err), &err);
    assert_int_equal(log.entry_count, 6);
    assert_int_equal(log.entries[3].term, 1);
    assert_int_equal(log.entries[4].term, 2);
    wal_log_free(&log);
    memfs_fini(&memfs);
}

static void only_promises_need_a_sync(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR};
    struct wal_metadata metadata = {1, 2};
    struct raft_hard_state hard = {.term = 1, .vote = 1, .commit = 1};
    struct wal *wal = NULL;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    assert_false(wal_needs_sync(wal));
    ok(wal_append(wal, &hard, NULL, 0, &err), &err);
    assert_true(wal_needs_sync(wal));
    ok(wal_sync(wal, &err), &err);
    hard.commit = 7;
    ok(wal_append(wal, &hard, NULL, 0, &err), &err);
    assert_false(wal_needs_sync(wal));
    hard.vote = 2;
    ok(wal_append(wal, &hard, NULL, 0, &err), &err);
    assert_true(wal_needs_sync(wal));
    wal_close(wal);
    memfs_fini(&memfs);
}

/* A write that finds the disk full is taken back; the same call succeeds when there is room. */
static void a_full_disk_takes_the_append_back(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 8192};
    struct wal_metadata metadata = {1, 2};
    struct raft_entry entry = {.index = 2, .term = 1, .data = SLICE_LITERAL("does not fit")};
    struct wal_log log = {0};
    struct wal *wal = NULL;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    append(wal, 1, 1, 100);
    memfs.fail_sys = ENOSPC;
    memfs.fail_at = memfs.operations + 1;
    assert_int_equal(wal_append(wal, NULL, &entry, 1, &err), -1);
    assert_int_equal(err.sys, ENOSPC);
    for (uint64_t index = 2; index <= 30; index++)
        append(wal, index, 1, 1000);
    memfs.fail_sys = EIO;
    memfs.fail_at = memfs.operations + 1;
    assert_int_equal(wal_append(wal, NULL, &entry, 1, &err), -1);
    assert_int_equal(err.sys, EIO);
    assert_int_equal(wal_append(wal, NULL, &entry, 1, &err), -1);
    assert_int_equal(wal_sync(wal, &err), -1);
    wal_close(wal);
    ok(wal_open(&config, START, &log, &wal, &err), &err);
    assert_int_equal(log.entry_count, 30);
    assert_int_equal(log.entries[1].data.size, 1000);
    wal_log_free(&log);
    wal_close(wal);
    memfs_fini(&memfs);
}

/* What an older torn write left behind a zero length must not come back to life. */
static void old_bytes_behind_the_end_are_cleared(void **state)
{
    struct memfs memfs;
    struct buf bytes;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 8192};
    struct wal_log log = {0};
    struct wal *wal = NULL;
    struct slice now;

    (void)state;
    load("wal-zero-length-then-garbage.wal", &bytes);
    memfs_init(&memfs);
    memfs_put(&memfs, FIRST, buf_slice(&bytes));
    ok(wal_open(&config, START, &log, &wal, &err), &err);
    now = memfs_get(&memfs, FIRST);
    assert_int_equal(now.size, 8192);
    for (size_t at = 3736; at < now.size; at++)
        assert_int_equal(now.data[at], 0);
    wal_log_free(&log);
    wal_close(wal);
    buf_free(&bytes);
    memfs_fini(&memfs);
}

/* Clients may have taken all descriptors: the segment goes on growing, and is cut later. */
static int no_descriptor(void *arg, enum memfs_op op, const char *path)
{
    const bool *none = arg;

    return *none && op == MEMFS_OPEN && strstr(path, ".tmp") != NULL ? EMFILE : 0;
}

static void a_cut_waits_for_a_descriptor(void **state)
{
    struct memfs memfs;
    struct err err = ERR_INIT;
    struct wal_config config = {.fs = &memfs.fs, .dir = DIR, .segment_bytes = 8192};
    struct wal_metadata metadata = {1, 2};
    struct wal_log log = {0};
    struct wal *wal = NULL;
    bool none = true;

    (void)state;
    memfs_init(&memfs);
    ok(wal_create(&config, &metadata, &wal, &err), &err);
    memfs.fault = no_descriptor;
    memfs.fault_arg = &none;
    for (uint64_t index = 1; index <= 30; index++)
        append(wal, index, 1, 1000);
    assert_true(memfs_get(&memfs, FIRST).size > 16384);
    none = false;
    append(wal, 31, 1, 1000);
    ok(wal_sync(wal, &err), &err);
    assert_true(memfs_get(&memfs, DIR "/0000000000000001-0000000000000020.wal").size != 0);
    wal_close(wal);
    ok(wal_open(&config, START, &log, &wal, &err), &err);
    assert_int_equal(log.entry_count, 31);
    wal_log_free(&log);
    wal_close(wal);
    memfs_fini(&memfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_has_the_bytes_of_etcd),
        cmocka_unit_test(a_real_log_reads_as_listed),
        cmocka_unit_test(damaged_logs_end_as_with_etcd),
        cmocka_unit_test(a_full_segment_is_cut_and_released),
        cmocka_unit_test(names_may_go_down),
        cmocka_unit_test(later_entries_override_earlier_ones),
        cmocka_unit_test(what_was_overridden_stays_away),
        cmocka_unit_test(only_promises_need_a_sync),
        cmocka_unit_test(a_full_disk_takes_the_append_back),
        cmocka_unit_test(old_bytes_behind_the_end_are_cleared),
        cmocka_unit_test(a_cut_waits_for_a_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
