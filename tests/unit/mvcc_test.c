/* mvcc_test.c - the store against the facts of api.md 6: puts, ranges, deletions, compaction. */
#include "common/base/buf.h"
#include "etcd-server/state/stored.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

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

static ProtobufCBinaryData zero_byte(void)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "", .len = 1};
}

/* c was made first, a changed last, b has the most versions. */
static void put_abc(struct store *store)
{
    put(store, "c", "1"); /* 2 */
    put(store, "b", "3"); /* 3 */
    put(store, "a", "2"); /* 4 */
    put(store, "b", "3"); /* 5 */
    put(store, "b", "3"); /* 6 */
    put(store, "a", "2"); /* 7 */
}

static void sorting_by_every_target(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", "z");
    static const char *const ascending[] = {"a=2 b=3 c=1 (3)", "c=1 a=2 b=3 (3)", "c=1 b=3 a=2 (3)",
                                            "c=1 b=3 a=2 (3)", "c=1 a=2 b=3 (3)"};
    static const char *const descending[] = {"c=1 b=3 a=2 (3)", "b=3 a=2 c=1 (3)",
                                             "a=2 b=3 c=1 (3)", "a=2 b=3 c=1 (3)",
                                             "b=3 a=2 c=1 (3)"};

    put_abc(store);
    for (int target = 0; target <= 4; target++) {
        request.sort_target = (Etcdserverpb__RangeRequest__SortTarget)target;
        request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
        expect_range(store, &request, ascending[target]);
        request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
        expect_range(store, &request, ascending[target]);
        request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
        expect_range(store, &request, descending[target]);
    }
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION;
    request.revision = 4; /* all are version 1: equals come in order of keys */
    expect_range(store, &request, "a=2 b=3 c=1 (3)");
}

static void a_limit_cuts_and_says_so(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", "z");

    put_abc(store);
    request.limit = 2;
    expect_range(store, &request, "a=2 b=3 (3+)");
    request.limit = 3;
    expect_range(store, &request, "a=2 b=3 c=1 (3)");
    request.limit = -1;
    expect_range(store, &request, "a=2 b=3 c=1 (3)");
    request.limit = INT64_MAX;
    expect_range(store, &request, "a=2 b=3 c=1 (3)");
    request.limit = 1;
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    expect_range(store, &request, "c=1 (3+)");
    /* The quirk: limit + 1 keys in order of keys, these sorted, the first `limit` of them. */
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    expect_range(store, &request, "b=3 (3+)");
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    expect_range(store, &request, "c=1 (3+)");
    request.count_only = true;
    expect_range(store, &request, "(3)");
}

static void filters_come_before_the_limit(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", "z");

    put_abc(store);
    request.min_mod_revision = 6;
    expect_range(store, &request, "a=2 b=3 (3)");
    request.limit = 2;
    expect_range(store, &request, "a=2 b=3 (3)");
    request.limit = 1;
    expect_range(store, &request, "a=2 (3+)");
    request.min_mod_revision = 0;
    request.max_create_revision = 3;
    expect_range(store, &request, "b=3 (3+)");
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    expect_range(store, &request, "c=1 (3+)");
    request.min_create_revision = 3;
    expect_range(store, &request, "b=3 (3)");
    request.revision = 4; /* b was version 1 then: the create revision comes from the record */
    expect_range(store, &request, "b=3 (3)");
    request.max_mod_revision = 2;
    expect_range(store, &request, "(3)");
}

static void ranges_refuse_what_is_gone_or_to_come(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", NULL);
    struct mvcc_range *range;

    put_abc(store);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 8), ERR_FUTURE_REV);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 5), ERR_OK);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 5), ERR_COMPACTED);
    request.revision = 8;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_FUTURE_REV);
    request.revision = 4;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_COMPACTED);
    request.revision = 5;
    expect_range(store, &request, "a=2 (1)");
    store_compact_all(store);
    store_restart(store);
    expect_range(store, &request, "a=2 (1)");
    assert_int_equal(mvcc_compact_revision(store->mvcc), 5);
    request.revision = -3;
    expect_range(store, &request, "a=2 (1)");
    request.sort_target = (Etcdserverpb__RangeRequest__SortTarget)5;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_INVALID_SORT_OPTION);
    assert_int_equal(mvcc_check_range(&request), ERR_INVALID_SORT_OPTION);
}

