/*
 * snapshot_test.c - snapshot files of a real etcd: its status, its hashes at every revision; and
 * files that are none.
 */
#include "common/storage/snapshot.h"
#include "common/base/file.h"
#include "common/storage/bolt_overlay.h"
#include "tests/lib/bolt_array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#define VECTORS "tests/wire/vectors/"

static void status_is_etcds(void **state)
{
    struct snapshot_status status;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(snapshot_status(VECTORS "snapshot-3.5.30.db", &status, NULL, NULL, &err), 0);
    assert_int_equal(status.hash, 2225930719U);
    assert_int_equal(status.revision, 216);
    assert_int_equal(status.entries, 258);
    assert_int_equal(status.bytes, 69632);
    assert_int_equal(status.file_hash, SNAPSHOT_HASH_GOOD);
    assert_string_equal(status.version, "");
    assert_int_equal(snapshot_status(VECTORS "bolt-sequential.db", &status, NULL, NULL, &err), 0);
    assert_int_equal(status.hash, 788290983U);
    assert_int_equal(status.revision, 399);
    assert_int_equal(status.entries, 401);
    assert_int_equal(status.bytes, 90112);
    assert_int_equal(status.file_hash, SNAPSHOT_HASH_NONE);
}

/* The same content through the writer: other pages, one hash. */
static void rewriting_keeps_the_hash(void **state)
{
    static const uint32_t page_bytes[] = {1024, 4096, 16384};
    struct snapshot_status before, after;
    struct bolt *bolt = NULL, *copy = NULL;
    struct bolt_overlay overlay;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(bolt_open(VECTORS "snapshot-3.5.30.db", &bolt, &err), 0);
    assert_int_equal(snapshot_status_of(bolt, &before, NULL, NULL, &err), 0);
    bolt_overlay_init(&overlay, bolt, NULL, 0, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(page_bytes); i++) {
        struct bolt_write_options options = {.page_bytes = page_bytes[i]};
        struct buf image = BUF_INIT(BUF_UNLIMITED);

        bolt_image(&overlay.source, &options, &image);
        assert_int_equal(bolt_open_bytes(buf_slice(&image), "copy", &copy, &err), 0);
        assert_int_equal(snapshot_status_of(copy, &after, NULL, NULL, &err), 0);
        assert_int_equal(after.hash, before.hash);
        assert_int_equal(after.entries, before.entries);
        bolt_close(copy);
        buf_free(&image);
    }
    bolt_close(bolt);
}

static void overlay_changes_what_it_should(void **state)
{
    static const char *const emptied[] = {"members", "key"};
    struct bolt_change changes[] = {
        {SLICE_LITERAL("aaa"), SLICE_LITERAL("k"), SLICE_LITERAL("v")},
        {SLICE_LITERAL("key"), SLICE_LITERAL("only"), SLICE_LITERAL("one")},
        {SLICE_LITERAL("meta"), SLICE_LITERAL("consistent_index"), SLICE_LITERAL("12345678")},
        {SLICE_LITERAL("meta"), SLICE_LITERAL("zzz"), SLICE_LITERAL("end")},
        {SLICE_LITERAL("zzz"), SLICE_LITERAL("k"), SLICE_LITERAL("v")},
    };
    static const struct {
        const char *bucket, *key, *value;
    } expected[] = {{"aaa", "k", "v"},      {"key", "only", "one"},
                    {"meta", "zzz", "end"}, {"meta", "consistent_index", "12345678"},
                    {"zzz", "k", "v"},      {"members", NULL, NULL}};
    struct bolt_write_options options = {0};
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    struct bolt *bolt = NULL, *copy = NULL;
    struct bolt_overlay overlay;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(bolt_open(VECTORS "snapshot-3.5.30.db", &bolt, &err), 0);
    bolt_overlay_init(&overlay, bolt, emptied, 2, changes, ARRAY_LEN(changes));
    bolt_image(&overlay.source, &options, &image);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "copy", &copy, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct bolt_bucket bucket;
        struct slice value;
        bool found;

        assert_int_equal(
            bolt_bucket_find(copy, slice_text(expected[i].bucket), &bucket, &found, &err), 0);
        assert_true(found);
        if (expected[i].key == NULL) {
            struct bolt_cursor cursor;
            struct bolt_entry entry;

            bolt_cursor_init(&cursor, &bucket);
            assert_int_equal(bolt_cursor_first(&cursor, &entry, &found, &err), 0);
            assert_false(found);
            continue;
        }
        assert_int_equal(bolt_get(&bucket, slice_text(expected[i].key), &value, &found, &err), 0);
        assert_true(found && slice_equal(value, slice_text(expected[i].value)));
    }
    bolt_close(copy);
    bolt_close(bolt);
    buf_free(&image);
}

