/*
 * txn_unpack.c - see txn_unpack.h. What nests little is protobuf-c's. Else txns are unpacked one
 * level at a time, those within them put on a list of what is still to be done:
 *
 *   request without its txn -> protobuf-c
 *   txn -> compares, and operations that are no txns -> protobuf-c
 *       -> operations that are -> an empty txn, and its bytes on the list
 *
 * Of several txns in a request each goes on with the one before: together they are the txn that
 * their bytes make in a row. Groups, which protobuf-c does not take, are covered in a copy.
 */
#include "common/schema/txn_unpack.h"

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/schema/pbgroup.h"
#include "common/schema/pbwire.h"

#define COMPARE_FIELD 1U /* of TxnRequest */
#define SUCCESS_FIELD 2U
#define FAILURE_FIELD 3U
#define INNER_FIELD 4U /* RequestOp.request_txn */
#define OUTER_FIELD 6U /* InternalRaftRequest.txn */

struct task {
    Etcdserverpb__TxnRequest *txn; /* to be filled */
    struct slice bytes;
};

struct tasks {
    struct task *list; /* owned */
    size_t count, capacity;
    struct arena *arena; /* borrowed */
};

static Etcdserverpb__TxnRequest *add_task(struct tasks *tasks, struct slice bytes)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(tasks->arena, sizeof(*txn));

    if (txn == NULL)
        return NULL;
    etcdserverpb__txn_request__init(txn);
    if (tasks->count == tasks->capacity) {
        tasks->capacity = MAX(tasks->capacity * 2, 64);
        tasks->list = xrealloc(tasks->list, tasks->capacity * sizeof(*tasks->list));
    }
    tasks->list[tasks->count++] = (struct task){txn, bytes};
    return txn;
}

static void *unpack_flat(const ProtobufCMessageDescriptor *type, struct slice bytes,
                         struct arena *arena)
{
    return protobuf_c_message_unpack(type, &arena->allocator, bytes.size, bytes.data);
}

/* One field of an operation; of several requests the last one holds, but each has to be sound. */
static bool take_request(struct tasks *tasks, const struct pb_field *field, struct slice whole,
                         Etcdserverpb__RequestOp *op)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__request_op__descriptor;
    Etcdserverpb__RequestOp *flat;

    if (protobuf_c_message_descriptor_get_field(type, field->number) == NULL)
        return true; /* of a later etcd */
    if (field->number != INNER_FIELD) {
        flat = unpack_flat(type, whole, tasks->arena);
        if (flat != NULL)
            *op = *flat;
        return flat != NULL;
    }
    if (field->wire != PB_BYTES)
        return false;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = add_task(tasks, field->bytes);
    return op->request_txn != NULL;
}

static Etcdserverpb__RequestOp *unpack_op(struct tasks *tasks, struct slice bytes)
{
    struct pb_reader reader = pb_reader_of(bytes, "etcdserverpb.RequestOp");
    Etcdserverpb__RequestOp *op = arena_alloc(tasks->arena, sizeof(*op));
    const uint8_t *at = reader.at;
    struct pb_field field;
    int rc;

    if (op == NULL)
        return NULL;
    etcdserverpb__request_op__init(op);
    while ((rc = pb_skim(&reader, &field)) == 1) {
        if (!take_request(tasks, &field, slice_of(at, (size_t)(reader.at - at)), op))
            return NULL;
        at = reader.at;
    }
    return rc == 0 ? op : NULL;
}

static bool in_txn(uint32_t number)
{
    return number >= COMPARE_FIELD && number <= FAILURE_FIELD;
}

static bool make_lists(struct task task, struct arena *arena)
{
    struct pb_reader reader = pb_reader_of(task.bytes, "etcdserverpb.TxnRequest");
    size_t counts[FAILURE_FIELD + 1] = {0};
    struct pb_field field;
    int rc;

    while ((rc = pb_skim(&reader, &field)) == 1) {
        if (!in_txn(field.number))
            continue; /* of a later etcd */
        if (field.wire != PB_BYTES)
            return false;
        counts[field.number]++;
    }
    if (rc < 0)
        return false;
    task.txn->compare = arena_alloc(arena, (counts[COMPARE_FIELD] + 1) * sizeof(void *));
    task.txn->success = arena_alloc(arena, (counts[SUCCESS_FIELD] + 1) * sizeof(void *));
    task.txn->failure = arena_alloc(arena, (counts[FAILURE_FIELD] + 1) * sizeof(void *));
    return task.txn->compare != NULL && task.txn->success != NULL && task.txn->failure != NULL;
}

