/* mvcc_test.c - the store against the facts of api.md 6: puts, ranges, deletions, compaction. */
#include "common/base/buf.h"
#include "etcd-server/state/stored.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

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

static Etcdserverpb__RangeRequest range_request(const char *key, const char *range_end)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

    request.key = store_bytes(key);
    request.range_end = store_bytes(range_end);
    return request;
}

/* "a=1 b=2 (2)" or "a=1 (2+)": the key-values, the count, and a plus for more. */
static void expect_range(struct store *store, const Etcdserverpb__RangeRequest *request,
                         const char *expected)
{
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    struct mvcc_range *range;
    struct slice key_value;

    assert_int_equal(mvcc_range_start(store->mvcc, request, &range), ERR_OK);
    while (mvcc_range_next(range, &key_value)) {
        struct stored stored;

        assert_true(stored_decode(key_value, &stored));
        buf_append_slice(&text, stored.key);
        buf_append_byte(&text, '=');
        buf_append_slice(&text, stored.value);
        buf_append_byte(&text, ' ');
    }
    buf_printf(&text, "(%d%s)", (int)mvcc_range_count(range), mvcc_range_more(range) ? "+" : "");
    mvcc_range_free(range);
    assert_string_equal(buf_text(&text), expected);
    buf_free(&text);
}

static void expect(struct store *store, const char *key, const char *range_end,
                   const char *expected)
{
    Etcdserverpb__RangeRequest request = range_request(key, range_end);

    expect_range(store, &request, expected);
}

static void put(struct store *store, const char *key, const char *value)
{
    assert_int_equal(store_put(store, key, value), ERR_OK);
}

static void a_put_makes_revisions_versions_and_creations(void **state)
{
    struct store *store = *state;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;

    assert_int_equal(mvcc_revision(store->mvcc), 1);
    request.key = store_bytes("k");
    request.value = store_bytes("1");
    request.prev_kv = true;
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, &store->arena, &response), ERR_OK);
    assert_int_equal(response->header->revision, 2);
    assert_null(response->prev_kv);
    put(store, "k", "2");
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, &store->arena, &response), ERR_OK);
    assert_int_equal(response->prev_kv->version, 2);
    assert_int_equal(response->prev_kv->create_revision, 2);
    assert_int_equal(response->prev_kv->mod_revision, 3);
    assert_int_equal(store_delete(store, "k", NULL), 1);
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, &store->arena, &response), ERR_OK);
    assert_null(response->prev_kv);
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, &store->arena, &response), ERR_OK);
    assert_int_equal(response->prev_kv->version, 1);
    assert_int_equal(response->prev_kv->create_revision, 6);
    assert_int_equal(mvcc_revision(store->mvcc), 7);
    assert_int_equal(store->changes, 6);
}

static void ranges_of_keys(void **state)
{
    struct store *store = *state;
    const char *const keys[] = {"a", "b", "c", "ca", "d"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        put(store, keys[i], keys[i]);
    expect(store, "c", NULL, "c=c (1)");
    expect(store, "x", NULL, "(0)");
    expect(store, "b", "d", "b=b c=c ca=ca (3)");
    expect(store, "d", "b", "(0)");
    expect(store, "b", "b", "(0)");
    assert_int_equal(store_delete(store, "b", "d"), 3);
    assert_int_equal(store_delete(store, "b", "d"), 0);
    assert_int_equal(mvcc_revision(store->mvcc), 7);
    expect(store, "a", "z", "a=a d=d (2)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_put_makes_revisions_versions_and_creations, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ranges_of_keys, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
