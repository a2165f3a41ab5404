/*
 * backend_import_test.c - from bbolt into a backend and back: a database that a real etcd wrote is
 * imported into every kind of backend, hashed as etcd hashed it, and written out again entry by
 * entry the same.
 */
#include "common/base/crc32c.h"
#include "common/base/file.h"
#include "common/storage/backend.h"
#include "common/storage/backend_hash.h"
#include "common/storage/backend_image.h"
#include "common/storage/batch.h"
#include "common/storage/bolt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define ETCD_DB "tests/wire/vectors/snapshot-3.5.30.db"
#define STATUS_HASH 2225930719U /* etcdutl snapshot status: nothing left out */
#define LIVE_HASH 1200330476U   /* the Maintenance.Hash that etcd itself answered */

static struct err err;

/* ---- the two kinds ---- */

static char *directory_of_test(void)
{
    const char *base = getenv("TMPDIR");
    char *directory = xasprintf("%s/backend_import.XXXXXX", base != NULL ? base : "/tmp");

    assert_non_null(mkdtemp(directory));
    return directory;
}

static struct backend *open_kind(const char *directory, bool is_lmdb)
{
    const struct backend_options options = {.map_bytes = 1UL << 30};
    struct backend *backend = NULL;
    char *path;

    if (!is_lmdb)
        return backend_new_mem();
    path = xasprintf("%s/db", directory);
    if (backend_open_lmdb(path, &options, &backend, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
    return backend;
}

/* ---- what is compared ---- */

static uint32_t hash_of(struct backend *backend, size_t step)
{
    struct backend_read *read;
    struct backend_hash hash;

    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    backend_hash_init(&hash, read);
    while (!backend_hash_step(&hash, step))
        continue;
    backend_hash_fini(&hash);
    backend_read_end(read);
    return hash.crc;
}

/* As `snapshot status` does it: over a bbolt file, nothing left out. */
static uint32_t status_hash(const struct bolt *bolt)
{
    struct bolt_bucket root = bolt_root(bolt), bucket;
    struct bolt_cursor names, cursor;
    struct bolt_entry name, entry;
    uint32_t crc = 0;
    bool more, found;

    bolt_cursor_init(&names, &root);
    assert_int_equal(bolt_cursor_first(&names, &name, &more, &err), 0);
    while (more) {
        crc = crc32c(crc, name.key.data, name.key.size);
        assert_int_equal(bolt_bucket_open(bolt, &name, &bucket, &err), 0);
        bolt_cursor_init(&cursor, &bucket);
        assert_int_equal(bolt_cursor_first(&cursor, &entry, &found, &err), 0);
        while (found) {
            crc = crc32c(crc, entry.key.data, entry.key.size);
            crc = crc32c(crc, entry.value.data, entry.value.size);
            assert_int_equal(bolt_cursor_next(&cursor, &entry, &found, &err), 0);
        }
        assert_int_equal(bolt_cursor_next(&names, &name, &more, &err), 0);
    }
    return crc;
}

static int to_buf(void *arg, struct buf *bytes, struct err *why)
{
    (void)why; /* memory is enough */
    assert_true(buf_append_slice(arg, buf_slice(bytes)));
    return 0;
}

static void write_image(struct backend *backend, struct buf *out)
{
    const struct bolt_write_options options = {.page_bytes = 0};
    struct backend_read *read;
    struct backend_image image;
    struct bolt_plan plan;

    assert_int_equal(backend_read_begin(backend, &read, &err), 0);
    backend_image_init(&image, read);
    assert_int_equal(bolt_plan(&image.source, &options, &plan, &err), 0);
    assert_int_equal(bolt_write(&image.source, &plan, to_buf, out, &err), 0);
    assert_int_equal(buf_used(out), bolt_plan_bytes(&plan));
    backend_image_fini(&image);
    backend_read_end(read);
}

static void round_trip(bool is_lmdb)
{
    char *directory = directory_of_test();
    struct backend *backend = open_kind(directory, is_lmdb);
    struct buf image = BUF_INIT(64 * MIB);
    struct bolt *bolt;
    uint64_t findings;

    if (backend_import_bolt(backend, ETCD_DB, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(hash_of(backend, SIZE_MAX), LIVE_HASH);
    assert_int_equal(hash_of(backend, 1), LIVE_HASH);
    write_image(backend, &image);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "image", &bolt, &err), 0);
    assert_int_equal(status_hash(bolt), STATUS_HASH);
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    bolt_close(bolt);
    buf_free(&image);
    assert_int_equal(backend_import_bolt(backend, ETCD_DB, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    backend_close(backend);
    assert_int_equal(file_remove_tree(directory, &err), 0);
    free(directory);
}

static void memory_takes_and_gives_etcds_database(void **state)
{
    (void)state;
    round_trip(false);
}

static void lmdb_takes_and_gives_etcds_database(void **state)
{
    (void)state;
    round_trip(true);
}

static void an_empty_backend_is_an_image_too(void **state)
{
    struct backend *backend = backend_new_mem();
    struct buf image = BUF_INIT(MIB);
    struct bolt_bucket bucket;
    struct bolt *bolt;
    bool found;

    (void)state;
    write_image(backend, &image);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "image", &bolt, &err), 0);
    for (int i = 0; i < BUCKET_COUNT; i++) {
        struct slice name = slice_text(bucket_name((enum bucket)i));

        assert_int_equal(bolt_bucket_find(bolt, name, &bucket, &found, &err), 0);
        assert_true(found);
    }
    bolt_close(bolt);
    buf_free(&image);
    backend_close(backend);
}

/* More than one transaction's worth, through an image, into the other kind. */
static void a_large_store_moves_whole(void **state)
{
    char *directory = directory_of_test(), *path = xasprintf("%s/image", directory);
    struct backend *from = backend_new_mem(), *to = open_kind(directory, true);
    struct batch *batch = batch_new();
    static uint8_t value[1500];
    struct buf image = BUF_INIT(64 * MIB);
    uint8_t key[4];

    (void)state;
    for (unsigned i = 0; i < 12000; i++) {
        memcpy(key, (uint8_t[]){0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 4);
        value[0] = (uint8_t)i;
        batch_put(batch, BUCKET_KEY, slice_of(key, 4), slice_of(value, 1 + i % sizeof(value)));
    }
    batch_put(batch, BUCKET_LEASE, slice_text("lease"), SLICE_EMPTY);
    assert_int_equal(backend_commit(from, batch, &err), 0);
    batch_unref(batch);
    write_image(from, &image);
    assert_int_equal(file_write_atomic(path, buf_slice(&image), 0600, true, &err), 0);
    if (backend_import_bolt(to, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(hash_of(to, 1000), hash_of(from, SIZE_MAX));
    buf_free(&image);
    backend_close(from);
    backend_close(to);
    assert_int_equal(file_remove_tree(directory, &err), 0);
    free(path);
    free(directory);
}

/* Cut anywhere: refused with words, or (behind the last page) no difference. */
static void cut_files_are_refused(void **state)
{
    char *directory = directory_of_test(), *path = xasprintf("%s/cut", directory);
    struct buf whole = BUF_INIT(MIB);

    (void)state;
    assert_int_equal(file_read_all(ETCD_DB, &whole, &err), 0);
    for (size_t bytes = 0; bytes < whole.size - 4096; bytes += 1777) {
        struct backend *backend = backend_new_mem();

        assert_int_equal(file_write_atomic(path, slice_of(whole.data, bytes), 0600, true, &err), 0);
        assert_int_equal(backend_import_bolt(backend, path, &err), -1);
        assert_true(err.code == ERR_FORMAT || err.code == ERR_DAMAGED);
        backend_close(backend);
    }
    buf_free(&whole);
    assert_int_equal(file_remove_tree(directory, &err), 0);
    free(path);
    free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_takes_and_gives_etcds_database),
        cmocka_unit_test(lmdb_takes_and_gives_etcds_database),
        cmocka_unit_test(an_empty_backend_is_an_image_too),
        cmocka_unit_test(a_large_store_moves_whole),
        cmocka_unit_test(cut_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