static void hashkv_is_etcds(void **state)
{
    json_t *vector = json_load_file(VECTORS "snapshot-3.5.30-hashkv.json", 0, NULL), *answer;
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;
    size_t at, compared = 0;

    (void)state;
    assert_non_null(vector);
    assert_int_equal(bolt_open(VECTORS "snapshot-3.5.30.db", &bolt, &err), 0);
    json_array_foreach(json_object_get(vector, "hashkv"), at, answer)
    {
        int64_t revision = json_integer_value(json_object_get(answer, "revision"));
        struct snapshot_hashkv hash;

        if (json_object_get(answer, "error") != NULL) {
            assert_int_equal(snapshot_hashkv(bolt, revision, &hash, &err), -1);
            assert_string_equal(err.text, json_string_value(json_object_get(answer, "error")));
            continue;
        }
        if (json_integer_value(json_object_get(answer, "compact_revision")) != 109)
            continue; /* remembered from before the compaction: lost with the process */
        assert_int_equal(snapshot_hashkv(bolt, revision, &hash, &err), 0);
        assert_int_equal(hash.hash, json_integer_value(json_object_get(answer, "hash")));
        assert_int_equal(hash.compact_revision, 109);
        assert_int_equal(hash.revision, 216);
        compared++;
    }
    assert_true(compared > 50);
    bolt_close(bolt);
    json_decref(vector);
}

static void a_wrong_hash_is_seen(void **state)
{
    struct buf file = BUF_INIT(MIB);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(file_read_all(VECTORS "snapshot-3.5.30.db", &file, &err), 0);
    assert_int_equal(snapshot_hash_check(buf_slice(&file), NULL, NULL), SNAPSHOT_HASH_GOOD);
    file.data[5000] ^= 1;
    assert_int_equal(snapshot_hash_check(buf_slice(&file), NULL, NULL), SNAPSHOT_HASH_BAD);
    assert_int_equal(snapshot_hash_check(slice_of(file.data, file.size - 32), NULL, NULL),
                     SNAPSHOT_HASH_NONE);
    assert_int_equal(snapshot_hash_check(SLICE_EMPTY, NULL, NULL), SNAPSHOT_HASH_NONE);
    buf_free(&file);
}

static void keep_text(void *arg, const char *text)
{
    (void)text;
    ++*(size_t *)arg;
}

static void damage_is_counted(void **state)
{
    struct snapshot_status status;
    struct buf file = BUF_INIT(MIB);
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;
    size_t texts = 0;

    (void)state;
    assert_int_equal(file_read_all(VECTORS "snapshot-3.5.30.db", &file, &err), 0);
    file.data[16 * 4096] ^= 1; /* the number of the root page */
    assert_int_equal(bolt_open_bytes(buf_slice(&file), "damaged", &bolt, &err), 0);
    assert_int_equal(snapshot_status_of(bolt, &status, keep_text, &texts, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_non_null(strstr(err.text, "integrity check failed. 1 errors found"));
    assert_int_equal(texts, 1);
    bolt_close(bolt);
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_etcds),
        cmocka_unit_test(rewriting_keeps_the_hash),
        cmocka_unit_test(overlay_changes_what_it_should),
        cmocka_unit_test(hashkv_is_etcds),
        cmocka_unit_test(a_wrong_hash_is_seen),
        cmocka_unit_test(damage_is_counted),
    };

    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
