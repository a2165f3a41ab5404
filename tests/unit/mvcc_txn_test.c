/*
 * mvcc_txn_test.c - transactions against the facts of api.md 6.6: shape, overlaps, compares,
 * revisions inside, and that a refusal leaves no trace. Requests are built by small words.
 */
#include "tests/lib/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef Etcdserverpb__RequestOp op_t;
typedef Etcdserverpb__TxnRequest txn_t;

static struct arena words; /* of the requests; reset by each test */

static void *word(size_t bytes)
{
    void *memory = arena_zalloc(&words, bytes);

    assert_non_null(memory);
    return memory;
}

static ProtobufCBinaryData bytes_of(const char *text)
{
    if (text != NULL && text[0] == '\0') /* "" stands for one zero byte: from the key on */
        return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = 1};
    return store_bytes(text);
}

static op_t *new_op(Etcdserverpb__RequestOp__RequestCase kind)
{
    op_t *op = word(sizeof(*op));

    *op = (op_t)ETCDSERVERPB__REQUEST_OP__INIT;
    op->request_case = kind;
    return op;
}

static op_t *put(const char *key, const char *value)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);

    op->request_put = word(sizeof(*op->request_put));
    *op->request_put = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    op->request_put->key = store_bytes(key);
    op->request_put->value = store_bytes(value);
    return op;
}

static op_t *del(const char *key, const char *range_end)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);

    op->request_delete_range = word(sizeof(*op->request_delete_range));
    *op->request_delete_range =
        (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    op->request_delete_range->key = store_bytes(key);
    op->request_delete_range->range_end = bytes_of(range_end);
    return op;
}

static op_t *get(const char *key, int64_t revision)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);

    op->request_range = word(sizeof(*op->request_range));
    *op->request_range = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    op->request_range->key = store_bytes(key);
    op->request_range->revision = revision;
    return op;
}

#define LIST_MAX 8

static txn_t *new_txn(void)
{
    txn_t *txn = word(sizeof(*txn));

    *txn = (txn_t)ETCDSERVERPB__TXN_REQUEST__INIT;
    txn->success = word(LIST_MAX * sizeof(op_t *));
    txn->failure = word(LIST_MAX * sizeof(op_t *));
    txn->compare = word(LIST_MAX * sizeof(Etcdserverpb__Compare *));
    return txn;
}

/* Operations of `success`, up to NULL. */
static txn_t *all(op_t *first, ...)
{
    txn_t *txn = new_txn();
    va_list list;

    va_start(list, first);
    for (op_t *op = first; op != NULL; op = va_arg(list, op_t *))
        txn->success[txn->n_success++] = op;
    va_end(list);
    return txn;
}

static txn_t *otherwise(txn_t *txn, op_t *op)
{
    txn->failure[txn->n_failure++] = op;
    return txn;
}

static op_t *nest(txn_t *txn)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);

    op->request_txn = txn;
    return op;
}

static Etcdserverpb__Compare *compare(txn_t *txn, const char *key, int target, int result,
                                      int64_t operand)
{
    Etcdserverpb__Compare *made = word(sizeof(*made));

    *made = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    made->key = store_bytes(key);
    made->target = (Etcdserverpb__Compare__CompareTarget)target;
    made->result = (Etcdserverpb__Compare__CompareResult)result;
    made->target_union_case = target == 4 ? ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE
                                          : (Etcdserverpb__Compare__TargetUnionCase)(target + 4);
    if (target != 3)
        made->version = operand; /* the numbers share their place */
    txn->compare[txn->n_compare++] = made;
    return made;
}

enum { EQUAL, GREATER, LESS, NOT_EQUAL };
enum { VERSION, CREATE, MOD, VALUE, LEASE };

static int setup(void **state)
{
    struct store *store = xalloc(sizeof(*store));

    arena_init(&words, MIB);
    store_init(store);
    *state = store;
    return 0;
}

