/*
 * mvcc_txn.c - transactions (api.md 6.6).
 *
 *   choose    every compare of the tree, in the branches that will run, against the state before
 *   check     the puts of these branches, then the ranges: a refusal leaves no trace
 *   run       in order; reads see what was written before them
 *
 * The choices are made once and then followed by all three walks in the same order, so they are a
 * list of booleans. None of the walks is a recursion: TXN_DEPTH_MAX bounds what we let in, but
 * another member may have let in any depth.
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/state/mvcc_internal.h"

struct choices {
    bool *taken; /* owned; one per txn of the tree that runs, in the order of walking */
    size_t count, capacity;
    size_t next; /* while walking */
};

struct branch {
    Etcdserverpb__RequestOp *const *ops;
    size_t count;
};

static struct branch branch_of(const Etcdserverpb__TxnRequest *txn, bool success)
{
    return success ? (struct branch){.ops = txn->success, .count = txn->n_success}
                   : (struct branch){.ops = txn->failure, .count = txn->n_failure};
}

/* A branch that is being walked. */
struct place {
    struct branch branch;
    size_t next;                         /* operation */
    Etcdserverpb__TxnResponse *response; /* run(): of the txn; NULL: nobody wants one */
};

/* The way from the outermost txn to the present one. */
struct way {
    struct place near[16]; /* few need more */
    struct place *places;  /* `near`, or owned */
    size_t count, capacity;
};

static void way_begin(struct way *way)
{
    way->places = way->near;
    way->count = 0;
    way->capacity = ARRAY_LEN(way->near);
}

static void way_end(struct way *way)
{
    if (way->places != way->near)
        free(way->places);
}

static void way_into(struct way *way, struct branch branch, Etcdserverpb__TxnResponse *response)
{
    if (way->count == way->capacity) {
        struct place *old = way->places != way->near ? way->places : NULL;

        way->places = xrealloc(old, 2 * way->capacity * sizeof(*way->places));
        if (old == NULL)
            memcpy(way->places, way->near, sizeof(way->near));
        way->capacity *= 2;
    }
    way->places[way->count++] = (struct place){.branch = branch, .response = response};
}

/* The next operation, in order; NULL: the outermost branch has no more. */
static const Etcdserverpb__RequestOp *way_next(struct way *way)
{
    while (way->count != 0) {
        struct place *place = &way->places[way->count - 1];

        if (place->next < place->branch.count)
            return place->branch.ops[place->next++];
        way->count--;
    }
    return NULL;
}

static bool is_txn(const Etcdserverpb__RequestOp *op)
{
    return op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
}

/* ---- compares ---- */

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static bool relation_holds(const Etcdserverpb__Compare *compare, int order)
{
    switch (compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case _ETCDSERVERPB__COMPARE__COMPARE_RESULT_IS_INT_SIZE:
        break;
    }
    return true; /* an unknown relation is true */
}

/* The operand counts only when it is the one its target wants. */
static int order_of_stored(const Etcdserverpb__Compare *compare, const struct stored *stored)
{
    int64_t operand = 0;
    struct slice value = SLICE_EMPTY;

    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION)
            operand = compare->version;
        return order_of(stored->version, operand);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION)
            operand = compare->create_revision;
        return order_of(stored->create, operand);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION)
            operand = compare->mod_revision;
        return order_of(stored->mod, operand);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE)
            operand = compare->lease;
        return order_of(stored->lease, operand);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE)
            value = pb_slice(compare->value);
        return slice_compare(stored->value, value);
    case _ETCDSERVERPB__COMPARE__COMPARE_TARGET_IS_INT_SIZE:
        break;
    }
    return 0; /* an unknown target is equal */
}

/* What the index knows of the newest revision; value and lease only when they are compared. */
static struct stored stored_of_entry(const struct mvcc *mvcc, const Etcdserverpb__Compare *compare,
                                     const struct keyindex_entry *entry)
{
    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE ||
        (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE && entry->leased))
        return mvcc_read_stored(mvcc->env.view(mvcc->env.arg), keyindex_newest(entry));
    return (struct stored){.create = entry->create, .mod = entry->main, .version = entry->version};
}

