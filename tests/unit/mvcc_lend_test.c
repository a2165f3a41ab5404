/*
 * mvcc_lend_test.c - ranges in pieces, over many leaves of the index that are split, emptied and
 * joined: they are what the same range is record by record, and they hold no more memory than is
 * allowed.
 */
#include "common/base/limits.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 700U

static int setup(void **state)
{
    struct store *store = xalloc(sizeof(*store));

    store_init(store);
    *state = store;
    return 0;
}

static int teardown(void **state)
{
    store_fini(*state);
    free(*state);
    return 0;
}

static uint32_t draw(uint64_t *random, uint32_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)((*random >> 16) % below);
}

static const char *key_of(unsigned key, char text[16])
{
    (void)snprintf(text, 16, "k/%05u", key);
    return text;
}

static void change(struct store *store, uint64_t *random, unsigned step)
{
    char key[16], end[16], value[16];
    unsigned at = draw(random, KEYS), pick = draw(random, 100);

    (void)snprintf(value, sizeof(value), "%u", step);
    if (pick < 70)
        assert_int_equal(store_put(store, key_of(at, key), value), ERR_OK);
    else if (pick < 97)
        (void)store_delete(store, key_of(at, key), key_of(at + 1 + draw(random, 12), end));
    else
        (void)store_delete(store, key_of(at, key), key_of(at + 100, end));
    if (draw(random, 40) == 0 && mvcc_revision(store->mvcc) > mvcc_compact_revision(store->mvcc)) {
        store_commit(store);
        assert_int_equal(mvcc_apply_compact(store->mvcc, mvcc_revision(store->mvcc)), ERR_OK);
        store_compact_all(store);
    }
    store_turn(store);
}

/* The same, record by record. */
static void expect_fields(struct store *store, const Etcdserverpb__RangeRequest *request,
                          const struct shared_pieces *pieces, size_t key_values)
{
    struct buf whole = BUF_INIT(BUF_UNLIMITED);
    struct pb_reader reader;
    struct pb_field field;
    struct mvcc_range *range;
    struct slice key_value;
    size_t bytes = 0;

    for (size_t i = 0; i < pieces->count; i++)
        assert_true(buf_append_slice(&whole, pieces->all[i].bytes));
    assert_int_equal(buf_used(&whole), pieces->bytes);
    reader = pb_reader_of(buf_slice(&whole), "RangeResponse");
    assert_int_equal(mvcc_range_start(store->mvcc, request, &range), ERR_OK);
    for (; mvcc_range_next(range, &key_value); key_values--) {
        assert_int_equal(pb_skim(&reader, &field), 1);
        assert_int_equal(field.number, RANGE_KVS_FIELD);
        assert_true(slice_equal(field.bytes, key_value));
        bytes += pb_bytes_field_bytes(key_value.size);
    }
    assert_int_equal(key_values, 0);
    assert_int_equal(bytes, pieces->bytes);
    mvcc_range_free(range);
    buf_free(&whole);
}

static void what_the_records_are(void **state)
{
    static const unsigned firsts[] = {0, 1, 130, 333, 600};
    static const int64_t limits[] = {0, 0, 1, 20, 64, 65, 300, 1000};
    struct store *store = *state;
    uint64_t random = 88172645463325252;
    size_t in_pieces = 0, several = 0;

    for (unsigned step = 0; step < 6000; step++) {
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        unsigned first = firsts[draw(&random, ARRAY_LEN(firsts))];
        char key[16], end[16];

        if (draw(&random, 3) == 0)
            change(store, &random, step);
        request.limit = limits[draw(&random, ARRAY_LEN(limits))];
        request.key = store_bytes(key_of(first, key));
        request.range_end = store_bytes(key_of(first + 40 + 100 * draw(&random, 5), end));
        for (int times = 0; times < 3; times++) {
            struct mvcc_range *range;
            struct shared_pieces pieces;
            size_t key_values;

            assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_OK);
            if (mvcc_range_pieces(range, &request, &pieces, &key_values)) {
                expect_fields(store, &request, &pieces, key_values);
                in_pieces++;
                several += pieces.count > 2;
            }
            mvcc_range_free(range);
        }
    }
    print_message("%zu ranges in pieces, %zu of them of several\n", in_pieces, several);
    assert_in_range(in_pieces, 2000, SIZE_MAX);
    assert_in_range(several, 1000, SIZE_MAX);
}

#define LARGE 4000U
#define LARGE_KEYS 60U /* one leaf */
#define HELD_MAX 600U

static bool lend(struct store *store, int64_t limit, struct mvcc_range **range)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct shared_pieces pieces;
    size_t key_values;

    request.key = store_bytes("k/");
    request.range_end = store_bytes("k0");
    request.limit = limit;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, range), ERR_OK);
    return mvcc_range_pieces(*range, &request, &pieces, &key_values);
}

/* That makes the run. */
static void read_twice(struct store *store)
{
    for (int times = 0; times < 2; times++) {
        struct mvcc_range *range;

        (void)lend(store, 0, &range);
        mvcc_range_free(range);
    }
}

/* Between changes somebody takes a little of a large leaf, and keeps it. */
static void a_little_of_much_counts_as_much(void **state)
{
    struct store *store = *state;
    struct mvcc_range *held[HELD_MAX], *range;
    char value[LARGE + 1], key[16];
    size_t count = 0;
    bool lent = true;

    memset(value, 'v', LARGE);
    value[LARGE] = '\0';
    for (unsigned i = 0; i < LARGE_KEYS; i++)
        assert_int_equal(store_put(store, key_of(i, key), value), ERR_OK);
    while (lent && count < HELD_MAX) {
        assert_int_equal(store_put(store, key_of(0, key), value), ERR_OK);
        store_turn(store);
        read_twice(store);
        lent = lend(store, 1, &held[count++]);
    }
    print_message("%zu held\n", count);
    for (size_t i = 0; i < count; i++)
        mvcc_range_free(held[i]);
    assert_in_range(count * LARGE * LARGE_KEYS, RUNS_LENT_BYTES, RUNS_LENT_BYTES + MIB);
    read_twice(store);
    lent = lend(store, 1, &range);
    mvcc_range_free(range);
    assert_true(lent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_the_records_are, setup, teardown),
        cmocka_unit_test_setup_teardown(a_little_of_much_counts_as_much, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
