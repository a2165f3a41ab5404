/*
 * mvcc_check.c - the shape of requests, before anything is proposed (api.md 6.1, 6.6).
 *
 * A txn is checked twice over: first every request in it as if it stood alone, then, per branch,
 * whether puts and deletions meet. For the second each level gives its parent the sorted keys it
 * puts and the sorted, disjoint ranges it deletes; the rules of what may meet what, odd as some
 * are, are etcd's.
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/state/mvcc_internal.h"

enum err_code mvcc_check_range(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0)
        return ERR_EMPTY_KEY;
    if ((unsigned)request->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ||
        (unsigned)request->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        return ERR_INVALID_SORT_OPTION;
    return ERR_OK;
}

enum err_code mvcc_check_put(const Etcdserverpb__PutRequest *request)
{
    if (request->key.len == 0)
        return ERR_EMPTY_KEY;
    if (request->ignore_value && request->value.len != 0)
        return ERR_VALUE_PROVIDED;
    if (request->ignore_lease && request->lease != 0)
        return ERR_LEASE_PROVIDED;
    return ERR_OK;
}

enum err_code mvcc_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request)
{
    return request->key.len == 0 ? ERR_EMPTY_KEY : ERR_OK;
}

/* ---- each request of a txn ---- */

static enum err_code check_txn(const Etcdserverpb__TxnRequest *txn, size_t max_ops, size_t depth);

static enum err_code check_op(const Etcdserverpb__RequestOp *op, size_t max_ops, size_t depth)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return mvcc_check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return mvcc_check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return mvcc_check_delete_range(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_txn(op->request_txn, max_ops, depth + 1);
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    return ERR_KEY_NOT_FOUND; /* etcd's answer to an operation of no kind */
}

