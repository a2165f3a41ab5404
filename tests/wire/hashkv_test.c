/*
 * hashkv_test.c - HashKV as a real etcd answered it: hashkv.json (operations, five compactions,
 * three restarts, 63 answers) and the 110 answers to a snapshot, once computed from the file and
 * once by replaying the operations that made it.
 */
#include "common/schema/pbbytes.h"
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

#define VECTORS "tests/wire/vectors/"

static json_t *load(const char *name)
{
    char *path = xasprintf("%s%s", VECTORS, name);
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);

    if (json == NULL)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    free(path);
    return json;
}

static int64_t integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* An answer or an error, as listed; `name` is the member with the revision asked for. */
static void expect_hash(struct store *store, const json_t *expected, const char *name)
{
    const char *error = json_string_value(json_object_get(expected, "error"));
    int64_t revision = integer(expected, name);
    struct mvcc_hash_result result;
    struct mvcc_hash *hash;
    enum err_code code = mvcc_hash_start(store->mvcc, revision, &hash);

    assert_string_equal(err_text(code), error != NULL ? error : "");
    if (code != ERR_OK)
        return;
    mvcc_hash_free(hash);
    result = store_hash(store, revision);
    if (result.hash != (uint32_t)integer(expected, "hash"))
        fail_msg("hash at %" PRId64 " of %" PRId64, revision, result.current_revision);
    assert_int_equal(result.compact_revision, integer(expected, "compact_revision"));
}

/* ---- hashkv.json ---- */

/* "\\x00" in the listing is one zero byte. */
static ProtobufCBinaryData listed(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    if (text != NULL && strcmp(text, "\\x00") == 0)
        return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "", .len = 1};
    return store_bytes(text);
}

static void fill_op(Etcdserverpb__RequestOp *op, Etcdserverpb__PutRequest *put,
                    Etcdserverpb__DeleteRangeRequest *delete_range, const json_t *listing)
{
    const json_t *put_listing = json_object_get(listing, "put");
    const json_t *delete_listing = json_object_get(listing, "delete");

    *op = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    *put = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    *delete_range = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    if (put_listing != NULL) {
        put->key = listed(put_listing, "key");
        put->value = listed(put_listing, "value");
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = put;
    } else {
        delete_range->key = listed(delete_listing, "key");
        delete_range->range_end = listed(delete_listing, "range_end");
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = delete_range;
    }
}

#define OPS_MAX 8

static void run_ops(struct store *store, const json_t *listings)
{
    Etcdserverpb__RequestOp ops[OPS_MAX], *pointers[OPS_MAX];
    Etcdserverpb__PutRequest puts[OPS_MAX];
    Etcdserverpb__DeleteRangeRequest deletes[OPS_MAX];
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;

    txn.n_success = json_array_size(listings);
    txn.success = pointers;
    assert_true(txn.n_success <= OPS_MAX);
    for (size_t i = 0; i < txn.n_success; i++) {
        fill_op(&ops[i], &puts[i], &deletes[i], json_array_get(listings, i));
        pointers[i] = &ops[i];
    }
    assert_int_equal(mvcc_check_txn(&txn, MAX_TXN_OPS_DEFAULT), ERR_OK);
    assert_int_equal(mvcc_apply_txn(store->mvcc, &txn, NULL, &response), ERR_OK);
}

static void run_listed(struct store *store, const json_t *op)
{
    const json_t *compact = json_object_get(op, "compact");
    const json_t *txn = json_object_get(op, "txn_success_ops");
    json_t *single;

    if (compact != NULL) {
        assert_int_equal(mvcc_apply_compact(store->mvcc, integer(compact, "revision")), ERR_OK);
        store_compact_all(store);
    } else if (txn != NULL) {
        run_ops(store, txn);
    } else {
        single = json_array();
        assert_int_equal(json_array_append(single, json_deep_copy(op)), 0);
        run_ops(store, single);
        json_decref(json_array_get(single, 0)); /* the copy's first reference */
        json_decref(single);
    }
}

/* `commit_every` operations go to the backend; 0: all stay in the open batch until a restart. */
static void replay_hashkv(size_t commit_every)
{
    json_t *list = load("hashkv.json"), *step;
    struct store store;
    size_t i, hashes = 0;

    store_init(&store);
    json_array_foreach(list, i, step)
    {
        const json_t *op = json_object_get(step, "op");

        if (json_object_get(step, "hashkv_request_revision") != NULL) {
            expect_hash(&store, step, "hashkv_request_revision");
            hashes++;
        } else if (op != NULL) {
            run_listed(&store, op);
            assert_int_equal(mvcc_revision(store.mvcc), integer(step, "response_header_revision"));
        } else if (json_object_get(step, "note") != NULL) {
            store_restart(&store);
        }
        if (commit_every != 0 && i % commit_every == 0)
            store_commit(&store);
    }
    assert_true(hashes >= 63);
    store_fini(&store);
    json_decref(list);
}

static void hashes_between_operations(void **state)
{
    (void)state;
    replay_hashkv(0);
    replay_hashkv(1);
    replay_hashkv(3);
}

/* ---- the snapshot ---- */