static int teardown(void **state)
{
    store_fini(*state);
    free(*state);
    arena_free(&words);
    return 0;
}

static Etcdserverpb__TxnResponse *apply(struct store *store, const txn_t *txn)
{
    Etcdserverpb__TxnResponse *response;

    assert_int_equal(mvcc_check_txn(txn, MAX_TXN_OPS_DEFAULT), ERR_OK);
    assert_int_equal(mvcc_apply_txn(store->mvcc, txn, &store->arena, &response), ERR_OK);
    return response;
}

static void expect_shape(const txn_t *txn, size_t max_ops, enum err_code expected)
{
    assert_int_equal(mvcc_check_txn(txn, max_ops), expected);
}

static void the_shape_is_checked_in_order(void **state)
{
    (void)state;
    expect_shape(all(put("a", "1"), put("b", "1"), NULL), 2, ERR_OK);
    expect_shape(all(put("a", "1"), put("b", "1"), NULL), 1, ERR_TOO_MANY_OPS);
    expect_shape(all(nest(all(nest(all(put("a", "1"), NULL)), NULL)), NULL), 3, ERR_OK);
    expect_shape(all(nest(all(nest(all(put("a", "1"), NULL)), NULL)), NULL), 2, ERR_TOO_MANY_OPS);
    expect_shape(all(put("", "1"), NULL), 9, ERR_EMPTY_KEY);
    expect_shape(all(new_op(ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET), put("", "1"), NULL), 9,
                 ERR_KEY_NOT_FOUND);
    /* Every request before any overlap. */
    expect_shape(otherwise(all(put("a", "1"), put("a", "2"), NULL), put("", "")), 9, ERR_EMPTY_KEY);
    expect_shape(otherwise(all(put("a", "1"), NULL), put("a", "2")), 9, ERR_OK);
}