static bool compare_holds(const struct mvcc *mvcc, const Etcdserverpb__Compare *compare)
{
    struct key_range range = key_range_of(compare->key, compare->range_end);
    struct stored missing = {.lease = 0};
    struct keyindex_cursor cursor;
    struct keyindex_entry *entry;
    bool any = false;

    keyindex_seek(mvcc->index, range.from, &cursor);
    while (!key_range_is_empty(&range) && (entry = keyindex_next(&cursor)) != NULL &&
           key_range_reaches(&range, keyindex_key(entry))) {
        struct stored stored;

        if (entry->tombstone)
            continue;
        any = true;
        stored = stored_of_entry(mvcc, compare, entry);
        if (!relation_holds(compare, order_of_stored(compare, &stored)))
            return false;
    }
    if (any)
        return true;
    return compare->target != ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE &&
           relation_holds(compare, order_of_stored(compare, &missing));
}

static struct branch choose_one(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                                struct choices *choices)
{
    bool success = true;

    for (size_t i = 0; i < txn->n_compare && success; i++)
        success = compare_holds(mvcc, txn->compare[i]);
    if (choices->count == choices->capacity) {
        choices->capacity = MAX(choices->capacity * 2, 8);
        choices->taken = xrealloc(choices->taken, choices->capacity * sizeof(*choices->taken));
    }
    choices->taken[choices->count++] = success;
    return branch_of(txn, success);
}

static void choose(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                   struct choices *choices)
{
    const Etcdserverpb__RequestOp *op;
    struct way way;

    way_begin(&way);
    way_into(&way, choose_one(mvcc, txn, choices), NULL);
    while ((op = way_next(&way)) != NULL)
        if (is_txn(op))
            way_into(&way, choose_one(mvcc, op->request_txn, choices), NULL);
    way_end(&way);
}

static struct branch chosen(const Etcdserverpb__TxnRequest *txn, struct choices *choices)
{
    return branch_of(txn, choices->taken[choices->next++]);
}

/* ---- checks ---- */

static enum err_code check_put_op(const struct mvcc *mvcc, const Etcdserverpb__RequestOp *op)
{
    enum err_code code;

    if (op->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
        return ERR_OK;
    code = mvcc_check_present(mvcc, op->request_put);
    return code != ERR_OK ? code : mvcc_check_lease(mvcc, op->request_put);
}

static enum err_code check_range_op(const struct mvcc *mvcc, const Etcdserverpb__RequestOp *op)
{
    int64_t revision;

    if (op->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
        return ERR_OK;
    revision = op->request_range->revision;
    if (revision == 0)
        return ERR_OK;
    if (revision > mvcc->current)
        return ERR_FUTURE_REV;
    return revision < mvcc->compacted ? ERR_COMPACTED : ERR_OK;
}

typedef enum err_code check_fn(const struct mvcc *mvcc, const Etcdserverpb__RequestOp *op);

static enum err_code check_all(const struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                               struct choices *choices, check_fn *check)
{
    const Etcdserverpb__RequestOp *op;
    enum err_code code = ERR_OK;
    struct way way;

