/*
 * restore_test.c - a restore gives etcdutl's bytes: the log and the .snap file of the vectors, the
 * database by content; and whatever is refused leaves nothing behind.
 */
#include "common/base/crc32c.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/sha256.h"
#include "common/storage/snapshot.h"
#include "common/storage/snapshot_restore.h"
#include "common/storage/snapshot_save.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define VECTORS "tests/wire/vectors/"
#define SNAPSHOT VECTORS "snapshot-3.5.30.db"
#define THREE "n1=http://127.0.0.1:23411,n2=http://127.0.0.1:23421,n3=http://127.0.0.1:23431"

static char *directory; /* of one test; made and removed around it */

static int setup(void **state)
{
    (void)state;
    directory = xasprintf("%s/restore-test-XXXXXX", P_tmpdir);
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    int rc = file_remove_tree(directory, &err);

    (void)state;
    free(directory);
    return rc;
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", directory, name);
}

static size_t files_in(const char *path)
{
    DIR *open_directory = opendir(path);
    size_t count = 0;

    assert_non_null(open_directory);
    for (struct dirent *entry; (entry = readdir(open_directory)) != NULL;)
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    (void)closedir(open_directory);
    return count;
}

static void same_file(const char *left, const char *right, bool zero_tail)
{
    struct buf a = BUF_INIT(128 * MIB), b = BUF_INIT(128 * MIB);
    struct err err = ERR_INIT;

    assert_int_equal(file_read_all(left, &a, &err), 0);
    assert_int_equal(file_read_all(right, &b, &err), 0);
    assert_true(zero_tail ? a.size >= b.size : a.size == b.size);
    assert_memory_equal(a.data, b.data, b.size);
    for (size_t i = b.size; i < a.size; i++)
        must(a.data[i] == 0);
    buf_free(&a);
    buf_free(&b);
}

static void compare_log(const char *data, const char *wal, const char *snap, const char *vector)
{
    char *path = xasprintf("%s/%s", data, wal);
    char *expected = xasprintf(VECTORS "%s.wal", vector);

    same_file(path, expected, true);
    free(path);
    free(expected);
    path = xasprintf("%s/member/snap/%s", data, snap);
    expected = xasprintf(VECTORS "%s.snap", vector);
    same_file(path, expected, false);
    free(path);
    free(expected);
}

static void check_value(const struct bolt *bolt, const char *bucket_name, struct slice key,
                        struct slice expected)
{
    struct bolt_bucket bucket;
    struct slice value;
    struct err err = ERR_INIT;
    bool found;

    assert_int_equal(bolt_bucket_find(bolt, slice_text(bucket_name), &bucket, &found, &err), 0);
    assert_true(found);
    assert_int_equal(bolt_get(&bucket, key, &value, &found, &err), 0);
    assert_true(found && slice_equal(value, expected));
}

