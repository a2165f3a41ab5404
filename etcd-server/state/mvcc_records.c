/*
 * mvcc_records.c - see mvcc_records.h.
 *
 *   backend   2 3 5 6 7          committed
 *   batches           7 8 | 9    not yet, or just now: 7 is seen once, for order only rises
 *   deleted   3 5                in the batches, the backend still has them
 */
#include "etcd-server/state/mvcc_records.h"

static int order_revisions(const void *a, const void *b)
{
    return revision_compare(*(const struct revision *)a, *(const struct revision *)b);
}

static void collect_deleted(struct records *records, const struct batch *batch, size_t ops,
                            size_t *capacity)
{
    for (size_t i = 0; i < ops; i++) {
        const struct batch_op *op = batch_op_at(batch, i);
        struct revision revision;
        bool tombstone, sound;

        if (op->type != BATCH_DELETE || op->bucket != BUCKET_KEY)
            continue;
        sound = revision_decode(op->key, &revision, &tombstone);
        must(sound); /* only compaction deletes here */
        if (revision_compare(revision, records->last) <= 0)
            continue;
        if (records->deleted_count == *capacity) {
            *capacity = MAX(*capacity * 2, 64);
            records->deleted = xrealloc(records->deleted, *capacity * sizeof(*records->deleted));
        }
        records->deleted[records->deleted_count++] = revision;
    }
}

void records_init(struct records *records, struct view *view, struct revision last)
{
    size_t capacity = 0;

    *records = (struct records){.view = view, .last = last};
    records->cursor = backend_cursor_open(view->read, BUCKET_KEY);
    for (size_t i = 0; i < view->batch_count; i++) {
        records->ops[i] = batch_op_count(view->batches[i]);
        collect_deleted(records, view->batches[i], records->ops[i], &capacity);
    }
    if (records->deleted_count > 1)
        qsort(records->deleted, records->deleted_count, sizeof(*records->deleted), order_revisions);
}

void records_fini(struct records *records)
{
    backend_cursor_close(records->cursor);
    free(records->deleted);
    *records = (struct records){.view = NULL};
}

static bool next_of_backend(struct records *records, struct slice *key, struct slice *value)
{
    uint8_t from[REVISION_BYTES_MAX];
    struct slice seek = SLICE_EMPTY;

    if (records->sought)
        return backend_cursor_next(records->cursor, key, value);
    records->sought = true;
    if (records->last.main >= 0)
        seek = slice_of(from, revision_encode(records->last, false, from));
    return backend_cursor_seek(records->cursor, seek, key, value);
}

static bool next_of_batches(struct records *records, struct slice *key, struct slice *value)
{
    for (; records->batch < records->view->batch_count; records->batch++, records->op = 0) {
        const struct batch *batch = records->view->batches[records->batch];

        while (records->op < records->ops[records->batch]) {
            const struct batch_op *op = batch_op_at(batch, records->op++);

            if (op->type == BATCH_PUT && op->bucket == BUCKET_KEY) {
                *key = op->key;
                *value = op->value;
                return true;
            }
        }
    }
    return false;
}

static bool is_deleted(struct records *records, struct revision revision)
{
    while (records->deleted_next < records->deleted_count) {
        int order = revision_compare(records->deleted[records->deleted_next], revision);

        if (order >= 0)
            return order == 0;
        records->deleted_next++;
    }
    return false;
}

bool records_next(struct records *records, struct record *record)
{
    for (;;) {
        bool sound;

        if (records->in_batches || !next_of_backend(records, &record->key, &record->value)) {
            records->in_batches = true;
            if (!next_of_batches(records, &record->key, &record->value))
                return false;
        }
        sound = revision_decode(record->key, &record->revision, &record->tombstone);
        must(sound); /* ours, or decoded at the start */
        if (revision_compare(record->revision, records->last) <= 0)
            continue;
        records->last = record->revision;
        if (!is_deleted(records, record->revision))
            return true;
    }
}