    choices->next = 0;
    way_begin(&way);
    way_into(&way, chosen(txn, choices), NULL);
    while (code == ERR_OK && (op = way_next(&way)) != NULL) {
        if (is_txn(op))
            way_into(&way, chosen(op->request_txn, choices), NULL);
        else
            code = check(mvcc, op);
    }
    way_end(&way);
    return code;
}

/* ---- running ---- */

/* `answer` is NULL when nobody wants one; the operation runs all the same. */
static void run_op(struct mvcc *mvcc, const Etcdserverpb__RequestOp *op, struct arena *arena,
                   Etcdserverpb__ResponseOp *answer)
{
    Etcdserverpb__ResponseOp unwanted;

    if (answer == NULL)
        answer = &unwanted;
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        if (arena != NULL)
            answer->response_range = mvcc_answer_range(mvcc, arena, op->request_range);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        answer->response_put = mvcc_put(mvcc, op->request_put, arena);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        answer->response_delete_range = mvcc_delete_range(mvcc, op->request_delete_range, arena);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN: /* run() goes into it */
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break; /* mvcc_check_txn() refuses these */
    }
}

static Etcdserverpb__TxnResponse *new_response(struct mvcc *mvcc, struct arena *arena,
                                               bool succeeded, size_t ops)
{
    Etcdserverpb__TxnResponse *response = mvcc_answer_alloc(mvcc, arena, sizeof(*response));

    if (response == NULL)
        return NULL;
    *response = (Etcdserverpb__TxnResponse)ETCDSERVERPB__TXN_RESPONSE__INIT;
    response->succeeded = succeeded;
    response->header = mvcc_answer_header(mvcc, arena, 0); /* of a nested one: empty */
    if (ops == 0)
        return response;
    response->responses = mvcc_answer_alloc(mvcc, arena, ops * sizeof(Etcdserverpb__ResponseOp *));
    return response->responses != NULL ? response : NULL;
}

/* Room for the next answer of a txn; NULL: nobody wants it. */
static Etcdserverpb__ResponseOp *new_answer(struct mvcc *mvcc, struct arena *arena,
                                            Etcdserverpb__TxnResponse *response)
{
    Etcdserverpb__ResponseOp *answer;

    if (response == NULL || (answer = mvcc_answer_alloc(mvcc, arena, sizeof(*answer))) == NULL)
        return NULL;
    *answer = (Etcdserverpb__ResponseOp)ETCDSERVERPB__RESPONSE_OP__INIT;
    response->responses[response->n_responses++] = answer;
    return answer;
}

/* Go into a txn; what it answers. */
static Etcdserverpb__TxnResponse *enter(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                                        struct choices *choices, struct arena *arena,
                                        struct way *way)
{
    bool success = choices->taken[choices->next];
    struct branch branch = chosen(txn, choices);
    Etcdserverpb__TxnResponse *response =
        arena != NULL ? new_response(mvcc, arena, success, branch.count) : NULL;

    way_into(way, branch, response);
    return response;
}

static Etcdserverpb__TxnResponse *run(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *txn,
                                      struct choices *choices, struct arena *arena)
{
    Etcdserverpb__TxnResponse *outermost;
    const Etcdserverpb__RequestOp *op;
    struct way way;

    choices->next = 0;
    way_begin(&way);
    outermost = enter(mvcc, txn, choices, arena, &way);
    while ((op = way_next(&way)) != NULL) {
        Etcdserverpb__ResponseOp *answer =
            new_answer(mvcc, arena, way.places[way.count - 1].response);

        if (is_txn(op)) {
            Etcdserverpb__TxnResponse *response =
                enter(mvcc, op->request_txn, choices, answer != NULL ? arena : NULL, &way);

            if (answer != NULL) {
                answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
                answer->response_txn = response;
            }
        } else {
            run_op(mvcc, op, answer != NULL ? arena : NULL, answer);
        }
    }
    way_end(&way);
    return outermost;
}

/* ---- entry points ---- */

static enum err_code run_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                             struct arena *arena, Etcdserverpb__TxnResponse **response)
{
    struct choices choices = {.taken = NULL};
    enum err_code code;

    must(mvcc->changes == 0);
    *response = NULL;
    choose(mvcc, request, &choices);
    code = check_all(mvcc, request, &choices, check_put_op);
    if (code == ERR_OK)
        code = check_all(mvcc, request, &choices, check_range_op);
    if (code == ERR_OK) {
        mvcc->stats.txns++;
        *response = run(mvcc, request, &choices, arena);
        mvcc_write_end(mvcc);
        code = mvcc_answer_end(mvcc);
        if (code != ERR_OK)
            *response = NULL;
        else if (*response != NULL)
            (*response)->header->revision = mvcc->current;
    }
    free(choices.taken);
    return code;
}

enum err_code mvcc_apply_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                             struct arena *arena, Etcdserverpb__TxnResponse **response)
{
    return run_txn(mvcc, request, arena, response);
}

enum err_code mvcc_read_txn(struct mvcc *mvcc, const Etcdserverpb__TxnRequest *request,
                            struct arena *arena, Etcdserverpb__TxnResponse **response)
{
    must(mvcc_txn_is_read_only(request));
    return run_txn(mvcc, request, arena, response);
}
