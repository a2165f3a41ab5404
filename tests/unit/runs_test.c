/*
 * runs_test.c - runs by themselves: what is in them, when they are made, what goes when there is no
 * room. Whether they are what the store has is mvcc_model_test.c's.
 */
#include "common/base/limits.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.h"
#include "etcd-server/state/runs.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void key_values_are_fields(void **state)
{
    static const struct slice key_values[] = {SLICE_LITERAL("one"), SLICE_LITERAL("three")};
    static const uint8_t expected[] = "\x12\x03one\x12\x05three";
    struct runs *runs = runs_new();
    const struct run *run = runs_add(runs, 7, key_values, 2);

    (void)state;
    assert_int_equal(run->count, 2);
    assert_int_equal(run->ends[0], 5);
    assert_int_equal(run->ends[1], sizeof(expected) - 1);
    assert_int_equal(run->bytes->size, sizeof(expected) - 1);
    assert_memory_equal(run->bytes->data, expected, sizeof(expected) - 1);
    assert_ptr_equal(runs_find(runs, 7), run);
    assert_null(runs_find(runs, 8));
    assert_null(runs_find(runs, 7 + 1024)); /* in the same bucket */
    runs_free(runs);
}

static void asked_before(void **state)
{
    struct runs *runs = runs_new();

    (void)state;
    assert_false(runs_asked_before(runs, 7));
    assert_false(runs_asked_before(runs, 8));
    assert_true(runs_asked_before(runs, 7));
    assert_true(runs_asked_before(runs, 7));
    for (uint64_t stamp = 100; stamp < 2000; stamp++) /* who reads everything ... */
        assert_false(runs_asked_before(runs, stamp));
    assert_false(runs_asked_before(runs, 7)); /* ... is all that is remembered */
    runs_free(runs);
}

static void the_oldest_goes(void **state)
{
    static uint8_t value[RUN_MAX_BYTES];
    struct slice large = slice_of(value, RUN_MAX_BYTES - 64),
                 larger = slice_of(value, sizeof(value));
    struct runs *runs = runs_new();
    struct shared *kept;
    uint64_t count = 1;

    (void)state;
    assert_null(runs_add(runs, 1000, &larger, 1));
    kept = shared_ref(runs_add(runs, count, &large, 1)->bytes);
    while (runs_bytes(runs) + 2 * RUN_MAX_BYTES < RUNS_MAX_BYTES)
        assert_non_null(runs_add(runs, ++count, &large, 1));
    assert_non_null(runs_find(runs, 1)); /* asked for: now 2 is the oldest */
    for (uint64_t stamp = 5000; stamp < 5003; stamp++) {
        assert_non_null(runs_add(runs, stamp, &large, 1));
        assert_true(runs_bytes(runs) <= RUNS_MAX_BYTES);
    }
    assert_null(runs_find(runs, 2));
    assert_non_null(runs_find(runs, 1));
    assert_non_null(runs_find(runs, count));
    assert_non_null(runs_find(runs, 5002));
    runs_free(runs);
    assert_int_equal(kept->references, 1); /* it outlives them */
    assert_int_equal(kept->data[kept->size - 1], 0);
    shared_unref(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_values_are_fields),
        cmocka_unit_test(asked_before),
        cmocka_unit_test(the_oldest_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