static void puts_and_deletions_may_not_meet(void **state)
{
    (void)state;
    expect_shape(all(put("a", "1"), put("a", "2"), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(put("b", "1"), del("a", "c"), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(put("c", "1"), del("a", "c"), NULL), 9, ERR_OK);
    expect_shape(all(del("a", NULL), put("a", "1"), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(del("a", "f"), del("b", NULL), del("c", "h"), put("g", "1"), NULL), 9,
                 ERR_DUPLICATE_KEY);
    expect_shape(all(del("a", "c"), del("b", NULL), get("a", 0), NULL), 9, ERR_OK);
    expect_shape(all(del("a", ""), put("b", "1"), NULL), 9, ERR_OK); /* the quirk */
    expect_shape(otherwise(new_txn(), put("a", "1")), 9, ERR_OK);
}

static void nested_ones_count_with_both_branches(void **state)
{
    txn_t *both = otherwise(all(put("a", "1"), NULL), put("a", "2"));
    txn_t *gone = all(del("a", "c"), NULL);

    (void)state;
    expect_shape(all(nest(both), NULL), 9, ERR_OK);
    expect_shape(all(nest(both), put("a", "3"), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(put("a", "3"), nest(both), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(nest(both), nest(all(put("a", "4"), NULL)), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(nest(both), del("a", NULL), NULL), 9, ERR_DUPLICATE_KEY);
    /* A nested deletion: with later siblings and this level, not with earlier siblings. */
    expect_shape(all(nest(gone), nest(all(put("b", "1"), NULL)), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(nest(all(put("b", "1"), NULL)), nest(gone), NULL), 9, ERR_OK);
    expect_shape(all(put("b", "1"), nest(gone), NULL), 9, ERR_DUPLICATE_KEY);
    expect_shape(all(nest(otherwise(all(del("b", NULL), NULL), put("b", "1"))), NULL), 9, ERR_OK);
}

static bool holds(struct store *store, txn_t *txn)
{
    bool succeeded = apply(store, txn)->succeeded;

    assert_true(mvcc_txn_is_read_only(txn));
    return succeeded;
}

static void compares_of_keys_and_ranges(void **state)
{
    struct store *store = *state;
    txn_t *txn;

    assert_int_equal(store_put(store, "a", "x"), ERR_OK); /* 2 */
    assert_int_equal(store_put(store, "b", "y"), ERR_OK); /* 3 */
    assert_int_equal(store_put(store, "b", "y"), ERR_OK); /* 4 */
    compare(txn = new_txn(), "b", VERSION, EQUAL, 2);
    compare(txn, "b", CREATE, EQUAL, 3);
    compare(txn, "b", MOD, GREATER, 3);
    compare(txn, "b", LEASE, LESS, 1);
    compare(txn, "b", VERSION, 77, 5); /* an unknown relation is true */
    compare(txn, "b", VALUE, EQUAL, 0)->value = store_bytes("y");
    assert_true(holds(store, txn));
    compare(txn = new_txn(), "a", VERSION, GREATER, 0)->range_end = store_bytes("c");
    assert_true(holds(store, txn));
    compare(txn = new_txn(), "a", VERSION, GREATER, 1)->range_end = store_bytes("c");
    assert_false(holds(store, txn));
    compare(txn = new_txn(), "a", MOD, GREATER, 1)->range_end = bytes_of("");
    assert_true(holds(store, txn));
    /* A missing key: numbers are 0, a value is never anything. */
    compare(txn = new_txn(), "m", VERSION, EQUAL, 0);
    assert_true(holds(store, txn));
    compare(txn = new_txn(), "m", VALUE, NOT_EQUAL, 0)->value = store_bytes("y");
    assert_false(holds(store, txn));
    /* The operand of another target counts as none. */
    compare(txn = new_txn(), "b", VERSION, GREATER, 5)->target_union_case =
        ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    assert_true(holds(store, txn));
    assert_int_equal(mvcc_revision(store->mvcc), 4);
}

static void compares_see_the_state_before(void **state)
{
    struct store *store = *state;
    txn_t *inner = all(put("b", "1"), NULL);
    Etcdserverpb__TxnResponse *response;

    compare(inner, "a", VERSION, GREATER, 0); /* "a" is put by this very txn: not there before */
    response = apply(store, all(put("a", "1"), nest(inner), NULL));
    assert_false(response->responses[1]->response_txn->succeeded);
    assert_int_equal(mvcc_key_count(store->mvcc), 1);
}

static void revisions_inside(void **state)
{
    struct store *store = *state;
    Etcdserverpb__TxnResponse *response;

    assert_int_equal(store_put(store, "a", "x"), ERR_OK); /* 2 */
    response =
        apply(store, all(get("a", 0), del("zz", NULL), put("a", "y"), get("a", 0), del("zz", NULL),
                         nest(all(put("n", "1"), NULL)), get("a", 2), NULL));
    assert_int_equal(response->header->revision, 3);
    assert_int_equal(response->n_responses, 7);
    assert_int_equal(response->responses[0]->response_range->header->revision, 2);
    assert_int_equal(response->responses[1]->response_delete_range->header->revision, 2);
    assert_int_equal(response->responses[2]->response_put->header->revision, 3);
    assert_int_equal(response->responses[3]->response_range->header->revision, 3);
    assert_int_equal(response->responses[3]->response_range->count, 1);
    assert_int_equal(response->responses[3]->response_range->kvs[0]->version, 2);
    assert_memory_equal(response->responses[3]->response_range->kvs[0]->value.data, "y", 1);
    assert_int_equal(response->responses[4]->response_delete_range->header->revision, 3);
    assert_int_equal(response->responses[5]->response_txn->header->revision, 0);
    assert_memory_equal(response->responses[6]->response_range->kvs[0]->value.data, "x", 1);
    response = apply(store, all(get("a", 0), NULL));
    assert_int_equal(response->header->revision, 3);
}

static void a_refusal_leaves_no_trace(void **state)
{
    struct store *store = *state;
    Etcdserverpb__TxnResponse *response;
    op_t *ignoring = put("n", NULL), *leased = put("l", "1");

    ignoring->request_put->ignore_value = true;
    leased->request_put->lease = 99;
    assert_int_equal(store_put(store, "a", "x"), ERR_OK); /* 2 */
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(put("b", "1"), ignoring, leased, NULL),
                                    &store->arena, &response),
                     ERR_KEY_NOT_FOUND);
    assert_null(response);
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(get("a", 9), put("b", "1"), leased, NULL),
                                    &store->arena, &response),
                     ERR_LEASE_NOT_FOUND);
    /* The revision the txn would make is a future one. */
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(put("b", "1"), get("b", 3), NULL),
                                    &store->arena, &response),
                     ERR_FUTURE_REV);
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(get("b", -5), NULL), &store->arena, &response),
                     ERR_COMPACTED);
    /* Not in the branch that runs: not looked at. */
    assert_int_equal(mvcc_apply_txn(store->mvcc, otherwise(all(get("a", 0), NULL), leased),
                                    &store->arena, &response),
                     ERR_OK);
    assert_int_equal(mvcc_revision(store->mvcc), 2);
    assert_int_equal(mvcc_key_count(store->mvcc), 1);
    assert_int_equal(batch_op_count(store->batch), 1);
}

