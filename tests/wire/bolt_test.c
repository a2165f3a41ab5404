/*
 * bolt_test.c - bbolt files both ways: what real etcd wrote is read; what we write is read back,
 * sound, at every size; damage of any kind is refused or found.
 */
#include "common/storage/bolt.h"
#include "common/storage/bolt_page.h"
#include "common/storage/lmdb_check.h"
#include "tests/lib/bolt_array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define VECTORS "tests/wire/vectors/"

static void no_finding(void *arg, const char *text)
{
    (void)arg;
    print_message("finding: %s\n", text);
}

static uint64_t count_entries(const struct bolt *bolt, const char *name)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    struct err err = ERR_INIT;
    uint64_t count = 0;
    bool found;

    assert_int_equal(bolt_bucket_find(bolt, slice_text(name), &bucket, &found, &err), 0);
    assert_true(found);
    bolt_cursor_init(&cursor, &bucket);
    assert_int_equal(bolt_cursor_first(&cursor, &entry, &found, &err), 0);
    while (found) {
        count++;
        assert_int_equal(bolt_cursor_next(&cursor, &entry, &found, &err), 0);
    }
    return count;
}

static void reads_what_etcd_wrote(void **state)
{
    struct err err = ERR_INIT;
    struct bolt *bolt = NULL;
    struct bolt_info info;
    uint64_t findings = 1;

    (void)state;
    assert_int_equal(bolt_open(VECTORS "snapshot-3.5.30.db", &bolt, &err), 0);
    info = bolt_info(bolt);
    assert_int_equal(info.page_bytes, 4096);
    assert_int_equal(info.pages, 17);
    assert_int_equal(info.root, 16);
    assert_int_equal(info.txid, 21);
    assert_true(info.freelist == UINT64_MAX);
    assert_int_equal(count_entries(bolt, "key"), 240);
    assert_int_equal(bolt_check(bolt, no_finding, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    bolt_close(bolt);
}

static void reads_the_sequential_vector(void **state)
{
    struct err err = ERR_INIT;
    struct bolt *bolt = NULL;
    struct bolt_bucket big, meta;
    struct slice value;
    uint64_t findings = 1;
    bool found;

    (void)state;
    assert_int_equal(bolt_open(VECTORS "bolt-sequential.db", &bolt, &err), 0);
    assert_int_equal(count_entries(bolt, "key"), 398);
    assert_int_equal(count_entries(bolt, "alarm"), 0);
    assert_int_equal(bolt_bucket_find(bolt, slice_text("big"), &big, &found, &err), 0);
    assert_int_equal(bolt_get(&big, slice_text("a"), &value, &found, &err), 0);
    assert_true(found && value.size == 9000 && value.data[8999] == 'x');
    assert_int_equal(bolt_get(&big, slice_text("aa"), &value, &found, &err), 0);
    assert_false(found);
    assert_int_equal(bolt_bucket_find(bolt, slice_text("meta"), &meta, &found, &err), 0);
    assert_int_equal(bolt_get(&meta, slice_text("consistent_index"), &value, &found, &err), 0);
    assert_true(found && value.size == 8 && value.data[7] == 7);
    assert_int_equal(bolt_bucket_find(bolt, slice_text("nothing"), &big, &found, &err), 0);
    assert_false(found);
    assert_int_equal(bolt_check(bolt, no_finding, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    bolt_close(bolt);
}

/* ---- what we write ---- */

static const char *const names[] = {"alarm", "big", "key", "long", "meta"};

static void entry_of(size_t bucket, size_t at, struct slice *key, struct slice *value)
{
    static uint8_t key_bytes[BOLT_KEY_MAX], data[3000000];
    size_t key_size = bucket == 3 ? 3000 + at % 7 * 4000 : 17, size = at % 301;

    if (bucket == 1)
        size = at * 977 % sizeof(data);
    memset(key_bytes, 'k', key_size);
    for (unsigned i = 0; i < 8; i++)
        key_bytes[i] = (uint8_t)((uint64_t)at >> (8 * (7 - i)));
    memset(data, (int)('a' + at % 26), size);
    *key = slice_of(key_bytes, key_size);
    *value = slice_of(data, size);
}

static void compare_bucket(const struct bolt *bolt, size_t number, size_t entries)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    struct slice key, value;
    struct err err = ERR_INIT;
    bool found;

    assert_int_equal(bolt_bucket_find(bolt, slice_text(names[number]), &bucket, &found, &err), 0);
    assert_true(found);
    bolt_cursor_init(&cursor, &bucket);
    assert_int_equal(bolt_cursor_first(&cursor, &entry, &found, &err), 0);
    for (size_t at = 0; at < entries; at++) {
        entry_of(number, at, &key, &value);
        assert_true(found && slice_equal(entry.key, key) && slice_equal(entry.value, value));
        if (at % 97 == 0) {
            assert_int_equal(bolt_get(&bucket, key, &value, &found, &err), 0);
            assert_true(found && slice_equal(entry.value, value));
        }
        assert_int_equal(bolt_cursor_next(&cursor, &entry, &found, &err), 0);
    }
    assert_false(found);
    assert_int_equal(bolt_cursor_last(&cursor, &entry, &found, &err), 0);
    assert_true(found == (entries != 0));
    if (entries != 0) {
        entry_of(number, entries - 1, &key, &value);
        assert_true(slice_equal(entry.key, key));
    }
}

static void round_trip(const size_t *entries, uint32_t page_bytes, size_t chunk_bytes)
{
    struct bolt_write_options options = {.page_bytes = page_bytes, .chunk_bytes = chunk_bytes};
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    struct bolt_array array;
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;
    uint64_t findings = 1;

    bolt_array_init(&array, names, entries, ARRAY_LEN(names), entry_of);
    bolt_image(&array.source, &options, &image);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "image", &bolt, &err), 0);
    assert_int_equal(bolt_info(bolt).page_bytes, page_bytes);
    assert_int_equal(bolt_check(bolt, no_finding, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        compare_bucket(bolt, i, entries[i]);
    bolt_close(bolt);
    buf_free(&image);
}

static void every_count_round_trips(void **state)
{
    (void)state;
    for (size_t count = 0; count < 700; count += count < 30 ? 1 : 13) {
        size_t entries[] = {count % 3, count % 5, count, count % 40, count % 11};

        round_trip(entries, 4096, 0);
        round_trip(entries, 16384, 4096);
        round_trip(entries, 1024, 7);
    }
}

static void many_and_large_round_trip(void **state)
{
    size_t entries[] = {0, 40, 100000, 300, 1};
    size_t large[] = {0, 3001, 1, 1, 1};

    (void)state;
    round_trip(entries, 4096, 0);
    round_trip(entries, 16384, 0);
    round_trip(entries, 65536, 0);
    entries[2] = 20000; /* 1024-byte pages make it five levels deep */
    round_trip(entries, 1024, 0);
    large[1] = 300;
    round_trip(large, 4096, 0);
}

static void same_bytes_twice(void **state)
{
    size_t entries[] = {1, 3, 1000, 4, 2};
    struct buf one = BUF_INIT(BUF_UNLIMITED), two = BUF_INIT(BUF_UNLIMITED);
    struct bolt_write_options options = {.chunk_bytes = 512};
    struct bolt_array array;

    (void)state;
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), entry_of);
    bolt_image(&array.source, &options, &one);
    options.chunk_bytes = 0;
    bolt_image(&array.source, &options, &two);
    assert_true(slice_equal(buf_slice(&one), buf_slice(&two)));
    buf_free(&one);
    buf_free(&two);
}

/* entry_of(), from memory that stays. */
static struct {
    struct slice key, value;
} kept[ARRAY_LEN(names)][1000];

static void kept_entry(size_t bucket, size_t at, struct slice *key, struct slice *value)
{
    *key = kept[bucket][at].key;
    *value = kept[bucket][at].value;
}

static struct slice keep(struct slice bytes)
{
    uint8_t *copy = xalloc(MAX(bytes.size, 1));

    memcpy(copy, bytes.data, bytes.size);
    return slice_of(copy, bytes.size);
}

/* Values that are not copied into nodes first make the same image, whatever the chunks are. */
static void a_lasting_source_gives_the_same(void **state)
{
    static const size_t chunks[] = {0, 7, 4096, 256 * 1024};
    size_t entries[] = {0, 40, 1000, 17, 1};
    struct buf copied = BUF_INIT(BUF_UNLIMITED);
    struct bolt_write_options options = {.chunk_bytes = 0};
    struct bolt_array array;

    (void)state;
    for (size_t bucket = 0; bucket < ARRAY_LEN(names); bucket++) {
        for (size_t at = 0; at < entries[bucket]; at++) {
            entry_of(bucket, at, &kept[bucket][at].key, &kept[bucket][at].value);
            kept[bucket][at].key = keep(kept[bucket][at].key);
            kept[bucket][at].value = keep(kept[bucket][at].value);
        }
    }
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), kept_entry);
    bolt_image(&array.source, &options, &copied);
    array.source.lasting = true;
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        struct buf borrowed = BUF_INIT(BUF_UNLIMITED);

        options.chunk_bytes = chunks[i];
        bolt_image(&array.source, &options, &borrowed);
        assert_true(slice_equal(buf_slice(&copied), buf_slice(&borrowed)));
        buf_free(&borrowed);
    }
    buf_free(&copied);
    for (size_t bucket = 0; bucket < ARRAY_LEN(names); bucket++) {
        for (size_t at = 0; at < entries[bucket]; at++) {
            free((void *)(uintptr_t)kept[bucket][at].key.data);
            free((void *)(uintptr_t)kept[bucket][at].value.data);
        }
    }
}

