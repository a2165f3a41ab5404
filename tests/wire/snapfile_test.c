/* snapfile_test.c - .snap files and their membership text against those of a real etcd. */
#include "common/base/file.h"
#include "common/storage/datadir.h"
#include "common/storage/snapfile.h"
#include "common/storage/v2store.h"
#include "tests/lib/memfs.h"
#include "tests/lib/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define REAL "0000000000000002-0000000000000097.snap"

static void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

static void real_files_come_apart_and_together(void **state)
{
    static const struct {
        const char *name;
        uint64_t term, index;
        size_t members;
        const char *version;
    } files[] = {
        {REAL, 2, 151, 1, "3.5.0"},
        {"restore-three-members.snap", 1, 3, 3, NULL},
        {"restore-bump.snap", 1, 1, 1, NULL},
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(files); at++) {
        struct raft_snapshot snapshot;
        struct buf bytes, again = BUF_INIT(BUF_UNLIMITED);
        struct v2store store;
        struct err err = ERR_INIT;

        load(files[at].name, &bytes);
        ok(snapfile_decode(buf_slice(&bytes), &snapshot, &err), &err);
        assert_int_equal(snapshot.meta.index, files[at].index);
        assert_int_equal(snapshot.meta.term, files[at].term);
        assert_true(snapfile_encode(&snapshot, &again));
        assert_true(slice_equal(buf_slice(&bytes), buf_slice(&again)));
        ok(v2store_read(snapshot.data, &store, &err), &err);
        assert_int_equal(store.member_count, files[at].members);
        for (size_t member = 0; member < store.member_count; member++)
            assert_true(store.members[member].id == snapshot.meta.conf_state.voters[member]);
        if (files[at].version != NULL)
            assert_string_equal(store.version, files[at].version);
        v2store_free(&store);
        buf_free(&bytes);
        buf_free(&again);
    }
}

static void the_smallest_text_is_written(void **state)
{
    static const char golden[] =
        "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{\"members\":"
        "{\"Path\":\"/0/members\",\"Children\":{\"65c036664b72b63\":{\"Path\":\"/0/members/"
        "65c036664b72b63\",\"Children\":{\"raftAttributes\":{\"Path\":\"/0/members/65c036664b72b63/"
        "raftAttributes\",\"Value\":\"{\\\"peerURLs\\\":[\\\"http://127.0.0.1:23202\\\"]}\"},"
        "\"attributes\":{\"Path\":\"/0/members/65c036664b72b63/attributes\",\"Value\":\"{"
        "\\\"name\\\":\\\"vec\\\",\\\"clientURLs\\\":[\\\"http://127.0.0.1:23201\\\"]}\"}}}}},"
        "\"removed_members\":{\"Path\":\"/0/removed_members\",\"Children\":{\"a\":{\"Path\":"
        "\"/0/removed_members/a\",\"Value\":\"\"}}},\"version\":{\"Path\":\"/0/version\",\"Value\":"
        "\"3.5.0\"}}},\"1\":{\"Path\":\"/1\",\"Children\":{}}}},\"CurrentIndex\":3,"
        "\"CurrentVersion\":2}";
    const char *peer = "http://127.0.0.1:23202", *client = "http://127.0.0.1:23201";
    struct member member;
    uint64_t removed = 10;
    char version[] = "3.5.0";
    struct v2store again, store = {.members = &member,
                                   .member_count = 1,
                                   .removed = &removed,
                                   .removed_count = 1,
                                   .version = version,
                                   .index = 3};
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;

    (void)state;
    member_init(&member, 0x65c036664b72b63);
    member_set_name(&member, "vec");
    member_set_peer_urls(&member, &peer, 1);
    member_set_client_urls(&member, &client, 1);
    assert_true(v2store_write(&store, &out));
    assert_string_equal(buf_text(&out), golden);
    ok(v2store_read(buf_slice(&out), &again, &err), &err);
    assert_int_equal(again.member_count, 1);
    assert_string_equal(again.members[0].name, "vec");
    assert_string_equal(again.members[0].peer_urls[0], peer);
    assert_string_equal(again.members[0].client_urls[0], client);
    assert_int_equal(again.removed[0], 10);
    assert_int_equal(again.index, 3);
    v2store_free(&again);
    member_fini(&member);
    buf_free(&out);
}