static void three_members_match_the_vector(void **state)
{
    struct snapshot_restore restore = {.path = SNAPSHOT,
                                       .name = "n2",
                                       .initial_cluster = THREE,
                                       .initial_cluster_token = "rtok",
                                       .peer_urls = "http://127.0.0.1:23421"};
    char *data = path_of("three"), *db = path_of("three/member/snap/db");
    struct bolt *bolt = NULL;
    struct snapshot_status status;
    struct snapshot_hashkv hash, before;
    struct err err = ERR_INIT;
    struct stat info;

    (void)state;
    restore.data_dir = data;
    assert_int_equal(snapshot_restore(&restore, &err), 0);
    compare_log(data, "member/wal/0000000000000000-0000000000000000.wal",
                "0000000000000001-0000000000000003.snap", "restore-three-members");
    assert_int_equal(files_in(directory), 1);
    assert_int_equal(stat(data, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(db, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(bolt_open(SNAPSHOT, &bolt, &err), 0);
    assert_int_equal(snapshot_hashkv(bolt, 0, &before, &err), 0);
    bolt_close(bolt);
    assert_int_equal(bolt_open(db, &bolt, &err), 0);
    assert_int_equal(snapshot_status_of(bolt, &status, NULL, NULL, &err), 0);
    assert_int_equal(status.revision, 216);
    assert_int_equal(snapshot_hashkv(bolt, 0, &hash, &err), 0);
    assert_int_equal(hash.hash, before.hash);
    check_value(bolt, "meta", SLICE_LITERAL("consistent_index"), SLICE_LITERAL("\0\0\0\0\0\0\0\3"));
    check_value(bolt, "meta", SLICE_LITERAL("term"), SLICE_LITERAL("\0\0\0\0\0\0\0\1"));
    check_value(bolt, "members", SLICE_LITERAL("48dcde3b90b36111"),
                SLICE_LITERAL("{\"id\":5250315613019267345,\"peerURLs\":"
                              "[\"http://127.0.0.1:23431\"],\"name\":\"n3\"}"));
    bolt_close(bolt);
    free(data);
    free(db);
}

static void a_bump_matches_the_vector(void **state)
{
    struct snapshot_restore restore = {.path = SNAPSHOT,
                                       .name = "n1",
                                       .initial_cluster = "n1=http://127.0.0.1:23411",
                                       .initial_cluster_token = "rtok",
                                       .peer_urls = "http://127.0.0.1:23411",
                                       .bump_revision = 1000000,
                                       .mark_compacted = true};
    char *data = path_of("bump"), *wal = path_of("deep/log"), *db = path_of("bump/member/snap/db");
    struct slice revision = SLICE_LITERAL("\0\0\0\0\0\x0f\x43\x18_\0\0\0\0\0\0\0\0");
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    (void)state;
    restore.data_dir = data;
    restore.wal_dir = wal;
    assert_int_equal(snapshot_restore(&restore, &err), 0);
    compare_log(data, "../deep/log/0000000000000000-0000000000000000.wal",
                "0000000000000001-0000000000000001.snap", "restore-bump");
    assert_int_equal(bolt_open(db, &bolt, &err), 0);
    check_value(bolt, "key", revision, SLICE_EMPTY);
    check_value(bolt, "meta", SLICE_LITERAL("scheduledCompactRev"), revision);
    bolt_close(bolt);
    assert_int_equal(snapshot_restore(&restore, &err), -1);
    assert_non_null(strstr(err.text, "not empty"));
    free(db);
    db = path_of("other");
    restore.data_dir = db;
    assert_int_equal(snapshot_restore(&restore, &err), -1);
    assert_non_null(strstr(err.text, "wal-dir"));
    assert_int_equal(files_in(directory), 2);
    free(data);
    free(wal);
    free(db);
}

static void an_empty_directory_is_filled(void **state)
{
    struct snapshot_restore restore = {.path = SNAPSHOT};
    char *data = path_of("empty/"), *member = path_of("empty/member");
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(mkdir(data, 0700), 0);
    restore.data_dir = data;
    assert_int_equal(snapshot_restore(&restore, &err), 0);
    assert_int_equal(files_in(data), 1);
    assert_int_equal(files_in(member), 2);
    free(data);
    free(member);
}

static void put_file(const char *name, struct slice content)
{
    char *path = path_of(name);
    struct err err = ERR_INIT;

    assert_int_equal(file_write_atomic(path, content, 0600, true, &err), 0);
    free(path);
}

static void refuse(struct snapshot_restore restore, const char *words)
{
    char *data = path_of("refused");
    size_t files = files_in(directory);
    struct err err = ERR_INIT;

    restore.data_dir = data;
    assert_int_equal(snapshot_restore(&restore, &err), -1);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    assert_int_equal(files_in(directory), files);
    free(data);
}

static void refusals_leave_nothing(void **state)
{
    struct buf file = BUF_INIT(MIB);
    char *path = path_of("damaged.db");
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(file_read_all(SNAPSHOT, &file, &err), 0);
    put_file("damaged.db", slice_of(file.data, file.size - 32));
    refuse((struct snapshot_restore){.path = path}, "snapshot missing hash");
    put_file("damaged.db", slice_of(file.data, 40000));
    refuse((struct snapshot_restore){.path = path}, "truncated");
    put_file("damaged.db", SLICE_LITERAL("hello"));
    refuse((struct snapshot_restore){.path = path}, "invalid database");
    put_file("damaged.db", SLICE_EMPTY);
    refuse((struct snapshot_restore){.path = path}, "invalid database");
    file.data[30000] ^= 1;
    put_file("damaged.db", buf_slice(&file));
    refuse((struct snapshot_restore){.path = path}, "expected sha256");
    file.data[16 * 4096 + 8] = 4;
    put_file("damaged.db", buf_slice(&file));
    refuse((struct snapshot_restore){.path = path, .skip_hash_check = true}, "integrity");
    refuse((struct snapshot_restore){.path = "no/such/file"}, "No such file");
    refuse((struct snapshot_restore){.path = SNAPSHOT, .name = "other"},
           "couldn't find local name");
    refuse((struct snapshot_restore){.path = SNAPSHOT,
                                     .name = "a",
                                     .initial_cluster = "a=http://127.0.0.1:1"},
           "initial-advertise-peer-urls");
    refuse((struct snapshot_restore){.path = SNAPSHOT, .peer_urls = "bogus"}, "URL scheme");
    refuse((struct snapshot_restore){.path = SNAPSHOT, .bump_revision = 1}, "mark-compacted");
    refuse((struct snapshot_restore){.path = SNAPSHOT, /* a member could not count on */
                                     .bump_revision = REVISION_MAX / 2,
                                     .mark_compacted = true},
           "largest revision");
    refuse((struct snapshot_restore){.path = SNAPSHOT,
                                     .bump_revision = UINT64_MAX,
                                     .mark_compacted = true},
           "beyond the largest");
    buf_free(&file);
    free(path);
}

/* ---- saving ---- */

enum sum { BY_HASH, BY_CRC, BY_CRC_THAT_NEVER_CAME };

static int save_by(enum sum sum, const char *path, struct slice bytes, size_t piece, uint32_t crc,
                   struct err *err)
{
    struct snapshot_save *save = NULL;

    assert_int_equal(snapshot_save_begin(path, NULL, &save, err), 0);
    if (sum != BY_HASH)
        snapshot_save_expect_crc(save);
    for (size_t at = 0; at < bytes.size; at += piece)
        assert_int_equal(
            snapshot_save_add(save, slice_of(bytes.data + at, MIN(piece, bytes.size - at)), err),
            0);
    if (sum == BY_CRC)
        snapshot_save_crc(save, crc);
    return snapshot_save_finish(save, err);
}

static int save_in_pieces(const char *path, struct slice bytes, size_t piece, struct err *err)
{
    return save_by(BY_HASH, path, bytes, piece, 0, err);
}

static void a_whole_stream_is_kept(void **state)
{
    static const size_t pieces[] = {1000000, 32768, 31, 32, 33, 7};
    struct buf file = BUF_INIT(MIB);
    char *path = path_of("saved.db");
    struct err err = ERR_INIT;
    struct stat info;

    (void)state;
    assert_int_equal(file_read_all(SNAPSHOT, &file, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        for (enum sum sum = BY_HASH; sum <= BY_CRC_THAT_NEVER_CAME; sum++) {
            assert_int_equal(save_by(sum, path, buf_slice(&file), pieces[i],
                                     crc32c(0, file.data, file.size), &err),
                             0);
            same_file(path, SNAPSHOT, false);
        }
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(files_in(directory), 1);
    buf_free(&file);
    free(path);
}

/* Bytes that end in their hash, as many as several blocks of the writer hold, and some. */
static void large_stream(struct buf *out, size_t bytes)
{
    struct sha256 *sum = sha256_new();
    uint8_t hash[SHA256_BYTES];

    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t number = at * 0x9E3779B97F4A7C15U;

        must(buf_append(out, &number, sizeof(number)));
    }
    sha256_add(sum, buf_slice(out));
    sha256_end(sum, hash);
    sha256_free(sum);
    must(buf_append(out, hash, sizeof(hash)));
}

static void a_large_stream_is_kept(void **state)
{
    static const size_t sizes[] = {MIB, 7 * MIB, 9 * MIB + 512, MIB - 512},
                        pieces[] = {16384, 100001, 3 * MIB};
    char *path = path_of("saved.db");
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf sent = BUF_INIT(16 * MIB), saved = BUF_INIT(16 * MIB);

        large_stream(&sent, sizes[i]);
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            assert_int_equal(save_by(i % 3, path, buf_slice(&sent), pieces[k],
                                     crc32c(0, sent.data, sent.size), &err),
                             0);
            buf_reset(&saved);
            assert_int_equal(file_read_all(path, &saved, &err), 0);
            assert_true(slice_equal(buf_slice(&sent), buf_slice(&saved)));
        }
        buf_free(&sent);
        buf_free(&saved);
    }
    assert_int_equal(files_in(directory), 1);
    free(path);
}

/* The disk refuses in the middle: the thread that writes says so, nothing stays. */
static void a_full_disk_is_told(void **state)
{
    struct rlimit before, limit;
    struct buf sent = BUF_INIT(16 * MIB);
    char *path = path_of("saved.db");
    struct snapshot_save *save = NULL;
    struct err err = ERR_INIT;
    int rc = 0;

    (void)state;
    large_stream(&sent, 9 * MIB);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 2 * MIB + 4096, .rlim_max = before.rlim_max};
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(snapshot_save_begin(path, NULL, &save, &err), 0);
    for (size_t at = 0; at < sent.size && rc == 0; at += 32768)
        rc = snapshot_save_add(save, slice_of(sent.data + at, MIN(32768, sent.size - at)), &err);
    if (rc == 0)
        rc = snapshot_save_finish(save, &err);
    else
        snapshot_save_abort(save);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, "saved.db.part: File too large"));
    assert_int_equal(files_in(directory), 0);
    buf_free(&sent);
    free(path);
}