static int count_sink(void *arg, struct buf *bytes, struct err *err)
{
    (void)err;
    *(size_t *)arg += buf_used(bytes);
    return 0;
}

static int full_sink(void *arg, struct buf *bytes, struct err *err)
{
    (void)arg;
    (void)bytes;
    err_set(err, ERR_IO, "full");
    return -1;
}

static void a_source_that_changes_is_noticed(void **state)
{
    size_t entries[] = {0, 0, 500, 0, 0}, bytes = 0;
    struct bolt_write_options options = {0};
    struct bolt_array array;
    struct bolt_plan plan;
    struct err err = ERR_INIT;

    (void)state;
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), entry_of);
    assert_int_equal(bolt_plan(&array.source, &options, &plan, &err), 0);
    assert_int_equal(plan.entries, 500);
    assert_int_equal(bolt_write(&array.source, &plan, full_sink, NULL, &err), -1);
    assert_string_equal(err.text, "full");
    entries[2] = 501;
    assert_int_equal(bolt_write(&array.source, &plan, count_sink, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
}

static void same_key(size_t bucket, size_t at, struct slice *key, struct slice *value)
{
    (void)bucket;
    (void)at;
    *key = slice_text("k");
    *value = SLICE_EMPTY;
}

static void empty_key(size_t bucket, size_t at, struct slice *key, struct slice *value)
{
    (void)bucket;
    (void)at;
    *key = SLICE_EMPTY;
    *value = SLICE_EMPTY;
}

static void bad_keys_are_refused(void **state)
{
    size_t entries[] = {2, 0, 0, 0, 0};
    struct bolt_write_options options = {0};
    struct bolt_array array;
    struct bolt_plan plan;
    struct err err = ERR_INIT;

    (void)state;
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), same_key);
    assert_int_equal(bolt_plan(&array.source, &options, &plan, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), empty_key);
    assert_int_equal(bolt_plan(&array.source, &options, &plan, &err), -1);
}

