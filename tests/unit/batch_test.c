/* batch_test.c - batches: what was put is found, borrowed bytes do not move, idle costs nothing. */
#include "common/storage/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 20000

static struct slice number_key(uint8_t out[17], uint64_t number)
{
    memset(out, 0, 17);
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
    out[8] = '_';
    return slice_of(out, 17);
}

static void an_idle_batch_is_small(void **state)
{
    struct batch *batch = batch_new();
    struct slice value;

    (void)state;
    assert_true(batch_bytes(batch) < 256);
    assert_int_equal(batch_op_count(batch), 0);
    assert_false(batch_find_revision(batch, slice_text("x"), &value));
    batch_unref(batch);
    batch_unref(NULL);
}

static void operations_come_back_in_order(void **state)
{
    struct batch *batch = batch_new();
    uint8_t *room;

    (void)state;
    batch_put(batch, BUCKET_META, slice_text("term"), slice_text("7"));
    batch_delete(batch, BUCKET_LEASE, slice_text("gone"));
    room = batch_put_reserve(batch, BUCKET_KEY, slice_text("r"), 3);
    memcpy(room, "abc", 3);
    batch_put(batch, BUCKET_AUTH, slice_text("empty"), SLICE_EMPTY);
    assert_int_equal(batch_op_count(batch), 4);
    assert_int_equal(batch_op_at(batch, 0)->type, BATCH_PUT);
    assert_int_equal(batch_op_at(batch, 0)->bucket, BUCKET_META);
    assert_true(slice_equal(batch_op_at(batch, 0)->value, slice_text("7")));
    assert_int_equal(batch_op_at(batch, 1)->type, BATCH_DELETE);
    assert_true(slice_equal(batch_op_at(batch, 1)->key, slice_text("gone")));
    assert_true(slice_equal(batch_op_at(batch, 2)->value, slice_text("abc")));
    assert_int_equal(batch_op_at(batch, 3)->value.size, 0);
    batch_unref(batch);
}

/* Large values, deletions and other buckets in between; every borrowed slice stays where it is. */
static void every_revision_is_found(void **state)
{
    struct batch *batch = batch_new();
    uint8_t key[17], large[9000];
    struct slice value, early = SLICE_EMPTY;
    char text[32];

    (void)state;
    memset(large, 'L', sizeof(large));
    for (unsigned i = 0; i < MANY; i++) {
        int length = snprintf(text, sizeof(text), "value %u", i);
        bool is_large = i % 1000 == 999;

        batch_put(batch, BUCKET_KEY, number_key(key, 2 * i),
                  is_large ? slice_of(large, sizeof(large)) : slice_of(text, (size_t)length));
        if (i == 0)
            assert_true(batch_find_revision(batch, number_key(key, 0), &early));
        if (i % 3 == 0)
            batch_delete(batch, BUCKET_KEY, number_key(key, i / 2));
        if (i % 7 == 0)
            batch_put(batch, BUCKET_META, slice_text("consistent_index"), slice_text("12345678"));
    }
    for (unsigned i = 0; i < MANY; i++) {
        int length = snprintf(text, sizeof(text), "value %u", i);
        bool is_large = i % 1000 == 999;

        assert_true(batch_find_revision(batch, number_key(key, 2 * i), &value));
        assert_true(slice_equal(value, is_large ? slice_of(large, sizeof(large))
                                                : slice_of(text, (size_t)length)));
        assert_false(batch_find_revision(batch, number_key(key, 2 * i + 1), &value));
    }
    assert_true(slice_equal(early, slice_text("value 0")));
    assert_true(batch_bytes(batch) < 4 * MIB);
    batch_unref(batch);
}

static void the_last_reference_frees(void **state)
{
    struct batch *batch = batch_new();

    (void)state;
    assert_ptr_equal(batch_ref(batch), batch);
    batch_put(batch, BUCKET_KEY, slice_text("a"), slice_text("b"));
    batch_unref(batch);
    assert_int_equal(batch_op_count(batch), 1);
    batch_unref(batch); /* the leak checker sees the rest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_batch_is_small),
        cmocka_unit_test(operations_come_back_in_order),
        cmocka_unit_test(every_revision_is_found),
        cmocka_unit_test(the_last_reference_frees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