static void a_broken_stream_is_dropped(void **state)
{
    struct buf file = BUF_INIT(MIB);
    char *path = path_of("saved.db"), *nowhere = path_of("no/saved.db");
    struct snapshot_save *save = NULL;
    uint32_t crc;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(file_read_all(SNAPSHOT, &file, &err), 0);
    assert_int_equal(save_in_pieces(path, slice_of(file.data, file.size - 32), 4096, &err), -1);
    assert_int_equal(err.code, ERR_TORN);
    assert_int_equal(save_in_pieces(path, slice_of(file.data, 512 * 3 + 32), 4096, &err), -1);
    assert_int_equal(err.code, ERR_CHECKSUM);
    assert_int_equal(save_in_pieces(path, SLICE_EMPTY, 4096, &err), -1);
    crc = crc32c(0, file.data, file.size);
    assert_int_equal(save_by(BY_CRC, path, buf_slice(&file), 4096, crc ^ 1, &err), -1);
    assert_int_equal(err.code, ERR_CHECKSUM);
    assert_non_null(strstr(err.text, "crc32c of the "));
    file.data[100] ^= 1;
    for (enum sum sum = BY_HASH; sum <= BY_CRC_THAT_NEVER_CAME; sum++) {
        assert_int_equal(save_by(sum, path, buf_slice(&file), 4096, crc, &err), -1);
        assert_int_equal(err.code, ERR_CHECKSUM);
    }
    assert_int_equal(snapshot_save_begin(nowhere, NULL, &save, &err), -1);
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(files_in(directory), 0);
    buf_free(&file);
    free(path);
    free(nowhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_members_match_the_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bump_matches_the_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_directory_is_filled, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_whole_stream_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_stream_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_stream_is_dropped, setup, teardown),
    };

    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