static void keys_only_strips_the_value(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", "b");

    put_abc(store);
    request.keys_only = true;
    expect_range(store, &request, "a= (1)");
    request.range_end = zero_byte();
    expect_range(store, &request, "a= b= c= (3)");
    request.key = zero_byte();
    expect_range(store, &request, "a= b= c= (3)");
}

#define MANY 5000

/* A large range is read a few at a time while its keys change, go, are compacted away. */
static void a_slow_reader_sees_one_revision(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("k", "l");
    struct mvcc_range *range;
    struct slice key_value;
    char key[16];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof(key), "k%05d", i); /* fits */
        put(store, key, "old");
    }
    request.revision = MANY / 2 + 1;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_OK);
    assert_int_equal(mvcc_range_count(range), MANY / 2);
    for (int i = 0; i < MANY / 2; i++) {
        struct stored stored;

        assert_true(mvcc_range_next(range, &key_value));
        assert_true(stored_decode(key_value, &stored));
        (void)snprintf(key, sizeof(key), "k%05d", i); /* fits */
        assert_true(slice_equal(stored.key, slice_text(key)));
        assert_true(slice_equal(stored.value, SLICE_LITERAL("old")));
        (void)snprintf(key, sizeof(key), "k%05d", MANY - 1 - i); /* fits */
        if (i % 3 == 0)
            put(store, key, "new");
        else
            assert_int_equal(store_delete(store, key, NULL), 1);
        if (i == MANY / 4)
            assert_int_equal(mvcc_apply_compact(store->mvcc, mvcc_revision(store->mvcc)), ERR_OK);
        assert_int_equal(mvcc_compact_step(store->mvcc, 100), false);
        if (i % 500 == 0)
            store_commit(store);
    }
    assert_false(mvcc_range_next(range, &key_value));
    assert_false(mvcc_range_more(range));
    assert_true(mvcc_compacting(store->mvcc));
    for (int i = 0; i < 100; i++) /* at its end the reader holds nothing up, freed or not */
        (void)mvcc_compact_step(store->mvcc, COMPACTION_BATCH_DEFAULT); /* asked below */
    assert_false(mvcc_compacting(store->mvcc));
    mvcc_range_free(range);
    assert_true(mvcc_stats(store->mvcc).compacted_keys > 0);
}

static void leases_follow_puts_and_deletions(void **state)
{
    struct store *store = *state;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;
    struct slice key = SLICE_LITERAL("k");

    request.key = store_bytes("k");
    request.lease = 7;
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_LEASE_NOT_FOUND);
    assert_int_equal(mvcc_revision(store->mvcc), 1);
    store_add_lease(store, 7);
    store_add_lease(store, 8);
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_OK);
    assert_int_equal(store->attached, 1);
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_OK);
    assert_int_equal(store->attached, 1);
    request.lease = 0;
    request.ignore_lease = true;
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_OK);
    assert_int_equal(store->detached, 0);
    request.ignore_lease = false;
    request.lease = 8;
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_OK);
    assert_int_equal(store->attached, 2);
    assert_int_equal(store->detached, 1);
    store->attached = 0;
    store_restart(store);
    assert_int_equal(store->attached, 1);
    assert_int_equal(store->last_lease, 8);
    mvcc_apply_delete_keys(store->mvcc, &key, 1);
    assert_int_equal(store->detached, 2);
    assert_int_equal(mvcc_revision(store->mvcc), 6);
    mvcc_apply_delete_keys(store->mvcc, &key, 1);
    assert_int_equal(mvcc_revision(store->mvcc), 6);
    request.lease = 0;
    request.ignore_value = true;
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_KEY_NOT_FOUND);
}