static void foreign_or_broken_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"Root\":{}}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{}}}}}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{\"xyz\":{}}}}}}}"
        "}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{\"a\":{}}}}}}}}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{}}}},"
        "\"1\":{\"Children\":{\"mine\":{\"Value\":\"x\"}}}}}}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{}},"
        "\"removed_members\":{\"Children\":{\"a\":{},\"A\":{}}}}}}}}",
    };

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(texts); at++) {
        struct v2store store;
        struct err err = ERR_INIT;

        assert_int_equal(v2store_read(slice_text(texts[at]), &store, &err), -1);
        assert_int_equal(err.code, ERR_FORMAT);
    }
}

static void save(struct memfs *memfs, uint64_t term, uint64_t index)
{
    struct raft_snapshot snapshot = {.data = SLICE_LITERAL("{}"),
                                     .meta = {.index = index, .term = term}};
    struct err err = ERR_INIT;

    ok(snapfile_save(&memfs->fs, "snap", &snapshot, NULL, &err), &err);
}

static void the_newest_confirmed_one_is_loaded(void **state)
{
    struct memfs memfs;
    struct wal_position positions[] = {{0, 0}, {10, 1}, {20, 1}, {40, 3}};
    struct wal_positions confirmed = {positions, ARRAY_LEN(positions)};
    struct raft_snapshot snapshot;
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool found;

    (void)state;
    memfs_init(&memfs);
    save(&memfs, 1, 10);
    save(&memfs, 1, 20);
    save(&memfs, 2, 30); /* the log does not know it */
    save(&memfs, 3, 40);
    memfs_put(&memfs, "snap/0000000000000003-0000000000000028.snap", SLICE_LITERAL("\x08\x01"));
    memfs_put(&memfs, "snap/0000000000000004-0000000000000050.snap", SLICE_EMPTY);
    ok(snapfile_load_newest(&memfs.fs, "snap", &confirmed, &bytes, &snapshot, &found, &err), &err);
    assert_true(found);
    assert_int_equal(snapshot.meta.index, 20);
    assert_true(
        memfs.fs.ops->exists(&memfs.fs, "snap/0000000000000003-0000000000000028.snap.broken"));
    assert_true(
        memfs.fs.ops->exists(&memfs.fs, "snap/0000000000000004-0000000000000050.snap.broken"));
    assert_true(memfs.fs.ops->exists(&memfs.fs, "snap/0000000000000002-000000000000001e.snap"));
    ok(snapfile_purge(&memfs.fs, "snap", &(struct raft_snapshot_meta){.term = 2, .index = 30}, 2,
                      &err),
       &err);
    assert_false(memfs.fs.ops->exists(&memfs.fs, "snap/0000000000000001-000000000000000a.snap"));
    assert_true(memfs.fs.ops->exists(&memfs.fs, "snap/0000000000000001-0000000000000014.snap"));
    confirmed.count = 0;
    ok(snapfile_load_newest(&memfs.fs, "snap", &confirmed, &bytes, &snapshot, &found, &err), &err);
    assert_false(found);
    buf_free(&bytes);
    memfs_fini(&memfs);
}

/* A leader's snapshot came to nothing; that it went further is no reason to drop the one
 * we have. */