/* ---- damage ---- */

static void sound_image(struct buf *image, size_t keys)
{
    size_t entries[] = {0, 2, 0, 3, 1};
    struct bolt_write_options options = {0};
    struct bolt_array array;

    entries[2] = keys;
    bolt_array_init(&array, names, entries, ARRAY_LEN(names), entry_of);
    bolt_image(&array.source, &options, image);
}

/* Walk everything; the result does not matter, only that it ends and stays inside (sanitizers). */
static void walk(struct slice bytes)
{
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;
    struct bolt_bucket root, bucket;
    struct bolt_cursor outer, inner;
    struct bolt_entry name, entry;
    uint64_t findings;
    bool more, found;

    if (bolt_open_bytes(bytes, "damaged", &bolt, &err) < 0)
        return;
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    root = bolt_root(bolt);
    bolt_cursor_init(&outer, &root);
    for (int rc = bolt_cursor_first(&outer, &name, &more, &err); rc == 0 && more;
         rc = bolt_cursor_next(&outer, &name, &more, &err)) {
        if (bolt_bucket_open(bolt, &name, &bucket, &err) < 0)
            continue;
        bolt_cursor_init(&inner, &bucket);
        for (int in = bolt_cursor_first(&inner, &entry, &found, &err); in == 0 && found;
             in = bolt_cursor_next(&inner, &entry, &found, &err))
            continue;
        (void)!bolt_cursor_seek(&inner, name.key, &entry, &found, &err);
        (void)!bolt_cursor_last(&inner, &entry, &found, &err);
    }
    bolt_close(bolt);
}

static void any_flipped_byte_is_survived(void **state)
{
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    static const uint8_t flips[] = {1, 0x80, 0xFF};

    (void)state;
    sound_image(&image, 400);
    for (size_t at = 0; at < image.size; at += at % 4096 < 600 ? 1 : 61) {
        uint8_t before = image.data[at];

        for (size_t i = 0; i < ARRAY_LEN(flips); i++) {
            image.data[at] = before ^ flips[i];
            walk(buf_slice(&image));
        }
        image.data[at] = before;
    }
    buf_free(&image);
}