static void hashes_of_a_file(void **state)
{
    json_t *file = load("snapshot-3.5.30-hashkv.json"), *step;
    struct backend *backend = backend_new_mem();
    struct err err = ERR_INIT;
    struct store store;
    size_t i;

    (void)state;
    if (backend_import_bolt(backend, VECTORS "snapshot-3.5.30.db", &err) < 0)
        fail_msg("%s", err.text);
    store_init_with(&store, backend);
    assert_int_equal(mvcc_revision(store.mvcc), 216);
    assert_int_equal(mvcc_key_count(store.mvcc), 144);
    json_array_foreach(json_object_get(file, "hashkv"), i, step)
    {
        if (integer(step, "revision") != 109) /* remembered: cannot be had from the file */
            expect_hash(&store, step, "revision");
    }
    assert_true(i == 110);
    store_fini(&store);
    json_decref(file);
}

static ProtobufCBinaryData from_hex(struct arena *arena, const json_t *object, const char *name)
{
    const char *hex = json_string_value(json_object_get(object, name));
    ProtobufCBinaryData bytes = {.len = hex != NULL ? strlen(hex) / 2 : 0};

    bytes.data = arena_alloc(arena, bytes.len + 1);
    assert_non_null(bytes.data);
    for (size_t i = 0; i < bytes.len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

        bytes.data[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

static void put_listed(struct store *store, struct arena *arena, const json_t *listing)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutResponse *response;

    request.key = from_hex(arena, listing, "key");
    request.value = from_hex(arena, listing, "value");
    request.lease = integer(listing, "lease");
    assert_int_equal(mvcc_apply_put(store->mvcc, &request, NULL, &response), ERR_OK);
}

static void delete_listed(struct store *store, struct arena *arena, const json_t *listing)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response;

    request.key = from_hex(arena, listing, "key");
    request.range_end = from_hex(arena, listing, "range_end");
    assert_int_equal(mvcc_apply_delete_range(store->mvcc, &request, NULL, &response), ERR_OK);
}

/* "if version(big)==1 then put txn/a=1, put txn/b=2, delete empty-value" */
static void run_the_txn(struct store *store)
{
    Etcdserverpb__RequestOp ops[3] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *pointers[] = {&ops[0], &ops[1], &ops[2]};
    Etcdserverpb__PutRequest a = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutRequest b = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest gone = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;

    a.key = store_bytes("txn/a");
    a.value = store_bytes("1");
    b.key = store_bytes("txn/b");
    b.value = store_bytes("2");
    gone.key = store_bytes("empty-value");
    ops[0].request_case = ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &a;
    ops[1].request_put = &b;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[2].request_delete_range = &gone;
    compare.key = store_bytes("big");
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    compare.version = 1;
    txn.n_compare = 1;
    txn.compare = compares;
    txn.n_success = 3;
    txn.success = pointers;
    assert_int_equal(mvcc_apply_txn(store->mvcc, &txn, &store->arena, &response), ERR_OK);
    assert_true(response->succeeded);
}

/* Remembers which keys hang on the lease that is revoked. */
#define REVOKED_LEASE 1234
#define REVOKED_KEYS_MAX 64
struct revoked {
    struct slice keys[REVOKED_KEYS_MAX];
    size_t count;
};

static int order_slices(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static void note_lease(struct revoked *revoked, struct arena *arena, const json_t *put)
{
    ProtobufCBinaryData key;

    if (put == NULL || integer(put, "lease") != REVOKED_LEASE)
        return;
    assert_true(revoked->count < REVOKED_KEYS_MAX);
    key = from_hex(arena, put, "key");
    revoked->keys[revoked->count++] = pb_slice(key);
}

static void hashes_of_a_replay(void **state)
{
    json_t *file = load("snapshot-3.5.30-hashkv.json"), *step;
    json_t *ops = load("snapshot-3.5.30-ops.json");
    struct revoked revoked = {.count = 0};
    struct arena arena;
    struct store store;
    size_t i;

    (void)state;
    arena_init(&arena, 64 * MIB);
    store_init(&store);
    json_array_foreach(ops, i, step)
    {
        const json_t *put = json_object_get(step, "put");

        note_lease(&revoked, &arena, put);
        if (put != NULL)
            put_listed(&store, &arena, put);
        else if (json_object_get(step, "delete_range") != NULL)
            delete_listed(&store, &arena, json_object_get(step, "delete_range"));
        else if (json_object_get(step, "lease_grant") != NULL)
            store_add_lease(&store, integer(step, "lease_grant"));
        else if (json_object_get(step, "txn") != NULL)
            run_the_txn(&store);
        else if (json_object_get(step, "lease_revoke") != NULL) {
            qsort(revoked.keys, revoked.count, sizeof(revoked.keys[0]), order_slices);
            mvcc_apply_delete_keys(store.mvcc, revoked.keys, revoked.count);
        } else {
            assert_int_equal(mvcc_apply_compact(store.mvcc, integer(step, "compact")), ERR_OK);
            store_compact_all(&store);
        }
    }
    json_array_foreach(json_object_get(file, "hashkv"), i, step)
    {
        expect_hash(&store, step, "revision");
    }
    store_fini(&store);
    arena_free(&arena);
    json_decref(file);
    json_decref(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_between_operations),
        cmocka_unit_test(hashes_of_a_file),
        cmocka_unit_test(hashes_of_a_replay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