static void delete_all_then_put_runs_in_order(void **state)
{
    struct store *store = *state;
    Etcdserverpb__TxnResponse *response;
    op_t *kept = put("b", NULL);

    kept->request_put->ignore_value = true;
    assert_int_equal(store_put(store, "a", "x"), ERR_OK);
    assert_int_equal(store_put(store, "b", "y"), ERR_OK);
    response = apply(store, all(del("a", ""), put("a", "z"), kept, get("b", 0), NULL));
    assert_int_equal(response->responses[0]->response_delete_range->deleted, 2);
    assert_int_equal(response->responses[3]->response_range->kvs[0]->value.len, 0);
    assert_int_equal(mvcc_key_count(store->mvcc), 2);
    store_restart(store);
    assert_int_equal(mvcc_key_count(store->mvcc), 2);
    assert_int_equal(mvcc_revision(store->mvcc), 4);
}

static void an_answer_too_large_is_said_and_applied(void **state)
{
    struct store *store = *state;
    Etcdserverpb__TxnResponse *response;
    struct arena tiny;

    arena_init(&tiny, 1);
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(put("a", "1"), NULL), &tiny, &response),
                     ERR_NO_MEMORY);
    assert_null(response);
    assert_int_equal(mvcc_revision(store->mvcc), 2);
    assert_int_equal(mvcc_apply_txn(store->mvcc, all(put("a", "1"), NULL), NULL, &response),
                     ERR_OK);
    assert_null(response);
    arena_free(&tiny);
}

static void which_txn_is_a_read(void **state)
{
    txn_t *txn = all(get("a", 0), NULL);

    (void)state;
    assert_true(mvcc_txn_is_read_only(txn));
    assert_false(mvcc_txn_is_serializable(txn));
    txn->success[0]->request_range->serializable = true;
    assert_true(mvcc_txn_is_serializable(txn));
    assert_false(mvcc_txn_is_read_only(all(nest(txn), NULL)));
    assert_false(mvcc_txn_is_read_only(otherwise(all(get("a", 0), NULL), put("a", "1"))));
}

int main(void)
{
#define TEST(name)                                                                                 \
    {                                                                                              \
#name, name, setup, teardown, NULL                                                         \
    }
    const struct CMUnitTest tests[] = {
        TEST(the_shape_is_checked_in_order),
        TEST(puts_and_deletions_may_not_meet),
        TEST(nested_ones_count_with_both_branches),
        TEST(compares_of_keys_and_ranges),
        TEST(compares_see_the_state_before),
        TEST(revisions_inside),
        TEST(a_refusal_leaves_no_trace),
        TEST(delete_all_then_put_runs_in_order),
        TEST(an_answer_too_large_is_said_and_applied),
        TEST(which_txn_is_a_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
