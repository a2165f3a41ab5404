/*
 * batch.c - see batch.h.
 *
 * Bytes go into blocks that never move (what a view borrowed stays), operations into one array, and
 * the positions of the revisions put into bucket `key` into a second array that is binary searched.
 * Nothing is allocated before the first operation, and blocks start small: an idle batch is tiny.
 *
 *   ops        [put key r5][put meta ..][del key r2][put key r6] ...
 *   revisions  [0, 3] ...                positions in ops; their keys ascend
 *
 * Deletions of revisions (compaction) are not searched: who pinned an older state still reads it.
 */
#include "common/storage/batch.h"

#include <stdatomic.h>

#define BLOCK_BYTES_MIN (4UL * KIB)
#define BLOCK_BYTES_MAX (256UL * KIB)
#define OPS_MIN 16UL

struct block {
    struct block *next;
    size_t bytes; /* of data */
    uint8_t data[];
};

struct batch {
    atomic_uint references;
    struct block *blocks; /* owned, newest first; the newest is being filled */
    size_t block_used;    /* bytes of the newest */
    size_t block_bytes;   /* of all */
    struct batch_op *ops; /* owned */
    size_t op_count, op_capacity;
    uint32_t *revisions; /* owned; positions in ops */
    size_t revision_count, revision_capacity;
};

struct batch *batch_new(void)
{
    struct batch *batch = xalloc(sizeof(*batch));

    atomic_init(&batch->references, 1);
    return batch;
}

struct batch *batch_ref(struct batch *batch)
{
    must(atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed) > 0);
    return batch;
}

void batch_unref(struct batch *batch)
{
    struct block *next;

    if (batch == NULL || atomic_fetch_sub(&batch->references, 1) != 1)
        return;
    for (struct block *block = batch->blocks; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(batch->ops);
    free(batch->revisions);
    free(batch);
}

/* A value too large for a common block gets one of its own, behind the one being filled. */
static uint8_t *take_bytes_of_new_block(struct batch *batch, size_t bytes)
{
    size_t wanted = batch->blocks == NULL ? BLOCK_BYTES_MIN : batch->blocks->bytes * 2;
    struct block *block;
    bool alone;

    wanted = MIN(MAX(wanted, BLOCK_BYTES_MIN), BLOCK_BYTES_MAX);
    alone = bytes > wanted / 2;
    block = xrealloc(NULL, sizeof(*block) + (alone ? bytes : wanted));
    block->bytes = alone ? bytes : wanted;
    batch->block_bytes += block->bytes;
    if (alone && batch->blocks != NULL) {
        block->next = batch->blocks->next;
        batch->blocks->next = block;
        return block->data;
    }
    block->next = batch->blocks;
    batch->blocks = block;
    batch->block_used = bytes;
    return block->data;
}

static uint8_t *take_bytes(struct batch *batch, size_t bytes)
{
    uint8_t *data;

    if (batch->blocks == NULL || bytes > batch->blocks->bytes - batch->block_used)
        return take_bytes_of_new_block(batch, bytes);
    data = batch->blocks->data + batch->block_used;
    batch->block_used += bytes;
    return data;
}

/* Only the core's own revisions come here, in order: see batch.h. */
static void note_revision(struct batch *batch, struct slice key)
{
    if (batch->revision_count > 0) {
        uint32_t last = batch->revisions[batch->revision_count - 1];

        must(slice_compare(batch->ops[last].key, key) < 0);
    }
    if (batch->revision_count == batch->revision_capacity) {
        batch->revision_capacity = MAX(batch->revision_capacity * 2, OPS_MIN);
        batch->revisions =
            xrealloc(batch->revisions, batch->revision_capacity * sizeof(*batch->revisions));
    }
    must(batch->op_count < UINT32_MAX);
    batch->revisions[batch->revision_count++] = (uint32_t)batch->op_count;
}

static uint8_t *append(struct batch *batch, enum batch_op_type type, enum bucket bucket,
                       struct slice key, size_t value_bytes)
{
    uint8_t *data = take_bytes(batch, key.size + value_bytes);

    must((unsigned)bucket < BUCKET_COUNT && key.size > 0 && key.size <= BACKEND_KEY_MAX);
    memcpy(data, key.data, key.size);
    if (type == BATCH_PUT && bucket == BUCKET_KEY)
        note_revision(batch, key);
    if (batch->op_count == batch->op_capacity) {
        batch->op_capacity = MAX(batch->op_capacity * 2, OPS_MIN);
        batch->ops = xrealloc(batch->ops, batch->op_capacity * sizeof(*batch->ops));
    }
    batch->ops[batch->op_count++] = (struct batch_op){
        .type = type,
        .bucket = bucket,
        .key = slice_of(data, key.size),
        .value = slice_of(data + key.size, value_bytes),
    };
    return data + key.size;
}

void batch_put(struct batch *batch, enum bucket bucket, struct slice key, struct slice value)
{
    uint8_t *data = append(batch, BATCH_PUT, bucket, key, value.size);

    if (value.size != 0)
        memcpy(data, value.data, value.size);
}

void batch_delete(struct batch *batch, enum bucket bucket, struct slice key)
{
    (void)append(batch, BATCH_DELETE, bucket, key, 0); /* no value to fill */
}

uint8_t *batch_put_reserve(struct batch *batch, enum bucket bucket, struct slice key, size_t bytes)
{
    return append(batch, BATCH_PUT, bucket, key, bytes);
}

size_t batch_op_count(const struct batch *batch)
{
    return batch->op_count;
}

const struct batch_op *batch_op_at(const struct batch *batch, size_t position)
{
    must(position < batch->op_count);
    return &batch->ops[position];
}

size_t batch_bytes(const struct batch *batch)
{
    return sizeof(*batch) + batch->block_bytes + batch->op_capacity * sizeof(*batch->ops) +
           batch->revision_capacity * sizeof(*batch->revisions);
}

bool batch_find_revision(const struct batch *batch, struct slice key, struct slice *value)
{
    size_t low = 0, high = batch->revision_count;

    if (high == 0 || slice_compare(key, batch->ops[batch->revisions[0]].key) < 0)
        return false; /* most are older than all that is in here */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct batch_op *op = &batch->ops[batch->revisions[middle]];
        int order = slice_compare(op->key, key);

        if (order == 0) {
            *value = op->value;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