/* What `snapshot restore --bump-revision --mark-compacted` leaves (formats.md 3.4). */
static void a_bumped_file_is_compacted_at_its_new_revision(void **state)
{
    struct store *store = *state;
    Etcdserverpb__RangeRequest request = range_request("a", "z");
    struct mvcc_range *range;
    uint8_t key[REVISION_BYTES_MAX];
    struct slice bumped;

    put_abc(store);
    bumped = slice_of(key, revision_encode((struct revision){.main = 1007}, false, key));
    batch_put(store->batch, BUCKET_KEY, bumped, SLICE_EMPTY);
    batch_put(store->batch, BUCKET_META, slice_text("scheduledCompactRev"), bumped);
    store_restart(store);
    assert_int_equal(mvcc_revision(store->mvcc), 1007);
    assert_true(mvcc_compacting(store->mvcc));
    request.revision = 1006;
    assert_int_equal(mvcc_range_start(store->mvcc, &request, &range), ERR_COMPACTED);
    store_compact_all(store);
    store_restart(store);
    assert_false(mvcc_compacting(store->mvcc));
    assert_int_equal(mvcc_compact_revision(store->mvcc), 1007);
    expect(store, "a", "z", "a=2 b=3 c=1 (3)");
    put(store, "d", "4");
    assert_int_equal(mvcc_revision(store->mvcc), 1008);
}

static void expect_damaged(struct slice key, struct slice value, const char *word)
{
    struct err err = ERR_INIT;
    struct store store, second;

    store_init(&store);
    put_abc(&store);
    batch_put(store.batch, BUCKET_KEY, key, value);
    store_commit(&store);
    store_init(&second);
    assert_int_equal(mvcc_restore(second.mvcc, store.view->read, &err), -1);
    assert_int_equal(err.code, ERR_DAMAGED);
    assert_non_null(strstr(err.text, word));
    store_fini(&second);
    store_fini(&store);
}

static void numbers_at_their_end_are_damage(void **state)
{
    static const struct stored bad[] = {{.key = {(const uint8_t *)"k", 1}, .version = INT64_MAX},
                                        {.key = {(const uint8_t *)"k", 1}, .version = -1},
                                        {.key = {(const uint8_t *)"k", 1}, .create = INT64_MAX}};
    uint8_t key[REVISION_BYTES_MAX], value[64];
    size_t size = revision_encode((struct revision){.main = 9}, false, key);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        stored_encode(&bad[i], value);
        expect_damaged(slice_of(key, size), slice_of(value, stored_bytes(&bad[i])), "no key-value");
    }
}

static void damaged_records_are_named(void **state)
{
    uint8_t key[REVISION_BYTES_MAX];
    struct revision revision = {.main = 9, .sub = 1};
    size_t size = revision_encode(revision, false, key);

    (void)state;
    expect_damaged(slice_of(key, size - 1), SLICE_EMPTY, "7.0");
    expect_damaged(slice_of(key, size),
                   SLICE_LITERAL("\x0a\x7f"
                                 "a"),
                   "9.1");
    expect_damaged(slice_of(key, size), SLICE_LITERAL("\x08\x01"), "9.1");
    revision.main = 7;
    revision.sub = 0; /* the same revision, as a deletion as well */
    size = revision_encode(revision, true, key);
    expect_damaged(slice_of(key, size),
                   SLICE_LITERAL("\x0a\x01"
                                 "a"),
                   "7.0");
    memset(key, 0xff, sizeof(key));
    key[8] = '_';
    expect_damaged(slice_of(key, REVISION_BYTES), SLICE_EMPTY, "7.0");
}

static void same_history(const struct mvcc_hash_result *one, const struct mvcc_hash_result *other)
{
    assert_true(one->history.known && other->history.known);
    assert_int_equal(one->history.hash, other->history.hash);
    assert_int_equal(one->history.compact_revision, other->history.compact_revision);
}