static void any_cut_is_refused(void **state)
{
    struct buf image = BUF_INIT(BUF_UNLIMITED);

    (void)state;
    sound_image(&image, 400);
    for (size_t bytes = 0; bytes < image.size; bytes += 509) {
        struct bolt *bolt = NULL;
        struct err err = ERR_INIT;

        assert_int_equal(bolt_open_bytes(slice_of(image.data, bytes), "cut", &bolt, &err), -1);
        assert_true(err.code == ERR_DAMAGED || err.code == ERR_FORMAT);
    }
    buf_free(&image);
}

static void a_torn_meta_falls_back(void **state)
{
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    (void)state;
    sound_image(&image, 100);
    image.data[30] ^= 1;
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "torn", &bolt, &err), 0);
    assert_int_equal(bolt_info(bolt).txid, 1);
    assert_int_equal(bolt_info(bolt).page_bytes, 4096);
    bolt_close(bolt);
    image.data[4096 + 30] ^= 1;
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "torn", &bolt, &err), -1);
    assert_non_null(strstr(err.text, "invalid database"));
    buf_free(&image);
}

/* Point the first child of the root branch of `key` at the branch itself. */
static void a_cycle_is_found(void **state)
{
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    struct bolt *bolt = NULL;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bolt_entry entry;
    struct err err = ERR_INIT;
    uint64_t findings = 0;
    bool found;

    (void)state;
    sound_image(&image, 2000);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "cycle", &bolt, &err), 0);
    assert_int_equal(bolt_bucket_find(bolt, slice_text("key"), &bucket, &found, &err), 0);
    bolt_store(image.data + bucket.root * 4096 + 16 + 8, bucket.root, 8);
    bolt_cursor_init(&cursor, &bucket);
    assert_int_equal(bolt_cursor_first(&cursor, &entry, &found, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_true(findings != 0);
    bolt_close(bolt);
    buf_free(&image);
}

static void order_and_references_are_checked(void **state)
{
    struct buf image = BUF_INIT(BUF_UNLIMITED);
    struct bolt *bolt = NULL;
    struct bolt_bucket bucket;
    struct err err = ERR_INIT;
    uint64_t findings = 0, child;
    bool found;
    uint8_t *root;

    (void)state;
    sound_image(&image, 2000);
    assert_int_equal(bolt_open_bytes(buf_slice(&image), "swapped", &bolt, &err), 0);
    assert_int_equal(bolt_bucket_find(bolt, slice_text("key"), &bucket, &found, &err), 0);
    root = image.data + bucket.root * 4096;
    child = bolt_u64(root + 24);
    bolt_store(root + 24, bolt_u64(root + 40), 8); /* the second child twice */
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_true(findings != 0);
    bolt_store(root + 24, child, 8);
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    bolt_store(image.data + child * 4096 + 10, 1, 2); /* fewer keys are not an error ... */
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_int_equal(findings, 0);
    image.data[child * 4096 + 16 + bolt_u32(image.data + child * 4096 + 20)] ^= 0x80; /* order is */
    assert_int_equal(bolt_check(bolt, NULL, NULL, &findings, &err), 0);
    assert_true(findings != 0);
    bolt_close(bolt);
    buf_free(&image);
}

static void what_is_not_a_database_is_named(void **state)
{
    uint8_t lmdb[8192] = {0};
    struct bolt *bolt = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(bolt_open("tests/wire/vectors/no-such-file", &bolt, &err), -1);
    assert_int_equal(err.code, ERR_MISSING);
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(bolt_open("tests/wire", &bolt, &err), -1);
    assert_int_equal(bolt_open_bytes(SLICE_EMPTY, "empty", &bolt, &err), -1);
    assert_int_equal(err.code, ERR_FORMAT);
    bolt_store(lmdb + 16, LMDB_MAGIC, 4);
    assert_int_equal(bolt_open_bytes(slice_of(lmdb, sizeof(lmdb)), "lmdb", &bolt, &err), -1);
    assert_non_null(strstr(err.text, "LMDB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_etcd_wrote),
        cmocka_unit_test(reads_the_sequential_vector),
        cmocka_unit_test(every_count_round_trips),
        cmocka_unit_test(many_and_large_round_trip),
        cmocka_unit_test(same_bytes_twice),
        cmocka_unit_test(a_lasting_source_gives_the_same),
        cmocka_unit_test(a_source_that_changes_is_noticed),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(any_flipped_byte_is_survived),
        cmocka_unit_test(any_cut_is_refused),
        cmocka_unit_test(a_torn_meta_falls_back),
        cmocka_unit_test(a_cycle_is_found),
        cmocka_unit_test(order_and_references_are_checked),
        cmocka_unit_test(what_is_not_a_database_is_named),
    };

    return cmocka_run_group_tests_name("bolt", tests, NULL, NULL);
}