static enum err_code check_ops(Etcdserverpb__RequestOp *const *ops, size_t count, size_t max_ops,
                               size_t depth)
{
    for (size_t i = 0; i < count; i++) {
        enum err_code code = check_op(ops[i], max_ops, depth);

        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static enum err_code check_txn(const Etcdserverpb__TxnRequest *txn, size_t max_ops, size_t depth)
{
    size_t ops = MAX(txn->n_compare, MAX(txn->n_success, txn->n_failure));
    enum err_code code;

    if (ops > max_ops || depth > TXN_DEPTH_MAX)
        return ERR_TOO_MANY_OPS;
    for (size_t i = 0; i < txn->n_compare; i++) {
        if (txn->compare[i]->key.len == 0)
            return ERR_EMPTY_KEY;
    }
    code = check_ops(txn->success, txn->n_success, max_ops - ops, depth);
    if (code == ERR_OK)
        code = check_ops(txn->failure, txn->n_failure, max_ops - ops, depth);
    return code;
}

/* ---- what a branch writes ---- */

struct deletion {
    struct slice from;
    struct slice to; /* exclusive */
    bool one;        /* only `from` */
};

struct writes {
    struct slice *puts; /* owned; ascending, each once */
    size_t put_count;
    struct deletion *deletions; /* owned; ascending, disjoint */
    size_t deletion_count;
};

static void writes_fini(struct writes *writes)
{
    free(writes->puts);
    free(writes->deletions);
}

static int order_puts(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static int order_deletions(const void *a, const void *b)
{
    return slice_compare(((const struct deletion *)a)->from, ((const struct deletion *)b)->from);
}

static bool deletion_holds(const struct deletion *deletion, struct slice key)
{
    return deletion->one
               ? slice_equal(deletion->from, key)
               : slice_compare(deletion->from, key) <= 0 && slice_compare(key, deletion->to) < 0;
}

static bool is_deleted(const struct writes *writes, struct slice key)
{
    size_t low = 0, high = writes->deletion_count;

    while (low < high) { /* the last deletion that begins at or before the key */
        size_t middle = low + (high - low) / 2;

        if (slice_compare(writes->deletions[middle].from, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && deletion_holds(&writes->deletions[low - 1], key);
}

/* Append a deletion that begins at or behind all others, joined with the last if they overlap. */
static void join_deletion(struct writes *writes, struct deletion deletion)
{
    struct deletion *last = NULL;

    if (writes->deletion_count > 0)
        last = &writes->deletions[writes->deletion_count - 1];
    if (last == NULL || (!deletion_holds(last, deletion.from))) {
        writes->deletions[writes->deletion_count++] = deletion;
        return;
    }
    if (deletion.one)
        return;
    if (last->one || slice_compare(last->to, deletion.to) < 0)
        *last = (struct deletion){.from = last->from, .to = deletion.to};
}

/* Take the deletions of `other` into `writes`. */
static void add_deletions(struct writes *writes, const struct writes *other)
{
    struct writes joined = {.puts = NULL};
    size_t a = 0, b = 0;

    if (other->deletion_count == 0)
        return;
    joined.deletions = xrealloc(NULL, (writes->deletion_count + other->deletion_count) *
                                          sizeof(*joined.deletions));
    while (a < writes->deletion_count || b < other->deletion_count) {
        if (b == other->deletion_count ||
            (a < writes->deletion_count &&
             order_deletions(&writes->deletions[a], &other->deletions[b]) <= 0))
            join_deletion(&joined, writes->deletions[a++]);
        else
            join_deletion(&joined, other->deletions[b++]);
    }
    free(writes->deletions);
    writes->deletions = joined.deletions;
    writes->deletion_count = joined.deletion_count;
}

/* Take the puts of `other` into `writes`; false when a key is in both and that is not `allowed`. */
static bool add_puts(struct writes *writes, const struct writes *other, bool allowed)
{
    struct slice *puts;
    size_t a = 0, b = 0, count = 0;

    if (other->put_count == 0)
        return true;
    puts = xrealloc(NULL, (writes->put_count + other->put_count) * sizeof(*puts));
    while (a < writes->put_count || b < other->put_count) {
        int order = b == other->put_count    ? -1
                    : a == writes->put_count ? 1
                                             : slice_compare(writes->puts[a], other->puts[b]);

        if (order == 0 && !allowed)
            break;
        puts[count++] = order <= 0 ? writes->puts[a] : other->puts[b];
        a += order <= 0;
        b += order >= 0;
    }
    if (a < writes->put_count || b < other->put_count) {
        free(puts);
        return false;
    }
    free(writes->puts);
    writes->puts = puts;
    writes->put_count = count;
    return true;
}

/* The deletions that stand in this list itself. A range that ends in "\0", everything from its key
 * on, holds no key at all here, as in etcd: compared as text its end is below its beginning. */
static void collect_deletions(Etcdserverpb__RequestOp *const *ops, size_t count,
                              struct writes *writes)
{
    struct deletion *found = xrealloc(NULL, (count + 1) * sizeof(*found));
    size_t found_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct deletion *deletion = &found[found_count];

        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            continue;
        deletion->from = pb_slice(ops[i]->request_delete_range->key);
        deletion->to = pb_slice(ops[i]->request_delete_range->range_end);
        deletion->one = deletion->to.size == 0;
        if (deletion->one || slice_compare(deletion->from, deletion->to) < 0)
            found_count++;
    }
    qsort(found, found_count, sizeof(*found), order_deletions);
    writes->deletions = xrealloc(NULL, (found_count + 1) * sizeof(*found));
    for (size_t i = 0; i < found_count; i++)
        join_deletion(writes, found[i]);
    free(found);
}

static bool meets_deletion(const struct writes *writes, const struct writes *puts)
{
    for (size_t i = 0; i < puts->put_count; i++) {
        if (is_deleted(writes, puts->puts[i]))
            return true;
    }
    return false;
}

static bool collect_writes(Etcdserverpb__RequestOp *const *ops, size_t count,
                           struct writes *writes) MUST_CHECK;

/* One nested txn: what it writes is checked against `writes` and then part of it. The branches
 * exclude each other, so both may put a key. TXN_DEPTH_MAX bounds the recursion. */
static bool add_txn(const Etcdserverpb__TxnRequest *txn, struct writes *writes)
{
    struct writes success = {.puts = NULL}, failure = {.puts = NULL}, both = {.puts = NULL};
    bool good = collect_writes(txn->success, txn->n_success, &success) &&
                collect_writes(txn->failure, txn->n_failure, &failure) &&
                add_puts(&both, &success, true) && add_puts(&both, &failure, true) &&
                !meets_deletion(writes, &both) && add_puts(writes, &both, false);

    if (good) {
        add_deletions(writes, &success);
        add_deletions(writes, &failure);
    }
    writes_fini(&success);
    writes_fini(&failure);
    writes_fini(&both);
    return good;
}

/* False: DuplicateKey. `writes` is filled as far as it went, and the caller's to release. */
static bool collect_writes(Etcdserverpb__RequestOp *const *ops, size_t count, struct writes *writes)
{
    struct writes own = {.puts = NULL};
    bool good = true;

    collect_deletions(ops, count, writes);
    for (size_t i = 0; i < count && good; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            good = add_txn(ops[i]->request_txn, writes);
    }
    own.puts = xrealloc(NULL, (count + 1) * sizeof(*own.puts));
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            own.puts[own.put_count++] = pb_slice(ops[i]->request_put->key);
    }
    qsort(own.puts, own.put_count, sizeof(*own.puts), order_puts);
    for (size_t i = 1; i < own.put_count && good; i++)
        good = !slice_equal(own.puts[i - 1], own.puts[i]);
    good = good && !meets_deletion(writes, &own) && add_puts(writes, &own, false);
    writes_fini(&own);
    return good;
}

static enum err_code check_overlap(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    struct writes writes = {.puts = NULL};
    bool good = collect_writes(ops, count, &writes);

    writes_fini(&writes);
    return good ? ERR_OK : ERR_DUPLICATE_KEY;
}

enum err_code mvcc_check_txn(const Etcdserverpb__TxnRequest *request, size_t max_txn_ops)
{
    enum err_code code = check_txn(request, max_txn_ops, 1);

    if (code == ERR_OK)
        code = check_overlap(request->success, request->n_success);
    if (code == ERR_OK)
        code = check_overlap(request->failure, request->n_failure);
    return code;
}

/* ---- what kind of txn ---- */

static bool all_ranges(Etcdserverpb__RequestOp *const *ops, size_t count, bool serializable)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            (serializable && !ops[i]->request_range->serializable))
            return false;
    }
    return true;
}

bool mvcc_txn_is_read_only(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, false) &&
           all_ranges(request->failure, request->n_failure, false);
}

bool mvcc_txn_is_serializable(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, true) &&
           all_ranges(request->failure, request->n_failure, true);
}