static void what_was_never_recorded_crowds_nothing_out(void **state)
{
    static const char *const paths[] = {"snap/0000000000000001-000000000000001e.snap",
                                        "snap/0000000000000004-000000000000004c.snap",
                                        "snap/0000000000000004-000000000000004d.snap",
                                        "snap/000000000000001e.snap.db",
                                        "snap/000000000000004c.snap.db",
                                        "snap/000000000000004d.snap.db"};
    struct memfs memfs;
    struct err err = ERR_INIT;

    (void)state;
    memfs_init(&memfs);
    for (size_t at = 0; at < ARRAY_LEN(paths); at++)
        memfs_put(&memfs, paths[at], SLICE_LITERAL("x"));
    ok(snapfile_purge(&memfs.fs, "snap", &(struct raft_snapshot_meta){.term = 4, .index = 0x4c}, 1,
                      &err),
       &err);
    for (size_t at = 0; at < ARRAY_LEN(paths); at++)
        assert_int_equal(memfs.fs.ops->exists(&memfs.fs, paths[at]), at % 3 != 0);
    ok(snapfile_purge(&memfs.fs, "snap", &(struct raft_snapshot_meta){.term = 4, .index = 0x50}, 1,
                      &err),
       &err);
    for (size_t at = 0; at < ARRAY_LEN(paths); at++)
        assert_int_equal(memfs.fs.ops->exists(&memfs.fs, paths[at]), at == 2);
    memfs_fini(&memfs);
}

/* Each is as large as the database. etcd removes them with every snapshot it saves, too. */
static void databases_that_were_not_taken_go(void **state)
{
    static const struct {
        const char *path;
        bool stays;
    } files[] = {
        {"snap/0000000000000001-000000000000001e.snap", true},
        {"snap/000000000000001e.snap.db", false},
        {"snap/000000000000004b.snap.db", false},
        {"snap/000000000000004c.snap.db", true}, /* of this very snapshot: about to be taken */
        {"snap/000000000000004d.snap.db", true}, /* raft may want it yet */
        {"snap/4a.snap.db", true},               /* nobody here writes such names */
        {"snap/db", true},
    };
    struct memfs memfs;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t max = 0; max < 10; max += 5) {
        memfs_init(&memfs);
        for (size_t at = 0; at < ARRAY_LEN(files); at++)
            memfs_put(&memfs, files[at].path, SLICE_LITERAL("x"));
        ok(snapfile_purge(&memfs.fs, "snap", &(struct raft_snapshot_meta){.term = 4, .index = 0x4c},
                          max, &err),
           &err);
        for (size_t at = 0; at < ARRAY_LEN(files); at++)
            if (memfs.fs.ops->exists(&memfs.fs, files[at].path) != files[at].stays)
                fail_msg("%s", files[at].path);
        memfs_fini(&memfs);
    }
}

/* Loaded is 30 of term 2; the store has come to 40. */
static void what_a_crash_left_is_removed(void **state)
{
    static const struct {
        const char *path;
        bool stays;
    } files[] = {
        {"snap/0000000000000001-0000000000000014.snap", true},  /* older: purging counts them */
        {"snap/0000000000000001-0000000000000015.snap", true},  /* ... recorded or not */
        {"snap/0000000000000002-000000000000001e.snap", true},  /* the one loaded */
        {"snap/0000000000000002-0000000000000028.snap", false}, /* of that index, another term */
        {"snap/0000000000000003-0000000000000028.snap", true},  /* recorded, but cannot be read */
        {"snap/0000000000000003-0000000000000032.snap", false},
        {"snap/0000000000000003-0000000000000028.snap.broken", true},
        {"snap/0000000000000003-000000000000003C.snap", true}, /* nobody here writes such names */
        {"snap/3-3c.snap", true},
        {"snap/000000000000001e.snap.db", false}, /* the store has it */
        {"snap/0000000000000020.snap.db", false},
        {"snap/0000000000000028.snap.db", false},
        {"snap/0000000000000032.snap.db", false}, /* never recorded */
        {"snap/0000000000000046.snap.db", true},  /* recorded, and the store is behind it */
        {"snap/46.snap.db", true},
        {"snap/db", true},
    };
    struct wal_position positions[] = {{0, 0}, {20, 1}, {30, 2}, {40, 3}, {70, 3}};
    const struct wal_positions confirmed = {positions, ARRAY_LEN(positions)};
    const struct raft_snapshot_meta loaded = {.index = 30, .term = 2};
    struct memfs memfs;
    struct err err = ERR_INIT;
    size_t removed;

    (void)state;
    memfs_init(&memfs);
    for (size_t at = 0; at < ARRAY_LEN(files); at++)
        memfs_put(&memfs, files[at].path, SLICE_LITERAL("x"));
    for (int round = 0; round < 2; round++) {
        ok(snapfile_clean(&memfs.fs, "snap", &confirmed, &loaded, 40, &removed, &err), &err);
        assert_int_equal(removed, round == 0 ? 6 : 0);
        for (size_t at = 0; at < ARRAY_LEN(files); at++)
            if (memfs.fs.ops->exists(&memfs.fs, files[at].path) != files[at].stays)
                fail_msg("%s", files[at].path);
    }
    memfs_fini(&memfs);
}