/* One level: both passes see the same fields. */
static bool do_task(struct tasks *tasks, struct task task)
{
    struct pb_reader reader = pb_reader_of(task.bytes, "etcdserverpb.TxnRequest");
    struct pb_field field;

    if (!make_lists(task, tasks->arena))
        return false;
    while (pb_skim(&reader, &field) == 1) {
        void *part = NULL;

        if (!in_txn(field.number))
            continue;
        if (field.number == COMPARE_FIELD)
            part = unpack_flat(&etcdserverpb__compare__descriptor, field.bytes, tasks->arena);
        else
            part = unpack_op(tasks, field.bytes);
        if (part == NULL)
            return false;
        if (field.number == COMPARE_FIELD)
            task.txn->compare[task.txn->n_compare++] = part;
        else if (field.number == SUCCESS_FIELD)
            task.txn->success[task.txn->n_success++] = part;
        else
            task.txn->failure[task.txn->n_failure++] = part;
    }
    return true;
}

static Etcdserverpb__TxnRequest *unpack_txn(struct slice bytes, struct arena *arena)
{
    struct tasks tasks = {.arena = arena};
    Etcdserverpb__TxnRequest *txn = add_task(&tasks, bytes);
    bool good = txn != NULL;

    while (good && tasks.count != 0)
        good = do_task(&tasks, tasks.list[--tasks.count]);
    free(tasks.list);
    return good ? txn : NULL;
}

static bool is_txn(const struct pb_field *field)
{
    return field->number == OUTER_FIELD && field->wire == PB_BYTES;
}

static size_t count_txns(struct slice bytes)
{
    struct pb_reader reader = pb_reader_of(bytes, "etcdserverpb.InternalRaftRequest");
    struct pb_field field;
    size_t count = 0;

    while (pb_skim(&reader, &field) == 1)
        count += is_txn(&field);
    return count;
}

/* The request's txns in a row, and its other fields; false: it is none. */
static bool take_txns_out(struct slice bytes, struct buf *txns, struct buf *rest)
{
    struct pb_reader reader = pb_reader_of(bytes, "etcdserverpb.InternalRaftRequest");
    const uint8_t *at = reader.at;
    struct pb_field field;
    int rc;

    while ((rc = pb_skim(&reader, &field)) == 1) {
        if (is_txn(&field))
            buf_append(txns, field.bytes.data, field.bytes.size);
        else
            buf_append(rest, at, (size_t)(reader.at - at));
        at = reader.at;
    }
    return rc == 0;
}

static Etcdserverpb__InternalRaftRequest *unpack_by_level(struct slice bytes, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__internal_raft_request__descriptor;
    Etcdserverpb__InternalRaftRequest *request = NULL;
    struct buf txns = BUF_INIT(BUF_UNLIMITED), rest = BUF_INIT(BUF_UNLIMITED); /* part of `bytes` */

    if (take_txns_out(bytes, &txns, &rest))
        request = unpack_flat(type, buf_slice(&rest), arena);
    if (request != NULL)
        request->txn = unpack_txn(buf_slice(&txns), arena);
    buf_free(&txns);
    buf_free(&rest);
    return request != NULL && request->txn != NULL ? request : NULL;
}

static Etcdserverpb__InternalRaftRequest *unpack(struct slice bytes, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__internal_raft_request__descriptor;
    size_t txns = count_txns(bytes);

    if (txns == 0 || (txns == 1 && pb_depth_within(type, bytes, MESSAGE_DEPTH_MAX + 1)))
        return unpack_flat(type, bytes, arena);
    return unpack_by_level(bytes, arena);
}

size_t raft_request_unpack_max(size_t bytes)
{
    return MIN(bytes, SIZE_MAX / ENTRY_ARENA_PER_BYTE - ENTRY_ARENA_KEPT_BYTES) *
               ENTRY_ARENA_PER_BYTE +
           ENTRY_ARENA_KEPT_BYTES;
}

Etcdserverpb__InternalRaftRequest *raft_request_unpack(struct slice bytes, struct arena *arena)
{
    Etcdserverpb__InternalRaftRequest *request = unpack(bytes, arena);
    uint8_t *copy;

    if (request != NULL || bytes.size == 0)
        return request;
    copy = xalloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    if (pb_cover_groups(&etcdserverpb__internal_raft_request__descriptor, copy, bytes.size) != 0)
        request = unpack(slice_of(copy, bytes.size), arena);
    free(copy);
    return request;
}