/* A deletion of "all from here on" does not clash with a put of the same txn (api.md 6.6). */
static void a_key_deleted_and_put_by_one_txn_survives_compaction(void **state)
{
    struct store *store = *state;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[2] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *success[] = {&ops[0], &ops[1]};
    Etcdserverpb__DeleteRangeRequest all = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest again = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;
    struct mvcc_hash_result ordered, remembered, restarted;
    uint8_t zero = 0;

    put(store, "k", "old");
    all.key = again.key = store_bytes("k");
    all.range_end = (ProtobufCBinaryData){1, &zero};
    again.value = store_bytes("new");
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[0].request_delete_range = &all;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &again;
    txn.success = success;
    txn.n_success = 2;
    assert_int_equal(mvcc_apply_txn(store->mvcc, &txn, &store->arena, &response), ERR_OK);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 3), ERR_OK);
    ordered = store_hash(store, 3);
    store_compact_all(store);
    store_commit(store);
    remembered = store_hash(store, 3);
    expect(store, "k", NULL, "k=new (1)");
    store_restart(store);
    expect(store, "k", NULL, "k=new (1)");
    same_history(&ordered, &remembered); /* their hashes are not */
    restarted = store_hash(store, 3);
    same_history(&ordered, &restarted);
}

/* With no key alive: the hash is what it will be when the compaction's work is done. */
static void a_hash_does_not_wait_for_the_compaction(void **state)
{
    struct store *store = *state;
    uint32_t before, kept;

    put(store, "a", "1");
    put(store, "a", "2");
    assert_int_equal(store_delete(store, "a", ""), 1);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 3), ERR_OK); /* keeps the second */
    kept = store_hash(store, 0).hash;
    store_compact_all(store);
    assert_int_equal(store_hash(store, 0).hash, kept);
    assert_int_equal(mvcc_apply_compact(store->mvcc, 4), ERR_OK); /* keeps nothing */
    before = store_hash(store, 0).hash;
    assert_int_not_equal(before, kept);
    store_compact_all(store);
    assert_int_equal(store_hash(store, 0).hash, before);
}

/* What was there at the compact revision is forgotten by a compaction to the revision hashed. */
static void no_history_is_told_of_what_is_compacted_meanwhile(void **state)
{
    struct store *store = *state;
    struct mvcc_hash_result before, result;
    struct mvcc_hash *hash;

    put(store, "a", "1");
    put(store, "a", "2");
    assert_int_equal(mvcc_apply_compact(store->mvcc, 3), ERR_OK);
    store_compact_all(store);
    assert_int_equal(store_delete(store, "a", ""), 1);
    before = store_hash(store, 4);
    assert_true(before.history.known);
    assert_int_equal(before.history.compact_revision, 3);
    assert_int_equal(mvcc_hash_start(store->mvcc, 4, &hash), ERR_OK);
    assert_false(mvcc_hash_step(hash, 1));
    assert_int_equal(mvcc_apply_compact(store->mvcc, 4), ERR_OK);
    store_compact_all(store);
    while (!mvcc_hash_step(hash, 1))
        ;
    result = mvcc_hash_result(hash);
    mvcc_hash_free(hash);
    assert_int_equal(result.compact_revision, 3);
    assert_false(result.living || result.history.known);
}

static void a_small_store_is_compacted_in_one_step(void **state)
{
    struct store *store = *state;

    put(store, "a", "1");
    put(store, "a", "2");
    assert_int_equal(mvcc_apply_compact(store->mvcc, 3), ERR_OK);
    assert_true(mvcc_compact_step(store->mvcc, 1000));
    assert_int_equal(store_hash(store, 3).compact_revision, -1); /* the remembered one */
    assert_int_equal(store_hash(store, 0).compact_revision, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_put_makes_revisions_versions_and_creations, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ranges_of_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(sorting_by_every_target, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limit_cuts_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_come_before_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_refuse_what_is_gone_or_to_come, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_only_strips_the_value, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_reader_sees_one_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_follow_puts_and_deletions, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bumped_file_is_compacted_at_its_new_revision, setup,
                                        teardown),
        cmocka_unit_test(damaged_records_are_named),
        cmocka_unit_test(numbers_at_their_end_are_damage),
        cmocka_unit_test_setup_teardown(a_key_deleted_and_put_by_one_txn_survives_compaction, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hash_does_not_wait_for_the_compaction, setup, teardown),
        cmocka_unit_test_setup_teardown(no_history_is_told_of_what_is_compacted_meanwhile, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_small_store_is_compacted_in_one_step, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