static void a_data_directory_is_made_locked_and_cleaned(void **state)
{
    static const uint8_t bolt[20] = {[16] = 0xed, [17] = 0xda, [18] = 0x0c, [19] = 0xed};
    static const uint8_t lmdb[20] = {[16] = 0xde, [17] = 0xc0, [18] = 0xef, [19] = 0xbe};
    struct memfs memfs;
    struct datadir dir, second;
    enum datadir_db kind;
    struct err err = ERR_INIT;
    char *received;

    (void)state;
    memfs_init(&memfs);
    memfs_put(&memfs, "d/member/snap/tmp123", SLICE_LITERAL("x"));
    memfs_put(&memfs, "d/member/snap/db.tmp.1", SLICE_LITERAL("x"));
    ok(datadir_open(&memfs.fs, "d//", NULL, &dir, &err), &err);
    assert_string_equal(dir.wal, "d/member/wal");
    assert_false(memfs.fs.ops->exists(&memfs.fs, "d/member/snap/tmp123"));
    assert_false(memfs.fs.ops->exists(&memfs.fs, "d/member/snap/db.tmp.1"));
    assert_int_equal(datadir_open(&memfs.fs, "d", "elsewhere/wal", &second, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    ok(datadir_db_kind(&memfs.fs, dir.db, &kind, &err), &err);
    assert_int_equal(kind, DATADIR_DB_ABSENT);
    memfs_put(&memfs, "d/member/snap/new", slice_of(bolt, sizeof(bolt)));
    ok(memfs.fs.ops->rename(&memfs.fs, "d/member/snap/new", dir.db, &err), &err);
    ok(datadir_relock(&dir, &err), &err);
    assert_int_equal(datadir_open(&memfs.fs, "d", NULL, &second, &err), -1);
    ok(datadir_db_kind(&memfs.fs, dir.db, &kind, &err), &err);
    assert_int_equal(kind, DATADIR_DB_BOLT);
    memfs_put(&memfs, dir.db, slice_of(lmdb, sizeof(lmdb)));
    ok(datadir_db_kind(&memfs.fs, dir.db, &kind, &err), &err);
    assert_int_equal(kind, DATADIR_DB_LMDB);
    memfs_put(&memfs, dir.db, SLICE_LITERAL("something else"));
    ok(datadir_db_kind(&memfs.fs, dir.db, &kind, &err), &err);
    assert_int_equal(kind, DATADIR_DB_UNKNOWN);
    received = datadir_received_db(&dir, 255);
    assert_string_equal(received, "d/member/snap/00000000000000ff.snap.db");
    free(received);
    datadir_close(&dir);
    memfs_fini(&memfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_files_come_apart_and_together),
        cmocka_unit_test(the_smallest_text_is_written),
        cmocka_unit_test(foreign_or_broken_texts_are_refused),
        cmocka_unit_test(the_newest_confirmed_one_is_loaded),
        cmocka_unit_test(what_was_never_recorded_crowds_nothing_out),
        cmocka_unit_test(databases_that_were_not_taken_go),
        cmocka_unit_test(what_a_crash_left_is_removed),
        cmocka_unit_test(a_data_directory_is_made_locked_and_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
